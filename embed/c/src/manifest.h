/* edgeadapt.json: what a bundle is, how its model is called, and which files are its own. */
#ifndef EAI_MANIFEST_H
#define EAI_MANIFEST_H

#include "arena.h"
#include "files.h"
#include "json.h"

/* One axis of a tensor: a length, or the name of a free one. */
typedef struct eai_dimension {
    int64_t length;     /* of a fixed one */
    const char *symbol; /* NULL where it is fixed */
    size_t free;        /* of a slot's free one: which of the model's free dimensions it is */
} eai_dimension;

typedef struct eai_tensor {
    const char *name;
    ea_dtype dtype;
    size_t rank;
    eai_dimension *shape;
} eai_tensor;

typedef enum eai_neutral { EAI_NO_NEUTRAL, EAI_FILLED_NEUTRAL, EAI_STORED_NEUTRAL } eai_neutral;

typedef struct eai_slot {
    eai_tensor tensor; /* the first dimension is free where it is "rows", and 1 otherwise */
    const char *site, *method, *param;
    eai_neutral neutral;
    int64_t *neutral_shape; /* of a filled one; as long as tensor.shape */
    size_t neutral_rank;
    double fill;
    size_t order; /* its place among the slots */
} eai_slot;

/* All texts are the document's. */
typedef struct eai_manifest {
    eai_arena arena;
    eai_document *document;
    const char *task, *fingerprint, *problem_type, *model, *neutrals, *onnxruntime;
    eai_tensor *inputs, *outputs;
    size_t input_count, output_count;
    eai_slot *slots;
    const eai_slot **by_name; /* the slots, sorted by name */
    size_t slot_count;
    size_t
        free_count; /* how many different free dimensions the slots have: labels, and a rank for each site and method */
    const char **labels;
    size_t label_count;
    eai_file *files;
    size_t file_count;
    bool generates, has_encoder;
    int64_t positions;     /* how many tokens a decoder takes, or 0 where it knows no limit */
    const char *tokenizer; /* its file, or NULL */
    size_t max_length;
    bool pads_left;
    int64_t pad_id, pad_type_id;
} eai_manifest;

/* Reads the manifest in a folder, and refuses it with all that breaks the format. */
ea_status eai_manifest_open(const char *folder, eai_manifest *manifest, ea_error *error);

/* The same from memory; `path` is for messages. */
ea_status eai_manifest_parse(const char *path, const char *bytes, size_t length, eai_manifest *manifest,
                             ea_error *error);

void eai_manifest_close(eai_manifest *manifest);

/* Returns the slot of a name, or NULL. */
const eai_slot *eai_slot_of(const eai_manifest *manifest, const char *name);

/* Returns the axis of a tensor that has this name, or its rank where none has. */
size_t eai_axis(const eai_tensor *tensor, const char *symbol);

/* Returns the `files` of a manifest or an adapter's record, from a document that fits the schema; NULL where memory ran
 * out. */
eai_file *eai_listed_files(eai_arena *arena, const eai_value *files);

/* Returns a list of texts from such a document; NULL where memory ran out. */
const char **eai_listed_texts(eai_arena *arena, const eai_value *texts);

/* Writes a tensor's shape as a message shows it, `(batch, 384)`. */
const char *eai_shown_symbols(char room[160], const eai_tensor *tensor);

#endif
