/* Tells whether the model in a file is the one that the manifest describes. */
#ifndef EAI_SIGNATURE_H
#define EAI_SIGNATURE_H

#include "manifest.h"

struct OrtApi;
struct OrtSession;

/* Refuses a model whose inputs are not the manifest's inputs and slots, or whose outputs are not its outputs, by name,
 * dtype and number of dimensions. */
ea_status eai_check_signature(const struct OrtApi *api, const struct OrtSession *session, const eai_manifest *manifest,
                              ea_error *error);

#endif
