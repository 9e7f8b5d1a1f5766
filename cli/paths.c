/* paths.c - files named on the command line. Whether they can be read and written is asked before the long work, so that a
 * wrong name is told in the first second and not after the last; the writing itself is checked again when it comes. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool ts_is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool ts_check_readable(const char *path, const char *what, ts_error *err)
{
    struct stat s;
    if (ts_is_standard(path)) return true;
    if (ts_is_folder(path)) return ts_fail(err, TS_ERR_IO, "%s %s is a folder, a file was wanted", what, path);
    /* Opening a pipe would take it from whoever writes to it. */
    const bool pipe = stat(path, &s) == 0 && S_ISFIFO(s.st_mode);
    const int fd = pipe ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && !(pipe && access(path, R_OK) == 0))
        return ts_fail(err, TS_ERR_IO, "%s %s cannot be read: %s", what, path, strerror(errno));
    if (fd >= 0) close(fd);
    return true;
}

/* The folder that holds `path`, in `out`: "." where the path names none. Slashes at the end belong to the name. */
static bool parent_of(const char *path, char *out, size_t room)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    if (length == 0) return snprintf(out, room, ".") < (int)room;
    return snprintf(out, room, "%.*s", (int)length, path) < (int)room;
}

/* Makes a file there and removes it: permissions alone do not tell of a read-only or full disk, nor what root may not do. */
static bool probe_folder(const char *folder)
{
    char path[4096 + 32];
    snprintf(path, sizeof path, "%s/.tessera-XXXXXX", folder);
    int fd = mkstemp(path);
    if (fd < 0) return false;
    close(fd);
    unlink(path);
    return true;
}

bool ts_check_writable(const char *path, ts_error *err)
{
    char folder[4096];
    if (ts_is_standard(path)) return true;
    if (path[0] == '\0') return ts_fail(err, TS_ERR_IO, "the name of an output is empty");
    if (ts_is_folder(path)) return ts_fail(err, TS_ERR_IO, "output %s is a folder, a file was wanted", path);
    if (!parent_of(path, folder, sizeof folder)) return ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s", path);
    if (!probe_folder(folder))
        return ts_fail(err, TS_ERR_IO, "output %s cannot be written: folder %s: %s", path, folder, strerror(errno));
    struct stat s;
    const bool there = stat(path, &s) == 0;
    if (there && !S_ISREG(s.st_mode)) return ts_fail(err, TS_ERR_IO, "output %s is there and is no plain file", path);
    return there || errno != ENAMETOOLONG || ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s...", path);
}

bool ts_check_folder(const char *path, ts_error *err)
{
    char parent[4096];
    struct stat s;
    if (stat(path, &s) == 0) {
        if (!S_ISDIR(s.st_mode)) return ts_fail(err, TS_ERR_IO, "output %s is a file, a folder was wanted", path);
        if (probe_folder(path)) return true;
        return ts_fail(err, TS_ERR_IO, "folder %s cannot be written: %s", path, strerror(errno));
    }
    if (errno != ENOENT) return ts_fail(err, TS_ERR_IO, "folder %s cannot be made: %s", path, strerror(errno));
    if (!parent_of(path, parent, sizeof parent)) return ts_fail(err, TS_ERR_IO, "the output's name is too long: %.200s", path);
    if (probe_folder(parent)) return true;
    return ts_fail(err, TS_ERR_IO, "folder %s cannot be made in %s: %s", path, parent, strerror(errno));
}

bool ts_make_folder(const char *path, ts_error *err)
{
    if (mkdir(path, 0777) == 0 || ts_is_folder(path)) return true;
    return ts_fail(err, TS_ERR_IO, "folder %s cannot be made: %s", path, strerror(errno));
}

bool ts_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *ts_path_in(const char *folder, const char *file, const char *ending, ts_error *err)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char *out = NULL;
    if (asprintf(&out, "%s/%.*s%s", folder, stem, base, ending) < 0) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    return out;
}

void ts_paths_free(char **paths, int count)
{
    for (int i = 0; i < count; i++) free(paths[i]);
    free(paths);
}
