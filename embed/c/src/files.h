/* The files of a bundle or an adapter: no links, of the size and sha256 that are recorded. */
#ifndef EAI_FILES_H
#define EAI_FILES_H

#include "arena.h"
#include "error.h"

#include <stdint.h>

/* A file that a `files` list names, with a path that is safe as text. */
typedef struct eai_file {
    const char *path;
    int64_t bytes;
    const char *sha256; /* 64 lowercase hex digits */
} eai_file;

/* Content of a file; `data` is aligned for all types. */
typedef struct eai_bytes {
    char *data;
    size_t length;
} eai_bytes;

/* Reads a JSON document: a regular file, no link, of at most 64 MiB. The bytes are the arena's. */
ea_status eai_read_document(eai_arena *arena, const char *folder, const char *name, eai_bytes *bytes, ea_error *error);

/* Checks that every file is there, itself and no link, with its size and its sha256; all that is wrong is in one
 * message. Files of more than `hash_most` bytes are not hashed. What is hashed of the file `keep` (NULL for none) is
 * kept in `kept`, so that what was checked is what is used. */
ea_status eai_verify_files(eai_arena *arena, const char *folder, const eai_file *files, size_t count, int64_t hash_most,
                           const char *keep, eai_bytes *kept, ea_error *error);

#endif
