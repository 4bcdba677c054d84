/* What a JSON document must look like: tables of rules, and the check that collects all that breaks them. */
#ifndef EAI_SCHEMA_H
#define EAI_SCHEMA_H

#include "error.h"
#include "json.h"

/* A rule is a text, since tables of pointers take five times the room in a shared library. A value is
 *
 *     a    any text                     F    'sha256:' and 64 hex digits    s    whole, 0 or more
 *     t    text that is not empty       v    '>=' and a version             c    whole, 1 or more
 *     y    a dtype                      T    a problem type                 n    a number
 *     h    64 lowercase hex digits      S    a side, right or left          p    a number over 0
 *     P    a path                       N    an adapter's name              f    PIL's code of a filter, 0 to 5
 *     d    a dimension of an input: a size, or a name that is not empty
 *     D    a dimension of a slot: a count, or rows, rank, labels
 *     o    any object                   R    the sizes of an image          K    the facts of a site
 *     [r]  a list, whose members are r; 1[r] has one or more, 2[r] has two
 *     <kr> an object with any keys; they are k and their values r
 *     {key:r;...} an object with these keys and no others
 *     ?r   null, or r                   *r   "stored", or r
 *     Grr  the second r where the object has the key encoder, else the first */
typedef const char *eai_rule;

/* Collects what is wrong with a value, each with its JSON path. */
void eai_check_schema(eai_rule rule, const eai_value *value, eai_problems *problems);

/* Parses a JSON document, and checks its `format` (one of `formats`, up to NULL, the highest last) before it looks at
 * anything else, then all of `rule`. The document is the caller's where this is EA_OK. */
ea_status eai_read_schema(const char *path, const char *bytes, size_t length, eai_rule rule, const char *const *formats,
                          eai_document **document, ea_error *error);

/* What to do where a document breaks the format. */
extern const char eai_copy_again[];

#endif
