/* Which adapter names and file paths a bundle may hold: those that mean the same on every device. */
#ifndef EAI_NAMES_H
#define EAI_NAMES_H

#include <stddef.h>

/* Both return why a text can't be one, or NULL; `length` bytes, which may hold NULs. */
const char *eai_name_problem(const char *name, size_t length);
const char *eai_path_problem(const char *path, size_t length);

/* Compares two names as strcmp does, without the case of ASCII letters. */
int eai_name_order(const char *one, const char *other);

#endif
