#include "bundle.h"

#include <stdlib.h>
#include <string.h>

enum { BUNDLE_LARGE = 16 << 20 };

const char *ea_version(void)
{
    return "0.1.0";
}

/* Takes the fields that the caller knows, and refuses what this library doesn't. */
static ea_status bundle_options(const ea_options *given, ea_options *options, ea_error *error)
{
    *options = (ea_options){.size = sizeof *options};
    if (!given)
        return EA_OK;
    if (given->size < sizeof given->size)
        return eai_fail(error, EA_CONFIG_ERROR, "options: the size is %zu, expected sizeof(ea_options).", given->size);
    const unsigned char *bytes = (const unsigned char *)given;
    for (size_t index = sizeof *options; index < given->size; index++)
        if (bytes[index])
            return eai_fail(error, EA_CONFIG_ERROR, "options: there are some that this version, %s, doesn't know.",
                            ea_version());
    memcpy(options, given, given->size < sizeof *options ? given->size : sizeof *options);
    if (options->threads < 0)
        return eai_fail(error, EA_CONFIG_ERROR, "threads: got %d, expected a number of 1 or more, or 0.",
                        options->threads);
    if (options->verify != EA_VERIFY_ALL && options->verify != EA_VERIFY_ADAPTERS)
        return eai_fail(error, EA_CONFIG_ERROR, "verify: got %d, expected EA_VERIFY_ALL or EA_VERIFY_ADAPTERS.",
                        (int)options->verify);
    return EA_OK;
}

static bool bundle_names(ea_bundle *bundle)
{
    const eai_manifest *manifest = &bundle->manifest;
    size_t fed = manifest->input_count + manifest->slot_count;
    bundle->input_names = eai_take(&bundle->arena, fed, sizeof *bundle->input_names);
    bundle->output_names = eai_take(&bundle->arena, manifest->output_count, sizeof *bundle->output_names);
    if (!bundle->input_names || !bundle->output_names)
        return false;
    for (size_t index = 0; index < fed; index++)
        bundle->input_names[index] = index < manifest->input_count
                                         ? manifest->inputs[index].name
                                         : manifest->slots[index - manifest->input_count].tensor.name;
    for (size_t index = 0; index < manifest->output_count; index++)
        bundle->output_names[index] = manifest->outputs[index].name;
    if (!manifest->tokenizer)
        return true;
    bundle->tokenizer = eai_join(&bundle->arena, bundle->folder, manifest->tokenizer);
    return bundle->tokenizer != NULL;
}

/* Does what docs/bundle-format.md says in section 8, in its order. */
static ea_status bundle_read(ea_bundle *bundle, const ea_options *options, ea_error *error)
{
    eai_manifest *manifest = &bundle->manifest;
    eai_bytes neutrals = {0};
    ea_status status = eai_manifest_open(bundle->folder, manifest, error);
    if (status == EA_OK)
        status = eai_verify_files(&bundle->arena, bundle->folder, manifest->files, manifest->file_count,
                                  options->verify == EA_VERIFY_ALL ? INT64_MAX : BUNDLE_LARGE, manifest->neutrals,
                                  &neutrals, error);
    if (status == EA_OK && manifest->has_encoder)
        status = eai_fail(error, EA_UNSUPPORTED_ERROR,
                          "%.300s has an encoder, which runs once, and a decoder, which runs for every token; this "
                          "library runs a model in one step.\nUse edgeadapt's Python runtime.",
                          bundle->folder);
    if (status == EA_OK)
        status = eai_model_load(&bundle->model, options->onnxruntime, manifest->onnxruntime, error);
    char *model = status == EA_OK ? eai_join(&bundle->arena, bundle->folder, manifest->model) : NULL;
    if (status == EA_OK)
        status = model && bundle_names(bundle)
                     ? eai_model_open(&bundle->model, model, options->threads, manifest, error)
                     : eai_no_memory(error);
    if (status == EA_OK)
        status = eai_list_adapters(bundle, error);
    if (status == EA_OK)
        status = eai_read_base(bundle->folder, manifest, &neutrals, &bundle->base, error);
    return status == EA_OK ? eai_model_bind(&bundle->model, &bundle->base, error) : status;
}

