/* Errors: one message that says what was found, what was got and expected, and what to do. */
#ifndef EAI_ERROR_H
#define EAI_ERROR_H

#include "../edgeadapt.h"

#include <stdbool.h>

#if defined(__GNUC__) || defined(__clang__)
#define EAI_PRINTF(string, rest) __attribute__((format(printf, string, rest)))
#else
#define EAI_PRINTF(format, rest)
#endif

/* Everything that one check has found, a line each; what there is no room for is counted. */
typedef struct eai_problems {
    size_t count, hidden, length;
    char text[1280];
} eai_problems;

/* Begins a call: no error so far. */
void eai_clear(ea_error *error);

/* Fills the error and returns `status`. Control characters from files don't get into it. */
ea_status eai_fail(ea_error *error, ea_status status, const char *format, ...) EAI_PRINTF(3, 4);

ea_status eai_no_memory(ea_error *error);

void eai_problem(eai_problems *problems, const char *format, ...) EAI_PRINTF(2, 3);

/* Fills the error with a headline, the problems and what to do, and returns `status`; EA_OK where there are none. */
ea_status eai_refuse(ea_error *error, ea_status status, const eai_problems *problems, const char *remedy,
                     const char *headline, ...) EAI_PRINTF(5, 6);

#endif
