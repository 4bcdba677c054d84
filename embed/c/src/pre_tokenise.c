#include "pre_tokenise.h"

#include <string.h>

#include "unicode.h"
#include "word_pattern.h"

typedef enum pre_kind { PRE_BERT, PRE_DIGITS, PRE_BYTE_LEVEL, PRE_SPLIT } pre_kind;

struct eai_pre_tokeniser {
    eai_pre_tokeniser *next;
    pre_kind kind;
    bool single;    /* PRE_DIGITS: each digit is a word; else a run of them is */
    bool prefix;    /* PRE_BYTE_LEVEL: a text gets a space before it */
    bool splits;    /* PRE_BYTE_LEVEL: by the pattern */
    int level;      /* PRE_BYTE_LEVEL: how many come before */
    eai_word_pattern pattern;
};

typedef struct pre_list {
    eai_pre_tokeniser *first, **end;
    int levels, steps;
} pre_list;

/* Each step of a text stands on the stack of the one before it. */
enum { PRE_STEPS = 32 };

static eai_pre_tokeniser *pre_append(eai_reading *reading, pre_list *list, pre_kind kind)
{
    if (list->steps++ == PRE_STEPS) {
        eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "pre_tokenizer: more than %d steps are not supported", PRE_STEPS);
        return NULL;
    }
    eai_pre_tokeniser *step = eai_take(reading->arena, 1, sizeof *step);
    if (!step) {
        eai_reading_no_memory(reading);
        return NULL;
    }
    step->kind = kind;
    *list->end = step;
    list->end = &step->next;
    return step;
}

static bool pre_read_byte_level(eai_reading *reading, const char *where, const eai_value *object, pre_list *list)
{
    bool prefix, trim, splits;
    if (!eai_reading_fields(reading, where, object, "type add_prefix_space! trim_offsets! use_regex+ ", &prefix, &trim,
                            &splits))
        return false;
    if (list->levels == EAI_PRE_TOKENISER_LEVELS)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "%s: more than %d ByteLevel are not supported", where,
                          EAI_PRE_TOKENISER_LEVELS);
    eai_pre_tokeniser *step = pre_append(reading, list, PRE_BYTE_LEVEL);
    if (!step)
        return false;
    step->prefix = prefix;
    step->splits = splits;
    step->level = list->levels++;
    step->pattern = EAI_PATTERN_GPT2;
    return true;
}

/* Reads Split. The patterns part a text without rest, so that keeping all pieces (Isolated) and removing what lies
 * between matches (Removed, inverted) are the same. */
static bool pre_read_split(eai_reading *reading, const char *where, const eai_value *object, pre_list *list)
{
    const eai_value *behavior, *regex;
    bool inverted;
    eai_word_pattern pattern;
    if (!eai_reading_fields(reading, where, object, "type pattern behavior$ invert! ", &behavior, &inverted) ||
        !eai_reading_fields(reading, where, eai_json_get(object, "pattern"), "Regex$ ", &regex))
        return false;
    if (!eai_word_pattern_named(regex->text, regex->length, &pattern))
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                                "%s: only the regular expressions of GPT-2, Llama 3 and Qwen2 are supported, not %.400s", where,
                                regex->text);
    if (!eai_text_is(behavior, inverted ? "Removed" : "Isolated"))
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                                "%s: only Isolated, and Removed with invert, are supported, not \"%.100s\" with invert %d",
                                where, behavior->text, inverted);
    eai_pre_tokeniser *step = pre_append(reading, list, PRE_SPLIT);
    if (!step)
        return false;
    step->pattern = pattern;
    return true;
}

static bool pre_read(eai_reading *reading, const char *where, const eai_value *object, pre_list *list)
{
    const eai_value *type;
    if (!eai_reading_type(reading, where, object, &type))
        return false;
    if (eai_text_is(type, "BertPreTokenizer"))
        return eai_reading_fields(reading, where, object, "type ") && pre_append(reading, list, PRE_BERT);
    if (eai_text_is(type, "Digits")) {
        bool single;
        if (!eai_reading_fields(reading, where, object, "type individual_digits! ", &single))
            return false;
        eai_pre_tokeniser *step = pre_append(reading, list, PRE_DIGITS);
        if (step)
            step->single = single;
        return step;
    }
    if (eai_text_is(type, "ByteLevel"))
        return pre_read_byte_level(reading, where, object, list);
    if (eai_text_is(type, "Split"))
        return pre_read_split(reading, where, object, list);
    if (eai_text_is(type, "Sequence")) {
        const eai_value *members;
        if (!eai_reading_fields(reading, where, object, "type pretokenizers@ ", &members))
            return false;
        for (const eai_value *member = members->first; member; member = member->next)
            if (!pre_read(reading, "a pre-tokenizer of a Sequence", member, list))
                return false;
        return true;
    }
    return eai_reading_no_type(reading, where, type);
}

