/* file.h - small files read whole. Private to Tessera's folders. */
#ifndef TESSERA_FILE_H
#define TESSERA_FILE_H

#include <stdio.h>

#include "engine/engine.h"

/* The bytes of a plain file of at most `limit` bytes, with a 0 after the last; free(). `what` names it in errors ("vocabulary").
 * A folder, a device or a pipe is refused: it might never end. NULL on failure. */
char *ts_file_read(const char *path, const char *what, size_t limit, size_t *size, ts_error *err);
/* Opens a plain file for reading; a folder, a device or a pipe is refused as above, and without waiting for anybody. NULL on
 * failure. */
FILE *ts_file_open(const char *path, const char *what, ts_error *err);
/* "folder/name", folder being that of `path`; free(). NULL: no memory. */
char *ts_file_beside(const char *path, const char *name, ts_error *err);

#endif
