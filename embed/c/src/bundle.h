/* An open bundle: its model, its base, and the table of its adapters. */
#ifndef EAI_BUNDLE_H
#define EAI_BUNDLE_H

#include "adapter.h"
#include "manifest.h"
#include "model.h"

#include <pthread.h>

/* An adapter that a bundle knows; another one of the same name is another entry. The table has a reference to it, and
 * each run that uses it. */
typedef struct eai_entry {
    const char *name, *folder;
    size_t references;       /* under the bundle's lock */
    pthread_mutex_t reading; /* held while it is read: other threads that want it wait */
    bool read;               /* under `reading` */
    eai_adapter adapter;     /* never changes after it was read */
    char texts[];
} eai_entry;

struct ea_bundle {
    eai_arena arena;
    const char *folder, *tokenizer;
    eai_manifest manifest;
    eai_model model;
    eai_adapter base;
    const char **input_names, **output_names; /* as a run has them: inputs, then slots */
    pthread_mutex_t lock;                     /* of what follows; never held while something is read or run */
    size_t references;                        /* the caller's, and each result's */
    eai_entry **entries;                      /* sorted by name */
    size_t entry_count, entry_room;
};

/* Lists the folders of `adapters`, and makes those known that are adapters. */
ea_status eai_list_adapters(ea_bundle *bundle, ea_error *error);

/* Returns an adapter for one user more, read now where it isn't in memory; NULL and "none" are the base, whose entry is
 * NULL. */
ea_status eai_take_adapter(ea_bundle *bundle, const char *name, eai_entry **entry, const eai_adapter **adapter,
                           ea_error *error);

/* Lets go of an adapter that was taken. */
void eai_leave_adapter(ea_bundle *bundle, eai_entry *entry);

/* Frees all that the table holds. */
void eai_close_adapters(ea_bundle *bundle);

/* Holds the bundle for a result, and lets go of it: who lets go last frees it. */
void eai_hold_bundle(ea_bundle *bundle);
void eai_leave_bundle(ea_bundle *bundle);

#endif
