/* codebook.c - latents to codes and back: a code is the row of the codebook that is nearest in squared distance. */
#include "vqgan/internal.h"

static ts_tensor *codebook(ts_graph *g, const ts_vqgan *v)
{
    ts_scope(g, "quantize");
    return ts_param(g, v->params, "quantize.embedding.weight", TS_LAYOUT_PLAIN, 2, (int64_t[]){v->config.codes, v->config.embed});
}

ts_tensor *ts_vqgan_codes(ts_graph *g, const ts_vqgan *v, ts_tensor *latents)
{
    ts_tensor *codes = ts_nearest_code(g, latents, codebook(g, v)); // (N, h, w)
    if (!codes) return NULL;
    return ts_reshape(g, codes, 2, (int64_t[]){codes->shape[0], codes->shape[1] * codes->shape[2]});
}

ts_tensor *ts_vqgan_lookup(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w)
{
    ts_tensor *rows = ts_gather(g, codebook(g, v), codes, NULL); // (N, h w, embed)
    if (!rows) return NULL;
    return ts_reshape(g, rows, 4, (int64_t[]){rows->shape[0], h, w, v->config.embed});
}
