/* ONNX Runtime's library: loaded by name while the program runs, so that no program has to be linked to it. */
#ifndef EAI_LIBRARY_H
#define EAI_LIBRARY_H

#include "error.h"

struct OrtApiBase;

/* Loads it from a path; NULL is for the environment variable EDGEADAPT_ONNXRUNTIME, else what the system's loader
 * finds. */
ea_status eai_library_load(const char *path, const struct OrtApiBase **base, ea_error *error);

/* Refuses a version that is older than `required` (such as ">=1.23"), or that has not the API 1.`api`. */
ea_status eai_library_check(const char *version, const char *required, int api, ea_error *error);

#endif
