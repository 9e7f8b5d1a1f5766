/* config.c - the masked autoencoder's architecture, read off its tensors. Depths are told by the highest number in a name, so
 * that a missing tensor gives an error with its name and not a smaller model. Only the number of heads stands in no shape. */
#include "engine/number.h"
#include "mae/mae.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

enum { MAX_WIDTH = 1 << 16, MAX_SIDE = 1024 };

static const ts_weight *telling(const ts_weights *w, const char *name, int ndim, ts_error *err)
{
    const ts_weight *t = ts_weights_find(w, name);
    if (!t) {
        ts_weights_lack(w, name, "the model's", err);
        return NULL;
    }
    if (t->ndim == ndim) return t;
    ts_fail(err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a masked autoencoder's has %d", ts_weights_path(w), name,
            t->ndim, ndim);
    return NULL;
}

/* A dimension of a tensor that tells the architecture. */
static bool read_dim(const ts_weights *w, const char *name, int ndim, int dim, int *out, ts_error *err)
{
    const ts_weight *t = telling(w, name, ndim, err);
    if (!t) return false;
    if (t->shape[dim] < 1 || t->shape[dim] > MAX_WIDTH)
        return ts_fail(err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible",
                       ts_weights_path(w), dim, name, t->shape[dim], MAX_WIDTH);
    *out = (int)t->shape[dim];
    return true;
}

static bool read_depth(const ts_weights *w, const char *prefix, int *out, ts_error *err)
{
    int64_t depth = ts_weights_numbered(w, prefix);
    if (depth < 1 || depth > TS_MAE_MAX_DEPTH)
        return ts_fail(err, TS_ERR_FORMAT, "%s: the model has %" PRId64 " blocks (%s*), 1 to %d are possible", ts_weights_path(w),
                       depth, prefix, TS_MAE_MAX_DEPTH);
    *out = (int)depth;
    return true;
}

/* pos_embed is (1, 1 + side^2, dim). */
static bool read_side(const ts_weights *w, int *side, ts_error *err)
{
    const ts_weight *t = telling(w, "pos_embed", 3, err);
    if (!t) return false;
    int64_t patches = t->shape[1] - 1;
    for (*side = 1; *side <= MAX_SIDE; (*side)++)
        if ((int64_t)*side * *side == patches) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s: pos_embed has %" PRId64 " rows, wanted 1 + the square of at most %d patches a side",
                   ts_weights_path(w), t->shape[1], MAX_SIDE);
}

/* The published models' heads; 0: not a published width. */
static int published_heads(int width)
{
    if (width == 1280 || width == 1024 || width == 512) return 16;
    if (width == 768 || width == 384) return 12;
    return 0;
}

/* A number from 1 to `most` that the metadata says; 0 where they do not. */
static bool read_count(const ts_weights *w, const char *key, int most, int *out, ts_error *err)
{
    const char *meta = ts_weights_meta(w, key);
    *out = 0;
    if (meta && !ts_int_read(meta, 1, most, out))
        return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says %s = '%.40s', wanted a number from 1 to %d", ts_weights_path(w),
                       key, meta, most);
    return true;
}

static bool choose_heads(const ts_weights *w, int told, const char *key, const char *option, const char *part, int width,
                         bool optional, int *out, ts_error *err)
{
    const char *path = ts_weights_path(w);
    *out = told;
    if (told == 0 && !read_count(w, key, width, out, err)) return false;
    if (*out == 0) *out = published_heads(width);
    if (*out == 0 && optional) return true;
    if (*out == 0)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "%s: nothing tells the %s's number of attention heads (it is %d wide, and no published model is): give %s N", path,
            part, width, option);
    if (*out < 1 || *out > width || width % *out != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: %d heads do not divide the %s's width of %d (%s)", path, *out, part, width,
                       option);
    return true;
}

/* How many example pairs its canvases had in training, where the file says it. */
static bool read_examples(const ts_weights *w, ts_mae_config *out, ts_error *err)
{
    const char *meta = ts_weights_meta(w, "examples");
    if (!meta || ts_grid_examples_read(meta, TS_GRID_MAX_EXAMPLES, &out->least_examples, &out->most_examples)) return true;
    return ts_fail(err, TS_ERR_FORMAT,
                   "%s: the metadata says examples = '%.40s', wanted a number from 1 to %d, or a range as 1..2",
                   ts_weights_path(w), meta, TS_GRID_MAX_EXAMPLES);
}

int ts_mae_pairs_on_canvas(const ts_mae_config *c, int pairs)
{
    const int most = c->most_examples ? c->most_examples : TS_GRID_MAX_EXAMPLES;
    return pairs < c->least_examples ? c->least_examples : pairs < most ? pairs : most;
}

static bool read_blend(const ts_weights *w, double *out, ts_error *err)
{
    const char *meta = ts_weights_meta(w, "blend");
    *out = 0;
    if (!meta || (ts_real_read(meta, out) && *out >= 0 && *out <= TS_MAE_MAX_BLEND)) return true;
    return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says blend = '%.40s', wanted a number from 0 to %d", ts_weights_path(w),
                   meta, TS_MAE_MAX_BLEND);
}

bool ts_mae_config_read(const ts_weights *w, int heads, int decoder_heads, bool heads_optional, ts_mae_config *out, ts_error *err)
{
    *out = (ts_mae_config){0};
    int patch_rows = 0;
    if (!ts_kind_expect(w, TS_KIND_MAE_VQGAN, err) || !read_dim(w, "patch_embed.proj.weight", 4, 0, &out->dim, err) ||
        !read_dim(w, "patch_embed.proj.weight", 4, 2, &patch_rows, err) ||
        !read_dim(w, "patch_embed.proj.weight", 4, 3, &out->patch, err) || !read_side(w, &out->side, err) ||
        !read_depth(w, "blocks.", &out->depth, err) || !read_dim(w, "blocks.0.mlp.fc1.weight", 2, 0, &out->mlp, err) ||
        !read_dim(w, "decoder_embed.weight", 2, 0, &out->decoder_dim, err) ||
        !read_depth(w, "decoder_blocks.", &out->decoder_depth, err) ||
        !read_dim(w, "decoder_blocks.0.mlp.fc1.weight", 2, 0, &out->decoder_mlp, err) ||
        !read_dim(w, "decoder_pred.weight", 2, 0, &out->codes, err) || !read_examples(w, out, err) ||
        !read_blend(w, &out->blend, err) || !read_count(w, "views", TS_GRID_VIEWS, &out->views, err))
        return false;
    enum { MAX_CANVAS = 8192 };
    if (patch_rows != out->patch || out->patch > MAX_CANVAS / out->side)
        return ts_fail(err, TS_ERR_SHAPE,
                       "%s: patches of %d x %d pixels, %d a side: wanted square ones and a canvas of at most %d",
                       ts_weights_path(w), patch_rows, out->patch, out->side, MAX_CANVAS);
    return choose_heads(w, heads, "heads", "--heads", "encoder", out->dim, heads_optional, &out->heads, err) &&
           choose_heads(w, decoder_heads, "decoder_heads", "--decoder-heads", "decoder", out->decoder_dim, heads_optional,
                        &out->decoder_heads, err);
}

bool ts_mae_check_codes(const ts_weights *w, const ts_mae_config *mae, const ts_weights *vqgan_file, const ts_vqgan_config *vqgan,
                        ts_error *err)
{
    if (vqgan->codes == mae->codes) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s predicts %d codes, but the VQGAN of %s has %d", ts_weights_path(w), mae->codes,
                   ts_weights_path(vqgan_file), vqgan->codes);
}
