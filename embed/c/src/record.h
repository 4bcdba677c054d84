/* adapter.json: one adapter, the base that it needs, and which files are its own. */
#ifndef EAI_RECORD_H
#define EAI_RECORD_H

#include "files.h"
#include "json.h"

#define EAI_WEIGHTS_FILE "weights.onnx_adapter"

/* All texts are the document's. */
typedef struct eai_record {
    eai_document *document;
    const char *name, *method, *fingerprint, *problem_type;
    const eai_value *sites;
    const char **labels; /* NULL where it brings no names */
    size_t label_count;
    eai_file *files;
    size_t file_count;
} eai_record;

/* Reads the record in a folder, and refuses it with all that breaks the format. */
ea_status eai_record_open(eai_arena *arena, const char *folder, eai_record *record, ea_error *error);

/* The same from memory; `path` is for messages. */
ea_status eai_record_parse(eai_arena *arena, const char *path, const char *bytes, size_t length, eai_record *record,
                           ea_error *error);

/* Returns the rank that `sites` has for a site and method, or 0. */
int64_t eai_record_rank(const eai_record *record, const char *site, const char *method);

/* Keeps labels and problem type in the arena, and frees the document with all else: a bundle may hold thousands of
 * adapters. False where memory ran out. */
bool eai_record_shrink(eai_arena *arena, eai_record *record);

void eai_record_close(eai_record *record);

#endif
