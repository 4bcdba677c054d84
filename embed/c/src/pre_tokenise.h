/* The pre_tokenizer of a tokenizer.json: how a text is split into the words that the model reads. */
#ifndef EAI_PRE_TOKENISE_H
#define EAI_PRE_TOKENISE_H

#include "growing.h"
#include "reading.h"

typedef struct eai_pre_tokeniser eai_pre_tokeniser; /* NULL leaves a text whole */

/* Reads `pre_tokenizer`, which may be null. */
bool eai_pre_tokeniser_read(eai_reading *reading, const eai_value *pre_tokenizer, const eai_pre_tokeniser **pre_tokeniser);

/* Takes one word, which isn't empty; false stops the splitting. */
typedef bool (*eai_word_taker)(void *taker, const char *word, size_t length);

enum {
    EAI_PRE_TOKENISER_LEVELS = 4,                           /* ByteLevel steps in a row, at most */
    EAI_PRE_TOKENISER_BUFFERS = 2 * EAI_PRE_TOKENISER_LEVELS /* what a splitting needs */
};

/* Splits a text. `buffers` are EAI_PRE_TOKENISER_BUFFERS of them, kept from one text to the next. Returns false where the
 * taker did, or where memory runs out. */
bool eai_pre_tokenise(const eai_pre_tokeniser *pre_tokeniser, const char *text, size_t length, eai_string *buffers,
                      eai_word_taker take, void *taker);

#endif
