/* lpips.c - how unlike two pictures look: LPIPS (Zhang et al. 2018, arXiv 1801.03924, eq. 1), version 0.1 on VGG-16, as the VQGAN
 * trains with it. Features after five of VGG's activations, each brought to length 1 over its channels; the squared differences,
 * weighted by a learned vector, are averaged over the picture; the five numbers are added.
 *
 * A place whose features are all zero stays zero here, where PyTorch divides by 1e-10 and gives its gradient as NaN. */
#include "vqgan/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

enum { SLICES = 5, MOST_CONVS = 3, MAX_WIDTH = 1 << 13 };
/* Places of the convolutions in torchvision's list of modules, and so in both files' names; a ReLU follows each. */
static const int PLACE[SLICES][MOST_CONVS] = {{0, 2, -1}, {5, 7, -1}, {10, 12, 14}, {17, 19, 21}, {24, 26, 28}};
/* The published code's "scaling layer": (x - shift) / scale, x in [-1, 1]. */
static const double SHIFT[3] = {-.030, -.088, -.188}, SCALE[3] = {.458, .448, .450};

struct ts_lpips {
    const ts_weights *weights, *vgg;
    const char *prefix;
    ts_params *params;
    int64_t width[SLICES][MOST_CONVS];
};

/* ---- weights ---- */

static const char *prefix_of(const ts_weights *w)
{
    static const char *const prefixes[] = {"", "loss.perceptual_loss.", "perceptual_loss."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char name[80];
        snprintf(name, sizeof name, "%slin0.model.1.weight", prefixes[i]);
        if (ts_weights_find(w, name)) return prefixes[i];
    }
    return NULL;
}

/* "net.slice1.0.weight" beside the learned vectors, "features.0.weight" in torchvision's own file. */
static const ts_weight *find_conv(const ts_lpips *l, int slice, int conv, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "%snet.slice%d.%d.%s", l->prefix, slice + 1, PLACE[slice][conv], what);
    const ts_weight *w = ts_weights_find(l->weights, name);
    if (w || !l->vgg) return w;
    snprintf(name, sizeof name, "features.%d.%s", PLACE[slice][conv], what);
    return ts_weights_find(l->vgg, name);
}

static bool read_widths(ts_lpips *l, ts_error *err)
{
    for (int s = 0; s < SLICES; s++)
        for (int c = 0; c < MOST_CONVS && PLACE[s][c] >= 0; c++) {
            const ts_weight *w = find_conv(l, s, c, "weight");
            if (!w && !l->vgg)
                return ts_fail(
                    err, TS_ERR_FORMAT,
                    "%s holds LPIPS' vectors but not the VGG-16 under them (%snet.slice%d.%d.weight): give torchvision's "
                    "file of it too",
                    ts_weights_path(l->weights), l->prefix, s + 1, PLACE[s][c]);
            if (!w)
                return ts_kind_expect(l->vgg, TS_KIND_VGG, err) &&
                       ts_fail(err, TS_ERR_FORMAT,
                               "%s is no VGG-16 as torchvision keeps it: tensor features.%d.weight is missing",
                               ts_weights_path(l->vgg), PLACE[s][c]);
            if (w->ndim != 4 || w->shape[0] < 1 || w->shape[0] > MAX_WIDTH)
                return ts_fail(err, TS_ERR_SHAPE, "tensor %s is not a convolution's of 1 to %d channels", w->name, MAX_WIDTH);
            l->width[s][c] = w->shape[0];
        }
    return true;
}

static bool is_shape(const ts_weight *w, int ndim, const int64_t *shape)
{
    bool same = w->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = w->shape[i] == shape[i];
    return same;
}

/* What the file of the vectors lacks: the scaling, of which we have the two numbers that a linear layer wants, and the VGG. */
static bool make_missing(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const ts_lpips *l = ctx;
    int slice, place, used = 0;
    for (int i = 0; i < 3 && strcmp(name, "scaling.weight") == 0; i++) out[i] = (float)(1 / SCALE[i]);
    for (int i = 0; i < 3 && strcmp(name, "scaling.bias") == 0; i++) out[i] = (float)(-SHIFT[i] / SCALE[i]);
    if (strncmp(name, "scaling.", 8) == 0) return true;
    if (l->vgg && sscanf(name, "net.slice%d.%d.%n", &slice, &place, &used) == 2 && used > 0) {
        char there[64];
        snprintf(there, sizeof there, "features.%d.%s", place, name + used);
        const ts_weight *w = ts_weights_find(l->vgg, there);
        if (w && is_shape(w, ndim, shape)) return ts_weight_to_f32(w, out, err);
        return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing, or not of the shape that LPIPS wants",
                       ts_weights_path(l->vgg), there);
    }
    return ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s%s is missing, which LPIPS wants", ts_weights_path(l->weights), l->prefix,
                   name);
}

