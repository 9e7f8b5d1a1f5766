/* encoder.c - a picture to latents: each level halves the resolution but the last. */
#include "vqgan/internal.h"

/* Half the size. The padding is the published model's, one column at the right and one row below only: a symmetric one would
 * shift every level by half a pixel. x (N, H, W, C) -> (N, H/2, W/2, C) */
static ts_tensor *downsample(const ts_vqgan_scope *s, ts_tensor *x)
{
    if (!x) return NULL;
    int64_t c = x->shape[3];
    ts_vqgan_pair p = ts_vqgan_weights(s, "conv", TS_LAYOUT_CONV, 4, (int64_t[]){c, c, 3, 3});
    return ts_conv2d(s->g, x, p.weight, p.bias, &(ts_conv_desc){.stride = 2, .bottom = 1, .right = 1});
}

ts_tensor *ts_vqgan_encode(ts_graph *g, const ts_vqgan *v, ts_tensor *pixels)
{
    const ts_vqgan_config *c = &v->config;
    ts_vqgan_scope s = ts_vqgan_at(g, v, "encoder");
    ts_tensor *x = ts_vqgan_conv3x3(&s, "conv_in", pixels, c->base); // (N, H, W, base)
    for (int level = 0; level < c->levels; level++) {
        for (int block = 0; block < c->blocks; block++) {
            s = ts_vqgan_at(g, v, "encoder.down.%d.block.%d", level, block);
            x = ts_vqgan_resblock(&s, x, c->width[level]);
            if (!c->attention[level]) continue;
            s = ts_vqgan_at(g, v, "encoder.down.%d.attn.%d", level, block);
            x = ts_vqgan_attnblock(&s, x);
        }
        if (level + 1 == c->levels) break;
        s = ts_vqgan_at(g, v, "encoder.down.%d.downsample", level);
        x = downsample(&s, x);
    }
    int deepest = c->width[c->levels - 1];
    s = ts_vqgan_at(g, v, "encoder.mid.block_1");
    x = ts_vqgan_resblock(&s, x, deepest);
    s = ts_vqgan_at(g, v, "encoder.mid.attn_1");
    x = ts_vqgan_attnblock(&s, x);
    s = ts_vqgan_at(g, v, "encoder.mid.block_2");
    x = ts_vqgan_resblock(&s, x, deepest);
    s = ts_vqgan_at(g, v, "encoder");
    x = ts_swish(g, ts_vqgan_norm(&s, "norm_out", x));
    x = ts_vqgan_conv3x3(&s, "conv_out", x, c->latent); // (N, H/f, W/f, latent)
    s = ts_vqgan_at(g, v, "%s", "");
    return ts_vqgan_conv1x1(&s, "quant_conv", x, c->embed); // (N, H/f, W/f, embed)
}
