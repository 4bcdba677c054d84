/* edgeadapt: one ONNX model with many adapters, in C.
 *
 *     ea_bundle *bundle;
 *     ea_error error;
 *     if (ea_bundle_open("bundle", NULL, &bundle, &error) != EA_OK)
 *         return fail(error.message);
 *     ea_result *result;
 *     if (ea_bundle_run(bundle, inputs, 2, "spam", &result, &error) == EA_OK) {
 *         const ea_array *logits = ea_result_array(result, 0, 0);
 *         ...
 *         ea_result_free(result);
 *     }
 *     ea_bundle_close(bundle);
 *
 * A bundle is shared by any number of threads: every function here may be called at any time, but for ea_bundle_close,
 * which comes last. Texts are UTF-8 and end with a NUL. What a function gives in an out parameter is NULL where it
 * failed. */
#ifndef EDGEADAPT_H
#define EDGEADAPT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define EA_API __attribute__((visibility("default")))
#else
#define EA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

typedef enum ea_status {
    EA_OK = 0,
    EA_CONFIG_ERROR,      /* an option or an argument is wrong */
    EA_UNSUPPORTED_ERROR, /* understood, and not something that this library can do exactly */
    EA_BUNDLE_ERROR,      /* a bundle's files are missing, changed, unsafe or from a newer format */
    EA_ADAPTER_ERROR,     /* an adapter is unknown, unsafe in name, or doesn't fit this bundle */
    EA_INPUT_ERROR,       /* inputs of a run have wrong names, dtypes or shapes */
    EA_PROVIDER_ERROR,    /* ONNX Runtime is not there, or failed */
    EA_MEMORY_ERROR       /* out of memory */
} ea_status;

/* Every function that can fail fills one, or none where `error` is NULL: what was found, what was got and expected,
 * what to do. All problems of one check are in one message, one a line. */
typedef struct ea_error {
    ea_status status;
    char message[2048];
} ea_error;

/* "BundleError" for EA_BUNDLE_ERROR, as Python calls it; "OK" for EA_OK. */
EA_API const char *ea_status_name(ea_status status);

EA_API const char *ea_version(void);

/* ---- Arrays ------------------------------------------------------------------------------------------------------ */

/* The codes are ONNX's. */
typedef enum ea_dtype {
    EA_FLOAT32 = 1,
    EA_UINT8 = 2,
    EA_INT8 = 3,
    EA_UINT16 = 4,
    EA_INT16 = 5,
    EA_INT32 = 6,
    EA_INT64 = 7,
    EA_BOOL = 9,
    EA_FLOAT16 = 10,
    EA_FLOAT64 = 11,
    EA_UINT32 = 12,
    EA_UINT64 = 13
} ea_dtype;

/* An array in row-major order, its numbers in the machine's own byte order and aligned to their size. This struct never
 * changes: arrays of it are arguments. */
typedef struct ea_array {
    const char *name;
    ea_dtype dtype;
    size_t rank;
    const int64_t *shape;
    const void *data;
    size_t bytes; /* of `data`: the product of `shape` times the size of one value */
} ea_array;

/* "float32" for EA_FLOAT32; NULL for what is none. */
EA_API const char *ea_dtype_name(ea_dtype dtype);

/* Bytes of one value; 0 for what is no dtype. */
EA_API size_t ea_dtype_size(ea_dtype dtype);

/* A list of texts: of adapters, or of labels. It stays as it is, whatever happens to the bundle. */
typedef struct ea_names ea_names;

EA_API size_t ea_names_count(const ea_names *names);
EA_API const char *ea_names_at(const ea_names *names, size_t index); /* NULL behind the last one */
EA_API void ea_names_free(ea_names *names);

/* ---- Bundles ----------------------------------------------------------------------------------------------------- */

typedef struct ea_bundle ea_bundle;

