/* unit.c - rows of length 1 over the last dimension: y = x / |x|, and its gradient, dx = (dy - y (y . dy)) / |x|. There is no
 * epsilon, as CLIP has none: a row of zeros stays zeros, and its gradient is zeros. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x, *dy; /* dy: of the gradient only */
    real *y;            /* or dx */
    int64_t width;
} unit_job;

/* 1 / |x|, or 0. */
static inline real inverse_length(const real *x, int64_t width)
{
    real square = 0;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < width; i++) square += x[i] * x[i];
    return square > 0 ? 1 / real_sqrt(square) : 0;
}

TS_CLONES static void unit_rows(void *ctx, int64_t begin, int64_t end)
{
    const unit_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * width;
        real *y = j->y + row * width;
        const real scale = inverse_length(x, width);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) y[i] = x[i] * scale;
    }
}

TS_HOST_KERNEL(unit);
bool REAL(ts_host_unit)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    unit_job job = {.x = ts_host_ptr(h, n->in[0]), .y = ts_host_ptr(h, n->out[0]), .width = ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, unit_rows, &job);
    return true;
}

TS_CLONES static void unit_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const unit_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * width, *dy = j->dy + row * width;
        real *dx = j->y + row * width, dot = 0;
        const real scale = inverse_length(x, width);
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < width; i++) dot += x[i] * scale * dy[i];
#pragma omp simd
        for (int64_t i = 0; i < width; i++) dx[i] = (dy[i] - x[i] * scale * dot) * scale;
    }
}

TS_HOST_KERNEL(unit_grad);
bool REAL(ts_host_unit_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    unit_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->out[0]), ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, unit_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

static bool unit_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, y;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)rows, (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "unit", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool unit_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, dy, dx;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]), (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "unit_grad", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op unit_grad_op = {
    .name = "unit_grad", .host = ts_host_unit_grad_f32, .host_f64 = ts_host_unit_grad_f64, .vulkan = unit_grad_vulkan};

static void unit_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_tensor *x = n->in[0];
    ts_node *grad = ts_node_new(n->graph, &unit_grad_op, 2, (ts_tensor *[]){x, dy[0]}, NULL, 0);
    dx[0] = ts_node_output(grad, TS_REAL, x->ndim, x->shape);
}

static const ts_op unit_op = {
    .name = "unit", .grad = unit_grad, .host = ts_host_unit_f32, .host_f64 = ts_host_unit_f64, .vulkan = unit_vulkan};

ts_tensor *ts_unit(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->type != TS_REAL) return ts_graph_fail(g, TS_ERR_ARGUMENT, "unit", "x %s must be real", ts_shape_text(x).s);
    ts_node *n = ts_node_new(g, &unit_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}
#endif
