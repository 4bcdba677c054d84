#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Takes control characters out, and what is left of a character at the end that was cut. */
static size_t error_clean(char *text, bool cut)
{
    size_t length = strlen(text);
    for (size_t index = 0; index < length; index++)
        if (((unsigned char)text[index] < 0x20 && text[index] != '\n') || text[index] == 0x7F)
            text[index] = '?';
    if (cut) {
        while (length && ((unsigned char)text[length - 1] & 0xC0) == 0x80)
            length--;
        if (length && (unsigned char)text[length - 1] >= 0xC0)
            length--;
        text[length] = '\0';
    }
    return length;
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
        int wanted = vsnprintf(error->message, sizeof error->message, format, values);
        va_end(values);
        error_clean(error->message, wanted >= (int)sizeof error->message);
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
    int wanted = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    size_t length = error_clean(line, wanted >= (int)sizeof line);
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
    static const char *const names[] = {"OK",           "ConfigError", "UnsupportedError", "BundleError",
                                        "AdapterError", "InputError",  "ProviderError",    "MemoryError"};
    return status >= EA_OK && status <= EA_MEMORY_ERROR ? names[status] : "no status";
}