typedef enum ea_verify {
    EA_VERIFY_ALL = 0,     /* every file's size and sha256, and that none is a link */
    EA_VERIFY_ADAPTERS = 1 /* the same, without the sha256 of the bundle's own files over 16 MiB */
} ea_verify;

/* Set `size` to sizeof(ea_options) and what isn't wanted to 0: `ea_options options = {.size = sizeof options};` */
typedef struct ea_options {
    size_t size;             /* tells the library which fields the caller knows */
    const char *onnxruntime; /* path of ONNX Runtime's library; NULL: the environment variable EDGEADAPT_ONNXRUNTIME,
                                else what the system's loader finds as libonnxruntime.so */
    int threads;             /* how many share one operator; 0 leaves it to ONNX Runtime */
    ea_verify verify;
} ea_options;

/* Opens the bundle in a folder. Its files are checked and its model loaded; its adapters are known by name, and each is
 * read and checked when it is first used, then kept. `options` may be NULL. A relative path is that of the working
 * directory whenever something is read.
 *
 * EA_BUNDLE_ERROR: it is unsafe, damaged, of a newer format, or ONNX Runtime is too old for it; EA_ADAPTER_ERROR: the
 * base's own arrays don't fit the model; EA_PROVIDER_ERROR: ONNX Runtime can't be loaded; EA_CONFIG_ERROR: an option
 * has no meaning; EA_UNSUPPORTED_ERROR: it has an encoder before its decoder, which can't be run in one step. */
EA_API ea_status ea_bundle_open(const char *folder, const ea_options *options, ea_bundle **bundle, ea_error *error);

/* Closes a bundle, when no other call on it is under way or to come. Results stay valid. NULL does nothing. */
EA_API void ea_bundle_close(ea_bundle *bundle);

/* The adapters that are known, sorted, without "none", the base. */
EA_API ea_status ea_bundle_adapters(ea_bundle *bundle, ea_names **names, ea_error *error);

/* The names of the labels that a run with this adapter answers with, in order; an empty list where there are none.
 * NULL and "none" are the base. */
EA_API ea_status ea_bundle_labels(ea_bundle *bundle, const char *adapter, ea_names **labels, ea_error *error);

/* What the head of a run with this adapter was trained to answer: "regression", "single_label_classification" or
 * "multi_label_classification"; NULL where nobody said. */
EA_API ea_status ea_bundle_problem_type(ea_bundle *bundle, const char *adapter, const char **problem_type,
                                        ea_error *error);

/* Reads the adapter in a folder, such as adapters/spam of another bundle, and makes it known; the disk stays as it is.
 * `name` is what runs call it; NULL takes the name that it was converted under.
 *
 * EA_ADAPTER_ERROR: the name is unsafe or taken, or the adapter doesn't fit; EA_BUNDLE_ERROR: a file is missing,
 * changed or a link. Then nothing has changed. */
EA_API ea_status ea_bundle_add(ea_bundle *bundle, const char *folder, const char *name, ea_error *error);

/* Forgets an adapter; the disk stays as it is, and runs under way keep it. */
EA_API ea_status ea_bundle_remove(ea_bundle *bundle, const char *name, ea_error *error);

/* Reads an adapter now, so that its first run doesn't have to. */
EA_API ea_status ea_bundle_load(ea_bundle *bundle, const char *name, ea_error *error);

/* ---- What a bundle says of itself; texts belong to the bundle ---------------------------------------------------- */

EA_API const char *ea_bundle_task(const ea_bundle *bundle); /* "text-classification" and the like */

/* The version of the ONNX Runtime that runs it, such as "1.23.2". */
EA_API const char *ea_bundle_onnxruntime(const ea_bundle *bundle);

