/* The transformer block against the same in plain loops, the names its parameters go by, and its pieces. */
#include "../support/support.h"
#include "vit/vit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, N = 5, W = 12, HEADS = 3, MLP = 20, DEPTH = 2, VALUES = B * N * W };

static const ts_vit_names CLIPS = {
    .norm1 = "ln_1", .qkv = "attn.in_proj_", .proj = "attn.out_proj", .norm2 = "ln_2", .fc1 = "mlp.c_fc", .fc2 = "mlp.c_proj"};
static const char *const TIMMS_PARAMS[] = {"norm1.weight",     "norm1.bias",     "attn.qkv.weight", "attn.qkv.bias",
                                           "attn.proj.weight", "attn.proj.bias", "norm2.weight",    "norm2.bias",
                                           "mlp.fc1.weight",   "mlp.fc1.bias",   "mlp.fc2.weight",  "mlp.fc2.bias"};
static const char *const CLIPS_PARAMS[] = {
    "ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias",
    "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight",     "mlp.c_fc.bias",     "mlp.c_proj.weight",    "mlp.c_proj.bias"};

/* Of one block, as its parameters follow each other. */
enum { NORM1, NORM1_BIAS, QKV, QKV_BIAS, PROJ, PROJ_BIAS, NORM2, NORM2_BIAS, FC1, FC1_BIAS, FC2, FC2_BIAS, PARAMS };

/* Numbers that depend on the name alone, those of a norm around 1. */
static bool fill(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx, (void)err;
    uint64_t state = 1;
    int64_t count = 1;
    for (const char *c = name; *c; c++) state = state * 31 + (uint64_t)*c;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    const bool gamma = strstr(name, "weight") && ndim == 1;
    for (int64_t i = 0; i < count; i++) out[i] = (float)((gamma ? 1 : 0) + 0.3 * ts_normal(&state));
    return true;
}

/* ---- the yardstick ---- */

static void layernorm(const float *x, const float *gamma, const float *beta, double eps, double *y)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < W; i++) mean += (double)x[i] / W;
    for (int i = 0; i < W; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / W;
    for (int i = 0; i < W; i++) y[i] = ((double)x[i] - mean) / sqrt(variance + eps) * (double)gamma[i] + (double)beta[i];
}

static void linear(const double *x, const float *w, const float *b, int in, int out, double *y)
{
    for (int o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (int i = 0; i < in; i++) y[o] += x[i] * (double)w[o * in + i];
    }
}

static double activate(double x, ts_vit_activation f)
{
    return f == TS_VIT_QUICK_GELU ? x / (1 + exp(-1.702 * x)) : x / 2 * (1 + erf(x / sqrt(2)));
}

/* qkv (N, 3W) -> what place `n` sees, (W) */
static void attention(const double (*qkv)[3 * W], int n, bool causal, double *out)
{
    enum { EACH = W / HEADS };
    for (int h = 0; h < HEADS; h++) {
        double weight[N], sum = 0;
        const int seen = causal ? n + 1 : N;
        for (int m = 0; m < seen; m++) {
            double score = 0;
            for (int i = h * EACH; i < (h + 1) * EACH; i++) score += qkv[n][i] * qkv[m][W + i];
            weight[m] = exp(score / sqrt(EACH));
            sum += weight[m];
        }
        for (int i = h * EACH; i < (h + 1) * EACH; i++) {
            out[i] = 0;
            for (int m = 0; m < seen; m++) out[i] += weight[m] / sum * qkv[m][2 * W + i];
        }
    }
}

/* One item: x (N, W), changed in place. */
static void plain_block(float *const *p, const ts_vit *v, float (*x)[W])
{
    double qkv[N][3 * W], h[W], y[W], wide[MLP];
    for (int n = 0; n < N; n++) {
        layernorm(x[n], p[NORM1], p[NORM1_BIAS], (double)v->eps, h);
        linear(h, p[QKV], p[QKV_BIAS], W, 3 * W, qkv[n]);
    }
    for (int n = 0; n < N; n++) {
        attention((const double(*)[3 * W]) qkv, n, v->causal, h);
        linear(h, p[PROJ], p[PROJ_BIAS], W, W, y);
        for (int i = 0; i < W; i++) x[n][i] += (float)y[i];
        layernorm(x[n], p[NORM2], p[NORM2_BIAS], (double)v->eps, h);
        linear(h, p[FC1], p[FC1_BIAS], W, MLP, wide);
        for (int i = 0; i < MLP; i++) wide[i] = activate(wide[i], v->activation);
        linear(wide, p[FC2], p[FC2_BIAS], MLP, W, y);
        for (int i = 0; i < W; i++) x[n][i] += (float)y[i];
    }
}

/* ---- a model of blocks alone ---- */

