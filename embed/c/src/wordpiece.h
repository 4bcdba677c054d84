/* The WordPiece model: a word becomes the longest token that begins it, then the longest that goes on, and so on. */
#ifndef EAI_WORDPIECE_H
#define EAI_WORDPIECE_H

#include "growing.h"
#include "vocabulary.h"

typedef struct eai_wordpiece {
    const char *prefix; /* of a token that continues a word */
    size_t prefix_length;
    uint32_t prefix_hash;
    size_t most; /* code points of a word; a longer one is unknown */
    bool has_unknown;
    uint32_t unknown;
} eai_wordpiece;

bool eai_wordpiece_read(eai_reading *reading, const eai_value *model, const eai_vocabulary *vocabulary,
                        eai_wordpiece *wordpiece);

/* What became of a word or a token. */
typedef enum eai_outcome { EAI_DONE, EAI_UNKNOWN, EAI_OVERLAP, EAI_NO_MEMORY } eai_outcome;

/* Appends the tokens of one word; EAI_UNKNOWN where the vocabulary lacks it, and the token for what it lacks, too. */
eai_outcome eai_wordpiece_word(const eai_wordpiece *wordpiece, const eai_vocabulary *vocabulary, const char *word,
                               size_t length, eai_words *ids);

#endif
