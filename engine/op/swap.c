/* swap.c - the two middle dimensions change places: (A, B, C, D) -> (A, C, B, D), runs of D copied whole. With views of a map it
 * is what pixels are shuffled by (Shi et al. 2016, arXiv 1609.05158). Its gradient is itself. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
    int64_t b, c, d; /* of the input */
} swap_job;

/* Rows of the output: (a, c), each B runs. */
static void swap_rows(void *ctx, int64_t begin, int64_t end)
{
    const swap_job *j = ctx;
    const size_t bytes = (size_t)j->d * sizeof(real);
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + (row / j->c * j->b * j->c + row % j->c) * j->d;
        real *y = j->y + row * j->b * j->d;
        for (int64_t b = 0; b < j->b; b++) memcpy(y + b * j->d, x + b * j->c * j->d, bytes);
    }
}

TS_HOST_KERNEL(swap);
bool REAL(ts_host_swap)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const int64_t *s = n->in[0]->shape;
    swap_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), s[1], s[2], s[3]};
    ts_parallel(ts_host_threads(h), s[0] * s[2], 4, swap_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool swap_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t *s = n->in[0]->shape;
    const bool wide = s[3] % 4 == 0;
    const int64_t count = ts_count(n->in[0]) / (wide ? 4 : 1);
    const struct {
        uint64_t x, y;
        uint32_t count, b, c, d;
    } push = {ts_vk_address(cmd, n->in[0]),     ts_vk_address(cmd, n->out[0]), (uint32_t)count, (uint32_t)s[1], (uint32_t)s[2],
              (uint32_t)(s[3] / (wide ? 4 : 1))};
    ts_vk_dispatch_desc desc = {.shader = "swap", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static void swap_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = ts_swap(n->graph, dy[0]);
}

static const ts_op swap_op = {
    .name = "swap", .grad = swap_grad, .host = ts_host_swap_f32, .host_f64 = ts_host_swap_f64, .vulkan = swap_vulkan};

ts_tensor *ts_swap(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->ndim != 4 || x->type != TS_REAL)
        return ts_graph_fail(g, TS_ERR_SHAPE, "swap", "x is %s, wanted (A, B, C, D) of reals", ts_shape_text(x).s);
    const int64_t *s = x->shape;
    ts_node *n = ts_node_new(g, &swap_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){s[0], s[2], s[1], s[3]});
}

ts_tensor *ts_pixel_shuffle(ts_graph *g, ts_tensor *x, int64_t factor)
{
    if (!x) return NULL;
    if (x->ndim != 4 || factor < 1 || x->shape[3] % (factor * factor) != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "pixel_shuffle", "x is %s, wanted (N, H, W, C) with C a multiple of %lld squared",
                             ts_shape_text(x).s, (long long)factor);
    const int64_t *s = x->shape, channels = s[3] / (factor * factor);
    x = ts_reshape(g, x, 4, (int64_t[]){s[0] * s[1], s[2], factor, factor * channels}); // (N H, W, r, r C)
    x = ts_swap(g, x);                                                                  // (N H, r, W, r C)
    return ts_reshape(g, x, 4, (int64_t[]){s[0], s[1] * factor, s[2] * factor, channels});
}
#endif
