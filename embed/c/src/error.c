#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Returns the length of the UTF-8 character that begins a text, or 0 where none does. */
static size_t error_character(const unsigned char *text)
{
    unsigned char lead = text[0], second = lead ? text[1] : 0;
    size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    bool sound = lead < 0x80 || (lead >= 0xC2 && lead <= 0xF4);
    for (size_t index = 1; index < length && sound; index++)
        sound = (text[index] & 0xC0) == 0x80;
    sound = sound && !(lead == 0xE0 && second < 0xA0) && !(lead == 0xED && second > 0x9F) &&
            !(lead == 0xF0 && second < 0x90) && !(lead == 0xF4 && second > 0x8F);
    return sound ? length : 0;
}

/* Takes out control characters, and what is left of characters that were cut, as names and texts from files are.
 * Returns the length. */
static size_t error_clean(char *text)
{
    size_t index = 0;
    while (text[index]) {
        size_t length = error_character((const unsigned char *)text + index);
        bool control = ((unsigned char)text[index] < 0x20 && text[index] != '\n') || text[index] == 0x7F;
        if (!length || control)
            text[index] = '?';
        index += length ? length : 1;
    }
    return index;
}

void eai_clear(ea_error *error)
{
    if (error) {
        error->status = EA_OK;
        error->message[0] = '\0';
    }
}

ea_status eai_fail(ea_error *error, ea_status status, const char *format, ...)
{
    if (error) {
        va_list values;
        va_start(values, format);
        vsnprintf(error->message, sizeof error->message, format, values);
        va_end(values);
        error_clean(error->message);
        error->status = status;
    }
    return status;
}

ea_status eai_no_memory(ea_error *error)
{
    return eai_fail(error, EA_MEMORY_ERROR, "Out of memory.");
}

void eai_problem(eai_problems *problems, const char *format, ...)
{
    char line[320];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    size_t length = error_clean(line);
    for (char *feed = line; (feed = strchr(feed, '\n')) != NULL;)
        *feed = '?';
    problems->count++;
    if (problems->hidden || length + 4 > sizeof problems->text - problems->length) {
        problems->hidden++;
        return;
    }
    int added = snprintf(problems->text + problems->length, sizeof problems->text - problems->length, "  %s\n", line);
    problems->length += (size_t)added;
}

ea_status eai_refuse(ea_error *error, ea_status status, const eai_problems *problems, const char *remedy,
                     const char *headline, ...)
{
    if (!problems->count)
        return EA_OK;
    char head[512], hidden[48] = "";
    va_list values;
    va_start(values, headline);
    vsnprintf(head, sizeof head, headline, values);
    va_end(values);
    if (problems->hidden)
        snprintf(hidden, sizeof hidden, "  and %zu more\n", problems->hidden);
    return eai_fail(error, status, "%s\n%s%s%s", head, problems->text, hidden, remedy);
}

const char *ea_status_name(ea_status status)
{
    static const char names[][17] = {"OK",           "ConfigError", "UnsupportedError", "BundleError",
                                     "AdapterError", "InputError",  "ProviderError",    "MemoryError"};
    return status >= EA_OK && status <= EA_MEMORY_ERROR ? names[status] : "no status";
}
