/* Encodes texts with a tokenizer.json: test_tokenizer FILE < lines > lines.
 *
 * Each line that comes in is JSON, {"text": "...", "pair": "..." or null, "max_length": n}; each that goes out is
 * {"ids": [...], "type_ids": [...]}, or {"status": n, "error": "..."}. A "hex" instead of a "text" holds any bytes. With
 * -t N, N threads encode all lines at once, and the answers must be the same. With -b, the time is measured instead. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgeadapt.h"
#include "json.h"

typedef struct line {
    eai_document *document;
    const char *text, *pair;
    size_t text_bytes, pair_bytes, max_length;
    char bytes[64];
} line;

typedef struct lines {
    line *items;
    size_t count;
    const ea_tokenizer *tokenizer;
    char **answers;
} lines;

static void *need(void *taken)
{
    if (!taken) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return taken;
}

static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\')
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
    fputc('"', out);
}

static void print_ids(FILE *out, const char *name, const int64_t *ids, size_t count)
{
    fprintf(out, "\"%s\": [", name);
    for (size_t index = 0; index < count; index++)
        fprintf(out, "%s%lld", index ? ", " : "", (long long)ids[index]);
    fputc(']', out);
}

static char *encode(const ea_tokenizer *tokenizer, const line *item)
{
    char *answer = NULL;
    size_t size;
    FILE *out = need(open_memstream(&answer, &size));
    ea_tokens tokens;
    ea_error error;
    ea_status status = ea_tokenizer_encode(tokenizer, item->text, item->text_bytes, item->pair, item->pair_bytes,
                                           item->max_length, &tokens, &error);
    if (status == EA_OK) {
        fputc('{', out);
        print_ids(out, "ids", tokens.ids, tokens.count);
        fputs(", ", out);
        print_ids(out, "type_ids", tokens.type_ids, tokens.count);
        fputs("}", out);
        ea_tokens_free(&tokens);
    } else {
        fprintf(out, "{\"status\": %d, \"error\": ", (int)status);
        print_text(out, error.message);
        fputs("}", out);
    }
    fclose(out);
    return need(answer);
}

static void *encode_all(void *argument)
{
    lines *all = argument;
    for (size_t index = 0; index < all->count; index++)
        all->answers[index] = encode(all->tokenizer, &all->items[index]);
    return NULL;
}

static void read_line(line *item, const char *bytes, size_t length)
{
    char problem[256];
    item->document = eai_json_parse(bytes, length, problem, sizeof problem);
    if (!item->document) {
        fprintf(stderr, "a line is not JSON: %s\n", problem);
        exit(2);
    }
    const eai_value *root = eai_json_root(item->document), *text = eai_json_get(root, "text"),
                    *pair = eai_json_get(root, "pair"), *most = eai_json_get(root, "max_length"),
                    *hex = eai_json_get(root, "hex");
    if (text) {
        item->text = text->text;
        item->text_bytes = text->length;
    } else if (hex) {
        for (size_t at = 0; at + 1 < hex->length && item->text_bytes < sizeof item->bytes; at += 2) {
            char digits[3] = {hex->text[at], hex->text[at + 1], 0};
            item->bytes[item->text_bytes++] = (char)strtol(digits, NULL, 16);
        }
        item->text = item->bytes;
    }
    if (pair && pair->kind == EAI_STRING) {
        item->pair = pair->text;
        item->pair_bytes = pair->length;
    }
    if (most)
        item->max_length = (size_t)most->integer;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Prints milliseconds to open the file, and seconds to encode all lines, of one thread; the best of five. */
static int measure(const char *file, lines *all)
{
    double opening = 1e9, encoding = 1e9;
    size_t bytes = 0;
    for (int round = 0; round < 5; round++) {
        ea_tokenizer *tokenizer;
        ea_error error;
        double start = now();
        if (ea_tokenizer_open(file, &tokenizer, &error) != EA_OK)
            return 1;
        double opened = now();
        bytes = 0;
        for (size_t index = 0; index < all->count; index++) {
            const line *item = &all->items[index];
            ea_tokens tokens;
            if (ea_tokenizer_encode(tokenizer, item->text, item->text_bytes, item->pair, item->pair_bytes, item->max_length,
                                    &tokens, &error) != EA_OK)
                return 1;
            ea_tokens_free(&tokens);
            bytes += item->text_bytes;
        }
        double encoded = now();
        opening = opened - start < opening ? opened - start : opening;
        encoding = encoded - opened < encoding ? encoded - opened : encoding;
        ea_tokenizer_close(tokenizer);
    }
    printf("{\"open_ms\": %.3f, \"encode_s\": %.6f, \"bytes\": %zu}\n", opening * 1e3, encoding, bytes);
    return 0;
}

int main(int count, char **arguments)
{
    int threads = count == 4 && strcmp(arguments[1], "-t") == 0 ? atoi(arguments[2]) : 1;
    int measures = count == 3 && strcmp(arguments[1], "-b") == 0;
    if ((count != 2 && count != 4 && !measures) || threads < 1 || threads > 64) {
        fprintf(stderr, "usage: test_tokenizer [-t THREADS | -b] FILE < lines\n");
        return 2;
    }
    lines all = {0};
    char **read = NULL, *bytes = NULL;
    size_t room = 0;
    for (ssize_t length; (length = getline(&bytes, &room, stdin)) > 0;) {
        read = need(realloc(read, (all.count + 1) * sizeof *read));
        read[all.count++] = need(strdup(bytes));
    }
    free(bytes);
    all.items = need(calloc(all.count + 1, sizeof *all.items));
    for (size_t index = 0; index < all.count; index++) {
        read_line(&all.items[index], read[index], strlen(read[index]));
        free(read[index]);
    }
    free(read);
    const char *file = arguments[count - 1];
    if (measures)
        return measure(file, &all);
    ea_tokenizer *tokenizer;
    ea_error error;
    ea_status status = ea_tokenizer_open(file, &tokenizer, &error);
    if (status != EA_OK) {
        printf("{\"status\": %d, \"error\": ", (int)status);
        print_text(stdout, error.message);
        printf("}\n");
        return 1;
    }
    lines each[64];
    pthread_t running[64];
    for (int thread = 0; thread < threads; thread++) {
        each[thread] = all;
        each[thread].tokenizer = tokenizer;
        each[thread].answers = need(calloc(all.count + 1, sizeof *all.answers));
        if (pthread_create(&running[thread], NULL, encode_all, &each[thread]) != 0)
            return 2;
    }
    for (int thread = 0; thread < threads; thread++)
        pthread_join(running[thread], NULL);
    for (size_t index = 0; index < all.count; index++) {
        puts(each[0].answers[index]);
        for (int thread = 0; thread < threads; thread++) {
            if (strcmp(each[0].answers[index], each[thread].answers[index]) != 0) {
                fprintf(stderr, "threads answer differently\n");
                return 3;
            }
            if (thread)
                free(each[thread].answers[index]);
        }
        free(each[0].answers[index]);
        eai_json_free(all.items[index].document);
    }
    for (int thread = 0; thread < threads; thread++)
        free(each[thread].answers);
    free(all.items);
    ea_tokenizer_close(tokenizer);
    return 0;
}