ts_lpips *ts_lpips_new(ts_device *dev, const ts_weights *weights, const ts_weights *vgg, ts_error *err)
{
    ts_lpips *l = calloc(1, sizeof *l);
    if (!l) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    *l = (ts_lpips){.weights = weights, .vgg = vgg, .prefix = prefix_of(weights)};
    if (!l->prefix) {
        const bool own = ts_kind_of(weights) == TS_KIND_VQGAN || ts_kind_expect(weights, TS_KIND_LPIPS, err);
        if (own)
            ts_fail(
                err, TS_ERR_FORMAT,
                "%s holds no LPIPS (lin0.model.1.weight): wanted a VQGAN's checkpoint with its loss, or the published vgg.pth",
                ts_weights_path(weights));
    } else if (read_widths(l, err)) l->params = ts_params_new_converted(dev, weights, l->prefix, make_missing, l, err);
    if (l->params) return l;
    ts_lpips_free(l);
    return NULL;
}

void ts_lpips_free(ts_lpips *l)
{
    if (!l) return;
    ts_params_free(l->params);
    free(l);
}

/* ---- the distance ---- */

static ts_tensor *conv(ts_graph *g, const ts_lpips *l, int slice, int at, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t out = l->width[slice][at], shape[] = {out, x->shape[3], 3, 3};
    char weight[48], bias[48];
    snprintf(weight, sizeof weight, "net.slice%d.%d.weight", slice + 1, PLACE[slice][at]);
    snprintf(bias, sizeof bias, "net.slice%d.%d.bias", slice + 1, PLACE[slice][at]);
    ts_tensor *w = ts_param(g, l->params, weight, TS_LAYOUT_CONV, 4, shape);
    ts_tensor *b = ts_param(g, l->params, bias, TS_LAYOUT_PLAIN, 1, &out);
    return ts_relu(g, ts_conv2d(g, x, w, b, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1}));
}

/* pictures (N, H, W, 3) -> after each slice (N, H/2^s, W/2^s, C), each place of length 1. */
static void features(ts_graph *g, const ts_lpips *l, ts_tensor *x, ts_tensor *out[SLICES])
{
    ts_tensor *weight = ts_param(g, l->params, "scaling.weight", TS_LAYOUT_PLAIN, 1, (int64_t[]){3});
    ts_tensor *bias = ts_param(g, l->params, "scaling.bias", TS_LAYOUT_PLAIN, 1, (int64_t[]){3});
    x = ts_add(g, ts_mul(g, x, weight), bias);
    for (int s = 0; s < SLICES; s++) {
        ts_scope(g, "lpips.slice%d", s + 1);
        if (s > 0) x = ts_maxpool2x(g, x);
        for (int c = 0; c < MOST_CONVS && PLACE[s][c] >= 0; c++) x = conv(g, l, s, c, x);
        out[s] = ts_unit(g, x);
    }
}

ts_tensor *ts_lpips_distance(ts_graph *g, const ts_lpips *l, ts_tensor *a, ts_tensor *b)
{
    ts_tensor *of_a[SLICES], *of_b[SLICES], *sum = NULL;
    features(g, l, a, of_a);
    features(g, l, b, of_b);
    for (int s = 0; s < SLICES; s++) {
        ts_tensor *difference = ts_square(g, ts_sub(g, of_a[s], of_b[s])); /* (N, h, w, C) */
        if (!difference) return NULL;
        char name[32];
        snprintf(name, sizeof name, "lin%d.model.1.weight", s);
        ts_tensor *w = ts_param(g, l->params, name, TS_LAYOUT_LINEAR, 4, (int64_t[]){1, difference->shape[3], 1, 1});
        ts_tensor *mean = ts_mean(g, ts_linear(g, difference, w, NULL));
        sum = sum ? ts_add(g, sum, mean) : mean;
    }
    return sum;
}

bool ts_lpips_check(const ts_lpips *l, ts_error *err)
{
    return ts_params_check(l->params, err);
}
