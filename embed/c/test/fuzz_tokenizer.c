/* Reads mutated tokenizer.json files and encodes mutated texts: fuzz_tokenizer SECONDS SEED CORPUS [FILE...]
 *
 * To be built with -fsanitize=address,undefined. First come the files of CORPUS as they are: a tokenizer.json, a NUL and
 * a text. Then it says where it stands in a seed and a round, which lead there again. With -DLIBFUZZER and
 * -fsanitize=fuzzer, it is libFuzzer's target instead, which takes and makes such files. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "corpus.h"
#include "edgeadapt.h"

/* Opens the bytes as a tokenizer.json, and encodes the text in several ways where that goes well. */
static int try_all(const char *path, const char *bytes, size_t size, const char *text, size_t length)
{
    FILE *file = fopen(path, "wb");
    if (!file || (size && fwrite(bytes, 1, size, file) != size) || fclose(file) != 0) {
        fprintf(stderr, "%s can't be written\n", path);
        exit(2);
    }
    ea_tokenizer *tokenizer;
    ea_error error = {0};
    if (ea_tokenizer_open(path, &tokenizer, &error) != EA_OK) {
        if (!error.message[0] || error.status == EA_OK)
            abort();
        return 0;
    }
    for (size_t most = 0; most < 9; most += 4) {
        ea_tokens tokens;
        if (ea_tokenizer_encode(tokenizer, text, length, NULL, 0, most, &tokens, &error) == EA_OK)
            ea_tokens_free(&tokens);
        if (ea_tokenizer_encode(tokenizer, text, length / 2, text + length / 2, length - length / 2, most, &tokens,
                                NULL) == EA_OK)
            ea_tokens_free(&tokens);
    }
    ea_tokenizer_close(tokenizer);
    return 1;
}

/* The same with a file, a NUL and a text. */
static int try_kept(const char *path, const char *data, size_t size)
{
    const char *cut = size ? memchr(data, 0, size) : NULL;
    size_t file = cut ? (size_t)(cut - data) : size;
    return try_all(path, data, file, cut ? cut + 1 : data + size, cut ? size - file - 1 : 0);
}

static const char *own_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/fuzz_tokenizer.%ld.json", (long)getpid());
    return path;
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    try_kept(own_path(), (const char *)data, size);
    return 0;
}
#else

static unsigned long long state;

static size_t below(size_t most)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % most;
}

static const char *const words[] = {
    "null", "true", "false", "0", "-1", "4294967295", "4294967296", "1e999", "\"\"", "\"BPE\"", "\"WordPiece\"",
    "\"Unigram\"", "\"Sequence\"", "\"ByteLevel\"", "\"BertNormalizer\"", "\"NFC\"", "\"NFD\"", "\"Split\"", "\"Digits\"",
    "\"Replace\"", "\"Prepend\"", "\"Lowercase\"", "\"StripAccents\"", "\"TemplateProcessing\"", "\"RobertaProcessing\"",
    "\"BertProcessing\"", "[]", "{}", "[[", "]]", "{\"a\":", "\\ud83d", "\\u0000", "\"merges\"", "\"vocab\"", "\xED\xA0\x80",
    "\"lstrip\": true", "\"rstrip\": true", "\"single_word\": true", "\"normalized\": true", "\"add_prefix_space\": true",
    "\"ignore_merges\": true", "\"fuse_unk\": true", "\"unk_token\": \"a\"", " "};

