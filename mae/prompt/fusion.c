/* fusion.c - one example out of several, among the tokens that the encoder would have got (PromptHub, ICLR 2026). With S_n the
 * example n's 2P tokens, picture and answer, and Q the P tokens of the query's picture, all with their positions:
 *
 *     S_n += attention(norm S_n)            each example by itself
 *     Q   += attention(norm Q)
 *     W    = softmax over all examples' places of  q k / sqrt(d) g(place, place of the query)
 *     picture of the fused example = project(W v),  its answer = (mean of W over the heads) label(answers)
 *
 * with q from Q, k and v from the examples' pictures; g is a Gaussian around the query's place whose sum over a cell is 1, and
 * where it is 0.01 or less a place is not looked at. One norm serves all. Condenser (CVPR 2025) is the same with a window of one
 * place, where g is 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "mae/prompt/internal.h"
#include "vit/vit.h"

static const float EPS = 1e-5F, OUTSIDE = -1e7F;
static const double LEAST = 0.01; /* of the Gaussian */
enum { HEADS = 8 };
static const double SIGMA = 0.65;

int64_t ts_fusion_parameters(const ts_fusion_config *c)
{
    const int64_t d = c->dim, linear = d * d + d;
    return 2 * d + 3 * 4 * linear + linear; /* the norm, three attentions of four layers, the layer of answers */
}

bool ts_fusion_complete(ts_fusion_config *c, int dim, ts_error *err)
{
    if (c->dim == 0) c->dim = dim;
    if (c->heads == 0) c->heads = HEADS;
    if (c->sigma == 0) c->sigma = SIGMA;
    if (c->dim < 1 || c->heads < 1 || c->dim % c->heads != 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d heads do not divide a fusion's width of %d", c->heads, c->dim);
    if (!(c->sigma > 0 && c->sigma <= 100))
        return ts_fail(err, TS_ERR_ARGUMENT, "a fusion's sigma of %g, wanted above 0 to 100", c->sigma);
    return true;
}

/* ---- a file ---- */

/* All layers, by their outputs and inputs in widths; 0 inputs: a norm. */
static const struct {
    const char *name;
    int outputs, inputs;
} layers[] = {{"norm", 1, 0},    {"support.qkv", 3, 1}, {"support.proj", 1, 1}, {"query.qkv", 3, 1},  {"query.proj", 1, 1},
              {"cross.q", 1, 1}, {"cross.k", 1, 1},     {"cross.v", 1, 1},      {"cross.proj", 1, 1}, {"label", 1, 1}};
enum { LAYERS = sizeof layers / sizeof *layers };

static bool check_tensor(const ts_weights *w, const char *layer, const char *part, int ndim, int64_t rows, int64_t columns,
                         ts_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const ts_weight *t = ts_weights_find(w, name);
    if (!t) return ts_fail(err, TS_ERR_FORMAT, "%s: %s of the fusion is missing", ts_weights_path(w), name);
    if (t->ndim == ndim && t->shape[0] == rows && (ndim == 1 || t->shape[1] == columns)) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s: %s does not fit the fusion's width of %d", ts_weights_path(w), name,
                   (int)(columns ? columns : rows));
}

