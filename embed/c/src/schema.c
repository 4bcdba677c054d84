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
        sound =
            (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9') || *key == '_';
    return sound;
}

/* Goes into a member; returns where the path was before. */
static size_t schema_enter(schema_place *place, const char *key, size_t index)
{
    size_t before = place->length, room = sizeof place->path - before;
    int added = !key                     ? snprintf(place->path + before, room, "[%zu]", index)
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
        snprintf(shown, sizeof shown, value->kind == EAI_ARRAY ? "a list of %zu" : "an object with %zu keys",
                 value->count);
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
static const char *schema_text_problem(char type, const char *text, size_t length)
{
    bool sound = true;
    if (memchr(text, '\0', length))
        return "text without U+0000";
    switch (type) {
    case 't':
        return length ? NULL : "text that is not empty";
    case 'y':
        return eai_dtype_of(text) ? NULL : "one of bool, float16 to float64, int8 to int64, uint8 to uint64";
    case 'h':
        return schema_hex(text, length) ? NULL : "a sha256 of 64 lowercase hex digits";
    case 'F':
        sound = strncmp(text, "sha256:", 7) == 0 && schema_hex(text + 7, length - 7);
        return sound ? NULL : "'sha256:' and 64 lowercase hex digits";
    case 'v':
        return schema_at_least(text) ? NULL : "'>=' and a version, such as '>=1.23'";
    case 'P':
        return eai_path_problem(text, length) ? "a relative path with / and no '..'" : NULL;
    case 'N':
        return eai_name_problem(text, length) ? "a safe name for an adapter" : NULL;
    case 'T':
        sound = strcmp(text, "regression") == 0 || strcmp(text, "single_label_classification") == 0 ||
                strcmp(text, "multi_label_classification") == 0;
        return sound ? NULL : "regression, single_label_classification or multi_label_classification";
    case 'S':
        return strcmp(text, "right") == 0 || strcmp(text, "left") == 0 ? NULL : "'right' or 'left'";
    case 'd':
        return length ? NULL : "a number, or text that is not empty";
    case 'D':
        sound = strcmp(text, "rows") == 0 || strcmp(text, "rank") == 0 || strcmp(text, "labels") == 0;
        return sound ? NULL : "a number, 'rows', 'rank' or 'labels'";
    default:
        return NULL;
    }
}

/* Returns what a number of this type has to be where it isn't, or NULL. */
static const char *schema_number_problem(char type, const eai_value *value)
{
    int64_t least = type == 'c' || type == 'D';
    switch (type) {
    case 'n':
        return NULL;
    case 'p':
        return value->number > 0 ? NULL : "a number over 0";
    case 'f':
        return value->whole && value->integer >= 0 && value->integer <= 5 ? NULL : "PIL's code of a filter, 0 to 5";
    default:
        if (value->whole && value->integer >= least)
            return NULL;
        return least ? "a whole number of 1 or more" : "a whole number of 0 or more";
    }
}

static void schema_scalar(char type, const eai_value *value, schema_place *place)
{
    bool texts = strchr("atyhFvPNTSdD", type) != NULL, numbers = strchr("scnpfdD", type) != NULL;
    const char *expected = texts && numbers ? "a number or text" : texts ? "text" : "a number";
    if (value->kind == EAI_STRING && texts)
        expected = schema_text_problem(type, value->text, value->length);
    else if (value->kind == EAI_NUMBER && numbers)
        expected = schema_number_problem(type, value);
    if (expected)
        schema_expected(place, expected, value);
}

/* Returns what follows a rule. */
static eai_rule schema_behind(eai_rule rule)
{
    while (strchr("?*12", *rule))
        rule++;
    if (*rule == 'G')
        return schema_behind(schema_behind(rule + 1));
    int open = 0;
    do {
        open += strchr("[<{", *rule) != NULL;
        open -= strchr("]>}", *rule) != NULL;
        rule++;
    } while (open);
    return rule;
}

static void schema_value(eai_rule rule, const eai_value *value, schema_place *place);

static void schema_list(eai_rule member_rule, char count, const eai_value *value, schema_place *place)
{
    if (value->kind != EAI_ARRAY) {
        schema_expected(place, "a list", value);
        return;
    }
    if (count == '2' && value->count != 2)
        schema_expected(place, "two members", value);
    if (count == '1' && value->count == 0)
        schema_expected(place, "one member or more", value);
    size_t index = 0;
    for (const eai_value *member = value->first; member; member = member->next) {
        size_t before = schema_enter(place, NULL, index++);
        schema_value(member_rule, member, place);
        schema_leave(place, before);
    }
}

/* Checks an object with any keys; `rule` is that of the keys, and that of the values follows. */
static void schema_map(eai_rule rule, const eai_value *value, schema_place *place)
{
    for (const eai_value *member = value->first; member; member = member->next) {
        size_t before = schema_enter(place, member->key, 0);
        const char *expected = schema_text_problem(*rule, member->key, member->key_length);
        if (expected)
            eai_problem(place->problems, "%s (the key): expected %s", place->path, expected);
        schema_value(rule + 1, member, place);
        schema_leave(place, before);
    }
}

/* Returns the rule of a key in `key:rule;...}`, or NULL where it is not there. */
static eai_rule schema_field(eai_rule fields, const char *key, size_t length)
{
    while (*fields != '}') {
        size_t own = strcspn(fields, ":");
        if (own == length && memcmp(fields, key, length) == 0)
            return fields + own + 1;
        fields = schema_behind(fields + own + 1) + 1;
    }
    return NULL;
}

static void schema_record(eai_rule fields, const eai_value *value, schema_place *place)
{
    for (const eai_value *member = value->first; member; member = member->next) {
        size_t before = schema_enter(place, member->key, 0);
        eai_rule rule = schema_field(fields, member->key, member->key_length);
        if (rule)
            schema_value(rule, member, place);
        else
            eai_problem(place->problems, "%s: unknown key", place->path);
        schema_leave(place, before);
    }
    char key[40];
    for (; *fields != '}'; fields = schema_behind(fields + strlen(key) + 1) + 1) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(fields, ":"), fields);
        if (!eai_json_get(value, key))
            eai_problem(place->problems, "%s.%s: missing", place->path, key);
    }
}

