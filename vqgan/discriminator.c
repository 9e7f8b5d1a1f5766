/* discriminator.c - the patch discriminator (Isola et al. 2017, arXiv 1611.07004) as the VQGAN trains with it, and what it adds
 * to a training: each number of its output judges one patch of the picture, above zero where it takes it for a real one.
 *
 * Its BatchNorm is the engine's GroupNorm over one image that holds the whole batch, one channel a group: the same statistics.
 * The running averages that PyTorch keeps beside them serve evaluation alone, which a discriminator never sees, so there are
 * none. */
#include "vqgan/internal.h"

#include <stdio.h>
#include <string.h>

enum { LAYERS = 5, WIDEST = 8 }; /* channels double up to so many times the first layer's */
/* Places of the convolutions in the published list of modules; a layer's BatchNorm follows at once. */
static const int PLACE[LAYERS] = {0, 2, 5, 8, 11};
static const float SLOPE = 0.2F, EPS = 1e-5F;
/* As the published code weighs the two gradients (Esser et al. 2021, eq. 7). */
static const float SHARE = 0.8F, RATIO_EPS = 1e-4F, MOST_RATIO = 1e4F;
/* The gradients at the picture are those of the losses times SCALE, so that fp16 does not lose them; at the last weight, where
 * all pixels' come together, times LAST_SCALE. Powers of two round nothing. */
static const float SCALE = 32768, LAST_SCALE = 512;

/* ---- the network ---- */

static bool normalised(int layer)
{
    return layer > 0 && layer < LAYERS - 1;
}

static ts_tensor *weight(ts_graph *g, const ts_vqgan_discriminator *d, int place, const char *what, ts_layout layout, int ndim,
                         const int64_t *shape)
{
    char name[64];
    snprintf(name, sizeof name, "loss.discriminator.main.%d.%s", place, what);
    return ts_param(g, d->params, name, layout, ndim, shape);
}

/* x (N, h, w, C): over the batch. */
static ts_tensor *batchnorm(ts_graph *g, const ts_vqgan_discriminator *d, int place, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t channels = x->shape[3], rows = x->shape[0] * x->shape[1] * x->shape[2];
    ts_tensor *gamma = weight(g, d, place, "weight", TS_LAYOUT_PLAIN, 1, &channels);
    ts_tensor *beta = weight(g, d, place, "bias", TS_LAYOUT_PLAIN, 1, &channels);
    ts_tensor *all = ts_reshape(g, x, 3, (int64_t[]){1, rows, channels});
    return ts_reshape(g, ts_groupnorm(g, all, gamma, beta, (int)channels, EPS), 4, x->shape);
}

ts_tensor *ts_vqgan_discriminate(ts_graph *g, const ts_vqgan_discriminator *d, ts_tensor *pictures)
{
    ts_tensor *x = pictures; /* (N, H, W, 3) */
    for (int i = 0; i < LAYERS && x; i++) {
        ts_scope(g, "discriminator.main.%d", PLACE[i]);
        const int64_t widest = (int64_t)d->width * WIDEST, doubled = (int64_t)d->width << i;
        const int64_t out = i == LAYERS - 1 ? 1 : doubled < widest ? doubled : widest;
        ts_tensor *w = weight(g, d, PLACE[i], "weight", TS_LAYOUT_CONV, 4, (int64_t[]){out, x->shape[3], 4, 4});
        ts_tensor *bias = normalised(i) ? NULL : weight(g, d, PLACE[i], "bias", TS_LAYOUT_PLAIN, 1, &out);
        x = ts_conv2d(g, x, w, bias, &(ts_conv_desc){i < 3 ? 2 : 1, 1, 1, 1, 1}); /* (N, h, w, out) */
        if (normalised(i)) x = batchnorm(g, d, PLACE[i] + 1, x);
        if (i < LAYERS - 1) x = ts_leaky_relu(g, x, SLOPE);
    }
    return x; /* (N, H/8 - 2, W/8 - 2, 1) */
}

/* ---- its weights ---- */

int ts_vqgan_discriminator_width(const ts_weights *w)
{
    const ts_weight *first = w ? ts_weights_find(w, "loss.discriminator.main.0.weight") : NULL;
    return first && first->ndim == 4 && first->shape[0] > 0 && first->shape[0] <= TS_VQGAN_MAX_DISCRIMINATOR
               ? (int)first->shape[0]
               : 0;
}

/* As published: normal(0, 0.02) of a convolution, normal(1, 0.02) of a BatchNorm; biases begin as zeros. */
bool ts_vqgan_discriminator_fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    uint64_t *random = ctx;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    const bool bias = strstr(name, ".bias") != NULL;
    for (int64_t i = 0; i < count && !bias; i++) out[i] = (float)((ndim == 1 ? 1 : 0) + 0.02 * ts_normal(random));
    return true;
}

/* ---- the two sides ---- */

/* mean relu(1 + sign x) */
static ts_tensor *hinge(ts_graph *g, ts_tensor *logits, float sign)
{
    return ts_mean(g, ts_relu(g, ts_scale(g, logits, sign, 1)));
}

static ts_tensor *gradient(ts_graph *g, ts_tensor *loss, ts_tensor *at)
{
    ts_tensor *grad = NULL;
    return ts_grad(g, loss, 1, &at, &grad) ? ts_stop_gradient(g, grad) : NULL;
}

/* A number whose gradient at x is `slope` (a constant) times `scale`: the chain rule goes on from there. */
static ts_tensor *pull(ts_graph *g, ts_tensor *x, ts_tensor *slope, float scale)
{
    return ts_scale(g, ts_sum(g, ts_mul(g, x, slope)), scale, 0);
}

/* x times the one number of `factor`. */
static ts_tensor *times(ts_graph *g, ts_tensor *x, ts_tensor *factor)
{
    if (!x) return NULL;
    ts_tensor *column = ts_reshape(g, x, 2, (int64_t[]){ts_count(x), 1});
    return ts_reshape(g, ts_mul(g, column, factor), x->ndim, x->shape);
}

ts_vqgan_adversary ts_vqgan_adversary_new(ts_graph *g, const ts_vqgan_discriminator *d, ts_tensor *pixels, ts_tensor *painted,
                                          ts_tensor *last, ts_tensor *reconstruction)
{
    ts_vqgan_adversary a = {0};
    ts_tensor *real = ts_vqgan_discriminate(g, d, pixels), *fake = ts_vqgan_discriminate(g, d, painted);
    a.generator = ts_scale(g, ts_mean(g, fake), -1, 0);
    a.discriminator = ts_scale(g, ts_add(g, hinge(g, real, -1), hinge(g, fake, 1)), 0.5F, 0);
    /* How the losses would have the picture changed; the way from there to the weights is the same for both. */
    ts_scope(g, "adversary");
    ts_tensor *wanted = gradient(g, ts_scale(g, reconstruction, SCALE, 0), painted);
    ts_tensor *opposed = gradient(g, ts_scale(g, a.generator, SCALE, 0), painted);
    ts_tensor *of_wanted = gradient(g, pull(g, painted, wanted, LAST_SCALE / SCALE), last);
    ts_tensor *of_opposed = gradient(g, pull(g, painted, opposed, LAST_SCALE / SCALE), last);
    a.weight = ts_scale(g, ts_norm_ratio(g, of_wanted, of_opposed, RATIO_EPS * LAST_SCALE, MOST_RATIO), SHARE, 0);
    ts_tensor *both = ts_stop_gradient(g, ts_add(g, wanted, times(g, opposed, a.weight)));
    a.gradient_of = pull(g, painted, both, 1 / SCALE);
    return a;
}
