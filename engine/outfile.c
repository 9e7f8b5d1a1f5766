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

enum { MAX_TRIES = 100 };

/* The place to write: what a symbolic link points at, so that the link stays. Renaming onto a device or a pipe would replace it.
 * `mode`: of what is there, or -1. */
static bool find_place(ts_outfile *f, const char *path, int *mode, ts_error *err)
{
    struct stat st;
    f->path = NULL;
    *mode = -1;
    if (!*path) return ts_fail(err, TS_ERR_ARGUMENT, "the name of the file to write is empty");
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return ts_fail(err, TS_ERR_IO, "cannot write '%s': it is a folder", path);
        if (!S_ISREG(st.st_mode)) return ts_fail(err, TS_ERR_IO, "cannot write '%s': it is not a regular file", path);
        *mode = (int)(st.st_mode & 0777);
        f->path = realpath(path, NULL);
    }
    if (!f->path) f->path = strdup(path);
    if (f->path) return true;
    return ts_fail(err, TS_ERR_MEMORY, "cannot write '%s': out of memory", path);
}

/* Makes the temporary file under the first free name. Names left over by programs of the same process number that were killed
 * are passed by. */
static int make_temporary(ts_outfile *f, size_t room)
{
    const char *slash = strrchr(f->path, '/');
    const int folder = slash ? (int)(slash - f->path + 1) : 0;
    bool brief = false;
    for (int i = 0; i < MAX_TRIES; i++) {
        if (brief) snprintf(f->temporary, room, "%.*s.tessera-%ld-%d.tmp", folder, f->path, (long)getpid(), i);
        else snprintf(f->temporary, room, "%s.%ld-%d.tmp", f->path, (long)getpid(), i);
        const int fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) return fd;
        if (errno == ENAMETOOLONG && !brief) brief = true; /* the file's own name may be as long as names can be */
        else if (errno != EEXIST) break;
    }
    return -1;
}

bool ts_outfile_open(ts_outfile *f, const char *path, ts_error *err)
{
    int mode;
    *f = (ts_outfile){.fd = -1};
    if (!find_place(f, path, &mode, err) || !f->path) return false;
    const size_t room = strlen(f->path) + 64;
    f->temporary = malloc(room);
    if (!f->temporary) {
        ts_fail(err, TS_ERR_MEMORY, "cannot write '%s': out of memory", path);
        ts_outfile_discard(f);
        return false;
    }
    f->fd = make_temporary(f, room);
    if (f->fd >= 0) {
        if (mode >= 0) (void)!fchmod(f->fd, (mode_t)mode); /* a file system without modes is no reason to fail */
        return true;
    }
    ts_fail(err, TS_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    free(f->temporary); /* what bears this name, if anything, is not ours to remove */
    f->temporary = NULL;
    ts_outfile_discard(f);
    return false;
}

bool ts_outfile_private(ts_outfile *f, ts_error *err)
{
    return fchmod(f->fd, 0600) == 0 || ts_fail(err, TS_ERR_IO, "cannot write '%s': %s", f->path, strerror(errno));
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
