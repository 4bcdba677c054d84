/* What the conformance cases don't ask of the C interface.
 *
 *     test_core FOLDER      with the bundles of write_bundles.py */
#include "edgeadapt.h"

#include "expect.h"
#include "library.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *folder;

static const char *at(const char *name)
{
    static char paths[4][2048];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static bool says(const ea_error *error, ea_status status, const char *text)
{
    bool holds = error->status == status && strstr(error->message, text);
    if (!holds)
        printf("  got %s: %s\n", ea_status_name(error->status), error->message);
    return holds;
}

/* A batch for the tiny bundles: x (rows, 5, 4). */
typedef struct batch {
    float x[8 * 5 * 4];
    int64_t shape[3];
    ea_array array;
} batch;

static void fill(batch *batch, int64_t rows)
{
    for (size_t index = 0; index < 8 * 5 * 4; index++)
        batch->x[index] = (float)((index * 37) % 101) / 50 - 1;
    batch->shape[0] = rows, batch->shape[1] = 5, batch->shape[2] = 4;
    batch->array = (ea_array){"x", EA_FLOAT32, 3, batch->shape, batch->x, (size_t)rows * 20 * sizeof(float)};
}

static ea_bundle *open_bundle(const char *name)
{
    ea_options options = {.size = sizeof options, .threads = 1};
    ea_bundle *bundle;
    ea_error error;
    if (ea_bundle_open(at(name), &options, &bundle, &error) != EA_OK) {
        printf("%s\n", error.message);
        exit(1);
    }
    return bundle;
}

static void test_options(void)
{
    ea_bundle *bundle = (ea_bundle *)&passed;
    ea_error error;
    struct {
        ea_options known;
        int later;
    } newer = {{.size = sizeof newer}, 0};
    EXPECT(ea_bundle_open(at("open"), &newer.known, &bundle, &error) == EA_OK && bundle);
    ea_bundle_close(bundle);
    newer.later = 1;
    EXPECT(ea_bundle_open(at("open"), &newer.known, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "options"));
    EXPECT(!bundle);
    ea_options options = {.size = sizeof options, .threads = -1};
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "threads: got -1"));
    options = (ea_options){.size = sizeof options, .verify = (ea_verify)7};
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "verify: got 7"));
    options = (ea_options){.size = sizeof options, .onnxruntime = "/no/library.so"};
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) && says(&error, EA_PROVIDER_ERROR, "/no/library.so"));
    options.onnxruntime = "libc.so.6";
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) && says(&error, EA_PROVIDER_ERROR, "OrtGetApiBase"));
    options = (ea_options){0};
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "size"));
    options = (ea_options){.size = sizeof options, .verify = EA_VERIFY_ADAPTERS};
    EXPECT(ea_bundle_open(at("open"), &options, &bundle, &error) == EA_OK);
    ea_bundle_close(bundle);
    EXPECT(ea_bundle_open(NULL, NULL, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "folder"));
    EXPECT(ea_bundle_open("", NULL, &bundle, &error) && says(&error, EA_CONFIG_ERROR, "folder"));
    EXPECT(ea_bundle_open(at("nothing"), NULL, &bundle, NULL) == EA_BUNDLE_ERROR);
    EXPECT(ea_bundle_open(at("encoder"), NULL, &bundle, &error) && says(&error, EA_UNSUPPORTED_ERROR, "encoder"));
    ea_bundle_close(NULL);
}

static void test_versions(void)
{
    static const char *const enough[][2] = {
        {"1.23.0", ">=1.23"}, {"1.23", ">=1.9"}, {"1.24.0rc1", ">=1.23.1"}, {"1.20.0", ">=0.99"}, {"2.0.1", ">=1.100"},
    };
    static const char *const old[][2] = {
        {"1.23.0", ">=1.23.1"}, {"1.32.0", ">=1.100"}, {"1.99", ">=2.0"}, {"1.20.1", ">=1.21"}, {"1.20.9", ">=1.20.10"},
    };
    ea_error error;
    for (size_t index = 0; index < sizeof enough / sizeof *enough; index++)
        EXPECT(eai_library_check(enough[index][0], enough[index][1], &error) == EA_OK);
    for (size_t index = 0; index < sizeof old / sizeof *old; index++)
        EXPECT(eai_library_check(old[index][0], old[index][1], &error) &&
               says(&error, EA_BUNDLE_ERROR, old[index][1]) && strstr(error.message, old[index][0]));
    EXPECT(eai_library_check("1.19.2", ">=1.18", &error) && says(&error, EA_PROVIDER_ERROR, "1.20 or newer"));
    /* Before its model is looked at, which is none. */
    ea_bundle *bundle;
    EXPECT(ea_bundle_open(at("newer"), NULL, &bundle, &error) && says(&error, EA_BUNDLE_ERROR, ">=1.100, and this"));
}

