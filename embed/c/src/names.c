#include "names.h"

#include <stdbool.h>
#include <string.h>

static char names_lower(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

static bool names_begins(const char *text, size_t length, const char *lower)
{
    size_t wanted = strlen(lower);
    if (length < wanted)
        return false;
    for (size_t index = 0; index < wanted; index++)
        if (names_lower(text[index]) != lower[index])
            return false;
    return true;
}

/* Tells whether this is con, prn, aux, nul, com0-com9 or lpt0-lpt9, in any case, also with an extension. */
static bool names_device(const char *text, size_t length)
{
    size_t end = 3;
    if (names_begins(text, length, "com") || names_begins(text, length, "lpt")) {
        if (length < 4 || text[3] < '0' || text[3] > '9')
            return false;
        end = 4;
    } else if (!names_begins(text, length, "con") && !names_begins(text, length, "prn") &&
               !names_begins(text, length, "aux") && !names_begins(text, length, "nul")) {
        return false;
    }
    return length == end || text[end] == '.';
}

const char *eai_name_problem(const char *name, size_t length)
{
    bool sound = length >= 1 && length <= 64;
    for (size_t index = 0; index < length && sound; index++) {
        char lower = names_lower(name[index]);
        bool letter = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        sound = letter || (index > 0 && (lower == '.' || lower == '_' || lower == '-'));
    }
    if (!sound)
        return "is not 1 to 64 of the characters A-Z a-z 0-9 . _ - with a letter or digit first";
    if (name[length - 1] == '.')
        return "ends with a dot, which Windows drops";
    if (names_device(name, length))
        return "is a device on Windows";
    if (length == 4 && names_begins(name, length, "none") && memcmp(name, "none", 4) != 0)
        return "differs from 'none', the base itself, only in case";
    return NULL;
}

static const char *names_part_problem(const char *part, size_t length)
{
    if (length == 0)
        return "has an empty part";
    if (length <= 2 && part[0] == '.' && part[length - 1] == '.')
        return "has a part '.' or '..'";
    if (part[length - 1] == '.' || part[length - 1] == ' ')
        return "has a part that ends with a dot or a space, which Windows drops";
    return names_device(part, length) ? "has a part that is a device on Windows" : NULL;
}

const char *eai_path_problem(const char *path, size_t length)
{
    if (length == 0)
        return "is empty";
    if (path[0] == '/')
        return "is absolute";
    for (size_t index = 0; index < length; index++)
        if ((unsigned char)path[index] < 0x20 || path[index] == 0x7F || strchr("\\:*?\"<>|", path[index]))
            return "has a control character or one of \\ : * ? \" < > |";
    size_t start = 0;
    for (size_t index = 0; index <= length; index++) {
        if (index < length && path[index] != '/')
            continue;
        const char *problem = names_part_problem(path + start, index - start);
        if (problem)
            return problem;
        start = index + 1;
    }
    return NULL;
}

int eai_name_order(const char *one, const char *other)
{
    while (*one && names_lower(*one) == names_lower(*other))
        one++, other++;
    return (unsigned char)names_lower(*one) - (unsigned char)names_lower(*other);
}
