/* Strings and arrays of numbers that grow. */
#ifndef EAI_GROWING_H
#define EAI_GROWING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct eai_string {
    char *data; /* may hold NULs, and has none at its end */
    size_t size, room;
} eai_string;

typedef struct eai_words {
    uint32_t *data;
    size_t size, room;
} eai_words;

/* Both return false where memory runs out, and leave what is there. */
bool eai_string_add(eai_string *bytes, const char *data, size_t size);
bool eai_words_add(eai_words *words, uint32_t word);

/* Makes room for `size` bytes or numbers in all. */
bool eai_string_reserve(eai_string *bytes, size_t size);
bool eai_words_reserve(eai_words *words, size_t size);

#endif
