/* softmax.c - over the last dimension: y = exp(x - max) / sum exp(x - max), and its gradient, dx = y (dy - sum y dy). Attention
 * does not come here: it keeps no scores. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
    int64_t width;
} softmax_job;

TS_CLONES static void softmax_rows(void *ctx, int64_t begin, int64_t end)
{
    const softmax_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * width;
        real *y = j->y + row * width;
        real top = -INFINITY, sum = 0;
#pragma omp simd reduction(max : top)
        for (int64_t i = 0; i < width; i++) top = x[i] > top ? x[i] : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) {
            y[i] = real_exp(x[i] - top);
            sum += y[i];
        }
        const real scale = 1 / sum;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) y[i] *= scale;
    }
}

TS_HOST_KERNEL(softmax);
bool REAL(ts_host_softmax)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    softmax_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, softmax_rows, &job);
    return true;
}

typedef struct {
    const real *y, *dy;
    real *dx;
    int64_t width;
} softmax_grad_job;

TS_CLONES static void softmax_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const softmax_grad_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *y = j->y + row * width, *dy = j->dy + row * width;
        real *dx = j->dx + row * width, sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) sum += y[i] * dy[i];
#pragma omp simd
        for (int64_t i = 0; i < width; i++) dx[i] = y[i] * (dy[i] - sum);
    }
}

TS_HOST_KERNEL(softmax_grad);
bool REAL(ts_host_softmax_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    softmax_grad_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->out[0]), ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, softmax_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

static bool softmax_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, y;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)rows, (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "softmax", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool softmax_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t y, dy, dx;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]), (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "softmax_grad", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op softmax_grad_op = {.name = "softmax_grad",
                                      .host = ts_host_softmax_grad_f32,
                                      .host_f64 = ts_host_softmax_grad_f64,
                                      .vulkan = softmax_grad_vulkan};

static void softmax_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_tensor *y = n->out[0];
    ts_node *grad = ts_node_new(n->graph, &softmax_grad_op, 2, (ts_tensor *[]){y, dy[0]}, NULL, 0);
    dx[0] = ts_node_output(grad, TS_REAL, y->ndim, y->shape);
}

static const ts_op softmax_op = {.name = "softmax",
                                 .grad = softmax_grad,
                                 .host = ts_host_softmax_f32,
                                 .host_f64 = ts_host_softmax_f64,
                                 .vulkan = softmax_vulkan};

ts_tensor *ts_softmax(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->type != TS_REAL) return ts_graph_fail(g, TS_ERR_ARGUMENT, "softmax", "x %s must be real", ts_shape_text(x).s);
    ts_node *n = ts_node_new(g, &softmax_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}
#endif
