/* weights.c - opens a model: one file, or the parts that an index names, with the names that the model gave its tensors.
 *
 * A file is mapped and never read as a whole: opening costs the parsing of its directory, and a tensor's pages come from the
 * disk when it is converted or uploaded. */
#include "engine/weights/internal.h"

#include <stdlib.h>
#include <sys/stat.h>

ts_weights *ts_weights_open_memory(const void *bytes, size_t size, const char *label, ts_error *err)
{
    ts_weights *w = ts_weights_new(label, err);
    if (!w) return NULL;
    w->bytes = bytes;
    w->size = size;
    if (ts_weights_read(w, err) && ts_weights_clean_names(w, err) && ts_weights_index(w, err)) return w;
    ts_weights_free(w);
    return NULL;
}

static bool read_file(ts_weights *w, ts_error *err)
{
    bool is_index = false;
    if (!ts_weights_map(w, err) || !ts_shards_read(w, &is_index, err)) return false;
    if (!is_index && (!ts_weights_read(w, err) || !ts_shards_check_alone(w, err))) return false;
    return ts_weights_clean_names(w, err) && ts_weights_index(w, err) && ts_weights_intact(w, err);
}

ts_weights *ts_weights_open(const char *path, ts_error *err)
{
    struct stat st;
    char *inside = NULL;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) && !(inside = ts_weights_in_folder(path, err))) return NULL;
    ts_weights *w = ts_weights_new(inside ? inside : path, err);
    free(inside);
    if (!w || read_file(w, err)) return w;
    ts_weights_free(w);
    return NULL;
}
