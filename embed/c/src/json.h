/* JSON, strictly by RFC 8259: no NaN, no key twice, no half of a surrogate pair, nothing after the end, valid UTF-8. */
#ifndef EAI_JSON_H
#define EAI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The message of a failed eai_json_parse where memory ran out, and the text is not to blame. */
#define EAI_JSON_NO_MEMORY "out of memory"

typedef enum eai_kind { EAI_NULL, EAI_FALSE, EAI_TRUE, EAI_NUMBER, EAI_STRING, EAI_ARRAY, EAI_OBJECT } eai_kind;

typedef struct eai_value eai_value;
struct eai_value {
    eai_kind kind;
    bool whole; /* a number written without '.', 'e', and within int64 */
    int64_t integer;
    double number;
    const char *text; /* strings: UTF-8, NUL-terminated too, may hold NULs */
    size_t length;
    const char *key; /* members of objects, as text */
    size_t key_length;
    const eai_value *first, *next; /* children in order */
    size_t count;
};

typedef struct eai_document eai_document;

/* Returns the document, or NULL and why in `message`. Nesting over 512 and over 4194304 values are refused: a file of
 * 64 MiB could take gigabytes otherwise. */
eai_document *eai_json_parse(const char *bytes, size_t length, char *message, size_t room);

const eai_value *eai_json_root(const eai_document *document);

/* Returns the member of this name, or NULL where it is not there or `object` is none. Looks at one member after the
 * other. */
const eai_value *eai_json_get(const eai_value *object, const char *key);

void eai_json_free(eai_document *document);

#endif
