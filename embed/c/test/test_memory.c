/* Lets each allocation of the library fail once, one after the other: what fails says so, nothing leaks, and the next
 * call works. Linked with --wrap for malloc, calloc and realloc; ONNX Runtime's own allocations don't fail.
 *
 *     test_memory FOLDER      with the bundles of write_bundles.py */
#include "edgeadapt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static long left = -1; /* allocations until one fails; none does where it is under 0 */
static bool failed;

static bool fails(void)
{
    if (left < 0 || left-- > 0)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

static const char *folder;

/* All that an app does with a bundle, up to the first error. */
static ea_status use(const char *name, const char *const *adapters, ea_error *error)
{
    static float x[4 * 5 * 4];
    static const int64_t shape[] = {4, 5, 4};
    ea_array array = {"x", EA_FLOAT32, 3, shape, x, sizeof x};
    ea_options options = {.size = sizeof options, .threads = 1};
    char path[2048], added[2048];
    ea_bundle *bundle = NULL;
    ea_result *result = NULL;
    ea_names *names = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(added, sizeof added, "%s/%s/adapters/%s", folder, name, adapters[0]);
    ea_status status = ea_bundle_open(path, &options, &bundle, error);
    if (status == EA_OK)
        status = ea_bundle_add(bundle, added, "another", error);
    if (status == EA_OK)
        status = ea_bundle_adapters(bundle, &names, error);
    ea_names_free(names);
    names = NULL;
    if (status == EA_OK)
        status = ea_bundle_labels(bundle, "another", &names, error);
    ea_names_free(names);
    if (status == EA_OK)
        status = ea_bundle_run(bundle, &array, 1, adapters[0], &result, error);
    ea_result_free(result);
    result = NULL;
    if (status == EA_OK)
        status = ea_bundle_run_rows(bundle, &array, 1, adapters, 4, &result, error);
    ea_result_free(result);
    ea_bundle_close(bundle);
    return status;
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        const char *adapters[4];
    } bundles[] = {{"open", {"spam", "topic", "tone", "spam"}}, {"passes", {"spam", NULL, "polite", "short"}}};
    int passed = 0, wrong = 0;
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    folder = arguments[1];
    for (size_t index = 0; index < 2; index++) {
        failed = true;
        for (long first = 0; failed; first++) {
            ea_error error = {0};
            failed = false;
            left = first;
            ea_status status = use(bundles[index].name, bundles[index].adapters, &error);
            left = -1;
            bool sound =
                failed ? status == EA_MEMORY_ERROR && error.status == status && error.message[0] : status == EA_OK;
            if (!sound)
                printf("FAILED allocation %ld of %s: %s: %s\n", first, bundles[index].name, ea_status_name(status),
                       error.message);
            passed += sound;
            wrong += !sound;
        }
    }
    printf("%d passed, %d failed\n", passed, wrong);
    return wrong > 0;
}
