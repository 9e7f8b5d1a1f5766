/* text.c - the text tower, a transformer whose tokens look only back; a text is what the last block makes of its end token.
 * Shapes: N texts of L tokens, T the width, E the joint width. */
#include "clip/internal.h"

ts_tensor *ts_clip_text(ts_graph *g, const ts_clip *c, ts_tensor *embedded, ts_tensor *end, ts_tensor *const *deep)
{
    if (!embedded || !end) return NULL;
    const ts_clip_config *m = &c->config;
    const clip_tower tower = {.g = g,
                              .clip = c,
                              .prefix = "transformer.resblocks",
                              .width = m->text_width,
                              .layers = m->text_layers,
                              .heads = m->text_heads,
                              .mlp = m->text_mlp,
                              .causal = true,
                              .end = end};
    ts_scope(g, "positional_embedding");
    ts_tensor *place = ts_param(g, c->params, "positional_embedding", TS_LAYOUT_PLAIN, 2, (int64_t[]){m->context, m->text_width});
    const int64_t length = embedded->ndim == 3 ? embedded->shape[1] : m->context;
    ts_tensor *x = ts_add(g, embedded, ts_slice(g, place, 0, length)); // (N, L, T)
    for (int i = 0; i < m->text_layers; i++) {
        if (i > 0 && deep && deep[i]) {
            ts_scope(g, "context.%d", i);
            x = ts_clip_replace(g, x, deep[i]);
        }
        x = ts_clip_block(&tower, i, x);
    }
    x = ts_clip_norm(g, c, "ln_final", x, m->text_width); // (N, 1, T): the end token
    return ts_clip_project(g, c, "text_projection", x, m->embed);
}
