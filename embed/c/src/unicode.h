/* What Unicode says of code points, as the Hugging Face tokenizers library sees it, and UTF-8. */
#ifndef EAI_UNICODE_H
#define EAI_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a code point is. The library takes these from different tables of different Unicode versions, so that one doesn't
 * follow from another: see make_unicode.py. */
enum {
    EAI_IS_LETTER = 1 << 0,       /* \p{L} of the regular expressions */
    EAI_IS_NUMBER = 1 << 1,       /* \p{N} of the regular expressions */
    EAI_IS_SPACE = 1 << 2,        /* \s, and White_Space */
    EAI_IS_WORD = 1 << 3,         /* \w beside an added token */
    EAI_IS_PUNCTUATION = 1 << 4,  /* what BertPreTokenizer isolates */
    EAI_IS_CONTROL = 1 << 5,      /* what clean_text of BertNormalizer removes */
    EAI_IS_NONSPACING = 1 << 6,   /* what strip_accents of BertNormalizer removes */
    EAI_IS_MARK = 1 << 7,         /* what StripAccents removes */
    EAI_IS_NUMERIC = 1 << 8,      /* what Digits parts */
    EAI_IS_UNCOMPOSED = 1 << 9    /* may not stand in NFC, or may compose with what is before it */
};

unsigned eai_unicode_class(uint32_t point);

/* Returns the canonical combining class: 0 for a starter. */
unsigned eai_unicode_combining(uint32_t point);

/* Writes the lowercase of one code point and returns how many it has. */
size_t eai_unicode_lower(uint32_t point, uint32_t lower[2]);

/* Writes the full canonical decomposition of one code point, itself where it has none, and returns how many it has. */
size_t eai_unicode_decompose(uint32_t point, uint32_t parts[4]);

/* Returns what two code points compose to, or 0. */
uint32_t eai_unicode_compose(uint32_t first, uint32_t second);

/* Returns how many bytes are UTF-8 from the start: `length` where all are. */
size_t eai_utf8_valid(const char *text, size_t length);

/* Reads one code point of valid UTF-8 and moves `at` behind it. */
uint32_t eai_utf8_next(const char **at);

/* Reads the code point that ends before `at`, where there is one, and moves `at` to its start. */
uint32_t eai_utf8_before(const char **at);

/* Writes one code point and returns how many bytes it has. */
size_t eai_utf8_write(uint32_t point, char bytes[4]);

#endif
