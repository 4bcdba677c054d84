#include "signature.h"

#include <onnxruntime_c_api.h>
#include <stdlib.h>
#include <string.h>

/* An input or output as the model has it. */
typedef struct signature_value {
    char *name;     /* ONNX Runtime's to free */
    ea_dtype dtype; /* 0 for what is no array */
    size_t rank;
} signature_value;

typedef struct signature_side {
    const char *kind;
    signature_value *values;
    size_t count;
    OrtStatus *(ORT_API_CALL *count_of)(const OrtSession *, size_t *);
    OrtStatus *(ORT_API_CALL *name_of)(const OrtSession *, size_t, OrtAllocator *, char **);
    OrtStatus *(ORT_API_CALL *type_of)(const OrtSession *, size_t, OrtTypeInfo **);
} signature_side;

static OrtStatus *signature_type(const OrtApi *api, const OrtTypeInfo *type, signature_value *value)
{
    const OrtTensorTypeAndShapeInfo *info = NULL;
    ONNXTensorElementDataType dtype = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    OrtStatus *report = api->CastTypeInfoToTensorInfo(type, &info);
    if (report || !info)
        return report;
    report = api->GetTensorElementType(info, &dtype);
    value->dtype = (ea_dtype)dtype;
    return report ? report : api->GetDimensionsCount(info, &value->rank);
}

/* Reads all values of one side, sorted as the model has them; false where memory ran out. */
static bool signature_read(const OrtApi *api, const OrtSession *session, signature_side *side, OrtStatus **report)
{
    OrtAllocator *allocator = NULL;
    size_t count = 0;
    *report = api->GetAllocatorWithDefaultOptions(&allocator);
    if (!*report)
        *report = side->count_of(session, &count);
    side->values = *report ? NULL : calloc(count + 1, sizeof *side->values);
    if (!side->values)
        return *report != NULL;
    for (size_t index = 0; index < count && !*report; index++) {
        OrtTypeInfo *type = NULL;
        side->count = index + 1;
        *report = side->name_of(session, index, allocator, &side->values[index].name);
        if (!*report)
            *report = side->type_of(session, index, &type);
        if (!*report)
            *report = signature_type(api, type, &side->values[index]);
        if (type)
            api->ReleaseTypeInfo(type);
    }
    return true;
}

static void signature_free(const OrtApi *api, signature_side *side)
{
    OrtAllocator *allocator = NULL;
    OrtStatus *report = api->GetAllocatorWithDefaultOptions(&allocator);
    for (size_t index = 0; index < side->count && !report; index++)
        if (side->values[index].name)
            report = api->AllocatorFree(allocator, side->values[index].name);
    if (report)
        api->ReleaseStatus(report);
    free(side->values);
    side->values = NULL;
    side->count = 0;
}

static int signature_by_name(const void *left, const void *right)
{
    return strcmp((*(const eai_tensor *const *)left)->name, (*(const eai_tensor *const *)right)->name);
}

static int signature_values_by_name(const void *left, const void *right)
{
    return strcmp(((const signature_value *)left)->name, ((const signature_value *)right)->name);
}

/* Compares the model's values with the manifest's tensors, both sorted by name. */
static void signature_compare(const signature_side *side, const eai_tensor **wanted, size_t count,
                              eai_problems *problems)
{
    char shown[160];
    size_t here = 0;
    for (size_t index = 0; index < count; index++) {
        const eai_tensor *tensor = wanted[index];
        for (; here < side->count && strcmp(side->values[here].name, tensor->name) < 0; here++)
            eai_problem(problems, "%s: an %s that the manifest has not", side->values[here].name, side->kind);
        if (here >= side->count || strcmp(side->values[here].name, tensor->name) != 0) {
            eai_problem(problems, "%s: the model has no such %s", tensor->name, side->kind);
            continue;
        }
        const signature_value *value = &side->values[here++];
        const char *dtype = ea_dtype_name(value->dtype);
        if (value->dtype != tensor->dtype)
            eai_problem(problems, "%s: the model has %s, the manifest %s", tensor->name, dtype ? dtype : "another type",
                        ea_dtype_name(tensor->dtype));
        if (value->rank != tensor->rank)
            eai_problem(problems, "%s: the model has %zu dimensions, the manifest %s", tensor->name, value->rank,
                        eai_shown_symbols(shown, tensor));
    }
    for (; here < side->count; here++)
        eai_problem(problems, "%s: an %s that the manifest has not", side->values[here].name, side->kind);
}

static ea_status signature_check(const OrtApi *api, const OrtSession *session, signature_side *side,
                                 const eai_tensor **wanted, size_t count, eai_problems *problems, ea_error *error)
{
    OrtStatus *report = NULL;
    ea_status status = signature_read(api, session, side, &report) ? EA_OK : eai_no_memory(error);
    if (report) {
        status = eai_fail(error, EA_PROVIDER_ERROR, "ONNX Runtime can't tell the model's %ss: %.1500s", side->kind,
                          api->GetErrorMessage(report));
        api->ReleaseStatus(report);
    }
    if (status == EA_OK) {
        qsort(side->values, side->count, sizeof *side->values, signature_values_by_name);
        qsort(wanted, count, sizeof *wanted, signature_by_name);
        signature_compare(side, wanted, count, problems);
    }
    signature_free(api, side);
    return status;
}

ea_status eai_check_signature(const OrtApi *api, const OrtSession *session, const eai_manifest *manifest,
                              ea_error *error)
{
    eai_arena arena = {0};
    eai_problems problems = {0};
    signature_side inputs = {.kind = "input",
                             .count_of = api->SessionGetInputCount,
                             .name_of = api->SessionGetInputName,
                             .type_of = api->SessionGetInputTypeInfo};
    signature_side outputs = {.kind = "output",
                              .count_of = api->SessionGetOutputCount,
                              .name_of = api->SessionGetOutputName,
                              .type_of = api->SessionGetOutputTypeInfo};
    size_t fed = manifest->input_count + manifest->slot_count;
    const eai_tensor **takes = eai_take(&arena, fed, sizeof *takes);
    const eai_tensor **gives = eai_take(&arena, manifest->output_count, sizeof *gives);
    ea_status status = takes && gives ? EA_OK : eai_no_memory(error);
    for (size_t index = 0; index < fed && status == EA_OK; index++)
        takes[index] = index < manifest->input_count ? &manifest->inputs[index]
                                                     : &manifest->slots[index - manifest->input_count].tensor;
    for (size_t index = 0; index < manifest->output_count && status == EA_OK; index++)
        gives[index] = &manifest->outputs[index];
    if (status == EA_OK)
        status = signature_check(api, session, &inputs, takes, fed, &problems, error);
    if (status == EA_OK)
        status = signature_check(api, session, &outputs, gives, manifest->output_count, &problems, error);
    eai_free_all(&arena);
    if (status != EA_OK)
        return status;
    return eai_refuse(error, EA_BUNDLE_ERROR, &problems, "Copy the bundle again, or export it again.",
                      "%.300s is not the model that edgeadapt.json describes:", manifest->model);
}
