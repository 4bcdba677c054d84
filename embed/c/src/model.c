#include "model.h"

#include "dtype.h"
#include "library.h"
#include "signature.h"

#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <string.h>

_Static_assert(ORT_API_VERSION >= EAI_LIBRARY_API, "these headers are of an ONNX Runtime before 1.20");

/* Takes what a call of ONNX Runtime reports; `status` is what its failure is here. */
static ea_status model_took(const eai_model *model, OrtStatus *report, ea_status status, const char *what,
                            ea_error *error)
{
    if (!report)
        return EA_OK;
    eai_fail(error, status, "ONNX Runtime %s can't %s: %.1500s", model->version, what,
             model->api->GetErrorMessage(report));
    model->api->ReleaseStatus(report);
    return status;
}

ea_status eai_model_load(eai_model *model, const char *library, const char *required, ea_error *error)
{
    const OrtApiBase *base;
    *model = (eai_model){0};
    ea_status status = eai_library_load(library, &base, error);
    if (status == EA_OK) {
        model->version = base->GetVersionString();
        status = eai_library_check(model->version, required, error);
    }
    if (status != EA_OK)
        return status;
    model->api = base->GetApi(EAI_LIBRARY_API);
    if (!model->api)
        return eai_fail(error, EA_PROVIDER_ERROR, "ONNX Runtime %s has no API version %d.\nGive a newer one.",
                        model->version, EAI_LIBRARY_API);
    OrtStatus *report = model->api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "edgeadapt", &model->env);
    if (!report)
        report = model->api->DisableTelemetryEvents(model->env);
    if (!report)
        report = model->api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &model->memory);
    return model_took(model, report, EA_PROVIDER_ERROR, "begin", error);
}

ea_status eai_model_open(eai_model *model, const char *path, int threads, const eai_manifest *manifest, ea_error *error)
{
    const OrtApi *api = model->api;
    OrtSessionOptions *options = NULL;
    OrtStatus *report = api->CreateSessionOptions(&options);
    if (!report)
        report = api->SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_ERROR);
    if (!report && threads > 0)
        report = api->SetIntraOpNumThreads(options, threads);
    /* A cache is longer in every run: a plan of memory for each length would be made in vain. */
    if (!report && manifest->generates)
        report = api->DisableMemPattern(options);
    if (!report)
        report = api->CreateSession(model->env, path, options, &model->session);
    if (options)
        api->ReleaseSessionOptions(options);
    char what[400];
    snprintf(what, sizeof what, "open %.380s", path);
    ea_status status = model_took(model, report, EA_BUNDLE_ERROR, what, error);
    return status == EA_OK ? eai_check_signature(api, model->session, manifest, error) : status;
}

ea_status eai_model_value(const eai_model *model, const ea_array *array, OrtValue **value, ea_error *error)
{
    /* ONNX Runtime writes into no input, and wants an address for what is empty, too. */
    static const int64_t nothing;
    const void *data = array->data ? array->data : &nothing;
    union {
        const void *given;
        void *taken;
    } address = {.given = data};
    OrtStatus *report =
        model->api->CreateTensorWithDataAsOrtValue(model->memory, address.taken, array->bytes, array->shape,
                                                   array->rank, (ONNXTensorElementDataType)array->dtype, value);
    return model_took(model, report, EA_PROVIDER_ERROR, "take an array", error);
}

ea_status eai_model_bind(const eai_model *model, eai_adapter *adapter, ea_error *error)
{
    for (size_t index = 0; index < adapter->cell_count; index++) {
        ea_status status = eai_model_value(model, &adapter->cells[index].array, &adapter->cells[index].value, error);
        if (status != EA_OK)
            return status;
    }
    return EA_OK;
}

void eai_model_free_value(const eai_model *model, OrtValue *value)
{
    if (value)
        model->api->ReleaseValue(value);
}

void eai_model_drop(const eai_model *model, eai_adapter *adapter)
{
    for (size_t index = 0; index < adapter->cell_count; index++)
        eai_model_free_value(model, adapter->cells[index].value);
    eai_free_adapter(adapter);
}

ea_status eai_model_run(const eai_model *model, const char *const *input_names, const OrtValue *const *inputs,
                        size_t input_count, const char *const *output_names, size_t output_count, OrtValue **outputs,
                        ea_error *error)
{
    OrtStatus *report =
        model->api->Run(model->session, NULL, input_names, inputs, input_count, output_names, output_count, outputs);
    /* What it finds fault with are values, such as a token that the model doesn't know: all else was checked. */
    bool fault = report && model->api->GetErrorCode(report) == ORT_INVALID_ARGUMENT;
    return model_took(model, report, fault ? EA_INPUT_ERROR : EA_PROVIDER_ERROR, "run the model on these inputs",
                      error);
}

ea_status eai_model_describe(const eai_model *model, eai_arena *arena, OrtValue *value, ea_array *array,
                             ea_error *error)
{
    const OrtApi *api = model->api;
    OrtTensorTypeAndShapeInfo *info = NULL;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    void *data = NULL;
    int64_t *shape = NULL;
    OrtStatus *report = api->GetTensorTypeAndShape(value, &info);
    if (!report)
        report = api->GetTensorElementType(info, &type);
    if (!report)
        report = api->GetDimensionsCount(info, &array->rank);
    if (!report && (shape = eai_take(arena, array->rank, sizeof *shape)))
        report = api->GetDimensions(info, shape, array->rank);
    if (!report)
        report = api->GetTensorMutableData(value, &data);
    if (info)
        api->ReleaseTensorTypeAndShapeInfo(info);
    ea_status status = model_took(model, report, EA_PROVIDER_ERROR, "give an output", error);
    if (status != EA_OK)
        return status;
    array->dtype = (ea_dtype)type;
    array->shape = shape;
    array->data = data;
    return shape && eai_array_bytes(shape, array->rank, array->dtype, &array->bytes) ? EA_OK : eai_no_memory(error);
}

void eai_model_close(eai_model *model)
{
    if (!model->api)
        return;
    if (model->session)
        model->api->ReleaseSession(model->session);
    if (model->memory)
        model->api->ReleaseMemoryInfo(model->memory);
    if (model->env)
        model->api->ReleaseEnv(model->env);
    *model = (eai_model){0};
}
