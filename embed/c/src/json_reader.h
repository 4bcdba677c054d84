/* What the two rooms of the JSON reader share: json_scan.c reads values, json.c puts them together. */
#ifndef EAI_JSON_READER_H
#define EAI_JSON_READER_H

#include <stddef.h>

#include "json.h"

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

/* Says where what is wrong; returns false. */
bool eai_json_fail(json_reader *reader, const char *at, const char *problem);

/* Says that there is no memory. */
void eai_json_no_memory(json_reader *reader);

/* Returns memory that lives as long as the document; NULL where there is none, which is said. */
void *eai_json_take(json_reader *reader, size_t size, size_t alignment);

/* Returns where the bytes stop being UTF-8 as RFC 3629 has it, or `end`. */
const char *eai_json_valid_utf8(const char *at, const char *end);

/* Skips white space. */
void eai_json_space(json_reader *reader);

/* Steps over one of these bytes; false where none of them is next. */
bool eai_json_one_of(json_reader *reader, const char *any);

/* Reads a string, and puts its text where it lives as long as the document. */
bool eai_json_string(json_reader *reader, const char **text, size_t *length);

/* Reads a value; of an array or object, its opening bracket alone. */
bool eai_json_value(json_reader *reader, eai_value *value);

#endif
