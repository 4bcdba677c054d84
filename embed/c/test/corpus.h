/* Files that are kept because each leads to a place in the code that no other leads to: test/corpus/. */
#ifndef EDGEADAPT_TEST_CORPUS_H
#define EDGEADAPT_TEST_CORPUS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct kept {
    char *bytes;
    size_t length;
} kept;

enum { MOST_KEPT = 1024 };

/* Returns a file's bytes, or NULL in `bytes`. */
static inline kept read_kept(const char *path)
{
    kept found = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return found;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    if (size >= 0)
        found = (kept){malloc((size_t)size + 1), (size_t)size};
    if (found.bytes && fread(found.bytes, 1, found.length, file) != found.length) {
        free(found.bytes);
        found.bytes = NULL;
    }
    fclose(file);
    return found;
}

static inline int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Reads all files of a folder in the order of their names, the same everywhere, and returns how many there are; 0 where
 * it can't be read or holds none. */
static inline size_t read_corpus(const char *folder, kept files[MOST_KEPT])
{
    char *names[MOST_KEPT];
    size_t count = 0, whole = 0;
    DIR *listed = opendir(folder);
    for (struct dirent *entry; listed && count < MOST_KEPT && (entry = readdir(listed));) {
        size_t size = strlen(entry->d_name) + 1;
        if (entry->d_name[0] != '.' && (names[count] = malloc(size)))
            memcpy(names[count++], entry->d_name, size);
    }
    if (listed)
        closedir(listed);
    qsort(names, count, sizeof *names, by_name);
    for (size_t index = 0; index < count; index++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", folder, names[index]);
        files[index] = read_kept(path);
        whole += files[index].bytes != NULL;
        free(names[index]);
    }
    return whole == count ? count : 0;
}

#endif
