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
    MAX_WINDOW = 32,     /* of a TinyViT, whose windows' pairs of places have a bias each; published ones have 7 and 14 */
    TINY_PICTURE = 1024, /* which no tensor tells */
    TINY_PATCH = 16,
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

/* The attention of a TinyViT's stage: as many biases a head as a window has places. */
static bool read_attention(const reader *r, const char *block, ts_sam_stage *s)
{
    char name[128];
    int places = 0;
    snprintf(name, sizeof name, "%sattn.attention_biases", block);
    if (!read_dim(r, name, 2, 0, MAX_WIDTH, &s->heads) || !read_dim(r, name, 2, 1, MAX_WINDOW * MAX_WINDOW, &places))
        return false;
    while (s->window * s->window < places) s->window++;
    if (s->window * s->window != places)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: tensor %s has %d columns, wanted those of a square window",
                       ts_weights_path(r->w), name, places);
    snprintf(name, sizeof name, "%sattn.proj.weight", block);
    if (!read_dim(r, name, 2, 0, MAX_WIDTH, &s->width)) return false;
    if (s->width % s->heads != 0)
        return ts_fail(r->err, TS_ERR_SHAPE, "%s: %d heads do not divide a width of %d (%s)", ts_weights_path(r->w), s->heads,
                       s->width, name);
    snprintf(name, sizeof name, "%smlp.fc1.weight", block);
    return read_dim(r, name, 2, 0, 8 * MAX_WIDTH, &s->inner);
}

/* MobileSAM's encoder. */
static bool read_tiny(const reader *r, ts_sam_config *c)
{
    const char *const first = "image_encoder.layers.0.blocks.0.conv1.c.weight";
    int stages = 0;
    if (!read_depth(r, "image_encoder.layers.", TS_SAM_MAX_DEPTH, &stages)) return false;
    if (stages != TS_SAM_STAGES)
        return ts_fail(r->err, TS_ERR_FORMAT, "%s: the encoder has %d stages (image_encoder.layers.*), a MobileSAM's has %d",
                       ts_weights_path(r->w), stages, TS_SAM_STAGES);
    if (!read_dim(r, "image_encoder.patch_embed.seq.0.c.weight", 4, 0, MAX_WIDTH, &c->stem) ||
        !read_dim(r, first, 4, 1, MAX_WIDTH, &c->stage[0].width) || !read_dim(r, first, 4, 0, 8 * MAX_WIDTH, &c->stage[0].inner))
        return false;
    for (int i = 0; i < TS_SAM_STAGES; i++) {
        char prefix[64], block[80];
        snprintf(prefix, sizeof prefix, "image_encoder.layers.%d.blocks.", i);
        snprintf(block, sizeof block, "%s0.", prefix);
        if (!read_depth(r, prefix, TS_SAM_MAX_DEPTH, &c->stage[i].blocks) || (i > 0 && !read_attention(r, block, &c->stage[i])))
            return false;
        c->depth += c->stage[i].blocks;
    }
    c->tiny = true;
    c->width = c->stage[TS_SAM_STAGES - 1].width;
    c->picture = TINY_PICTURE;
    c->patch = TINY_PATCH;
    c->side = c->picture / c->patch;
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
    const ts_kind kind = ts_kind_of(w);
    if (kind != TS_KIND_SAM && kind != TS_KIND_MOBILE_SAM)
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no SAM: it has no tensors prompt_encoder.* and mask_decoder.*",
                       ts_weights_path(w));
    out->hugging_face = ts_weights_find(w, "vision_encoder.pos_embed") != NULL;
    const reader r = {w, out->hugging_face, err};
    return (kind == TS_KIND_MOBILE_SAM ? read_tiny(&r, out) : read_encoder(&r, out)) && read_decoder(&r, out);
}

const char *ts_sam_title(const ts_sam_config *c, char *out, size_t room)
{
    static const struct {
        int width, depth;
        char letter;
    } known[] = {{768, 12, 'B'}, {1024, 24, 'L'}, {1280, 32, 'H'}};
    snprintf(out, room, c->tiny ? "MobileSAM" : "SAM");
    for (size_t i = 0; !c->tiny && i < sizeof known / sizeof *known; i++)
        if (known[i].width == c->width && known[i].depth == c->depth) snprintf(out, room, "SAM ViT-%c", known[i].letter);
    return out;
}

const char *ts_sam_words(const ts_sam_config *c, char *out, size_t room)
{
    const ts_sam_stage *s = c->stage;
    char encoder[256];
    int whole = 0;
    for (int i = 0; i < TS_SAM_MAX_DEPTH; i++) whole += (int)(c->whole >> i & 1);
    if (c->tiny)
        snprintf(
            encoder, sizeof encoder,
            "TinyViT, stages %d, %d, %d, %d wide, %d, %d, %d, %d blocks, windows of %d, %d, %d from the second on, picture %d",
            s[0].width, s[1].width, s[2].width, s[3].width, s[0].blocks, s[1].blocks, s[2].blocks, s[3].blocks, s[1].window,
            s[2].window, s[3].window, c->picture);
    else
        snprintf(encoder, sizeof encoder,
                 "%d wide, %d blocks (%d of the whole picture, else windows of %d), %d heads, patch %d, picture %d", c->width,
                 c->depth, whole, c->window, c->heads, c->patch, c->picture);
    snprintf(out, room, "encoder: %s\ndecoder: %d wide, %d layers, %d masks of %d x %d", encoder, c->embed, c->decoder_depth,
             c->masks, c->low, c->low);
    return out;
}
