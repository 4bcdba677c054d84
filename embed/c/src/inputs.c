#include "inputs.h"

#include "dtype.h"

#include <stdio.h>
#include <string.h>

/* How long a named dimension is, and in which input it was first seen. */
typedef struct inputs_length {
    const char *symbol, *input;
    int64_t length;
} inputs_length;

typedef struct inputs_lengths {
    inputs_length *known;
    size_t count;
} inputs_lengths;

/* Returns the caller's only array of a name; NULL where there is none. */
static const ea_array *inputs_of(const char *name, const ea_array *inputs, size_t count, eai_problems *problems)
{
    const ea_array *found = NULL;
    for (size_t index = 0; index < count; index++) {
        if (!inputs[index].name || strcmp(inputs[index].name, name) != 0)
            continue;
        if (found)
            eai_problem(problems, "%s: given twice", name);
        found = &inputs[index];
    }
    return found;
}

/* Tells whether one input is as the manifest has it; says what is wrong with it. */
static bool inputs_fit(const ea_array *array, const eai_tensor *tensor, eai_problems *problems)
{
    char got[96], expected[160];
    size_t bytes = 0, before = problems->count;
    const char *dtype = ea_dtype_name(array->dtype);
    if (array->dtype != tensor->dtype)
        eai_problem(problems, "%s: got %s, expected %s", tensor->name, dtype ? dtype : "no dtype",
                    ea_dtype_name(tensor->dtype));
    if (array->rank && !array->shape) {
        eai_problem(problems, "%s: its shape is NULL", tensor->name);
        return false;
    }
    bool fits = array->rank == tensor->rank;
    for (size_t axis = 0; axis < tensor->rank && fits; axis++)
        fits =
            array->shape[axis] >= 0 && (tensor->shape[axis].symbol || tensor->shape[axis].length == array->shape[axis]);
    if (!fits)
        eai_problem(problems, "%s: got %s, expected %s", tensor->name, eai_shown(got, array->shape, array->rank),
                    eai_shown_symbols(expected, tensor));
    if (problems->count > before)
        return false;
    size_t size = ea_dtype_size(array->dtype);
    if (!eai_array_bytes(array->shape, array->rank, array->dtype, &bytes) || bytes != array->bytes)
        eai_problem(problems, "%s: got %zu bytes, expected %zu for %s of %s", tensor->name, array->bytes, bytes,
                    eai_shown(got, array->shape, array->rank), dtype);
    else if (bytes && !array->data)
        eai_problem(problems, "%s: its data is NULL", tensor->name);
    else if (bytes && (uintptr_t)array->data % size)
        eai_problem(problems, "%s: its data is not aligned to %zu bytes", tensor->name, size);
    return problems->count == before;
}

/* Compares the named dimensions of an input with those of the inputs before it. */
static void inputs_agree(const ea_array *array, const eai_tensor *tensor, inputs_lengths *lengths,
                         eai_problems *problems)
{
    for (size_t axis = 0; axis < tensor->rank; axis++) {
        const char *symbol = tensor->shape[axis].symbol;
        if (!symbol)
            continue;
        size_t index = 0;
        while (index < lengths->count && strcmp(lengths->known[index].symbol, symbol) != 0)
            index++;
        inputs_length *known = &lengths->known[index];
        if (index == lengths->count)
            lengths->known[lengths->count++] = (inputs_length){symbol, tensor->name, array->shape[axis]};
        else if (known->length != array->shape[axis])
            eai_problem(problems, "%s: %lld in %s, %lld in %s", symbol, (long long)known->length, known->input,
                        (long long)array->shape[axis], tensor->name);
    }
}

static void inputs_spare(const eai_manifest *manifest, const ea_array *inputs, size_t count, eai_problems *problems)
{
    for (size_t given = 0; given < count; given++) {
        const char *name = inputs[given].name;
        size_t index = 0;
        while (name && index < manifest->input_count && strcmp(manifest->inputs[index].name, name) != 0)
            index++;
        if (!name)
            eai_problem(problems, "the array %zu has no name", given);
        else if (index == manifest->input_count)
            eai_problem(problems, "%s: no input of this model", name);
    }
}

ea_status eai_check_inputs(eai_arena *arena, const eai_manifest *manifest, const ea_array *inputs, size_t count,
                           ea_array *ordered, int64_t *batch, ea_error *error)
{
    eai_problems problems = {0};
    inputs_lengths lengths = {0};
    size_t dimensions = 0;
    char expected[160];
    if (count && !inputs)
        return eai_fail(error, EA_INPUT_ERROR, "The inputs are NULL, expected %zu arrays.", count);
    for (size_t index = 0; index < manifest->input_count; index++)
        dimensions += manifest->inputs[index].rank;
    lengths.known = eai_take(arena, dimensions, sizeof *lengths.known);
    if (!lengths.known)
        return eai_no_memory(error);
    for (size_t index = 0; index < manifest->input_count; index++) {
        const eai_tensor *tensor = &manifest->inputs[index];
        const ea_array *array = inputs_of(tensor->name, inputs, count, &problems);
        if (!array) {
            eai_problem(&problems, "%s: missing, expected %s %s", tensor->name, ea_dtype_name(tensor->dtype),
                        eai_shown_symbols(expected, tensor));
        } else if (inputs_fit(array, tensor, &problems)) {
            inputs_agree(array, tensor, &lengths, &problems);
            ordered[index] = *array;
        }
    }
    if (count > manifest->input_count || problems.count)
        inputs_spare(manifest, inputs, count, &problems);
    *batch = -1;
    for (size_t index = 0; index < lengths.count; index++)
        if (strcmp(lengths.known[index].symbol, "batch") == 0)
            *batch = lengths.known[index].length;
    return eai_refuse(error, EA_INPUT_ERROR, &problems, "", "The inputs don't fit the model:");
}
