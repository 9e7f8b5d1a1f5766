/* outfile.c - see outfile.h.
 *
 * The bytes go to a temporary name in the same folder (a rename does not cross file systems), are flushed, and then renamed,
 * which the kernel does at once: a full disk or a crash leaves what was there before. */
#include "engine/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TRIES = 100 }; /* names left over by programs of the same process number that were killed */

/* The place to write: what a symbolic link points at, so that the link stays. Renaming onto a device or a pipe would replace it.
 */
static bool find_place(ts_outfile *f, const char *path, ts_error *err)
{
    struct stat st;
    f->path = NULL;
    if (!*path) return ts_fail(err, TS_ERR_ARGUMENT, "the name of the file to write is empty");
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return ts_fail(err, TS_ERR_IO, "cannot write '%s': it is a folder", path);
        if (!S_ISREG(st.st_mode)) return ts_fail(err, TS_ERR_IO, "cannot write '%s': it is not a regular file", path);
        f->path = realpath(path, NULL);
    }
    if (!f->path) f->path = strdup(path);
    if (f->path) return true;
    return ts_fail(err, TS_ERR_MEMORY, "cannot write '%s': out of memory", path);
}

bool ts_outfile_open(ts_outfile *f, const char *path, ts_error *err)
{
    *f = (ts_outfile){.fd = -1};
    if (!find_place(f, path, err) || !f->path) return false;
    size_t room = strlen(f->path) + 48;
    f->temporary = malloc(room);
    if (!f->temporary) {
        ts_fail(err, TS_ERR_MEMORY, "cannot write '%s': out of memory", path);
        ts_outfile_discard(f);
        return false;
    }
    for (int i = 0; i < MAX_TRIES && f->fd < 0; i++) {
        snprintf(f->temporary, room, "%s.%ld-%d.tmp", f->path, (long)getpid(), i);
        f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd < 0 && errno != EEXIST) break;
    }
    if (f->fd >= 0) return true;
    ts_fail(err, TS_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    free(f->temporary); /* what bears this name, if anything, is not ours to remove */
    f->temporary = NULL;
    ts_outfile_discard(f);
    return false;
}

bool ts_outfile_write(ts_outfile *f, const void *bytes, size_t size, ts_error *err)
{
    const char *p = bytes;
    while (size) {
        ssize_t n = write(f->fd, p, size < (1 << 30) ? size : (1 << 30)); /* Linux writes at most 2 GB a call */
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ts_fail(err, TS_ERR_IO, "cannot write '%s': %s", f->path, strerror(n ? errno : EIO));
        p += n;
        size -= (size_t)n;
    }
    return true;
}

bool ts_outfile_commit(ts_outfile *f, ts_error *err)
{
    bool ok = fsync(f->fd) == 0 && rename(f->temporary, f->path) == 0;
    if (ok) {
        free(f->temporary);
        f->temporary = NULL; /* so that discard removes nothing */
    } else {
        ts_fail(err, TS_ERR_IO, "cannot write '%s': %s", f->path, strerror(errno));
    }
    ts_outfile_discard(f);
    return ok;
}

void ts_outfile_discard(ts_outfile *f)
{
    if (f->fd >= 0) close(f->fd);
    if (f->temporary) unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (ts_outfile){.fd = -1};
}

bool ts_file_write(const char *path, const void *bytes, size_t size, ts_error *err)
{
    ts_outfile f;
    if (!ts_outfile_open(&f, path, err)) return false;
    if (ts_outfile_write(&f, bytes, size, err)) return ts_outfile_commit(&f, err);
    ts_outfile_discard(&f);
    return false;
}
