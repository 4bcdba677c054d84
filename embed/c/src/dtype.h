/* Dtypes and the sizes of arrays. */
#ifndef EAI_DTYPE_H
#define EAI_DTYPE_H

#include "../edgeadapt.h"

#include <stdbool.h>

/* Returns the dtype of a name, or 0. */
ea_dtype eai_dtype_of(const char *name);

/* Computes how many bytes an array takes; false where a length is negative or the product overflows. */
bool eai_array_bytes(const int64_t *shape, size_t rank, ea_dtype dtype, size_t *bytes);

/* Tells whether all values are finite; those of whole numbers are. */
bool eai_all_finite(const ea_array *array);

/* Fills an array of `count` values with a number, rounded to nearest, ties to even, where the dtype has fractions;
 * false where the dtype does not hold it. */
bool eai_fill(void *data, size_t count, ea_dtype dtype, double number);

/* Writes a shape as a message shows it, `(2, 7)`. */
const char *eai_shown(char room[96], const int64_t *shape, size_t rank);

#endif
