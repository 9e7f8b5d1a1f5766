/* config.c - a SAM's architecture, read off its tensors. Depths are told by the highest number in a name, so that a missing
 * tensor gives an error with its name and not a smaller model. */
#include "sam/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "kinds/kinds.h"

enum {
    MAX_EMBEDDING = 1 << 24, /* of positions and of the map; the published ones have 2^20 */
    MAX_WIDTH = 1 << 14,
    MAX_SIDE = 256,
    MIN_PATCH = 4,
    MAX_PATCH = 64,
    MAX_PICTURE = 4096,
    MAX_DECODER_DEPTH = 16,
    HEADS = TS_SAM_DECODER_HEADS
};

typedef struct {
    const ts_weights *w;
    bool hugging_face;
    ts_error *err;
} reader;

/* The tensor of that name, which must have so many dimensions. */
static const ts_weight *telling(const reader *r, const char *name, int ndim)
{
    const ts_weight *t = ts_sam_find(r->w, r->hugging_face, name);
    const sam_name theirs = ts_sam_name(r->hugging_face, name);
    if (!t) {
        ts_fail(r->err, TS_ERR_FORMAT, "%s: tensor %s is missing, which tells the model's architecture", ts_weights_path(r->w),
                theirs.s);
        return NULL;
    }
    if (t->ndim == ndim) return t;
    ts_fail(r->err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a SAM's has %d", ts_weights_path(r->w), theirs.s, t->ndim,
            ndim);
    return NULL;
}

/* Dimension `dim` of a tensor of `ndim`, from 1 to `most`. */
static bool read_dim(const reader *r, const char *name, int ndim, int dim, int most, int *out)
{
    const ts_weight *t = telling(r, name, ndim);
    if (!t) return false;
    if (t->shape[dim] < 1 || t->shape[dim] > most)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible",
                       ts_weights_path(r->w), dim, ts_sam_name(r->hugging_face, name).s, t->shape[dim], most);
    *out = (int)t->shape[dim];
    return true;
}

/* How many there are of `prefix` 0, 1, ..., at most `most`. */
static bool read_depth(const reader *r, const char *prefix, int most, int *out)
{
    const sam_name theirs = ts_sam_name(r->hugging_face, prefix);
    const int64_t depth = ts_weights_numbered(r->w, theirs.s);
    if (depth < 1 || depth > most)
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the model has %" PRId64 " blocks (%s*), 1 to %d are possible",
                       ts_weights_path(r->w), depth, theirs.s, most);
    *out = (int)depth;
    return true;
}

/* A block that looks at the whole map has a table of 2 side - 1 rows, one with windows of 2 window - 1. */
static bool read_windows(const reader *r, ts_sam_config *c)
{
    for (int i = 0; i < c->depth; i++) {
        char name[64];
        int rows = 0;
        snprintf(name, sizeof name, "image_encoder.blocks.%d.attn.rel_pos_h", i);
        if (!read_dim(r, name, 2, 0, 2 * MAX_SIDE, &rows)) return false;
        if (rows == 2 * c->side - 1) {
            c->whole |= (uint64_t)1 << i;
            continue;
        }
        const int window = (rows + 1) / 2;
        if (rows % 2 == 0 || window >= c->side || (c->window > 0 && window != c->window))
            return ts_fail(r->err, TS_ERR_SHAPE,
                           "%s: tensor %s has %d rows, wanted %d for the whole map, or those of one size of windows",
                           ts_weights_path(r->w), ts_sam_name(r->hugging_face, name).s, rows, 2 * c->side - 1);
        c->window = window;
    }
    return true;
}

static bool read_heads(const reader *r, ts_sam_config *c)
{
    int dim = 0;
    if (!read_dim(r, "image_encoder.blocks.0.attn.rel_pos_h", 2, 1, MAX_WIDTH, &dim)) return false;
    if (dim < 1 || c->width % dim != 0)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: heads of %d numbers do not divide the encoder's width of %d",
                       ts_weights_path(r->w), dim, c->width);
    c->heads = c->width / dim;
    return true;
}

