#include "fit.h"

#include "consistency.h"
#include "dtype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fit_check {
    const eai_record *record;
    const eai_weights *weights;
    const eai_cell *const *filling; /* NULL for the base */
    const eai_manifest *manifest;
    eai_problems *problems;
} fit_check;

/* Tells whether a slot takes part: of the base, those alone whose neutral is stored. */
static bool fit_counts(const fit_check *check, const eai_slot *slot)
{
    return check->filling || slot->neutral == EAI_STORED_NEUTRAL;
}

/* Returns what is in a slot; NULL where nothing is. */
static const ea_array *fit_array(const fit_check *check, const eai_slot *slot)
{
    const ea_array *own = eai_weight_of(check->weights, slot->tensor.name);
    const eai_cell *cell = check->filling ? check->filling[slot->order] : NULL;
    return own ? own : cell ? &cell->array : NULL;
}

/* Returns the input that a decoder's cache enters by, or NULL. */
static const eai_tensor *fit_layer(const eai_manifest *manifest, const char *name)
{
    for (size_t index = 0; index < manifest->input_count && manifest->generates; index++)
        if (eai_after(manifest->inputs[index].name, EAI_PAST) &&
            (!name || strcmp(manifest->inputs[index].name, name) == 0))
            return &manifest->inputs[index];
    return NULL;
}

static bool fit_spare(const fit_check *check)
{
    size_t spare = 0;
    for (size_t index = 0; index < check->weights->count; index++) {
        const char *name = check->weights->arrays[index].name;
        const eai_slot *slot = eai_slot_of(check->manifest, name);
        if ((slot && fit_counts(check, slot)) || fit_layer(check->manifest, name))
            continue;
        spare++;
        eai_problem(check->problems, "%s: the model has no such slot", name);
    }
    return spare > 0;
}

static void fit_slot(const fit_check *check, const eai_slot *slot, const ea_array *array)
{
    char got[96], expected[160];
    const eai_tensor *tensor = &slot->tensor;
    eai_shown(got, array->shape, array->rank);
    eai_shown_symbols(expected, tensor);
    if (array->dtype != tensor->dtype)
        eai_problem(check->problems, "%s: got %s, expected %s", tensor->name, ea_dtype_name(array->dtype),
                    ea_dtype_name(tensor->dtype));
    bool fits = array->rank == tensor->rank;
    for (size_t axis = 0; axis < tensor->rank && fits; axis++)
        fits = tensor->shape[axis].symbol || tensor->shape[axis].length == array->shape[axis];
    if (!fits)
        eai_problem(check->problems, "%s: got %s, expected %s", tensor->name, got, expected);
    else if (array->shape[0] != 1)
        eai_problem(check->problems, "%s: got %s, expected %s with 1 for rows: an adapter is one row", tensor->name,
                    got, expected);
    else if (!array->bytes)
        eai_problem(check->problems, "%s: got %s, which is empty", tensor->name, got);
    if (!eai_all_finite(array))
        eai_problem(check->problems, "%s: holds NaN or infinity", tensor->name);
}

/* How long the free dimensions are, and who says so. */
typedef struct fit_length {
    int64_t length, other_length;
    const eai_slot *first, *other;
    const char *symbol;
    bool brought; /* the adapter has an array with it */
} fit_length;