static void schema_object(eai_rule rule, const eai_value *value, schema_place *place)
{
    bool sound = true;
    if (value->kind != EAI_OBJECT) {
        schema_expected(place, "an object", value);
    } else if (*rule == '{') {
        schema_record(rule + 1, value, place);
    } else if (*rule == '<') {
        schema_map(rule + 1, value, place);
    } else if (*rule == 'R') {
        sound = (value->count == 2 && eai_json_get(value, "height") && eai_json_get(value, "width")) ||
                (value->count == 1 && eai_json_get(value, "shortest_edge"));
        schema_map("ac", value, place);
    } else if (*rule == 'K') {
        sound = value->count == 0 || (value->count == 1 && eai_json_get(value, "rank"));
        schema_map("ac", value, place);
    }
    if (!sound)
        schema_expected(place, *rule == 'R' ? "the keys height and width, or shortest_edge" : "only 'rank'", value);
}

static void schema_value(eai_rule rule, const eai_value *value, schema_place *place)
{
    if (*rule == '?' && value->kind == EAI_NULL)
        return;
    rule += *rule == '?';
    if (*rule == '*' && schema_is(value, "stored"))
        return;
    rule += *rule == '*';
    if (*rule == 'G')
        rule = value->kind == EAI_OBJECT && eai_json_get(value, "encoder") ? schema_behind(rule + 1) : rule + 1;
    if (*rule == '[')
        schema_list(rule + 1, '0', value, place);
    else if (*rule == '1' || *rule == '2')
        schema_list(rule + 2, *rule, value, place);
    else if (strchr("{<RKo", *rule))
        schema_object(rule, value, place);
    else
        schema_scalar(*rule, value, place);
}

void eai_check_schema(eai_rule rule, const eai_value *value, eai_problems *problems)
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
        return eai_fail(error, EA_BUNDLE_ERROR,
                        "%.300s has no bundle format, expected '%s'.\nIs it another tool's file?", path, formats[0]);
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
    return eai_fail(error, EA_BUNDLE_ERROR,
                    "%.300s has the format %s, which was never released; this edgeadapt reads %s.", path, format->text,
                    last);
}

ea_status eai_read_schema(const char *path, const char *bytes, size_t length, eai_rule rule, const char *const *formats,
                          eai_document **document, ea_error *error)
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
        status =
            eai_refuse(error, EA_BUNDLE_ERROR, &problems, eai_copy_again, "%.300s breaks the bundle format:", path);
    }
    if (status != EA_OK) {
        eai_json_free(*document);
        *document = NULL;
    }
    return status;
}
