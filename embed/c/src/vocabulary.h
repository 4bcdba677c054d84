/* A model's vocabulary: token texts to ids, in one hash table. */
#ifndef EAI_VOCABULARY_H
#define EAI_VOCABULARY_H

#include "reading.h"

typedef struct eai_vocabulary_slot {
    uint32_t hash, offset, length, id; /* offset into the texts, plus one: 0 is a free slot */
} eai_vocabulary_slot;

typedef struct eai_vocabulary {
    eai_vocabulary_slot *slots; /* a power of two of them */
    uint32_t mask;
    const char *texts;
    size_t count, longest; /* tokens, and bytes of the longest */
} eai_vocabulary;

bool eai_vocabulary_read(eai_reading *reading, const eai_value *vocab, eai_vocabulary *vocabulary);

/* A hash grows with the text, so that all beginnings of a text are hashed at the cost of one. */
static inline uint32_t eai_hash_start(void)
{
    return 2166136261u;
}

static inline uint32_t eai_hash_more(uint32_t hash, const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++)
        hash = (hash ^ (unsigned char)text[at]) * 16777619u;
    return hash;
}

/* Finds a text in two parts, the second may be empty, by its hash. */
bool eai_vocabulary_find(const eai_vocabulary *vocabulary, uint32_t hash, const char *first, size_t first_length,
                         const char *second, size_t second_length, uint32_t *id);

bool eai_vocabulary_get(const eai_vocabulary *vocabulary, const char *text, size_t length, uint32_t *id);

#endif