static bool fit_disagreements(const fit_check *check)
{
    const eai_manifest *manifest = check->manifest;
    fit_length *lengths = calloc(manifest->free_count, sizeof *lengths);
    if (!lengths)
        return false;
    for (size_t index = 0; index < manifest->slot_count; index++) {
        const eai_slot *slot = &manifest->slots[index];
        const ea_array *array = fit_counts(check, slot) ? fit_array(check, slot) : NULL;
        for (size_t axis = 1; array && axis < slot->tensor.rank; axis++) {
            const eai_dimension *dimension = &slot->tensor.shape[axis];
            fit_length *length = &lengths[dimension->free];
            if (!dimension->symbol)
                continue;
            length->brought |= eai_weight_of(check->weights, slot->tensor.name) != NULL;
            if (!length->first)
                *length = (fit_length){.length = array->shape[axis],
                                       .first = slot,
                                       .symbol = dimension->symbol,
                                       .brought = length->brought};
            else if (!length->other && length->length != array->shape[axis])
                length->other = slot, length->other_length = array->shape[axis];
        }
    }
    for (size_t index = 0; index < manifest->free_count; index++) {
        const fit_length *length = &lengths[index];
        if (length->brought && length->other)
            eai_problem(check->problems, "%s: %lld in %s, %lld in %s%s", length->symbol, (long long)length->length,
                        length->first->tensor.name, (long long)length->other_length, length->other->tensor.name,
                        eai_weight_of(check->weights, length->first->tensor.name) &&
                                eai_weight_of(check->weights, length->other->tensor.name)
                            ? ""
                            : " (one is a neutral)");
    }
    free(lengths);
    return true;
}

/* Collects what is wrong with the arrays; false where memory ran out. */
static bool fit_arrays(const fit_check *check)
{
    size_t before = check->problems->count;
    for (size_t index = 0; index < check->manifest->slot_count; index++) {
        const eai_slot *slot = &check->manifest->slots[index];
        const ea_array *own = eai_weight_of(check->weights, slot->tensor.name);
        if (!fit_counts(check, slot))
            continue;
        if (own)
            fit_slot(check, slot, own);
        else if (!fit_array(check, slot))
            eai_problem(check->problems, "%s: missing, and the base has no value for it", slot->tensor.name);
    }
    return check->problems->count > before || fit_disagreements(check);
}

/* Says where adapter.json has other ranks or another number of labels than the arrays. */
static void fit_record(const fit_check *check)
{
    const eai_manifest *manifest = check->manifest;
    size_t columns = 0;
    for (size_t index = 0; index < manifest->slot_count && !columns; index++) {
        const eai_slot *slot = &manifest->slots[index];
        const ea_array *array = fit_counts(check, slot) ? fit_array(check, slot) : NULL;
        size_t axis = eai_axis(&slot->tensor, "labels");
        if (array && axis < slot->tensor.rank && axis < array->rank)
            columns = (size_t)array->shape[axis];
    }
    columns = columns ? columns : manifest->label_count;
    if (check->record->labels && columns && check->record->label_count != columns)
        eai_problem(check->problems, "labels: %zu names in adapter.json, %zu columns in the head",
                    check->record->label_count, columns);
    for (size_t index = 0; index < manifest->slot_count; index++) {
        const eai_slot *slot = &manifest->slots[index];
        const ea_array *own = fit_counts(check, slot) ? eai_weight_of(check->weights, slot->tensor.name) : NULL;
        size_t axis = eai_axis(&slot->tensor, "rank");
        if (!own || axis >= slot->tensor.rank || axis >= own->rank)
            continue;
        int64_t said = eai_record_rank(check->record, slot->site, slot->method);
        if (said && said != own->shape[axis])
            eai_problem(check->problems, "%s: rank %lld in adapter.json, %lld in its array", slot->tensor.name,
                        (long long)said, (long long)own->shape[axis]);
    }
}

