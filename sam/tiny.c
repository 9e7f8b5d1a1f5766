/* tiny.c - MobileSAM's encoder (Zhang et al. 2023, arXiv 2306.14289): a TinyViT (Wu et al. 2022, arXiv 2207.10666, section 3.3)
 * in the place of the vision transformer. A stem and a first stage of convolutions, then three stages of blocks that attend in
 * windows, with a bias by how far two places are apart, and mix neighbours by a convolution of each channel. Every convolution
 * has a batch norm behind it, which is folded into it when the weights are read (fold.c). Shapes: a map (1, H, W, C) of the
 * stage's width; the picture's sides are halved twice by the stem, twice between stages. */
#include "sam/internal.h"

#include <stdio.h>

static const float EPS = 1e-5f; /* of the norms of rows */

static sam_name within(const char *block, const char *part)
{
    sam_name name;
    snprintf(name.s, sizeof name.s, "%s.%s", block, part);
    return name;
}

/* A weight or bias that is made of a convolution and its norm. */
static ts_tensor *folded(ts_graph *g, const sam_model *m, const char *unit, const char *part, ts_layout layout, int ndim,
                         const int64_t *shape)
{
    char name[160];
    snprintf(name, sizeof name, "folded.%s.%s", unit, part);
    return ts_param(g, m->made, name, layout, ndim, shape);
}

/* 1 x 1 -> (1, H, W, out) */
static ts_tensor *pointwise(ts_graph *g, const sam_model *m, const char *unit, ts_tensor *x, int64_t in, int64_t out)
{
    ts_scope(g, "%s", unit);
    ts_tensor *w = folded(g, m, unit, "weight", TS_LAYOUT_LINEAR, 4, (int64_t[]){out, in, 1, 1});
    return ts_linear(g, x, w, folded(g, m, unit, "bias", TS_LAYOUT_PLAIN, 1, &out));
}

/* 3 x 3 of each channel */
static ts_tensor *depthwise(ts_graph *g, const sam_model *m, const char *unit, ts_tensor *x, int64_t channels, int stride)
{
    const ts_conv_desc around = {.stride = stride, .top = 1, .left = 1, .bottom = 1, .right = 1};
    ts_scope(g, "%s", unit);
    ts_tensor *w = folded(g, m, unit, "weight", TS_LAYOUT_PLAIN, 3, (int64_t[]){3, 3, channels});
    return ts_depthwise(g, x, w, folded(g, m, unit, "bias", TS_LAYOUT_PLAIN, 1, &channels), &around);
}

/* 3 x 3, every other place -> (1, H/2, W/2, out) */
static ts_tensor *halve(ts_graph *g, const sam_model *m, const char *unit, ts_tensor *x, int64_t in, int64_t out)
{
    const ts_conv_desc around = {.stride = 2, .top = 1, .left = 1, .bottom = 1, .right = 1};
    ts_scope(g, "%s", unit);
    ts_tensor *w = folded(g, m, unit, "weight", TS_LAYOUT_CONV, 4, (int64_t[]){out, in, 3, 3});
    return ts_conv2d(g, x, w, folded(g, m, unit, "bias", TS_LAYOUT_PLAIN, 1, &out), &around);
}

/* A block of the first stage: wider, each channel by itself, narrow again. */
static ts_tensor *convolve(ts_graph *g, const sam_model *m, const char *block, const ts_sam_stage *s, ts_tensor *x)
{
    ts_tensor *h = ts_gelu(g, pointwise(g, m, within(block, "conv1").s, x, s->width, s->inner));
    h = ts_gelu(g, depthwise(g, m, within(block, "conv2").s, h, s->inner, 1));
    h = pointwise(g, m, within(block, "conv3").s, h, s->inner, s->width);
    return ts_gelu(g, ts_add(g, h, x));
}

/* q, k and v of rows, in the order that attention wants: see fold.c. */
static ts_tensor *qkv(ts_graph *g, const sam_model *m, const char *layer, ts_tensor *x, int64_t width)
{
    const int64_t all = 3 * width;
    char name[160];
    ts_scope(g, "%s", layer);
    snprintf(name, sizeof name, "ordered.%s.weight", layer);
    ts_tensor *w = ts_param(g, m->made, name, TS_LAYOUT_LINEAR, 2, (int64_t[]){all, width});
    snprintf(name, sizeof name, "ordered.%s.bias", layer);
    return ts_linear(g, x, w, ts_param(g, m->made, name, TS_LAYOUT_PLAIN, 1, &all));
}

