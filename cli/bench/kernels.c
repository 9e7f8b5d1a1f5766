/* kernels.c - the ops, each in a graph of its own, on the shapes that a ViT-L and the f16 VQGAN give them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"

enum { MAX_INPUTS = 6 };

/* The inputs of a graph under measurement, and how to fill them. */
typedef struct {
    ts_graph *g;
    ts_tensor *tensor[MAX_INPUTS];
    int below[MAX_INPUTS]; /* indices: 0 to below - 1 */
    int count;
} bench_graph;

static ts_tensor *keep(bench_graph *b, ts_tensor *t, int below)
{
    if (t && b->count < MAX_INPUTS) {
        b->tensor[b->count] = t;
        b->below[b->count++] = below;
    }
    return t;
}

#define DIMS(...)                                                                                                                \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                                                       \
    {                                                                                                                            \
        __VA_ARGS__                                                                                                              \
    }

static ts_tensor *real(bench_graph *b, int ndim, const int64_t *shape)
{
    return keep(b, ts_input(b->g, "x", TS_REAL, ndim, shape), 0);
}

static ts_tensor *weight(bench_graph *b, ts_layout layout, int ndim, const int64_t *shape)
{
    return keep(b, ts_input_weight(b->g, "w", layout, ndim, shape), 0);
}

static ts_tensor *indices(bench_graph *b, int below, int ndim, const int64_t *shape)
{
    return keep(b, ts_input(b->g, "i", TS_I32, ndim, shape), below);
}

/* s: rows, in, out */
static ts_tensor *linear(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(s[0], s[1])), *w = weight(b, TS_LAYOUT_LINEAR, DIMS(s[2], s[1]));
    return ts_linear(b->g, x, w, real(b, DIMS(s[2])));
}

static ts_tensor *linear_gelu(bench_graph *b, const int *s)
{
    return ts_gelu(b->g, linear(b, s));
}

/* s: side, in, out, kernel, stride */
static ts_tensor *conv(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(1, s[0], s[0], s[1])), *w = weight(b, TS_LAYOUT_CONV, DIMS(s[2], s[1], s[3], s[3]));
    ts_conv_desc d = {.stride = s[4]};
    if (s[3] == 3 && s[4] == 1) d.top = d.left = d.bottom = d.right = 1;
    if (s[3] == 3 && s[4] == 2) d.bottom = d.right = 1;
    return ts_conv2d(b->g, x, w, real(b, DIMS(s[2])), &d);
}

/* s: side, channels, stride */
static ts_tensor *depthwise(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(1, s[0], s[0], s[1])), *w = real(b, DIMS(3, 3, s[1]));
    const ts_conv_desc d = {.stride = s[2], .top = 1, .left = 1, .bottom = 1, .right = 1};
    return ts_depthwise(b->g, x, w, real(b, DIMS(s[1])), &d);
}

/* s: tokens, width, heads */
static ts_tensor *attention(bench_graph *b, const int *s)
{
    return ts_attention_qkv(b->g, real(b, DIMS(1, s[0], 3 * s[1])), s[2], false);
}

/* s: maps, side, width, heads */
static ts_tensor *attention_map(bench_graph *b, const int *s)
{
    ts_tensor *qkv = real(b, DIMS(s[0], s[1] * s[1], 3 * s[2]));
    ts_tensor *rel_h = real(b, DIMS(2 * s[1] - 1, s[2] / s[3])), *rel_w = real(b, DIMS(2 * s[1] - 1, s[2] / s[3]));
    return ts_attention_relative(b->g, qkv, rel_h, rel_w, s[3], s[1], s[1]);
}

/* s: windows, side, width, heads */
static ts_tensor *attention_biased(bench_graph *b, const int *s)
{
    ts_tensor *qkv = real(b, DIMS(s[0], s[1] * s[1], 3 * s[2])), *table = real(b, DIMS(s[3], s[1] * s[1]));
    return ts_attention_biased(b->g, qkv, ts_distance_bias(b->g, table, s[1], s[1]), s[3]);
}

