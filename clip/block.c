/* block.c - the residual attention block that both towers are built of (Radford et al. 2021, section 2.4: Vaswani et al. 2017
 * with the norms first), and what stands at their ends. Shapes: B items, N tokens, W the width. */
#include "clip/internal.h"

#include <stdio.h>

static const float EPS = 1e-5f;

static ts_tensor *vector(ts_graph *g, const ts_clip *c, const char *layer, const char *part, int64_t n)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", layer, part);
    return ts_param(g, c->params, name, TS_LAYOUT_PLAIN, 1, &n);
}

/* x (..., in) -> (..., out); the parameters are named `layer` with `dot`: ".weight", or "_weight" as in_proj's. */
static ts_tensor *linear(ts_graph *g, const ts_clip *c, const char *layer, char dot, ts_tensor *x, int64_t in, int64_t out)
{
    char name[96], bias[8];
    snprintf(name, sizeof name, "%s%cweight", layer, dot);
    snprintf(bias, sizeof bias, "%cbias", dot);
    ts_scope(g, "%s", layer);
    ts_tensor *w = ts_param(g, c->params, name, TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in});
    return ts_linear(g, x, w, vector(g, c, layer, bias, out));
}

ts_tensor *ts_clip_norm(ts_graph *g, const ts_clip *c, const char *layer, ts_tensor *x, int64_t width)
{
    ts_scope(g, "%s", layer);
    ts_tensor *gamma = vector(g, c, layer, ".weight", width);
    return ts_layernorm(g, x, gamma, vector(g, c, layer, ".bias", width), EPS);
}

/* (B, N, W) -> (B, 1, W) */
static ts_tensor *last_row(const clip_tower *t, ts_tensor *x)
{
    return t->end ? ts_gather(t->g, x, t->end, NULL) : ts_slice(t->g, x, 0, 1);
}

/* x += out_proj(attention(ln_1 x)); x += c_proj(gelu(c_fc(ln_2 x))) */
ts_tensor *ts_clip_block(const clip_tower *t, int number, ts_tensor *x)
{
    ts_graph *g = t->g;
    const ts_clip *c = t->clip;
    const int64_t width = t->width;
    char layer[6][64];
    static const char *const parts[6] = {"ln_1", "attn.in_proj", "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"};
    for (int i = 0; i < 6; i++) snprintf(layer[i], sizeof layer[i], "%s.%d.%s", t->prefix, number, parts[i]);

    ts_tensor *h = ts_clip_norm(g, c, layer[0], x, width);
    h = linear(g, c, layer[1], '_', h, width, 3 * width); // (B, N, 3W): q, k, v
    h = ts_attention_qkv(g, h, t->heads, t->causal);      // (B, N, W)
    if (number == t->layers - 1) {                        // (B, 1, W) from here on
        h = last_row(t, h);
        x = last_row(t, x);
    }
    h = linear(g, c, layer[2], '.', h, width, width);
    x = ts_add(g, h, x);
    h = ts_clip_norm(g, c, layer[3], x, width);
    h = linear(g, c, layer[4], '.', h, width, t->mlp); // (B, N, 4W)
    h = c->config.erf_gelu ? ts_gelu(g, h) : ts_quick_gelu(g, h);
    h = linear(g, c, layer[5], '.', h, t->mlp, width);
    return ts_add(g, h, x);
}

ts_tensor *ts_clip_project(ts_graph *g, const ts_clip *c, const char *layer, ts_tensor *x, int64_t out)
{
    if (!x) return NULL;
    char name[96];
    snprintf(name, sizeof name, "%s.weight", layer);
    ts_scope(g, "%s", layer);
    const int64_t batch = x->shape[0], in = x->shape[2];
    ts_tensor *w = ts_param(g, c->params, name, TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in});
    ts_tensor *y = ts_linear(g, x, w, NULL); // (B, 1, E)
    return ts_unit(g, ts_reshape(g, y, 2, (int64_t[]){batch, out}));
}

ts_tensor *ts_clip_replace(ts_graph *g, ts_tensor *x, ts_tensor *prompts)
{
    if (!x || !prompts) return NULL;
    const int64_t count = prompts->shape[0], after = 1 + count;
    ts_tensor *front = ts_concat(g, ts_slice(g, x, 0, 1), prompts); // (B, 1+p, W)
    if (x->shape[1] == after) return front;
    return ts_concat(g, front, ts_slice(g, x, after, x->shape[1] - after));
}
