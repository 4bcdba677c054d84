/* Feeds damaged files to the readers: JSON, the manifest, an adapter's record, its arrays, and whether they fit.
 *
 *     fuzz SECONDS FOLDER CORPUS [SEED]      with the bundles of write_bundles.py, and the files that are kept
 *
 * Under AddressSanitizer and UBSan, which end it at the first fault. First come the files of CORPUS as they are: the
 * first byte of each says which reader gets the others. With -DLIBFUZZER it is a target for clang's -fsanitize=fuzzer
 * instead, which takes and makes such files: EA_FUZZ_BUNDLE is the bundle `stored` then. */
#include "edgeadapt.h"

#include "adapter.h"
#include "corpus.h"
#include "dtype.h"
#include "fit.h"
#include "json.h"
#include "manifest.h"
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef enum target { JSON, MANIFEST, RECORD, WEIGHTS, TARGETS } target;

static eai_manifest manifest; /* sound, for what adapters have to fit */
static eai_adapter base;
static long accepted[TARGETS], refused[TARGETS];

/* Content that begins where malloc lets it: a byte behind it is a fault. */
static char *exact(const char *bytes, size_t length)
{
    char *copy = malloc(length ? length : 1);
    if (!copy)
        exit(2);
    if (length)
        memcpy(copy, bytes, length);
    return copy;
}

static bool feed_json(const char *bytes, size_t length)
{
    char reason[256];
    eai_document *document = eai_json_parse(bytes, length, reason, sizeof reason);
    bool taken = document != NULL;
    if (!taken && !reason[0])
        abort();
    eai_json_free(document);
    return taken;
}

static bool feed_manifest(const char *bytes, size_t length, ea_error *error)
{
    eai_manifest read = {0};
    bool taken = eai_manifest_parse("edgeadapt.json", bytes, length, &read, error) == EA_OK;
    if (taken)
        for (size_t index = 0; index < read.slot_count; index++)
            if (!eai_slot_of(&read, read.slots[index].tensor.name))
                abort();
    eai_manifest_close(&read);
    return taken;
}

static bool feed_record(const char *bytes, size_t length, ea_error *error)
{
    eai_arena arena = {0};
    eai_record record;
    bool taken = eai_record_parse(&arena, "adapter.json", bytes, length, &record, error) == EA_OK;
    if (taken) {
        eai_weights none = {0};
        eai_check_fit("fuzz", &record, &none, base.filling, &manifest, error);
    }
    eai_record_close(&record);
    eai_free_all(&arena);
    return taken;
}

static bool feed_weights(const char *bytes, size_t length, ea_error *error)
{
    eai_arena arena = {0};
    eai_weights weights;
    /* A caller's content is aligned for all types, as malloc's is. */
    union {
        const char *given;
        char *own;
    } data = {.given = bytes};
    eai_bytes content = {data.own, length};
    bool taken = eai_read_weights(&arena, "weights.onnx_adapter", &content, &weights, error) == EA_OK;
    for (size_t index = 0; index < weights.count && taken; index++) {
        eai_all_finite(&weights.arrays[index]);
        if (!eai_weight_of(&weights, weights.arrays[index].name))
            abort();
    }
    if (taken)
        eai_check_fit("fuzz", &base.record, &weights, base.filling, &manifest, error);
    eai_free_all(&arena);
    return taken;
}

/* Tells whether a message is UTF-8 without control characters: as a string, JSON has to take it. */
static bool is_text(const char *message)
{
    char reason[256], quoted[2100];
    int length = snprintf(quoted, sizeof quoted, "\"%s\"", message);
    for (char *at = quoted + 1; at < quoted + length - 1; at++)
        if (*at == '"' || *at == '\\' || *at == '\n')
            *at = ' ';
    eai_document *document = eai_json_parse(quoted, (size_t)length, reason, sizeof reason);
    bool taken = document != NULL;
    eai_json_free(document);
    return taken;
}

