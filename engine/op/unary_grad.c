/* unary_grad.c - dx = f'(x) dy for the functions of unary.c:
 *     clamp'(x) = 1 where low <= x <= high, else 0
 *     gelu'(x) = (1 + erf(x / sqrt 2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi)
 *     (x sigmoid(a x))' = s + a x s (1 - s), s = sigmoid(a x)
 *     abs'(x) = the sign of x, 0 at 0;  square'(x) = 2 x
 *     relu'(x) = 1 where x > 0, else 0;  tanh'(x) = 1 - tanh(x)^2;  exp'(x) = exp(x)
 *     leaky_relu'(x) = 1 where x > 0, else the slope;  sin'(x) = cos(x);  cos'(x) = -sin(x)
 *     sqrt'(x) = 1 / (2 sqrt(x)), 0 at 0 */
#include "engine/op/unary.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x, *dy;
    real *dx;
    real a, b;
} unary_grad_job;

TS_CLONES static void clamp_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy, low = j->a, high = j->b;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0;
}

TS_CLONES static void gelu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real below = (real)0.5 * (1 + real_erf(x[i] * (real)0.70710678118654752));
        const real density = real_exp((real)-0.5 * x[i] * x[i]) * (real)0.39894228040143268;
        dx[i] = dy[i] * (below + x[i] * density);
    }
}

TS_CLONES static void swish_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy, a = j->a;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real s = 1 / (1 + real_exp(-a * x[i]));
        dx[i] = dy[i] * (s + a * x[i] * s * (1 - s));
    }
}

TS_CLONES static void abs_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real negative = x[i] < 0 ? -dy[i] : 0;
        dx[i] = x[i] > 0 ? dy[i] : negative;
    }
}

TS_CLONES static void square_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = 2 * x[i] * dy[i];
}

TS_CLONES static void relu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

TS_CLONES static void tanh_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real y = real_tanh(x[i]);
        dx[i] = dy[i] * (1 - y * y);
    }
}

TS_CLONES static void exp_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = real_exp(x[i]) * dy[i];
}

TS_CLONES static void leaky_relu_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy, slope = j->a;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = x[i] > 0 ? dy[i] : slope * dy[i];
}

TS_CLONES static void sin_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = real_cos(x[i]) * dy[i];
}

TS_CLONES static void cos_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = -real_sin(x[i]) * dy[i];
}

TS_CLONES static void sqrt_range(void *ctx, int64_t begin, int64_t end)
{
    const unary_grad_job *j = ctx;
    const real *x = j->x, *dy = j->dy;
    real *dx = j->dx;
    for (int64_t i = begin; i < end; i++) dx[i] = x[i] > 0 ? (real)0.5 * dy[i] / real_sqrt(x[i]) : 0;
}

TS_HOST_KERNEL(unary_grad);
bool REAL(ts_host_unary_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    static const ts_range_fn ranges[] = {[TS_CLAMP] = clamp_range,      [TS_GELU] = gelu_range,
                                         [TS_QUICK_GELU] = swish_range, [TS_SWISH] = swish_range,
                                         [TS_ABS] = abs_range,          [TS_SQUARE] = square_range,
                                         [TS_RELU] = relu_range,        [TS_TANH] = tanh_range,
                                         [TS_EXP] = exp_range,          [TS_LEAKY_RELU] = leaky_relu_range,
                                         [TS_SIN] = sin_range,          [TS_COS] = cos_range,
                                         [TS_SQRT] = sqrt_range};
    const ts_unary_attr *attr = n->attr;
    unary_grad_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->out[0]), (real)attr->a,
                          (real)attr->b};
    if (attr->function == TS_QUICK_GELU) job.a = (real)1.702;
    if (attr->function == TS_SWISH) job.a = 1;
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 14, ranges[attr->function], &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool unary_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_unary_attr *attr = n->attr;
    const int64_t count = ts_count(n->in[0]);
    const bool wide = count % 4 == 0;
    const int64_t units = wide ? count / 4 : count;
    const struct {
        uint64_t x, dy, dx;
        uint32_t count;
        float a, b;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)units,
              attr->a,
              attr->b};
    ts_vk_dispatch_desc desc = {.shader = "unary_grad", .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_items(cmd, units, &desc);
    desc.spec[1] = attr->function;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op unary_grad_op = {
    .name = "unary_grad", .host = ts_host_unary_grad_f32, .host_f64 = ts_host_unary_grad_f64, .vulkan = unary_grad_vulkan};

ts_tensor *ts_unary_grad(ts_graph *g, const ts_unary_attr *attr, ts_tensor *x, ts_tensor *dy)
{
    ts_node *n = ts_node_new(g, &unary_grad_op, 2, (ts_tensor *[]){x, dy}, attr, sizeof *attr);
    ts_tensor *dx = ts_node_output(n, TS_REAL, x->ndim, x->shape);
    if (dx) dx->layout = x->layout;
    return dx;
}
#endif
