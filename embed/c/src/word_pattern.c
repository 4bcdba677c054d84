#include "word_pattern.h"

#include <stdint.h>
#include <string.h>

#include "unicode.h"

#define PATTERN_LLAMA3(NUMBERS)                                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" NUMBERS                                                   \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char pattern_regexes[][116] = {
    [EAI_PATTERN_GPT2] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    [EAI_PATTERN_LLAMA3] = PATTERN_LLAMA3("\\p{N}{1,3}"),
    [EAI_PATTERN_QWEN2] = PATTERN_LLAMA3("\\p{N}"),
};

bool eai_word_pattern_named(const char *regex, size_t length, eai_word_pattern *pattern)
{
    for (size_t index = 0; index < sizeof pattern_regexes / sizeof *pattern_regexes; index++)
        if (strlen(pattern_regexes[index]) == length && memcmp(pattern_regexes[index], regex, length) == 0) {
            *pattern = (eai_word_pattern)index;
            return true;
        }
    return false;
}

enum { PATTERN_NONE = EAI_IS_LETTER | EAI_IS_NUMBER | EAI_IS_SPACE };

/* Returns the end of a run of at most `most` code points that have one of `classes`, or have none of PATTERN_NONE where
 * `classes` is 0. */
static const char *pattern_run(unsigned classes, size_t most, const char *at, const char *end)
{
    while (at < end && most) {
        const char *next = at;
        unsigned found = eai_unicode_class(eai_utf8_next(&next));
        if (classes ? !(found & classes) : found & PATTERN_NONE)
            break;
        at = next;
        most--;
    }
    return at;
}

/* Reads one letter of a contraction in lower case; in any case, U+017F, the long s, is an s, too. */
static char pattern_letter(bool any_case, const char **at, const char *end)
{
    if (*at == end)
        return 0;
    uint32_t point = eai_utf8_next(at);
    if (any_case && point >= 'A' && point <= 'Z')
        point += 'a' - 'A';
    if (any_case && point == 0x17F)
        point = 's';
    return point < 0x80 ? (char)point : 0;
}

/* Returns the end of 's, 't, 're, 've, 'm, 'll or 'd, or NULL. */
static const char *pattern_contraction(bool any_case, const char *at, const char *end)
{
    if (*at++ != '\'')
        return NULL;
    char first = pattern_letter(any_case, &at, end);
    const char *behind = at;
    char second = pattern_letter(any_case, &at, end);
    if (first == 's' || first == 't' || first == 'm' || first == 'd')
        return behind;
    bool two = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
    return two ? at : NULL;
}

/* Matches \s*[\r\n]+, where `lines` is set, or \s+(?!\S), or \s+; `at` is a space. */
static const char *pattern_spaces(bool lines, const char *at, const char *end)
{
    const char *last = at, *line = NULL, *run = at;
    while (run < end) {
        const char *next = run;
        uint32_t point = eai_utf8_next(&next);
        if (!(eai_unicode_class(point) & EAI_IS_SPACE))
            break;
        last = run;
        run = next;
        if (point == '\r' || point == '\n')
            line = next;
    }
    if (lines && line)
        return line;
    /* The last space belongs to the word behind it, where there is a word and another space. */
    return run == end || last == at ? run : last;
}

static const char *pattern_gpt2(const char *text, const char *end)
{
    const char *match = pattern_contraction(false, text, end);
    if (match)
        return match;
    const char *from = text + (*text == ' ');
    static const unsigned runs[] = {EAI_IS_LETTER, EAI_IS_NUMBER, 0};
    for (size_t index = 0; index < sizeof runs / sizeof *runs; index++) {
        match = pattern_run(runs[index], SIZE_MAX, from, end);
        if (match > from)
            return match;
    }
    return pattern_spaces(false, text, end);
}

static const char *pattern_llama3(size_t numbers, const char *text, const char *end)
{
    const char *match = pattern_contraction(true, text, end);
    if (match)
        return match;
    const char *from = text;
    uint32_t point = eai_utf8_next(&from);
    unsigned found = eai_unicode_class(point);
    if (found & EAI_IS_LETTER || point == '\r' || point == '\n' || found & EAI_IS_NUMBER)
        from = text;
    match = pattern_run(EAI_IS_LETTER, SIZE_MAX, from, end);
    if (match > from)
        return match;
    if (found & EAI_IS_NUMBER)
        return pattern_run(EAI_IS_NUMBER, numbers, text, end);
    from = text + (point == ' ');
    match = pattern_run(0, SIZE_MAX, from, end);
    if (match == from)
        return pattern_spaces(true, text, end);
    while (match < end && (*match == '\r' || *match == '\n'))
        match++;
    return match;
}

const char *eai_word_pattern_match(eai_word_pattern pattern, const char *text, const char *end)
{
    if (pattern == EAI_PATTERN_GPT2)
        return pattern_gpt2(text, end);
    return pattern_llama3(pattern == EAI_PATTERN_QWEN2 ? 1 : 3, text, end);
}
