/* What a JSON document must look like: tables of rules, and the check that collects all that breaks them. */
#ifndef EAI_SCHEMA_H
#define EAI_SCHEMA_H

#include "error.h"
#include "json.h"

/* What a value must be. Those from EAI_LIST on hold others. */
typedef enum eai_type {
    EAI_ANY_TEXT,
    EAI_TEXT, /* not empty */
    EAI_SIZE, /* whole, 0 or more */
    EAI_COUNT, /* whole, 1 or more */
    EAI_DOUBLE,
    EAI_POSITIVE, /* a number over 0 */
    EAI_FILTER, /* PIL's code, 0 to 5 */
    EAI_DTYPE,
    EAI_DIGEST, /* 64 lowercase hex digits */
    EAI_FINGERPRINT,
    EAI_AT_LEAST, /* '>=' and a version */
    EAI_PATH,
    EAI_NAME, /* of an adapter */
    EAI_PROBLEM_TYPE,
    EAI_SIDE,
    EAI_DIMENSION, /* of an input or output: a size or a name */
    EAI_SLOT_DIMENSION, /* a count, "rows", "rank" or "labels" */
    EAI_ANY_OBJECT,
    EAI_LIST, /* `least` members or more, or exactly `exactly` */
    EAI_MAP, /* an object with any keys that are `keys`; with `only`, with these alone */
    EAI_RECORD, /* an object with all of `fields` and no others */
    EAI_STORED_OR, /* "stored", or a record */
    EAI_GENERATION /* a record of `fields`, or of `inner` where it has the key "encoder" */
} eai_type;

typedef struct eai_rule {
    eai_type type;
    bool null; /* null is allowed, too */
    unsigned char least, exactly;
    const struct eai_rule *keys, *inner;
    const struct eai_field *fields; /* up to one whose key is NULL */
    bool (*only)(const eai_value *object);
    const char *only_expected;
} eai_rule;

typedef struct eai_field {
    const char *key;
    eai_rule rule;
} eai_field;

/* Collects what is wrong with a value, each with its JSON path. */
void eai_check_schema(const eai_rule *rule, const eai_value *value, eai_problems *problems);

/* Parses a JSON document, and checks its `format` (one of `formats`, up to NULL, the highest last) before it looks at
 * anything else, then all of `rule`. The document is the caller's where this is EA_OK. */
ea_status eai_read_schema(const char *path, const char *bytes, size_t length, const eai_rule *rule,
                          const char *const *formats, eai_document **document, ea_error *error);

/* What to do where a document breaks the format. */
extern const char eai_copy_again[];

#endif
