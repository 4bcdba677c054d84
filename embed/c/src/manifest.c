#include "manifest.h"

#include "consistency.h"
#include "dtype.h"
#include "manifest_schema.h"
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A member that the schema has found there. */
static const eai_value *manifest_at(const eai_value *object, const char *key)
{
    return eai_json_get(object, key);
}

/* A text, or NULL for null. */
static const char *manifest_text(const eai_value *object, const char *key)
{
    const eai_value *value = manifest_at(object, key);
    return value->kind == EAI_STRING ? value->text : NULL;
}

eai_file *eai_listed_files(eai_arena *arena, const eai_value *files)
{
    eai_file *listed = eai_take(arena, files->count, sizeof *listed);
    size_t index = 0;
    for (const eai_value *file = files->first; file && listed; file = file->next)
        listed[index++] = (eai_file){file->key, manifest_at(file, "bytes")->integer, manifest_text(file, "sha256")};
    return listed;
}

const char **eai_listed_texts(eai_arena *arena, const eai_value *texts)
{
    const char **listed = eai_take(arena, texts->count, sizeof *listed);
    size_t index = 0;
    for (const eai_value *text = texts->first; text && listed; text = text->next)
        listed[index++] = text->text;
    return listed;
}

static bool manifest_tensor(eai_arena *arena, const eai_value *value, eai_tensor *tensor)
{
    const eai_value *shape = manifest_at(value, "shape");
    *tensor = (eai_tensor){.name = manifest_text(value, "name"),
                           .dtype = eai_dtype_of(manifest_text(value, "dtype")),
                           .rank = shape->count,
                           .shape = eai_take(arena, shape->count, sizeof *tensor->shape)};
    if (!tensor->shape)
        return false;
    size_t axis = 0;
    for (const eai_value *size = shape->first; size; size = size->next)
        tensor->shape[axis++] = (eai_dimension){.length = size->integer, .symbol = size->text};
    return true;
}

static eai_tensor *manifest_tensors(eai_arena *arena, const eai_value *list)
{
    eai_tensor *tensors = eai_take(arena, list->count, sizeof *tensors);
    size_t index = 0;
    for (const eai_value *value = list->first; value && tensors; value = value->next)
        if (!manifest_tensor(arena, value, &tensors[index++]))
            return NULL;
    return tensors;
}

static bool manifest_slot(eai_arena *arena, const eai_value *value, eai_slot *slot)
{
    *slot = (eai_slot){.site = manifest_text(value, "site"),
                       .method = manifest_text(value, "method"),
                       .param = manifest_text(value, "param")};
    const eai_value *neutral = manifest_at(value, "neutral");
    if (neutral->kind == EAI_STRING)
        slot->neutral = EAI_STORED_NEUTRAL;
    if (neutral->kind == EAI_OBJECT) {
        const eai_value *shape = manifest_at(neutral, "shape");
        slot->neutral = EAI_FILLED_NEUTRAL;
        slot->fill = manifest_at(neutral, "fill")->number;
        slot->neutral_rank = shape->count;
        slot->neutral_shape = eai_take(arena, shape->count, sizeof *slot->neutral_shape);
        if (!slot->neutral_shape)
            return false;
        size_t axis = 0;
        for (const eai_value *size = shape->first; size; size = size->next)
            slot->neutral_shape[axis++] = size->integer;
    }
    return manifest_tensor(arena, value, &slot->tensor);
}

static int manifest_by_name(const void *left, const void *right)
{
    const eai_slot *one = *(const eai_slot *const *)left, *other = *(const eai_slot *const *)right;
    return strcmp(one->tensor.name, other->tensor.name);
}

static int manifest_by_site(const void *left, const void *right)
{
    const eai_slot *one = *(eai_slot *const *)left, *other = *(eai_slot *const *)right;
    int sites = strcmp(one->site, other->site);
    return sites ? sites : strcmp(one->method, other->method);
}

/* Numbers the free dimensions of the slots: 0 is labels, one for the whole model; each site and method has a rank. */
static bool manifest_free_dimensions(eai_manifest *manifest)
{
    eai_slot **slots = eai_take(&manifest->arena, manifest->slot_count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t index = 0; index < manifest->slot_count; index++)
        slots[index] = &manifest->slots[index];
    qsort(slots, manifest->slot_count, sizeof *slots, manifest_by_site);
    size_t rank = 0;
    for (size_t index = 0; index < manifest->slot_count; index++) {
        rank += index == 0 || manifest_by_site(&slots[index - 1], &slots[index]) != 0;
        for (size_t axis = 0; axis < slots[index]->tensor.rank; axis++) {
            eai_dimension *dimension = &slots[index]->tensor.shape[axis];
            dimension->free = dimension->symbol && strcmp(dimension->symbol, "labels") == 0 ? 0 : rank;
        }
    }
    manifest->free_count = rank + 1;
    return true;
}

static bool manifest_slots(eai_manifest *manifest, const eai_value *list)
{
    manifest->slot_count = list->count;
    manifest->slots = eai_take(&manifest->arena, list->count, sizeof *manifest->slots);
    manifest->by_name = eai_take(&manifest->arena, list->count, sizeof *manifest->by_name);
    if (!manifest->slots || !manifest->by_name)
        return false;
    size_t index = 0;
    for (const eai_value *value = list->first; value; value = value->next, index++) {
        if (!manifest_slot(&manifest->arena, value, &manifest->slots[index]))
            return false;
        manifest->slots[index].order = index;
        manifest->by_name[index] = &manifest->slots[index];
    }
    qsort(manifest->by_name, manifest->slot_count, sizeof *manifest->by_name, manifest_by_name);
    return manifest_free_dimensions(manifest);
}

