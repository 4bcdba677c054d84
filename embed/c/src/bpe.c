#include "bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unicode.h"

#define EAI_NO_SYMBOL UINT32_MAX

/* A file that is made to collide would take minutes to read. */
enum { BPE_PROBES = 1024 };

static uint32_t bpe_slot(const eai_bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t pair = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(pair >> 32 ^ pair >> 17) & bpe->mask;
}

static const eai_merge *bpe_find(const eai_bpe *bpe, uint32_t left, uint32_t right)
{
    for (uint32_t slot = bpe_slot(bpe, left, right); bpe->merges[slot].rank; slot = (slot + 1) & bpe->mask)
        if (bpe->merges[slot].left == left && bpe->merges[slot].right == right)
            return &bpe->merges[slot];
    return NULL;
}

typedef struct bpe_halves {
    const char *left, *right;
    size_t left_length, right_length;
} bpe_halves;

/* Reads one merge: "left right", or ["left", "right"]. */
static bool bpe_read_merge(eai_reading *reading, const eai_value *merge, size_t number, bpe_halves *halves)
{
    if (merge->kind == EAI_STRING) {
        const char *space = memchr(merge->text, ' ', merge->length), *end = merge->text + merge->length;
        if (space && !memchr(space + 1, ' ', (size_t)(end - space) - 1)) {
            *halves = (bpe_halves){merge->text, space + 1, (size_t)(space - merge->text), (size_t)(end - space) - 1};
            return true;
        }
    } else if (merge->kind == EAI_ARRAY && merge->count == 2 && merge->first->kind == EAI_STRING &&
               merge->first->next->kind == EAI_STRING) {
        const eai_value *left = merge->first, *right = left->next;
        *halves = (bpe_halves){left->text, right->text, left->length, right->length};
        return true;
    }
    return eai_reading_fail(reading, EA_BUNDLE_ERROR, "model.merges[%zu]: expected two tokens", number);
}

static bool bpe_read_merges(eai_reading *reading, const eai_value *merges, const eai_vocabulary *vocabulary, eai_bpe *bpe)
{
    size_t slots = 16, number = 0;
    if (merges->count > UINT32_MAX / 8)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model.merges: too many");
    while (slots < 2 * merges->count)
        slots *= 2;
    uint32_t *merged = eai_take(reading->arena, merges->count, sizeof *merged);
    bpe->merges = eai_take(reading->arena, slots, sizeof *bpe->merges);
    if (!merged || !bpe->merges)
        return eai_reading_no_memory(reading);
    bpe->mask = (uint32_t)(slots - 1);
    bpe->merged = merged;
    uint32_t rank = 0;
    for (const eai_value *merge = merges->first; merge; merge = merge->next, number++) {
        bpe_halves halves = {0};
        uint32_t left_id, right_id, id;
        if (merge->kind != merges->first->kind)
            return eai_reading_fail(reading, EA_BUNDLE_ERROR, "model.merges: expected all as strings, or all as pairs");
        /* What merges.txt begins with may stand in a list of strings. */
        if (merge->kind == EAI_STRING && merge->length >= 8 && memcmp(merge->text, "#version", 8) == 0)
            continue;
        if (!bpe_read_merge(reading, merge, number, &halves))
            return false;
        uint32_t hash = eai_hash_more(eai_hash_start(), halves.left, halves.left_length);
        hash = eai_hash_more(hash, halves.right, halves.right_length);
        if (!eai_vocabulary_get(vocabulary, halves.left, halves.left_length, &left_id) ||
            !eai_vocabulary_get(vocabulary, halves.right, halves.right_length, &right_id) ||
            !eai_vocabulary_find(vocabulary, hash, halves.left, halves.left_length, halves.right, halves.right_length, &id))
            return eai_reading_fail(reading, EA_BUNDLE_ERROR,
                                    "model.merges[%zu]: \"%.*s\" and \"%.100s\", or both in one, are not in the vocabulary",
                                    number, halves.left_length < 100 ? (int)halves.left_length : 100, halves.left,
                                    halves.right);
        uint32_t slot = bpe_slot(bpe, left_id, right_id);
        int probes = 0;
        while (bpe->merges[slot].rank && (bpe->merges[slot].left != left_id || bpe->merges[slot].right != right_id)) {
            if (++probes > BPE_PROBES)
                return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model.merges: they are chosen to collide");
            slot = (slot + 1) & bpe->mask;
        }
        /* Of a pair that is there twice, the last one counts. */
        merged[rank] = id;
        bpe->merges[slot] = (eai_merge){left_id, right_id, ++rank, id};
    }
    return true;
}