/* s: rows, width */
static ts_tensor *layernorm(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(s[0], s[1])), *gamma = real(b, DIMS(s[1]));
    return ts_layernorm(b->g, x, gamma, real(b, DIMS(s[1])), 1e-6F);
}

static ts_tensor *softmax(bench_graph *b, const int *s)
{
    return ts_softmax(b->g, real(b, DIMS(s[0], s[1])));
}

static ts_tensor *argmax(bench_graph *b, const int *s)
{
    return ts_argmax(b->g, real(b, DIMS(s[0], s[1])));
}

/* s: side, width */
static ts_tensor *groupnorm_swish(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(1, s[0], s[0], s[1])), *gamma = real(b, DIMS(s[1]));
    return ts_swish(b->g, ts_groupnorm(b->g, x, gamma, real(b, DIMS(s[1])), 32, 1e-6F));
}

static ts_tensor *upsample2x(bench_graph *b, const int *s)
{
    return ts_upsample2x(b->g, real(b, DIMS(1, s[0], s[0], s[1])));
}

static ts_tensor *map(bench_graph *b, const int *s)
{
    return real(b, DIMS(1, s[0], s[0], s[1]));
}

static ts_tensor *add(bench_graph *b, const int *s)
{
    ts_tensor *x = map(b, s);
    return ts_add(b->g, x, map(b, s));
}

static ts_tensor *mul(bench_graph *b, const int *s)
{
    ts_tensor *x = map(b, s);
    return ts_mul(b->g, x, map(b, s));
}

static ts_tensor *scale(bench_graph *b, const int *s)
{
    return ts_scale(b->g, map(b, s), 2, -1);
}

static ts_tensor *clamp(bench_graph *b, const int *s)
{
    return ts_clamp(b->g, map(b, s), -1, 1);
}

static ts_tensor *gelu(bench_graph *b, const int *s)
{
    return ts_gelu(b->g, map(b, s));
}

static ts_tensor *quick_gelu(bench_graph *b, const int *s)
{
    return ts_quick_gelu(b->g, map(b, s));
}

static ts_tensor *swish(bench_graph *b, const int *s)
{
    return ts_swish(b->g, map(b, s));
}

/* s: rows to take, rows there, width */
static ts_tensor *gather(bench_graph *b, const int *s)
{
    ts_tensor *x = real(b, DIMS(1, s[1], s[2])), *i = indices(b, s[1], DIMS(1, s[0]));
    return ts_gather(b->g, x, i, real(b, DIMS(s[2])));
}

/* s: places, width, codes */
static ts_tensor *nearest_code(bench_graph *b, const int *s)
{
    ts_tensor *z = real(b, DIMS(1, s[0], s[1]));
    return ts_nearest_code(b->g, z, real(b, DIMS(s[2], s[1])));
}

