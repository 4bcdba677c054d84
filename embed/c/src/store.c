/* The table of a bundle's adapters: known by their names, read when a run first wants them, and kept. */
#include "bundle.h"
#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Returns where a name is in the table, or where it would be. The caller holds the lock. */
static size_t store_place(const ea_bundle *bundle, const char *name, bool *found)
{
    size_t low = 0, high = bundle->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(bundle->entries[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < bundle->entry_count && strcmp(bundle->entries[low]->name, name) == 0;
    return low;
}

static eai_entry *store_entry(const char *folder, const char *name)
{
    /* In one piece, as a bundle may have thousands. */
    size_t name_room = strlen(name) + 1, folder_room = strlen(folder) + 1;
    eai_entry *entry = calloc(1, sizeof *entry + name_room + folder_room);
    if (!entry || pthread_mutex_init(&entry->reading, NULL) != 0) {
        free(entry);
        return NULL;
    }
    entry->references = 1;
    entry->name = memcpy(entry->texts, name, name_room);
    entry->folder = memcpy(entry->texts + name_room, folder, folder_room);
    return entry;
}

static void store_free(const ea_bundle *bundle, eai_entry *entry)
{
    eai_model_drop(&bundle->model, &entry->adapter);
    pthread_mutex_destroy(&entry->reading);
    free(entry);
}

/* Puts an entry into the table. The caller holds the lock, and the name is not in it. */
static bool store_put(ea_bundle *bundle, eai_entry *entry, size_t place)
{
    if (bundle->entry_count == bundle->entry_room) {
        size_t room = bundle->entry_room ? 2 * bundle->entry_room : 16;
        eai_entry **entries = realloc(bundle->entries, room * sizeof(eai_entry *));
        if (!entries)
            return false;
        bundle->entries = entries;
        bundle->entry_room = room;
    }
    memmove(bundle->entries + place + 1, bundle->entries + place, (bundle->entry_count - place) * sizeof(eai_entry *));
    bundle->entries[place] = entry;
    bundle->entry_count++;
    return true;
}

/* Writes names on one line, cut after 12 with a count of the rest. The caller holds the lock. */
static void store_listed(const ea_bundle *bundle, char *text, size_t room)
{
    size_t length = 0, shown = bundle->entry_count < 12 ? bundle->entry_count : 12;
    snprintf(text, room, "none");
    for (size_t index = 0; index < shown && length < room; index++)
        length +=
            (size_t)snprintf(text + length, room - length, "%s%s", index ? ", " : "", bundle->entries[index]->name);
    if (bundle->entry_count > shown && length < room)
        snprintf(text + length, room - length, " and %zu more", bundle->entry_count - shown);
}

static ea_status store_unknown(const ea_bundle *bundle, const char *name, ea_error *error)
{
    char others[900];
    store_listed(bundle, others, sizeof others);
    return eai_fail(error, EA_ADAPTER_ERROR, "There is no adapter '%.80s'.\nThere are: %s.", name, others);
}

/* Refuses to run the base where it has no value for a slot. */
static ea_status store_base(ea_bundle *bundle, ea_error *error)
{
    const eai_manifest *manifest = &bundle->manifest;
    char others[900];
    for (size_t index = 0; index < manifest->slot_count; index++) {
        if (manifest->slots[index].neutral != EAI_NO_NEUTRAL)
            continue;
        pthread_mutex_lock(&bundle->lock);
        store_listed(bundle, others, sizeof others);
        pthread_mutex_unlock(&bundle->lock);
        return eai_fail(error, EA_ADAPTER_ERROR, "The base has no %.200s of its own; choose an adapter: %s.",
                        manifest->slots[index].site, others);
    }
    return EA_OK;
}

static ea_status store_read(ea_bundle *bundle, eai_entry *entry, ea_error *error)
{
    ea_status status = EA_OK;
    pthread_mutex_lock(&entry->reading);
    if (!entry->read) {
        status = eai_read_adapter(entry->folder, entry->name, &bundle->manifest, &bundle->base, &entry->adapter, error);
        if (status == EA_OK)
            status = eai_model_bind(&bundle->model, &entry->adapter, error);
        if (status == EA_OK)
            entry->read = true;
        else
            eai_model_drop(&bundle->model, &entry->adapter);
    }
    pthread_mutex_unlock(&entry->reading);
    return status;
}

ea_status eai_take_adapter(ea_bundle *bundle, const char *name, eai_entry **entry, const eai_adapter **adapter,
                           ea_error *error)
{
    bool found;
    ea_status status = EA_OK;
    *entry = NULL;
    *adapter = &bundle->base;
    if (!name || strcmp(name, "none") == 0)
        return store_base(bundle, error);
    pthread_mutex_lock(&bundle->lock);
    size_t place = store_place(bundle, name, &found);
    if (found) {
        *entry = bundle->entries[place];
        (*entry)->references++;
    } else {
        status = store_unknown(bundle, name, error);
    }
    pthread_mutex_unlock(&bundle->lock);
    if (status == EA_OK)
        status = store_read(bundle, *entry, error);
    if (status != EA_OK) {
        eai_leave_adapter(bundle, *entry);
        *entry = NULL;
        return status;
    }
    *adapter = &(*entry)->adapter;
    return EA_OK;
}

void eai_leave_adapter(ea_bundle *bundle, eai_entry *entry)
{
    if (!entry)
        return;
    pthread_mutex_lock(&bundle->lock);
    bool last = --entry->references == 0;
    pthread_mutex_unlock(&bundle->lock);
    if (last)
        store_free(bundle, entry);
}

void eai_close_adapters(ea_bundle *bundle)
{
    for (size_t index = 0; index < bundle->entry_count; index++)
        store_free(bundle, bundle->entries[index]);
    free(bundle->entries);
    bundle->entries = NULL;
    bundle->entry_count = bundle->entry_room = 0;
}

static ea_status store_check_free(ea_bundle *bundle, const char *name, ea_error *error)
{
    bool found;
    store_place(bundle, name, &found);
    return found ? eai_fail(error, EA_ADAPTER_ERROR,
                            "There is an adapter '%s' already.\nRemove it first, or give this one another name.", name)
                 : EA_OK;
}

static ea_status store_add(ea_bundle *bundle, const char *folder, const char *name, ea_error *error)
{
    const char *problem = strcmp(name, "none") == 0 ? "means the base itself" : eai_name_problem(name, strlen(name));
    if (problem)
        return eai_fail(error, EA_ADAPTER_ERROR,
                        "Not a name for an adapter: '%.80s' %s.\nChoose another, such as 'spam' or 'customer-12'.",
                        name, problem);
    pthread_mutex_lock(&bundle->lock);
    ea_status status = store_check_free(bundle, name, error);
    pthread_mutex_unlock(&bundle->lock);
    if (status != EA_OK)
        return status;
    eai_entry *entry = store_entry(folder, name);
    if (!entry)
        return eai_no_memory(error);
    status = store_read(bundle, entry, error);
    if (status == EA_OK) {
        bool found;
        pthread_mutex_lock(&bundle->lock);
        /* Another thread may have taken the name while this one read. */
        status = store_check_free(bundle, name, error);
        if (status == EA_OK && !store_put(bundle, entry, store_place(bundle, name, &found)))
            status = eai_no_memory(error);
        pthread_mutex_unlock(&bundle->lock);
    }
    if (status != EA_OK)
        store_free(bundle, entry);
    return status;
}

ea_status ea_bundle_add(ea_bundle *bundle, const char *folder, const char *name, ea_error *error)
{
    eai_clear(error);
    if (!folder || !*folder)
        return eai_fail(error, EA_CONFIG_ERROR, "folder: got %s, expected the path of an adapter's folder.",
                        folder ? "no text" : "NULL");
    if (name)
        return store_add(bundle, folder, name, error);
    eai_arena arena = {0};
    eai_record record;
    ea_status status = eai_record_open(&arena, folder, &record, error);
    if (status == EA_OK)
        status = store_add(bundle, folder, record.name, error);
    eai_record_close(&record);
    eai_free_all(&arena);
    return status;
}

ea_status ea_bundle_remove(ea_bundle *bundle, const char *name, ea_error *error)
{
    bool found;
    eai_clear(error);
    if (!name || strcmp(name, "none") == 0)
        return eai_fail(error, EA_ADAPTER_ERROR, "'none' is the base itself and can't be removed.");
    pthread_mutex_lock(&bundle->lock);
    size_t place = store_place(bundle, name, &found);
    eai_entry *gone = found ? bundle->entries[place] : NULL;
    ea_status status = found ? EA_OK : store_unknown(bundle, name, error);
    if (found)
        memmove(bundle->entries + place, bundle->entries + place + 1,
                (--bundle->entry_count - place) * sizeof(eai_entry *));
    pthread_mutex_unlock(&bundle->lock);
    eai_leave_adapter(bundle, gone);
    return status;
}

/* Looks at one entry of the folder `adapters`: a folder is an adapter, and its name has to be safe. */
static ea_status store_list(ea_bundle *bundle, const char *parent, const char *name, bool *none, eai_problems *problems,
                            ea_error *error)
{
    struct stat status;
    bool found;
    eai_arena arena = {0};
    char *path = eai_join(&arena, parent, name);
    ea_status listed = EA_OK;
    if (!path) {
        listed = eai_no_memory(error);
    } else if (name[0] != '.' && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        const char *problem = eai_name_problem(name, strlen(name));
        if (lstat(path, &status) != 0 || S_ISLNK(status.st_mode))
            eai_problem(problems, "%s: is a link", name);
        if (problem)
            eai_problem(problems, "'%s' %s", name, problem);
        *none |= strcmp(name, "none") == 0;
        if (strcmp(name, "none") != 0) {
            eai_entry *entry = store_entry(path, name);
            if (!entry || !store_put(bundle, entry, store_place(bundle, name, &found))) {
                if (entry)
                    store_free(bundle, entry);
                listed = eai_no_memory(error);
            }
        }
    }
    eai_free_all(&arena);
    return listed;
}

static int store_by_case(const void *left, const void *right)
{
    return eai_name_order((*(eai_entry *const *)left)->name, (*(eai_entry *const *)right)->name);
}

/* Says which names differ only in case; false where memory ran out. */
static bool store_cases(const ea_bundle *bundle, eai_problems *problems)
{
    size_t count = bundle->entry_count;
    eai_entry **entries = calloc(count + 1, sizeof *entries);
    if (!entries)
        return false;
    for (size_t index = 0; index < count; index++)
        entries[index] = bundle->entries[index];
    qsort(entries, count, sizeof *entries, store_by_case);
    for (size_t index = 1; index < count; index++)
        if (store_by_case(&entries[index - 1], &entries[index]) == 0)
            eai_problem(problems, "%s: differs from %s only in case", entries[index]->name, entries[index - 1]->name);
    free(entries);
    return true;
}

ea_status eai_list_adapters(ea_bundle *bundle, ea_error *error)
{
    eai_problems problems = {0};
    struct stat kind;
    bool none = false;
    char *parent = eai_join(&bundle->arena, bundle->folder, "adapters");
    if (!parent)
        return eai_no_memory(error);
    if (lstat(parent, &kind) == 0 && S_ISLNK(kind.st_mode))
        return eai_fail(error, EA_BUNDLE_ERROR,
                        "%.300s is a link.\nPut the folder itself there; a bundle holds no links.", parent);
    DIR *folder = opendir(parent);
    if (!folder && errno != ENOENT && errno != ENOTDIR)
        return eai_fail(error, EA_BUNDLE_ERROR, "%.300s can't be read: %s.", parent, strerror(errno));
    ea_status status = EA_OK;
    for (struct dirent *found; folder && status == EA_OK && (found = readdir(folder)) != NULL;)
        status = store_list(bundle, parent, found->d_name, &none, &problems, error);
    if (folder)
        closedir(folder);
    if (status == EA_OK && !store_cases(bundle, &problems))
        status = eai_no_memory(error);
    if (status == EA_OK)
        status = eai_refuse(error, EA_BUNDLE_ERROR, &problems, "Rename or remove these folders.",
                            "%.300s holds what is no adapter:", parent);
    if (status == EA_OK && !none)
        return eai_fail(error, EA_BUNDLE_ERROR,
                        "%.300s lacks adapters/none, the base as an adapter.\nCopy the bundle again.", bundle->folder);
    return status;
}
