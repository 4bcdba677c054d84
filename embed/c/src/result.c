#include "result.h"

#include "dtype.h"

#include <stdlib.h>
#include <string.h>

ea_result *eai_new_result(ea_bundle *bundle)
{
    ea_result *result = calloc(1, sizeof *result);
    if (!result)
        return NULL;
    result->bundle = bundle;
    eai_hold_bundle(bundle);
    result->count = bundle->manifest.output_count;
    result->outputs = eai_take(&result->arena, result->count, sizeof *result->outputs);
    result->values = eai_take(&result->arena, result->count, sizeof *result->values);
    if (result->outputs && result->values)
        return result;
    ea_result_free(result);
    return NULL;
}

void ea_result_free(ea_result *result)
{
    if (!result)
        return;
    for (size_t index = 0; index < result->count && result->values; index++)
        eai_model_free_value(&result->bundle->model, result->values[index]);
    eai_free_all(&result->arena);
    eai_leave_bundle(result->bundle);
    free(result);
}

size_t ea_result_count(const ea_result *result)
{
    return result->count;
}

size_t ea_result_arrays(const ea_result *result, size_t output)
{
    return output < result->count ? result->outputs[output].count : 0;
}

const ea_array *ea_result_array(const ea_result *result, size_t output, size_t row)
{
    return row < ea_result_arrays(result, output) ? &result->outputs[output].arrays[row] : NULL;
}

ea_status eai_describe_part(ea_bundle *bundle, eai_arena *arena, eai_part *part, ea_error *error)
{
    const eai_manifest *manifest = &bundle->manifest;
    part->arrays = eai_take(arena, manifest->output_count, sizeof *part->arrays);
    if (!part->arrays)
        return eai_no_memory(error);
    for (size_t index = 0; index < manifest->output_count; index++) {
        const eai_tensor *tensor = &manifest->outputs[index];
        ea_array *array = &part->arrays[index];
        ea_status status = eai_model_describe(&bundle->model, arena, part->values[index], array, error);
        if (status != EA_OK)
            return status;
        array->name = tensor->name;
        if (array->dtype != tensor->dtype || array->rank != tensor->rank)
            return eai_fail(error, EA_BUNDLE_ERROR,
                            "The model gave %s with %zu dimensions as %s, and the manifest has %s with %zu.\n"
                            "Export the bundle again.",
                            ea_dtype_name(array->dtype) ? ea_dtype_name(array->dtype) : "another type", array->rank,
                            tensor->name, ea_dtype_name(tensor->dtype), tensor->rank);
    }
    return EA_OK;
}

/* Tells whether an output's last axis is that of labels. */
static bool result_labelled(const eai_tensor *tensor)
{
    const char *last = tensor->rank ? tensor->shape[tensor->rank - 1].symbol : NULL;
    return last && strcmp(last, "labels") == 0;
}

ea_status eai_check_joins(const eai_manifest *manifest, size_t passes, bool cut, ea_error *error)
{
    for (size_t index = 0; index < manifest->output_count; index++) {
        const eai_tensor *tensor = &manifest->outputs[index];
        if ((passes > 1 || (cut && result_labelled(tensor))) && eai_axis(tensor, "batch") == tensor->rank)
            return eai_fail(error, EA_UNSUPPORTED_ERROR,
                            "These rows need a run for each adapter, and output %s has no batch axis to join them on.\n"
                            "Run the adapters one by one.",
                            tensor->name);
    }
    return EA_OK;
}

/* Describes one row of an output, without the batch axis and cut to so many labels (0: not cut). */
static bool result_row(eai_arena *arena, const ea_array *whole, size_t axis, size_t labels, ea_array *row)
{
    int64_t *shape = eai_take(arena, whole->rank, sizeof *shape);
    if (!shape)
        return false;
    for (size_t from = 0, to = 0; from < whole->rank; from++)
        if (from != axis)
            shape[to++] = whole->shape[from];
    *row = (ea_array){.name = whole->name, .dtype = whole->dtype, .rank = whole->rank - 1, .shape = shape};
    if (labels && row->rank && shape[row->rank - 1] > (int64_t)labels)
        shape[row->rank - 1] = (int64_t)labels;
    return eai_array_bytes(shape, row->rank, row->dtype, &row->bytes);
}

