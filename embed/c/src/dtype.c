#include "dtype.h"

/* Of <math.h> nothing that needs a library of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Names lie in the table, as in others here: a pointer to each would take more than the name, and have to be adjusted
 * when the library is loaded. */
static const struct {
    char name[8];
    unsigned char size;
} dtypes[] = {
    [EA_FLOAT32] = {"float32", 4}, [EA_UINT8] = {"uint8", 1},   [EA_INT8] = {"int8", 1},
    [EA_UINT16] = {"uint16", 2},   [EA_INT16] = {"int16", 2},   [EA_INT32] = {"int32", 4},
    [EA_INT64] = {"int64", 8},     [EA_BOOL] = {"bool", 1},     [EA_FLOAT16] = {"float16", 2},
    [EA_FLOAT64] = {"float64", 8}, [EA_UINT32] = {"uint32", 4}, [EA_UINT64] = {"uint64", 8},
};

enum { DTYPES = sizeof dtypes / sizeof *dtypes };

const char *ea_dtype_name(ea_dtype dtype)
{
    return ea_dtype_size(dtype) ? dtypes[dtype].name : NULL;
}

size_t ea_dtype_size(ea_dtype dtype)
{
    return (unsigned)dtype < DTYPES ? dtypes[dtype].size : 0;
}

ea_dtype eai_dtype_of(const char *name)
{
    for (unsigned code = 0; code < DTYPES; code++)
        if (dtypes[code].size && strcmp(dtypes[code].name, name) == 0)
            return (ea_dtype)code;
    return (ea_dtype)0;
}

bool eai_array_bytes(const int64_t *shape, size_t rank, ea_dtype dtype, size_t *bytes)
{
    bool empty = false;
    *bytes = ea_dtype_size(dtype);
    for (size_t axis = 0; axis < rank; axis++) {
        if (shape[axis] < 0)
            return false;
        empty |= shape[axis] == 0;
    }
    for (size_t axis = 0; axis < rank && !empty; axis++) {
        if ((uint64_t)shape[axis] > (SIZE_MAX / 4) / *bytes)
            return false;
        *bytes *= (size_t)shape[axis];
    }
    if (empty)
        *bytes = 0;
    return true;
}

bool eai_all_finite(const ea_array *array)
{
    size_t size = ea_dtype_size(array->dtype), count = size ? array->bytes / size : 0;
    /* NaN and infinity have all bits of the exponent set. */
    if (array->dtype == EA_FLOAT32) {
        const uint32_t *values = array->data;
        for (size_t index = 0; index < count; index++)
            if ((values[index] & 0x7F800000u) == 0x7F800000u)
                return false;
    } else if (array->dtype == EA_FLOAT16) {
        const uint16_t *values = array->data;
        for (size_t index = 0; index < count; index++)
            if ((values[index] & 0x7C00u) == 0x7C00u)
                return false;
    } else if (array->dtype == EA_FLOAT64) {
        const uint64_t *values = array->data;
        for (size_t index = 0; index < count; index++)
            if ((values[index] & 0x7FF0000000000000u) == 0x7FF0000000000000u)
                return false;
    }
    return true;
}

/* Returns the bits of the float16 nearest to a number; infinity's where it is too large. */
static uint16_t dtype_half(double number)
{
    uint16_t sign = signbit(number) ? 0x8000 : 0;
    double size = fabs(number);
    int exponent;
    frexp(size, &exponent); /* size = m * 2^exponent, m in [0.5, 1) */
    /* Below 2^-14 numbers have the spacing 2^-24, over it 2^(exponent - 11). */
    int spacing = size == 0 || exponent < -13 ? -24 : exponent - 11;
    double scaled = ldexp(size, -spacing); /* under 2048 */
    uint32_t units = (uint32_t)scaled;
    double rest = scaled - units;
    units += rest > 0.5 || (rest == 0.5 && units & 1);
    /* 2048 units carry into the exponent, as they should. */
    uint32_t bits = ((uint32_t)(spacing + 24) << 10) + units;
    return (uint16_t)(sign | (bits < 0x7C00 ? bits : 0x7C00));
}

static bool dtype_within(ea_dtype dtype, double number)
{
    size_t bits = 8 * ea_dtype_size(dtype);
    bool is_signed = dtype == EA_INT8 || dtype == EA_INT16 || dtype == EA_INT32 || dtype == EA_INT64;
    double end = ldexp(1, (int)bits - is_signed);
    if (!(number < end) || number < (is_signed ? -end : 0))
        return false;
    /* From 2^53 on there are no fractions. */
    return number >= 9007199254740992.0 || number == (double)(int64_t)number;
}

bool eai_fill(void *data, size_t count, ea_dtype dtype, double number)
{
    size_t size = ea_dtype_size(dtype);
    unsigned char one[8];
    if (dtype == EA_FLOAT64) {
        memcpy(one, &number, size);
    } else if (dtype == EA_FLOAT32) {
        /* From here on the nearest float32 is infinity. */
        if (fabs(number) >= 3.4028235677973366e38)
            return false;
        float value = (float)number;
        memcpy(one, &value, size);
    } else if (dtype == EA_FLOAT16) {
        uint16_t value = dtype_half(number);
        if ((value & 0x7C00) == 0x7C00)
            return false;
        memcpy(one, &value, size);
    } else if (dtype == EA_BOOL) {
        one[0] = number != 0;
    } else {
        if (!dtype_within(dtype, number))
            return false;
        /* Two's complement: the low bytes are those of the narrower type. */
        uint64_t value = number < 0 ? (uint64_t)(int64_t)number : (uint64_t)number;
        for (size_t index = 0; index < size; index++)
            one[index] = (unsigned char)(value >> 8 * index);
    }
    for (size_t index = 0; index < count; index++)
        memcpy((char *)data + index * size, one, size);
    return true;
}

const char *eai_shown(char room[96], const int64_t *shape, size_t rank)
{
    size_t length = (size_t)snprintf(room, 96, "(");
    for (size_t axis = 0; axis < rank && length < 72; axis++)
        length += (size_t)snprintf(room + length, 96 - length, "%lld%s", (long long)shape[axis],
                                   rank == 1         ? ","
                                   : axis + 1 < rank ? ", "
                                                     : "");
    snprintf(room + length, 96 - length, length < 72 ? ")" : "...)");
    return room;
}