bool eai_pre_tokeniser_read(eai_reading *reading, const eai_value *pre_tokenizer, const eai_pre_tokeniser **pre_tokeniser)
{
    pre_list list = {.end = &list.first};
    if (pre_tokenizer && pre_tokenizer->kind != EAI_NULL && !pre_read(reading, "pre_tokenizer", pre_tokenizer, &list))
        return false;
    *pre_tokeniser = list.first;
    return true;
}

typedef struct pre_run {
    eai_string *buffers;
    eai_word_taker take;
    void *taker;
} pre_run;

static bool pre_step(const pre_run *run, const eai_pre_tokeniser *step, const char *text, const char *end);

/* Hands a piece that isn't empty to the next step. */
static bool pre_piece(const pre_run *run, const eai_pre_tokeniser *step, const char *text, const char *end)
{
    if (text == end)
        return true;
    return step ? pre_step(run, step, text, end) : run->take(run->taker, text, (size_t)(end - text));
}

/* Writes bytes as GPT-2 does: those that print in Latin-1 as themselves, the others as U+0100 and on. */
static bool pre_write_bytes(eai_string *buffer, const char *text, const char *end)
{
    buffer->size = 0;
    if (!eai_string_reserve(buffer, 2 * (size_t)(end - text)))
        return false;
    for (; text < end; text++) {
        uint32_t byte = (unsigned char)*text, point = byte;
        if (byte <= 0x20)
            point = 0x100 + byte;
        else if (byte >= 0x7F && byte <= 0xA0)
            point = 0x100 + 0x21 + (byte - 0x7F);
        else if (byte == 0xAD)
            point = 0x143;
        buffer->size += eai_utf8_write(point, buffer->data + buffer->size);
    }
    return true;
}

static bool pre_byte_level(const pre_run *run, const eai_pre_tokeniser *step, const char *text, const char *end)
{
    eai_string *prefixed = &run->buffers[2 * step->level], *written = prefixed + 1;
    if (step->prefix && *text != ' ') {
        prefixed->size = 0;
        if (!eai_string_add(prefixed, " ", 1) || !eai_string_add(prefixed, text, (size_t)(end - text)))
            return false;
        text = prefixed->data;
        end = text + prefixed->size;
    }
    while (text < end) {
        const char *match = step->splits ? eai_word_pattern_match(step->pattern, text, end) : end;
        if (!pre_write_bytes(written, text, match) ||
            !pre_piece(run, step->next, written->data, written->data + written->size))
            return false;
        text = match;
    }
    return true;
}

/* Parts a text where the class of code points changes: at each one of `classes`, where `single` is set, or at runs. */
static bool pre_classes(const pre_run *run, const eai_pre_tokeniser *step, unsigned classes, bool single, const char *text,
                        const char *end)
{
    const char *from = text;
    bool inside = false;
    while (text < end) {
        const char *at = text;
        bool found = eai_unicode_class(eai_utf8_next(&text)) & classes;
        if (found != inside || (found && single)) {
            if (!pre_piece(run, step->next, from, at))
                return false;
            from = at;
            inside = found;
        }
    }
    return pre_piece(run, step->next, from, end);
}

/* Parts a text at spaces, which vanish, and at punctuation, each of which is a word. */
static bool pre_bert(const pre_run *run, const eai_pre_tokeniser *step, const char *text, const char *end)
{
    const char *from = text;
    while (text < end) {
        const char *at = text;
        unsigned found = eai_unicode_class(eai_utf8_next(&text)) & (EAI_IS_SPACE | EAI_IS_PUNCTUATION);
        if (!found)
            continue;
        if (!pre_piece(run, step->next, from, at) || (!(found & EAI_IS_SPACE) && !pre_piece(run, step->next, at, text)))
            return false;
        from = text;
    }
    return pre_piece(run, step->next, from, end);
}

static bool pre_step(const pre_run *run, const eai_pre_tokeniser *step, const char *text, const char *end)
{
    switch (step->kind) {
    case PRE_BERT:
        return pre_bert(run, step, text, end);
    case PRE_DIGITS:
        return pre_classes(run, step, EAI_IS_NUMERIC, step->single, text, end);
    case PRE_BYTE_LEVEL:
        return pre_byte_level(run, step, text, end);
    case PRE_SPLIT:
        break;
    }
    while (text < end) {
        const char *match = eai_word_pattern_match(step->pattern, text, end);
        if (!pre_piece(run, step->next, text, match))
            return false;
        text = match;
    }
    return true;
}

bool eai_pre_tokenise(const eai_pre_tokeniser *pre_tokeniser, const char *text, size_t length, eai_string *buffers,
                      eai_word_taker take, void *taker)
{
    pre_run run = {buffers, take, taker};
    return pre_piece(&run, pre_tokeniser, text, text + length);
}
