/* The schema, https://flatbuffers.dev/internals says how it is laid out:
 *     table Parameter { name: string; dims: [int64]; data_type: int32; raw_data: [uint8] (force_align: 8); }
 *     table Adapter   { format_version: int32; adapter_version: int32; model_version: int32; parameters: [Parameter]; }
 */
#include "weights.h"

#include "dtype.h"

#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "arrays are little-endian in the file and are used where they lie"
#endif

enum { WEIGHTS_MOST_RANK = 64 };
enum { WEIGHTS_FORMAT_VERSION, WEIGHTS_PARAMETERS = 3 };
enum { WEIGHTS_NAME, WEIGHTS_DIMS, WEIGHTS_DATA_TYPE, WEIGHTS_RAW_DATA };

/* A table in a file: where it begins, and where the offsets of its fields are. */
typedef struct weights_table {
    const eai_bytes *bytes;
    size_t start, size, offsets, fields;
} weights_table;

/* Members of a vector in a file. */
typedef struct weights_vector {
    size_t start, count;
} weights_vector;

static bool weights_inside(const eai_bytes *bytes, size_t start, size_t length)
{
    return start <= bytes->length && length <= bytes->length - start;
}

static uint64_t weights_number(const eai_bytes *bytes, size_t start, size_t size)
{
    uint64_t number = 0;
    for (size_t index = size; index-- > 0;)
        number = number << 8 | (unsigned char)bytes->data[start + index];
    return number;
}

/* Follows the offset that stands at `at`, which counts from there. */
static bool weights_follow(const eai_bytes *bytes, size_t at, size_t *target)
{
    if (!weights_inside(bytes, at, 4))
        return false;
    *target = at + (size_t)weights_number(bytes, at, 4);
    return *target > at && *target < bytes->length;
}

static bool weights_open_table(const eai_bytes *bytes, size_t start, weights_table *table)
{
    if (!weights_inside(bytes, start, 4))
        return false;
    int64_t back = (int32_t)weights_number(bytes, start, 4), offsets = (int64_t)start - back;
    if (offsets < 0 || !weights_inside(bytes, (size_t)offsets, 4))
        return false;
    size_t length = (size_t)weights_number(bytes, (size_t)offsets, 2);
    *table = (weights_table){.bytes = bytes,
                             .start = start,
                             .size = (size_t)weights_number(bytes, (size_t)offsets + 2, 2),
                             .offsets = (size_t)offsets + 4,
                             .fields = length < 4 ? 0 : (length - 4) / 2};
    return length >= 4 && length % 2 == 0 && table->size >= 4 && weights_inside(bytes, (size_t)offsets, length) &&
           weights_inside(bytes, start, table->size);
}

/* Finds a field of `size` bytes in its table; `at` is 0 where it has its default. */
static bool weights_field(const weights_table *table, size_t field, size_t size, size_t *at)
{
    size_t offset = field < table->fields ? (size_t)weights_number(table->bytes, table->offsets + 2 * field, 2) : 0;
    *at = offset ? table->start + offset : 0;
    return offset == 0 || (offset >= 4 && offset + size <= table->size);
}

static bool weights_int32(const weights_table *table, size_t field, int32_t *number)
{
    size_t at;
    if (!weights_field(table, field, 4, &at))
        return false;
    *number = at ? (int32_t)weights_number(table->bytes, at, 4) : 0;
    return true;
}

/* Finds a vector with members of `size` bytes; an absent one is empty. */
static bool weights_find(const weights_table *table, size_t field, size_t size, weights_vector *vector)
{
    size_t at, start;
    *vector = (weights_vector){0};
    if (!weights_field(table, field, 4, &at))
        return false;
    if (!at)
        return true;
    if (!weights_follow(table->bytes, at, &start) || !weights_inside(table->bytes, start, 4))
        return false;
    *vector = (weights_vector){.start = start + 4, .count = (size_t)weights_number(table->bytes, start, 4)};
    return vector->count <= (table->bytes->length - vector->start) / size;
}

/* Reads one parameter, without its dims; returns what is wrong with it, or NULL. */
static const char *weights_parameter(const weights_table *table, ea_array *array, weights_vector *dims)
{
    const eai_bytes *bytes = table->bytes;
    weights_vector name, raw;
    int32_t type;
    if (!weights_find(table, WEIGHTS_NAME, 1, &name) || !weights_find(table, WEIGHTS_DIMS, 8, dims) ||
        !weights_int32(table, WEIGHTS_DATA_TYPE, &type) || !weights_find(table, WEIGHTS_RAW_DATA, 1, &raw))
        return "a field of an array lies outside the file";
    if (!name.count || name.start + name.count >= bytes->length || bytes->data[name.start + name.count] ||
        memchr(bytes->data + name.start, '\0', name.count))
        return "an array has no name that ends with a NUL";
    if (dims->count > WEIGHTS_MOST_RANK)
        return "an array has more than 64 dimensions";
    *array = (ea_array){.name = bytes->data + name.start,
                        .dtype = (ea_dtype)type,
                        .rank = dims->count,
                        .data = raw.count ? bytes->data + raw.start : bytes->data,
                        .bytes = raw.count};
    return type < 0 || !ea_dtype_size(array->dtype) ? "an array has a data_type that no slot has" : NULL;
}

