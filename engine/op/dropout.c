/* dropout.c - each element is 0 with probability `rate`, else 1 / (1 - rate) times what it was (Srivastava et al. 2014). Which
 * ones fall is a hash of the seed, the call's own number and the element's place, the same on every backend, so that no mask is
 * stored or sent; its gradient is the same op on dy. A seed below 0 keeps all: one graph for training and for what follows it. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    uint32_t threshold; /* of 2^24: what falls */
    uint32_t number;
    float scale;
} dropout_attr;

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y, scale;
    uint32_t key, threshold;
} dropout_job;

/* A permutation of 32 bits in which each bit of the input moves half of the output's (Wellons 2018, "lowbias32"). */
static inline uint32_t mixed(uint32_t h)
{
    h = (h ^ (h >> 16)) * 0x7feb352dU;
    h = (h ^ (h >> 15)) * 0x846ca68bU;
    return h ^ (h >> 16);
}

TS_CLONES static void dropout_range(void *ctx, int64_t begin, int64_t end)
{
    const dropout_job *j = ctx;
    const real *x = j->x, scale = j->scale;
    real *y = j->y;
    const uint32_t key = j->key, threshold = j->threshold;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = mixed(key ^ mixed((uint32_t)i)) >> 8 < threshold ? 0 : x[i] * scale;
}

TS_HOST_KERNEL(dropout);
bool REAL(ts_host_dropout)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const dropout_attr *a = n->attr;
    const int32_t seed = *(const int32_t *)ts_host_ptr(h, n->in[1]);
    dropout_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), seed < 0 ? 1 : (real)a->scale,
                       mixed((uint32_t)seed + a->number * 0x9e3779b9U), seed < 0 ? 0 : a->threshold};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 13, dropout_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool dropout_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const dropout_attr *a = n->attr;
    const int64_t count = ts_count(n->in[0]);
    const bool wide = count % 4 == 0;
    const int64_t units = wide ? count / 4 : count;
    const struct {
        uint64_t x, seed, y;
        uint32_t count, number, threshold;
        float scale;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)units,
              a->number,
              a->threshold,
              a->scale};
    ts_vk_dispatch_desc desc = {.shader = "dropout", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, units, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the op ---- */

static ts_tensor *again(ts_graph *g, ts_tensor *x, ts_tensor *seed, const dropout_attr *a);

static void dropout_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = again(n->graph, dy[0], n->in[1], n->attr);
}

static const ts_op dropout_op = {.name = "dropout",
                                 .grad = dropout_grad,
                                 .host = ts_host_dropout_f32,
                                 .host_f64 = ts_host_dropout_f64,
                                 .vulkan = dropout_vulkan};

static ts_tensor *again(ts_graph *g, ts_tensor *x, ts_tensor *seed, const dropout_attr *a)
{
    if (!x) return NULL;
    ts_node *n = ts_node_new(g, &dropout_op, 2, (ts_tensor *[]){x, seed}, a, sizeof *a);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}

ts_tensor *ts_dropout(ts_graph *g, ts_tensor *x, ts_tensor *seed, uint32_t number, double rate)
{
    if (!x || !seed) return NULL;
    if (x->type != TS_REAL || x->layout != TS_LAYOUT_PLAIN || seed->type != TS_I32 || ts_count(seed) != 1)
        return ts_graph_fail(g, TS_ERR_SHAPE, "dropout", "x is %s and the seed %s, wanted plain reals and one integer",
                             ts_shape_text(x).s, ts_shape_text(seed).s);
    if (!(rate >= 0 && rate < 1)) return ts_graph_fail(g, TS_ERR_ARGUMENT, "dropout", "a rate of %g, wanted 0 to below 1", rate);
    const dropout_attr a = {(uint32_t)(rate * (1 << 24) + 0.5), number, (float)(1 / (1 - rate))};
    return a.threshold == 0 ? x : again(g, x, seed, &a);
}
#endif
