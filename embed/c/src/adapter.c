#include "adapter.h"

#include "consistency.h"
#include "dtype.h"
#include "fit.h"

#include <math.h>
#include <string.h>

static size_t adapter_label_axis(const eai_slot *slot)
{
    return eai_axis(&slot->tensor, "labels");
}

/* Returns how many columns the head in these arrays has, or 0 where no slot that is filled has labels. */
static size_t adapter_label_count(const eai_manifest *manifest, const eai_cell *const *filling)
{
    for (size_t index = 0; index < manifest->slot_count; index++) {
        size_t axis = adapter_label_axis(&manifest->slots[index]);
        const ea_array *array = filling[index] ? &filling[index]->array : NULL;
        /* What is empty or of another rank is refused later. */
        if (array && axis < manifest->slots[index].tensor.rank && axis < array->rank && array->bytes)
            return (size_t)array->shape[axis];
    }
    return 0;
}

/* Makes a filled neutral with so many labels; those of the manifest where that is 0. */
static ea_status adapter_neutral(eai_adapter *adapter, const eai_slot *slot, size_t labels, eai_cell *cell,
                                 const char *where, ea_error *error)
{
    size_t bytes, rank = slot->neutral_rank;
    int64_t *shape = eai_take(&adapter->arena, rank, sizeof *shape);
    if (!shape)
        return eai_no_memory(error);
    for (size_t axis = 0; axis < rank; axis++) {
        const char *symbol = slot->tensor.shape[axis].symbol;
        bool stretched = labels && symbol && strcmp(symbol, "labels") == 0;
        shape[axis] = stretched ? (int64_t)labels : slot->neutral_shape[axis];
    }
    void *data = eai_array_bytes(shape, rank, slot->tensor.dtype, &bytes) ? eai_take(&adapter->arena, bytes, 1) : NULL;
    if (!data)
        return eai_no_memory(error);
    bool zero = slot->fill == 0 && !signbit(slot->fill); /* as the memory is already */
    if (!zero && !eai_fill(data, bytes / ea_dtype_size(slot->tensor.dtype), slot->tensor.dtype, slot->fill))
        return eai_fail(error, EA_BUNDLE_ERROR, "%.300s: the neutral of slot %s is %g, which no %s is.", where,
                        slot->tensor.name, slot->fill, ea_dtype_name(slot->tensor.dtype));
    cell->array = (ea_array){slot->tensor.name, slot->tensor.dtype, rank, shape, data, bytes};
    return EA_OK;
}

/* Makes room for cells and filling, and puts the arrays of a file into their slots. */
static bool adapter_place(eai_adapter *adapter, const eai_manifest *manifest, const eai_weights *weights)
{
    adapter->cells = eai_take(&adapter->arena, manifest->slot_count, sizeof *adapter->cells);
    adapter->filling = eai_take(&adapter->arena, manifest->slot_count, sizeof *adapter->filling);
    if (!adapter->cells || !adapter->filling)
        return false;
    for (size_t index = 0; index < weights->count; index++) {
        const eai_slot *slot = eai_slot_of(manifest, weights->arrays[index].name);
        if (!slot)
            continue;
        eai_cell *cell = &adapter->cells[adapter->cell_count++];
        cell->array = weights->arrays[index];
        adapter->filling[slot->order] = cell;
    }
    return true;
}

static ea_status adapter_neutrals(eai_adapter *adapter, const eai_manifest *manifest, const eai_adapter *base,
                                  const char *where, ea_error *error)
{
    size_t labels = base ? adapter_label_count(manifest, adapter->filling) : 0;
    for (size_t index = 0; index < manifest->slot_count; index++) {
        const eai_slot *slot = &manifest->slots[index];
        if (adapter->filling[index])
            continue;
        /* Where an adapter brings a head of another number of labels, the neutrals that it leaves are as long. */
        bool own =
            slot->neutral == EAI_FILLED_NEUTRAL && (!base || (labels && adapter_label_axis(slot) < slot->tensor.rank));
        if (!own) {
            adapter->filling[index] = base ? base->filling[index] : NULL;
            continue;
        }
        eai_cell *cell = &adapter->cells[adapter->cell_count++];
        ea_status status = adapter_neutral(adapter, slot, labels, cell, where, error);
        if (status != EA_OK)
            return status;
        adapter->filling[index] = cell;
    }
    return EA_OK;
}

static void adapter_facts(eai_adapter *adapter, const eai_manifest *manifest, const eai_weights *weights)
{
    adapter->label_count = adapter_label_count(manifest, adapter->filling);
    for (size_t index = 0; index < weights->count; index++) {
        const eai_slot *slot = eai_slot_of(manifest, weights->arrays[index].name);
        if (!slot)
            adapter->has_cache = true; /* it fits, so it is of the cache */
        else if (adapter_label_axis(slot) < slot->tensor.rank && slot->neutral != EAI_FILLED_NEUTRAL)
            adapter->has_head = true;
    }
}

