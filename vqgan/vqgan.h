/* vqgan.h - the VQGAN of Esser et al. 2021 (arXiv 2012.09841): pictures to codes of a codebook, and codes to pictures.
 *
 * A picture (H, W) becomes (H/f, W/f) latents of `embed` numbers, each is replaced by the nearest of `codes` rows of the
 * codebook, and the decoder paints a picture from those. The functions add nodes to a graph; the tensors' names are those of the
 * published files, with `vae.` before them inside an MAE-VQGAN file:
 *
 *   ts_vqgan v = {.params = ts_params_new(dev, w, ts_vqgan_prefix(w), &err)};
 *   ts_vqgan_config_read(w, ts_vqgan_prefix(w), &v.config, &err);
 *   ts_tensor *codes = ts_vqgan_codes(g, &v, ts_vqgan_encode(g, &v, pixels));
 *   ts_tensor *picture = ts_vqgan_paint(g, &v, codes, h, w); */
#ifndef TESSERA_VQGAN_H
#define TESSERA_VQGAN_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TS_VQGAN_MAX_LEVELS = 8, TS_VQGAN_MAX_BLOCKS = 16 };

/* The architecture, read off the tensors' shapes. */
typedef struct {
    int base;                            /* channels after the first convolution: 128 as published */
    int levels;                          /* resolutions: 5 */
    int width[TS_VQGAN_MAX_LEVELS];      /* channels of each level: 128 128 256 256 512 */
    int blocks;                          /* residual blocks a level (one more in the decoder): 2 */
    bool attention[TS_VQGAN_MAX_LEVELS]; /* an attention block after each residual block: the last level only */
    int latent;                          /* channels between encoder and quant_conv: 256 */
    int embed;                           /* numbers of a code: 256 */
    int codes;                           /* rows of the codebook: 1024 */
    int factor;                          /* pixels a side that become one code: 2^(levels - 1) = 16 */
} ts_vqgan_config;

/* A VQGAN whose weights are on a device. `params` belongs to the caller. */
typedef struct {
    ts_vqgan_config config;
    ts_params *params;
} ts_vqgan;

/* "vae." for an MAE-VQGAN file, "" for a VQGAN's own, NULL where the file holds no VQGAN. */
const char *ts_vqgan_prefix(const ts_weights *w);
/* Reads the architecture. Fails, naming the tensor, where one that tells it is missing or of an impossible shape. */
bool ts_vqgan_config_read(const ts_weights *w, const char *prefix, ts_vqgan_config *out, ts_error *err);

/* pixels (N, H, W, 3) in [-1, 1]; H, W multiples of `factor` -> latents (N, H/f, W/f, embed). */
ts_tensor *ts_vqgan_encode(ts_graph *g, const ts_vqgan *v, ts_tensor *pixels);
/* latents (N, h, w, embed) -> I32 (N, h*w), row by row. */
ts_tensor *ts_vqgan_codes(ts_graph *g, const ts_vqgan *v, ts_tensor *latents);
/* codes I32 (N, h*w) -> latents (N, h, w, embed), rows of the codebook. */
ts_tensor *ts_vqgan_lookup(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w);
/* latents (N, h, w, embed) -> (N, h*f, w*f, 3), about [-1, 1] but not clamped. */
ts_tensor *ts_vqgan_decode(ts_graph *g, const ts_vqgan *v, ts_tensor *latents);
/* codes I32 (N, h*w) -> pictures (N, h*f, w*f, 3), clamped and brought to [0, 1]. */
ts_tensor *ts_vqgan_paint(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w);

#ifdef __cplusplus
}
#endif
#endif
