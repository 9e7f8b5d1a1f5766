/* config.c - the architecture of a Painter or SegGPT, read off its tensors, and what those are called in the two layouts that
 * such files come in. */
#include "painter/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 16, MAX_HEAD = 1 << 24, MAX_POSITIONS = 256, DEPTH = 24 };

/* ---- names ---- */

static const painter_names AUTHORS = {.patches = "patch_embed.proj",
                                      .positions = "pos_embed",
                                      .mask = "mask_token",
                                      .picture = "segment_token_x",
                                      .target = "segment_token_y",
                                      .semantic = "type_token_cls",
                                      .instance = "type_token_ins",
                                      .blocks = "blocks",
                                      .norm = "norm",
                                      .embed = "decoder_embed",
                                      .conv = "decoder_pred.0",
                                      .conv_norm = "decoder_pred.1",
                                      .last = "decoder_pred.3"};

static const painter_names HUGGING_FACE = {.patches = "embeddings.patch_embeddings.projection",
                                           .positions = "embeddings.position_embeddings",
                                           .mask = "embeddings.mask_token",
                                           .picture = "embeddings.segment_token_input",
                                           .target = "embeddings.segment_token_prompt",
                                           .semantic = "embeddings.type_token_semantic",
                                           .instance = "embeddings.type_token_instance",
                                           .blocks = "encoder.layers",
                                           .norm = "encoder.layernorm",
                                           .embed = "decoder.decoder_embed",
                                           .conv = "decoder.decoder_pred.conv",
                                           .conv_norm = "decoder.decoder_pred.layernorm",
                                           .last = "decoder.decoder_pred.head"};

static const ts_vit_names AUTHORS_BLOCK = {
    .norm1 = "norm1", .qkv = "attn.qkv", .proj = "attn.proj", .norm2 = "norm2", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2"};

/* The MLP has been called both ways there. */
static const ts_vit_names HUGGING_FACE_BLOCK = {.norm1 = "layernorm_before",
                                                .qkv = "attention.qkv",
                                                .proj = "attention.proj",
                                                .norm2 = "layernorm_after",
                                                .fc1 = "mlp.fc1",
                                                .fc2 = "mlp.fc2",
                                                .rel_h = "attention.rel_pos_h",
                                                .rel_w = "attention.rel_pos_w"};
static const ts_vit_names HUGGING_FACE_BLOCK_LIN = {.norm1 = "layernorm_before",
                                                    .qkv = "attention.qkv",
                                                    .proj = "attention.proj",
                                                    .norm2 = "layernorm_after",
                                                    .fc1 = "mlp.lin1",
                                                    .fc2 = "mlp.lin2",
                                                    .rel_h = "attention.rel_pos_h",
                                                    .rel_w = "attention.rel_pos_w"};

painter_layout ts_painter_layout_of(const ts_weights *w)
{
    const bool inside = ts_weights_find(w, "model.embeddings.segment_token_input") != NULL;
    painter_layout l = {&HUGGING_FACE, &HUGGING_FACE_BLOCK, inside ? "model." : ""};
    if (!inside && !ts_weights_find(w, "embeddings.segment_token_input")) return (painter_layout){&AUTHORS, &AUTHORS_BLOCK, ""};
    if (ts_weights_find(w, ts_painter_name(&l, "encoder.layers.0.mlp.lin1.weight").s)) l.block = &HUGGING_FACE_BLOCK_LIN;
    return l;
}

painter_name ts_painter_name(const painter_layout *l, const char *part)
{
    painter_name name;
    snprintf(name.s, sizeof name.s, "%s%s", l->front, part);
    return name;
}

/* ---- sizes ---- */

/* A dimension of a tensor that tells the architecture. */
static bool read_dim(const ts_weights *w, const char *name, int ndim, int dim, int most, int *out, ts_error *err)
{
    const ts_weight *t = ts_weights_find(w, name);
    if (!t) {
        ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing, which tells the model's architecture", ts_weights_path(w), name);
        return false;
    }
    if (t->ndim != ndim) {
        ts_fail(err, TS_ERR_SHAPE, "%s: tensor %s has %d dimensions, a Painter's or SegGPT's has %d", ts_weights_path(w), name,
                t->ndim, ndim);
        return false;
    }
    if (t->shape[dim] < 1 || t->shape[dim] > most) {
        ts_fail(err, TS_ERR_SHAPE, "%s: dimension %d of tensor %s is %" PRId64 ", 1 to %d are possible", ts_weights_path(w), dim,
                name, t->shape[dim], most);
        return false;
    }
    *out = (int)t->shape[dim];
    return true;
}

typedef struct {
    const ts_weights *w;
    painter_layout layout;
} reader;

/* Of a layer that stands before the head. */
static bool read_layer(const reader *r, const char *layer, const char *part, int ndim, int dim, int most, int *out, ts_error *err)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s%s", r->layout.front, layer, part);
    return read_dim(r->w, name, ndim, dim, most, out, err);
}

/* Of the first block. */
static bool read_block(const reader *r, const char *layer, const char *part, int dim, int *out, ts_error *err)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s.0.%s%s", r->layout.front, r->layout.names->blocks, layer, part);
    return read_dim(r->w, name, 2, dim, MAX_WIDTH, out, err);
}

