#include "json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 512, JSON_VALUES = 1 << 22, JSON_BLOCK = 1 << 16, JSON_FEW = 16 };

/* What a document is made of lies in blocks, freed together; the bytes follow the head. */
typedef struct json_block {
    struct json_block *before;
    size_t used, room;
    max_align_t bytes[];
} json_block;

typedef struct json_node {
    eai_value value; /* first, so that a value's address is its node's */
    struct json_node *parent, *last;
} json_node;

struct eai_document {
    json_block *blocks;
    json_node *root;
    size_t values;
};

typedef struct json_reader {
    eai_document *document;
    const char *start, *at, *end;
    char *message;
    size_t room;
} json_reader;

static bool json_fail(json_reader *reader, const char *at, const char *problem)
{
    size_t line = 1, column = 1;
    for (const char *byte = reader->start; byte < at; byte++) {
        bool ends = *byte == '\n';
        line += ends;
        column = ends ? 1 : column + 1;
    }
    snprintf(reader->message, reader->room, "line %zu, byte %zu of it: %s", line, column, problem);
    return false;
}

static void json_no_memory(json_reader *reader)
{
    snprintf(reader->message, reader->room, "%s", EAI_JSON_NO_MEMORY);
}

static void *json_take(json_reader *reader, size_t size, size_t alignment)
{
    json_block *block = reader->document->blocks;
    size_t used = block ? (block->used + alignment - 1) / alignment * alignment : 0;
    if (!block || used > block->room || size > block->room - used) {
        size_t room = size > JSON_BLOCK ? size : JSON_BLOCK;
        block = room <= SIZE_MAX - sizeof *block ? malloc(sizeof *block + room) : NULL;
        if (!block) {
            json_no_memory(reader);
            return NULL;
        }
        *block = (json_block){.before = reader->document->blocks, .room = room};
        reader->document->blocks = block;
        used = 0;
    }
    block->used = used + size;
    return (char *)block->bytes + used;
}

/* Returns where the bytes stop being UTF-8 as RFC 3629 has it, or `end`. */
static const char *json_valid_utf8(const char *at, const char *end)
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

