/* unary.c - one element in, one element out: scale, clamp, absolute value, square, relu, leaky relu, tanh, exp, sine, cosine,
 * square root, and the activations gelu(x) = x/2 (1 + erf(x / sqrt 2)),  quick_gelu(x) = x sigmoid(1.702 x),  swish(x) = x
 * sigmoid(x) (Hendrycks and Gimpel, arXiv 1606.08415; Ramachandran et al., arXiv 1710.05941). Products and normalisations absorb
 * the activations by their op's name, so what runs here is what stood alone. */
#include "engine/op/unary.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
    real a, b;
} unary_job;

TS_CLONES static void scale_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x, a = j->a, b = j->b;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] * a + b;
}

TS_CLONES static void clamp_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x, low = j->a, high = j->b;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real v = x[i] < low ? low : x[i];
        y[i] = v > high ? high : v;
    }
}

TS_CLONES static void gelu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = (real)0.5 * x[i] * (1 + real_erf(x[i] * (real)0.70710678118654752));
}

/* x sigmoid(a x) */
TS_CLONES static void swish_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x, a = j->a;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] / (1 + real_exp(-a * x[i]));
}

TS_CLONES static void abs_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_fabs(x[i]);
}

TS_CLONES static void square_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] * x[i];
}

TS_CLONES static void relu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

TS_CLONES static void tanh_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_tanh(x[i]);
}

TS_CLONES static void exp_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_exp(x[i]);
}

TS_CLONES static void leaky_relu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x, slope = j->a;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] < 0 ? slope * x[i] : x[i];
}

TS_CLONES static void sin_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_sin(x[i]);
}

TS_CLONES static void cos_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_cos(x[i]);
}

TS_CLONES static void sqrt_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_job *j = ctx;
    const real *x = j->x;
    real *y = j->y;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = real_sqrt(x[i]);
}

static bool unary_run(const ts_node *n, ts_host *h, ts_range_fn range, real a, real b)
{
    unary_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), a, b};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 14, range, &job);
    return true;
}

TS_HOST_KERNEL(scale);
bool REAL(ts_host_scale)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_unary_attr *attr = n->attr;
    return unary_run(n, h, scale_range, (real)attr->a, (real)attr->b);
}

TS_HOST_KERNEL(clamp);
bool REAL(ts_host_clamp)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_unary_attr *attr = n->attr;
    return unary_run(n, h, clamp_range, (real)attr->a, (real)attr->b);
}

TS_HOST_KERNEL(gelu);
bool REAL(ts_host_gelu)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, gelu_range, 0, 0);
}

TS_HOST_KERNEL(quick_gelu);
bool REAL(ts_host_quick_gelu)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, swish_range, (real)1.702, 0);
}

TS_HOST_KERNEL(swish);
bool REAL(ts_host_swish)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, swish_range, 1, 0);
}

TS_HOST_KERNEL(abs);
bool REAL(ts_host_abs)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, abs_range, 0, 0);
}

TS_HOST_KERNEL(square);
bool REAL(ts_host_square)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, square_range, 0, 0);
}

TS_HOST_KERNEL(relu);
bool REAL(ts_host_relu)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, relu_range, 0, 0);
}

TS_HOST_KERNEL(tanh);
bool REAL(ts_host_tanh)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, tanh_range, 0, 0);
}

TS_HOST_KERNEL(exp);
bool REAL(ts_host_exp)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, exp_range, 0, 0);
}

TS_HOST_KERNEL(leaky_relu);
bool REAL(ts_host_leaky_relu)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, leaky_relu_range, (real)((const ts_unary_attr *)n->attr)->a, 0);
}

TS_HOST_KERNEL(sin);
bool REAL(ts_host_sin)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, sin_range, 0, 0);
}

TS_HOST_KERNEL(cos);
bool REAL(ts_host_cos)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, cos_range, 0, 0);
}

