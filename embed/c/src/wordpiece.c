#include "wordpiece.h"

#include "unicode.h"

bool eai_wordpiece_read(eai_reading *reading, const eai_value *model, const eai_vocabulary *vocabulary,
                        eai_wordpiece *wordpiece)
{
    const eai_value *unknown, *prefix;
    uint32_t most;
    if (!eai_reading_fields(reading, "model", model,
                            "type unk_token$ continuing_subword_prefix$ max_input_chars_per_word# vocab ", &unknown, &prefix,
                            &most))
        return false;
    wordpiece->most = most;
    wordpiece->has_unknown = eai_vocabulary_get(vocabulary, unknown->text, unknown->length, &wordpiece->unknown);
    wordpiece->prefix = eai_reading_copy(reading, prefix->text, prefix->length);
    wordpiece->prefix_length = prefix->length;
    wordpiece->prefix_hash = eai_hash_more(eai_hash_start(), prefix->text, prefix->length);
    return wordpiece->prefix;
}

eai_outcome eai_wordpiece_word(const eai_wordpiece *wordpiece, const eai_vocabulary *vocabulary, const char *word,
                               size_t length, eai_words *ids)
{
    const char *start = word, *end = word + length;
    size_t before = ids->size, points = 0;
    for (size_t index = 0; index < length; index++)
        points += ((unsigned char)word[index] & 0xC0) != 0x80;
    while (points <= wordpiece->most && start < end) {
        bool first = start == word;
        uint32_t hash = first ? eai_hash_start() : wordpiece->prefix_hash;
        size_t prefix = first ? 0 : wordpiece->prefix_length;
        const char *longest = NULL;
        uint32_t id = 0;
        for (const char *at = start; at < end;) {
            const char *next = at;
            eai_utf8_next(&next);
            if (prefix + (size_t)(next - start) > vocabulary->longest)
                break;
            hash = eai_hash_more(hash, at, (size_t)(next - at));
            if (eai_vocabulary_find(vocabulary, hash, wordpiece->prefix, prefix, start, (size_t)(next - start), &id))
                longest = next;
            at = next;
        }
        if (!longest)
            break;
        /* `id` is of the last one found, which is the longest. */
        if (!eai_words_add(ids, id))
            return EAI_NO_MEMORY;
        start = longest;
    }
    if (start == end)
        return EAI_DONE;
    ids->size = before;
    if (!wordpiece->has_unknown)
        return EAI_UNKNOWN;
    return eai_words_add(ids, wordpiece->unknown) ? EAI_DONE : EAI_NO_MEMORY;
}
