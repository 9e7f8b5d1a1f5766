/* argmax.c - over the last dimension: the index of the largest element, the first of equal ones. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x;
    int32_t *index;
    int64_t width;
} argmax_job;

TS_CLONES static void argmax_rows(void *ctx, int64_t begin, int64_t end)
{
    const argmax_job *j = ctx;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * j->width;
        real top = -INFINITY;
#pragma omp simd reduction(max : top)
        for (int64_t i = 0; i < j->width; i++) top = x[i] > top ? x[i] : top;
        int64_t best = 0;
        while (best < j->width && x[best] != top) best++;
        j->index[row] = best < j->width ? (int32_t)best : 0; /* a row of NaN has no largest */
    }
}

TS_HOST_KERNEL(argmax);
bool REAL(ts_host_argmax)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    argmax_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, argmax_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

static bool argmax_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, index;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)rows, (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "argmax", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op argmax_op = {
    .name = "argmax", .host = ts_host_argmax_f32, .host_f64 = ts_host_argmax_f64, .vulkan = argmax_vulkan};

ts_tensor *ts_argmax(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->type != TS_REAL || ts_last_dim(x) > INT32_MAX)
        return ts_graph_fail(g, TS_ERR_SHAPE, "argmax", "x is %s, wanted (..., C) of reals with C below 2^31",
                             ts_shape_text(x).s);
    ts_node *n = ts_node_new(g, &argmax_op, 1, &x, NULL, 0);
    const bool single = x->ndim == 1;
    const int64_t one = 1;
    return ts_node_output(n, TS_I32, single ? 1 : x->ndim - 1, single ? &one : x->shape);
}
#endif
