/* What a bundle tells of its adapters: their names, their labels, and what their heads were trained to answer. */
#include "bundle.h"

#include <stdlib.h>
#include <string.h>

struct ea_names {
    eai_arena arena;
    const char **texts;
    size_t count;
};

static ea_names *answers_new(size_t count)
{
    ea_names *names = calloc(1, sizeof *names);
    if (names && !(names->texts = eai_take(&names->arena, count, sizeof *names->texts))) {
        free(names);
        return NULL;
    }
    return names;
}

static bool answers_add(ea_names *names, const char *text)
{
    names->texts[names->count] = eai_copy_text(&names->arena, text);
    return names->texts[names->count++] != NULL;
}

size_t ea_names_count(const ea_names *names)
{
    return names->count;
}

const char *ea_names_at(const ea_names *names, size_t index)
{
    return index < names->count ? names->texts[index] : NULL;
}

void ea_names_free(ea_names *names)
{
    if (!names)
        return;
    eai_free_all(&names->arena);
    free(names);
}

static ea_status answers_give(ea_names *made, bool whole, ea_names **names, ea_error *error)
{
    if (!whole) {
        ea_names_free(made);
        return eai_no_memory(error);
    }
    *names = made;
    return EA_OK;
}

ea_status ea_bundle_adapters(ea_bundle *bundle, ea_names **names, ea_error *error)
{
    eai_clear(error);
    *names = NULL;
    pthread_mutex_lock(&bundle->lock);
    ea_names *made = answers_new(bundle->entry_count);
    bool whole = made != NULL;
    for (size_t index = 0; index < bundle->entry_count && whole; index++)
        whole = answers_add(made, bundle->entries[index]->name);
    pthread_mutex_unlock(&bundle->lock);
    return answers_give(made, whole, names, error);
}

ea_status ea_bundle_labels(ea_bundle *bundle, const char *adapter, ea_names **labels, ea_error *error)
{
    eai_entry *entry;
    const eai_adapter *chosen;
    size_t count;
    eai_clear(error);
    *labels = NULL;
    ea_status status = eai_take_adapter(bundle, adapter, &entry, &chosen, error);
    if (status != EA_OK)
        return status;
    const char *const *texts = eai_adapter_labels(chosen, &bundle->manifest, &count);
    ea_names *made = answers_new(count);
    bool whole = made != NULL;
    for (size_t index = 0; index < count && whole; index++)
        whole = answers_add(made, texts[index]);
    eai_leave_adapter(bundle, entry);
    return answers_give(made, whole, labels, error);
}

ea_status ea_bundle_problem_type(ea_bundle *bundle, const char *adapter, const char **problem_type, ea_error *error)
{
    /* The caller gets a text that outlives the adapter. */
    static const char types[][28] = {"regression", "single_label_classification", "multi_label_classification"};
    eai_entry *entry;
    const eai_adapter *chosen;
    eai_clear(error);
    *problem_type = NULL;
    ea_status status = eai_take_adapter(bundle, adapter, &entry, &chosen, error);
    if (status != EA_OK)
        return status;
    const char *found = eai_adapter_problem_type(chosen, &bundle->manifest);
    for (size_t index = 0; index < 3 && found; index++)
        if (strcmp(found, types[index]) == 0)
            *problem_type = types[index];
    eai_leave_adapter(bundle, entry);
    return EA_OK;
}

ea_status ea_bundle_load(ea_bundle *bundle, const char *name, ea_error *error)
{
    eai_entry *entry;
    const eai_adapter *chosen;
    eai_clear(error);
    ea_status status = eai_take_adapter(bundle, name, &entry, &chosen, error);
    if (status == EA_OK)
        eai_leave_adapter(bundle, entry);
    return status;
}
