/* Mixed batches: rows parted into passes, and arrays of several rows stacked into one. */
#ifndef EAI_ROWS_H
#define EAI_ROWS_H

#include "adapter.h"

/* Which rows share a run: those with the same arrays in all slots that take one for the whole batch. */
typedef struct eai_passes {
    size_t count;      /* of passes, in the order of their first rows */
    size_t *pass;      /* of each row */
    size_t *position;  /* of each row in its pass */
    size_t *row_count; /* of each pass */
} eai_passes;

/* False where memory ran out. */
bool eai_part_rows(eai_arena *arena, const eai_manifest *manifest, const eai_adapter *const *rows, size_t count,
                   eai_passes *passes);

/* Stacks the arrays of rows that share a run: `(rows, ...)`, or `(1, ...)` where all have the same. Ranks and label
 * counts are padded with zeros to the largest: a zero rank adds 0, a zero label is cut off again. */
ea_status eai_stack_rows(const eai_manifest *manifest, const eai_adapter *const *rows, size_t count, eai_adapter *stack,
                         ea_error *error);

/* Takes one pass's rows of an input along an axis; false where memory ran out. */
bool eai_take_rows(eai_arena *arena, const ea_array *input, size_t axis, const eai_passes *passes, size_t pass,
                   size_t row_count, ea_array *taken);

/* Copies one row along an axis into row `to_row` of an array that has `to_rows` there and is as long in all other axes
 * but the last: that is `last` long, and the row is cut. With one row the target is that row, without the axis. */
void eai_copy_row(const ea_array *from, size_t axis, size_t row, void *to, size_t to_row, size_t to_rows, size_t last);

#endif