/* The canvas is told by the tables of relative positions, 2 rows - 1 and 2 columns - 1 long. */
static bool read_side(const reader *r, ts_painter_config *c, ts_error *err)
{
    int down = 0, across = 0, each = 0;
    const char *rel_h = r->layout.block->rel_h ? r->layout.block->rel_h : "attn.rel_pos_h";
    const char *rel_w = r->layout.block->rel_w ? r->layout.block->rel_w : "attn.rel_pos_w";
    if (!read_block(r, rel_h, "", 0, &down, err) || !read_block(r, rel_h, "", 1, &each, err) ||
        !read_block(r, rel_w, "", 0, &across, err))
        return false;
    const int rows = (down + 1) / 2, columns = (across + 1) / 2;
    if (down % 2 == 0 || across % 2 == 0 || rows != 2 * columns || columns > TS_PAINTER_MAX_SIDE / c->patch)
        return ts_fail(err, TS_ERR_SHAPE,
                       "%s: the tables of relative positions have %d and %d rows, wanted those of a canvas twice as high as wide "
                       "and at most %d wide",
                       ts_weights_path(r->w), down, across, TS_PAINTER_MAX_SIDE);
    if (c->dim % each != 0)
        return ts_fail(err, TS_ERR_SHAPE, "%s: heads of %d do not divide the model's width of %d", ts_weights_path(r->w), each,
                       c->dim);
    c->side = columns * c->patch;
    c->heads = c->dim / each;
    return true;
}

/* pos_embed is (1, 1 + positions^2, dim); the first row, a class token's, is not used. */
static bool read_positions(const reader *r, ts_painter_config *c, ts_error *err)
{
    int rows = 0;
    if (!read_layer(r, r->layout.names->positions, "", 3, 1, 1 + MAX_POSITIONS * MAX_POSITIONS, &rows, err)) return false;
    for (c->positions = 1; c->positions <= MAX_POSITIONS; c->positions++)
        if (1 + c->positions * c->positions == rows) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s: %s has %d rows, wanted 1 + the square of at most %d", ts_weights_path(r->w),
                   r->layout.names->positions, rows, MAX_POSITIONS);
}

/* The blocks in which features are tapped stand in no file: only the published depth is known. */
static bool read_depth(const reader *r, ts_painter_config *c, ts_error *err)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s%s.", r->layout.front, r->layout.names->blocks);
    const int64_t depth = ts_weights_numbered(r->w, prefix);
    if (depth != DEPTH)
        return ts_fail(err, TS_ERR_FORMAT, "%s: the model has %" PRId64 " blocks (%s*), a Painter or SegGPT has %d",
                       ts_weights_path(r->w), depth, prefix, DEPTH);
    c->depth = DEPTH;
    return true;
}

/* The head makes `decoder_dim` numbers for each pixel of a patch. */
static bool read_head(const reader *r, ts_painter_config *c, ts_error *err)
{
    char name[96];
    int out = 0;
    snprintf(name, sizeof name, "%s.weight", r->layout.names->embed);
    if (!read_dim(r->w, name, 2, 0, MAX_HEAD, &out, err)) return false;
    if (out % (c->patch * c->patch) != 0)
        return ts_fail(err, TS_ERR_SHAPE, "%s: %s has %d rows, wanted a multiple of the %d pixels of a patch",
                       ts_weights_path(r->w), name, out, c->patch * c->patch);
    c->decoder_dim = out / (c->patch * c->patch);
    return true;
}

bool ts_painter_config_read(const ts_weights *w, ts_painter_config *out, ts_error *err)
{
    enum { MAX_PATCH = 64 };
    const reader r = {w, ts_painter_layout_of(w)};
    const painter_names *n = r.layout.names;
    int patch_rows = 0;
    *out = (ts_painter_config){0};
    if (!ts_kind_expect(w, TS_KIND_PAINTER, err) || !read_layer(&r, n->patches, ".weight", 4, 0, MAX_WIDTH, &out->dim, err) ||
        !read_layer(&r, n->patches, ".weight", 4, 2, MAX_PATCH, &patch_rows, err) ||
        !read_layer(&r, n->patches, ".weight", 4, 3, MAX_PATCH, &out->patch, err))
        return false;
    if (patch_rows != out->patch)
        return ts_fail(err, TS_ERR_SHAPE, "%s: patches of %d x %d pixels, wanted square ones", ts_weights_path(w), patch_rows,
                       out->patch);
    out->segments = ts_weights_find(w, ts_painter_name(&r.layout, n->semantic).s) ||
                    ts_weights_find(w, ts_painter_name(&r.layout, n->instance).s);
    return read_side(&r, out, err) && read_positions(&r, out, err) && read_depth(&r, out, err) &&
           read_block(&r, r.layout.block->fc1, ".weight", 0, &out->mlp, err) && read_head(&r, out, err);
}

void ts_painter_words(const ts_painter_config *c, char *title, size_t title_room, char *architecture, size_t architecture_room)
{
    const bool large = c->dim == 1024 && c->depth == DEPTH;
    snprintf(title, title_room, "%s%s", c->segments ? "SegGPT" : "Painter", large ? " ViT-L" : "");
    snprintf(architecture, architecture_room, "%d wide, %d blocks, %d heads, patch %d, pictures of %d", c->dim, c->depth,
             c->heads, c->patch, c->side);
}

bool ts_painter_check_side(const ts_painter_config *c, int side, ts_error *err)
{
    if (side >= c->patch && side <= TS_PAINTER_MAX_SIDE && side % c->patch == 0) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "pictures of %d pixels a side: wanted a multiple of %d, at most %d", side, c->patch,
                   TS_PAINTER_MAX_SIDE);
}