static void bundle_free(ea_bundle *bundle)
{
    eai_close_adapters(bundle);
    eai_model_drop(&bundle->model, &bundle->base);
    eai_model_close(&bundle->model);
    eai_manifest_close(&bundle->manifest);
    eai_free_all(&bundle->arena);
    pthread_mutex_destroy(&bundle->lock);
    free(bundle);
}

ea_status ea_bundle_open(const char *folder, const ea_options *options, ea_bundle **bundle, ea_error *error)
{
    ea_options chosen;
    eai_clear(error);
    *bundle = NULL;
    if (!folder || !*folder)
        return eai_fail(error, EA_CONFIG_ERROR, "folder: got %s, expected the path of a bundle.",
                        folder ? "no text" : "NULL");
    ea_status status = bundle_options(options, &chosen, error);
    if (status != EA_OK)
        return status;
    ea_bundle *opened = calloc(1, sizeof *opened);
    if (!opened || pthread_mutex_init(&opened->lock, NULL) != 0) {
        free(opened);
        return eai_no_memory(error);
    }
    opened->references = 1;
    opened->folder = eai_copy_text(&opened->arena, folder);
    status = opened->folder ? bundle_read(opened, &chosen, error) : eai_no_memory(error);
    if (status != EA_OK) {
        bundle_free(opened);
        return status;
    }
    *bundle = opened;
    return EA_OK;
}

void eai_hold_bundle(ea_bundle *bundle)
{
    pthread_mutex_lock(&bundle->lock);
    bundle->references++;
    pthread_mutex_unlock(&bundle->lock);
}

void eai_leave_bundle(ea_bundle *bundle)
{
    pthread_mutex_lock(&bundle->lock);
    bool last = --bundle->references == 0;
    pthread_mutex_unlock(&bundle->lock);
    if (last)
        bundle_free(bundle);
}

void ea_bundle_close(ea_bundle *bundle)
{
    if (bundle)
        eai_leave_bundle(bundle);
}

const char *ea_bundle_task(const ea_bundle *bundle)
{
    return bundle->manifest.task;
}

const char *ea_bundle_onnxruntime(const ea_bundle *bundle)
{
    return bundle->model.version;
}

size_t ea_bundle_input_count(const ea_bundle *bundle)
{
    return bundle->manifest.input_count;
}

static const eai_tensor *bundle_input(const ea_bundle *bundle, size_t input)
{
    return input < bundle->manifest.input_count ? &bundle->manifest.inputs[input] : NULL;
}

const char *ea_bundle_input_name(const ea_bundle *bundle, size_t input)
{
    const eai_tensor *tensor = bundle_input(bundle, input);
    return tensor ? tensor->name : NULL;
}

ea_dtype ea_bundle_input_dtype(const ea_bundle *bundle, size_t input)
{
    const eai_tensor *tensor = bundle_input(bundle, input);
    return tensor ? tensor->dtype : (ea_dtype)0;
}

size_t ea_bundle_input_rank(const ea_bundle *bundle, size_t input)
{
    const eai_tensor *tensor = bundle_input(bundle, input);
    return tensor ? tensor->rank : 0;
}

int64_t ea_bundle_input_dimension(const ea_bundle *bundle, size_t input, size_t axis, const char **symbol)
{
    const eai_tensor *tensor = bundle_input(bundle, input);
    const eai_dimension *dimension = tensor && axis < tensor->rank ? &tensor->shape[axis] : NULL;
    if (symbol)
        *symbol = dimension ? dimension->symbol : NULL;
    return dimension && !dimension->symbol ? dimension->length : -1;
}

const char *ea_bundle_tokenizer_path(const ea_bundle *bundle)
{
    return bundle->tokenizer;
}

size_t ea_bundle_max_length(const ea_bundle *bundle)
{
    return bundle->manifest.max_length;
}

int64_t ea_bundle_pad_id(const ea_bundle *bundle)
{
    return bundle->manifest.pad_id;
}

int64_t ea_bundle_pad_type_id(const ea_bundle *bundle)
{
    return bundle->manifest.pad_type_id;
}

int ea_bundle_pads_left(const ea_bundle *bundle)
{
    return bundle->manifest.pads_left;
}
