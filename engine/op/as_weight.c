/* as_weight.c - the rows of a computed matrix as a weight that ts_linear takes, so that two computed matrices can be multiplied:
 * x w^T of features with features. The host keeps weights as they are and copies; Vulkan keeps them turned (ts_pack). The
 * gradient is the way back. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

typedef struct {
    bool back; /* from a weight to plain rows */
} as_weight_attr;

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
} copy_job;

static void copy_range(void *ctx, int64_t begin, int64_t end)
{
    const copy_job *j = ctx;
    memcpy(j->y + begin, j->x + begin, (size_t)(end - begin) * sizeof(real));
}

TS_HOST_KERNEL(as_weight);
bool REAL(ts_host_as_weight)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    copy_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 16, copy_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation an element ---- */

static bool as_weight_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const as_weight_attr *attr = n->attr;
    const ts_tensor *x = n->in[0];
    const struct {
        uint64_t from, to;
        uint32_t inputs, outputs, panel;
    } push = {ts_vk_address(cmd, x), ts_vk_address(cmd, n->out[0]), (uint32_t)x->shape[1], (uint32_t)x->shape[0],
              ts_vk_limits_of(cmd)->panel};
    ts_vk_dispatch_desc desc = {.shader = "as_weight", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, ts_count(x), &desc);
    desc.spec[1] = attr->back;
    desc.spec_count = 2;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the op ---- */

static ts_tensor *turn(ts_graph *g, ts_tensor *x, bool back);

static void as_weight_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const as_weight_attr *attr = n->attr;
    dx[0] = turn(n->graph, dy[0], !attr->back);
}

static const ts_op as_weight_op = {.name = "as_weight",
                                   .grad = as_weight_grad,
                                   .host = ts_host_as_weight_f32,
                                   .host_f64 = ts_host_as_weight_f64,
                                   .vulkan = as_weight_vulkan};

static ts_tensor *turn(ts_graph *g, ts_tensor *x, bool back)
{
    if (!x) return NULL;
    const as_weight_attr attr = {back};
    ts_node *n = ts_node_new(g, &as_weight_op, 1, &x, &attr, sizeof attr);
    ts_tensor *y = ts_node_output(n, TS_REAL, x->ndim, x->shape);
    if (y) y->layout = back ? TS_LAYOUT_PLAIN : TS_LAYOUT_LINEAR;
    return y;
}

ts_tensor *ts_as_weight(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    if (x->type != TS_REAL || x->ndim != 2 || x->layout != TS_LAYOUT_PLAIN)
        return ts_graph_fail(g, TS_ERR_SHAPE, "as_weight", "x is %s, wanted plain reals (out, in)", ts_shape_text(x).s);
    return turn(g, x, false);
}
#endif
