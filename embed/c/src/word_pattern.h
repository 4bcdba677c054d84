/* The regular expressions that byte-level BPE splits texts by, written out as code. */
#ifndef EAI_WORD_PATTERN_H
#define EAI_WORD_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

typedef enum eai_word_pattern {
    EAI_PATTERN_GPT2,   /* runs of letters, of numbers, of others, each with a space before */
    EAI_PATTERN_LLAMA3, /* contractions in any case, any character before letters, three numbers at most */
    EAI_PATTERN_QWEN2   /* the same, one number at most */
} eai_word_pattern;

/* Finds which one a regular expression is, letter for letter. */
bool eai_word_pattern_named(const char *regex, size_t length, eai_word_pattern *pattern);

/* Returns the end of the match at the start of a text that isn't empty. There is always one, so that matches part a text
 * without rest. */
const char *eai_word_pattern_match(eai_word_pattern pattern, const char *text, const char *end);

#endif
