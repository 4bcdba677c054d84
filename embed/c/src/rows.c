#include "rows.h"

#include "dtype.h"

#include <string.h>

/* Tells whether two rows have the same arrays in all slots that can't differ between the rows of a run. */
static bool rows_together(const eai_manifest *manifest, const eai_adapter *one, const eai_adapter *other)
{
    for (size_t index = 0; index < manifest->slot_count && one != other; index++)
        if (!manifest->slots[index].tensor.shape[0].symbol && one->filling[index] != other->filling[index])
            return false;
    return true;
}

bool eai_part_rows(eai_arena *arena, const eai_manifest *manifest, const eai_adapter *const *rows, size_t count,
                   eai_passes *passes)
{
    size_t *first = eai_take(arena, count, sizeof *first);
    *passes = (eai_passes){.pass = eai_take(arena, count, sizeof *passes->pass),
                           .position = eai_take(arena, count, sizeof *passes->position),
                           .row_count = eai_take(arena, count, sizeof *passes->row_count)};
    if (!first || !passes->pass || !passes->position || !passes->row_count)
        return false;
    for (size_t row = 0; row < count; row++) {
        size_t pass = 0;
        while (pass < passes->count && !rows_together(manifest, rows[first[pass]], rows[row]))
            pass++;
        if (pass == passes->count)
            first[passes->count++] = row;
        passes->pass[row] = pass;
        passes->position[row] = passes->row_count[pass]++;
    }
    return true;
}

/* Copies an array into the start of one that is as long or longer in every axis. */
static void rows_copy(char *to, const int64_t *to_shape, const char *from, const int64_t *from_shape, size_t rank,
                      size_t size)
{
    size_t to_step = size, from_step = size;
    for (size_t axis = 1; axis < rank; axis++) {
        to_step *= (size_t)to_shape[axis];
        from_step *= (size_t)from_shape[axis];
    }
    size_t count = rank ? (size_t)from_shape[0] : 1;
    /* Equal lengths in all inner axes, as no axis is shorter: they lie in one piece. */
    if (to_step == from_step) {
        memcpy(to, from, count * from_step);
        return;
    }
    for (size_t index = 0; index < count; index++)
        rows_copy(to + index * to_step, to_shape + 1, from + index * from_step, from_shape + 1, rank - 1, size);
}

/* Computes how long each free dimension is in these rows. */
static void rows_lengths(const eai_manifest *manifest, const eai_adapter *const *rows, size_t count, int64_t *lengths)
{
    for (size_t row = 0; row < count; row++) {
        if (row && rows[row] == rows[row - 1])
            continue;
        for (size_t index = 0; index < manifest->slot_count; index++) {
            const eai_tensor *tensor = &manifest->slots[index].tensor;
            const int64_t *shape = rows[row]->filling[index]->array.shape;
            for (size_t axis = 1; axis < tensor->rank; axis++) {
                int64_t *length = &lengths[tensor->shape[axis].free];
                if (tensor->shape[axis].symbol && shape[axis] > *length)
                    *length = shape[axis];
            }
        }
    }
}

