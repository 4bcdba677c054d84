/* Asks the library what a cases.json says, and compares: `conformance build/embed/c/cases/cases.json`.
 *
 * Outputs have to be equal bit by bit with one thread. Prints a line for each failure and a summary; the exit code is 1
 * where anything failed. */
#include "edgeadapt.h"

#include "json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static char folder[2048];
static int passed, failed, skipped;

static void fail(const char *name, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    printf("FAILED %s: ", name);
    vprintf(format, values);
    printf("\n");
    va_end(values);
}

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return memory;
}

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = need(malloc(*length + 1));
    if (fread(bytes, 1, *length, file) != *length) {
        fprintf(stderr, "%s: can't be read\n", path);
        exit(2);
    }
    fclose(file);
    return bytes;
}

/* Returns the path of what the cases name, to be freed. */
static char *at(const char *name)
{
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = need(malloc(room));
    snprintf(path, room, "%s/%s", folder, name);
    return path;
}

static const char *text_of(const eai_value *object, const char *key)
{
    const eai_value *value = eai_json_get(object, key);
    return value && value->kind == EAI_STRING ? value->text : NULL;
}

static ea_dtype dtype_of(const char *name)
{
    for (int code = 1; code < 16; code++)
        if (ea_dtype_name((ea_dtype)code) && strcmp(ea_dtype_name((ea_dtype)code), name) == 0)
            return (ea_dtype)code;
    fprintf(stderr, "the cases have the dtype %s\n", name);
    exit(2);
}

/* An array of a case, read from its file. */
static ea_array read_array(const eai_value *value, const char *name)
{
    const eai_value *shape = eai_json_get(value, "shape");
    int64_t *lengths = need(calloc(shape->count + 1, sizeof *lengths));
    size_t axis = 0;
    for (const eai_value *size = shape->first; size; size = size->next)
        lengths[axis++] = size->integer;
    ea_array array = {.name = name, .dtype = dtype_of(text_of(value, "dtype")), .rank = axis, .shape = lengths};
    char *path = at(text_of(value, "file"));
    array.data = read_file(path, &array.bytes);
    free(path);
    return array;
}

static void free_array(ea_array *array)
{
    union {
        const void *given;
        void *own;
    } data = {.given = array->data}, shape = {.given = array->shape};
    free(data.own);
    free(shape.own);
}

static bool same_array(const char *name, const ea_array *got, const eai_value *value)
{
    ea_array expected = read_array(value, got->name);
    bool same = false;
    if (got->dtype != expected.dtype)
        fail(name, "%s is %s, expected %s", got->name, ea_dtype_name(got->dtype), ea_dtype_name(expected.dtype));
    else if (got->rank != expected.rank ||
             (got->rank && memcmp(got->shape, expected.shape, got->rank * sizeof *got->shape) != 0))
        fail(name, "%s has another shape than expected", got->name);
    else if (got->bytes != expected.bytes)
        fail(name, "%s has %zu bytes, expected %zu", got->name, got->bytes, expected.bytes);
    else if (got->bytes && memcmp(got->data, expected.data, got->bytes) != 0)
        fail(name, "%s has other bits than expected", got->name);
    else
        same = true;
    free_array(&expected);
    return same;
}

static bool same_outputs(const char *name, const ea_result *result, const eai_value *outputs)
{
    size_t seen = 0;
    bool same = true;
    for (size_t output = 0; output < ea_result_count(result); output++) {
        const eai_value *expected = eai_json_get(outputs, ea_result_array(result, output, 0)->name);
        const eai_value *rows = expected ? eai_json_get(expected, "rows") : NULL;
        size_t arrays = ea_result_arrays(result, output), row = 0;
        if (!expected || arrays != (rows ? rows->count : 1)) {
            fail(name, "%s: %zu arrays, expected %zu", ea_result_array(result, output, 0)->name, arrays,
                 rows       ? rows->count
                 : expected ? 1
                            : 0);
            return false;
        }
        seen++;
        if (!rows)
            same &= same_array(name, ea_result_array(result, output, 0), expected);
        for (const eai_value *each = rows ? rows->first : NULL; each; each = each->next)
            same &= same_array(name, ea_result_array(result, output, row++), each);
    }
    if (seen != outputs->count)
        fail(name, "%zu outputs, expected %zu", seen, outputs->count);
    return same && seen == outputs->count;
}

