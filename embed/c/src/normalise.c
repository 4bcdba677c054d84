#include "normalise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "canonical.h"
#include "unicode.h"

typedef enum normal_kind {
    NORMAL_CLEAN,
    NORMAL_CHINESE,
    NORMAL_NFD,
    NORMAL_NFC,
    NORMAL_STRIP_NONSPACING,
    NORMAL_STRIP_MARKS,
    NORMAL_LOWER,
    NORMAL_PREPEND,
    NORMAL_REPLACE
} normal_kind;

struct eai_normaliser {
    eai_normaliser *next;
    normal_kind kind;
    const char *text, *pattern; /* of NORMAL_PREPEND and NORMAL_REPLACE */
    size_t text_length, pattern_length;
};

typedef struct normal_list {
    eai_normaliser *first, **end;
} normal_list;

static eai_normaliser *normal_append(eai_reading *reading, normal_list *list, normal_kind kind)
{
    eai_normaliser *step = eai_take(reading->arena, 1, sizeof *step);
    if (!step) {
        eai_reading_no_memory(reading);
        return NULL;
    }
    step->kind = kind;
    *list->end = step;
    list->end = &step->next;
    return step;
}

static bool normal_read_bert(eai_reading *reading, const char *where, const eai_value *object, normal_list *list)
{
    bool clean, chinese, strip, lower;
    const eai_value *accents = eai_json_get(object, "strip_accents");
    bool follows = !accents || accents->kind == EAI_NULL;
    if (!eai_reading_fields(reading, where, object,
                            follows ? "type clean_text! handle_chinese_chars! lowercase! strip_accents "
                                    : "type clean_text! handle_chinese_chars! lowercase! strip_accents! ",
                            &clean, &chinese, &lower, &strip))
        return false;
    if (follows)
        strip = lower;
    return (!clean || normal_append(reading, list, NORMAL_CLEAN)) &&
           (!chinese || normal_append(reading, list, NORMAL_CHINESE)) &&
           (!strip || (normal_append(reading, list, NORMAL_NFD) && normal_append(reading, list, NORMAL_STRIP_NONSPACING))) &&
           (!lower || normal_append(reading, list, NORMAL_LOWER));
}

/* Reads Prepend, {"prepend": text}, or Replace, {"pattern": {"String": text}, "content": text}. */
static bool normal_read_text(eai_reading *reading, const char *where, const eai_value *object, normal_list *list,
                             bool replaces)
{
    const eai_value *text, *pattern = NULL;
    if (!eai_reading_fields(reading, where, object, replaces ? "type pattern content$ " : "type prepend$ ", &text))
        return false;
    if (replaces) {
        if (!eai_reading_fields(reading, where, eai_json_get(object, "pattern"), "String$ ", &pattern))
            return false;
        if (!pattern->length)
            return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "%s.pattern: an empty text is not supported", where);
    }
    eai_normaliser *step = normal_append(reading, list, replaces ? NORMAL_REPLACE : NORMAL_PREPEND);
    if (!step)
        return false;
    step->text = eai_reading_copy(reading, text->text, text->length);
    step->text_length = text->length;
    if (pattern) {
        step->pattern = eai_reading_copy(reading, pattern->text, pattern->length);
        step->pattern_length = pattern->length;
    }
    return step->text && (!pattern || step->pattern);
}

static bool normal_read(eai_reading *reading, const char *where, const eai_value *object, normal_list *list)
{
    static const struct {
        char name[13];
        normal_kind kind;
    } plain[] = {
        {"NFD", NORMAL_NFD},
        {"NFC", NORMAL_NFC},
        {"StripAccents", NORMAL_STRIP_MARKS},
        {"Lowercase", NORMAL_LOWER},
    };
    const eai_value *type;
    if (!eai_reading_type(reading, where, object, &type))
        return false;
    if (eai_text_is(type, "BertNormalizer"))
        return normal_read_bert(reading, where, object, list);
    if (eai_text_is(type, "Prepend") || eai_text_is(type, "Replace"))
        return normal_read_text(reading, where, object, list, eai_text_is(type, "Replace"));
    for (size_t index = 0; index < sizeof plain / sizeof *plain; index++)
        if (eai_text_is(type, plain[index].name))
            return eai_reading_fields(reading, where, object, "type ") && normal_append(reading, list, plain[index].kind);
    if (eai_text_is(type, "Sequence")) {
        const eai_value *members;
        if (!eai_reading_fields(reading, where, object, "type normalizers@ ", &members))
            return false;
        for (const eai_value *member = members->first; member; member = member->next)
            if (!normal_read(reading, "a normalizer of a Sequence", member, list))
                return false;
        return true;
    }
    return eai_reading_no_type(reading, where, type);
}

