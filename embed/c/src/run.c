/* Runs: inputs are checked, each row gets its adapter's arrays, and rows share as few passes as their slots allow. */
#include "inputs.h"
#include "result.h"

#include <stdlib.h>
#include <string.h>

/* One run under way. */
typedef struct run_state {
    ea_bundle *bundle;
    eai_arena arena;
    ea_array *inputs; /* in the manifest's order */
    int64_t batch;
    eai_entry **entries; /* taken, of each row; NULL for the base */
    const eai_adapter **adapters;
    size_t rows; /* 1 for all, or the batch */
} run_state;

/* Runs the model once; the values in `outputs` are the caller's to free. */
static ea_status run_model(run_state *run, const ea_array *inputs, const eai_cell *const *filling,
                           struct OrtValue **outputs, ea_error *error)
{
    const eai_model *model = &run->bundle->model;
    const eai_manifest *manifest = &run->bundle->manifest;
    size_t count = manifest->input_count + manifest->slot_count;
    struct OrtValue **own = eai_take(&run->arena, manifest->input_count, sizeof *own);
    const struct OrtValue **values = eai_take(&run->arena, count, sizeof *values);
    ea_status status = own && values ? EA_OK : eai_no_memory(error);
    for (size_t index = 0; index < manifest->input_count && status == EA_OK; index++) {
        status = eai_model_value(model, &inputs[index], &own[index], error);
        values[index] = own[index];
    }
    for (size_t index = 0; index < manifest->slot_count && status == EA_OK; index++)
        values[manifest->input_count + index] = filling[index]->value;
    if (status == EA_OK)
        status = eai_model_run(model, run->bundle->input_names, values, count, run->bundle->output_names,
                               manifest->output_count, outputs, error);
    for (size_t index = 0; index < manifest->input_count && own; index++)
        eai_model_free_value(model, own[index]);
    return status;
}

/* Runs the rows of one pass. */
static ea_status run_pass(run_state *run, const eai_passes *passes, size_t pass, eai_part *part, ea_error *error)
{
    const eai_manifest *manifest = &run->bundle->manifest;
    size_t count = passes->row_count[pass];
    const eai_adapter **members = eai_take(&run->arena, count, sizeof *members);
    ea_array *inputs = eai_take(&run->arena, manifest->input_count, sizeof *inputs);
    part->values = eai_take(&run->arena, manifest->output_count, sizeof *part->values);
    if (!members || !inputs || !part->values)
        return eai_no_memory(error);
    bool same = true;
    for (size_t row = 0; row < run->rows; row++)
        if (passes->pass[row] == pass)
            members[passes->position[row]] = run->adapters[row];
    for (size_t row = 1; row < count; row++)
        same = same && members[row] == members[0];
    for (size_t index = 0; index < manifest->input_count; index++) {
        size_t axis = eai_axis(&manifest->inputs[index], "batch");
        inputs[index] = run->inputs[index];
        if (passes->count > 1 && axis < manifest->inputs[index].rank &&
            !eai_take_rows(&run->arena, &run->inputs[index], axis, passes, pass, run->rows, &inputs[index]))
            return eai_no_memory(error);
    }
    eai_adapter stack = {0};
    ea_status status = EA_OK;
    if (!same)
        status = eai_stack_rows(manifest, members, count, &stack, error);
    if (status == EA_OK)
        status = eai_model_bind(&run->bundle->model, &stack, error);
    if (status == EA_OK)
        status = run_model(run, inputs, same ? members[0]->filling : stack.filling, part->values, error);
    eai_model_drop(&run->bundle->model, &stack);
    return status == EA_OK ? eai_describe_part(run->bundle, &run->arena, part, error) : status;
}

/* Runs all passes, and puts together what they give. */
static ea_status run_passes(run_state *run, ea_result **result, ea_error *error)
{
    const eai_manifest *manifest = &run->bundle->manifest;
    eai_passes passes;
    size_t *labels = eai_take(&run->arena, run->rows, sizeof *labels);
    bool cut = false;
    if (!labels || !eai_part_rows(&run->arena, manifest, run->adapters, run->rows, &passes))
        return eai_no_memory(error);
    for (size_t row = 0; row < run->rows; row++) {
        labels[row] = run->adapters[row]->label_count;
        cut |= labels[row] != labels[0];
    }
    ea_status status = eai_check_joins(manifest, passes.count, cut, error);
    if (status != EA_OK)
        return status;
    eai_part *parts = eai_take(&run->arena, passes.count, sizeof *parts);
    if (!parts)
        return eai_no_memory(error);
    for (size_t pass = 0; pass < passes.count && status == EA_OK; pass++)
        status = run_pass(run, &passes, pass, &parts[pass], error);
    ea_result *made = status == EA_OK ? eai_new_result(run->bundle) : NULL;
    if (status == EA_OK)
        status = made ? eai_join_parts(made, parts, &passes, labels, run->rows, error) : eai_no_memory(error);
    for (size_t pass = 0; pass < passes.count; pass++)
        for (size_t index = 0; index < manifest->output_count && parts[pass].values; index++)
            eai_model_free_value(&run->bundle->model, parts[pass].values[index]);
    if (status == EA_OK)
        *result = made;
    else
        ea_result_free(made);
    return status;
}

