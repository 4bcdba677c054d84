#include "vocabulary.h"

#include <string.h>

/* FNV-1a leaves its high bits better mixed than its low ones, which choose the slot. */
static uint32_t vocabulary_slot(const eai_vocabulary *vocabulary, uint32_t hash)
{
    hash ^= hash >> 15;
    hash *= 0x2C1B3C6Du;
    return (hash ^ hash >> 13) & vocabulary->mask;
}

/* A file that is made to collide would take minutes to read; tokens of real ones lie within some tens of slots. */
enum { VOCABULARY_PROBES = 1024 };

bool eai_vocabulary_read(eai_reading *reading, const eai_value *vocab, eai_vocabulary *vocabulary)
{
    if (!vocab || vocab->kind != EAI_OBJECT)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "model.vocab: expected an object");
    size_t bytes = 0, slots = 16;
    for (const eai_value *token = vocab->first; token; token = token->next) {
        bytes += token->key_length;
        if (token->key_length > vocabulary->longest)
            vocabulary->longest = token->key_length;
    }
    if (bytes >= UINT32_MAX || vocab->count > UINT32_MAX / 8)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model.vocab: too large");
    while (slots < 2 * vocab->count)
        slots *= 2;
    char *texts = eai_take(reading->arena, bytes + 1, 1);
    vocabulary->slots = eai_take(reading->arena, slots, sizeof *vocabulary->slots);
    if (!texts || !vocabulary->slots)
        return eai_reading_no_memory(reading);
    vocabulary->mask = (uint32_t)(slots - 1);
    vocabulary->texts = texts;
    vocabulary->count = vocab->count;
    uint32_t offset = 0;
    for (const eai_value *token = vocab->first; token; token = token->next) {
        uint32_t length = (uint32_t)token->key_length, id;
        if (!eai_reading_number(reading, "an id in model.vocab", token, &id))
            return false;
        uint32_t hash = eai_hash_more(eai_hash_start(), token->key, length), slot = vocabulary_slot(vocabulary, hash);
        for (int probes = 0; vocabulary->slots[slot].offset; probes++) {
            if (probes == VOCABULARY_PROBES)
                return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model.vocab: its tokens are chosen to collide");
            slot = (slot + 1) & vocabulary->mask;
        }
        memcpy(texts + offset, token->key, length);
        vocabulary->slots[slot] = (eai_vocabulary_slot){hash, offset + 1, length, id};
        offset += length;
    }
    return true;
}

bool eai_vocabulary_find(const eai_vocabulary *vocabulary, uint32_t hash, const char *first, size_t first_length,
                         const char *second, size_t second_length, uint32_t *id)
{
    for (uint32_t slot = vocabulary_slot(vocabulary, hash); vocabulary->slots[slot].offset; slot = (slot + 1) & vocabulary->mask) {
        const eai_vocabulary_slot *token = &vocabulary->slots[slot];
        const char *text = vocabulary->texts + (token->offset - 1);
        if (token->hash == hash && token->length == first_length + second_length && memcmp(text, first, first_length) == 0 &&
            (!second_length || memcmp(text + first_length, second, second_length) == 0)) {
            *id = token->id;
            return true;
        }
    }
    return false;
}

bool eai_vocabulary_get(const eai_vocabulary *vocabulary, const char *text, size_t length, uint32_t *id)
{
    return eai_vocabulary_find(vocabulary, eai_hash_more(eai_hash_start(), text, length), text, length, "", 0, id);
}