static int weights_by_name(const void *left, const void *right)
{
    return strcmp(((const ea_array *)left)->name, ((const ea_array *)right)->name);
}

/* Copies an array that is not aligned to the size of its values: ONNX Runtime's own writer aligns them to 4 bytes
 * alone. */
static bool weights_align(eai_arena *arena, ea_array *array)
{
    if ((uintptr_t)array->data % ea_dtype_size(array->dtype) == 0)
        return true;
    void *data = eai_take(arena, array->bytes, 1);
    if (!data)
        return false;
    array->data = memcpy(data, array->data, array->bytes);
    return true;
}

static const char *weights_shape(eai_arena *arena, const eai_bytes *bytes, weights_vector dims, ea_array *array)
{
    int64_t *shape = eai_take(arena, dims.count, sizeof *shape);
    size_t wanted;
    if (!shape)
        return "out of memory";
    for (size_t axis = 0; axis < dims.count; axis++)
        shape[axis] = (int64_t)weights_number(bytes, dims.start + 8 * axis, 8);
    array->shape = shape;
    if (!eai_array_bytes(shape, array->rank, array->dtype, &wanted) || wanted != array->bytes)
        return "an array has other bytes than its dims and data_type say";
    return NULL;
}

static const char *weights_read(eai_arena *arena, const eai_bytes *bytes, eai_weights *weights)
{
    weights_table root, parameter;
    weights_vector parameters, dims;
    size_t start;
    int32_t version;
    if (!weights_inside(bytes, 0, 8) || memcmp(bytes->data + 4, "TORT", 4) != 0)
        return "it has no file identifier TORT";
    if (!weights_follow(bytes, 0, &start) || !weights_open_table(bytes, start, &root) ||
        !weights_int32(&root, WEIGHTS_FORMAT_VERSION, &version) ||
        !weights_find(&root, WEIGHTS_PARAMETERS, 4, &parameters))
        return "a field lies outside the file";
    if (!parameters.start)
        return "it has no list of arrays";
    if (version != 1)
        return "its format_version is not 1";
    weights->arrays = eai_take(arena, parameters.count, sizeof *weights->arrays);
    if (!weights->arrays)
        return "out of memory";
    weights->count = parameters.count;
    size_t left = bytes->length;
    for (size_t index = 0; index < parameters.count; index++) {
        if (!weights_follow(bytes, parameters.start + 4 * index, &start) ||
            !weights_open_table(bytes, start, &parameter))
            return "an array lies outside the file";
        const char *problem = weights_parameter(&parameter, &weights->arrays[index], &dims);
        if (!problem)
            problem = weights_shape(arena, bytes, dims, &weights->arrays[index]);
        if (problem)
            return problem;
        /* So that a small file can't take much memory. */
        if (weights->arrays[index].bytes > left)
            return "arrays share their bytes";
        left -= weights->arrays[index].bytes;
        if (!weights_align(arena, &weights->arrays[index]))
            return "out of memory";
    }
    qsort(weights->arrays, weights->count, sizeof *weights->arrays, weights_by_name);
    return NULL;
}

ea_status eai_read_weights(eai_arena *arena, const char *path, const eai_bytes *bytes, eai_weights *weights,
                           ea_error *error)
{
    *weights = (eai_weights){0};
    const char *problem = weights_read(arena, bytes, weights);
    for (size_t index = 1; index < weights->count && !problem; index++)
        if (weights_by_name(&weights->arrays[index - 1], &weights->arrays[index]) == 0)
            return eai_fail(error, EA_BUNDLE_ERROR, "%s has two arrays named %.200s.\nConvert the adapter again.",
                            path, weights->arrays[index].name);
    if (!problem)
        return EA_OK;
    if (strcmp(problem, "out of memory") == 0)
        return eai_no_memory(error);
    return eai_fail(error, EA_BUNDLE_ERROR, "%s is no file of adapter arrays: %s.\nConvert the adapter again.", path,
                    problem);
}

const ea_array *eai_weight_of(const eai_weights *weights, const char *name)
{
    ea_array wanted = {.name = name};
    return weights->count ? bsearch(&wanted, weights->arrays, weights->count, sizeof *weights->arrays, weights_by_name)
                          : NULL;
}