typedef struct {
    ts_device *dev;
    ts_params *params;
    ts_graph *g;
    ts_vit v;
    ts_tensor *in;
} model;

static model model_new(const ts_vit *like)
{
    ts_error err = {0};
    model m = {.v = *like};
    m.dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    assert_non_null(m.dev);
    m.params = ts_params_new_trainable(m.dev, NULL, "", fill, NULL, &err);
    m.g = ts_graph_new();
    assert_true(m.params && m.g);
    m.v.g = m.g;
    m.v.params = m.params;
    m.v.prefix = "blocks";
    m.v.width = W;
    m.v.depth = DEPTH;
    m.v.heads = HEADS;
    m.v.mlp = MLP;
    m.in = ts_input(m.g, "x", TS_REAL, 3, (int64_t[]){B, N, W});
    return m;
}

static void model_free(model *m)
{
    ts_graph_free(m->g);
    ts_params_free(m->params);
    ts_device_free(m->dev);
}

static void inputs(float *x)
{
    uint64_t state = 7;
    for (int i = 0; i < VALUES; i++) x[i] = (float)ts_normal(&state);
}

static void model_run(model *m, ts_tensor *out, float *values)
{
    ts_error err = {0};
    float x[VALUES];
    inputs(x);
    assert_non_null(ts_output(m->g, out));
    ts_exec *e = ts_exec_new(m->g, m->dev, &err);
    if (!e) fail_msg("%s", err.text);
    assert_true(ts_write(e, m->in, x, &err) && ts_run(e, &err) && ts_read(e, out, values, &err));
    ts_exec_free(e);
}

static void check(const ts_vit *like, const char *const names[PARAMS])
{
    ts_error err = {0};
    float got[VALUES], want[B][N][W], *p[PARAMS];
    model m = model_new(like);
    model_run(&m, ts_vit_blocks(&m.v, m.in), got);
    assert_int_equal(ts_params_count(m.params), DEPTH * PARAMS);
    inputs(&want[0][0][0]);
    for (int block = 0; block < DEPTH; block++) {
        for (int i = 0; i < PARAMS; i++) {
            char name[64];
            snprintf(name, sizeof name, "blocks.%d.%s", block, names[i]);
            assert_string_equal(ts_params_name(m.params, block * PARAMS + i), name);
            p[i] = malloc(3 * W * W * sizeof(float));
            assert_true(p[i] && ts_params_read(m.params, block * PARAMS + i, p[i], &err));
        }
        for (int b = 0; b < B; b++) plain_block(p, like, want[b]);
        for (int i = 0; i < PARAMS; i++) free(p[i]);
    }
    for (int i = 0; i < VALUES; i++) {
        const double wanted = (double)(&want[0][0][0])[i];
        if (fabs((double)got[i] - wanted) > 2e-5 * fmax(1, fabs(wanted)))
            fail_msg("%d: %g, wanted %g", i, (double)got[i], wanted);
    }
    model_free(&m);
}

static void as_timm(void **state)
{
    (void)state;
    check(&(ts_vit){.eps = 1e-6F}, TIMMS_PARAMS);
}

static void as_clip(void **state)
{
    (void)state;
    check(&(ts_vit){.eps = 1e-5F, .names = &CLIPS, .activation = TS_VIT_QUICK_GELU, .causal = true}, CLIPS_PARAMS);
}

/* An epsilon as large as the variance, which no other would be taken for. */
static void epsilon(void **state)
{
    (void)state;
    check(&(ts_vit){.eps = 1}, TIMMS_PARAMS);
}

/* The pieces make a block, and blocks that are computed again for the gradient give the same: both to the last bit. */
static void pieces(void **state)
{
    (void)state;
    const ts_vit like = {.eps = 1e-6F}, again = {.eps = 1e-6F, .recompute = true};
    float whole[VALUES], parts[VALUES], segments[VALUES];
    model m = model_new(&like);
    model_run(&m, ts_vit_blocks(&m.v, m.in), whole);
    model_free(&m);
    m = model_new(&like);
    ts_tensor *x = m.in;
    for (int i = 0; i < DEPTH; i++) {
        x = ts_add(m.g, ts_vit_project(&m.v, i, ts_vit_attend(&m.v, i, x)), x);
        x = ts_add(m.g, ts_vit_feed(&m.v, i, x), x);
    }
    model_run(&m, x, parts);
    model_free(&m);
    m = model_new(&again);
    model_run(&m, ts_vit_blocks(&m.v, m.in), segments);
    model_free(&m);
    assert_memory_equal(whole, parts, sizeof whole);
    assert_memory_equal(whole, segments, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_timm), cmocka_unit_test(as_clip), cmocka_unit_test(epsilon),
                                       cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
