/* file.c - small files read whole, with a limit: lists, vocabularies and splits come from anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"

static char *read_open(int fd, const char *path, const char *what, size_t limit, size_t *size, ts_error *err)
{
    struct stat about;
    char *bytes = NULL;
    *size = 0;
    if (fstat(fd, &about) != 0) ts_fail(err, TS_ERR_IO, "%s %s cannot be read: %s", what, path, strerror(errno));
    else if (!S_ISREG(about.st_mode)) ts_fail(err, TS_ERR_IO, "%s %s is no plain file", what, path);
    else if ((uint64_t)about.st_size > limit)
        ts_fail(err, TS_ERR_FORMAT, "%s %s has %lld bytes: more than %zu are not taken", what, path, (long long)about.st_size,
                limit);
    else if (!(bytes = malloc((size_t)about.st_size + 1))) ts_fail(err, TS_ERR_MEMORY, "no memory to read %s %s", what, path);
    while (bytes && *size < (size_t)about.st_size) {
        ssize_t got = read(fd, bytes + *size, (size_t)about.st_size - *size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            ts_fail(err, TS_ERR_IO, "%s %s cannot be read: %s", what, path, strerror(errno));
            free(bytes);
            return NULL;
        }
        if (got == 0) break; /* it shrank meanwhile */
        *size += (size_t)got;
    }
    if (bytes) bytes[*size] = '\0';
    return bytes;
}

/* A pipe without a writer does not hold us up. */
static int open_at_once(const char *path, const char *what, ts_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        ts_fail(err, errno == ENOMEM ? TS_ERR_MEMORY : TS_ERR_IO, "%s %s cannot be opened: %s", what, path, strerror(errno));
    return fd;
}

FILE *ts_file_open(const char *path, const char *what, ts_error *err)
{
    struct stat about;
    const int fd = open_at_once(path, what, err);
    if (fd < 0) return NULL;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        ts_fail(err, TS_ERR_IO, "%s %s is no plain file", what, path);
        close(fd);
        return NULL;
    }
    FILE *f = fdopen(fd, "rb");
    if (f) return f;
    ts_fail(err, TS_ERR_MEMORY, "no memory to read %s %s", what, path);
    close(fd);
    return NULL;
}

char *ts_file_read(const char *path, const char *what, size_t limit, size_t *size, ts_error *err)
{
    const int fd = open_at_once(path, what, err);
    if (fd < 0) return NULL;
    char *bytes = read_open(fd, path, what, limit, size, err);
    close(fd);
    return bytes;
}

char *ts_file_beside(const char *path, const char *name, ts_error *err)
{
    const char *slash = strrchr(path, '/');
    char *out = NULL;
    if (asprintf(&out, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name) >= 0) return out;
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}