/* Says what keeps an array from being what one layer of a cache begins with; returns its tokens, or 0. */
static int64_t fit_cache_layer(const fit_check *check, const eai_tensor *layer, ea_dtype dtype)
{
    char got[96], expected[160];
    const ea_array *array = eai_weight_of(check->weights, layer->name);
    if (!array) {
        eai_problem(check->problems, "%s: missing", layer->name);
        return 0;
    }
    bool fits = array->rank == 4 && layer->rank == 4 && array->shape[0] == 1 && array->shape[2] > 0;
    for (size_t axis = 1; axis < 4 && fits; axis += 2)
        fits = !layer->shape[axis].symbol && layer->shape[axis].length == array->shape[axis];
    if (!fits)
        eai_problem(check->problems, "%s: got %s, expected %s with 1 for batch and one token or more", layer->name,
                    eai_shown(got, array->shape, array->rank), eai_shown_symbols(expected, layer));
    else if (array->dtype != dtype)
        eai_problem(check->problems, "%s: got %s, expected %s", layer->name, ea_dtype_name(array->dtype),
                    ea_dtype_name(dtype));
    else if (!eai_all_finite(array))
        eai_problem(check->problems, "%s: holds NaN or infinity", layer->name);
    else
        return array->shape[2];
    return 0;
}

static void fit_cache_lengths(const fit_check *check, int64_t said)
{
    const eai_manifest *manifest = check->manifest;
    const eai_tensor *first = fit_layer(manifest, NULL);
    size_t before = check->problems->count;
    int64_t shortest = INT64_MAX, longest = 0;
    if (!first) {
        eai_problem(check->problems,
                    "%s: this model generates no text, so it has no cache that could begin with anything", EAI_CACHE);
        return;
    }
    for (size_t index = 0; index < manifest->input_count; index++) {
        if (!eai_after(manifest->inputs[index].name, EAI_PAST))
            continue;
        int64_t tokens = fit_cache_layer(check, &manifest->inputs[index], first->dtype);
        shortest = tokens < shortest ? tokens : shortest;
        longest = tokens > longest ? tokens : longest;
    }
    if (check->problems->count > before)
        return;
    if (shortest != longest)
        eai_problem(check->problems, "%s: %lld tokens in one layer, %lld in another", EAI_CACHE, (long long)shortest,
                    (long long)longest);
    else if (manifest->positions && longest >= manifest->positions)
        eai_problem(check->problems, "%s: %lld tokens leave no room for a text in the model's %lld positions",
                    EAI_CACHE, (long long)longest, (long long)manifest->positions);
    else if (longest != said)
        eai_problem(check->problems, "%s: rank %lld in adapter.json, %lld tokens in its arrays", EAI_CACHE,
                    (long long)said, (long long)longest);
}

/* Says what is wrong with what a cache begins with, or with what the record says of that. */
static void fit_cache(const fit_check *check)
{
    const eai_value *site = eai_json_get(check->record->sites, EAI_CACHE);
    bool brings = false;
    for (size_t index = 0; index < check->weights->count && !brings; index++)
        brings = fit_layer(check->manifest, check->weights->arrays[index].name) != NULL;
    if (site)
        fit_cache_lengths(check, eai_json_get(site->first, "rank")->integer);
    else if (brings)
        eai_problem(check->problems,
                    "it brings keys and values of the cache, of which sites.%s in adapter.json says nothing",
                    EAI_CACHE);
}

ea_status eai_check_fit(const char *name, const eai_record *record, const eai_weights *weights,
                        const eai_cell *const *filling, const eai_manifest *manifest, ea_error *error)
{
    eai_problems problems = {0};
    fit_check check = {record, weights, filling, manifest, &problems};
    bool other = strcmp(record->fingerprint, manifest->fingerprint) != 0;
    if (other)
        eai_problem(&problems, "fingerprint of the base: got %s, expected %s", record->fingerprint,
                    manifest->fingerprint);
    bool spare = fit_spare(&check);
    if (!fit_arrays(&check))
        return eai_no_memory(error);
    fit_record(&check);
    fit_cache(&check);
    return eai_refuse(
        error, EA_ADAPTER_ERROR, &problems,
        other   ? "Export it from the base it was trained on."
        : spare ? "`edgeadapt add` the checkpoint to this bundle: it gives the model the slots that are missing."
                : "Convert it again for this bundle with `edgeadapt add`.",
        "Adapter '%s' does not fit the model:", name);
}