static void test_facts(void)
{
    const char *symbol = "?", *problem_type = "?";
    ea_names *labels;
    ea_error error;
    ea_bundle *bundle = open_bundle("stored");
    EXPECT(strcmp(ea_bundle_task(bundle), "text-classification") == 0 && ea_bundle_input_count(bundle) == 1);
    EXPECT(strcmp(ea_bundle_input_name(bundle, 0), "x") == 0 && ea_bundle_input_dtype(bundle, 0) == EA_FLOAT32);
    EXPECT(ea_bundle_input_rank(bundle, 0) == 3 && ea_bundle_input_dimension(bundle, 0, 2, NULL) == 4);
    EXPECT(ea_bundle_input_dimension(bundle, 0, 0, &symbol) == -1 && strcmp(symbol, "batch") == 0);
    EXPECT(ea_bundle_input_dimension(bundle, 0, 3, &symbol) == -1 && !symbol && !ea_bundle_input_name(bundle, 1));
    EXPECT(!ea_bundle_tokenizer_path(bundle) && ea_bundle_max_length(bundle) == 0 &&
           strlen(ea_bundle_onnxruntime(bundle)));
    EXPECT(ea_bundle_labels(bundle, NULL, &labels, &error) == EA_OK && ea_names_count(labels) == 3);
    EXPECT(strcmp(ea_names_at(labels, 1), "maybe") == 0 && !ea_names_at(labels, 3));
    ea_names_free(labels);
    EXPECT(ea_bundle_problem_type(bundle, "polite", &problem_type, &error) == EA_OK);
    EXPECT(problem_type && strcmp(problem_type, "multi_label_classification") == 0);
    EXPECT(ea_bundle_problem_type(bundle, "spam", &problem_type, &error) == EA_OK && !problem_type);
    EXPECT(ea_bundle_labels(bundle, "nobody", &labels, &error) &&
           says(&error, EA_ADAPTER_ERROR, "polite, short, spam"));
    EXPECT(!labels);
    ea_bundle_close(bundle);
}

static void test_table(void)
{
    ea_bundle *bundle = open_bundle("open");
    ea_names *names;
    ea_error error;
    EXPECT(ea_bundle_add(bundle, at("broken/spam"), "ham", &error) && says(&error, EA_BUNDLE_ERROR, "sha256"));
    EXPECT(ea_bundle_add(bundle, at("open/adapters/spam"), NULL, &error) && says(&error, EA_ADAPTER_ERROR, "already"));
    EXPECT(ea_bundle_add(bundle, at("open/adapters/spam"), "ham", &error) == EA_OK);
    EXPECT(ea_bundle_add(bundle, at("open/adapters/spam"), "a/b", &error) && says(&error, EA_ADAPTER_ERROR, "a/b"));
    EXPECT(ea_bundle_remove(bundle, "none", &error) && says(&error, EA_ADAPTER_ERROR, "base"));
    EXPECT(ea_bundle_remove(bundle, NULL, &error) == EA_ADAPTER_ERROR);
    EXPECT(ea_bundle_remove(bundle, "tone", &error) == EA_OK && ea_bundle_remove(bundle, "tone", NULL) != EA_OK);
    EXPECT(ea_bundle_load(bundle, "topic", &error) == EA_OK && ea_bundle_load(bundle, "tone", &error) != EA_OK);
    EXPECT(ea_bundle_adapters(bundle, &names, &error) == EA_OK && ea_names_count(names) == 3);
    ea_bundle_close(bundle);
    EXPECT(strcmp(ea_names_at(names, 0), "ham") == 0 && strcmp(ea_names_at(names, 2), "topic") == 0);
    ea_names_free(names);
}

