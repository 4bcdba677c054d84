/* ONNX Runtime's library: loaded by name while the program runs, so that no program has to be linked to it. */
#ifndef EAI_LIBRARY_H
#define EAI_LIBRARY_H

#include "error.h"

struct OrtApiBase;

/* Loads it from a path; NULL is for the environment variable EDGEADAPT_ONNXRUNTIME, else what the system's loader
 * finds. */
ea_status eai_library_load(const char *path, const struct OrtApiBase **base, ea_error *error);

/* The version of its C interface that is asked for: all that is called here is in it, and every ONNX Runtime from 1.20 on
 * gives it, whichever one the headers are of. */
enum { EAI_LIBRARY_API = 20 };

/* Refuses a version that is older than `required` (such as ">=1.23"), or than that interface. */
ea_status eai_library_check(const char *version, const char *required, ea_error *error);

#endif