/* Compares names with those of a list; null is none. */
static bool same_names(const char *name, const char *what, ea_names *names, const eai_value *expected)
{
    size_t count = expected && expected->kind == EAI_ARRAY ? expected->count : 0, index = 0;
    bool same = ea_names_count(names) == count;
    for (const eai_value *each = count ? expected->first : NULL; each && same; each = each->next)
        same = strcmp(ea_names_at(names, index++), each->text) == 0;
    if (!same)
        fail(name, "other %s than expected: %zu, expected %zu", what, ea_names_count(names), count);
    ea_names_free(names);
    return same;
}

/* What one case asks, as far as it got. */
typedef struct answer {
    ea_bundle *bundle;
    ea_result *result;
    const char *step;
    ea_error error;
} answer;

static ea_status change(answer *answer, const eai_value *test)
{
    const eai_value *add = eai_json_get(test, "add"), *removed = eai_json_get(test, "remove");
    ea_status status = EA_OK;
    answer->step = "add";
    for (const eai_value *each = add ? add->first : NULL; each && status == EA_OK; each = each->next) {
        char *path = at(text_of(each, "folder"));
        status = ea_bundle_add(answer->bundle, path, text_of(each, "name"), &answer->error);
        free(path);
    }
    for (const eai_value *each = removed ? removed->first : NULL; each && status == EA_OK; each = each->next)
        status = ea_bundle_remove(answer->bundle, each->text, &answer->error);
    return status;
}

static ea_status run(answer *answer, const eai_value *test)
{
    const eai_value *adapter = eai_json_get(test, "adapter"), *given = eai_json_get(test, "inputs");
    ea_array inputs[MOST];
    const char *adapters[MOST];
    size_t count = 0, rows = 0;
    answer->step = "run";
    for (const eai_value *input = given->first; input && count < MOST; input = input->next)
        inputs[count++] = read_array(input, input->key);
    if (adapter->kind == EAI_ARRAY)
        for (const eai_value *row = adapter->first; row && rows < MOST; row = row->next)
            adapters[rows++] = row->kind == EAI_STRING ? row->text : NULL;
    if (count < given->count || (adapter->kind == EAI_ARRAY && rows < adapter->count)) {
        fprintf(stderr, "a case has more than %d inputs or rows\n", MOST);
        exit(2);
    }
    ea_status status =
        adapter->kind == EAI_ARRAY
            ? ea_bundle_run_rows(answer->bundle, inputs, count, adapters, rows, &answer->result, &answer->error)
            : ea_bundle_run(answer->bundle, inputs, count, adapter->kind == EAI_STRING ? adapter->text : NULL,
                            &answer->result, &answer->error);
    for (size_t index = 0; index < count; index++)
        free_array(&inputs[index]);
    return status;
}

static ea_status ask(answer *answer, const eai_value *test)
{
    ea_options options = {.size = sizeof options, .threads = 1};
    char *path = at(text_of(test, "bundle"));
    answer->step = "open";
    ea_status status = ea_bundle_open(path, &options, &answer->bundle, &answer->error);
    free(path);
    if (status == EA_OK)
        status = change(answer, test);
    return status == EA_OK && eai_json_get(test, "inputs") ? run(answer, test) : status;
}

static bool refused(const char *name, const answer *answer, ea_status status, const eai_value *test)
{
    static const char *const steps[] = {"open", "add", "run"};
    const char *wanted = text_of(test, "error"), *step = text_of(test, "step");
    int last = 0, here = 0;
    for (int index = 0; index < 3; index++) {
        last = strcmp(steps[index], step) == 0 ? index : last;
        here = strcmp(steps[index], answer->step) == 0 ? index : here;
    }
    if (status == EA_OK)
        fail(name, "was not refused, expected %s at %s", wanted, step);
    else if (strcmp(ea_status_name(status), wanted) != 0)
        fail(name, "got %s, expected %s: %s", ea_status_name(status), wanted, answer->error.message);
    else if (here > last)
        fail(name, "refused at %s, expected %s at the latest: %s", answer->step, step, answer->error.message);
    else if (!answer->error.message[0] || answer->error.status != status)
        fail(name, "refused without saying why");
    else
        return true;
    return false;
}

