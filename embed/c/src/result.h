/* What a run gives: an array for each output, or one for each row where rows have different numbers of labels. */
#ifndef EAI_RESULT_H
#define EAI_RESULT_H

#include "bundle.h"
#include "rows.h"

typedef struct eai_output {
    ea_array *arrays; /* one, or one for each row */
    size_t count;
} eai_output;

struct ea_result {
    eai_arena arena;
    ea_bundle *bundle; /* held: names are its own, and values are freed through its model */
    eai_output *outputs;
    struct OrtValue **values; /* whose memory arrays lie in; NULL where they were copied */
    size_t count;
};

/* The outputs of one pass: arrays that lie in the values. */
typedef struct eai_part {
    struct OrtValue **values;
    ea_array *arrays;
} eai_part;

/* Returns an empty result that holds the bundle, or NULL where memory ran out. */
ea_result *eai_new_result(ea_bundle *bundle);

/* Describes what a run gave, and refuses other dtypes or numbers of dimensions than the manifest's. */
ea_status eai_describe_part(ea_bundle *bundle, eai_arena *arena, eai_part *part, ea_error *error);

/* Refuses rows that have to be told apart in an output without a batch axis. */
ea_status eai_check_joins(const eai_manifest *manifest, size_t passes, bool cut, ea_error *error);

/* Puts the outputs of all passes together, each row cut to its own labels. `labels` has the label count of each row. */
ea_status eai_join_parts(ea_result *result, eai_part *parts, const eai_passes *passes, const size_t *labels,
                         size_t rows, ea_error *error);

#endif
