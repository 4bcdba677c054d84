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

/* Refuses what is no object, or has keys that aren't among `known`: names with a space behind each. */
bool eai_reading_object(eai_reading *reading, const char *where, const eai_value *object, const char *known);

/* Reads true or false; `fallback` where the key is absent, or refuses that where it is -1. */
bool eai_reading_flag(eai_reading *reading, const char *where, const eai_value *object, const char *key, int fallback,
                      bool *flag);

/* Reads a string; NULL where it is null or absent and `needed` is false. */
bool eai_reading_text(eai_reading *reading, const char *where, const eai_value *object, const char *key, bool needed,
                      const eai_value **text);

/* Reads an array. */
bool eai_reading_array(eai_reading *reading, const char *where, const eai_value *object, const char *key,
                       const eai_value **array);

/* Reads a whole number of 32 bits. */
bool eai_reading_number(eai_reading *reading, const char *where, const eai_value *value, uint32_t *number);

/* Reads the `type` of an object. */
bool eai_reading_type(eai_reading *reading, const char *where, const eai_value *object, const eai_value **type);

bool eai_text_is(const eai_value *value, const char *text);

/* Returns a copy of `length` bytes and a NUL in the arena, or NULL where memory runs out. */
char *eai_reading_copy(eai_reading *reading, const char *text, size_t length);

#endif
