/* linear_each.c - a product for each of a batch: x (B, R, K), w (B, O, K) -> (B, R, O), y[b, r, o] = sum over k of x[b, r, k]
 * w[b, o, k]. For weights that a network computes for each item, few of them (the masks of Segment Anything's decoder: Kirillov
 * et al. 2023, arXiv 2304.02643, appendix A); where all share one weight ts_linear is faster. Its gradients are such products
 * too: dx = dy w and dw = dy^T x, each with the sides turned that the sum needs. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x, *w;
    real *y;
    int64_t rows, outs, depth;
} each_job;

TS_CLONES static void each_rows(void *ctx, int64_t begin, int64_t end)
{
    const each_job *j = ctx;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * j->depth, *w = j->w + row / j->rows * j->outs * j->depth;
        real *y = j->y + row * j->outs;
        for (int64_t o = 0; o < j->outs; o++) {
            real sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t k = 0; k < j->depth; k++) sum += x[k] * w[o * j->depth + k];
            y[o] = sum;
        }
    }
}

TS_HOST_KERNEL(linear_each);
bool REAL(ts_host_linear_each)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_tensor *x = n->in[0], *w = n->in[1];
    each_job job = {ts_host_ptr(h, x), ts_host_ptr(h, w), ts_host_ptr(h, n->out[0]), x->shape[1], w->shape[1], x->shape[2]};
    const int64_t work = job.outs * job.depth;
    ts_parallel(ts_host_threads(h), x->shape[0] * x->shape[1], work > 1 << 14 ? 1 : (1 << 14) / work + 1, each_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation an element where the sum is short, else a workgroup ---- */

enum { LONG = 512 };

static bool linear_each_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_tensor *x = n->in[0], *w = n->in[1];
    const int64_t depth = x->shape[2], count = ts_count(n->out[0]);
    const bool wide = depth % 4 == 0;
    const struct {
        uint64_t x, w, y;
        uint32_t count, rows, outs, depth;
    } push = {ts_vk_address(cmd, x), ts_vk_address(cmd, w), ts_vk_address(cmd, n->out[0]),     (uint32_t)count,
              (uint32_t)x->shape[1], (uint32_t)w->shape[1], (uint32_t)(depth / (wide ? 4 : 1))};
    ts_vk_dispatch_desc desc = {
        .shader = "linear_each", .push = &push, .push_bytes = sizeof push, .flops = 2.0 * (double)count * (double)depth};
    if (depth > LONG) {
        desc.shader = "linear_each_long";
        ts_vk_rows(cmd, count, &desc);
    } else {
        ts_vk_items(cmd, count, &desc);
    }
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* (B, R, C) -> (B, C, R) */
static ts_tensor *turned(ts_graph *g, ts_tensor *x)
{
    const int64_t *s = x->shape;
    ts_tensor *y = ts_swap(g, ts_reshape(g, x, 4, (int64_t[]){s[0], s[1], s[2], 1}));
    return ts_reshape(g, y, 3, (int64_t[]){s[0], s[2], s[1]});
}

static void linear_each_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_graph *g = n->graph;
    if (!dy[0]) return;
    if (wanted[0]) dx[0] = ts_linear_each(g, dy[0], turned(g, n->in[1]));
    if (wanted[1]) dx[1] = ts_linear_each(g, turned(g, dy[0]), turned(g, n->in[0]));
}

static double linear_each_flops(const ts_node *n)
{
    return 2.0 * (double)ts_count(n->out[0]) * (double)ts_last_dim(n->in[0]);
}

static const ts_op linear_each_op = {.name = "linear_each",
                                     .grad = linear_each_grad,
                                     .flops = linear_each_flops,
                                     .host = ts_host_linear_each_f32,
                                     .host_f64 = ts_host_linear_each_f64,
                                     .vulkan = linear_each_vulkan};

ts_tensor *ts_linear_each(ts_graph *g, ts_tensor *x, ts_tensor *w)
{
    if (!x || !w) return NULL;
    if (x->ndim != 3 || w->ndim != 3 || x->type != TS_REAL || w->type != TS_REAL || x->shape[0] != w->shape[0] ||
        x->shape[2] != w->shape[2])
        return ts_graph_fail(g, TS_ERR_SHAPE, "linear_each", "x is %s and w %s, wanted (B, R, K) and (B, O, K) of reals",
                             ts_shape_text(x).s, ts_shape_text(w).s);
    ts_node *n = ts_node_new(g, &linear_each_op, 2, (ts_tensor *[]){x, w}, NULL, 0);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){x->shape[0], x->shape[1], w->shape[1]});
}
#endif
