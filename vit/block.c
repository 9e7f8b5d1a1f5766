/* block.c - a transformer block by its description, and the layers it is made of. */
#include "vit/vit.h"

#include <stdio.h>
#include <string.h>

static const ts_vit_names TIMM = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"};

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

ts_tensor *ts_vit_attend(const ts_vit *v, int number, ts_tensor *x)
{
    const int64_t width = v->width;
    ts_tensor *h = norm(v, number, names(v)->norm1, x);
    h = linear(v, number, names(v)->qkv, h, width, 3 * width); // (B, N, 3W): q, k, v
    return ts_attention_qkv(v->g, h, v->heads, v->causal);     // (B, N, W)
}

ts_tensor *ts_vit_project(const ts_vit *v, int number, ts_tensor *h)
{
    return linear(v, number, names(v)->proj, h, v->width, v->width);
}

ts_tensor *ts_vit_feed(const ts_vit *v, int number, ts_tensor *x)
{
    ts_tensor *h = norm(v, number, names(v)->norm2, x);
    h = linear(v, number, names(v)->fc1, h, v->width, v->mlp); // (B, N, mlp)
    h = v->activation == TS_VIT_QUICK_GELU ? ts_quick_gelu(v->g, h) : ts_gelu(v->g, h);
    return linear(v, number, names(v)->fc2, h, v->mlp, v->width);
}

ts_tensor *ts_vit_block(const ts_vit *v, int number, ts_tensor *x)
{
    x = ts_add(v->g, ts_vit_project(v, number, ts_vit_attend(v, number, x)), x);
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
