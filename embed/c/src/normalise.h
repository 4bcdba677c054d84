/* The normalizer of a tokenizer.json: what happens to a text before it is split. */
#ifndef EAI_NORMALISE_H
#define EAI_NORMALISE_H

#include "growing.h"
#include "reading.h"

typedef struct eai_normaliser eai_normaliser; /* NULL changes nothing */

/* Reads `normalizer`, which may be null. */
bool eai_normaliser_read(eai_reading *reading, const eai_value *normalizer, const eai_normaliser **normaliser);

/* What a text is normalised in; the text enters and leaves in `text`. */
typedef struct eai_normalising {
    eai_string text, other;
    eai_words points;
} eai_normalising;

/* Returns false where memory runs out. */
bool eai_normalise(const eai_normaliser *normaliser, eai_normalising *state);

void eai_normalising_free(eai_normalising *state);

#endif
