/* outfile.h - a file that appears whole under its name, or not at all. */
#ifndef TESSERA_OUTFILE_H
#define TESSERA_OUTFILE_H

#include "engine/engine.h"

typedef struct {
    int fd;
    char *path;      /* where it goes */
    char *temporary; /* where it is written, in the same folder */
} ts_outfile;

/* The mode of what is there stays, and a new file's is the umask's. The temporary name has ".tmp" at its end and, where the file
 * system takes names of that length, the file's own before. Every opened ts_outfile ends in one call of commit or discard. On
 * failure of open there is nothing to discard. */
bool ts_outfile_open(ts_outfile *f, const char *path, ts_error *err);
/* From now on the file is for its owner alone. */
bool ts_outfile_private(ts_outfile *f, ts_error *err);
bool ts_outfile_write(ts_outfile *f, const void *bytes, size_t size, ts_error *err);
/* Flushes to the disk and renames; a failure discards. */
bool ts_outfile_commit(ts_outfile *f, ts_error *err);
void ts_outfile_discard(ts_outfile *f);

#endif