/* Reads the record of a folder, and checks its files; the weights are kept, where it lists any. */
static ea_status adapter_open(const char *folder, eai_adapter *adapter, eai_bytes *kept, ea_error *error)
{
    ea_status status = eai_record_open(&adapter->arena, folder, &adapter->record, error);
    if (status != EA_OK)
        return status;
    return eai_verify_files(&adapter->arena, folder, adapter->record.files, adapter->record.file_count, INT64_MAX,
                            EAI_WEIGHTS_FILE, kept, error);
}

static ea_status adapter_weights(eai_adapter *adapter, const char *folder, const char *file, const eai_bytes *bytes,
                                 eai_weights *weights, ea_error *error)
{
    *weights = (eai_weights){0};
    if (!bytes->data)
        return EA_OK;
    char *path = eai_join(&adapter->arena, folder, file);
    return path ? eai_read_weights(&adapter->arena, path, bytes, weights, error) : eai_no_memory(error);
}

ea_status eai_read_base(const char *folder, const eai_manifest *manifest, const eai_bytes *neutrals,
                        eai_adapter *adapter, ea_error *error)
{
    eai_weights weights;
    eai_bytes kept = {0};
    *adapter = (eai_adapter){0};
    char *home = eai_join(&adapter->arena, folder, "adapters/none");
    if (!home)
        return eai_no_memory(error);
    ea_status status = adapter_open(home, adapter, &kept, error);
    if (status == EA_OK && strcmp(adapter->record.method, "none") != 0)
        status = eai_fail(error, EA_BUNDLE_ERROR, "%.300s is not the base: its method is '%s', expected 'none'.\n%s",
                          home, adapter->record.method, "Copy the bundle again.");
    if (status == EA_OK)
        status =
            adapter_weights(adapter, folder, manifest->neutrals ? manifest->neutrals : "", neutrals, &weights, error);
    if (status == EA_OK)
        status = eai_check_fit("none", &adapter->record, &weights, NULL, manifest, error);
    if (status == EA_OK && !adapter_place(adapter, manifest, &weights))
        status = eai_no_memory(error);
    if (status == EA_OK)
        status = adapter_neutrals(adapter, manifest, NULL, folder, error);
    if (status == EA_OK)
        adapter->label_count = adapter_label_count(manifest, adapter->filling);
    return status;
}

ea_status eai_read_adapter(const char *folder, const char *name, const eai_manifest *manifest, const eai_adapter *base,
                           eai_adapter *adapter, ea_error *error)
{
    eai_weights weights;
    eai_bytes kept = {0};
    *adapter = (eai_adapter){0};
    ea_status status = adapter_open(folder, adapter, &kept, error);
    if (status == EA_OK && strcmp(adapter->record.method, "none") == 0)
        status = eai_fail(error, EA_ADAPTER_ERROR,
                          "%.300s is the base of a bundle, no adapter, and can't be called '%s'.", folder, name);
    if (status == EA_OK)
        status = adapter_weights(adapter, folder, EAI_WEIGHTS_FILE, &kept, &weights, error);
    if (status == EA_OK && !adapter_place(adapter, manifest, &weights))
        status = eai_no_memory(error);
    if (status == EA_OK)
        status = adapter_neutrals(adapter, manifest, base, folder, error);
    if (status == EA_OK)
        status = eai_check_fit(name, &adapter->record, &weights, adapter->filling, manifest, error);
    if (status == EA_OK)
        adapter_facts(adapter, manifest, &weights);
    return status == EA_OK && !eai_record_shrink(&adapter->arena, &adapter->record) ? eai_no_memory(error) : status;
}

void eai_free_adapter(eai_adapter *adapter)
{
    eai_record_close(&adapter->record);
    eai_free_all(&adapter->arena);
    *adapter = (eai_adapter){0};
}

const char *const *eai_adapter_labels(const eai_adapter *adapter, const eai_manifest *manifest, size_t *count)
{
    /* Without a head, labels of an adapter are its names for the base's. */
    bool own = adapter->record.labels || adapter->has_head;
    *count = own ? adapter->record.label_count : manifest->label_count;
    return own ? adapter->record.labels : manifest->labels;
}

const char *eai_adapter_problem_type(const eai_adapter *adapter, const eai_manifest *manifest)
{
    bool own = adapter->record.problem_type || adapter->has_head;
    return own ? adapter->record.problem_type : manifest->problem_type;
}
