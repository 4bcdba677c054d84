/* The model on ONNX Runtime, whose library is loaded when a bundle is opened. */
#ifndef EAI_MODEL_H
#define EAI_MODEL_H

#include "adapter.h"
#include "manifest.h"

struct OrtApi;
struct OrtEnv;
struct OrtMemoryInfo;
struct OrtSession;
struct OrtValue;

/* Threads share it. */
typedef struct eai_model {
    const struct OrtApi *api;
    const char *version;
    struct OrtEnv *env;
    struct OrtMemoryInfo *memory;
    struct OrtSession *session;
} eai_model;

/* Loads ONNX Runtime, and refuses a version that is older than the bundle or this library needs. `library` is its path,
 * or NULL. */
ea_status eai_model_load(eai_model *model, const char *library, const char *required, ea_error *error);

/* Opens the model in a file; 0 threads leaves their number to ONNX Runtime. */
ea_status eai_model_open(eai_model *model, const char *path, int threads, const eai_manifest *manifest,
                         ea_error *error);

/* Makes a value of an array, in the same memory. */
ea_status eai_model_value(const eai_model *model, const ea_array *array, struct OrtValue **value, ea_error *error);

/* Makes the values of an adapter's own cells. */
ea_status eai_model_bind(const eai_model *model, eai_adapter *adapter, ea_error *error);

/* Frees an adapter with the values of its cells. */
void eai_model_drop(const eai_model *model, eai_adapter *adapter);

void eai_model_free_value(const eai_model *model, struct OrtValue *value);

/* Runs the model; the values in `outputs` are the caller's to free. */
ea_status eai_model_run(const eai_model *model, const char *const *input_names, const struct OrtValue *const *inputs,
                        size_t input_count, const char *const *output_names, size_t output_count,
                        struct OrtValue **outputs, ea_error *error);

/* Describes an output, whose data lies in the value. */
ea_status eai_model_describe(const eai_model *model, eai_arena *arena, struct OrtValue *value, ea_array *array,
                             ea_error *error);

void eai_model_close(eai_model *model);

#endif
