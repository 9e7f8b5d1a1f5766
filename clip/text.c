/* text.c - the text tower, a transformer whose tokens look only back; a text is what the last block makes of its end token.
 * Shapes: N texts of L tokens, T the width, E the joint width. */
#include "clip/internal.h"

ts_tensor *ts_clip_text(ts_graph *g, const ts_clip *c, ts_tensor *embedded, ts_tensor *end, ts_tensor *const *deep)
{
    if (!embedded || !end) return NULL;
    const ts_clip_config *m = &c->config;
    const ts_vit blocks = ts_clip_blocks_of(g, c, true);
    ts_scope(g, "positional_embedding");
    ts_tensor *place = ts_param(g, c->params, "positional_embedding", TS_LAYOUT_PLAIN, 2, (int64_t[]){m->context, m->text_width});
    const int64_t length = embedded->ndim == 3 ? embedded->shape[1] : m->context;
    ts_tensor *x = ts_add(g, embedded, ts_slice(g, place, 0, length)); // (N, L, T)
    x = ts_clip_blocks(&blocks, x, deep, end);                         // (N, 1, T): the end token
    x = ts_clip_norm(g, c, "ln_final", x, m->text_width);
    return ts_clip_project(g, c, "text_projection", x, m->embed);
}