bool ts_fusion_read(const ts_weights *w, ts_fusion_config *out, ts_error *err)
{
    enum { MOST = 1 << 16 };
    const ts_weight *norm = ts_weights_find(w, "norm.weight");
    const char *heads = ts_weights_meta(w, "heads"), *sigma = ts_weights_meta(w, "sigma");
    const char *kind = ts_weights_meta(w, "tessera.fusion");
    *out = (ts_fusion_config){0};
    if (!norm || norm->ndim != 1 || norm->shape[0] < 1 || norm->shape[0] > MOST)
        return ts_fail(err, TS_ERR_FORMAT, "%s: norm.weight, which tells a fusion's width, is missing or no vector",
                       ts_weights_path(w));
    out->dim = (int)norm->shape[0];
    out->condenser = kind && strcmp(kind, "condenser") == 0;
    if ((heads && !ts_int_read(heads, 1, out->dim, &out->heads)) || (sigma && !ts_real_read(sigma, &out->sigma)))
        return ts_fail(err, TS_ERR_FORMAT, "%s: the metadata says heads '%.20s' and sigma '%.20s', wanted numbers",
                       ts_weights_path(w), heads ? heads : "", sigma ? sigma : "");
    for (int i = 0; i < LAYERS; i++) {
        const int64_t d = out->dim;
        if (!check_tensor(w, layers[i].name, "weight", layers[i].inputs ? 2 : 1, layers[i].outputs * d, layers[i].inputs ? d : 0,
                          err) ||
            !check_tensor(w, layers[i].name, "bias", 1, layers[i].outputs * d, 0, err))
            return false;
    }
    return ts_fusion_complete(out, out->dim, err);
}

bool ts_fusion_init(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    const int64_t rows = shape[0], columns = ndim > 1 ? shape[1] : 1;
    const double bound = sqrt(6.0 / (double)(rows + columns));
    for (int64_t i = 0; i < rows * columns; i++) {
        if (ndim == 1) out[i] = strcmp(name, "norm.weight") == 0 ? 1 : 0;
        else if (strcmp(name, "label.weight") == 0) out[i] = i / columns == i % columns ? 1 : 0;
        else out[i] = (float)(bound * (2 * ts_uniform(ctx) - 1));
    }
    return true;
}

/* ---- windows ---- */

/* Squared distance of two of a map's places. */
static int64_t distance(int64_t a, int64_t b, int64_t side)
{
    const int64_t y = a / side - b / side, x = a % side - b % side;
    return y * y + x * x;
}

/* Weight of place `to` for the query's place `from`, of `side` places a side; 0: it is not looked at. */
static double window(const ts_fusion_config *c, int64_t side, int64_t from, int64_t to)
{
    if (c->condenser) return from == to ? 1 : 0;
    const double spread = 2 * c->sigma * c->sigma;
    double sum = 0;
    for (int64_t p = 0; p < side * side; p++) sum += exp(-(double)distance(from, p, side) / spread);
    const double g = exp(-(double)distance(from, to, side) / spread) / sum;
    return g > LEAST ? g : 0;
}

/* "window" and "outside", (P, N P): what scores are multiplied by, and what is added to them. */
static bool make_window(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ndim, (void)err;
    const int64_t places = shape[0], all = shape[1];
    const int64_t side = (int64_t)lround(sqrt((double)places));
    const bool outside = strncmp(name, "outside", 7) == 0;
    for (int64_t from = 0; from < places; from++)
        for (int64_t to = 0; to < places; to++) {
            const float g = (float)window(ctx, side, from, to), value = !outside ? g : g > 0 ? 0 : OUTSIDE;
            for (int64_t at = to; at < all; at += places) out[from * all + at] = value; /* the same in each example */
        }
    return true;
}

ts_params *ts_fusion_constants(ts_device *dev, const ts_fusion_config *c, ts_error *err)
{
    return ts_params_new_trainable(dev, NULL, "", make_window, (void *)(uintptr_t)c, err);
}

/* ---- the forward pass ---- */

/* x (B, T, n D) -> (B, n H, T, D / H): each head's rows behind one another, n kinds of them. */
static ts_tensor *heads_of(ts_graph *g, const ts_fusion_config *c, ts_tensor *x, int64_t kinds)
{
    if (!x) return NULL;
    const int64_t b = x->shape[0], t = x->shape[1], heads = kinds * c->heads;
    return ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){b, t, heads, c->dim / c->heads}));
}

