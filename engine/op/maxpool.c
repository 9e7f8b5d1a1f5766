/* maxpool.c - the largest of each two by two pixels, channel by channel: (N, H, W, C) -> (N, H/2, W/2, C), a last odd row or
 * column left out. The gradient goes to the largest, of equal ones to the first by rows, as PyTorch has it. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

typedef struct {
    const real *x, *dy; /* dy: of the gradient only */
    real *y;            /* or dx */
    int64_t height, width, channels;
} maxpool_job;

/* Where in x (and dx) the two rows of pixels stand of which row `row` of y is made. */
static inline int64_t above(const maxpool_job *j, int64_t row)
{
    const int64_t rows = j->height / 2;
    return (row / rows * j->height + row % rows * 2) * j->width * j->channels;
}

/* Rows of y. */
TS_CLONES static void maxpool_rows(void *ctx, int64_t begin, int64_t end)
{
    const maxpool_job *j = ctx;
    const int64_t channels = j->channels, line = j->width * channels, width = j->width / 2;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < width; i++) {
            const real *x = j->x + above(j, row) + 2 * i * channels;
            real *y = j->y + (row * width + i) * channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                const real top = x[channels + c] > x[c] ? x[channels + c] : x[c];
                const real low = x[line + channels + c] > x[line + c] ? x[line + channels + c] : x[line + c];
                y[c] = low > top ? low : top;
            }
        }
}

TS_HOST_KERNEL(maxpool2x);
bool REAL(ts_host_maxpool2x)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const int64_t *shape = n->in[0]->shape;
    maxpool_job job = {ts_host_ptr(h, n->in[0]), NULL, ts_host_ptr(h, n->out[0]), shape[1], shape[2], shape[3]};
    ts_parallel(ts_host_threads(h), shape[0] * (shape[1] / 2), 4, maxpool_rows, &job);
    return true;
}

/* Rows of dy; dx is zeros. */
TS_CLONES static void maxpool_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const maxpool_job *j = ctx;
    const int64_t channels = j->channels, line = j->width * channels, width = j->width / 2;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < width; i++) {
            const int64_t at = above(j, row) + 2 * i * channels;
            const real *x = j->x + at, *dy = j->dy + (row * width + i) * channels;
            real *dx = j->y + at;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                const real a = x[c], b = x[channels + c], d = x[line + c], e = x[line + channels + c];
                const real top = b > a ? b : a, low = e > d ? e : d;
                dx[c] = low > top || b > a ? 0 : dy[c];
                dx[channels + c] = low > top || !(b > a) ? 0 : dy[c];
                dx[line + c] = !(low > top) || e > d ? 0 : dy[c];
                dx[line + channels + c] = !(low > top) || !(e > d) ? 0 : dy[c];
            }
        }
}

TS_HOST_KERNEL(maxpool2x_grad);
bool REAL(ts_host_maxpool2x_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const int64_t *shape = n->in[0]->shape;
    real *dx = ts_host_ptr(h, n->out[0]);
    maxpool_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), dx, shape[1], shape[2], shape[3]};
    if (shape[1] % 2 != 0 || shape[2] % 2 != 0) memset(dx, 0, (size_t)ts_count(n->out[0]) * sizeof *dx);
    ts_parallel(ts_host_threads(h), shape[0] * (shape[1] / 2), 4, maxpool_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four channels ---- */

typedef struct {
    uint64_t x, dy, y; /* or dx; y alone where there is no dy */
    uint32_t images, height, width, channels;
} maxpool_push;

static ts_vk_dispatch_desc describe(const ts_node *n, ts_vk_cmd *cmd, maxpool_push *push)
{
    const int64_t *shape = n->in[0]->shape;
    const bool wide = shape[3] % 4 == 0;
    *push = (maxpool_push){.x = ts_vk_address(cmd, n->in[0]),
                           .y = ts_vk_address(cmd, n->out[0]),
                           .images = (uint32_t)shape[0],
                           .height = (uint32_t)shape[1],
                           .width = (uint32_t)shape[2],
                           .channels = (uint32_t)(wide ? shape[3] / 4 : shape[3])};
    ts_vk_dispatch_desc desc = {.push = push, .push_bytes = sizeof *push};
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return desc;
}

static bool maxpool2x_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    maxpool_push push;
    ts_vk_dispatch_desc desc = describe(n, cmd, &push);
    desc.shader = "maxpool2x";
    ts_vk_items(cmd, (int64_t)push.images * (push.height / 2) * (push.width / 2) * push.channels, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

/* An invocation a unit of dx: what is left out gets its zero. */
static bool maxpool2x_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    maxpool_push push;
    ts_vk_dispatch_desc desc = describe(n, cmd, &push);
    desc.shader = "maxpool2x_grad";
    push.dy = ts_vk_address(cmd, n->in[1]);
    ts_vk_items(cmd, (int64_t)push.images * push.height * push.width * push.channels, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op maxpool2x_grad_op = {.name = "maxpool2x_grad",
                                        .host = ts_host_maxpool2x_grad_f32,
                                        .host_f64 = ts_host_maxpool2x_grad_f64,
                                        .vulkan = maxpool2x_grad_vulkan};

static void maxpool2x_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_tensor *x = n->in[0];
    ts_node *grad = ts_node_new(n->graph, &maxpool2x_grad_op, 2, (ts_tensor *[]){x, dy[0]}, NULL, 0);
    dx[0] = ts_node_output(grad, TS_REAL, 4, x->shape);
}

static const ts_op maxpool2x_op = {.name = "maxpool2x",
                                   .grad = maxpool2x_grad,
                                   .host = ts_host_maxpool2x_f32,
                                   .host_f64 = ts_host_maxpool2x_f64,
                                   .vulkan = maxpool2x_vulkan};

ts_tensor *ts_maxpool2x(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->ndim != 4 || x->type != TS_REAL || x->shape[1] < 2 || x->shape[2] < 2)
        return ts_graph_fail(g, TS_ERR_SHAPE, "maxpool2x", "x is %s, wanted (N, H, W, C) of reals, H and W 2 or more",
                             ts_shape_text(x).s);
    const int64_t *s = x->shape;
    ts_node *n = ts_node_new(g, &maxpool2x_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){s[0], s[1] / 2, s[2] / 2, s[3]});
}
#endif