static void manifest_tokenizer(eai_manifest *manifest, const eai_value *value)
{
    if (value->kind == EAI_NULL)
        return;
    int64_t most = manifest_at(value, "max_length")->integer;
    manifest->tokenizer = manifest_text(value, "file");
    manifest->max_length = (uint64_t)most > SIZE_MAX ? SIZE_MAX : (size_t)most;
    manifest->pads_left = strcmp(manifest_text(value, "padding_side"), "left") == 0;
    manifest->pad_id = manifest_at(value, "pad_id")->integer;
    manifest->pad_type_id = manifest_at(value, "pad_type_id")->integer;
}

/* Takes what the library needs from a document that fits the schema. */
static bool manifest_take(eai_manifest *manifest, const eai_value *root)
{
    const eai_value *model = manifest_at(root, "model"), *labels = manifest_at(root, "labels");
    const eai_value *generation = manifest_at(root, "generation"), *files = manifest_at(root, "files");
    const eai_value *inputs = manifest_at(root, "inputs"), *outputs = manifest_at(root, "outputs");
    manifest->task = manifest_text(root, "task");
    manifest->fingerprint = manifest_text(root, "fingerprint");
    manifest->problem_type = manifest_text(root, "problem_type");
    manifest->model = manifest_text(model, "file");
    manifest->neutrals = manifest_text(model, "neutrals");
    manifest->onnxruntime = manifest_text(model, "onnxruntime");
    manifest->generates = generation->kind == EAI_OBJECT;
    manifest->has_encoder = manifest->generates && manifest_at(generation, "encoder");
    manifest->positions = manifest->generates ? manifest_at(generation, "positions")->integer : 0;
    manifest_tokenizer(manifest, manifest_at(root, "tokenizer"));
    manifest->input_count = inputs->count;
    manifest->output_count = outputs->count;
    manifest->label_count = labels->count;
    manifest->file_count = files->count;
    manifest->inputs = manifest_tensors(&manifest->arena, inputs);
    manifest->outputs = manifest_tensors(&manifest->arena, outputs);
    manifest->labels = eai_listed_texts(&manifest->arena, labels);
    manifest->files = eai_listed_files(&manifest->arena, files);
    return manifest->inputs && manifest->outputs && manifest->labels && manifest->files &&
           manifest_slots(manifest, manifest_at(root, "slots"));
}

ea_status eai_manifest_parse(const char *path, const char *bytes, size_t length, eai_manifest *manifest,
                             ea_error *error)
{
    static const char *const formats[] = {"1.0", "1.1", NULL};
    ea_status status = eai_read_schema(path, bytes, length, EAI_MANIFEST_RULE, formats, &manifest->document, error);
    if (status != EA_OK)
        return status;
    const eai_value *root = eai_json_root(manifest->document);
    if (!manifest_take(manifest, root))
        return eai_no_memory(error);
    eai_problems problems = {0};
    if (!eai_manifest_problems(manifest, root, &problems))
        return eai_no_memory(error);
    return eai_refuse(error, EA_BUNDLE_ERROR, &problems, eai_copy_again, "%.300s breaks the bundle format:", path);
}

ea_status eai_manifest_open(const char *folder, eai_manifest *manifest, ea_error *error)
{
    eai_arena arena = {0};
    eai_bytes bytes;
    ea_status status = eai_read_document(&arena, folder, "edgeadapt.json", &bytes, error);
    char *path = status == EA_OK ? eai_join(&arena, folder, "edgeadapt.json") : NULL;
    if (status == EA_OK)
        status = path ? eai_manifest_parse(path, bytes.data, bytes.length, manifest, error) : eai_no_memory(error);
    eai_free_all(&arena);
    return status;
}

void eai_manifest_close(eai_manifest *manifest)
{
    eai_json_free(manifest->document);
    eai_free_all(&manifest->arena);
    *manifest = (eai_manifest){0};
}

const eai_slot *eai_slot_of(const eai_manifest *manifest, const char *name)
{
    size_t low = 0, high = manifest->slot_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, manifest->by_name[middle]->tensor.name);
        if (order == 0)
            return manifest->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t eai_axis(const eai_tensor *tensor, const char *symbol)
{
    size_t axis = 0;
    while (axis < tensor->rank && (!tensor->shape[axis].symbol || strcmp(tensor->shape[axis].symbol, symbol) != 0))
        axis++;
    return axis;
}

const char *eai_shown_symbols(char room[160], const eai_tensor *tensor)
{
    size_t length = (size_t)snprintf(room, 160, "("), most = 120;
    for (size_t axis = 0; axis < tensor->rank && length < most; axis++) {
        const eai_dimension *dimension = &tensor->shape[axis];
        const char *end = tensor->rank == 1 ? "," : axis + 1 < tensor->rank ? ", " : "";
        length += (size_t)(dimension->symbol
                               ? snprintf(room + length, 160 - length, "%.24s%s", dimension->symbol, end)
                               : snprintf(room + length, 160 - length, "%lld%s", (long long)dimension->length, end));
    }
    snprintf(room + length, 160 - length, length < most ? ")" : "...)");
    return room;
}