/* One kind of the above as a batch of matrices, (B H, T, D / H). */
static ts_tensor *kind_of(ts_graph *g, const ts_fusion_config *c, ts_tensor *x, int64_t number)
{
    if (!x) return NULL;
    const int64_t b = x->shape[0], t = x->shape[2], d = x->shape[3];
    ts_tensor *rows = ts_reshape(g, x, 3, (int64_t[]){b, x->shape[1] * t, d});
    rows = ts_slice(g, rows, number * c->heads * t, c->heads * t);
    return ts_reshape(g, rows, 3, (int64_t[]){b * c->heads, t, d});
}

/* (B, R, C) -> (B, C, R) */
static ts_tensor *turned(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t *s = x->shape;
    ts_tensor *y = ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){s[0], s[1], s[2], 1}));
    return ts_reshape(g, y, 3, (int64_t[]){s[0], s[2], s[1]});
}

/* w (B, T, K) x (B, K, D) -> (B, T, D) */
static ts_tensor *weighed(ts_graph *g, ts_tensor *w, ts_tensor *x)
{
    return ts_linear_each(g, w, turned(g, x));
}

/* What heads put side by side again: (B H, T, d) -> (B, T, D). */
static ts_tensor *joined(ts_graph *g, const ts_fusion_config *c, ts_tensor *x)
{
    if (!x) return NULL;
    const int64_t b = x->shape[0] / c->heads, t = x->shape[1];
    ts_tensor *y = ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){b, c->heads, t, x->shape[2]}));
    return ts_reshape(g, y, 3, (int64_t[]){b, t, c->dim});
}

static ts_tensor *dropped(ts_graph *g, const ts_fusion *f, ts_tensor *weights, uint32_t number)
{
    return f->seed ? ts_dropout(g, weights, f->seed, number, f->rate) : weights;
}

/* x (B, T, D) += proj(attention(norm x)). The weights are in memory, where dropout finds them. */
static ts_tensor *look_around(ts_graph *g, const ts_fusion *f, const char *name, ts_tensor *x, uint32_t number)
{
    const ts_fusion_config *c = f->config;
    const int64_t d = c->dim;
    char qkv[32], proj[32];
    snprintf(qkv, sizeof qkv, "%s.qkv", name);
    snprintf(proj, sizeof proj, "%s.proj", name);
    ts_tensor *y = ts_vit_norm(g, f->params, "norm", x, d, EPS);
    y = heads_of(g, c, ts_vit_linear(g, f->params, qkv, y, d, 3 * d), 3); // (B, 3H, T, d)
    ts_tensor *q = kind_of(g, c, y, 0), *k = kind_of(g, c, y, 1), *v = kind_of(g, c, y, 2);
    ts_tensor *scores = ts_scale(g, ts_linear_each(g, q, k), 1 / sqrtf((float)d / (float)c->heads), 0); // (B H, T, T)
    ts_tensor *weights = dropped(g, f, ts_softmax(g, scores), number);
    y = ts_vit_linear(g, f->params, proj, joined(g, c, weighed(g, weights, v)), d, d);
    return ts_add(g, x, y);
}

/* The mean over heads, (B H, P, K) -> (B, P, K). */
static ts_tensor *mean_of_heads(ts_graph *g, const ts_fusion_config *c, ts_tensor *w)
{
    if (!w) return NULL;
    const int64_t b = w->shape[0] / c->heads, each = w->shape[1] * w->shape[2];
    ts_tensor *y = ts_swap(g, ts_reshape(g, w, 4, (int64_t[]){1, b, c->heads, each})); // (1, H, B, P K)
    y = ts_sum_leading(g, ts_reshape(g, y, 2, (int64_t[]){c->heads, b * each}), 1);
    return ts_reshape(g, ts_scale(g, y, 1 / (float)c->heads, 0), 3, (int64_t[]){b, w->shape[1], w->shape[2]});
}

/* Halves of rows of tokens: (B, h 2h, D) -> (B, h h, D), the left one or the right one. */
static ts_tensor *half(ts_graph *g, ts_tensor *x, int64_t side, int64_t number)
{
    if (!x) return NULL;
    const int64_t b = x->shape[0], d = x->shape[2];
    ts_tensor *rows = ts_slice(g, ts_reshape(g, x, 3, (int64_t[]){b * side, 2 * side, d}), number * side, side);
    return ts_reshape(g, rows, 3, (int64_t[]){b, side * side, d});
}