/* Attention in windows. Zeros fill those at the edge before the norm, so that what is looked at there is the norm's bias. */
static ts_tensor *attend(ts_graph *g, const sam_model *m, const char *block, const ts_sam_stage *s, ts_tensor *x)
{
    const int64_t side = s->window, width = s->width, places = side * side;
    if (!x) return NULL;
    const int64_t height = x->shape[1], across = x->shape[2];
    ts_scope(g, "%s", within(block, "attn").s);
    ts_tensor *table =
        ts_sam_param(g, m, within(block, "attn.attention_biases").s, TS_LAYOUT_PLAIN, 2, (int64_t[]){s->heads, places});
    ts_tensor *bias = ts_distance_bias(g, table, s->window, s->window);
    ts_tensor *h = ts_window_cut(g, x, side);
    if (!h) return NULL;
    const int64_t windows = h->shape[0];
    h = ts_reshape(g, h, 3, (int64_t[]){windows, places, width});
    h = ts_sam_norm(g, m, within(block, "attn.norm").s, h, width, EPS);
    h = ts_attention_biased(g, qkv(g, m, within(block, "attn.qkv").s, h, width), bias, s->heads);
    h = ts_sam_linear(g, m, within(block, "attn.proj").s, h, width, width);
    h = ts_reshape(g, h, 4, (int64_t[]){windows, side, side, width});
    return ts_window_paste(g, h, height, across);
}

/* A block of the other stages. */
static ts_tensor *transform(ts_graph *g, const sam_model *m, const char *block, const ts_sam_stage *s, ts_tensor *x)
{
    x = ts_add(g, attend(g, m, block, s, x), x);
    x = depthwise(g, m, within(block, "local_conv").s, x, s->width, 1);
    ts_tensor *h = ts_sam_norm(g, m, within(block, "mlp.norm").s, x, s->width, EPS);
    h = ts_gelu(g, ts_sam_linear(g, m, within(block, "mlp.fc1").s, h, s->width, s->inner));
    return ts_add(g, ts_sam_linear(g, m, within(block, "mlp.fc2").s, h, s->inner, s->width), x);
}

/* From one stage to the next, at half the sides but into the last. */
static ts_tensor *go_down(ts_graph *g, const sam_model *m, int number, ts_tensor *x)
{
    const ts_sam_stage *s = m->config.stage + number;
    const int64_t next = s[1].width;
    char at[64];
    snprintf(at, sizeof at, "image_encoder.layers.%d.downsample", number);
    x = ts_gelu(g, pointwise(g, m, within(at, "conv1").s, x, s->width, next));
    x = ts_gelu(g, depthwise(g, m, within(at, "conv2").s, x, next, number + 2 < TS_SAM_STAGES ? 2 : 1));
    return pointwise(g, m, within(at, "conv3").s, x, next, next);
}

ts_tensor *ts_sam_encode_tiny(ts_graph *g, const sam_model *m, ts_tensor *pixels)
{
    const ts_sam_config *c = &m->config;
    ts_tensor *x = ts_gelu(g, halve(g, m, "image_encoder.patch_embed.seq.0", pixels, 3, c->stem)); // (1, S/2, S/2, stem)
    x = halve(g, m, "image_encoder.patch_embed.seq.2", x, c->stem, c->stage[0].width);             // (1, S/4, S/4, C0)
    for (int i = 0; i < TS_SAM_STAGES; i++) {
        for (int k = 0; k < c->stage[i].blocks; k++) {
            char block[64];
            snprintf(block, sizeof block, "image_encoder.layers.%d.blocks.%d", i, k);
            x = i == 0 ? convolve(g, m, block, &c->stage[i], x) : transform(g, m, block, &c->stage[i], x);
        }
        if (i + 1 < TS_SAM_STAGES) x = go_down(g, m, i, x); // (1, S/8, S/8, C1), (1, S/16, S/16, C2), (1, S/16, S/16, C3)
    }
    return x;
}
