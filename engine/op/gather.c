/* gather.c - rows by index: out[b, t] = x[b, index[b, t]], and the fill row (or zeros) where the index is -1 or out of range. It
 * keeps tokens, puts them back among mask tokens, and looks up embeddings. An index is data, perhaps a user's: it is checked
 * against the table's rows on every backend. */
#include "engine/op/scatter.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

typedef struct {
    const real *x, *fill;
    const int32_t *index;
    real *y;
    int64_t rows, width, tokens; /* of a table; of a row; indices of one batch entry */
    bool shared;                 /* one table for the whole batch */
} gather_job;

static void gather_rows(void *ctx, int64_t begin, int64_t end)
{
    const gather_job *j = ctx;
    const size_t bytes = (size_t)j->width * sizeof(real);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = j->index[i], table = j->shared ? 0 : i / j->tokens;
        real *y = j->y + i * j->width;
        if (row >= 0 && row < j->rows) memcpy(y, j->x + (table * j->rows + row) * j->width, bytes);
        else if (j->fill) memcpy(y, j->fill, bytes);
        else memset(y, 0, bytes);
    }
}

TS_HOST_KERNEL(gather);
bool REAL(ts_host_gather)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_tensor *x = n->in[0], *index = n->in[1];
    gather_job job = {.x = ts_host_ptr(h, x),
                      .index = ts_host_ptr(h, index),
                      .fill = ts_host_ptr(h, n->in[2]),
                      .y = ts_host_ptr(h, n->out[0]),
                      .rows = x->shape[x->ndim - 2],
                      .width = ts_last_dim(x),
                      .tokens = index->shape[1],
                      .shared = x->ndim == 2};
    ts_parallel(ts_host_threads(h), ts_count(index), 64, gather_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

static bool gather_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_tensor *x = n->in[0], *index = n->in[1], *fill = n->in[2];
    const bool wide = ts_last_dim(x) % 4 == 0;
    const int64_t width = wide ? ts_last_dim(x) / 4 : ts_last_dim(x);
    const struct {
        uint64_t x, fill, index, y;
        uint32_t count, tokens, rows, width;
    } push = {ts_vk_address(cmd, x),           ts_vk_address(cmd, fill),
              ts_vk_address(cmd, index),       ts_vk_address(cmd, n->out[0]),
              (uint32_t)ts_count(index),       x->ndim == 2 ? 0 : (uint32_t)index->shape[1],
              (uint32_t)x->shape[x->ndim - 2], (uint32_t)width};
    ts_vk_dispatch_desc desc = {.shader = "gather", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, ts_count(index), &desc);
    desc.spec[2] = wide;
    desc.spec[3] = fill != NULL;
    desc.spec_count = 4;
    return ts_vk_dispatch(cmd, &desc, err);
}

static void gather_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    const ts_tensor *x = n->in[0];
    if (wanted[0]) dx[0] = ts_scatter(n->graph, dy[0], n->in[1], x);
    if (wanted[2]) dx[2] = ts_scatter_outside(n->graph, dy[0], n->in[1], x->shape[x->ndim - 2]);
}

static const ts_op gather_op = {
    .name = "gather", .grad = gather_grad, .host = ts_host_gather_f32, .host_f64 = ts_host_gather_f64, .vulkan = gather_vulkan};

ts_tensor *ts_gather(ts_graph *g, ts_tensor *x, ts_tensor *index, ts_tensor *fill)
{
    if (!x || !index) return NULL;
    const bool table = x->ndim == 2 || (x->ndim == 3 && index->ndim == 2 && x->shape[0] == index->shape[0]);
    if (!table || index->ndim != 2 || x->type != TS_REAL || index->type != TS_I32)
        return ts_graph_fail(g, TS_ERR_SHAPE, "gather",
                             "x is %s and index %s%s, wanted (R, C) or (B, R, C) of reals and (B, T) of integers",
                             ts_shape_text(x).s, ts_shape_text(index).s, index->type == TS_I32 ? "" : " of reals");
    const int64_t width = ts_last_dim(x);
    if (fill && (ts_count(fill) != width || fill->type != TS_REAL))
        return ts_graph_fail(g, TS_ERR_SHAPE, "gather", "x %s needs a fill of %lld elements, it is %s", ts_shape_text(x).s,
                             (long long)width, ts_shape_text(fill).s);
    ts_node *n = ts_node_new(g, &gather_op, 3, (ts_tensor *[]){x, index, fill}, NULL, 0);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){index->shape[0], index->shape[1], width});
}
#endif
