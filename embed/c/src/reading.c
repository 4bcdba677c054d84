#include "reading.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool eai_reading_fail(eai_reading *reading, ea_status status, const char *format, ...)
{
    if (reading->status != EA_OK)
        return false;
    reading->status = status;
    char problem[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    eai_fail(reading->error, status, "%.900s: %s", reading->file, problem);
    return false;
}

bool eai_reading_no_memory(eai_reading *reading)
{
    return eai_reading_fail(reading, EA_MEMORY_ERROR, "out of memory");
}

/* Reads one value as its mark says; NULL where it is absent. */
static bool reading_value(const eai_value *value, char mark, void *out)
{
    eai_kind kind = value ? value->kind : EAI_NULL;
    switch (mark) {
    case '+':
    case '-':
    case '!':
        *(bool *)out = kind == EAI_TRUE || (!value && mark == '+');
        return kind == EAI_TRUE || kind == EAI_FALSE || (!value && mark != '!');
    case '#':
        if (kind != EAI_NUMBER || !value->whole || value->integer < 0 || value->integer > UINT32_MAX)
            return false;
        *(uint32_t *)out = (uint32_t)value->integer;
        return true;
    default:
        *(const eai_value **)out = kind == EAI_NULL ? NULL : value;
        return mark == '@' ? kind == EAI_ARRAY : kind == EAI_STRING || (kind == EAI_NULL && mark == '?');
    }
}

static const char *reading_expected(char mark)
{
    return mark == '#'   ? "a whole number of 0 to 4294967295"
           : mark == '@' ? "an array"
           : mark == '$' || mark == '?' ? "a string"
                                        : "true or false";
}

bool eai_reading_fields(eai_reading *reading, const char *where, const eai_value *object, const char *fields, ...)
{
    if (!object || object->kind != EAI_OBJECT)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected an object", where);
    const char *marks = "!+-$?@# ";
    for (const eai_value *member = object->first; member; member = member->next) {
        const char *name = fields;
        while (*name && (member->key_length != strcspn(name, marks) || memcmp(member->key, name, member->key_length) != 0))
            name = strchr(name, ' ') + 1;
        if (!*name)
            return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "%s: the key \"%.100s\" is not supported", where,
                                    member->key);
    }
    bool read = true;
    va_list out;
    va_start(out, fields);
    for (const char *name = fields; read && *name; name = strchr(name, ' ') + 1) {
        size_t length = strcspn(name, marks);
        const eai_value *value = object->first;
        while (value && (value->key_length != length || memcmp(value->key, name, length) != 0))
            value = value->next;
        if (name[length] != ' ' && !reading_value(value, name[length], va_arg(out, void *)))
            read = eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s.%.*s: expected %s", where, (int)length, name,
                                    reading_expected(name[length]));
    }
    va_end(out);
    return read;
}

bool eai_reading_number(eai_reading *reading, const char *where, const eai_value *value, uint32_t *number)
{
    return reading_value(value, '#', number) ||
           eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected %s", where, reading_expected('#'));
}

bool eai_reading_type(eai_reading *reading, const char *where, const eai_value *object, const eai_value **type)
{
    *type = eai_json_get(object, "type");
    return (*type && (*type)->kind == EAI_STRING) ||
           eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected an object with a type", where);
}

bool eai_reading_no_type(eai_reading *reading, const char *where, const eai_value *type)
{
    return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "%s: the type \"%.100s\" is not supported", where, type->text);
}

bool eai_text_is(const eai_value *value, const char *text)
{
    return value && value->kind == EAI_STRING && value->length == strlen(text) && memcmp(value->text, text, value->length) == 0;
}

char *eai_reading_copy(eai_reading *reading, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? eai_take(reading->arena, length + 1, 1) : NULL;
    if (!copy)
        eai_reading_no_memory(reading);
    else if (length)
        memcpy(copy, text, length);
    return copy;
}
