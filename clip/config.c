/* config.c - a CLIP's architecture, read off its tensors. Depths are told by the highest number in a name, so that a missing
 * tensor gives an error with its name and not a smaller model. What stands in no shape is told.c's. */
#include "clip/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

enum { MAX_WIDTH = 1 << 14, MAX_LAYERS = 256, MAX_SIDE = 512, MAX_IMAGE = 8192, MAX_CONTEXT = 4096, MAX_VOCABULARY = 1 << 22 };

typedef struct {
    const ts_weights *w;
    clip_layout layout;
    ts_error *err;
} reader;

/* Dimension `dim` of a tensor of `ndim`, of at most `most`. */
static bool read_dim(const reader *r, const char *name, int ndim, int dim, int most, int *out)
{
    clip_source source;
    ts_clip_source(r->layout, name, &source);
    const char *path = ts_weights_path(r->w);
    const ts_weight *t = ts_weights_find(r->w, source.name[0]);
    if (!t) return ts_weights_lack(r->w, source.name[0], "the model's", r->err);
    if (t->ndim != ndim)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a CLIP's has %d", path, source.name[0], t->ndim,
                       ndim);
    if (source.turned) dim = ndim - 1 - dim;
    if (t->shape[dim] < 1 || t->shape[dim] > most)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible", path, dim,
                       source.name[0], t->shape[dim], most);
    *out = (int)t->shape[dim];
    return true;
}

static bool read_depth(const reader *r, const char *prefix, int *out)
{
    clip_source source;
    char first[64], number[] = ".0.ln_1.weight";
    snprintf(first, sizeof first, "%s%s", prefix, number);
    ts_clip_source(r->layout, first, &source);
    char *at = strstr(source.name[0], ".0."); /* what stands before the number */
    if (at) at[1] = '\0';
    const int64_t depth = ts_weights_numbered(r->w, source.name[0]);
    if (depth < 1 || depth > MAX_LAYERS)
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the model has %" PRId64 " blocks (%s*), 1 to %d are possible",
                       ts_weights_path(r->w), depth, source.name[0], MAX_LAYERS);
    *out = (int)depth;
    return true;
}

/* Pixels a side, from the number of positions: 1 + patches of a square. */
static bool read_image(const reader *r, int patch, int *out)
{
    int places = 0, side;
    if (!read_dim(r, "visual.positional_embedding", 2, 0, 1 + MAX_SIDE * MAX_SIDE, &places)) return false;
    for (side = 1; side <= MAX_SIDE && side * side != places - 1; side++) {}
    if (side > MAX_SIDE || side > MAX_IMAGE / patch)
        return ts_fail(r->err, TS_ERR_SHAPE,
                       "%s: there are %d positions for patches of %d pixels, wanted 1 + those of a square of at most %d pixels",
                       ts_weights_path(r->w), places, patch, MAX_IMAGE);
    *out = side * patch;
    return true;
}

/* ---- the whole ---- */

/* Whether it is a CLIP at all, and of a kind that we have. */
static bool check_kind(const reader *r)
{
    char has[320];
    if (!ts_kind_expect(r->w, TS_KIND_CLIP, r->err)) return false;
    return ts_kind_of(r->w) == TS_KIND_CLIP || ts_fail(r->err, TS_ERR_FORMAT,
                                                       "%s holds no CLIP: it has no towers visual.* and transformer.*, nor "
                                                       "vision_model.* and text_model.*; its names begin with %s",
                                                       ts_weights_path(r->w), ts_weights_prefixes(r->w, has, sizeof has));
}

bool ts_clip_config_read(const ts_weights *w, const ts_clip_told *told, ts_clip_config *out, ts_error *err)
{
    *out = (ts_clip_config){0};
    const reader r = {w, ts_clip_layout_of(w), err};
    int patch_rows = 0;
    if (!check_kind(&r) || !read_dim(&r, "visual.conv1.weight", 4, 0, MAX_WIDTH, &out->width) ||
        !read_dim(&r, "visual.conv1.weight", 4, 2, MAX_IMAGE, &patch_rows) ||
        !read_dim(&r, "visual.conv1.weight", 4, 3, MAX_IMAGE, &out->patch) || !read_image(&r, out->patch, &out->image) ||
        !read_depth(&r, "visual.transformer.resblocks", &out->layers) ||
        !read_dim(&r, "visual.transformer.resblocks.0.mlp.c_fc.weight", 2, 0, 8 * MAX_WIDTH, &out->mlp) ||
        !read_dim(&r, "positional_embedding", 2, 0, MAX_CONTEXT, &out->context) ||
        !read_dim(&r, "positional_embedding", 2, 1, MAX_WIDTH, &out->text_width) ||
        !read_depth(&r, "transformer.resblocks", &out->text_layers) ||
        !read_dim(&r, "transformer.resblocks.0.mlp.c_fc.weight", 2, 0, 8 * MAX_WIDTH, &out->text_mlp) ||
        !read_dim(&r, "token_embedding.weight", 2, 0, MAX_VOCABULARY, &out->vocabulary) ||
        !read_dim(&r, "text_projection.weight", 2, 0, MAX_WIDTH, &out->embed))
        return false;
    if (patch_rows != out->patch)
        return ts_fail(err, TS_ERR_SHAPE, "%s: patches of %d x %d pixels, wanted square ones", ts_weights_path(w), patch_rows,
                       out->patch);
    return ts_clip_check(w, out, err) && ts_clip_read_told(w, told, out, err);
}