static const struct {
    const char *name, *shape;
    ts_tensor *(*build)(bench_graph *b, const int *s);
    int s[5];
} cases[] = {
    {"linear", "1024 x 1024 -> 1024", linear, {1024, 1024, 1024}},
    {"linear", "148 x 1024 -> 3072", linear, {148, 1024, 3072}},
    {"linear", "197 x 1024 -> 1024", linear, {197, 1024, 1024}},
    {"linear, gelu", "197 x 1024 -> 4096", linear_gelu, {197, 1024, 4096}},
    {"linear", "197 x 4096 -> 1024", linear, {197, 4096, 1024}},
    {"linear", "1576 x 1024 -> 4096", linear, {1576, 1024, 4096}},
    {"conv2d 3x3", "224 x 224 x 128 -> 128", conv, {224, 128, 128, 3, 1}},
    {"conv2d 3x3", "56 x 56 x 256 -> 256", conv, {56, 256, 256, 3, 1}},
    {"conv2d 3x3", "14 x 14 x 512 -> 512", conv, {14, 512, 512, 3, 1}},
    {"conv2d 3x3 stride 2", "224 x 224 x 128 -> 128", conv, {224, 128, 128, 3, 2}},
    {"conv2d 1x1", "56 x 56 x 128 -> 256", conv, {56, 128, 256, 1, 1}},
    {"conv2d 16x16 patches", "224 x 224 x 3 -> 1024", conv, {224, 3, 1024, 16, 16}},
    {"depthwise 3x3", "256 x 256 x 256", depthwise, {256, 256, 1}},
    {"depthwise 3x3 stride 2", "256 x 256 x 128", depthwise, {256, 128, 2}},
    {"attention", "148 x 1024, 16 heads", attention, {148, 1024, 16}},
    {"attention", "197 x 512, 16 heads", attention, {197, 512, 16}},
    {"attention", "196 x 512, 1 head", attention, {196, 512, 1}},
    {"attention, relative", "25 of 14 x 14 x 768, 12 heads", attention_map, {25, 14, 768, 12}},
    {"attention, relative", "32 x 32 x 768, 12 heads", attention_map, {1, 32, 768, 12}},
    {"attention, bias", "361 of 7 x 7 x 128, 4 heads", attention_biased, {361, 7, 128, 4}},
    {"attention, bias", "25 of 14 x 14 x 160, 5 heads", attention_biased, {25, 14, 160, 5}},
    {"layernorm", "197 x 1024", layernorm, {197, 1024}},
    {"groupnorm, swish", "224 x 224 x 128", groupnorm_swish, {224, 128}},
    {"groupnorm, swish", "14 x 14 x 512", groupnorm_swish, {14, 512}},
    {"softmax", "196 x 1024", softmax, {196, 1024}},
    {"argmax", "196 x 1024", argmax, {196, 1024}},
    {"nearest code", "196 x 256 of 1024", nearest_code, {196, 256, 1024}},
    {"gather", "197 of 148 x 512", gather, {197, 148, 512}},
    {"upsample2x", "112 x 112 x 128", upsample2x, {112, 128}},
    {"add", "224 x 224 x 128", add, {224, 128}},
    {"mul", "224 x 224 x 128", mul, {224, 128}},
    {"scale", "224 x 224 x 128", scale, {224, 128}},
    {"clamp", "224 x 224 x 128", clamp, {224, 128}},
    {"gelu", "224 x 224 x 128", gelu, {224, 128}},
    {"quick gelu", "224 x 224 x 128", quick_gelu, {224, 128}},
    {"swish", "224 x 224 x 128", swish, {224, 128}},
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

int ts_bench_kernel_count(void)
{
    return CASE_COUNT;
}

const char *ts_bench_kernel_name(int i)
{
    return cases[i].name;
}

/* Real numbers in [-1, 1), indices in range: zeros would be a kinder load than a model is. */
static bool fill(ts_exec *e, const bench_graph *b, uint64_t seed, ts_error *err)
{
    for (int k = 0; k < b->count; k++) {
        int64_t n = ts_count(b->tensor[k]);
        void *data = malloc((size_t)n * 4);
        if (!data) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        for (int64_t i = 0; i < n; i++) {
            if (b->below[k]) ((int32_t *)data)[i] = (int32_t)(ts_uniform(&seed) * b->below[k]);
            else ((float *)data)[i] = (float)(2 * ts_uniform(&seed) - 1);
        }
        bool ok = ts_write(e, b->tensor[k], data, err);
        free(data);
        if (!ok) return false;
    }
    return true;
}

bool ts_bench_kernel(int i, ts_device *dev, uint64_t seed, double budget, ts_bench_row *row, ts_error *err)
{
    bench_graph b = {.g = ts_graph_new()};
    *row = (ts_bench_row){0};
    snprintf(row->name, sizeof row->name, "%s", cases[i].name);
    snprintf(row->shape, sizeof row->shape, "%s", cases[i].shape);
    if (!b.g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_output(b.g, cases[i].build(&b, cases[i].s));
    ts_exec *e = ts_exec_new(b.g, dev, err);
    bool ok = e && fill(e, &b, seed, err) && ts_bench_time(e, budget, row, err);
    ts_exec_free(e);
    ts_graph_free(b.g);
    return ok;
}
