/* bank.c - what a pixel's surroundings look like at six scales: ilastik's features (Berg et al. 2019), as its program computes
 * them with vigra's filters. At a scale s the picture is smoothed first, by sqrt(s^2 - 1) where s is above 1, else by s, and then
 * looked at with small filters of t = min(s, 1):
 *     Gaussian                 G_t
 *     difference of Gaussians  G_t - G_0.66t
 *     gradient magnitude       sqrt(gx^2 + gy^2), with Gaussian derivatives
 *     Laplacian                hxx + hyy
 *     Hessian                  eigenvalues of [hxx hxy; hxy hyy]
 *     structure tensor         eigenvalues of G_t/2 [gx^2 gx gy; gx gy gy^2]
 * A kernel ends at 3.5 sigma in the first smoothing and at 2 sigma in the filters; what the truncation took is given back: a
 * Gaussian's numbers add up to 1, a derivative's are freed of their mean and scaled to differentiate x, and x^2 / 2, exactly.
 * Edges are mirrored, the edge itself not repeated. All of it is separable. */
#include "strokes/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const double ts_strokes_scale[STROKES_SCALES] = {0.7, 1, 1.6, 3.5, 5, 10};
const char ts_strokes_scales_text[] = "0.7 1 1.6 3.5 5 10";
static const double SMOOTHING_REACH = 3.5, FILTER_REACH = 2, FINER = 0.66, OUTER = 0.5;

static const char *const orders[] = {"gauss", "first", "second"};

/* The derivative of that order of exp(-x^2 / 2 sigma^2), up to a factor. */
static double gaussian(double x, double sigma, int order)
{
    const double q = x / sigma, g = exp(-0.5 * q * q);
    return order == 0 ? g : order == 1 ? -q * g : (q * q - 1) * g;
}

bool ts_strokes_kernel(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx;
    char word[16];
    double sigma;
    int order = 0;
    const int64_t taps = shape[0], radius = taps / 2;
    if (ndim != 1 || sscanf(name, "%15[a-z]:%lf", word, &sigma) != 2) return true; /* the features themselves begin as zeros */
    while (order < 2 && strcmp(word, orders[order]) != 0) order++;
    double k[1024], mean = 0, norm = 0;
    if (taps > 1024) return ts_fail(err, TS_ERR_ARGUMENT, "a kernel of %lld numbers is too long", (long long)taps);
    for (int64_t i = 0; i < taps; i++) mean += k[i] = gaussian((double)(i - radius), sigma, order);
    for (int64_t i = 0; i < taps; i++) {
        const double x = (double)(i - radius);
        if (order > 0) k[i] -= mean / (double)taps;
        norm += k[i] * (order == 0 ? 1 : order == 1 ? x : x * x / 2);
    }
    for (int64_t i = 0; i < taps; i++) out[i] = (float)(k[i] / norm);
    return true;
}

/* What all of a bank's description needs. */
typedef struct {
    ts_graph *g;
    ts_params *kernels;
} bank;

static ts_tensor *kernel_of(const bank *b, double sigma, double reach, int order)
{
    char name[64];
    int64_t radius = (int64_t)(reach * sigma + 0.5);
    if (radius < 1) radius = 1;
    snprintf(name, sizeof name, "%s:%.9g:%d", orders[order], sigma, (int)radius);
    return ts_param(b->g, b->kernels, name, TS_LAYOUT_PLAIN, 1, (int64_t[]){2 * radius + 1});
}

static ts_tensor *smooth(const bank *b, ts_tensor *x, double sigma, double reach)
{
    ts_tensor *k = kernel_of(b, sigma, reach, 0);
    return ts_filter(b->g, ts_filter(b->g, x, k, false), k, true);
}

/* The 24 columns of one scale; x (1, H, W, 3) smoothed by it. */
static bool add_scale(const bank *b, ts_tensor *x, double t, ts_tensor *state, int64_t first)
{
    ts_graph *g = b->g;
    ts_tensor *k[3], *across[3];
    for (int order = 0; order < 3; order++) {
        k[order] = kernel_of(b, t, FILTER_REACH, order);
        across[order] = ts_filter(g, x, k[order], false);
    }
    ts_tensor *gauss = ts_filter(g, across[0], k[0], true); // (1, H, W, 3), as all of these
    ts_tensor *fine = smooth(b, x, FINER * t, FILTER_REACH);
    ts_tensor *difference = ts_sub(g, gauss, fine);
    ts_tensor *gx = ts_filter(g, across[1], k[0], true), *gy = ts_filter(g, across[0], k[1], true);
    ts_tensor *hxx = ts_filter(g, across[2], k[0], true), *hxy = ts_filter(g, across[1], k[1], true);
    ts_tensor *hyy = ts_filter(g, across[0], k[2], true);
    ts_tensor *hessian = ts_eigen2(g, hxx, hxy, hyy, true); // (1, H, W, 9): Laplacian, larger, smaller
    ts_tensor *xx = ts_square(g, gx), *xy = ts_mul(g, gx, gy), *yy = ts_square(g, gy);
    ts_tensor *magnitude = ts_sqrt(g, ts_add(g, xx, yy));
    ts_tensor *txx = smooth(b, xx, OUTER * t, FILTER_REACH), *txy = smooth(b, xy, OUTER * t, FILTER_REACH);
    ts_tensor *tyy = smooth(b, yy, OUTER * t, FILTER_REACH);
    ts_tensor *tensor = ts_eigen2(g, txx, txy, tyy, false); // (1, H, W, 6)
    return ts_put_columns(g, state, first, 5, (ts_tensor *[]){gauss, difference, magnitude, hessian, tensor});
}

bool ts_strokes_bank(ts_graph *g, ts_params *kernels, ts_tensor *pixels, ts_tensor *state)
{
    const bank b = {g, kernels};
    bool ok = true;
    for (int i = 0; ok && i < STROKES_SCALES; i++) {
        const double s = ts_strokes_scale[i];
        ts_scope(g, "scale %g", s);
        ts_tensor *x = smooth(&b, pixels, s > 1 ? sqrt(s * s - 1) : s, SMOOTHING_REACH);
        ok = add_scale(&b, x, s > 1 ? 1 : s, state, (int64_t)i * STROKES_OF_SCALE);
    }
    return ok;
}
