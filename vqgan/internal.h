/* internal.h - what the VQGAN's own files share: its weights by name, and the two blocks that encoder and decoder are made of. */
#ifndef TESSERA_VQGAN_INTERNAL_H
#define TESSERA_VQGAN_INTERNAL_H

#include "vqgan/vqgan.h"

/* Where in the model, and so under which names in the file, the next layers stand: "encoder.down.2.block.0". */
typedef struct {
    ts_graph *g;
    const ts_vqgan *v;
    char path[48];
} ts_vqgan_scope;

ts_vqgan_scope ts_vqgan_at(ts_graph *g, const ts_vqgan *v, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* x (N, H, W, in) -> (N, H, W, out): a 3x3 convolution that keeps the size. */
ts_tensor *ts_vqgan_conv3x3(const ts_vqgan_scope *s, const char *name, ts_tensor *x, int64_t out);
/* x (..., in) -> (..., out): a 1x1 convolution, which on NHWC is a linear layer. */
ts_tensor *ts_vqgan_conv1x1(const ts_vqgan_scope *s, const char *name, ts_tensor *x, int64_t out);
/* GroupNorm, in the configuration's groups. */
ts_tensor *ts_vqgan_norm(const ts_vqgan_scope *s, const char *name, ts_tensor *x);
/* A layer's weight and its bias; `shape` is the weight's, the bias has its first number. */
typedef struct {
    ts_tensor *weight, *bias;
} ts_vqgan_pair;
ts_vqgan_pair ts_vqgan_weights(const ts_vqgan_scope *s, const char *name, ts_layout layout, int ndim, const int64_t *shape);

/* x (N, H, W, in) -> (N, H, W, out). */
ts_tensor *ts_vqgan_resblock(const ts_vqgan_scope *s, ts_tensor *x, int64_t out);
/* x (N, H, W, C) -> the same: every place looks at every other, one head. */
ts_tensor *ts_vqgan_attnblock(const ts_vqgan_scope *s, ts_tensor *x);

/* Weights that a training begins with, by the tensor's name without prefix; `random` is the generator's state. */
void ts_vqgan_fresh(const char *name, int ndim, const int64_t *shape, uint64_t *random, float *out);

/* Sets the codes (codes, width) that are not `used` to latents (places, width) that lie far from all others. */
bool ts_vqgan_revive(float *book, int codes, int width, const uint8_t *used, const float *latents, int64_t places, uint64_t *seed,
                     ts_error *err);
/* Codes nearer to an earlier one than `share` of the median distance to the nearest other become it. */
bool ts_vqgan_merge(float *book, int codes, int width, double share, ts_error *err);
/* Places all codes by k-means over latents (places, width). */
bool ts_vqgan_fit(float *book, int codes, int width, const float *latents, int64_t places, uint64_t *seed, ts_error *err);

/* Channels of the first layer of a file's discriminator; 0: it holds none. */
int ts_vqgan_discriminator_width(const ts_weights *w);
/* A ts_init_fn of the discriminator's weights; `ctx` is the generator's state, a uint64_t. */
bool ts_vqgan_discriminator_fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);

#endif
