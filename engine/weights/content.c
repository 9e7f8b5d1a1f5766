/* content.c - one weights file. The format is told by content, because names in the wild lie: .pth, .pt, .ckpt, .bin and .pth.tar
 * are all the same containers. */
#include "engine/weights/internal.h"

#include <string.h>

static bool starts_with(const ts_weights *w, const char *magic, size_t length)
{
    return w->size >= length && memcmp(w->bytes, magic, length) == 0;
}

bool ts_weights_read(ts_weights *w, ts_error *err)
{
    if (!w->size) return ts_fail(err, TS_ERR_FORMAT, "'%s' is empty; a weights file was expected", w->path);
    if (starts_with(w, "PK\3\4", 4)) return ts_torch_zip_read(w, err);
    if (starts_with(w, "PK\5\6", 4))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is an empty zip archive: it holds no tensors", w->path);
    if (ts_torch_is_legacy(w->bytes, w->size)) return ts_torch_legacy_read(w, err);
    if (ts_torch_is_tar(w)) return ts_torch_tar_read(w, err);
    if (w->size > 8 && w->bytes[8] == '{' && !starts_with(w, "{", 1)) return ts_safetensors_read(w, err);
    return ts_foreign_file(w, err);
}

bool ts_weights_map(ts_weights *w, ts_error *err)
{
    ts_mapping *map = ts_mapping_open(w->path, err);
    if (!map) return false;
    w->file = map;
    w->bytes = map->bytes;
    w->size = map->size;
    if (ts_weights_take_map(w, &map, err)) return true;
    ts_mapping_free(map);
    return false;
}

ts_weights *ts_weights_open_part(const char *path, ts_error *err)
{
    ts_weights *w = ts_weights_new(path, err);
    if (!w) return NULL;
    if (ts_weights_map(w, err) && ts_weights_read(w, err) && ts_weights_index(w, err)) return w;
    ts_weights_free(w);
    return NULL;
}
