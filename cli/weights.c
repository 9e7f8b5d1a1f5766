/* weights.c - weights files named on the command line. */
#include "cli/cli.h"

#include <stdio.h>

bool ts_check_weights(const char *path, const char *what, ts_error *err)
{
    return ts_is_folder(path) || ts_check_readable(path, what, err);
}

ts_weights *ts_open_weights(const char *path, bool quiet, ts_error *err)
{
    ts_weights *w = ts_weights_open(path, err);
    if (w && ts_weights_note(w) && !quiet) fprintf(stderr, "note: %s: %s\n", ts_weights_path(w), ts_weights_note(w));
    return w;
}