/* Takes the adapter of each row, and refuses those that a run can't feed. */
static ea_status run_choose(run_state *run, const char *const *names, size_t count, ea_error *error)
{
    run->entries = eai_take(&run->arena, count, sizeof *run->entries);
    run->adapters = eai_take(&run->arena, count, sizeof *run->adapters);
    if (!run->entries || !run->adapters)
        return eai_no_memory(error);
    for (size_t row = 0; row < count; row++) {
        ea_status status = eai_take_adapter(run->bundle, names[row], &run->entries[row], &run->adapters[row], error);
        if (status != EA_OK)
            return status;
        run->rows = row + 1;
    }
    for (size_t row = 0; row < count; row++)
        if (run->adapters[row]->has_cache)
            return eai_fail(error, EA_UNSUPPORTED_ERROR,
                            "%s: what a text's cache begins with, and a run takes the cache that it is given.\n"
                            "Use edgeadapt's Python runtime to generate text with it.",
                            run->entries[row]->name);
    return EA_OK;
}

/* Frees what a run has taken. */
static void run_end(run_state *run)
{
    for (size_t row = 0; row < run->rows; row++)
        eai_leave_adapter(run->bundle, run->entries[row]);
    eai_free_all(&run->arena);
}

static ea_status run_begin(run_state *run, const ea_array *inputs, size_t input_count, ea_error *error)
{
    const eai_manifest *manifest = &run->bundle->manifest;
    run->inputs = eai_take(&run->arena, manifest->input_count, sizeof *run->inputs);
    if (!run->inputs)
        return eai_no_memory(error);
    return eai_check_inputs(&run->arena, manifest, inputs, input_count, run->inputs, &run->batch, error);
}

ea_status ea_bundle_run(ea_bundle *bundle, const ea_array *inputs, size_t input_count, const char *adapter,
                        ea_result **result, ea_error *error)
{
    run_state run = {.bundle = bundle};
    eai_clear(error);
    *result = NULL;
    ea_status status = run_begin(&run, inputs, input_count, error);
    if (status == EA_OK)
        status = run_choose(&run, &adapter, 1, error);
    if (status == EA_OK)
        status = run_passes(&run, result, error);
    run_end(&run);
    return status;
}

/* Refuses a list that has not one adapter for each row. */
static ea_status run_check_rows(const run_state *run, const char *const *adapters, size_t rows, ea_error *error)
{
    if (run->batch < 0)
        return eai_fail(error, EA_INPUT_ERROR,
                        "A list of adapters needs a batch, and no input of this model has an axis 'batch'.");
    if ((uint64_t)run->batch != rows)
        return eai_fail(error, EA_INPUT_ERROR, "A list of adapters has one for each row: got %zu for a batch of %lld.",
                        rows, (long long)run->batch);
    if (!rows)
        return eai_fail(error, EA_INPUT_ERROR, "The batch is empty, so there is no row to run an adapter for.");
    return adapters ? EA_OK : eai_fail(error, EA_INPUT_ERROR, "The list of adapters is NULL.");
}

ea_status ea_bundle_run_rows(ea_bundle *bundle, const ea_array *inputs, size_t input_count, const char *const *adapters,
                             size_t rows, ea_result **result, ea_error *error)
{
    run_state run = {.bundle = bundle};
    eai_clear(error);
    *result = NULL;
    ea_status status = run_begin(&run, inputs, input_count, error);
    if (status == EA_OK)
        status = run_check_rows(&run, adapters, rows, error);
    if (status == EA_OK)
        status = run_choose(&run, adapters, rows, error);
    if (status == EA_OK) {
        bool same = true;
        for (size_t row = 1; row < rows; row++)
            same = same && run.adapters[row] == run.adapters[0];
        /* One for all: one run, whose outputs are as the model gives them. */
        for (; same && run.rows > 1; run.rows--)
            eai_leave_adapter(bundle, run.entries[run.rows - 1]);
        status = run_passes(&run, result, error);
    }
    run_end(&run);
    return status;
}