static void feed(target which, const char *bytes, size_t length)
{
    ea_error error = {0};
    char *copy = exact(bytes, length);
    bool taken = which == JSON       ? feed_json(copy, length)
                 : which == MANIFEST ? feed_manifest(copy, length, &error)
                 : which == RECORD   ? feed_record(copy, length, &error)
                                     : feed_weights(copy, length, &error);
    if (!taken && which != JSON && (!error.message[0] || error.status == EA_OK))
        abort();
    if (!is_text(error.message))
        abort();
    accepted[which] += taken;
    refused[which] += !taken;
    free(copy);
}

/* Reads what adapters have to fit. */
static bool begin(const char *folder)
{
    ea_error error;
    static eai_arena arena;
    eai_bytes neutrals;
    ea_status status = eai_manifest_open(folder, &manifest, &error);
    if (status == EA_OK)
        status = eai_verify_files(&arena, folder, manifest.files, manifest.file_count, INT64_MAX, manifest.neutrals,
                                  &neutrals, &error);
    if (status == EA_OK)
        status = eai_read_base(folder, &manifest, &neutrals, &base, &error);
    if (status != EA_OK)
        fprintf(stderr, "%s\n", error.message);
    /* The base's stored arrays lie in what was read: it stays for the process. */
    return status == EA_OK;
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    const char *folder = getenv("EA_FUZZ_BUNDLE");
    if (!folder || !begin(folder))
        exit(2);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length)
        feed((target)(bytes[0] % TARGETS), (const char *)bytes + 1, length - 1);
    return 0;
}

#else

enum { ROOM = 1 << 16, MOST_SOUND = 16 };

typedef struct sample {
    target which;
    char *bytes;
    size_t length;
} sample;

static uint64_t state;

/* xorshift64*: the same seed gives the same files everywhere. */
static size_t draw(size_t below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return below ? (size_t)((state * 0x2545F4914F6CDD1Du) >> 33) % below : 0;
}

/* Damages a file: bytes changed, cut, doubled or taken from another; numbers of a FlatBuffer made large, words of a
 * document made others. */
static size_t damage(char *bytes, size_t length, size_t room, const sample *other)
{
    static const char *const words[] = {"null",
                                        "-1",
                                        "1e400",
                                        "\"rows\"",
                                        "{}",
                                        "[]",
                                        "\"\\u0000\"",
                                        "0",
                                        "1.5",
                                        "\"stored\"",
                                        "9223372036854775807",
                                        "\"1.1\"",
                                        ",",
                                        "}",
                                        "]",
                                        "\"\xED\xA0\x80\""};
    static const uint32_t numbers[] = {0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 0x10000, 255};
    for (size_t changes = 1 + draw(6); changes && length > 8; changes--) {
        size_t place = draw(length), size = 1 + draw(16);
        switch (draw(8)) {
        case 0:
            bytes[place] = (char)draw(256);
            break;
        case 1:
            bytes[place] = (char)(bytes[place] ^ 1 << draw(8));
            break;
        case 2: /* a number */
            place = place / 4 * 4;
            if (place + 4 <= length)
                memcpy(bytes + place, &numbers[draw(sizeof numbers / sizeof *numbers)], 4);
            break;
        case 3: /* a cut */
            size = size < length - place ? size : length - place;
            memmove(bytes + place, bytes + place + size, length - place - size);
            length -= size;
            break;
        case 4: /* an end */
            length = draw(4) ? length : place;
            break;
        case 5: { /* a word in place of a JSON value */
            const char *word = words[draw(sizeof words / sizeof *words)];
            while (place < length && !strchr(":[,", bytes[place]))
                place++;
            size_t end = place + 1, added = strlen(word);
            while (end < length && !strchr(",]}\n", bytes[end]))
                end++;
            if (place + 1 < length && end < length && length - (end - place - 1) + added < room) {
                memmove(bytes + place + 1 + added, bytes + end, length - end);
                memcpy(bytes + place + 1, word, added);
                length = length - (end - place - 1) + added;
            }
            break;
        }
        case 6: /* a piece once more */
            size = size * (1 + draw(8));
            size = size < length - place ? size : length - place;
            if (length + size < room) {
                memmove(bytes + place + size, bytes + place, length - place);
                length += size;
            }
            break;
        default: /* a piece of another file */
            size = size < other->length ? size : other->length;
            if (place + size <= length)
                memcpy(bytes + place, other->bytes + draw(other->length - size + 1), size);
        }
    }
    return length;
}

