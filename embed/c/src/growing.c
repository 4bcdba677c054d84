#include "growing.h"

#include <stdlib.h>
#include <string.h>

/* Returns `data` with room for `needed` items, at least twice what it had, or NULL. */
static void *growing_more(void *data, size_t *room, size_t needed, size_t item)
{
    size_t more = *room < SIZE_MAX / 2 ? *room * 2 : SIZE_MAX;
    if (more < needed)
        more = needed;
    if (more < 64)
        more = 64;
    void *moved = more <= SIZE_MAX / item ? realloc(data, more * item) : NULL;
    if (moved)
        *room = more;
    return moved;
}

bool eai_string_reserve(eai_string *bytes, size_t size)
{
    if (size <= bytes->room)
        return true;
    char *data = growing_more(bytes->data, &bytes->room, size, 1);
    if (data)
        bytes->data = data;
    return data;
}

bool eai_string_add(eai_string *bytes, const char *data, size_t size)
{
    if (size > SIZE_MAX - bytes->size || !eai_string_reserve(bytes, bytes->size + size))
        return false;
    if (size)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return true;
}

bool eai_words_reserve(eai_words *words, size_t size)
{
    if (size <= words->room)
        return true;
    uint32_t *data = growing_more(words->data, &words->room, size, sizeof *data);
    if (data)
        words->data = data;
    return data;
}

bool eai_words_add(eai_words *words, uint32_t word)
{
    if (!eai_words_reserve(words, words->size + 1))
        return false;
    words->data[words->size++] = word;
    return true;
}
