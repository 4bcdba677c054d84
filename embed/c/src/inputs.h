/* Checks the inputs of a run against the manifest, so that an error names the input and not a node of the graph. */
#ifndef EAI_INPUTS_H
#define EAI_INPUTS_H

#include "manifest.h"

/* Puts the caller's arrays into the manifest's order. `batch` is the length of the axes named `batch`, or -1 where
 * there is none. */
ea_status eai_check_inputs(eai_arena *arena, const eai_manifest *manifest, const ea_array *inputs, size_t count,
                           ea_array *ordered, int64_t *batch, ea_error *error);

#endif
