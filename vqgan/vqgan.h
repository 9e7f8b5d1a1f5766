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

enum { TS_VQGAN_MAX_LEVELS = 8, TS_VQGAN_MAX_BLOCKS = 16, TS_VQGAN_MAX_DISCRIMINATOR = 4096 };

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
    int groups; /* of every GroupNorm; zero: 32, as published. Narrow models have fewer: metadata "vqgan_groups" */
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

/* Both of these for a file that must hold a VQGAN. Returns its prefix, NULL on failure. */
const char *ts_vqgan_find(const ts_weights *w, ts_vqgan_config *out, ts_error *err);

/* Adds what no shape tells (vqgan_groups) to a file's metadata. */
bool ts_vqgan_config_meta(const ts_vqgan_config *c, ts_weights_writer *w, ts_error *err);

/* Adds the VQGAN of a file to an MAE-VQGAN that is being written: its tensors as `dtype` under "vae.", and that metadata. */
bool ts_vqgan_embed(const ts_weights *from, ts_dtype dtype, ts_weights_writer *w, ts_error *err);

/* pixels (N, H, W, 3) in [-1, 1]; H, W multiples of `factor` -> latents (N, H/f, W/f, embed). */
ts_tensor *ts_vqgan_encode(ts_graph *g, const ts_vqgan *v, ts_tensor *pixels);
/* latents (N, h, w, embed) -> I32 (N, h*w), row by row. */
ts_tensor *ts_vqgan_codes(ts_graph *g, const ts_vqgan *v, ts_tensor *latents);
/* codes I32 (N, h*w) -> latents (N, h, w, embed), rows of the codebook. */
ts_tensor *ts_vqgan_lookup(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w);
/* latents (N, h, w, embed) -> (N, h*f, w*f, 3), about [-1, 1] but not clamped. */
ts_tensor *ts_vqgan_decode(ts_graph *g, const ts_vqgan *v, ts_tensor *latents);
/* Those -> pictures, clamped and brought to [0, 1]. The clamp makes a colour even of what is no number: whoever shows pictures to
 * somebody keeps the mean of `decoded` too, which is none where one of them is not. */
ts_tensor *ts_vqgan_show(ts_graph *g, ts_tensor *decoded);
/* codes I32 (N, h*w) -> pictures (N, h*f, w*f, 3), clamped and brought to [0, 1]. */
ts_tensor *ts_vqgan_paint(ts_graph *g, const ts_vqgan *v, ts_tensor *codes, int64_t h, int64_t w);
/* The same of latents (N, h, w, embed). */
ts_tensor *ts_vqgan_paint_latents(ts_graph *g, const ts_vqgan *v, ts_tensor *latents);

/* ---- pictures to codes and back, in batches -------------------------------------------------------------------- */

/* The frozen VQGAN as a tool: for `batch` pictures of side x side codes. The weights and the device must outlive it. */
typedef struct ts_vqgan_coder ts_vqgan_coder;
ts_vqgan_coder *ts_vqgan_coder_new(ts_device *dev, const ts_weights *w, int batch, int side, ts_error *err);
void ts_vqgan_coder_free(ts_vqgan_coder *c);
const ts_vqgan_config *ts_vqgan_coder_config(const ts_vqgan_coder *c);
/* pixels (batch, size, size, 3), 8-bit, resized (bilinear) where size is not side * factor -> codes (batch, side^2). */
bool ts_vqgan_coder_encode(ts_vqgan_coder *c, const uint8_t *pixels, int size, int32_t *codes, ts_error *err);
/* codes (batch, side^2) -> pixels (batch, side * factor, side * factor, 3) in [0, 1]. */
bool ts_vqgan_coder_decode(ts_vqgan_coder *c, const int32_t *codes, float *pixels, ts_error *err);

/* ---- how unlike pictures look --------------------------------------------------------------------------------------- */

/* LPIPS (Zhang et al. 2018, arXiv 1801.03924), version 0.1 on VGG-16, frozen; the widths are the files' own. `weights` holds the
 * learned vectors ("lin0.model.1.weight" ..., alone as published or under "loss.perceptual_loss." in a VQGAN's checkpoint) and
 * may hold the VGG ("net.slice1.0.weight" ...); where not, `vgg` does ("features.0.weight" ..., torchvision's), else NULL. The
 * files and the device must outlive it. */
typedef struct ts_lpips ts_lpips;
ts_lpips *ts_lpips_new(ts_device *dev, const ts_weights *weights, const ts_weights *vgg, ts_error *err);
void ts_lpips_free(ts_lpips *l);
/* a, b (N, H, W, 3) in [-1, 1], 16 pixels a side at least -> (1): the mean over N. Both have gradients. */
ts_tensor *ts_lpips_distance(ts_graph *g, const ts_lpips *l, ts_tensor *a, ts_tensor *b);
/* After a graph is described: what the files lack, in one sentence. */
bool ts_lpips_check(const ts_lpips *l, ts_error *err);

/* ---- training ------------------------------------------------------------------------------------------------ */

/* The published objective: mean |x - y| + LPIPS(x, y) + mean (sg(e) - z)^2 + 0.25 mean (e - sg(z))^2, z the latents, e their
 * codes' rows, y painted from z + sg(e - z) (straight through), LPIPS where its weights are given; from a step on also the
 * generator's side of the adversary below, times its weight, while the discriminator learns from the same pictures. Adam, betas
 * 0.5, 0.9. One step is one graph. */
typedef struct ts_vqgan_trainer ts_vqgan_trainer;

