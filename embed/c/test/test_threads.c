/* Eight threads run one bundle with one adapter, another, mixed ones, and add and remove adapters meanwhile.
 *
 *     test_threads FOLDER      with the bundles of write_bundles.py */
#include "edgeadapt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 1000, ROWS = 4, NUMBERS = ROWS * 5 * 4 };

static const char *const adapters[] = {"spam", "polite", "short", NULL};
static ea_bundle *bundle;
static char spare[2048];
static float x[NUMBERS];
static ea_result *expected[4], *expected_mixed;
static atomic_int wrong, refused, runs;

static ea_array input(void)
{
    static const int64_t shape[] = {ROWS, 5, 4};
    return (ea_array){"x", EA_FLOAT32, 3, shape, x, sizeof x};
}

static bool same(const ea_result *one, const ea_result *other)
{
    for (size_t output = 0; output < ea_result_count(one); output++) {
        if (ea_result_arrays(one, output) != ea_result_arrays(other, output))
            return false;
        for (size_t row = 0; row < ea_result_arrays(one, output); row++) {
            const ea_array *left = ea_result_array(one, output, row), *right = ea_result_array(other, output, row);
            if (left->bytes != right->bytes || memcmp(left->data, right->data, left->bytes) != 0)
                return false;
        }
    }
    return true;
}

static void check(ea_status status, ea_result *result, const ea_result *wanted, const ea_error *error)
{
    atomic_fetch_add(&runs, 1);
    if (status != EA_OK || !same(result, wanted)) {
        atomic_fetch_add(&wrong, 1);
        printf("%s\n", status == EA_OK ? "other numbers than alone" : error->message);
    }
    ea_result_free(result);
}

/* Adds an adapter under a name that other threads add and remove, too, runs it and removes it. */
static void change(unsigned number, unsigned round)
{
    char name[32];
    ea_error error;
    ea_result *result;
    ea_names *names;
    ea_array array = input();
    snprintf(name, sizeof name, "spam-%u", (number + round) % 3);
    if (ea_bundle_add(bundle, spare, name, &error) != EA_OK)
        atomic_fetch_add(&refused, 1); /* another thread was first */
    ea_status status = ea_bundle_run(bundle, &array, 1, name, &result, &error);
    if (status == EA_OK || error.status != EA_ADAPTER_ERROR)
        check(status, result, expected[0], &error);
    if (ea_bundle_adapters(bundle, &names, &error) == EA_OK)
        ea_names_free(names);
    if (ea_bundle_labels(bundle, name, &names, &error) == EA_OK)
        ea_names_free(names);
    if (ea_bundle_remove(bundle, name, &error) != EA_OK)
        atomic_fetch_add(&refused, 1);
}

/* Opens a bundle of its own, runs it, and closes it before its result. */
static void open_another(void)
{
    char path[2048];
    ea_error error;
    ea_bundle *own;
    ea_result *result;
    ea_array array = input();
    ea_options options = {.size = sizeof options, .threads = 1};
    snprintf(path, sizeof path, "%.*s", (int)(strlen(spare) - strlen("/adapters/spam")), spare);
    ea_status status = ea_bundle_open(path, &options, &own, &error);
    if (status != EA_OK) {
        check(status, NULL, NULL, &error);
        return;
    }
    status = ea_bundle_run_rows(own, &array, 1, adapters, ROWS, &result, &error);
    ea_bundle_close(own);
    check(status, result, expected_mixed, &error);
}

static void *work(void *argument)
{
    unsigned number = *(unsigned *)argument;
    ea_array array = input();
    ea_error error;
    ea_result *result;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t which = (number + round) % 4;
        ea_status status = ea_bundle_run(bundle, &array, 1, adapters[which], &result, &error);
        check(status, result, expected[which], &error);
        if (round % 2) {
            status = ea_bundle_run_rows(bundle, &array, 1, adapters, ROWS, &result, &error);
            check(status, result, expected_mixed, &error);
        }
        if (round % 5 == 0)
            change(number, round);
        if (round % 100 == 0)
            open_another();
    }
    return NULL;
}

static void open_bundle(const char *folder)
{
    char path[2048];
    ea_error error;
    ea_options options = {.size = sizeof options, .threads = 1};
    snprintf(path, sizeof path, "%s/stored", folder);
    snprintf(spare, sizeof spare, "%s/stored/adapters/spam", folder);
    if (ea_bundle_open(path, &options, &bundle, &error) != EA_OK) {
        printf("%s\n", error.message);
        exit(1);
    }
}

static void run_alone(void)
{
    ea_array array = input();
    for (size_t which = 0; which < 4; which++)
        if (ea_bundle_run(bundle, &array, 1, adapters[which], &expected[which], NULL) != EA_OK)
            exit(1);
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    for (size_t index = 0; index < NUMBERS; index++)
        x[index] = (float)(index % 17) / 8 - 1;
    open_bundle(arguments[1]);
    run_alone();
    ea_array array = input();
    ea_error error;
    if (ea_bundle_run_rows(bundle, &array, 1, adapters, ROWS, &expected_mixed, &error) != EA_OK) {
        printf("%s\n", error.message);
        return 1;
    }
    /* Anew, so that threads read adapters at the same time, too. The results of the old one stay. */
    ea_bundle_close(bundle);
    open_bundle(arguments[1]);
    for (unsigned index = 0; index < THREADS; index++) {
        numbers[index] = index;
        pthread_create(&threads[index], NULL, work, &numbers[index]);
    }
    for (unsigned index = 0; index < THREADS; index++)
        pthread_join(threads[index], NULL);
    for (size_t which = 0; which < 4; which++)
        ea_result_free(expected[which]);
    ea_result_free(expected_mixed);
    ea_bundle_close(bundle);
    printf("%d runs by %d threads, %d adds and removes came too late\n", atomic_load(&runs), THREADS,
           atomic_load(&refused));
    printf("%d passed, %d failed\n", atomic_load(&runs) - atomic_load(&wrong), atomic_load(&wrong));
    return atomic_load(&wrong) > 0;
}
