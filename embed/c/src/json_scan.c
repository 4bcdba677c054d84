/* Reads the values of a JSON document, strictly: texts are UTF-8 without lone surrogates, numbers are finite. */
#include "json_reader.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Returns where the bytes stop being UTF-8 as RFC 3629 has it, or `end`. */
const char *eai_json_valid_utf8(const char *at, const char *end)
{
    while (at < end) {
        unsigned char lead = (unsigned char)*at;
        size_t more = lead < 0x80 ? 0 : lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2 : 3;
        if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || (size_t)(end - at) <= more)
            return at;
        for (size_t index = 1; index <= more; index++)
            if (((unsigned char)at[index] & 0xC0) != 0x80)
                return at;
        unsigned char second = more ? (unsigned char)at[1] : 0;
        /* Forms that are too long, surrogates, and what is over U+10FFFF. */
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
            (lead == 0xF4 && second > 0x8F))
            return at;
        at += more + 1;
    }
    return end;
}

void eai_json_space(json_reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
}

static bool json_hex(const char *at, const char *end, uint32_t *unit)
{
    if (end - at < 4)
        return false;
    *unit = 0;
    for (int index = 0; index < 4; index++) {
        char digit = at[index];
        uint32_t value = digit >= '0' && digit <= '9'   ? (uint32_t)(digit - '0')
                         : digit >= 'a' && digit <= 'f' ? (uint32_t)(digit - 'a') + 10
                         : digit >= 'A' && digit <= 'F' ? (uint32_t)(digit - 'A') + 10
                                                        : 16;
        if (value > 15)
            return false;
        *unit = *unit << 4 | value;
    }
    return true;
}

static char *json_encode(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    if (point < 0x800) {
        *out++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *out++ = (char)(0xE0 | point >> 12);
        } else {
            *out++ = (char)(0xF0 | point >> 18);
            *out++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (point & 0x3F));
    return out;
}

/* Reads `\uXXXX`, or two of them that are a surrogate pair; reader->at stands behind the `u`. */
static bool json_unicode(json_reader *reader, char **out)
{
    const char *escape = reader->at - 2;
    uint32_t point, low;
    if (!json_hex(reader->at, reader->end, &point))
        return eai_json_fail(reader, escape, "expected four hex digits after \\u");
    reader->at += 4;
    if (point >= 0xD800 && point <= 0xDFFF) {
        bool pair = point <= 0xDBFF && reader->end - reader->at >= 6 && reader->at[0] == '\\' && reader->at[1] == 'u' &&
                    json_hex(reader->at + 2, reader->end, &low) && low >= 0xDC00 && low <= 0xDFFF;
        if (!pair)
            return eai_json_fail(reader, escape, "it holds half of a surrogate pair");
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        reader->at += 6;
    }
    *out = json_encode(*out, point);
    return true;
}

static bool json_escape(json_reader *reader, char **out)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char letter = *reader->at++;
    if (letter == 'u')
        return json_unicode(reader, out);
    const char *found = letter ? strchr(escapes, letter) : NULL;
    if (!found)
        return eai_json_fail(reader, reader->at - 2, "there is no such escape in JSON");
    *(*out)++ = meanings[found - escapes];
    return true;
}

/* Reads a string into memory of its own; reader->at stands on its first quote. */
bool eai_json_string(json_reader *reader, const char **text, size_t *length)
{
    const char *close = ++reader->at;
    while (close < reader->end && *close != '"' && (unsigned char)*close >= 0x20)
        close += *close == '\\' && reader->end - close > 1 ? 2 : 1;
    if (close >= reader->end)
        return eai_json_fail(reader, reader->at - 1, "the string that begins here has no end");
    if (*close != '"')
        return eai_json_fail(reader, close, "a control character in a string, which has to be escaped");
    char *out = eai_json_take(reader, (size_t)(close - reader->at) + 1, 1);
    if (!out)
        return false;
    char *start = out;
    while (reader->at < close) {
        char byte = *reader->at++;
        if (byte != '\\')
            *out++ = byte;
        else if (!json_escape(reader, &out))
            return false;
    }
    *out = '\0';
    reader->at = close + 1;
    *text = start;
    *length = (size_t)(out - start);
    return true;
}

/* Returns the double nearest to the text of a number, whatever decimal point the process's locale has. */
static bool json_double(json_reader *reader, const char *text, size_t length, double *number)
{
    char few[64];
    const char *point = localeconv()->decimal_point;
    size_t room = length + strlen(point) + 1;
    char *copy = room <= sizeof few ? few : malloc(room);
    if (!copy) {
        eai_json_no_memory(reader);
        return false;
    }
    char *out = copy;
    for (size_t index = 0; index < length; index++) {
        if (text[index] != '.') {
            *out++ = text[index];
        } else {
            memcpy(out, point, strlen(point));
            out += strlen(point);
        }
    }
    *out = '\0';
    *number = strtod(copy, NULL);
    if (copy != few)
        free(copy);
    return isfinite(*number) || eai_json_fail(reader, text, "the number is too large for a double");
}

static void json_digits(json_reader *reader)
{
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
}

/* Takes one of the characters in `any`, where it is next. */
bool eai_json_one_of(json_reader *reader, const char *any)
{
    bool found = reader->at < reader->end && *reader->at && strchr(any, *reader->at);
    reader->at += found;
    return found;
}

static void json_whole(eai_value *value, const char *digits, const char *end, bool negative)
{
    uint64_t sum = 0, most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    for (; digits < end; digits++) {
        uint64_t digit = (uint64_t)(*digits - '0');
        if (sum > (most - digit) / 10)
            return;
        sum = sum * 10 + digit;
    }
    value->whole = true;
    value->integer = !negative ? (int64_t)sum : sum > INT64_MAX ? INT64_MIN : -(int64_t)sum;
}

static bool json_number(json_reader *reader, eai_value *value)
{
    const char *text = reader->at;
    bool negative = eai_json_one_of(reader, "-");
    const char *digits = reader->at;
    bool whole = true, sound = true;
    if (!eai_json_one_of(reader, "0"))
        json_digits(reader);
    sound = reader->at > digits;
    const char *digits_end = reader->at;
    if (sound && eai_json_one_of(reader, ".")) {
        const char *fraction = reader->at;
        json_digits(reader);
        whole = false;
        sound = reader->at > fraction;
    }
    if (sound && eai_json_one_of(reader, "eE")) {
        eai_json_one_of(reader, "+-");
        const char *exponent = reader->at;
        json_digits(reader);
        whole = false;
        sound = reader->at > exponent;
    }
    if (!sound)
        return eai_json_fail(reader, text, "expected a value, and this is none that JSON has");
    value->kind = EAI_NUMBER;
    if (whole)
        json_whole(value, digits, digits_end, negative);
    return json_double(reader, text, (size_t)(reader->at - text), &value->number);
}

static bool json_word(json_reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* Reads a value; of an array or object, its opening bracket alone. */
bool eai_json_value(json_reader *reader, eai_value *value)
{
    char first = reader->at < reader->end ? *reader->at : '\0';
    if (first == '"') {
        value->kind = EAI_STRING;
        return eai_json_string(reader, &value->text, &value->length);
    }
    if (first == '[' || first == '{') {
        value->kind = first == '[' ? EAI_ARRAY : EAI_OBJECT;
        reader->at++;
        return true;
    }
    if (json_word(reader, "null") || json_word(reader, "false") || json_word(reader, "true")) {
        value->kind = first == 'n' ? EAI_NULL : first == 'f' ? EAI_FALSE : EAI_TRUE;
        return true;
    }
    return json_number(reader, value);
}