bool eai_normaliser_read(eai_reading *reading, const eai_value *normalizer, const eai_normaliser **normaliser)
{
    normal_list list = {.end = &list.first};
    if (normalizer && normalizer->kind != EAI_NULL && !normal_read(reading, "normalizer", normalizer, &list))
        return false;
    *normaliser = list.first;
    return true;
}

/* BERT's idea of a Chinese character, which its blocks are. */
static bool normal_is_chinese(uint32_t point)
{
    return (point >= 0x4E00 && point <= 0x9FFF) || (point >= 0x3400 && point <= 0x4DBF) ||
           (point >= 0x20000 && point <= 0x2A6DF) || (point >= 0x2A700 && point <= 0x2B73F) ||
           (point >= 0x2B740 && point <= 0x2B81F) || (point >= 0x2B920 && point <= 0x2CEAF) ||
           (point >= 0xF900 && point <= 0xFAFF) || (point >= 0x2F800 && point <= 0x2FA1F);
}

/* Writes what one code point becomes, and returns how many code points that is. */
static size_t normal_point(normal_kind kind, uint32_t point, uint32_t out[3])
{
    out[0] = point;
    switch (kind) {
    case NORMAL_CLEAN:
        if (eai_unicode_class(point) & EAI_IS_CONTROL)
            return 0;
        if (eai_unicode_class(point) & EAI_IS_SPACE)
            out[0] = ' ';
        return 1;
    case NORMAL_CHINESE:
        if (!normal_is_chinese(point))
            return 1;
        out[0] = out[2] = ' ';
        out[1] = point;
        return 3;
    case NORMAL_STRIP_NONSPACING:
        return !(eai_unicode_class(point) & EAI_IS_NONSPACING);
    case NORMAL_STRIP_MARKS:
        return !(eai_unicode_class(point) & EAI_IS_MARK);
    case NORMAL_LOWER:
        return eai_unicode_lower(point, out);
    default:
        return 1;
    }
}

static bool normal_points(normal_kind kind, const eai_string *text, eai_string *out)
{
    const char *at = text->data, *end = text->data + text->size;
    while (at < end) {
        uint32_t points[3];
        char bytes[12];
        size_t size = 0, count = normal_point(kind, eai_utf8_next(&at), points);
        for (size_t index = 0; index < count; index++)
            size += eai_utf8_write(points[index], bytes + size);
        if (!eai_string_add(out, bytes, size))
            return false;
    }
    return true;
}

static bool normal_replace(const eai_normaliser *step, const eai_string *text, eai_string *out)
{
    size_t at = 0, from = 0;
    while (text->size - at >= step->pattern_length) {
        if (memcmp(text->data + at, step->pattern, step->pattern_length) != 0) {
            at++;
            continue;
        }
        if (!eai_string_add(out, text->data + from, at - from) || !eai_string_add(out, step->text, step->text_length))
            return false;
        at += step->pattern_length;
        from = at;
    }
    return eai_string_add(out, text->data + from, text->size - from);
}

bool eai_normalise(const eai_normaliser *normaliser, eai_normalising *state)
{
    for (const eai_normaliser *step = normaliser; step && state->text.size; step = step->next) {
        bool done, changed = true;
        state->other.size = 0;
        if (step->kind == NORMAL_NFD || step->kind == NORMAL_NFC)
            done = eai_canonical(step->kind == NORMAL_NFC, &state->text, &state->other, &state->points, &changed);
        else if (step->kind == NORMAL_PREPEND)
            done = eai_string_add(&state->other, step->text, step->text_length) &&
                   eai_string_add(&state->other, state->text.data, state->text.size);
        else if (step->kind == NORMAL_REPLACE)
            done = normal_replace(step, &state->text, &state->other);
        else
            done = normal_points(step->kind, &state->text, &state->other);
        if (!done)
            return false;
        if (changed) {
            eai_string text = state->text;
            state->text = state->other;
            state->other = text;
        }
    }
    return true;
}

void eai_normalising_free(eai_normalising *state)
{
    free(state->text.data);
    free(state->other.data);
    free(state->points.data);
}
