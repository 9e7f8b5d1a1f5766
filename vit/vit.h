/* vit.h - the transformer block that the models share: Vaswani et al. 2017 with the norms first, as vision transformers
 * (Dosovitskiy et al. 2020) have it. A model says in a ts_vit what its blocks are called in the published file and where they
 * differ; its forward pass then calls
 *
 *   ts_vit v = {.g = g, .params = params, .prefix = "blocks", .width = 1024, .depth = 24, .heads = 16, .mlp = 4096, .eps =
 * 1e-6f}; x = ts_vit_blocks(&v, x);
 *
 * or a block at a time, or a block's pieces where it does something between them. Shapes: B items, N tokens, W the width. */
#ifndef TESSERA_VIT_H
#define TESSERA_VIT_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- layers by name -------------------------------------------------------------------------------------------- */

/* The parameters of layer "mlp.fc1" are "mlp.fc1.weight" and "mlp.fc1.bias"; those of "attn.in_proj_", whose name ends in '_',
 * are "attn.in_proj_weight" and "attn.in_proj_bias". */

/* x (..., in) -> (..., out) */
ts_tensor *ts_vit_linear(ts_graph *g, ts_params *ps, const char *layer, ts_tensor *x, int64_t in, int64_t out);
/* Over the last dimension, which is `width`. */
ts_tensor *ts_vit_norm(ts_graph *g, ts_params *ps, const char *layer, ts_tensor *x, int64_t width, float eps);

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

/* Of a block's layers, as the file has them behind PREFIX.NUMBER. */
typedef struct {
    const char *norm1, *qkv, *proj, *norm2, *fc1, *fc2;
    const char *scale1, *scale2; /* LayerScale's vectors (Touvron et al. 2021, arXiv 2103.17239, eq. 4); NULL: it has none */
    const char *rel_h, *rel_w;   /* the tables of relative positions; NULL: attn.rel_pos_h, attn.rel_pos_w */
} ts_vit_names;

/* SwiGLU (Shazeer 2020, arXiv 2002.05202, eq. 6): fc1 makes twice `mlp` numbers a, b, and fc2 takes swish(a) b. */
typedef enum { TS_VIT_GELU, TS_VIT_QUICK_GELU, TS_VIT_SWIGLU } ts_vit_activation;

/* Tokens that are the places of a map, row by row, with relative positions in their attention (Li et al. 2022, arXiv 2112.01526,
 * as Segment Anything and Painter have them): place y, x looks at y', x' by
 *     q k / sqrt(d) + q Rh[y - y' + height - 1] + q Rw[x - x' + width - 1].
 * A block looks at the whole map, or each at the window it is in; zeros, after the norm, fill the windows at the edge. */
typedef struct {
    int height, width;  /* the map; 0: the tokens are no map and have no relative positions */
    int rows_h, rows_w; /* of the file's tables, of blocks without windows; 0: 2 height - 1, 2 width - 1. Others are resampled. */
    int window;         /* a window's side; its tables have 2 window - 1 rows. 0: no block has windows */
    uint64_t whole;     /* bit N: block N has none */
} ts_vit_map;

/* Rotary positions (Su et al. 2021, arXiv 2104.09864): in each head of q and k, numbers i and i + d/2 of token n are turned by
 * the angle whose cosine and sine stand in row n, column h d/2 + i for head h. cos and sin (N, W/2); NULL: there are none. */
typedef struct {
    ts_tensor *cos, *sin;
} ts_vit_rotary;

/* What a caller does between a block's attention and its projection: h (B, N, W) of block `number`, what the heads say, head
 * after head, before proj makes one of them -> the same shape. To look at them, or to put others in their place. NULL: nothing.
 */
typedef struct {
    ts_tensor *(*pass)(void *ctx, int number, ts_tensor *h);
    void *ctx;
} ts_vit_heads;

typedef struct {
    ts_graph *g;
    ts_params *params;
    const char *prefix;        /* "blocks" */
    const ts_vit_names *names; /* NULL: timm's: norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2 */
    int width, depth, heads, mlp;
    float eps; /* of the norms */
    ts_vit_activation activation;
    bool causal; /* a token looks at those before it and itself */
    ts_vit_map map;
    ts_vit_rotary rotary;
    ts_vit_heads said; /* in ts_vit_block */
    bool recompute;    /* ts_vit_blocks: each block is a segment (ts_recompute_begin) */
} ts_vit;

/* x (B, N, W) -> the same: x += proj(attention(norm1 x)); x += fc2(f(fc1(norm2 x))) */
ts_tensor *ts_vit_block(const ts_vit *v, int number, ts_tensor *x);
/* All of them, one after the other. */
ts_tensor *ts_vit_blocks(const ts_vit *v, ts_tensor *x);

/* The pieces: x += project(attend(x)); x += feed(x). Only `attend` looks at more than one token. */

/* attention(norm1 x) */
ts_tensor *ts_vit_attend(const ts_vit *v, int number, ts_tensor *x);
/* Its two halves, of a block without windows: q, k and v of norm1 x, a token by itself -> (B, N, 3W); then the attention. Between
 * them tokens that several items share can join each of them. */
ts_tensor *ts_vit_qkv(const ts_vit *v, int number, ts_tensor *x);
ts_tensor *ts_vit_look(const ts_vit *v, int number, ts_tensor *qkv);
/* proj(h), by LayerScale where there is one */
ts_tensor *ts_vit_project(const ts_vit *v, int number, ts_tensor *h);
/* fc2(f(fc1(norm2 x))), likewise */
ts_tensor *ts_vit_feed(const ts_vit *v, int number, ts_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
