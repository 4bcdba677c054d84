/* The rules between the fields of a manifest, which no field's type can say. */
#ifndef EAI_CONSISTENCY_H
#define EAI_CONSISTENCY_H

#include "manifest.h"

/* Collects what breaks them; false where memory ran out. `root` is the document, which fits the schema. */
bool eai_manifest_problems(const eai_manifest *manifest, const eai_value *root, eai_problems *problems);

/* Tells whether a path is among the files. */
bool eai_is_listed(const eai_file *files, size_t count, const char *path);

/* What the names of a decoder's cache begin with, as it enters and leaves, and those of an encoder's keys and values. */
#define EAI_CACHE "past_key_values"
#define EAI_PAST EAI_CACHE "."
#define EAI_PRESENT "present."
#define EAI_CROSS "encoder_key_values."
#define EAI_ENCODED "encoded."

/* Returns what follows the prefix in a name, or NULL where it doesn't begin with it. */
const char *eai_after(const char *name, const char *prefix);

#endif