static void test_inputs(void)
{
    ea_bundle *bundle = open_bundle("stored");
    ea_result *result;
    ea_error error;
    batch batch;
    fill(&batch, 2);
    ea_array array = batch.array;
    EXPECT(ea_bundle_run(bundle, NULL, 0, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "x: missing"));
    EXPECT(ea_bundle_run(bundle, NULL, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "NULL"));
    EXPECT(ea_bundle_run(bundle, (ea_array[]){array, array}, 2, NULL, &result, &error) &&
           says(&error, EA_INPUT_ERROR, "x: given twice"));
    array.bytes--;
    EXPECT(ea_bundle_run(bundle, &array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "159 bytes"));
    array = batch.array;
    array.data = (const char *)batch.x + 1;
    EXPECT(ea_bundle_run(bundle, &array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "aligned"));
    array.data = NULL;
    EXPECT(ea_bundle_run(bundle, &array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "NULL"));
    array = batch.array;
    array.shape = NULL;
    EXPECT(ea_bundle_run(bundle, &array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "NULL"));
    array = batch.array;
    array.dtype = (ea_dtype)99;
    array.name = NULL;
    EXPECT(ea_bundle_run(bundle, (ea_array[]){array, array}, 2, NULL, &result, &error) &&
           says(&error, EA_INPUT_ERROR, "no name"));
    array.name = "x";
    EXPECT(ea_bundle_run(bundle, &array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "no dtype"));
    batch.shape[0] = -1;
    EXPECT(ea_bundle_run(bundle, &batch.array, 1, NULL, &result, &error) && says(&error, EA_INPUT_ERROR, "(-1, 5, 4)"));
    EXPECT(!result && ea_bundle_run(bundle, &batch.array, 1, NULL, &result, NULL) == EA_INPUT_ERROR);
    batch.shape[0] = 2;
    EXPECT(ea_bundle_run_rows(bundle, &batch.array, 1, NULL, 2, &result, &error) &&
           says(&error, EA_INPUT_ERROR, "NULL"));
    EXPECT(ea_bundle_run_rows(bundle, &batch.array, 1, NULL, 3, &result, &error) &&
           says(&error, EA_INPUT_ERROR, "got 3 for a batch of 2"));
    ea_bundle_close(bundle);
}

static double difference(const ea_array *mixed, size_t row, const ea_array *alone)
{
    size_t count = alone->bytes / sizeof(float), rows = (size_t)alone->shape[0];
    const float *one = mixed->data, *other = alone->data;
    double most = 0;
    for (size_t index = 0; index < count / rows; index++) {
        double each = fabs((double)one[index] - (double)other[row * (count / rows) + index]);
        most = each > most ? each : most;
    }
    return most;
}

/* Every row of a mixed batch is what its adapter gives alone, and adapters differ. */
static void test_rows(const char *name, const char *const *adapters, size_t rows)
{
    ea_bundle *bundle = open_bundle(name);
    ea_result *mixed, *alone;
    ea_error error;
    batch batch;
    fill(&batch, (int64_t)rows);
    EXPECT(ea_bundle_run_rows(bundle, &batch.array, 1, adapters, rows, &mixed, &error) == EA_OK);
    size_t logits = ea_result_count(mixed) - 1, arrays = ea_result_arrays(mixed, logits);
    for (size_t row = 0; row < rows; row++) {
        EXPECT(ea_bundle_run(bundle, &batch.array, 1, adapters[row], &alone, &error) == EA_OK);
        ea_array part = *ea_result_array(mixed, logits, arrays == 1 ? 0 : row);
        const ea_array *whole = ea_result_array(alone, logits, 0);
        size_t size = whole->bytes / rows;
        EXPECT(arrays == 1 || part.bytes == size);
        if (arrays == 1)
            part.data = (const char *)part.data + row * size;
        EXPECT(difference(&part, row, whole) < 1e-6);
        EXPECT(difference(&part, (row + 1) % rows, whole) > 1e-3);
        ea_result_free(alone);
    }
    /* A result stays when its bundle is closed, and nothing is behind its ends. */
    ea_bundle_close(bundle);
    EXPECT(!ea_result_array(mixed, logits + 1, 0) && !ea_result_array(mixed, logits, arrays));
    EXPECT(strcmp(ea_result_array(mixed, logits, 0)->name, logits ? "logits" : "hidden") == 0);
    ea_result_free(mixed);
}

static void test_runs(void)
{
    ea_bundle *bundle = open_bundle("open");
    ea_result *result;
    ea_error error;
    batch batch;
    fill(&batch, 2);
    EXPECT(ea_bundle_run(bundle, &batch.array, 1, NULL, &result, &error) &&
           says(&error, EA_ADAPTER_ERROR, "classifier"));
    EXPECT(ea_bundle_run(bundle, &batch.array, 1, "none", &result, &error) == EA_ADAPTER_ERROR && !result);
    EXPECT(ea_bundle_run(bundle, &batch.array, 1, "spam", &result, &error) == EA_OK && error.status == EA_OK);
    /* Removed under a result: that stays. */
    EXPECT(ea_bundle_remove(bundle, "spam", &error) == EA_OK && ea_result_array(result, 1, 0)->shape[1] == 2);
    ea_result_free(result);
    ea_result_free(NULL);
    ea_bundle_close(bundle);
    test_rows("open", (const char *[]){"spam", "topic", "tone", "spam"}, 4);
    test_rows("stored", (const char *[]){"spam", NULL, "polite", "short"}, 4);
    test_rows("stored", (const char *[]){"none", "polite", "short", NULL}, 4);
    test_rows("absent", (const char *[]){"formal", NULL, "polite", "short"}, 4);
    test_rows("passes", (const char *[]){"spam", NULL, "polite", "short", "polite"}, 5);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    folder = arguments[1];
    test_options();
    test_versions();
    test_facts();
    test_table();
    test_inputs();
    test_runs();
    return told();
}