static void json_space(json_reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
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
        return json_fail(reader, escape, "expected four hex digits after \\u");
    reader->at += 4;
    if (point >= 0xD800 && point <= 0xDFFF) {
        bool pair = point <= 0xDBFF && reader->end - reader->at >= 6 && reader->at[0] == '\\' && reader->at[1] == 'u' &&
                    json_hex(reader->at + 2, reader->end, &low) && low >= 0xDC00 && low <= 0xDFFF;
        if (!pair)
            return json_fail(reader, escape, "it holds half of a surrogate pair");
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
        return json_fail(reader, reader->at - 2, "there is no such escape in JSON");
    *(*out)++ = meanings[found - escapes];
    return true;
}

/* Reads a string into memory of its own; reader->at stands on its first quote. */
static bool json_string(json_reader *reader, const char **text, size_t *length)
{
    const char *close = ++reader->at;
    while (close < reader->end && *close != '"' && (unsigned char)*close >= 0x20)
        close += *close == '\\' && reader->end - close > 1 ? 2 : 1;
    if (close >= reader->end)
        return json_fail(reader, reader->at - 1, "the string that begins here has no end");
    if (*close != '"')
        return json_fail(reader, close, "a control character in a string, which has to be escaped");
    char *out = json_take(reader, (size_t)(close - reader->at) + 1, 1);
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
        json_no_memory(reader);
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
    return isfinite(*number) || json_fail(reader, text, "the number is too large for a double");
}

static void json_digits(json_reader *reader)
{
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
}

/* Takes one of the characters in `any`, where it is next. */
static bool json_one_of(json_reader *reader, const char *any)
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
    bool negative = json_one_of(reader, "-");
    const char *digits = reader->at;
    bool whole = true, sound = true;
    if (!json_one_of(reader, "0"))
        json_digits(reader);
    sound = reader->at > digits;
    const char *digits_end = reader->at;
    if (sound && json_one_of(reader, ".")) {
        const char *fraction = reader->at;
        json_digits(reader);
        whole = false;
        sound = reader->at > fraction;
    }
    if (sound && json_one_of(reader, "eE")) {
        json_one_of(reader, "+-");
        const char *exponent = reader->at;
        json_digits(reader);
        whole = false;
        sound = reader->at > exponent;
    }
    if (!sound)
        return json_fail(reader, text, "expected a value, and this is none that JSON has");
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
static bool json_value(json_reader *reader, eai_value *value)
{
    char first = reader->at < reader->end ? *reader->at : '\0';
    if (first == '"') {
        value->kind = EAI_STRING;
        return json_string(reader, &value->text, &value->length);
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

/* Returns a new value as the last member of `open`, with its key where that is an object; `open` is NULL for the
 * root. */
static json_node *json_member(json_reader *reader, json_node *open)
{
    eai_document *document = reader->document;
    if (++document->values > JSON_VALUES) {
        json_fail(reader, reader->at, "it holds more than 4194304 values");
        return NULL;
    }
    json_node *node = json_take(reader, sizeof *node, _Alignof(json_node));
    if (!node)
        return NULL;
    *node = (json_node){.parent = open};
    json_space(reader);
    if (!open) {
        document->root = node;
        return node;
    }
    if (open->value.kind == EAI_OBJECT) {
        if (reader->at >= reader->end || *reader->at != '"') {
            json_fail(reader, reader->at, "expected a key in double quotes");
            return NULL;
        }
        if (!json_string(reader, &node->value.key, &node->value.key_length))
            return NULL;
        json_space(reader);
        if (!json_one_of(reader, ":")) {
            json_fail(reader, reader->at, "expected ':' after a key");
            return NULL;
        }
        json_space(reader);
    }
    if (open->last)
        open->last->value.next = &node->value;
    else
        open->value.first = &node->value;
    open->last = node;
    open->value.count++;
    return node;
}

static int json_by_key(const void *left, const void *right)
{
    const eai_value *one = *(const eai_value *const *)left, *other = *(const eai_value *const *)right;
    if (one->key_length != other->key_length)
        return one->key_length < other->key_length ? -1 : 1;
    return memcmp(one->key, other->key, one->key_length);
}

static bool json_refuse_key(json_reader *reader, const eai_value *member)
{
    char key[41], problem[96];
    size_t length = member->key_length < sizeof key - 1 ? member->key_length : sizeof key - 1;
    for (size_t index = 0; index < length; index++)
        key[index] = (unsigned char)member->key[index] < 0x20 ? '?' : member->key[index];
    key[length] = '\0';
    snprintf(problem, sizeof problem, "the key '%s' stands twice in the object that ends here", key);
    return json_fail(reader, reader->at, problem);
}

/* Refuses an object that has a key twice; reader->at stands on its end. */
static bool json_unique(json_reader *reader, const eai_value *object)
{
    const eai_value *few[JSON_FEW], **members = few;
    if (object->count > JSON_FEW && !(members = malloc(object->count * sizeof *members))) {
        json_no_memory(reader);
        return false;
    }
    size_t count = 0;
    for (const eai_value *member = object->first; member; member = member->next)
        members[count++] = member;
    qsort(members, count, sizeof *members, json_by_key);
    const eai_value *twice = NULL;
    for (size_t index = 1; index < count && !twice; index++)
        twice = json_by_key(&members[index - 1], &members[index]) == 0 ? members[index] : NULL;
    if (members != few)
        free(members);
    return !twice || json_refuse_key(reader, twice);
}

/* Goes on behind a value: closes what ends there, up to the next member of `*open`, or to the root's end. */
static bool json_close(json_reader *reader, json_node **open, size_t *depth)
{
    while (*open) {
        bool array = (*open)->value.kind == EAI_ARRAY;
        json_space(reader);
        if (reader->at < reader->end && *reader->at == (array ? ']' : '}')) {
            if (!array && !json_unique(reader, &(*open)->value))
                return false;
            reader->at++;
            --*depth;
            *open = (*open)->parent;
        } else if (json_one_of(reader, ",")) {
            return true;
        } else {
            return json_fail(reader, reader->at, array ? "expected ',' or ']'" : "expected ',' or '}'");
        }
    }
    json_space(reader);
    return reader->at == reader->end || json_fail(reader, reader->at, "there is more behind the end of the document");
}

/* Without recursion, so that a deep document takes no stack of the caller's thread. */
static bool json_read(json_reader *reader)
{
    json_node *open = NULL;
    size_t depth = 0;
    do {
        json_node *node = json_member(reader, open);
        if (!node || !json_value(reader, &node->value))
            return false;
        if (node->value.kind == EAI_ARRAY || node->value.kind == EAI_OBJECT) {
            if (++depth > JSON_DEPTH)
                return json_fail(reader, reader->at, "it is nested too deeply");
            open = node;
            json_space(reader);
            if (reader->at < reader->end && *reader->at != ']' && *reader->at != '}')
                continue;
        }
        if (!json_close(reader, &open, &depth))
            return false;
    } while (open);
    return true;
}

eai_document *eai_json_parse(const char *bytes, size_t length, char *message, size_t room)
{
    json_reader reader = {.start = bytes, .at = bytes, .end = bytes + length, .message = message, .room = room};
    const char *valid = json_valid_utf8(bytes, reader.end);
    if (valid != reader.end) {
        json_fail(&reader, valid, "it is not UTF-8");
        return NULL;
    }
    reader.document = calloc(1, sizeof *reader.document);
    if (!reader.document) {
        json_no_memory(&reader);
        return NULL;
    }
    if (!json_read(&reader)) {
        eai_json_free(reader.document);
        return NULL;
    }
    return reader.document;
}

const eai_value *eai_json_root(const eai_document *document)
{
    return &document->root->value;
}

const eai_value *eai_json_get(const eai_value *object, const char *key)
{
    if (object->kind != EAI_OBJECT)
        return NULL;
    size_t length = strlen(key);
    for (const eai_value *member = object->first; member; member = member->next)
        if (member->key_length == length && memcmp(member->key, key, length) == 0)
            return member;
    return NULL;
}

void eai_json_free(eai_document *document)
{
    if (!document)
        return;
    for (json_block *block = document->blocks, *before; block; block = before) {
        before = block->before;
        free(block);
    }
    free(document);
}