/* The inputs that a run is given; slots are no such inputs. NULL, 0 and -1 for an index that there is not. */
EA_API size_t ea_bundle_input_count(const ea_bundle *bundle);
EA_API const char *ea_bundle_input_name(const ea_bundle *bundle, size_t input);
EA_API ea_dtype ea_bundle_input_dtype(const ea_bundle *bundle, size_t input);
EA_API size_t ea_bundle_input_rank(const ea_bundle *bundle, size_t input);
/* The length of an axis, or -1 where it is free; `symbol`, where it is not NULL, gets the free axis' name or NULL. */
EA_API int64_t ea_bundle_input_dimension(const ea_bundle *bundle, size_t input, size_t axis, const char **symbol);

/* How text becomes input_ids; the path is NULL, and the others are 0, where the bundle has no tokenizer. */
EA_API const char *ea_bundle_tokenizer_path(const ea_bundle *bundle); /* for ea_tokenizer_open */
EA_API size_t ea_bundle_max_length(const ea_bundle *bundle);
EA_API int64_t ea_bundle_pad_id(const ea_bundle *bundle);
EA_API int64_t ea_bundle_pad_type_id(const ea_bundle *bundle);
EA_API int ea_bundle_pads_left(const ea_bundle *bundle); /* 1 where shorter rows are padded on the left, else 0 */

/* ---- Runs -------------------------------------------------------------------------------------------------------- */

typedef struct ea_result ea_result;

/* Runs the model with one adapter for all rows; NULL and "none" are the base. The inputs are used where they lie and
 * are not changed.
 *
 * EA_INPUT_ERROR: the inputs don't fit the model, all reasons; EA_ADAPTER_ERROR: the adapter is unknown or doesn't fit,
 * or the base can't answer alone; EA_BUNDLE_ERROR: a file of the adapter is missing, changed or a link;
 * EA_UNSUPPORTED_ERROR: the adapter is what a text's cache begins with; EA_PROVIDER_ERROR: ONNX Runtime failed. */
EA_API ea_status ea_bundle_run(ea_bundle *bundle, const ea_array *inputs, size_t input_count, const char *adapter,
                               ea_result **result, ea_error *error);

/* Runs the model with an adapter for each row of the batch, `rows` of them; NULL and "none" are the base. */
EA_API ea_status ea_bundle_run_rows(ea_bundle *bundle, const ea_array *inputs, size_t input_count,
                                    const char *const *adapters, size_t rows, ea_result **result, ea_error *error);

/* The outputs, in the order of the manifest. */
EA_API size_t ea_result_count(const ea_result *result);

/* How many arrays an output is: 1 as a rule; where rows have different numbers of labels, one for each row, without the
 * batch axis. */
EA_API size_t ea_result_arrays(const ea_result *result, size_t output);

/* An array of an output, which belongs to the result: the whole (`row` 0), or that of a row. NULL where there is
 * none. */
EA_API const ea_array *ea_result_array(const ea_result *result, size_t output, size_t row);

EA_API void ea_result_free(ea_result *result);

/* ---- Tokenizers -------------------------------------------------------------------------------------------------- */

typedef struct ea_tokenizer ea_tokenizer; /* never changes after it was opened: threads share it */

typedef struct ea_tokens {
    size_t count;
    int64_t *ids;
    int64_t *type_ids;
} ea_tokens;

/* Opens a tokenizer.json of the Hugging Face tokenizers library. EA_UNSUPPORTED_ERROR names what it asks for that this
 * library has not. */
EA_API ea_status ea_tokenizer_open(const char *tokenizer_json_path, ea_tokenizer **tokenizer, ea_error *error);

/* Encodes a text, or a pair of texts (`pair` is NULL and `pair_bytes` 0 for a single one), with special tokens. With a
 * `max_length` over 0, it is cut to so many tokens, the longest text first; special tokens stay. */
EA_API ea_status ea_tokenizer_encode(const ea_tokenizer *tokenizer, const char *text, size_t text_bytes,
                                     const char *pair, size_t pair_bytes, size_t max_length, ea_tokens *tokens,
                                     ea_error *error);

EA_API void ea_tokens_free(ea_tokens *tokens);
EA_API void ea_tokenizer_close(ea_tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif

#endif