/* Reads the files of sound bundles, which all have to be taken; returns how many there are, or 0. */
static size_t read_sound(const char *folder, sample *samples)
{
    static const struct {
        const char *name;
        target which;
    } files[] = {{"open/edgeadapt.json", MANIFEST},
                 {"stored/edgeadapt.json", MANIFEST},
                 {"passes/edgeadapt.json", JSON},
                 {"stored/adapters/spam/adapter.json", RECORD},
                 {"stored/adapters/none/adapter.json", RECORD},
                 {"open/adapters/topic/weights.onnx_adapter", WEIGHTS},
                 {"stored/adapters/spam/weights.onnx_adapter", WEIGHTS},
                 {"stored/neutrals.onnx_adapter", WEIGHTS}};
    enum { FILES = sizeof files / sizeof *files };
    for (size_t index = 0; index < FILES; index++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", folder, files[index].name);
        kept file = read_kept(path);
        target which = files[index].which;
        long before = accepted[which];
        if (file.bytes && file.length <= ROOM / 2)
            feed(which, file.bytes, file.length);
        if (accepted[which] == before) {
            fprintf(stderr, "%s can't be read, or is refused as it is\n", path);
            return 0;
        }
        samples[index] = (sample){which, file.bytes, file.length};
    }
    return FILES;
}

static int fuzz(long seconds, const char *folder, const char *corpus, uint64_t seed)
{
    static char bytes[ROOM];
    static sample samples[MOST_SOUND + MOST_KEPT];
    static kept files[MOST_KEPT];
    time_t end = time(NULL) + seconds;
    long count = 0;
    state = seed * 2 + 1;
    size_t sound = read_sound(folder, samples), all = sound, more = read_corpus(corpus, files);
    if (!sound)
        return 1;
    if (!more) {
        fprintf(stderr, "%s holds no files\n", corpus);
        return 2;
    }
    for (size_t index = 0; index < more; index++) {
        kept *file = &files[index];
        if (!file->length || file->length > ROOM / 2)
            continue;
        samples[all] = (sample){(target)((unsigned char)file->bytes[0] % TARGETS), file->bytes + 1, file->length - 1};
        feed(samples[all].which, samples[all].bytes, samples[all].length);
        all++;
    }
    for (; time(NULL) < end; count++) {
        const sample *chosen = &samples[draw(draw(2) ? sound : all)];
        memcpy(bytes, chosen->bytes, chosen->length);
        size_t length = damage(bytes, chosen->length, ROOM, &samples[draw(all)]);
        feed(chosen->which, bytes, length);
    }
    printf(
        "%zu files as they are kept, %ld damaged: JSON %ld taken, %ld refused; manifests %ld, %ld; records %ld, %ld; "
        "arrays %ld, %ld\n",
        more, count, accepted[JSON], refused[JSON], accepted[MANIFEST], refused[MANIFEST], accepted[RECORD],
        refused[RECORD], accepted[WEIGHTS], refused[WEIGHTS]);
    for (size_t index = 0; index < sound; index++)
        free(samples[index].bytes);
    for (size_t index = 0; index < more; index++)
        free(files[index].bytes);
    return 0;
}

int main(int count, char **arguments)
{
    char stored[2048];
    if (count < 4 || count > 5) {
        fprintf(stderr, "usage: %s SECONDS FOLDER CORPUS [SEED]\n", arguments[0]);
        return 2;
    }
    snprintf(stored, sizeof stored, "%s/stored", arguments[2]);
    if (!begin(stored))
        return 2;
    return fuzz(strtol(arguments[1], NULL, 10), arguments[2], arguments[3],
                count == 5 ? strtoull(arguments[4], NULL, 10) : 1);
}

#endif
