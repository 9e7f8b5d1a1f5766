/* accumulate.c - state += x, in place: the gradients of several small batches added into that of a large one. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *x;
    real *state;
} accumulate_job;

TS_CLONES static void accumulate_range(void *ctx, int64_t begin, int64_t end)
{
    const accumulate_job *j = ctx;
    const real *x = j->x;
    real *state = j->state;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) state[i] += x[i];
}

TS_HOST_KERNEL(accumulate);
bool REAL(ts_host_accumulate)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    accumulate_job job = {ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->in[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 14, accumulate_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: a sum that is put where its first operand was ---- */

/* fp16 is added to a state in fp32. */
static bool add_narrow(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const struct {
        uint64_t s, x;
        uint32_t count;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), (uint32_t)ts_count(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "accumulate", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool accumulate_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t count = ts_count(n->in[0]);
    if (ts_is_wide(n->in[0]) && !ts_is_wide(n->in[1]) && ts_vk_limits_of(cmd)->fp16) return add_narrow(n, cmd, err);
    const bool wide = count % 4 == 0;
    const uint32_t units = (uint32_t)(wide ? count / 4 : count);
    const struct {
        uint64_t a, b, y;
        uint32_t count, period;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->in[0]), units, units};
    ts_vk_dispatch_desc desc = {
        .shader = "binary", .wide = ts_is_wide(n->in[0]), .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_items(cmd, units, &desc);
    desc.spec[1] = 4;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op accumulate_op = {.name = "accumulate",
                                    .writes = 1,
                                    .wide = 3,
                                    .host = ts_host_accumulate_f32,
                                    .host_f64 = ts_host_accumulate_f64,
                                    .vulkan = accumulate_vulkan};

bool ts_accumulate(ts_graph *g, ts_tensor *state, ts_tensor *x)
{
    if (!state || !x) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, "accumulate", "a tensor is absent");
        return false;
    }
    if (!ts_same_shape(state, x) || state->layout != x->layout || x->type != TS_REAL) {
        ts_graph_fail(g, TS_ERR_SHAPE, "accumulate", "%s cannot be added to %s %s: shapes or layouts differ", ts_shape_text(x).s,
                      state->name, ts_shape_text(state).s);
        return false;
    }
    return ts_in_place(g, "accumulate", state) && ts_node_new(g, &accumulate_op, 2, (ts_tensor *[]){state, x}, NULL, 0);
}
#endif
