/* Added tokens: texts that are one token wherever they stand, found before or after a text is normalised. */
#ifndef EAI_ADDED_TOKENS_H
#define EAI_ADDED_TOKENS_H

#include "normalise.h"
#include "vocabulary.h"

typedef struct eai_added_token {
    const char *text; /* as it is looked for */
    size_t length;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
} eai_added_token;

/* Tokens that are looked for together. */
typedef struct eai_added_set {
    eai_added_token *tokens; /* sorted by their bytes */
    size_t count;
    uint32_t starts[257]; /* where those begin that start with a byte */
} eai_added_set;

typedef struct eai_added_tokens {
    eai_added_set plain, normalised;
} eai_added_tokens;

/* Reads `added_tokens`, which may be absent, and gives them their ids as the library does. */
bool eai_added_tokens_read(eai_reading *reading, const eai_value *list, const eai_vocabulary *vocabulary,
                           const eai_normaliser *normaliser, eai_added_tokens *added);

/* Takes a piece of a text that isn't empty, or a token that was found, or NULL and a token that can't stand where it was
 * found; false stops the search. */
typedef bool (*eai_piece_taker)(void *taker, const char *text, size_t length, const eai_added_token *token);

/* Parts a text, valid UTF-8, at the tokens of a set. Returns false where the taker did. */
bool eai_added_split(const eai_added_set *set, const char *text, size_t length, eai_piece_taker take, void *taker);

#endif
