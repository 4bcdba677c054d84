/* Memory that is freed together: what lives as long as a bundle, an adapter or a run. */
#ifndef EAI_ARENA_H
#define EAI_ARENA_H

#include <stddef.h>

typedef struct eai_arena {
    struct eai_chunk *chunks;
} eai_arena;

/* Returns zeroed memory for `count` things of `size` bytes, aligned for all types; never NULL for 0 things. NULL where
 * memory ran out, or the product overflows. */
void *eai_take(eai_arena *arena, size_t count, size_t size);

/* Returns a copy of a text, or NULL where memory ran out. */
char *eai_copy_text(eai_arena *arena, const char *text);

/* Returns `folder/name`, or NULL where memory ran out. */
char *eai_join(eai_arena *arena, const char *folder, const char *name);

void eai_free_all(eai_arena *arena);

#endif
