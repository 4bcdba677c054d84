/* A tokenizer.json as it is read: what its objects must hold, and why it is refused. */
#ifndef EAI_READING_H
#define EAI_READING_H

#include "arena.h"
#include "error.h"
#include "json.h"

typedef struct eai_reading {
    const char *file;
    eai_arena *arena; /* of the tokenizer that is being made */
    ea_error *error;  /* may be NULL */
    ea_status status; /* of the first refusal */
} eai_reading;

/* Notes the refusal, and returns false so that a caller can return it. */
bool eai_reading_fail(eai_reading *reading, ea_status status, const char *format, ...) EAI_PRINTF(3, 4);

bool eai_reading_no_memory(eai_reading *reading);

/* All below: `where` is the place in the file, for messages. */

/* Reads the members of an object into pointers, one for each name in `fields` that has a mark behind it. A name is followed
 * by its mark, if any, and by a space. Refuses what is no object, a member of another kind, and one that has no name here.
 *
 *   !  true or false               bool *
 *   +  the same, true if absent    bool *
 *   -  the same, false if absent   bool *
 *   $  a string                    const eai_value **
 *   ?  the same, or null, or absent: NULL
 *   @  an array                    const eai_value **
 *   #  a whole number of 32 bits   uint32_t *
 *   without a mark: anything, or absent */
bool eai_reading_fields(eai_reading *reading, const char *where, const eai_value *object, const char *fields, ...);

/* Reads a whole number of 32 bits. */
bool eai_reading_number(eai_reading *reading, const char *where, const eai_value *value, uint32_t *number);

/* Reads the `type` of an object. */
bool eai_reading_type(eai_reading *reading, const char *where, const eai_value *object, const eai_value **type);

/* Refuses a type. */
bool eai_reading_no_type(eai_reading *reading, const char *where, const eai_value *type);

bool eai_text_is(const eai_value *value, const char *text);

/* Returns a copy of `length` bytes and a NUL in the arena, or NULL where memory runs out. */
char *eai_reading_copy(eai_reading *reading, const char *text, size_t length);

#endif