static bool result_alike(const ea_array *rows, size_t count)
{
    for (size_t row = 1; row < count; row++)
        if (rows[row].rank != rows[0].rank ||
            memcmp(rows[row].shape, rows[0].shape, rows[0].rank * sizeof *rows[0].shape) != 0)
            return false;
    return true;
}

/* Gives memory to an output: one array where its rows are alike, else one for each row. */
static bool result_make(eai_arena *arena, eai_output *output, ea_array *rows, size_t count, size_t axis)
{
    output->arrays = rows;
    output->count = count;
    if (result_alike(rows, count)) {
        int64_t *shape = eai_take(arena, rows->rank + 1, sizeof *shape);
        if (!shape)
            return false;
        for (size_t to = 0, from = 0; to <= rows->rank; to++)
            shape[to] = to == axis ? (int64_t)count : rows->shape[from++];
        rows->shape = shape;
        rows->rank++;
        if (!eai_array_bytes(shape, rows->rank, rows->dtype, &rows->bytes))
            return false;
        output->count = 1;
    }
    for (size_t index = 0; index < output->count; index++)
        if (!(rows[index].data = eai_take(arena, rows[index].bytes, 1)))
            return false;
    return true;
}

/* Joins one output of several passes, or of one whose rows have different numbers of labels. */
static ea_status result_join(ea_result *result, size_t index, const eai_part *parts, const eai_passes *passes,
                             const size_t *labels, size_t count, ea_error *error)
{
    const eai_tensor *tensor = &result->bundle->manifest.outputs[index];
    eai_output *output = &result->outputs[index];
    size_t axis = eai_axis(tensor, "batch");
    bool labelled = result_labelled(tensor);
    ea_array *rows = eai_take(&result->arena, count, sizeof *rows);
    for (size_t row = 0; row < count && rows; row++) {
        const ea_array *whole = &parts[passes->pass[row]].arrays[index];
        if (whole->shape[axis] != (int64_t)passes->row_count[passes->pass[row]])
            return eai_fail(error, EA_BUNDLE_ERROR,
                            "The model gave %lld rows in %s for a batch of %zu.\nExport the bundle again.",
                            (long long)whole->shape[axis], tensor->name, passes->row_count[passes->pass[row]]);
        if (!result_row(&result->arena, whole, axis, labelled ? labels[row] : 0, &rows[row]))
            return eai_no_memory(error);
    }
    if (!rows || !result_make(&result->arena, output, rows, count, axis))
        return eai_no_memory(error);
    for (size_t row = 0; row < count; row++) {
        const ea_array *whole = &parts[passes->pass[row]].arrays[index];
        const ea_array *target = &output->arrays[output->count == 1 ? 0 : row];
        bool one = output->count == 1;
        bool ends = axis + 1 == tensor->rank; /* the batch axis is the last one */
        size_t last = ends ? 1 : (size_t)target->shape[target->rank - 1];
        union {
            const void *given;
            void *own;
        } data = {.given = target->data};
        if (target->bytes)
            eai_copy_row(whole, axis, passes->position[row], data.own, one ? row : 0, one ? count : 1, last);
    }
    return EA_OK;
}

ea_status eai_join_parts(ea_result *result, eai_part *parts, const eai_passes *passes, const size_t *labels,
                         size_t rows, ea_error *error)
{
    const eai_manifest *manifest = &result->bundle->manifest;
    bool cut = false;
    for (size_t row = 1; row < rows; row++)
        cut |= labels[row] != labels[0];
    for (size_t index = 0; index < result->count; index++) {
        if (passes->count > 1 || (cut && result_labelled(&manifest->outputs[index]))) {
            ea_status status = result_join(result, index, parts, passes, labels, rows, error);
            if (status != EA_OK)
                return status;
            continue;
        }
        /* As the model gave it: its memory goes over to the result. */
        ea_array *array = eai_take(&result->arena, 1, sizeof *array);
        int64_t *shape = eai_take(&result->arena, parts->arrays[index].rank, sizeof *shape);
        if (!array || !shape)
            return eai_no_memory(error);
        *array = parts->arrays[index];
        memcpy(shape, array->shape, array->rank * sizeof *shape);
        array->shape = shape;
        result->outputs[index] = (eai_output){array, 1};
        result->values[index] = parts->values[index];
        parts->values[index] = NULL;
    }
    return EA_OK;
}
