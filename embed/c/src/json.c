#include "json.h"

#include "json_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 512, JSON_VALUES = 1 << 22, JSON_BLOCK = 1 << 16, JSON_FEW = 16 };

bool eai_json_fail(json_reader *reader, const char *at, const char *problem)
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

void eai_json_no_memory(json_reader *reader)
{
    snprintf(reader->message, reader->room, "%s", EAI_JSON_NO_MEMORY);
}

void *eai_json_take(json_reader *reader, size_t size, size_t alignment)
{
    json_block *block = reader->document->blocks;
    size_t used = block ? (block->used + alignment - 1) / alignment * alignment : 0;
    if (!block || used > block->room || size > block->room - used) {
        size_t room = size > JSON_BLOCK ? size : JSON_BLOCK;
        block = room <= SIZE_MAX - sizeof *block ? malloc(sizeof *block + room) : NULL;
        if (!block) {
            eai_json_no_memory(reader);
            return NULL;
        }
        *block = (json_block){.before = reader->document->blocks, .room = room};
        reader->document->blocks = block;
        used = 0;
    }
    block->used = used + size;
    return (char *)block->bytes + used;
}

/* Returns a new value as the last member of `open`, with its key where that is an object; `open` is NULL for the
 * root. */
static json_node *json_member(json_reader *reader, json_node *open)
{
    eai_document *document = reader->document;
    if (++document->values > JSON_VALUES) {
        eai_json_fail(reader, reader->at, "it holds more than 4194304 values");
        return NULL;
    }
    json_node *node = eai_json_take(reader, sizeof *node, _Alignof(json_node));
    if (!node)
        return NULL;
    *node = (json_node){.parent = open};
    eai_json_space(reader);
    if (!open) {
        document->root = node;
        return node;
    }
    if (open->value.kind == EAI_OBJECT) {
        if (reader->at >= reader->end || *reader->at != '"') {
            eai_json_fail(reader, reader->at, "expected a key in double quotes");
            return NULL;
        }
        if (!eai_json_string(reader, &node->value.key, &node->value.key_length))
            return NULL;
        eai_json_space(reader);
        if (!eai_json_one_of(reader, ":")) {
            eai_json_fail(reader, reader->at, "expected ':' after a key");
            return NULL;
        }
        eai_json_space(reader);
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
    return eai_json_fail(reader, reader->at, problem);
}

/* Refuses an object that has a key twice; reader->at stands on its end. */
static bool json_unique(json_reader *reader, const eai_value *object)
{
    const eai_value *few[JSON_FEW], **members = few;
    if (object->count > JSON_FEW && !(members = malloc(object->count * sizeof *members))) {
        eai_json_no_memory(reader);
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
        eai_json_space(reader);
        if (reader->at < reader->end && *reader->at == (array ? ']' : '}')) {
            if (!array && !json_unique(reader, &(*open)->value))
                return false;
            reader->at++;
            --*depth;
            *open = (*open)->parent;
        } else if (eai_json_one_of(reader, ",")) {
            return true;
        } else {
            return eai_json_fail(reader, reader->at, array ? "expected ',' or ']'" : "expected ',' or '}'");
        }
    }
    eai_json_space(reader);
    return reader->at == reader->end ||
           eai_json_fail(reader, reader->at, "there is more behind the end of the document");
}

/* Without recursion, so that a deep document takes no stack of the caller's thread. */
static bool json_read(json_reader *reader)
{
    json_node *open = NULL;
    size_t depth = 0;
    do {
        json_node *node = json_member(reader, open);
        if (!node || !eai_json_value(reader, &node->value))
            return false;
        if (node->value.kind == EAI_ARRAY || node->value.kind == EAI_OBJECT) {
            if (++depth > JSON_DEPTH)
                return eai_json_fail(reader, reader->at, "it is nested too deeply");
            open = node;
            eai_json_space(reader);
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
    const char *valid = eai_json_valid_utf8(bytes, reader.end);
    if (valid != reader.end) {
        eai_json_fail(&reader, valid, "it is not UTF-8");
        return NULL;
    }
    reader.document = calloc(1, sizeof *reader.document);
    if (!reader.document) {
        eai_json_no_memory(&reader);
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
