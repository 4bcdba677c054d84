/* The BPE model: a word's characters are merged, two neighbours at a time, the pair of the lowest rank first. */
#ifndef EAI_BPE_H
#define EAI_BPE_H

#include "vocabulary.h"
#include "wordpiece.h"

typedef struct eai_merge {
    uint32_t left, right, rank, merged; /* rank plus one: 0 is a free slot */
} eai_merge;

typedef struct eai_bpe {
    eai_merge *merges; /* a hash table of a power of two slots */
    uint32_t mask;
    const uint32_t *merged; /* by rank: what the pair becomes */
    bool whole;             /* ignore_merges: a word that is a token is that token */
    bool fuses;             /* fuse_unk: unknown characters in a row are one token */
    bool names_unknown;     /* there is an unk_token, which the vocabulary has or lacks */
    bool has_unknown;
    uint32_t unknown;
    uint64_t characters[512]; /* ids of the first code points, which byte-level texts consist of, plus one */
} eai_bpe;

bool eai_bpe_read(eai_reading *reading, const eai_value *model, const eai_vocabulary *vocabulary, eai_bpe *bpe);

typedef struct eai_symbol {
    uint32_t id, before, next; /* EAI_NO_SYMBOL where there is none */
    bool gone;                 /* merged into the one before */
} eai_symbol;

/* What a word is merged in, kept from one word to the next. */
typedef struct eai_merging {
    eai_symbol *symbols;
    size_t symbol_count, symbol_room;
    uint64_t *heap; /* rank and place of pairs that can be merged, the lowest first */
    size_t heap_size, heap_room;
} eai_merging;

/* Appends the tokens of one word, as eai_wordpiece_word. */
eai_outcome eai_bpe_word(const eai_bpe *bpe, const eai_vocabulary *vocabulary, const char *word, size_t length,
                         eai_merging *merging, eai_words *ids);

void eai_merging_free(eai_merging *merging);

#endif
