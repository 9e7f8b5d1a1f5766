/* decoder.c - latents to a picture: the encoder's mirror with one residual block more a level, its levels numbered by resolution
 * and so run from the highest down to 0. */
#include "vqgan/internal.h"

ts_tensor *ts_vqgan_decode(ts_graph *g, const ts_vqgan *v, ts_tensor *latents)
{
    const ts_vqgan_config *c = &v->config;
    int deepest = c->width[c->levels - 1];
    ts_vqgan_scope s = ts_vqgan_at(g, v, "%s", "");
    ts_tensor *x = ts_vqgan_conv1x1(&s, "post_quant_conv", latents, c->latent); // (N, h, w, latent)
    s = ts_vqgan_at(g, v, "decoder");
    x = ts_vqgan_conv3x3(&s, "conv_in", x, deepest); // (N, h, w, deepest)
    s = ts_vqgan_at(g, v, "decoder.mid.block_1");
    x = ts_vqgan_resblock(&s, x, deepest);
    s = ts_vqgan_at(g, v, "decoder.mid.attn_1");
    x = ts_vqgan_attnblock(&s, x);
    s = ts_vqgan_at(g, v, "decoder.mid.block_2");
    x = ts_vqgan_resblock(&s, x, deepest);
    for (int level = c->levels - 1; level >= 0; level--) {
        for (int block = 0; block <= c->blocks; block++) {
            s = ts_vqgan_at(g, v, "decoder.up.%d.block.%d", level, block);
            x = ts_vqgan_resblock(&s, x, c->width[level]);
            if (!c->attention[level]) continue;
            s = ts_vqgan_at(g, v, "decoder.up.%d.attn.%d", level, block);
            x = ts_vqgan_attnblock(&s, x);
        }
        if (level == 0) break;
        s = ts_vqgan_at(g, v, "decoder.up.%d.upsample", level);
        x = ts_vqgan_conv3x3(&s, "conv", ts_upsample2x(g, x), c->width[level]);
    }
    s = ts_vqgan_at(g, v, "decoder"); // x (N, h f, w f, width[0])
    x = ts_swish(g, ts_vqgan_norm(&s, "norm_out", x));
    return ts_vqgan_conv3x3(&s, "conv_out", x, 3); // (N, h f, w f, 3)
}

ts_tensor *ts_vqgan_show(ts_graph *g, ts_tensor *decoded)
{
    return ts_scale(g, ts_clamp(g, decoded, -1, 1), 0.5f, 0.5f); // (y + 1) / 2
}

ts_tensor *ts_vqgan_paint_latents(ts_graph *g, const ts_vqgan *v, ts_tensor *latents)
{
    return ts_vqgan_show(g, ts_vqgan_decode(g, v, latents));
}

ts_tensor *ts_vqgan_paint(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w)
{
    return ts_vqgan_paint_latents(g, v, ts_vqgan_lookup(g, v, codes, h, w));
}
