/* The post_processor of a tokenizer.json: the special tokens around one text or a pair. */
#ifndef EAI_POST_PROCESS_H
#define EAI_POST_PROCESS_H

#include "reading.h"

/* A text's place in a template, or special tokens. */
typedef struct eai_template_piece {
    int text; /* 0 or 1; -1 for special tokens */
    uint32_t type_id;
    const uint32_t *ids;
    size_t count;
} eai_template_piece;

typedef struct eai_template {
    const eai_template_piece *pieces;
    size_t count;
    size_t special; /* tokens that it adds */
} eai_template;

typedef struct eai_post_processor {
    eai_template single, pair;
} eai_post_processor;

/* Reads `post_processor`, which may be null. */
bool eai_post_processor_read(eai_reading *reading, const eai_value *object, eai_post_processor *processor);

/* Cuts two texts to `most` tokens in all, the longer one first (longest_first). For a single text, `second` is NULL. */
void eai_cut_longest_first(size_t most, size_t *first, size_t *second);

#endif