/* The other way: left and right, (B, h h, D) each -> (B, h 2h, D). */
static ts_tensor *side_by_side(ts_graph *g, ts_tensor *left, ts_tensor *right, int64_t side)
{
    if (!left || !right) return NULL;
    const int64_t b = left->shape[0], d = left->shape[2];
    ts_tensor *l = ts_reshape(g, left, 3, (int64_t[]){b * side, side, d});
    ts_tensor *r = ts_reshape(g, right, 3, (int64_t[]){b * side, side, d});
    return ts_reshape(g, ts_concat(g, l, r), 3, (int64_t[]){b, 2 * side * side, d});
}

/* A matrix of the windows, (P, N P). */
static ts_tensor *window_of(ts_graph *g, const ts_fusion *f, const char *what, int64_t places, int64_t examples)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%d", what, (int)examples); /* one for each number of examples */
    return ts_param(g, f->constants, name, TS_LAYOUT_PLAIN, 2, (int64_t[]){places, examples * places});
}

ts_fused ts_fusion_apply(ts_graph *g, const ts_fusion *f, ts_tensor *embedded, int64_t examples)
{
    if (!embedded) return (ts_fused){0};
    const ts_fusion_config *c = f->config;
    const int64_t d = c->dim, places = embedded->shape[1] / 4, b = embedded->shape[0] / examples, all = examples * places;
    const int64_t side = (int64_t)lround(sqrt((double)places));

    /* Of each canvas the upper row is an example's; of the first of each query the lower row is the query's. */
    ts_scope(g, "support");
    ts_tensor *support = look_around(g, f, "support", ts_slice(g, embedded, 0, 2 * places), 0); // (B N, 2P, D)
    ts_tensor *images = ts_reshape(g, half(g, support, side, 0), 3, (int64_t[]){b, all, d});
    ts_tensor *answers = ts_reshape(g, half(g, support, side, 1), 3, (int64_t[]){b, all, d});
    ts_tensor *canvases = ts_reshape(g, embedded, 3, (int64_t[]){b, examples * 4 * places, d});
    ts_tensor *row = ts_slice(g, canvases, 2 * places, 2 * places);
    ts_scope(g, "query");
    ts_tensor *query = look_around(g, f, "query", half(g, row, side, 0), 1); // (B, P, D)

    ts_scope(g, "cross");
    ts_tensor *q = kind_of(g, c, heads_of(g, c, ts_vit_linear(g, f->params, "cross.q", query, d, d), 1), 0);
    ts_tensor *k = kind_of(g, c, heads_of(g, c, ts_vit_linear(g, f->params, "cross.k", images, d, d), 1), 0);
    ts_tensor *v = kind_of(g, c, heads_of(g, c, ts_vit_linear(g, f->params, "cross.v", images, d, d), 1), 0);
    ts_tensor *scores = ts_scale(g, ts_linear_each(g, q, k), 1 / sqrtf((float)d / (float)c->heads), 0); // (B H, P, N P)
    scores = ts_mul(g, scores, window_of(g, f, "window", places, examples));
    scores = ts_add(g, scores, window_of(g, f, "outside", places, examples));
    ts_tensor *weights = dropped(g, f, ts_softmax(g, scores), 2);
    ts_fused out = {.query_image = query, .query_answer = half(g, row, side, 1)};
    out.image = ts_vit_linear(g, f->params, "cross.proj", joined(g, c, weighed(g, weights, v)), d, d);
    ts_tensor *labels = ts_vit_linear(g, f->params, "label", answers, d, d);
    out.answer = weighed(g, mean_of_heads(g, c, weights), labels);
    out.tokens = ts_concat(g, side_by_side(g, out.image, out.answer, side), query);
    return out;
}
