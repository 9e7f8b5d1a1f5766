/* block.c - a transformer block by its description, and the layers it is made of. */
#include "vit/vit.h"

#include <stdio.h>
#include <string.h>

static const ts_vit_names TIMM = {
    .norm1 = "norm1", .qkv = "attn.qkv", .proj = "attn.proj", .norm2 = "norm2", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2"};

/* ---- layers by name ---- */

/* A layer's name without the '_' that stands for a dot. */
static void scope(ts_graph *g, const char *layer)
{
    const size_t length = strlen(layer);
    ts_scope(g, "%.*s", (int)(length - (length > 0 && layer[length - 1] == '_')), layer);
}

static ts_tensor *param(ts_graph *g, ts_params *ps, const char *layer, const char *part, ts_layout layout, int ndim,
                        const int64_t *shape)
{
    char name[96];
    const size_t length = strlen(layer);
    snprintf(name, sizeof name, "%s%s%s", layer, length > 0 && layer[length - 1] == '_' ? "" : ".", part);
    return ts_param(g, ps, name, layout, ndim, shape);
}

ts_tensor *ts_vit_linear(ts_graph *g, ts_params *ps, const char *layer, ts_tensor *x, int64_t in, int64_t out)
{
    scope(g, layer);
    ts_tensor *w = param(g, ps, layer, "weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in});
    return ts_linear(g, x, w, param(g, ps, layer, "bias", TS_LAYOUT_PLAIN, 1, &out));
}

ts_tensor *ts_vit_norm(ts_graph *g, ts_params *ps, const char *layer, ts_tensor *x, int64_t width, float eps)
{
    scope(g, layer);
    ts_tensor *gamma = param(g, ps, layer, "weight", TS_LAYOUT_PLAIN, 1, &width);
    return ts_layernorm(g, x, gamma, param(g, ps, layer, "bias", TS_LAYOUT_PLAIN, 1, &width), eps);
}

/* ---- blocks ---- */

static const ts_vit_names *names(const ts_vit *v)
{
    return v->names ? v->names : &TIMM;
}

/* The whole name of a block's layer. */
typedef struct {
    char s[80];
} layer_name;

static layer_name layer(const ts_vit *v, int number, const char *part)
{
    layer_name name;
    snprintf(name.s, sizeof name.s, "%s.%d.%s", v->prefix, number, part);
    return name;
}

static ts_tensor *norm(const ts_vit *v, int number, const char *part, ts_tensor *x)
{
    return ts_vit_norm(v->g, v->params, layer(v, number, part).s, x, v->width, v->eps);
}

static ts_tensor *linear(const ts_vit *v, int number, const char *part, ts_tensor *x, int64_t in, int64_t out)
{
    return ts_vit_linear(v->g, v->params, layer(v, number, part).s, x, in, out);
}

/* h by the vector of LayerScale that is so called. */
static ts_tensor *layer_scale(const ts_vit *v, int number, const char *part, ts_tensor *h)
{
    if (!part) return h;
    return ts_mul(v->g, h, ts_param(v->g, v->params, layer(v, number, part).s, TS_LAYOUT_PLAIN, 1, (int64_t[]){v->width}));
}

/* A table of relative positions, brought to as many rows as the map needs. */
static ts_tensor *table(const ts_vit *v, int number, const char *part, int64_t rows, int64_t wanted)
{
    const int64_t dim = v->width / v->heads;
    if (rows == 0) rows = wanted;
    ts_tensor *t = ts_param(v->g, v->params, layer(v, number, part).s, TS_LAYOUT_PLAIN, 2, (int64_t[]){rows, dim});
    if (rows == wanted) return t;
    t = ts_resample(v->g, ts_reshape(v->g, t, 4, (int64_t[]){1, rows, 1, dim}), wanted, 1, false);
    return ts_reshape(v->g, t, 2, (int64_t[]){wanted, dim});
}

static ts_tensor *reshape(const ts_vit *v, ts_tensor *x, int64_t a, int64_t b, int64_t c)
{
    return ts_reshape(v->g, x, 3, (int64_t[]){a, b, c});
}

/* attention among the height x width places of each item; h is the packed q, k, v (B, N, 3W). */
static ts_tensor *attend_map(const ts_vit *v, int number, ts_tensor *h, int height, int width, bool whole)
{
    const char *rel_h = names(v)->rel_h ? names(v)->rel_h : "attn.rel_pos_h";
    const char *rel_w = names(v)->rel_w ? names(v)->rel_w : "attn.rel_pos_w";
    ts_tensor *th = table(v, number, rel_h, whole ? v->map.rows_h : 0, 2 * (int64_t)height - 1);
    ts_tensor *tw = table(v, number, rel_w, whole ? v->map.rows_w : 0, 2 * (int64_t)width - 1);
    return ts_attention_relative(v->g, h, th, tw, v->heads, height, width);
}

/* The same in windows: y (B, height width, W), the norm's output, is cut before q, k and v are made. */
static ts_tensor *attend_windows(const ts_vit *v, int number, ts_tensor *y, int64_t batch)
{
    const ts_vit_map *map = &v->map;
    const int64_t side = map->window, width = v->width;
    const int64_t windows = batch * ((map->height + side - 1) / side) * ((map->width + side - 1) / side);
    ts_tensor *h = ts_reshape(v->g, y, 4, (int64_t[]){batch, map->height, map->width, width});
    h = reshape(v, ts_window_cut(v->g, h, side), windows, side * side, width);
    h = linear(v, number, names(v)->qkv, h, width, 3 * width);
    h = attend_map(v, number, h, map->window, map->window, false);
    h = ts_reshape(v->g, h, 4, (int64_t[]){windows, side, side, width});
    return reshape(v, ts_window_paste(v->g, h, map->height, map->width), batch, (int64_t)map->height * map->width, width);
}

/* x (B N, 1, W), q or k of all tokens, with its pairs turned -> (B, N, W) */
static ts_tensor *turn(const ts_vit *v, ts_tensor *x, int64_t batch, int64_t tokens)
{
    const int64_t half = v->width / v->heads / 2, heads = batch * tokens * v->heads;
    ts_tensor *pair = reshape(v, x, heads, 2, half);
    ts_tensor *a = ts_slice(v->g, pair, 0, 1), *b = ts_slice(v->g, pair, 1, 1);
    a = reshape(v, a, batch, tokens, v->width / 2);
    b = reshape(v, b, batch, tokens, v->width / 2);
    ts_tensor *ac = ts_mul(v->g, a, v->rotary.cos), *bs = ts_mul(v->g, b, v->rotary.sin);
    ts_tensor *bc = ts_mul(v->g, b, v->rotary.cos), *as = ts_mul(v->g, a, v->rotary.sin);
    ts_tensor *first = reshape(v, ts_sub(v->g, ac, bs), heads, 1, half);
    ts_tensor *second = reshape(v, ts_add(v->g, bc, as), heads, 1, half);
    return reshape(v, ts_concat(v->g, first, second), batch, tokens, v->width);
}

/* attention with rotary positions; h is the packed q, k, v (B, N, 3W). */
static ts_tensor *attend_rotary(const ts_vit *v, ts_tensor *h)
{
    if (!h) return NULL;
    const int64_t batch = h->shape[0], tokens = h->shape[1];
    ts_tensor *packed = reshape(v, h, batch * tokens, 3, v->width);
    ts_tensor *q = turn(v, ts_slice(v->g, packed, 0, 1), batch, tokens);
    ts_tensor *k = turn(v, ts_slice(v->g, packed, 1, 1), batch, tokens);
    ts_tensor *value = reshape(v, ts_slice(v->g, packed, 2, 1), batch, tokens, v->width);
    return ts_attention(v->g, q, k, value, v->heads, v->causal);
}

ts_tensor *ts_vit_qkv(const ts_vit *v, int number, ts_tensor *x)
{
    ts_tensor *h = norm(v, number, names(v)->norm1, x);
    return linear(v, number, names(v)->qkv, h, v->width, 3 * (int64_t)v->width);
}

ts_tensor *ts_vit_look(const ts_vit *v, int number, ts_tensor *qkv)
{
    const ts_vit_map *map = &v->map;
    if (map->height > 0) return attend_map(v, number, qkv, map->height, map->width, true);
    if (v->rotary.cos) return attend_rotary(v, qkv);
    return ts_attention_qkv(v->g, qkv, v->heads, v->causal); // (B, N, W)
}

ts_tensor *ts_vit_attend(const ts_vit *v, int number, ts_tensor *x)
{
    const ts_vit_map *map = &v->map;
    if (!x) return NULL;
    if (map->height > 0 && map->window > 0 && !(map->whole >> number & 1))
        return attend_windows(v, number, norm(v, number, names(v)->norm1, x), x->shape[0]);
    return ts_vit_look(v, number, ts_vit_qkv(v, number, x));
}

ts_tensor *ts_vit_project(const ts_vit *v, int number, ts_tensor *h)
{
    return layer_scale(v, number, names(v)->scale1, linear(v, number, names(v)->proj, h, v->width, v->width));
}

/* swish(a) b of the (B, N, 2 mlp) numbers a, b */
static ts_tensor *gate(const ts_vit *v, ts_tensor *h)
{
    if (!h) return NULL;
    const int64_t batch = h->shape[0], tokens = h->shape[1];
    ts_tensor *pair = reshape(v, h, batch * tokens, 2, v->mlp);
    ts_tensor *a = ts_slice(v->g, pair, 0, 1), *b = ts_slice(v->g, pair, 1, 1);
    return reshape(v, ts_mul(v->g, ts_swish(v->g, a), b), batch, tokens, v->mlp);
}

ts_tensor *ts_vit_feed(const ts_vit *v, int number, ts_tensor *x)
{
    const bool gated = v->activation == TS_VIT_SWIGLU;
    ts_tensor *h = norm(v, number, names(v)->norm2, x);
    h = linear(v, number, names(v)->fc1, h, v->width, (gated ? 2 : 1) * (int64_t)v->mlp); // (B, N, mlp)
    if (gated) h = gate(v, h);
    else h = v->activation == TS_VIT_QUICK_GELU ? ts_quick_gelu(v->g, h) : ts_gelu(v->g, h);
    h = linear(v, number, names(v)->fc2, h, v->mlp, v->width);
    return layer_scale(v, number, names(v)->scale2, h);
}

ts_tensor *ts_vit_block(const ts_vit *v, int number, ts_tensor *x)
{
    ts_tensor *h = ts_vit_attend(v, number, x);
    if (v->said.pass && h) h = v->said.pass(v->said.ctx, number, h);
    x = ts_add(v->g, ts_vit_project(v, number, h), x);
    return ts_add(v->g, ts_vit_feed(v, number, x), x);
}

ts_tensor *ts_vit_blocks(const ts_vit *v, ts_tensor *x)
{
    for (int i = 0; i < v->depth; i++) {
        if (v->recompute) ts_recompute_begin(v->g);
        x = ts_vit_block(v, i, x);
        if (v->recompute) ts_recompute_end(v->g);
    }
    return x;
}
