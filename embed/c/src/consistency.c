#include "consistency.h"

#include <stdlib.h>
#include <string.h>

bool eai_is_listed(const eai_file *files, size_t count, const char *path)
{
    for (size_t index = 0; index < count; index++)
        if (strcmp(files[index].path, path) == 0)
            return true;
    return false;
}

const char *eai_after(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

static void consistency_listed(const eai_manifest *manifest, const char *where, const char *file,
                               eai_problems *problems)
{
    if (!eai_is_listed(manifest->files, manifest->file_count, file))
        eai_problem(problems, "%s: %s is not in $.files", where, file);
}

static int consistency_by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Says which names stand twice; sorts them. */
static void consistency_twice(const char *where, const char **names, size_t count, eai_problems *problems)
{
    qsort(names, count, sizeof *names, consistency_by_text);
    for (size_t index = 1; index < count; index++)
        if (strcmp(names[index - 1], names[index]) == 0 && (index == 1 || strcmp(names[index - 2], names[index]) != 0))
            eai_problem(problems, "%s: the name %s stands twice", where, names[index]);
}

static void consistency_slot(const eai_slot *slot, eai_problems *problems)
{
    char shown[160];
    const eai_tensor *tensor = &slot->tensor;
    const eai_dimension *shape = tensor->shape;
    bool rows = tensor->rank && shape[0].symbol && strcmp(shape[0].symbol, "rows") == 0;
    bool sound = tensor->rank && (rows || (!shape[0].symbol && shape[0].length == 1));
    if (!sound)
        eai_problem(problems, "$.slots[%zu] (%s): expected 'rows' or 1 as the first dimension, got %s", slot->order,
                    tensor->name, eai_shown_symbols(shown, tensor));
    for (size_t axis = 1; axis < tensor->rank; axis++) {
        if (shape[axis].symbol && strcmp(shape[axis].symbol, "rows") == 0) {
            eai_problem(problems, "$.slots[%zu] (%s): expected 'rows' only as the first dimension, got %s", slot->order,
                        tensor->name, eai_shown_symbols(shown, tensor));
            sound = false;
            break;
        }
    }
    if (slot->neutral != EAI_FILLED_NEUTRAL || !sound)
        return;
    bool fits = slot->neutral_rank == tensor->rank && slot->neutral_shape[0] == 1;
    for (size_t axis = 1; axis < tensor->rank && fits; axis++)
        fits = shape[axis].symbol || shape[axis].length == slot->neutral_shape[axis];
    if (!fits)
        eai_problem(problems, "$.slots[%zu] (%s): its neutral has another shape than %s with 1 for rows", slot->order,
                    tensor->name, eai_shown_symbols(shown, tensor));
}

/* Says which names of `all` that begin with a prefix have no partner with another prefix; counts those that begin with
 * it. */
static size_t consistency_partners(const char *where, const char *prefix, const eai_tensor *all, size_t count,
                                   const char *partner, const eai_tensor *others, size_t other_count,
                                   eai_problems *problems)
{
    size_t found = 0;
    for (size_t index = 0; index < count; index++) {
        const char *own = eai_after(all[index].name, prefix);
        if (!own)
            continue;
        found++;
        bool has = false;
        for (size_t other = 0; other < other_count && !has; other++) {
            const char *rest = eai_after(others[other].name, partner);
            has = rest && strcmp(rest, own) == 0;
        }
        if (!has)
            eai_problem(problems, "%s: lacks %s%s", where, partner, own);
    }
    return found;
}

/* Says which part of a decoder's cache enters and doesn't leave, or the other way round. */
static void consistency_cache(const eai_manifest *manifest, eai_problems *problems)
{
    size_t found = consistency_partners("$.outputs", EAI_PAST, manifest->inputs, manifest->input_count, EAI_PRESENT,
                                        manifest->outputs, manifest->output_count, problems) +
                   consistency_partners("$.inputs", EAI_PRESENT, manifest->outputs, manifest->output_count, EAI_PAST,
                                        manifest->inputs, manifest->input_count, problems);
    if (!found)
        eai_problem(problems, "$.generation: is there, and no input begins with " EAI_PAST);
}

/* Says what is wrong with an encoder: its names, and what it gives that its decoder doesn't take. */
static bool consistency_encoder(const eai_manifest *manifest, const eai_value *encoder, eai_problems *problems)
{
    eai_arena arena = {0};
    const eai_value *inputs = eai_json_get(encoder, "inputs"), *outputs = eai_json_get(encoder, "outputs");
    const char **names = eai_take(&arena, inputs->count + manifest->slot_count, sizeof *names);
    eai_tensor *gives = eai_take(&arena, outputs->count, sizeof *gives);
    bool room = names && gives;
    if (room) {
        size_t count = 0, index = 0;
        for (const eai_value *input = inputs->first; input; input = input->next)
            names[count++] = eai_json_get(input, "name")->text;
        for (size_t slot = 0; slot < manifest->slot_count; slot++)
            names[count++] = manifest->slots[slot].tensor.name;
        for (const eai_value *output = outputs->first; output; output = output->next)
            gives[index++].name = eai_json_get(output, "name")->text;
        consistency_listed(manifest, "$.generation.encoder.file", eai_json_get(encoder, "file")->text, problems);
        consistency_twice("$.generation.encoder.inputs and $.slots", names, count, problems);
        size_t found = consistency_partners("$.generation.encoder.outputs", EAI_CROSS, manifest->inputs,
                                            manifest->input_count, EAI_ENCODED, gives, index, problems) +
                       consistency_partners("$.inputs", EAI_ENCODED, gives, index, EAI_CROSS, manifest->inputs,
                                            manifest->input_count, problems);
        if (!found)
            eai_problem(problems, "$.generation.encoder.outputs: none begins with " EAI_ENCODED);
    }
    eai_free_all(&arena);
    return room;
}

static void consistency_files(const eai_manifest *manifest, eai_problems *problems)
{
    consistency_listed(manifest, "$.model.file", manifest->model, problems);
    if (manifest->neutrals)
        consistency_listed(manifest, "$.model.neutrals", manifest->neutrals, problems);
    bool stored = false;
    for (size_t index = 0; index < manifest->slot_count; index++)
        stored |= manifest->slots[index].neutral == EAI_STORED_NEUTRAL;
    if (stored && !manifest->neutrals)
        eai_problem(problems, "$.model.neutrals: is null, and slots have stored neutrals");
    if (manifest->tokenizer)
        consistency_listed(manifest, "$.tokenizer.file", manifest->tokenizer, problems);
    for (size_t index = 0; index < manifest->file_count; index++) {
        const char *path = manifest->files[index].path, *rest = eai_after(path, "adapters");
        if (strcmp(path, "edgeadapt.json") == 0)
            eai_problem(problems, "$.files: lists edgeadapt.json, which can't hold its own sha256");
        if (rest && (*rest == '/' || *rest == '\0'))
            eai_problem(problems, "$.files: lists %s, which belongs into that adapter's adapter.json", path);
    }
}

static void consistency_image(const eai_value *image, eai_problems *problems)
{
    size_t means = eai_json_get(image, "mean")->count, spreads = eai_json_get(image, "std")->count;
    if (means != spreads || (means != 1 && means != 3 && means != 4))
        eai_problem(problems, "$.image: expected a mean and a std for each of 1, 3 or 4 channels, got %zu and %zu",
                    means, spreads);
}

static bool consistency_names(const eai_manifest *manifest, eai_problems *problems)
{
    eai_arena arena = {0};
    const char **fed = eai_take(&arena, manifest->input_count + manifest->slot_count, sizeof *fed);
    const char **given = eai_take(&arena, manifest->output_count, sizeof *given);
    bool room = fed && given;
    if (room) {
        for (size_t index = 0; index < manifest->input_count; index++)
            fed[index] = manifest->inputs[index].name;
        for (size_t index = 0; index < manifest->slot_count; index++)
            fed[manifest->input_count + index] = manifest->slots[index].tensor.name;
        for (size_t index = 0; index < manifest->output_count; index++)
            given[index] = manifest->outputs[index].name;
        consistency_twice("$.outputs", given, manifest->output_count, problems);
        consistency_twice("$.inputs and $.slots", fed, manifest->input_count + manifest->slot_count, problems);
    }
    eai_free_all(&arena);
    return room;
}

bool eai_manifest_problems(const eai_manifest *manifest, const eai_value *root, eai_problems *problems)
{
    consistency_files(manifest, problems);
    if (!manifest->output_count)
        eai_problem(problems, "$.outputs: is empty");
    if (!consistency_names(manifest, problems))
        return false;
    for (size_t index = 0; index < manifest->slot_count; index++)
        consistency_slot(&manifest->slots[index], problems);
    const eai_value *image = eai_json_get(root, "image"), *generation = eai_json_get(root, "generation");
    if (image->kind == EAI_OBJECT)
        consistency_image(image, problems);
    if (manifest->generates)
        consistency_cache(manifest, problems);
    if (manifest->has_encoder != (strcmp(eai_json_get(root, "format")->text, "1.1") == 0))
        eai_problem(problems, "$.format: '1.1' is for a generation with an encoder, and for nothing else");
    if (manifest->has_encoder)
        return consistency_encoder(manifest, eai_json_get(generation, "encoder"), problems);
    const eai_value *chat = manifest->generates ? eai_json_get(generation, "chat") : NULL;
    if (chat && chat->kind == EAI_OBJECT) {
        consistency_listed(manifest, "$.generation.chat.file", eai_json_get(chat, "file")->text, problems);
        if (!manifest->tokenizer)
            eai_problem(problems, "$.generation.chat: is there, and $.tokenizer is null");
    }
    return true;
}
