#include "schema.h"

#include "dtype.h"
#include "names.h"

#include <stdio.h>
#include <string.h>

typedef struct schema_place {
    eai_problems *problems;
    size_t length;
    char path[256];
} schema_place;

const char eai_copy_again[] = "Copy it again from where it was made, or export it again.";

static bool schema_is(const eai_value *value, const char *text)
{
    return value->kind == EAI_STRING && value->length == strlen(text) && memcmp(value->text, text, value->length) == 0;
}

static bool schema_identifier(const char *key)
{
    bool sound = *key && !(*key >= '0' && *key <= '9');
    for (; *key && sound; key++)
        sound = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9') || *key == '_';
    return sound;
}

/* Goes into a member; returns where the path was before. */
static size_t schema_enter(schema_place *place, const char *key, size_t index)
{
    size_t before = place->length, room = sizeof place->path - before;
    int added = !key                       ? snprintf(place->path + before, room, "[%zu]", index)
                : schema_identifier(key) ? snprintf(place->path + before, room, ".%s", key)
                                           : snprintf(place->path + before, room, "[\"%s\"]", key);
    place->length += (size_t)added < room ? (size_t)added : room - 1;
    return before;
}

static void schema_leave(schema_place *place, size_t before)
{
    place->length = before;
    place->path[before] = '\0';
}

static void schema_expected(schema_place *place, const char *expected, const eai_value *value)
{
    char shown[80];
    switch (value->kind) {
    case EAI_NULL:
        snprintf(shown, sizeof shown, "null");
        break;
    case EAI_FALSE:
    case EAI_TRUE:
        snprintf(shown, sizeof shown, value->kind == EAI_TRUE ? "true" : "false");
        break;
    case EAI_NUMBER:
        snprintf(shown, sizeof shown, value->whole ? "%.0f" : "%#g", value->number);
        break;
    case EAI_STRING:
        snprintf(shown, sizeof shown, "'%.60s'", value->text);
        break;
    default:
        snprintf(shown, sizeof shown, value->kind == EAI_ARRAY ? "a list of %zu" : "an object with %zu keys", value->count);
    }
    eai_problem(place->problems, "%s: expected %s, got %s", place->path, expected, shown);
}

static bool schema_hex(const char *text, size_t length)
{
    for (size_t index = 0; index < length; index++)
        if (!(text[index] >= '0' && text[index] <= '9') && !(text[index] >= 'a' && text[index] <= 'f'))
            return false;
    return length == 64;
}

/* Tells whether a text is '>=' and two or three numbers, such as '>=1.23'. */
static bool schema_at_least(const char *text)
{
    if (strncmp(text, ">=", 2) != 0)
        return false;
    int numbers = 0;
    for (text += 2;; text++) {
        const char *digits = text;
        while (*text >= '0' && *text <= '9')
            text++;
        if (text == digits)
            return false;
        numbers++;
        if (*text != '.')
            break;
    }
    return *text == '\0' && (numbers == 2 || numbers == 3);
}

/* Returns what a text of this type has to be where it isn't, or NULL. */
static const char *schema_text_problem(eai_type type, const char *text, size_t length)
{
    bool sound = true;
    if (memchr(text, '\0', length))
        return "text without U+0000";
    switch (type) {
    case EAI_TEXT:
        return length ? NULL : "text that is not empty";
    case EAI_DTYPE:
        return eai_dtype_of(text) ? NULL : "one of bool, float16 to float64, int8 to int64, uint8 to uint64";
    case EAI_DIGEST:
        return schema_hex(text, length) ? NULL : "a sha256 of 64 lowercase hex digits";
    case EAI_FINGERPRINT:
        sound = strncmp(text, "sha256:", 7) == 0 && schema_hex(text + 7, length - 7);
        return sound ? NULL : "'sha256:' and 64 lowercase hex digits";
    case EAI_AT_LEAST:
        return schema_at_least(text) ? NULL : "'>=' and a version, such as '>=1.23'";
    case EAI_PATH:
        return eai_path_problem(text, length) ? "a relative path with / and no '..'" : NULL;
    case EAI_NAME:
        return eai_name_problem(text, length) ? "a safe name for an adapter" : NULL;
    case EAI_PROBLEM_TYPE:
        sound = strcmp(text, "regression") == 0 || strcmp(text, "single_label_classification") == 0 ||
                strcmp(text, "multi_label_classification") == 0;
        return sound ? NULL : "regression, single_label_classification or multi_label_classification";
    case EAI_SIDE:
        return strcmp(text, "right") == 0 || strcmp(text, "left") == 0 ? NULL : "'right' or 'left'";
    case EAI_DIMENSION:
        return length ? NULL : "a number, or text that is not empty";
    case EAI_SLOT_DIMENSION:
        sound = strcmp(text, "rows") == 0 || strcmp(text, "rank") == 0 || strcmp(text, "labels") == 0;
        return sound ? NULL : "a number, 'rows', 'rank' or 'labels'";
    default:
        return NULL;
    }
}