/* Stacks one slot's arrays; returns the cell to feed, or NULL where memory ran out. */
static const eai_cell *rows_stack(eai_adapter *stack, const eai_slot *slot, const eai_adapter *const *rows,
                                  size_t count, const int64_t *lengths)
{
    const eai_tensor *tensor = &slot->tensor;
    const eai_cell *first = rows[0]->filling[slot->order];
    bool same = true, fits = true;
    for (size_t row = 1; row < count && same; row++)
        same = rows[row]->filling[slot->order] == first;
    int64_t *shape = eai_take(&stack->arena, tensor->rank, sizeof *shape);
    if (!shape)
        return NULL;
    shape[0] = same ? 1 : (int64_t)count;
    for (size_t axis = 1; axis < tensor->rank; axis++) {
        shape[axis] = tensor->shape[axis].symbol ? lengths[tensor->shape[axis].free] : tensor->shape[axis].length;
        fits = fits && shape[axis] == first->array.shape[axis];
    }
    if (same && fits)
        return first;
    size_t bytes, size = ea_dtype_size(tensor->dtype);
    char *data = eai_array_bytes(shape, tensor->rank, tensor->dtype, &bytes) ? eai_take(&stack->arena, bytes, 1) : NULL;
    if (!data)
        return NULL;
    size_t step = bytes / (size_t)shape[0];
    for (size_t row = 0; row < (size_t)shape[0]; row++) {
        const ea_array *array = &rows[row]->filling[slot->order]->array;
        rows_copy(data + row * step, shape + 1, array->data, array->shape + 1, tensor->rank - 1, size);
    }
    eai_cell *cell = &stack->cells[stack->cell_count++];
    cell->array = (ea_array){tensor->name, tensor->dtype, tensor->rank, shape, data, bytes};
    return cell;
}

ea_status eai_stack_rows(const eai_manifest *manifest, const eai_adapter *const *rows, size_t count, eai_adapter *stack,
                         ea_error *error)
{
    *stack = (eai_adapter){0};
    int64_t *lengths = eai_take(&stack->arena, manifest->free_count, sizeof *lengths);
    stack->cells = eai_take(&stack->arena, manifest->slot_count, sizeof *stack->cells);
    stack->filling = eai_take(&stack->arena, manifest->slot_count, sizeof *stack->filling);
    if (!lengths || !stack->cells || !stack->filling)
        return eai_no_memory(error);
    for (size_t index = 0; index < manifest->free_count; index++)
        lengths[index] = 1;
    rows_lengths(manifest, rows, count, lengths);
    for (size_t index = 0; index < manifest->slot_count; index++) {
        stack->filling[index] = rows_stack(stack, &manifest->slots[index], rows, count, lengths);
        if (!stack->filling[index])
            return eai_no_memory(error);
    }
    return EA_OK;
}

void eai_copy_row(const ea_array *from, size_t axis, size_t row, void *to, size_t to_row, size_t to_rows, size_t last)
{
    /* The target lies as (outer, to_rows, middle, last), the source as (outer, rows, middle, from_last). */
    size_t outer = 1, middle = 1, rows = (size_t)from->shape[axis], size = ea_dtype_size(from->dtype);
    for (size_t before = 0; before < axis; before++)
        outer *= (size_t)from->shape[before];
    for (size_t after = axis + 1; after + 1 < from->rank; after++)
        middle *= (size_t)from->shape[after];
    size_t from_last = axis + 1 < from->rank ? (size_t)from->shape[from->rank - 1] : 1;
    for (size_t block = 0; block < outer; block++)
        for (size_t line = 0; line < middle; line++)
            memcpy((char *)to + ((block * to_rows + to_row) * middle + line) * last * size,
                   (const char *)from->data + ((block * rows + row) * middle + line) * from_last * size, last * size);
}

bool eai_take_rows(eai_arena *arena, const ea_array *input, size_t axis, const eai_passes *passes, size_t pass,
                   size_t row_count, ea_array *taken)
{
    int64_t *shape = eai_take(arena, input->rank, sizeof *shape);
    if (!shape)
        return false;
    memcpy(shape, input->shape, input->rank * sizeof *shape);
    shape[axis] = (int64_t)passes->row_count[pass];
    *taken = *input;
    taken->shape = shape;
    void *data =
        eai_array_bytes(shape, input->rank, input->dtype, &taken->bytes) ? eai_take(arena, taken->bytes, 1) : NULL;
    if (!data)
        return false;
    taken->data = data;
    size_t last = axis + 1 < input->rank ? (size_t)input->shape[input->rank - 1] : 1;
    for (size_t row = 0; row < row_count && taken->bytes; row++)
        if (passes->pass[row] == pass)
            eai_copy_row(input, axis, row, data, passes->position[row], passes->row_count[pass], last);
    return true;
}