bool eai_bpe_read(eai_reading *reading, const eai_value *model, const eai_vocabulary *vocabulary, eai_bpe *bpe)
{
    bool falls_back;
    const eai_value *merges, *unknown, *prefix, *suffix, *dropout = eai_json_get(model, "dropout");
    if (!eai_reading_fields(reading, "model", model,
                            "type dropout vocab unk_token? continuing_subword_prefix? end_of_word_suffix? fuse_unk- "
                            "byte_fallback- ignore_merges- merges@ ",
                            &unknown, &prefix, &suffix, &bpe->fuses, &falls_back, &bpe->whole, &merges))
        return false;
    const char *refused = dropout && dropout->kind != EAI_NULL && (dropout->kind != EAI_NUMBER || dropout->number != 0) ? "dropout"
                          : prefix && prefix->length ? "continuing_subword_prefix"
                          : suffix && suffix->length ? "end_of_word_suffix"
                          : falls_back               ? "byte_fallback"
                                                     : NULL;
    if (refused)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model.%s is not supported", refused);
    bpe->names_unknown = unknown;
    bpe->has_unknown = unknown && eai_vocabulary_get(vocabulary, unknown->text, unknown->length, &bpe->unknown);
    for (uint32_t point = 0; point < sizeof bpe->characters / sizeof *bpe->characters; point++) {
        char bytes[4];
        uint32_t id;
        if (eai_vocabulary_get(vocabulary, bytes, eai_utf8_write(point, bytes), &id))
            bpe->characters[point] = (uint64_t)id + 1;
    }
    return bpe_read_merges(reading, merges, vocabulary, bpe);
}