/* Returns what a number of this type has to be where it isn't, or NULL. */
static const char *schema_number_problem(eai_type type, const eai_value *value)
{
    switch (type) {
    case EAI_SIZE:
    case EAI_DIMENSION:
        return value->whole && value->integer >= 0 ? NULL : "a whole number of 0 or more";
    case EAI_COUNT:
    case EAI_SLOT_DIMENSION:
        return value->whole && value->integer >= 1 ? NULL : "a whole number of 1 or more";
    case EAI_POSITIVE:
        return value->number > 0 ? NULL : "a number over 0";
    case EAI_FILTER:
        return value->whole && value->integer >= 0 && value->integer <= 5 ? NULL : "PIL's code of a filter, 0 to 5";
    default:
        return NULL;
    }
}

static bool schema_takes_text(eai_type type)
{
    return type <= EAI_TEXT || (type >= EAI_DTYPE && type <= EAI_SLOT_DIMENSION);
}

static bool schema_takes_numbers(eai_type type)
{
    return (type >= EAI_SIZE && type <= EAI_FILTER) || type == EAI_DIMENSION || type == EAI_SLOT_DIMENSION;
}

static void schema_scalar(const eai_rule *rule, const eai_value *value, schema_place *place)
{
    const char *expected = schema_takes_text(rule->type) ? "text" : "a number";
    if (value->kind == EAI_STRING && schema_takes_text(rule->type))
        expected = schema_text_problem(rule->type, value->text, value->length);
    else if (value->kind == EAI_NUMBER && schema_takes_numbers(rule->type))
        expected = schema_number_problem(rule->type, value);
    else if (schema_takes_text(rule->type) && schema_takes_numbers(rule->type))
        expected = "a number or text";
    if (expected)
        schema_expected(place, expected, value);
}

static void schema_value(const eai_rule *rule, const eai_value *value, schema_place *place);

static void schema_list(const eai_rule *rule, const eai_value *value, schema_place *place)
{
    char expected[40];
    if (rule->exactly && value->count != rule->exactly) {
        snprintf(expected, sizeof expected, "%d members", rule->exactly);
        schema_expected(place, expected, value);
    } else if (value->count < rule->least) {
        snprintf(expected, sizeof expected, "%d member or more", rule->least);
        schema_expected(place, expected, value);
    }
    size_t index = 0;
    for (const eai_value *member = value->first; member; member = member->next) {
        size_t before = schema_enter(place, NULL, index++);
        schema_value(rule->inner, member, place);
        schema_leave(place, before);
    }
}

static void schema_map(const eai_rule *rule, const eai_value *value, schema_place *place)
{
    for (const eai_value *member = value->first; member; member = member->next) {
        size_t before = schema_enter(place, member->key, 0);
        const char *expected = schema_text_problem(rule->keys->type, member->key, member->key_length);
        if (expected)
            eai_problem(place->problems, "%s (the key): expected %s", place->path, expected);
        schema_value(rule->inner, member, place);
        schema_leave(place, before);
    }
    if (rule->only && !rule->only(value))
        schema_expected(place, rule->only_expected, value);
}

static void schema_record(const eai_field *fields, const eai_value *value, schema_place *place)
{
    for (const eai_value *member = value->first; member; member = member->next) {
        const eai_field *field = fields;
        while (field->key && (strlen(field->key) != member->key_length || strcmp(field->key, member->key) != 0))
            field++;
        size_t before = schema_enter(place, member->key, 0);
        if (field->key)
            schema_value(&field->rule, member, place);
        else
            eai_problem(place->problems, "%s: unknown key", place->path);
        schema_leave(place, before);
    }
    for (const eai_field *field = fields; field->key; field++)
        if (!eai_json_get(value, field->key))
            eai_problem(place->problems, "%s.%s: missing", place->path, field->key);
}

