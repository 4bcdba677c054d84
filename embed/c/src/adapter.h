/* An adapter in memory: one array for every slot, its own or a neutral. */
#ifndef EAI_ADAPTER_H
#define EAI_ADAPTER_H

#include "manifest.h"
#include "record.h"
#include "weights.h"

struct OrtValue;

/* What fills a slot. Two rows have the same array where they have the same cell. */
typedef struct eai_cell {
    ea_array array;
    struct OrtValue *value; /* the array as ONNX Runtime takes it, in the same memory */
} eai_cell;

typedef struct eai_adapter {
    eai_arena arena;
    eai_record record; /* of an adapter that was read, labels and problem type alone */
    eai_cell *cells;   /* its own */
    size_t cell_count;
    const eai_cell **filling; /* by slot; NULL for the base's where it has no value of its own */
    size_t label_count;       /* columns of the head that answers, or 0 where no slot has labels */
    bool has_head;            /* it brings one of its own */
    bool has_cache;           /* it brings what a text's cache begins with */
} eai_adapter;

/* Reads the base: a neutral in every slot that has one. `folder` is the bundle's, whose files were verified, and
 * `neutrals` the content of the file of stored ones. */
ea_status eai_read_base(const char *folder, const eai_manifest *manifest, const eai_bytes *neutrals,
                        eai_adapter *adapter, ea_error *error);

/* Reads the adapter in a folder as `name`, checks its files and whether it fits. */
ea_status eai_read_adapter(const char *folder, const char *name, const eai_manifest *manifest, const eai_adapter *base,
                           eai_adapter *adapter, ea_error *error);

/* Frees it; the values of its cells are the model's to free. */
void eai_free_adapter(eai_adapter *adapter);

/* The labels and the problem type that a run with an adapter answers with; no labels where there are no names. */
const char *const *eai_adapter_labels(const eai_adapter *adapter, const eai_manifest *manifest, size_t *count);
const char *eai_adapter_problem_type(const eai_adapter *adapter, const eai_manifest *manifest);

#endif