/* Puts a pair into the heap: by rank, and by its place where ranks are equal. */
static bool bpe_push(eai_merging *merging, const eai_merge *merge, uint32_t place)
{
    if (merging->heap_size == merging->heap_room) {
        size_t room = merging->heap_room ? 2 * merging->heap_room : 64;
        uint64_t *heap = realloc(merging->heap, room * sizeof *heap);
        if (!heap)
            return false;
        merging->heap = heap;
        merging->heap_room = room;
    }
    uint64_t pair = (uint64_t)(merge->rank - 1) << 32 | place;
    size_t at = merging->heap_size++;
    while (at && merging->heap[(at - 1) / 2] > pair) {
        merging->heap[at] = merging->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merging->heap[at] = pair;
    return true;
}

static uint64_t bpe_pop(eai_merging *merging)
{
    uint64_t *heap = merging->heap, top = heap[0], last = heap[--merging->heap_size];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < merging->heap_size; at = child) {
        if (child + 1 < merging->heap_size && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= last)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

/* Pushes the pair of the symbol at `place` and the next one, where there is one that can be merged. */
static bool bpe_push_pair(const eai_bpe *bpe, eai_merging *merging, uint32_t place)
{
    uint32_t next = merging->symbols[place].next;
    if (next == EAI_NO_SYMBOL)
        return true;
    const eai_merge *merge = bpe_find(bpe, merging->symbols[place].id, merging->symbols[next].id);
    return !merge || bpe_push(merging, merge, place);
}

static bool bpe_merge(const eai_bpe *bpe, eai_merging *merging)
{
    eai_symbol *symbols = merging->symbols;
    merging->heap_size = 0;
    for (uint32_t place = 0; place < merging->symbol_count; place++)
        if (!bpe_push_pair(bpe, merging, place))
            return false;
    while (merging->heap_size) {
        uint64_t top = bpe_pop(merging);
        uint32_t place = (uint32_t)top, merged = bpe->merged[top >> 32], next = symbols[place].next;
        if (symbols[place].gone || next == EAI_NO_SYMBOL)
            continue;
        /* The pair may be another one by now; it counts where it becomes the same token, as in the library. */
        const eai_merge *merge = bpe_find(bpe, symbols[place].id, symbols[next].id);
        if (!merge || merge->merged != merged)
            continue;
        symbols[place].id = merged;
        symbols[place].next = symbols[next].next;
        symbols[next].gone = true;
        if (symbols[place].next != EAI_NO_SYMBOL)
            symbols[symbols[place].next].before = place;
        if ((symbols[place].before != EAI_NO_SYMBOL && !bpe_push_pair(bpe, merging, symbols[place].before)) ||
            !bpe_push_pair(bpe, merging, place))
            return false;
    }
    return true;
}

static bool bpe_add_symbol(eai_merging *merging, uint32_t id)
{
    if (merging->symbol_count == merging->symbol_room) {
        size_t room = merging->symbol_room ? 2 * merging->symbol_room : 64;
        eai_symbol *symbols = realloc(merging->symbols, room * sizeof *symbols);
        if (!symbols)
            return false;
        merging->symbols = symbols;
        merging->symbol_room = room;
    }
    uint32_t place = (uint32_t)merging->symbol_count++;
    merging->symbols[place] = (eai_symbol){id, place ? place - 1 : EAI_NO_SYMBOL, EAI_NO_SYMBOL, false};
    if (place)
        merging->symbols[place - 1].next = place;
    return true;
}

/* Reads a word's characters. Those that the vocabulary lacks are the unknown token, or nothing where there is none. */
static eai_outcome bpe_read_word(const eai_bpe *bpe, const eai_vocabulary *vocabulary, const char *word, size_t length,
                                 eai_merging *merging)
{
    const char *at = word, *end = word + length;
    bool unknown = false; /* whether the last character was */
    merging->symbol_count = 0;
    while (at < end) {
        const char *start = at;
        uint32_t point = eai_utf8_next(&at), id = 0;
        bool known;
        if (point < sizeof bpe->characters / sizeof *bpe->characters) {
            known = bpe->characters[point];
            id = (uint32_t)(bpe->characters[point] - 1);
        } else {
            known = eai_vocabulary_get(vocabulary, start, (size_t)(at - start), &id);
        }
        if (!known) {
            if (!bpe->names_unknown || (unknown && bpe->fuses))
                continue;
            if (!bpe->has_unknown)
                return EAI_UNKNOWN;
            id = bpe->unknown;
        }
        unknown = !known;
        if (!bpe_add_symbol(merging, id))
            return EAI_NO_MEMORY;
    }
    return EAI_DONE;
}

eai_outcome eai_bpe_word(const eai_bpe *bpe, const eai_vocabulary *vocabulary, const char *word, size_t length,
                         eai_merging *merging, eai_words *ids)
{
    uint32_t id;
    if (bpe->whole && eai_vocabulary_get(vocabulary, word, length, &id))
        return eai_words_add(ids, id) ? EAI_DONE : EAI_NO_MEMORY;
    eai_outcome outcome = bpe_read_word(bpe, vocabulary, word, length, merging);
    if (outcome != EAI_DONE)
        return outcome;
    if (!bpe_merge(bpe, merging))
        return EAI_NO_MEMORY;
    for (size_t place = 0; place < merging->symbol_count; place++)
        if (!merging->symbols[place].gone && !eai_words_add(ids, merging->symbols[place].id))
            return EAI_NO_MEMORY;
    return EAI_DONE;
}

void eai_merging_free(eai_merging *merging)
{
    free(merging->symbols);
    free(merging->heap);
}