static void schema_value(const eai_rule *rule, const eai_value *value, schema_place *place)
{
    if (value->kind == EAI_NULL && rule->null)
        return;
    if (rule->type < EAI_ANY_OBJECT) {
        schema_scalar(rule, value, place);
    } else if (rule->type == EAI_LIST) {
        if (value->kind == EAI_ARRAY)
            schema_list(rule, value, place);
        else
            schema_expected(place, "a list", value);
    } else if (rule->type == EAI_STORED_OR && schema_is(value, "stored")) {
        return;
    } else if (value->kind != EAI_OBJECT) {
        schema_expected(place, rule->type == EAI_STORED_OR ? "an object, 'stored' or null" : "an object", value);
    } else if (rule->type == EAI_MAP) {
        schema_map(rule, value, place);
    } else if (rule->type == EAI_GENERATION && eai_json_get(value, "encoder")) {
        schema_record(rule->inner->fields, value, place);
    } else if (rule->type != EAI_ANY_OBJECT) {
        schema_record(rule->fields, value, place);
    }
}

void eai_check_schema(const eai_rule *rule, const eai_value *value, eai_problems *problems)
{
    schema_place place = {.problems = problems, .length = 1, .path = "$"};
    schema_value(rule, value, &place);
}

/* Reads `<major>.<minor>`, without leading zeros and of four digits each at most. */
static bool schema_version(const char *text, size_t length, int version[2])
{
    const char *end = text + length;
    for (int part = 0; part < 2; part++) {
        const char *digits = text;
        version[part] = 0;
        while (text < end && *text >= '0' && *text <= '9' && text - digits < 4)
            version[part] = version[part] * 10 + (*text++ - '0');
        if (text == digits || (*digits == '0' && text - digits > 1) || (part == 0 && (text == end || *text++ != '.')))
            return false;
    }
    return text == end;
}

static ea_status schema_format(const char *path, const eai_value *root, const char *const *formats, ea_error *error)
{
    const eai_value *format = eai_json_get(root, "format");
    int version[2], highest[2] = {0, 0};
    if (!format || format->kind != EAI_STRING || !schema_version(format->text, format->length, version))
        return eai_fail(error, EA_BUNDLE_ERROR, "%.300s has no bundle format, expected '%s'.\nIs it another tool's file?",
                        path, formats[0]);
    const char *last = formats[0];
    for (; *formats; formats++) {
        if (schema_is(format, *formats))
            return EA_OK;
        last = *formats;
    }
    schema_version(last, strlen(last), highest);
    if (version[0] > highest[0] || (version[0] == highest[0] && version[1] > highest[1]))
        return eai_fail(error, EA_BUNDLE_ERROR,
                        "%.300s was written by a newer edgeadapt: its format is %s, this one reads %s.\n"
                        "Update edgeadapt, or export again with this version.",
                        path, format->text, last);
    return eai_fail(error, EA_BUNDLE_ERROR, "%.300s has the format %s, which was never released; this edgeadapt reads %s.",
                    path, format->text, last);
}

ea_status eai_read_schema(const char *path, const char *bytes, size_t length, const eai_rule *rule,
                          const char *const *formats, eai_document **document, ea_error *error)
{
    char reason[256];
    *document = eai_json_parse(bytes, length, reason, sizeof reason);
    if (!*document && strcmp(reason, EAI_JSON_NO_MEMORY) == 0)
        return eai_no_memory(error);
    if (!*document)
        return eai_fail(error, EA_BUNDLE_ERROR, "%.300s is not JSON as the format has it: %s.\n%s", path, reason,
                        eai_copy_again);
    const eai_value *root = eai_json_root(*document);
    ea_status status = schema_format(path, root, formats, error);
    if (status == EA_OK) {
        eai_problems problems = {0};
        eai_check_schema(rule, root, &problems);
        status = eai_refuse(error, EA_BUNDLE_ERROR, &problems, eai_copy_again, "%.300s breaks the bundle format:", path);
    }
    if (status != EA_OK) {
        eai_json_free(*document);
        *document = NULL;
    }
    return status;
}