static bool read_encoder(const reader *r, ts_sam_config *c)
{
    int patch_rows = 0, columns = 0;
    if (!read_dim(r, "image_encoder.pos_embed", 4, 1, MAX_SIDE, &c->side) ||
        !read_dim(r, "image_encoder.pos_embed", 4, 2, MAX_SIDE, &columns) ||
        !read_dim(r, "image_encoder.pos_embed", 4, 3, MAX_WIDTH, &c->width) ||
        !read_dim(r, "image_encoder.patch_embed.proj.weight", 4, 2, MAX_PATCH, &patch_rows) ||
        !read_dim(r, "image_encoder.patch_embed.proj.weight", 4, 3, MAX_PATCH, &c->patch) ||
        !read_depth(r, "image_encoder.blocks.", TS_SAM_MAX_DEPTH, &c->depth) ||
        !read_dim(r, "image_encoder.blocks.0.mlp.lin1.weight", 2, 0, 8 * MAX_WIDTH, &c->mlp))
        return false;
    if (patch_rows != c->patch || c->patch < MIN_PATCH || columns != c->side)
        return ts_fail(
            r->err, TS_ERR_SHAPE,
            "%s: %d x %d patches of %d x %d pixels, wanted square ones of %d pixels or more, as many in both directions",
            ts_weights_path(r->w), columns, c->side, c->patch, patch_rows, MIN_PATCH);
    c->picture = c->side * c->patch;
    if (c->picture > MAX_PICTURE)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: it sees pictures of %d pixels a side, at most %d are possible",
                       ts_weights_path(r->w), c->picture, MAX_PICTURE);
    return read_heads(r, c) && read_windows(r, c);
}

static bool read_decoder(const reader *r, ts_sam_config *c)
{
    const char *const inner = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight";
    if (!read_dim(r, "image_encoder.neck.0.weight", 4, 0, MAX_WIDTH, &c->embed) ||
        !read_dim(r, "prompt_encoder.mask_downscaling.0.weight", 4, 0, MAX_WIDTH, &c->prior[0]) ||
        !read_dim(r, "prompt_encoder.mask_downscaling.3.weight", 4, 0, MAX_WIDTH, &c->prior[1]) ||
        !read_depth(r, "mask_decoder.transformer.layers.", MAX_DECODER_DEPTH, &c->decoder_depth) ||
        !read_dim(r, inner, 2, 0, MAX_WIDTH, &c->decoder_inner) ||
        !read_dim(r, "mask_decoder.transformer.layers.0.mlp.lin1.weight", 2, 0, 8 * MAX_WIDTH, &c->decoder_mlp) ||
        !read_dim(r, "mask_decoder.mask_tokens.weight", 2, 0, TS_SAM_MAX_MASKS, &c->masks) ||
        !read_dim(r, "mask_decoder.output_upscaling.0.weight", 4, 1, MAX_WIDTH, &c->upscaled[0]) ||
        !read_dim(r, "mask_decoder.output_upscaling.3.weight", 4, 1, MAX_WIDTH, &c->upscaled[1]) ||
        !read_dim(r, "mask_decoder.iou_prediction_head.layers.0.weight", 2, 0, MAX_WIDTH, &c->score_width))
        return false;
    if (c->embed % HEADS != 0 || c->decoder_inner % HEADS != 0)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: %d heads do not divide the decoder's widths of %d and %d",
                       ts_weights_path(r->w), HEADS, c->embed, c->decoder_inner);
    if (c->masks < 2)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: the decoder gives 1 mask, wanted one and those for an ambiguous prompt",
                       ts_weights_path(r->w));
    c->low = 4 * c->side;
    if ((int64_t)c->side * c->side * c->embed > MAX_EMBEDDING)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: an embedding of %d x %d places of %d numbers is more than %d numbers",
                       ts_weights_path(r->w), c->side, c->side, c->embed, MAX_EMBEDDING);
    return true;
}

bool ts_sam_config_read(const ts_weights *w, ts_sam_config *out, ts_error *err)
{
    *out = (ts_sam_config){0};
    if (!ts_kind_expect(w, TS_KIND_SAM, err)) return false;
    if (ts_kind_of(w) != TS_KIND_SAM)
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no SAM: it has no tensors prompt_encoder.* and mask_decoder.*",
                       ts_weights_path(w));
    out->hugging_face = ts_weights_find(w, "vision_encoder.pos_embed") != NULL;
    const reader r = {w, out->hugging_face, err};
    return read_encoder(&r, out) && read_decoder(&r, out);
}

const char *ts_sam_title(const ts_sam_config *c, char *out, size_t room)
{
    static const struct {
        int width, depth;
        char letter;
    } known[] = {{768, 12, 'B'}, {1024, 24, 'L'}, {1280, 32, 'H'}};
    snprintf(out, room, "SAM");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].width == c->width && known[i].depth == c->depth) snprintf(out, room, "SAM ViT-%c", known[i].letter);
    return out;
}
