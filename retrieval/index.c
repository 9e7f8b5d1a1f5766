/* index.c - the features of a folder's pictures in a file, so that a second search encodes only what is new. It is safetensors,
 * with the identity of the features in the metadata "tessera.clip":
 *
 *   features (count, width) F32    size, mtime (count) I64    names U8, sorted, each ended by a zero byte
 *
 * Names are bytes and not JSON, because a file's name may be any bytes and a header has room for some ten thousands of them. The
 * file is as untrusted as any other; whatever is odd about it, the features are made anew. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "retrieval/retrieval.h"

#define META_KEY "tessera.clip"

void ts_index_clear(ts_index *ix)
{
    free(ix->name);
    free(ix->size);
    free(ix->mtime);
    free(ix->features);
    free(ix->names);
    *ix = (ts_index){0};
}

/* Points `name` at the parts of `names`; they must be as many as the entries, and sorted, as they are written. */
static bool find_names(ts_index *ix, int64_t bytes)
{
    int64_t at = 0;
    if (bytes > 0 && ix->names[bytes - 1] != '\0') return false;
    for (int64_t i = 0; i < ix->count; i++) {
        if (at >= bytes) return false;
        ix->name[i] = ix->names + at;
        if (i && strcmp(ix->name[i - 1], ix->name[i]) >= 0) return false;
        at += (int64_t)strlen(ix->name[i]) + 1;
    }
    return at == bytes;
}

static bool are_unit(const ts_index *ix)
{
    for (int64_t i = 0; i < ix->count; i++) {
        double sum = 0;
        for (int64_t e = 0; e < ix->width; e++) {
            const double x = (double)ix->features[i * ix->width + e];
            sum += x * x;
        }
        if (!(fabs(sum - 1) < 0.01)) return false;
    }
    return true;
}

static bool take(const ts_weights *w, ts_index *ix, ts_error *err)
{
    const ts_weight *features = ts_weights_find(w, "features"), *size = ts_weights_find(w, "size"),
                    *mtime = ts_weights_find(w, "mtime"), *names = ts_weights_find(w, "names");
    if (!features || !size || !mtime || !names || features->ndim != 2 || features->dtype != TS_DT_F32 ||
        features->shape[1] != ix->width || size->count != features->shape[0] || mtime->count != features->shape[0] ||
        names->dtype != TS_DT_U8 || !names->contiguous)
        return ts_fail(err, TS_ERR_FORMAT, "%s is no index of features", ts_weights_path(w));
    ix->count = features->shape[0];
    ix->features = malloc((size_t)features->count * sizeof *ix->features + 1);
    ix->size = malloc((size_t)ix->count * sizeof *ix->size + 1);
    ix->mtime = malloc((size_t)ix->count * sizeof *ix->mtime + 1);
    ix->name = malloc((size_t)ix->count * sizeof *ix->name + 1);
    ix->names = malloc((size_t)names->count + 1);
    if (!ix->features || !ix->size || !ix->mtime || !ix->name || !ix->names) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    memcpy(ix->names, names->data, (size_t)names->count);
    if (!ts_weight_to_f32(features, ix->features, err) || !ts_weight_to_i64(size, ix->size, err) ||
        !ts_weight_to_i64(mtime, ix->mtime, err))
        return false;
    if (find_names(ix, names->count) && are_unit(ix)) return true;
    return ts_fail(err, TS_ERR_FORMAT, "%s is broken", ts_weights_path(w));
}

void ts_index_read(const char *path, const char *identity, int64_t width, ts_index *out, ts_error *why)
{
    *out = (ts_index){.width = width};
    if (access(path, F_OK) != 0) return;
    ts_weights *w = ts_weights_open(path, why);
    const char *made_by = w ? ts_weights_meta(w, META_KEY) : NULL;
    bool ok = w != NULL;
    if (ok && (!made_by || strcmp(made_by, identity) != 0))
        ok = ts_fail(why, TS_ERR_FORMAT, "%s was made with another model or precision", path);
    ok = ok && take(w, out, why);
    ts_weights_free(w);
    if (ok) return;
    ts_index_clear(out);
    out->width = width;
}

bool ts_index_write(const char *path, const char *identity, const ts_index *ix, ts_error *err)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < ix->count; i++) bytes += strlen(ix->name[i]) + 1;
    char *names = malloc(bytes + 1), *to = names;
    ts_weights_writer *w = ts_weights_writer_new();
    for (int64_t i = 0; to && i < ix->count; i++) to = stpcpy(to, ix->name[i]) + 1;
    bool ok = (names && w) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (w) ts_weights_writer_private(w); /* it tells of somebody's pictures */
    const int64_t count = ix->count, shape[2] = {count, ix->width}, length = (int64_t)bytes;
    ok = ok && ts_weights_writer_meta(w, META_KEY, identity, err) &&
         ts_weights_writer_add(w, "features", TS_DT_F32, 2, shape, ix->features, err) &&
         ts_weights_writer_add(w, "size", TS_DT_I64, 1, &count, ix->size, err) &&
         ts_weights_writer_add(w, "mtime", TS_DT_I64, 1, &count, ix->mtime, err) &&
         ts_weights_writer_add(w, "names", TS_DT_U8, 1, &length, names, err) && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(names);
    return ok;
}

int64_t ts_index_find(const ts_index *ix, const char *name, int64_t size, int64_t mtime)
{
    int64_t low = 0, high = ix->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, ix->name[middle]);
        if (order == 0) return ix->size[middle] == size && ix->mtime[middle] == mtime ? middle : -1;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return -1;
}