static const char *const pieces[] = {
    " ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "don't", "123", "4", "hello", "Hello", "WORLD", "the", "[CLS]", "[SEP]", "<s>",
    "</s>", "<|endoftext|>", "<mask>", "\xC3\xA9", "e\xCC\x81", "\xCC\xA3\xCC\x87", "\xE4\xB8\xAD", "\xEA\xB0\x80",
    "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xF0\x9F\x98\x80", "\xC4\xB0", "\xE2\x80\x8B", "\xEF\xBF\xBD", "\xC2\xA0",
    "\xFF", "\xC3", "!", "?!", "_", "\xCD\x84", "\xF0\xAF\xA0\x80", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

/* Changes some places of a file: bytes, words of the format, and parts of it copied or cut. */
static size_t mutate(char *bytes, size_t size, size_t room)
{
    for (size_t changes = 1 + below(4); changes; changes--) {
        size_t at = size ? below(size) : 0, kind = below(6);
        const char *word = words[below(sizeof words / sizeof *words)];
        size_t length = strlen(word), cut = size - at < 1 ? 0 : below(size - at < 24 ? size - at : 24);
        if (kind == 0 && size) {
            bytes[at] = (char)below(256);
        } else if (kind == 1) {
            memmove(bytes + at, bytes + at + cut, size - at - cut);
            size -= cut;
        } else if (kind == 2 && size + length <= room) {
            memmove(bytes + at + length, bytes + at, size - at);
            memcpy(bytes + at, word, length);
            size += length;
        } else if (kind == 3 && size + cut <= room && size) {
            size_t from = below(size - cut + 1);
            char copy[24];
            memcpy(copy, bytes + from, cut);
            memmove(bytes + at + cut, bytes + at, size - at);
            memcpy(bytes + at, copy, cut);
            size += cut;
        } else if (kind == 4 && size) {
            /* A value of the format is put where one is: behind a colon. */
            char *colon = memchr(bytes + at, ':', size - at);
            size_t from = colon ? (size_t)(colon - bytes) + 1 : size, to = from;
            while (to < size && bytes[to] != ',' && bytes[to] != '}' && bytes[to] != ']' && bytes[to] != '{')
                to++;
            if (size - (to - from) + length <= room) {
                memmove(bytes + from + length, bytes + to, size - to);
                memcpy(bytes + from, word, length);
                size = size - (to - from) + length;
            }
        } else if (below(20) == 0) {
            size = at;
        }
    }
    return size;
}

static size_t make_text(char *text, size_t room)
{
    size_t size = 0;
    for (size_t count = below(30); count; count--) {
        const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
        size_t length = strlen(piece);
        if (piece[0] == '\xFF' || strcmp(piece, "\xC3") == 0)
            if (below(8))
                continue;
        if (size + length > room)
            break;
        memcpy(text + size, piece, length);
        size += length;
    }
    return size;
}

int main(int count, char **arguments)
{
    static kept files[2 * MOST_KEPT];
    if (count < 4 || count - 4 > MOST_KEPT) {
        fprintf(stderr, "usage: fuzz_tokenizer SECONDS SEED CORPUS [FILE...]\n");
        return 2;
    }
    const char *path = own_path();
    unsigned long long seed = strtoull(arguments[2], NULL, 10), rounds = 0, opened = 0;
    size_t sound = 0, all = read_corpus(arguments[3], files);
    if (!all) {
        fprintf(stderr, "%s holds no files\n", arguments[3]);
        return 2;
    }
    for (size_t index = 0; index < all; index++) {
        kept file = files[index];
        int taken = try_kept(path, file.bytes, file.length);
        const char *cut = file.length ? memchr(file.bytes, 0, file.length) : NULL;
        file.length = cut ? (size_t)(cut - file.bytes) : file.length;
        /* Those that were opened come first: half of the rounds damage one of them. */
        files[index] = files[sound];
        files[taken ? sound++ : index] = file;
    }
    printf("%zu files as they are kept, %zu of them opened\n", all, sound);
    for (int index = 4; index < count; index++, all++, sound++) {
        files[all] = files[sound];
        if (!(files[sound] = read_kept(arguments[index])).bytes)
            return 2;
    }
    for (time_t end = time(NULL) + atoi(arguments[1]); time(NULL) < end; rounds++) {
        state = (seed * 1000003 + rounds + 1) * 0x9E3779B97F4A7C15u;
        for (int warm = 0; warm < 8; warm++)
            below(2);
        const kept *file = &files[below(below(2) && sound ? sound : all)];
        size_t size = file->length, room = size + 4096;
        char *bytes = malloc(room), text[2048];
        if (!bytes)
            return 2;
        memcpy(bytes, file->bytes, size);
        if (below(10))
            size = mutate(bytes, size, room);
        /* A text of its own size, so that a byte read behind it is found. */
        size_t made = make_text(text, sizeof text);
        char *exact = malloc(made + !made);
        if (!exact)
            return 2;
        memcpy(exact, text, made);
        fprintf(stderr, "\rseed %llu round %llu", seed, rounds);
        opened += (unsigned long long)try_all(path, bytes, size, exact, made);
        free(exact);
        free(bytes);
    }
    remove(path);
    for (size_t index = 0; index < all; index++)
        free(files[index].bytes);
    fprintf(stderr, "\n");
    printf("%llu files, %llu of them opened\n", rounds, opened);
    return 0;
}
#endif
