/* encoder.c - the picture's encoder: a plain vision transformer with windows and relative positions (Li et al. 2022, arXiv
 * 2203.16527), or what stands in its place (tiny.c), and a neck that brings its map to the width of the decoder. Shapes: D the
 * transformer's width, L = side^2 places, E the decoder's width. */
#include "sam/internal.h"

static const float EPS = 1e-6f;

/* Block layers as the published files call them, and as Hugging Face's do. */
static const ts_vit_names PUBLISHED = {
    .norm1 = "norm1", .qkv = "attn.qkv", .proj = "attn.proj", .norm2 = "norm2", .fc1 = "mlp.lin1", .fc2 = "mlp.lin2"};
static const ts_vit_names HUGGING_FACE = {
    .norm1 = "layer_norm1", .qkv = "attn.qkv", .proj = "attn.proj", .norm2 = "layer_norm2", .fc1 = "mlp.lin1", .fc2 = "mlp.lin2"};

/* x (1, side, side, D) -> (1, side, side, E): its norms are over the channels of each place. */
static ts_tensor *neck(ts_graph *g, const sam_model *m, ts_tensor *x)
{
    const int64_t d = m->config.width, e = m->config.embed;
    ts_scope(g, "neck");
    ts_tensor *w = ts_sam_param(g, m, "image_encoder.neck.0.weight", TS_LAYOUT_LINEAR, 4, (int64_t[]){e, d, 1, 1});
    x = ts_sam_norm(g, m, "image_encoder.neck.1", ts_linear(g, x, w, NULL), e, EPS);
    w = ts_sam_param(g, m, "image_encoder.neck.2.weight", TS_LAYOUT_CONV, 4, (int64_t[]){e, e, 3, 3});
    x = ts_conv2d(g, x, w, NULL, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1});
    return ts_sam_norm(g, m, "image_encoder.neck.3", x, e, EPS);
}

/* -> (1, side, side, D) */
static ts_tensor *transform(ts_graph *g, const sam_model *m, ts_tensor *pixels)
{
    const ts_sam_config *c = &m->config;
    const int64_t d = c->width, side = c->side, patch = c->patch;
    ts_scope(g, "patch_embed");
    ts_tensor *w =
        ts_sam_param(g, m, "image_encoder.patch_embed.proj.weight", TS_LAYOUT_CONV, 4, (int64_t[]){d, 3, patch, patch});
    ts_tensor *b = ts_sam_param(g, m, "image_encoder.patch_embed.proj.bias", TS_LAYOUT_PLAIN, 1, &d);
    ts_tensor *x = ts_conv2d(g, pixels, w, b, &(ts_conv_desc){.stride = c->patch}); // (1, side, side, D)
    x = ts_add(g, x, ts_sam_param(g, m, "image_encoder.pos_embed", TS_LAYOUT_PLAIN, 4, (int64_t[]){1, side, side, d}));
    x = ts_reshape(g, x, 3, (int64_t[]){1, side * side, d}); // (1, L, D)

    const ts_vit blocks = {.g = g,
                           .params = m->params,
                           .prefix = c->hugging_face ? "vision_encoder.layers" : "image_encoder.blocks",
                           .names = c->hugging_face ? &HUGGING_FACE : &PUBLISHED,
                           .width = c->width,
                           .depth = c->depth,
                           .heads = c->heads,
                           .mlp = c->mlp,
                           .eps = EPS,
                           .map = {.height = c->side, .width = c->side, .window = c->window, .whole = c->whole}};
    return ts_reshape(g, ts_vit_blocks(&blocks, x), 4, (int64_t[]){1, side, side, d});
}

ts_tensor *ts_sam_encode(ts_graph *g, const sam_model *m, ts_tensor *pixels)
{
    return neck(g, m, m->config.tiny ? ts_sam_encode_tiny(g, m, pixels) : transform(g, m, pixels));
}
