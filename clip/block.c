/* block.c - what both towers are built of: residual attention blocks (Radford et al. 2021, section 2.4), with prompts put between
 * them where a method has some, and what stands at their ends. Shapes: B items, N tokens, W the width. */
#include "clip/internal.h"

#include <stdio.h>

static const float EPS = 1e-5f;

static const ts_vit_names NAMES = {
    .norm1 = "ln_1", .qkv = "attn.in_proj_", .proj = "attn.out_proj", .norm2 = "ln_2", .fc1 = "mlp.c_fc", .fc2 = "mlp.c_proj"};

ts_vit ts_clip_blocks_of(ts_graph *g, const ts_clip *c, bool text)
{
    const ts_clip_config *m = &c->config;
    return (ts_vit){.g = g,
                    .params = c->params,
                    .prefix = text ? "transformer.resblocks" : "visual.transformer.resblocks",
                    .names = &NAMES,
                    .width = text ? m->text_width : m->width,
                    .depth = text ? m->text_layers : m->layers,
                    .heads = text ? m->text_heads : m->heads,
                    .mlp = text ? m->text_mlp : m->mlp,
                    .eps = EPS,
                    .activation = m->erf_gelu ? TS_VIT_GELU : TS_VIT_QUICK_GELU,
                    .causal = text};
}

/* x (B, N, W), prompts (p, W): places 1 to p of each B are overwritten. */
static ts_tensor *replace(ts_graph *g, ts_tensor *x, ts_tensor *prompts)
{
    if (!x || !prompts) return NULL;
    const int64_t count = prompts->shape[0], after = 1 + count;
    ts_tensor *front = ts_concat(g, ts_slice(g, x, 0, 1), prompts); // (B, 1+p, W)
    if (x->shape[1] == after) return front;
    return ts_concat(g, front, ts_slice(g, x, after, x->shape[1] - after));
}

/* (B, N, W) -> (B, 1, W) */
static ts_tensor *row_of(ts_graph *g, ts_tensor *x, ts_tensor *end)
{
    return end ? ts_gather(g, x, end, NULL) : ts_slice(g, x, 0, 1);
}

ts_tensor *ts_clip_blocks(const ts_vit *v, ts_tensor *x, ts_tensor *const *deep, ts_tensor *end)
{
    const int last = v->depth - 1;
    for (int i = 0; i <= last; i++) {
        if (i > 0 && deep && deep[i]) {
            ts_scope(v->g, "%s.%d.prompts", v->prefix, i);
            x = replace(v->g, x, deep[i]);
        }
        if (i < last) x = ts_vit_block(v, i, x);
    }
    /* Nothing but one row of the last block's output is ever looked at, and only its attention needs the others. */
    ts_tensor *h = ts_vit_attend(v, last, x); // (B, N, W)
    h = row_of(v->g, h, end);                 // (B, 1, W) from here on
    x = row_of(v->g, x, end);
    x = ts_add(v->g, ts_vit_project(v, last, h), x);
    return ts_add(v->g, ts_vit_feed(v, last, x), x);
}

ts_tensor *ts_clip_norm(ts_graph *g, const ts_clip *c, const char *layer, ts_tensor *x, int64_t width)
{
    return ts_vit_norm(g, c->params, layer, x, width, EPS);
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
