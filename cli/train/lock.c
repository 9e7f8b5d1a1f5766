/* lock.c - one run, one folder: a lock on a file in it, held while a process works there. The system takes it from a process that
 * is no more, however it ended, so that nothing has to be cleaned up. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/train/training.h"

/* Who holds it, for the complaint; 0: it does not say. */
static long holder(int fd)
{
    char text[24] = {0};
    const ssize_t got = pread(fd, text, sizeof text - 1, 0);
    return got > 0 ? strtol(text, NULL, 10) : 0;
}

static bool busy(const char *folder, int fd, ts_error *err)
{
    char who[48] = "";
    const long process = holder(fd);
    if (process > 0) snprintf(who, sizeof who, " (process %ld)", process);
    return ts_fail(err, TS_ERR_IO, "folder %s is in use by another training%s: wait for its end, or name another with --out",
                   folder, who);
}

/* Whether the open file is still the one of that name: who ends removes it. */
static bool in_place(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static bool lock_file(ts_run_lock *l, bool quiet, ts_error *err)
{
    for (;;) {
        const int fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return ts_fail(err, TS_ERR_IO, "%s cannot be written: %s", l->path, strerror(errno));
        const bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked && errno == EWOULDBLOCK) {
            busy(l->folder, fd, err);
            close(fd);
            return false;
        }
        /* Some file systems know no locks: better a training with a warning than none. */
        if (!locked && !quiet)
            ts_say("folder %s cannot be locked (%s): see that no other training writes there", l->folder, strerror(errno));
        if (locked && !in_place(fd, l->path)) {
            close(fd);
            continue;
        }
        l->fd = fd;
        l->held = true;
        return true;
    }
}

bool ts_run_lock_take(ts_run_lock *l, const char *folder, bool quiet, ts_error *err)
{
    char process[24];
    *l = (ts_run_lock){.folder = folder, .made = !ts_is_folder(folder)};
    if (!ts_check_folder(folder, err) || !ts_make_folder(folder, err)) return false;
    if (asprintf(&l->path, "%s/.lock", folder) < 0) {
        l->path = NULL;
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    if (!lock_file(l, quiet, err)) {
        free(l->path);
        l->path = NULL;
        return false;
    }
    const int length = snprintf(process, sizeof process, "%ld\n", (long)getpid());
    /* For the complaint alone: on a full disk it names no process. */
    if (ftruncate(l->fd, 0) == 0 && pwrite(l->fd, process, (size_t)length, 0) < 0) errno = 0;
    return true;
}

static bool holds_run(const char *folder, bool *out, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/config.json", folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    *out = access(path, F_OK) == 0;
    free(path);
    return true;
}

int ts_run_open(ts_run_lock *l, const char *command, const char *folder, const char *what, bool resume, bool quiet)
{
    ts_error err = {0};
    bool there = false;
    if (resume && (!holds_run(folder, &there, &err) || !there))
        return err.code
                   ? ts_report(command, &err)
                   : ts_usage_error(command, "--out %s holds no %s to go on with: without --resume one begins", folder, what);
    /* Only in a locked folder does what is there stay so. */
    if (!ts_run_lock_take(l, folder, quiet, &err) || !holds_run(folder, &there, &err)) return ts_report(command, &err);
    if (there == resume) return -1;
    return there ? ts_usage_error(command, "--out %s holds a %s already: --resume goes on with it", folder, what)
                 : ts_usage_error(command, "--out %s holds no %s to go on with: without --resume one begins", folder, what);
}

void ts_run_lock_release(ts_run_lock *l)
{
    if (l->held) {
        unlink(l->path); /* before the lock goes: who opened it meanwhile finds that it is not the one of that name */
        close(l->fd);
        if (l->made) rmdir(l->folder); /* where nothing came of the run, and the folder is empty */
    }
    free(l->path);
    *l = (ts_run_lock){0};
}
