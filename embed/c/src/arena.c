#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_CHUNK = 4096 };

struct eai_chunk {
    struct eai_chunk *before;
    size_t used, room;
    max_align_t bytes[];
};

void *eai_take(eai_arena *arena, size_t count, size_t size)
{
    size_t alignment = _Alignof(max_align_t), most = SIZE_MAX / 4;
    if (size && count > most / size)
        return NULL;
    size_t wanted = (count * size + alignment - 1) / alignment * alignment;
    struct eai_chunk *chunk = arena->chunks;
    if (!chunk || wanted > chunk->room - chunk->used) {
        size_t room = wanted > ARENA_CHUNK ? wanted : ARENA_CHUNK;
        chunk = calloc(1, sizeof *chunk + room);
        if (!chunk)
            return NULL;
        chunk->room = room;
        chunk->before = arena->chunks;
        arena->chunks = chunk;
    }
    chunk->used += wanted;
    return (char *)chunk->bytes + chunk->used - wanted;
}

char *eai_copy_text(eai_arena *arena, const char *text)
{
    size_t room = strlen(text) + 1;
    char *copy = eai_take(arena, room, 1);
    return copy ? memcpy(copy, text, room) : NULL;
}

char *eai_join(eai_arena *arena, const char *folder, const char *name)
{
    size_t before = strlen(folder), room = strlen(name) + 1;
    char *path = eai_take(arena, before + 1 + room, 1);
    if (!path)
        return NULL;
    memcpy(path, folder, before);
    path[before] = '/';
    memcpy(path + before + 1, name, room);
    return path;
}

void eai_free_all(eai_arena *arena)
{
    for (struct eai_chunk *chunk = arena->chunks, *before; chunk; chunk = before) {
        before = chunk->before;
        free(chunk);
    }
    arena->chunks = NULL;
}
