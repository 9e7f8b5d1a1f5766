/* eigen2.c - eigenvalues of symmetric 2 x 2 matrices [a b; b c], one at each element of three tensors:
 *     large = (a + c) / 2 + d,  small = (a + c) / 2 - d,  d = sqrt(((a - c) / 2)^2 + b^2)
 * They stand side by side in the last dimension, all the large ones, then all the small ones; with `trace` a + c before them.
 * Where d is 0 the two are one, and the gradient of d is taken for 0. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    bool trace;
} eigen_attr;

/* ---- host ---- */

typedef struct {
    const real *a, *b, *c, *dy;
    real *y, *da, *db, *dc;
    int64_t width; /* of the last dimension of a */
    bool trace;
} eigen_job;

enum { BLOCK = 512 };

TS_CLONES static void eigen_block(const real *a, const real *b, const real *c, real *trace, real *large, real *small,
                                  int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const real u = (real)0.5 * (a[i] - c[i]), d = real_sqrt(u * u + b[i] * b[i]);
        trace[i] = a[i] + c[i];
        large[i] = (real)0.5 * trace[i] + d;
        small[i] = (real)0.5 * trace[i] - d;
    }
}

/* Elements of a, a block at a time: rows may be short. */
static void eigen_range(void *ctx, int64_t begin, int64_t end)
{
    const eigen_job *j = ctx;
    const int64_t w = j->width;
    int64_t row = begin / w, column = begin % w;
    for (int64_t first = begin; first < end; first += BLOCK) {
        real trace[BLOCK], large[BLOCK], small[BLOCK];
        const int64_t count = end - first < BLOCK ? end - first : BLOCK;
        eigen_block(j->a + first, j->b + first, j->c + first, trace, large, small, count);
        for (int64_t i = 0; i < count; i++) {
            real *y = j->y + row * (j->trace ? 3 : 2) * w + column;
            if (j->trace) y[0] = trace[i], y += w;
            y[0] = large[i];
            y[w] = small[i];
            if (++column == w) column = 0, row++;
        }
    }
}

static void eigen_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const eigen_job *j = ctx;
    const int64_t w = j->width, out = (j->trace ? 3 : 2) * w;
    for (int64_t row = begin; row < end; row++) {
        const real *dy = j->dy + row * out, *large = j->trace ? dy + w : dy, *small = large + w;
        for (int64_t i = 0; i < w; i++) {
            const int64_t at = row * w + i;
            const real u = (real)0.5 * (j->a[at] - j->c[at]), b = j->b[at], d = real_sqrt(u * u + b * b);
            const real both = (real)0.5 * (large[i] + small[i]) + (j->trace ? dy[i] : 0);
            const real apart = d > 0 ? (large[i] - small[i]) / d : 0;
            j->da[at] = both + (real)0.5 * apart * u;
            j->db[at] = apart * b;
            j->dc[at] = both - (real)0.5 * apart * u;
        }
    }
}

TS_HOST_KERNEL(eigen2);
bool REAL(ts_host_eigen2)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    eigen_job job = {.a = ts_host_ptr(h, n->in[0]),
                     .b = ts_host_ptr(h, n->in[1]),
                     .c = ts_host_ptr(h, n->in[2]),
                     .y = ts_host_ptr(h, n->out[0]),
                     .width = ts_last_dim(n->in[0]),
                     .trace = ((const eigen_attr *)n->attr)->trace};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 12, eigen_range, &job);
    return true;
}

TS_HOST_KERNEL(eigen2_grad);
bool REAL(ts_host_eigen2_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    eigen_job job = {.a = ts_host_ptr(h, n->in[0]),
                     .b = ts_host_ptr(h, n->in[1]),
                     .c = ts_host_ptr(h, n->in[2]),
                     .dy = ts_host_ptr(h, n->in[3]),
                     .da = ts_host_ptr(h, n->out[0]),
                     .db = ts_host_ptr(h, n->out[1]),
                     .dc = ts_host_ptr(h, n->out[2]),
                     .width = ts_last_dim(n->in[0]),
                     .trace = ((const eigen_attr *)n->attr)->trace};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 1 << 12, eigen_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation an element of a ---- */

static bool eigen2_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const struct {
        uint64_t a, b, c, y;
        uint32_t count, width;
    } push = {ts_vk_address(cmd, n->in[0]),  ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->out[0]), (uint32_t)ts_count(n->in[0]), (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "eigen2", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    desc.spec[1] = ((const eigen_attr *)n->attr)->trace;
    desc.spec_count = 2;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool eigen2_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const struct {
        uint64_t a, b, c, dy, da, db, dc;
        uint32_t count, width;
    } push = {ts_vk_address(cmd, n->in[0]),  ts_vk_address(cmd, n->in[1]),  ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->in[3]),  ts_vk_address(cmd, n->out[0]), ts_vk_address(cmd, n->out[1]),
              ts_vk_address(cmd, n->out[2]), (uint32_t)ts_count(n->in[0]),  (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "eigen2_grad", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    desc.spec[1] = ((const eigen_attr *)n->attr)->trace;
    desc.spec_count = 2;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the op ---- */

static const ts_op eigen2_grad_op = {
    .name = "eigen2_grad", .host = ts_host_eigen2_grad_f32, .host_f64 = ts_host_eigen2_grad_f64, .vulkan = eigen2_grad_vulkan};

static void eigen2_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const ts_tensor *a = n->in[0];
    ts_node *grad =
        ts_node_new(n->graph, &eigen2_grad_op, 4, (ts_tensor *[]){n->in[0], n->in[1], n->in[2], dy[0]}, n->attr, n->attr_size);
    for (int k = 0; k < 3; k++) dx[k] = ts_node_output(grad, TS_REAL, a->ndim, a->shape);
}

static const ts_op eigen2_op = {
    .name = "eigen2", .grad = eigen2_grad, .host = ts_host_eigen2_f32, .host_f64 = ts_host_eigen2_f64, .vulkan = eigen2_vulkan};

ts_tensor *ts_eigen2(ts_graph *g, ts_tensor *a, ts_tensor *b, ts_tensor *c, bool trace)
{
    if (!a || !b || !c) return NULL;
    if (a->type != TS_REAL || a->ndim < 1 || !ts_same_shape(a, b) || !ts_same_shape(a, c) || b->type != TS_REAL ||
        c->type != TS_REAL)
        return ts_graph_fail(g, TS_ERR_SHAPE, "eigen2", "%s, %s and %s must be of one shape, and real", ts_shape_text(a).s,
                             ts_shape_text(b).s, ts_shape_text(c).s);
    const eigen_attr attr = {trace};
    int64_t shape[TS_MAX_DIMS];
    for (int i = 0; i < a->ndim; i++) shape[i] = a->shape[i];
    shape[a->ndim - 1] *= trace ? 3 : 2;
    ts_node *n = ts_node_new(g, &eigen2_op, 3, (ts_tensor *[]){a, b, c}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, a->ndim, shape);
}
#endif
