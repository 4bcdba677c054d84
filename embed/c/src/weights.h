/* weights.onnx_adapter: ONNX Runtime's container of an adapter's arrays, a FlatBuffer. */
#ifndef EAI_WEIGHTS_H
#define EAI_WEIGHTS_H

#include "files.h"

/* Arrays by name; names and data lie in the bytes that they were read from. */
typedef struct eai_weights {
    ea_array *arrays; /* sorted by name */
    size_t count;
} eai_weights;

/* Reads the arrays, with every offset and length checked against the size of the file; `path` is for messages. The
 * bytes must stay, and be aligned for all types. */
ea_status eai_read_weights(eai_arena *arena, const char *path, const eai_bytes *bytes, eai_weights *weights,
                           ea_error *error);

/* Returns the array of a name, or NULL. */
const ea_array *eai_weight_of(const eai_weights *weights, const char *name);

#endif