static bool answered(const char *name, answer *answer, ea_status status, const eai_value *test)
{
    ea_names *names = NULL;
    const eai_value *adapter = eai_json_get(test, "adapter");
    if (status != EA_OK) {
        fail(name, "%s at %s: %s", ea_status_name(status), answer->step, answer->error.message);
        return false;
    }
    bool same = same_outputs(name, answer->result, eai_json_get(test, "outputs"));
    if (ea_bundle_adapters(answer->bundle, &names, &answer->error) == EA_OK)
        same &= same_names(name, "adapters", names, eai_json_get(test, "adapters"));
    if (adapter->kind == EAI_ARRAY)
        return same;
    if (ea_bundle_labels(answer->bundle, adapter->kind == EAI_STRING ? adapter->text : NULL, &names, &answer->error) !=
        EA_OK) {
        fail(name, "labels: %s", answer->error.message);
        return false;
    }
    return same_names(name, "labels", names, eai_json_get(test, "labels")) && same;
}

static void check_case(const eai_value *test, bool loud)
{
    answer answer = {0};
    const char *name = text_of(test, "name");
    ea_status status = ask(&answer, test);
    bool good = text_of(test, "error") ? refused(name, &answer, status, test) : answered(name, &answer, status, test);
    if (loud && good && status != EA_OK)
        printf("%s: %s: %s\n", name, ea_status_name(status), answer.error.message);
    passed += good;
    failed += !good;
    ea_result_free(answer.result);
    ea_bundle_close(answer.bundle);
}

#ifdef EA_TEST_TOKENIZER
static bool same_ids(const int64_t *got, size_t count, const eai_value *expected)
{
    size_t index = 0;
    if (expected->count != count)
        return false;
    for (const eai_value *id = expected->first; id; id = id->next)
        if (got[index++] != id->integer)
            return false;
    return true;
}

static void check_text(const eai_value *test)
{
    static char *last_path;
    static ea_tokenizer *tokenizer; /* texts of one file follow one another */
    const eai_value *text = eai_json_get(test, "text"), *pair = eai_json_get(test, "pair");
    ea_error error;
    ea_tokens tokens = {0};
    char *path = at(text_of(test, "tokenizer"));
    ea_status status = EA_OK;
    if (!last_path || strcmp(last_path, path) != 0) {
        ea_tokenizer_close(tokenizer);
        status = ea_tokenizer_open(path, &tokenizer, &error);
    }
    free(last_path);
    last_path = path;
    bool pairs = pair->kind == EAI_STRING;
    if (status == EA_OK)
        status = ea_tokenizer_encode(tokenizer, text->text, text->length, pairs ? pair->text : NULL,
                                     pairs ? pair->length : 0, (size_t)eai_json_get(test, "max_length")->integer,
                                     &tokens, &error);
    bool good = status == EA_OK && same_ids(tokens.ids, tokens.count, eai_json_get(test, "ids")) &&
                same_ids(tokens.type_ids, tokens.count, eai_json_get(test, "type_ids"));
    if (!good)
        fail(path, "%s of '%.60s'", status == EA_OK ? "other tokens" : error.message, text->text);
    passed += good;
    failed += !good;
    ea_tokens_free(&tokens);
}
#endif

int main(int count, char **arguments)
{
    char reason[256];
    size_t length;
    bool loud = count == 3 && strcmp(arguments[2], "-v") == 0;
    if (count != 2 && !loud) {
        fprintf(stderr, "usage: %s CASES.JSON [-v]\n", arguments[0]);
        return 2;
    }
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    char *slash = strrchr(folder, '/');
    snprintf(slash ? slash : folder, 2, "%s", slash ? "" : ".");
    char *bytes = read_file(arguments[1], &length);
    eai_document *cases = eai_json_parse(bytes, length, reason, sizeof reason);
    free(bytes);
    if (!cases) {
        fprintf(stderr, "%s: %s\n", arguments[1], reason);
        return 2;
    }
    const eai_value *root = eai_json_root(cases), *texts = eai_json_get(root, "texts");
    for (const eai_value *test = eai_json_get(root, "cases")->first; test; test = test->next)
        check_case(test, loud);
    for (const eai_value *test = texts ? texts->first : NULL; test; test = test->next)
#ifdef EA_TEST_TOKENIZER
        check_text(test);
#else
        skipped++;
#endif
    eai_json_free(cases);
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed > 0 || passed == 0;
}
