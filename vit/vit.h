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
} ts_vit_names;

typedef enum { TS_VIT_GELU, TS_VIT_QUICK_GELU } ts_vit_activation;

typedef struct {
    ts_graph *g;
    ts_params *params;
    const char *prefix;        /* "blocks" */
    const ts_vit_names *names; /* NULL: timm's: norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2 */
    int width, depth, heads, mlp;
    float eps; /* of the norms */
    ts_vit_activation activation;
    bool causal;    /* a token looks at those before it and itself */
    bool recompute; /* ts_vit_blocks: each block is a segment (ts_recompute_begin) */
} ts_vit;

/* x (B, N, W) -> the same: x += proj(attention(norm1 x)); x += fc2(f(fc1(norm2 x))) */
ts_tensor *ts_vit_block(const ts_vit *v, int number, ts_tensor *x);
/* All of them, one after the other. */
ts_tensor *ts_vit_blocks(const ts_vit *v, ts_tensor *x);

/* The pieces: x += project(attend(x)); x += feed(x). Only `attend` looks at more than one token. */

/* attention(norm1 x) */
ts_tensor *ts_vit_attend(const ts_vit *v, int number, ts_tensor *x);
/* proj(h) */
ts_tensor *ts_vit_project(const ts_vit *v, int number, ts_tensor *h);
/* fc2(f(fc1(norm2 x))) */
ts_tensor *ts_vit_feed(const ts_vit *v, int number, ts_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
