#include "added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

static int added_compare(const void *first, const void *second)
{
    const eai_added_token *one = first, *other = second;
    size_t length = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->text, other->text, length);
    return order ? order : (one->length > other->length) - (one->length < other->length);
}

static int added_compare_ids(const void *first, const void *second)
{
    const eai_added_token *one = first, *other = second;
    return (one->id > other->id) - (one->id < other->id);
}

/* Sorts a set and refuses what is in it twice. */
static bool added_sort(eai_reading *reading, eai_added_set *set)
{
    if (set->count)
        qsort(set->tokens, set->count, sizeof *set->tokens, added_compare);
    size_t at = 0;
    for (int byte = 0; byte <= 256; byte++) {
        while (at < set->count && (unsigned char)set->tokens[at].text[0] < byte)
            at++;
        set->starts[byte] = (uint32_t)at;
    }
    for (at = 1; at < set->count; at++)
        if (added_compare(&set->tokens[at - 1], &set->tokens[at]) == 0)
            return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                                    "added_tokens: \"%.100s\" twice, maybe once normalized, is not supported",
                                    set->tokens[at].text);
    return true;
}

static bool added_read_one(eai_reading *reading, const eai_value *object, eai_added_token *token)
{
    const eai_value *content;
    bool special;
    uint32_t id;
    if (!eai_reading_fields(reading, "a token of added_tokens", object,
                            "id# content$ single_word! lstrip! rstrip! normalized! special! ", &id, &content,
                            &token->single_word, &token->lstrip, &token->rstrip, &token->normalized, &special))
        return false;
    if (!content->length)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "added_tokens: an empty one is not supported");
    token->text = eai_reading_copy(reading, content->text, content->length);
    token->length = content->length;
    return token->text;
}

/* Replaces a token's text by its normalised one. */
static bool added_normalise(eai_reading *reading, const eai_normaliser *normaliser, eai_normalising *state,
                            eai_added_token *token)
{
    state->text.size = 0;
    if (!eai_string_add(&state->text, token->text, token->length) || !eai_normalise(normaliser, state))
        return eai_reading_no_memory(reading);
    if (!state->text.size)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                                "added_tokens: \"%.100s\", empty once it is normalized, is not supported", token->text);
    token->text = eai_reading_copy(reading, state->text.data, state->text.size);
    token->length = state->text.size;
    return token->text;
}

/* Gives a token the id that the library gives, whatever the file says: the vocabulary's, or the next free one. */
static void added_number(const eai_vocabulary *vocabulary, eai_added_token *token, uint64_t *next)
{
    if (!eai_vocabulary_get(vocabulary, token->text, token->length, &token->id))
        token->id = (uint32_t)*next;
    if (token->id >= *next)
        *next = (uint64_t)token->id + 1;
}

/* Ids are what the library knows tokens by. */
static bool added_check_ids(eai_reading *reading, eai_added_token *tokens, size_t count)
{
    if (count)
        qsort(tokens, count, sizeof *tokens, added_compare_ids);
    for (size_t index = 1; index < count; index++)
        if (tokens[index - 1].id == tokens[index].id)
            return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                                    "added_tokens: one id for \"%.100s\" and \"%.100s\" is not supported",
                                    tokens[index - 1].text, tokens[index].text);
    return true;
}

bool eai_added_tokens_read(eai_reading *reading, const eai_value *list, const eai_vocabulary *vocabulary,
                           const eai_normaliser *normaliser, eai_added_tokens *added)
{
    if (list && list->kind != EAI_ARRAY)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "added_tokens: expected an array");
    size_t count = list ? list->count : 0, index = 0, normalised = 0;
    eai_added_token *tokens = eai_take(reading->arena, count, sizeof *tokens);
    if (!tokens)
        return eai_reading_no_memory(reading);
    uint64_t next = vocabulary->count;
    for (const eai_value *object = count ? list->first : NULL; object; object = object->next, index++) {
        if (!added_read_one(reading, object, &tokens[index]))
            return false;
        added_number(vocabulary, &tokens[index], &next);
        normalised += tokens[index].normalized;
    }
    if (!added_check_ids(reading, tokens, count))
        return false;
    added->plain.tokens = eai_take(reading->arena, count - normalised, sizeof *tokens);
    added->normalised.tokens = eai_take(reading->arena, normalised, sizeof *tokens);
    if (!added->plain.tokens || !added->normalised.tokens)
        return eai_reading_no_memory(reading);
    eai_normalising state = {0};
    for (index = 0; index < count; index++) {
        eai_added_set *set = tokens[index].normalized ? &added->normalised : &added->plain;
        if (tokens[index].normalized && !added_normalise(reading, normaliser, &state, &tokens[index]))
            break;
        set->tokens[set->count++] = tokens[index];
    }
    eai_normalising_free(&state);
    return index == count && added_sort(reading, &added->plain) && added_sort(reading, &added->normalised);
}

/* Returns the first token of [low, high) whose byte at `depth` is `byte` or more; all are longer than `depth`. */
static size_t added_bound(const eai_added_set *set, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((unsigned char)set->tokens[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Returns the longest token that a text begins with, or NULL. */
static const eai_added_token *added_longest(const eai_added_set *set, const char *text, const char *end)
{
    unsigned byte = (unsigned char)*text;
    size_t low = set->starts[byte], high = set->starts[byte + 1], length = (size_t)(end - text);
    const eai_added_token *longest = NULL;
    for (size_t depth = 1; low < high; depth++) {
        /* Tokens that begin alike lie together, the shortest first. */
        if (set->tokens[low].length == depth)
            longest = &set->tokens[low++];
        if (depth == length)
            break;
        byte = (unsigned char)text[depth];
        low = added_bound(set, low, high, depth, byte);
        high = added_bound(set, low, high, depth, byte + 1);
    }
    return longest;
}

/* Says whether a code point is one of a word. */
static bool added_in_word(uint32_t point)
{
    return eai_unicode_class(point) & EAI_IS_WORD;
}

static bool added_single_word(const char *text, const char *start, const char *stop, const char *end)
{
    return (start == text || !added_in_word(eai_utf8_before(&start))) && (stop == end || !added_in_word(eai_utf8_next(&stop)));
}

bool eai_added_split(const eai_added_set *set, const char *text, size_t length, eai_piece_taker take, void *taker)
{
    const char *end = text + length, *from = text;
    for (const char *at = text; set->count && at < end;) {
        const eai_added_token *token = added_longest(set, at, end);
        if (!token) {
            at++;
            continue;
        }
        const char *start = at, *stop = at + token->length;
        /* The search goes on behind a token, even where it is none or took spaces with it. */
        at = stop;
        if (token->single_word && !added_single_word(text, start, stop, end))
            continue;
        if (token->lstrip) {
            for (const char *before = start; start > text && eai_unicode_class(eai_utf8_before(&before)) & EAI_IS_SPACE;)
                start = before;
            if (start < from)
                start = from;
        }
        if (token->rstrip)
            for (const char *next = stop; stop < end && eai_unicode_class(eai_utf8_next(&next)) & EAI_IS_SPACE;)
                stop = next;
        if (from < start && !take(taker, from, (size_t)(start - from), NULL))
            return false;
        /* Where it lies within the spaces that the one before took, the library has no answer either. */
        if (start > stop)
            return take(taker, NULL, 0, token);
        if (start < stop && !take(taker, start, (size_t)(stop - start), token))
            return false;
        from = stop;
    }
    return from == end || take(taker, from, (size_t)(end - from), NULL);
}