TS_HOST_KERNEL(sqrt);
bool REAL(ts_host_sqrt)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return unary_run(n, h, sqrt_range, 0, 0);
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool unary_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_unary_attr *attr = n->attr;
    const int64_t count = ts_count(n->in[0]);
    const bool wide = count % 4 == 0;
    const int64_t units = wide ? count / 4 : count;
    const struct {
        uint64_t x, y;
        uint32_t count;
        float a, b;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)units, attr->a, attr->b};
    ts_vk_dispatch_desc desc = {.shader = "unary", .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_items(cmd, units, &desc);
    desc.spec[1] = attr->function;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static void unary_backward(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = ts_unary_grad(n->graph, n->attr, n->in[0], dy[0]);
}

static void scale_backward(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = ts_scale(n->graph, dy[0], ((const ts_unary_attr *)n->attr)->a, 0);
}

static const ts_op scale_op = {
    .name = "scale", .grad = scale_backward, .host = ts_host_scale_f32, .host_f64 = ts_host_scale_f64, .vulkan = unary_vulkan};
static const ts_op clamp_op = {
    .name = "clamp", .grad = unary_backward, .host = ts_host_clamp_f32, .host_f64 = ts_host_clamp_f64, .vulkan = unary_vulkan};
static const ts_op gelu_op = {
    .name = "gelu", .grad = unary_backward, .host = ts_host_gelu_f32, .host_f64 = ts_host_gelu_f64, .vulkan = unary_vulkan};
static const ts_op quick_gelu_op = {.name = "quick_gelu",
                                    .grad = unary_backward,
                                    .host = ts_host_quick_gelu_f32,
                                    .host_f64 = ts_host_quick_gelu_f64,
                                    .vulkan = unary_vulkan};
static const ts_op swish_op = {
    .name = "swish", .grad = unary_backward, .host = ts_host_swish_f32, .host_f64 = ts_host_swish_f64, .vulkan = unary_vulkan};
static const ts_op abs_op = {
    .name = "abs", .grad = unary_backward, .host = ts_host_abs_f32, .host_f64 = ts_host_abs_f64, .vulkan = unary_vulkan};
static const ts_op square_op = {
    .name = "square", .grad = unary_backward, .host = ts_host_square_f32, .host_f64 = ts_host_square_f64, .vulkan = unary_vulkan};
static const ts_op relu_op = {
    .name = "relu", .grad = unary_backward, .host = ts_host_relu_f32, .host_f64 = ts_host_relu_f64, .vulkan = unary_vulkan};
static const ts_op tanh_op = {
    .name = "tanh", .grad = unary_backward, .host = ts_host_tanh_f32, .host_f64 = ts_host_tanh_f64, .vulkan = unary_vulkan};
static const ts_op exp_op = {
    .name = "exp", .grad = unary_backward, .host = ts_host_exp_f32, .host_f64 = ts_host_exp_f64, .vulkan = unary_vulkan};
static const ts_op leaky_relu_op = {.name = "leaky_relu",
                                    .grad = unary_backward,
                                    .host = ts_host_leaky_relu_f32,
                                    .host_f64 = ts_host_leaky_relu_f64,
                                    .vulkan = unary_vulkan};

static const ts_op sin_op = {
    .name = "sin", .grad = unary_backward, .host = ts_host_sin_f32, .host_f64 = ts_host_sin_f64, .vulkan = unary_vulkan};
static const ts_op cos_op = {
    .name = "cos", .grad = unary_backward, .host = ts_host_cos_f32, .host_f64 = ts_host_cos_f64, .vulkan = unary_vulkan};
static const ts_op sqrt_op = {
    .name = "sqrt", .grad = unary_backward, .host = ts_host_sqrt_f32, .host_f64 = ts_host_sqrt_f64, .vulkan = unary_vulkan};

static ts_tensor *unary(ts_graph *g, const ts_op *op, ts_tensor *x, ts_unary function, float a, float b)
{
    if (!x) return NULL;
    if (x->type != TS_REAL) return ts_graph_fail(g, TS_ERR_ARGUMENT, op->name, "x %s must be real", ts_shape_text(x).s);
    const ts_unary_attr attr = {function, a, b};
    ts_node *n = ts_node_new(g, op, 1, &x, &attr, sizeof attr);
    ts_tensor *y = ts_node_output(n, TS_REAL, x->ndim, x->shape);
    if (y) y->layout = x->layout; /* of a weight */
    return y;
}

ts_tensor *ts_scale(ts_graph *g, ts_tensor *x, float scale, float shift)
{
    return unary(g, &scale_op, x, TS_SCALE, scale, shift);
}

ts_tensor *ts_clamp(ts_graph *g, ts_tensor *x, float low, float high)
{
    return unary(g, &clamp_op, x, TS_CLAMP, low, high);
}

ts_tensor *ts_gelu(ts_graph *g, ts_tensor *x)
{
    return unary(g, &gelu_op, x, TS_GELU, 0, 0);
}

ts_tensor *ts_quick_gelu(ts_graph *g, ts_tensor *x)
{
    return unary(g, &quick_gelu_op, x, TS_QUICK_GELU, 0, 0);
}

ts_tensor *ts_swish(ts_graph *g, ts_tensor *x)
{
    return unary(g, &swish_op, x, TS_SWISH, 0, 0);
}

ts_tensor *ts_abs(ts_graph *g, ts_tensor *x)
{
    return unary(g, &abs_op, x, TS_ABS, 0, 0);
}

ts_tensor *ts_square(ts_graph *g, ts_tensor *x)
{
    return unary(g, &square_op, x, TS_SQUARE, 0, 0);
}

ts_tensor *ts_relu(ts_graph *g, ts_tensor *x)
{
    return unary(g, &relu_op, x, TS_RELU, 0, 0);
}

ts_tensor *ts_tanh(ts_graph *g, ts_tensor *x)
{
    return unary(g, &tanh_op, x, TS_TANH, 0, 0);
}

ts_tensor *ts_exp(ts_graph *g, ts_tensor *x)
{
    return unary(g, &exp_op, x, TS_EXP, 0, 0);
}

ts_tensor *ts_leaky_relu(ts_graph *g, ts_tensor *x, float slope)
{
    return unary(g, &leaky_relu_op, x, TS_LEAKY_RELU, slope, 0);
}

ts_tensor *ts_sin(ts_graph *g, ts_tensor *x)
{
    return unary(g, &sin_op, x, TS_SIN, 0, 0);
}

ts_tensor *ts_cos(ts_graph *g, ts_tensor *x)
{
    return unary(g, &cos_op, x, TS_COS, 0, 0);
}

ts_tensor *ts_sqrt(ts_graph *g, ts_tensor *x)
{
    return unary(g, &sqrt_op, x, TS_SQRT, 0, 0);
}
#endif