typedef struct {
    const ts_weights *weights; /* to start from; NULL: fresh weights of `config` */
    ts_vqgan_config config;    /* of fresh weights */
    int batch, side;           /* pictures in a call of ts_vqgan_trainer_step; pixels a side, a multiple of the factor */
    int accumulate;            /* calls that make one step; zero: 1 */
    double beta1, beta2;       /* zeros: 0.5, 0.9, as published */
    int revive;                /* after so many steps codes that were never used are set to latents of the last batch; 0: never */
    int discriminator;         /* channels of its first layer, 64 as published; 0: none */
    int discriminator_start;   /* steps before it joins in */
    int continuous; /* steps at the beginning that do not quantise; k-means of their latents then begins the codebook; 0: none */
    bool decoder_only; /* encoder and codebook stay those of `weights`: the codes of a masked autoencoder remain valid */
    /* With decoder_only, before the first step: codes nearer to an earlier one than this share of the codes' median distance to
     * their nearest become equal to it, and so are never chosen; 0: none. White, which fills most of a figure, ends up with many
     * codes that differ in nothing, and a masked autoencoder cannot foretell which. */
    double merge;
    const ts_lpips *lpips; /* NULL: the reconstruction counts by mean |x - y| alone. Must outlive the trainer */
    uint64_t seed;
} ts_vqgan_trainer_desc;

typedef struct {
    double reconstruction; /* mean |x - y|, pictures in [-1, 1] */
    double perceptual;     /* LPIPS; NaN without */
    double codebook;
    double generator, discriminator, weight; /* of the adversary; NaN before it joins in */
    double total;                            /* what is made small */
    int codes_used;                          /* different ones in this step so far */
} ts_vqgan_losses;

ts_vqgan_trainer *ts_vqgan_trainer_new(ts_device *dev, const ts_vqgan_trainer_desc *desc, ts_error *err);
void ts_vqgan_trainer_free(ts_vqgan_trainer *t);
const ts_vqgan_config *ts_vqgan_trainer_config(const ts_vqgan_trainer *t);
double ts_vqgan_trainer_loss_scale(const ts_vqgan_trainer *t); /* 0 but in fp16 */
int64_t ts_vqgan_trainer_steps(const ts_vqgan_trainer *t);
/* One step, or with `accumulate` a part of one (see ts_mae_trainer_step). pixels (batch, side, side, 3) in [-1, 1]; losses are
 * those before the update. */
bool ts_vqgan_trainer_step(ts_vqgan_trainer *t, const float *pixels, double lr, ts_vqgan_losses *losses, ts_error *err);
/* What the last step painted, (batch, side, side, 3), about [-1, 1]. */
bool ts_vqgan_trainer_painted(ts_vqgan_trainer *t, float *out, ts_error *err);
/* As ts_mae_trainer_save and _resume. */
bool ts_vqgan_trainer_save(ts_vqgan_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err);
bool ts_vqgan_trainer_resume(ts_vqgan_trainer *t, const ts_weights *checkpoint, ts_error *err);

/* The nodes of the objective, for those who add to it. */
typedef struct {
    ts_tensor *latents;        /* (N, h, w, embed) */
    ts_tensor *codes;          /* I32 (N, h*w) */
    ts_tensor *painted;        /* (N, H, W, 3), not clamped */
    ts_tensor *reconstruction; /* (1): mean |x - y| */
    ts_tensor *perceptual;     /* (1): LPIPS, or NULL */
    ts_tensor *likeness;       /* (1): the sum of the two */
    ts_tensor *codebook;       /* (1) */
    ts_tensor *loss;           /* (1): likeness + codebook */
    ts_tensor *quantise;       /* input (embed): ones, or zeros to paint from the latents themselves; where `switched` */
    ts_tensor *codebook_share; /* input (1): of the codebook's loss; where `switched` */
} ts_vqgan_objective;
ts_vqgan_objective ts_vqgan_objective_new(ts_graph *g, const ts_vqgan *v, ts_tensor *pixels, const ts_lpips *lpips,
                                          bool switched);

/* The patch discriminator. `params` belongs to the caller; its tensors are "loss.discriminator.main.*", as published. */
typedef struct {
    int width; /* channels of the first layer */
    ts_params *params;
} ts_vqgan_discriminator;
/* pictures (N, H, W, 3), 24 pixels a side at least -> logits (N, h, w, 1), above zero where a patch is taken for a real one. */
ts_tensor *ts_vqgan_discriminate(ts_graph *g, const ts_vqgan_discriminator *d, ts_tensor *pictures);

/* The two sides: painted pictures are to be taken for real ones, and the discriminator is to tell them apart. */
typedef struct {
    ts_tensor *generator;     /* (1): -mean D(y) */
    ts_tensor *discriminator; /* (1): (mean relu(1 - D(x)) + mean relu(1 + D(y))) / 2, for the discriminator's parameters */
    ts_tensor *weight;        /* (1): 0.8 min(|dR| / (|dG| + 1e-4), 1e4), the gradients of R and `generator` at `last` */
    /* (1): has, for the VQGAN's parameters, the gradient of R + weight generator, though not its value; the way back through the
     * discriminator and what made R is gone once for it and for the weight. */
    ts_tensor *gradient_of;
} ts_vqgan_adversary;
/* `painted` y from the decoder's last weight, `last`; R the reconstruction's loss. */
ts_vqgan_adversary ts_vqgan_adversary_new(ts_graph *g, const ts_vqgan_discriminator *d, ts_tensor *pixels, ts_tensor *painted,
                                          ts_tensor *last, ts_tensor *reconstruction);

#ifdef __cplusplus
}
#endif
#endif
