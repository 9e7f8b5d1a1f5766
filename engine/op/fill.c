/* fill.c - one value in every element: a constant of the graph, or a state set back in place. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    float value;
} fill_attr;

/* A constant is made, a state is taken as it is. */
static ts_tensor *target_of(const ts_node *n)
{
    return n->nout > 0 ? n->out[0] : n->in[0];
}

/* ---- host ---- */

typedef struct {
    real *y, value;
} fill_job;

static void fill_range(void *ctx, int64_t begin, int64_t end)
{
    const fill_job *j = ctx;
    for (int64_t i = begin; i < end; i++) j->y[i] = j->value;
}

TS_HOST_KERNEL(fill);
bool REAL(ts_host_fill)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_tensor *y = target_of(n);
    fill_job job = {ts_host_ptr(h, y), (real)((const fill_attr *)n->attr)->value};
    ts_parallel(ts_host_threads(h), ts_count(y), 1 << 15, fill_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool fill_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_tensor *y = target_of(n);
    const int64_t count = ts_count(y);
    const bool wide = count % 4 == 0;
    const struct {
        uint64_t y;
        uint32_t count;
        float value;
    } push = {ts_vk_address(cmd, y), (uint32_t)(wide ? count / 4 : count), ((const fill_attr *)n->attr)->value};
    ts_vk_dispatch_desc desc = {.shader = "fill", .wide = ts_is_wide(y), .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op fill_op = {.name = "fill", .host = ts_host_fill_f32, .host_f64 = ts_host_fill_f64, .vulkan = fill_vulkan};
static const ts_op reset_op = {
    .name = "reset", .writes = 1, .wide = 1, .host = ts_host_fill_f32, .host_f64 = ts_host_fill_f64, .vulkan = fill_vulkan};

ts_tensor *ts_fill(ts_graph *g, int ndim, const int64_t *shape, float value)
{
    const fill_attr attr = {value};
    ts_node *n = ts_node_new(g, &fill_op, 0, NULL, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, ndim, shape);
}

bool ts_reset(ts_graph *g, ts_tensor *state, float value)
{
    const fill_attr attr = {value};
    return ts_in_place(g, "reset", state) && ts_node_new(g, &reset_op, 1, &state, &attr, sizeof attr);
}
#endif
