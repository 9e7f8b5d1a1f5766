/* pool_index.h - the features of a pool's pictures, and the file that keeps them. */
#ifndef TESSERA_RUN_POOL_INDEX_H
#define TESSERA_RUN_POOL_INDEX_H

#include <sys/types.h>

#include "cli/run/pool.h"

enum { POOL_BATCH = 4 }; /* pictures in one run of a model that has no batches of its own */

typedef struct {
    int64_t size, mtime;
    dev_t device;
    ino_t number;
    int pair;
} pool_file;

typedef struct {
    int count;
    int64_t width;
    float *features;  /* (count, width) */
    bool *known;      /* (count) */
    int known_count;  /* of them */
    pool_file *file;  /* (count), by pair */
    pool_file *nodes; /* (count), by device and number */
} pool_rows;

/* Looks at the files, so that what changes from now on is seen as changed by the next run. */
bool pool_rows_open(pool_rows *r, const run_pool_desc *desc, ts_error *err);
void pool_rows_close(pool_rows *r);
/* The pair whose input is this very file, by whatever name; -1: none is. */
int pool_rows_own(const pool_rows *r, const char *path);
/* Takes from the index what it knows, makes the others, and writes it where it is no longer right. */
bool pool_rows_make(pool_rows *r, const run_pool_desc *desc, ts_embedder *e, const char *how, ts_error *err);

#endif
