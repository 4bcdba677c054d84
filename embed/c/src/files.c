#include "files.h"

#include "sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MOST_DOCUMENT = 64 << 20, FILES_PIECE = 1 << 14 };

typedef struct files_reason {
    char text[240];
} files_reason;

static bool files_says(files_reason *reason, const char *what, int number)
{
    snprintf(reason->text, sizeof reason->text, "%s%s%s", what, number ? ": " : "", number ? strerror(number) : "");
    return false;
}

static bool files_regular(const struct stat *status, files_reason *reason)
{
    if (S_ISLNK(status->st_mode))
        return files_says(reason, "is a symbolic link", 0);
    if (!S_ISREG(status->st_mode))
        return files_says(reason, "is not a regular file", 0);
    if (status->st_nlink > 1)
        return files_says(reason, "is a hard link: several names share its content", 0);
    return true;
}

/* Tells whether a file of `folder` is regular and no link, and no folder on the way to it a link. Opens nothing, since
 * a pipe would block. */
static bool files_trusted(char *path, size_t folder_length, struct stat *status, files_reason *reason)
{
    for (char *slash = strchr(path + folder_length + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = lstat(path, status) ? errno : 0;
        *slash = '/';
        if (!failed && S_ISLNK(status->st_mode))
            return files_says(reason, "lies behind a symbolic link", 0);
        if (failed && failed != ENOENT && failed != ENOTDIR)
            return files_says(reason, "can't be read", failed);
    }
    if (lstat(path, status) != 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        return files_says(reason, missing ? "is missing" : "can't be read", missing ? 0 : errno);
    }
    return files_regular(status, reason);
}

/* Opens a file that was looked at, and looks again: it can't have become a link or a pipe meanwhile. */
static int files_open(const char *path, struct stat *status, files_reason *reason)
{
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 || fstat(file, status) != 0) {
        files_says(reason, "can't be read", errno);
    } else if (files_regular(status, reason)) {
        return file;
    }
    if (file >= 0)
        close(file);
    return -1;
}

/* Reads `length` bytes; where fewer are left, tells so. */
static bool files_read(int file, void *bytes, size_t length, files_reason *reason)
{
    for (char *at = bytes; length;) {
        ssize_t got = read(file, at, length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return files_says(reason, got ? "can't be read" : "became shorter while it was read", got ? errno : 0);
        at += got;
        length -= (size_t)got;
    }
    return true;
}

static bool files_hash(int file, int64_t length, char *kept, char hex[65], files_reason *reason)
{
    char piece[FILES_PIECE];
    eai_sha256 digest;
    eai_sha256_begin(&digest);
    for (int64_t done = 0; done < length;) {
        size_t size = length - done < FILES_PIECE ? (size_t)(length - done) : FILES_PIECE;
        char *target = kept ? kept + done : piece;
        if (!files_read(file, target, size, reason))
            return false;
        eai_sha256_add(&digest, target, size);
        done += (int64_t)size;
    }
    eai_sha256_end(&digest, hex);
    return true;
}

ea_status eai_read_document(eai_arena *arena, const char *folder, const char *name, eai_bytes *bytes, ea_error *error)
{
    char *path = eai_join(arena, folder, name);
    if (!path)
        return eai_no_memory(error);
    struct stat status;
    files_reason reason;
    if (lstat(path, &status) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return eai_fail(error, EA_BUNDLE_ERROR, "%s is not %s: it holds no %s.", folder,
                        strcmp(name, "adapter.json") == 0 ? "an adapter's folder" : "a bundle", name);
    int file = files_trusted(path, strlen(folder), &status, &reason) ? files_open(path, &status, &reason) : -1;
    if (file < 0)
        return eai_fail(error, EA_BUNDLE_ERROR, "%s %s.\nCopy the file itself there; a bundle holds no links.", path,
                        reason.text);
    if (status.st_size > FILES_MOST_DOCUMENT) {
        close(file);
        return eai_fail(error, EA_BUNDLE_ERROR, "%s has %lld bytes, and more than %d are refused unread.\nIt is no %s.",
                        path, (long long)status.st_size, FILES_MOST_DOCUMENT, name);
    }
    bytes->length = (size_t)status.st_size;
    bytes->data = eai_take(arena, bytes->length + 1, 1);
    bool read = bytes->data && files_read(file, bytes->data, bytes->length, &reason);
    close(file);
    if (!bytes->data)
        return eai_no_memory(error);
    return read ? EA_OK : eai_fail(error, EA_BUNDLE_ERROR, "%s %s.", path, reason.text);
}

/* Looks into one listed file, and says what is wrong with it. */
static ea_status files_verify(eai_arena *arena, const char *folder, const eai_file *listed, bool hash, eai_bytes *kept,
                              eai_problems *problems, ea_error *error)
{
    files_reason reason;
    struct stat status;
    char *path = eai_join(arena, folder, listed->path), hex[65];
    if (!path)
        return eai_no_memory(error);
    if (!files_trusted(path, strlen(folder), &status, &reason)) {
        eai_problem(problems, "%s: %s", listed->path, reason.text);
        return EA_OK;
    }
    if (status.st_size != listed->bytes) {
        eai_problem(problems, "%s: has %lld bytes, expected %lld", listed->path, (long long)status.st_size,
                    (long long)listed->bytes);
        return EA_OK;
    }
    if (!hash)
        return EA_OK;
    if (kept && ((uint64_t)listed->bytes > SIZE_MAX / 4 || !(kept->data = eai_take(arena, (size_t)listed->bytes, 1))))
        return eai_no_memory(error);
    int file = files_open(path, &status, &reason);
    bool read = file >= 0 && files_hash(file, listed->bytes, kept ? kept->data : NULL, hex, &reason);
    if (file >= 0)
        close(file);
    if (!read)
        eai_problem(problems, "%s: %s", listed->path, reason.text);
    else if (strcmp(hex, listed->sha256) != 0)
        eai_problem(problems, "%s: has the sha256 %s, expected %s", listed->path, hex, listed->sha256);
    else if (kept)
        kept->length = (size_t)listed->bytes;
    return EA_OK;
}

ea_status eai_verify_files(eai_arena *arena, const char *folder, const eai_file *files, size_t count, int64_t hash_most,
                           const char *keep, eai_bytes *kept, ea_error *error)
{
    eai_problems problems = {0};
    for (size_t index = 0; index < count; index++) {
        bool wanted = keep && strcmp(files[index].path, keep) == 0;
        bool hash = wanted || files[index].bytes <= hash_most;
        ea_status status = files_verify(arena, folder, &files[index], hash, wanted ? kept : NULL, &problems, error);
        if (status != EA_OK)
            return status;
    }
    return eai_refuse(error, EA_BUNDLE_ERROR, &problems,
                      "Copy the folder again from where it was made, as files and not as links.",
                      "The files of %.300s are not those that belong to it:", folder);
}
