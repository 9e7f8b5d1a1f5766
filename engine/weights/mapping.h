/* mapping.h - a file seen through the memory, and whether it is still the file that was opened.
 *
 * A file that another program cuts short takes its pages out of the map, and touching them is a SIGBUS; one that is written over
 * in place changes under the reader's hands. The first is caught where the program asked for it (ts_weights_guard), the second
 * is seen by the file's size and time. A file that is replaced by renaming another one over it does no harm: the map keeps what
 * was opened. */
#ifndef TESSERA_MAPPING_H
#define TESSERA_MAPPING_H

#include "engine/engine.h"

#include <time.h>

struct ts_mapping {
    char *path;
    const uint8_t *bytes; /* NULL: the file is empty */
    uint64_t size;
    struct timespec changed; /* when it was opened */
    int fd;
    int guard; /* place in the table of what is guarded; -1: none */
};
typedef struct ts_mapping ts_mapping;

ts_mapping *ts_mapping_open(const char *path, ts_error *err);
void ts_mapping_free(ts_mapping *m);
/* Fails where the file is no longer as it was opened, or where a page of it could not be read: what was taken from it since may
 * be wrong. Cheap. NULL is intact. */
bool ts_mapping_intact(const ts_mapping *m, ts_error *err);

#endif
