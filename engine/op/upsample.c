/* upsample.c - each pixel four times: (N, H, W, C) -> (N, 2H, 2W, C), nearest neighbour; its gradient is the sum of the four. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
    int64_t width, channels;
} upsample_job;

/* Rows of the input: each gives two of the output. */
static void upsample_rows(void *ctx, int64_t begin, int64_t end)
{
    const upsample_job *j = ctx;
    const size_t pixel = (size_t)j->channels * sizeof(real);
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * j->width * j->channels;
        real *top = j->y + row * 4 * j->width * j->channels, *y = top;
        for (int64_t i = 0; i < j->width; i++) {
            memcpy(y, x, pixel);
            memcpy(y + j->channels, x, pixel);
            x += j->channels;
            y += 2 * j->channels;
        }
        memcpy(y, top, (size_t)j->width * 2 * pixel);
    }
}

TS_HOST_KERNEL(upsample2x);
bool REAL(ts_host_upsample2x)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const int64_t *shape = n->in[0]->shape;
    upsample_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), shape[2], shape[3]};
    ts_parallel(ts_host_threads(h), shape[0] * shape[1], 4, upsample_rows, &job);
    return true;
}

/* Rows of dx: each takes two of dy. */
TS_CLONES static void upsample_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const upsample_job *j = ctx;
    const int64_t channels = j->channels, line = 2 * j->width * channels;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < j->width; i++) {
            const real *dy = j->x + row * 2 * line + 2 * i * channels;
            real *dx = j->y + (row * j->width + i) * channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) dx[c] = (dy[c] + dy[channels + c]) + (dy[line + c] + dy[line + channels + c]);
        }
}

TS_HOST_KERNEL(upsample2x_grad);
bool REAL(ts_host_upsample2x_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const int64_t *shape = n->out[0]->shape;
    upsample_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), shape[2], shape[3]};
    ts_parallel(ts_host_threads(h), shape[0] * shape[1], 4, upsample_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four channels ---- */

/* `small` is the tensor of one pixel for four of the other. */
static bool dispatch(const char *shader, const ts_tensor *from, const ts_tensor *to, const ts_tensor *small, ts_vk_cmd *cmd,
                     ts_error *err)
{
    const int64_t *shape = small->shape;
    const bool wide = shape[3] % 4 == 0;
    const int64_t channels = wide ? shape[3] / 4 : shape[3], rows = shape[0] * shape[1];
    const struct {
        uint64_t x, y;
        uint32_t rows, width, channels;
    } push = {ts_vk_address(cmd, from), ts_vk_address(cmd, to), (uint32_t)rows, (uint32_t)shape[2], (uint32_t)channels};
    ts_vk_dispatch_desc desc = {.shader = shader, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, rows * shape[2] * channels, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool upsample2x_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch("upsample2x", n->in[0], n->out[0], n->in[0], cmd, err);
}

static bool upsample2x_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch("upsample2x_grad", n->in[0], n->out[0], n->out[0], cmd, err);
}

static const ts_op upsample2x_grad_op = {.name = "upsample2x_grad",
                                         .host = ts_host_upsample2x_grad_f32,
                                         .host_f64 = ts_host_upsample2x_grad_f64,
                                         .vulkan = upsample2x_grad_vulkan};

static void upsample2x_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_node *grad = ts_node_new(n->graph, &upsample2x_grad_op, 1, dy, NULL, 0);
    dx[0] = ts_node_output(grad, TS_REAL, 4, n->in[0]->shape);
}

static const ts_op upsample2x_op = {.name = "upsample2x",
                                    .grad = upsample2x_grad,
                                    .host = ts_host_upsample2x_f32,
                                    .host_f64 = ts_host_upsample2x_f64,
                                    .vulkan = upsample2x_vulkan};

ts_tensor *ts_upsample2x(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->ndim != 4 || x->type != TS_REAL)
        return ts_graph_fail(g, TS_ERR_SHAPE, "upsample2x", "x is %s, wanted (N, H, W, C) of reals", ts_shape_text(x).s);
    const int64_t *s = x->shape;
    ts_node *n = ts_node_new(g, &upsample2x_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){s[0], 2 * s[1], 2 * s[2], s[3]});
}
#endif
