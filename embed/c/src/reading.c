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

static bool reading_named(const char *names, const char *name, size_t length)
{
    while (*names) {
        const char *end = strchr(names, ' ');
        if ((size_t)(end - names) == length && memcmp(names, name, length) == 0)
            return true;
        names = end + 1;
    }
    return false;
}

bool eai_reading_object(eai_reading *reading, const char *where, const eai_value *object, const char *known)
{
    if (!object || object->kind != EAI_OBJECT)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected an object", where);
    for (const eai_value *member = object->first; member; member = member->next)
        if (!reading_named(known, member->key, member->key_length))
            return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR,
                              "%s: the key \"%.100s\" is not supported here; supported are: %s", where, member->key, known);
    return true;
}

bool eai_reading_flag(eai_reading *reading, const char *where, const eai_value *object, const char *key, int fallback,
                      bool *flag)
{
    const eai_value *value = eai_json_get(object, key);
    if (!value && fallback >= 0) {
        *flag = fallback;
        return true;
    }
    if (!value || (value->kind != EAI_TRUE && value->kind != EAI_FALSE))
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s.%s: expected true or false", where, key);
    *flag = value->kind == EAI_TRUE;
    return true;
}

bool eai_reading_text(eai_reading *reading, const char *where, const eai_value *object, const char *key, bool needed,
                      const eai_value **text)
{
    const eai_value *value = eai_json_get(object, key);
    *text = NULL;
    if (!needed && (!value || value->kind == EAI_NULL))
        return true;
    if (!value || value->kind != EAI_STRING)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s.%s: expected a string", where, key);
    *text = value;
    return true;
}

bool eai_reading_array(eai_reading *reading, const char *where, const eai_value *object, const char *key,
                       const eai_value **array)
{
    *array = eai_json_get(object, key);
    if (!*array || (*array)->kind != EAI_ARRAY)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s.%s: expected an array", where, key);
    return true;
}

bool eai_reading_number(eai_reading *reading, const char *where, const eai_value *value, uint32_t *number)
{
    if (!value || value->kind != EAI_NUMBER || !value->whole || value->integer < 0 || value->integer > UINT32_MAX)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected a whole number of 0 to 4294967295", where);
    *number = (uint32_t)value->integer;
    return true;
}

bool eai_reading_type(eai_reading *reading, const char *where, const eai_value *object, const eai_value **type)
{
    if (!object || object->kind != EAI_OBJECT)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected an object", where);
    return eai_reading_text(reading, where, object, "type", true, type);
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
