/* cache.c - the features of a folder's pictures in a file there, so that a second search encodes only what is new. It is
 * safetensors, with the model's identity in the metadata "tessera.clip":
 *
 *   features (count, embed) F32    size, mtime (count) I64    names U8, sorted, each ended by a zero byte
 *
 * Names are bytes and not JSON, because a file's name may be any bytes and a header has room for some ten thousands of them. The
 * file is as untrusted as any other; whatever is odd about it, the features are made anew. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/clip.h"

#define META_KEY "tessera.clip"

void ts_clip_cache_clear(ts_clip_cache *c)
{
    free(c->name);
    free(c->size);
    free(c->mtime);
    free(c->features);
    free(c->names);
    *c = (ts_clip_cache){0};
}

/* Points `name` at the parts of `names`; they must be as many as the entries, and sorted, as they are written. */
static bool find_names(ts_clip_cache *c, int64_t bytes)
{
    int64_t at = 0;
    if (bytes > 0 && c->names[bytes - 1] != '\0') return false;
    for (int64_t i = 0; i < c->count; i++) {
        if (at >= bytes) return false;
        c->name[i] = c->names + at;
        if (i && strcmp(c->name[i - 1], c->name[i]) >= 0) return false;
        at += (int64_t)strlen(c->name[i]) + 1;
    }
    return at == bytes;
}

static bool are_unit(const ts_clip_cache *c)
{
    for (int64_t i = 0; i < c->count; i++) {
        double sum = 0;
        for (int e = 0; e < c->embed; e++) {
            const double x = (double)c->features[i * c->embed + e];
            sum += x * x;
        }
        if (!(fabs(sum - 1) < 0.01)) return false;
    }
    return true;
}

static bool take(const ts_weights *w, ts_clip_cache *c, ts_error *err)
{
    const ts_weight *features = ts_weights_find(w, "features"), *size = ts_weights_find(w, "size"),
                    *mtime = ts_weights_find(w, "mtime"), *names = ts_weights_find(w, "names");
    if (!features || !size || !mtime || !names || features->ndim != 2 || features->dtype != TS_DT_F32 ||
        features->shape[1] != c->embed || size->count != features->shape[0] || mtime->count != features->shape[0] ||
        names->dtype != TS_DT_U8 || !names->contiguous)
        return ts_fail(err, TS_ERR_FORMAT, "%s is not a cache of features", ts_weights_path(w));
    c->count = features->shape[0];
    c->features = malloc((size_t)features->count * sizeof *c->features + 1);
    c->size = malloc((size_t)c->count * sizeof *c->size + 1);
    c->mtime = malloc((size_t)c->count * sizeof *c->mtime + 1);
    c->name = malloc((size_t)c->count * sizeof *c->name + 1);
    c->names = malloc((size_t)names->count + 1);
    if (!c->features || !c->size || !c->mtime || !c->name || !c->names) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    memcpy(c->names, names->data, (size_t)names->count);
    if (!ts_weight_to_f32(features, c->features, err) || !ts_weight_to_i64(size, c->size, err) ||
        !ts_weight_to_i64(mtime, c->mtime, err))
        return false;
    if (find_names(c, names->count) && are_unit(c)) return true;
    return ts_fail(err, TS_ERR_FORMAT, "%s is broken", ts_weights_path(w));
}

void ts_clip_cache_read(const char *path, const char *identity, int embed, ts_clip_cache *out, ts_error *why)
{
    *out = (ts_clip_cache){.embed = embed};
    if (access(path, F_OK) != 0) return;
    ts_weights *w = ts_weights_open(path, why);
    const char *made_by = w ? ts_weights_meta(w, META_KEY) : NULL;
    bool ok = w != NULL;
    if (ok && (!made_by || strcmp(made_by, identity) != 0))
        ok = ts_fail(why, TS_ERR_FORMAT, "%s was made with another model or precision", path);
    ok = ok && take(w, out, why);
    ts_weights_free(w);
    if (ok) return;
    ts_clip_cache_clear(out);
    out->embed = embed;
}

bool ts_clip_cache_write(const char *path, const char *identity, const ts_clip_cache *c, ts_error *err)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < c->count; i++) bytes += strlen(c->name[i]) + 1;
    char *names = malloc(bytes + 1), *to = names;
    ts_weights_writer *w = ts_weights_writer_new();
    for (int64_t i = 0; to && i < c->count; i++) to = stpcpy(to, c->name[i]) + 1;
    bool ok = (names && w) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (w) ts_weights_writer_private(w); /* it tells of somebody's pictures */
    const int64_t count = c->count, shape[2] = {count, c->embed}, length = (int64_t)bytes;
    ok = ok && ts_weights_writer_meta(w, META_KEY, identity, err) &&
         ts_weights_writer_add(w, "features", TS_DT_F32, 2, shape, c->features, err) &&
         ts_weights_writer_add(w, "size", TS_DT_I64, 1, &count, c->size, err) &&
         ts_weights_writer_add(w, "mtime", TS_DT_I64, 1, &count, c->mtime, err) &&
         ts_weights_writer_add(w, "names", TS_DT_U8, 1, &length, names, err) && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(names);
    return ok;
}

int64_t ts_clip_cache_find(const ts_clip_cache *c, const char *name, int64_t size, int64_t mtime)
{
    int64_t low = 0, high = c->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, c->name[middle]);
        if (order == 0) return c->size[middle] == size && c->mtime[middle] == mtime ? middle : -1;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return -1;
}
