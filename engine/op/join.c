/* join.c - columns side by side: tensors of as many rows joined along the last dimension, or put into columns of a state in
 * place; and columns cut out of a tensor. Joining and cutting are each other's gradient. All of it is one kernel, the copy of a
 * block of columns. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

enum { MOST_PARTS = TS_MAX_IN - 1 }; /* in[0] is the state, where there is one */

typedef struct {
    int64_t first; /* column of the state, or of what is cut from */
} join_attr;

/* `count` columns of each row, from x[row * x_width + x_at] to y[row * y_width + y_at]. */
typedef struct {
    const ts_tensor *from, *to;
    int64_t rows, count, x_width, x_at, y_width, y_at;
} column_copy;

/* Of a join: what comes from in[k], k from 1. */
static column_copy part_of(const ts_node *n, int k)
{
    const ts_tensor *x = n->in[k], *y = n->in[0] ? n->in[0] : n->out[0];
    int64_t at = ((const join_attr *)n->attr)->first;
    for (int i = 1; i < k; i++) at += ts_last_dim(n->in[i]);
    const int64_t count = ts_last_dim(x);
    return (column_copy){x, y, ts_rows(y), count, count, 0, ts_last_dim(y), at};
}

static column_copy cut_of(const ts_node *n)
{
    const ts_tensor *x = n->in[0], *y = n->out[0];
    const int64_t count = ts_last_dim(y);
    return (column_copy){x, y, ts_rows(y), count, ts_last_dim(x), ((const join_attr *)n->attr)->first, count, 0};
}

/* ---- host ---- */

typedef struct {
    const real *x;
    real *y;
    const column_copy *c;
} copy_job;

static void copy_rows(void *ctx, int64_t begin, int64_t end)
{
    const copy_job *j = ctx;
    const column_copy *c = j->c;
    const real *x = j->x + c->x_at;
    real *y = j->y + c->y_at;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < c->count; i++) y[row * c->y_width + i] = x[row * c->x_width + i];
}

static void copy_columns(ts_host *h, const column_copy *c)
{
    copy_job job = {ts_host_ptr(h, c->from), ts_host_ptr(h, c->to), c};
    ts_parallel(ts_host_threads(h), c->rows, 1 << 10, copy_rows, &job);
}

/* Row by row over all parts, so that a row of the result is written while it is in the cache. */
typedef struct {
    int parts;
    copy_job part[MOST_PARTS];
} join_job;

static void join_rows(void *ctx, int64_t begin, int64_t end)
{
    const join_job *j = ctx;
    enum { BLOCK = 64 };
    for (int64_t row = begin; row < end; row += BLOCK)
        for (int k = 0; k < j->parts; k++) copy_rows((void *)&j->part[k], row, row + BLOCK < end ? row + BLOCK : end);
}

TS_HOST_KERNEL(join);
bool REAL(ts_host_join)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    column_copy copy[MOST_PARTS] = {part_of(n, 1)};
    join_job job = {.parts = n->nin - 1};
    for (int k = 0; k < job.parts; k++) {
        copy[k] = part_of(n, k + 1);
        job.part[k] = (copy_job){ts_host_ptr(h, copy[k].from), ts_host_ptr(h, copy[k].to), &copy[k]};
    }
    ts_parallel(ts_host_threads(h), copy[0].rows, 1 << 10, join_rows, &job);
    return true;
}

TS_HOST_KERNEL(columns);
bool REAL(ts_host_columns)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const column_copy c = cut_of(n);
    copy_columns(h, &c);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a number that is copied ---- */

static bool dispatch(const column_copy *c, ts_vk_cmd *cmd, ts_error *err)
{
    const struct {
        uint64_t x, y;
        uint32_t total, count, x_width, x_at, y_width, y_at;
    } push = {ts_vk_address(cmd, c->from), ts_vk_address(cmd, c->to), (uint32_t)(c->rows * c->count), (uint32_t)c->count,
              (uint32_t)c->x_width,        (uint32_t)c->x_at,         (uint32_t)c->y_width,           (uint32_t)c->y_at};
    ts_vk_dispatch_desc desc = {.shader = "columns", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.total, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool join_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    bool ok = true;
    for (int k = 1; ok && k < n->nin; k++) {
        const column_copy c = part_of(n, k);
        ok = dispatch(&c, cmd, err);
    }
    return ok;
}

static bool columns_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const column_copy c = cut_of(n);
    return dispatch(&c, cmd, err);
}

/* ---- the ops ---- */

static void join_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    int64_t at = 0;
    for (int k = 1; k < n->nin; k++) {
        const int64_t count = ts_last_dim(n->in[k]);
        if (wanted[k]) dx[k] = ts_columns(n->graph, dy[0], at, count);
        at += count;
    }
}

/* `count` columns of zeros beside x; NULL for none. */
static ts_tensor *zeros_beside(ts_graph *g, const ts_tensor *x, int64_t count)
{
    int64_t shape[TS_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) shape[i] = x->shape[i];
    shape[x->ndim - 1] = count;
    return count > 0 ? ts_fill(g, x->ndim, shape, 0) : NULL;
}

static void columns_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const int64_t first = ((const join_attr *)n->attr)->first, count = ts_last_dim(dy[0]);
    ts_tensor *part[3], *before = zeros_beside(n->graph, dy[0], first);
    ts_tensor *after = zeros_beside(n->graph, dy[0], ts_last_dim(n->in[0]) - first - count);
    int parts = 0;
    if (before) part[parts++] = before;
    part[parts++] = dy[0];
    if (after) part[parts++] = after;
    dx[0] = parts > 1 ? ts_join(n->graph, parts, part) : dy[0];
}

static const ts_op join_op = {
    .name = "join", .grad = join_grad, .host = ts_host_join_f32, .host_f64 = ts_host_join_f64, .vulkan = join_vulkan};
static const ts_op put_op = {
    .name = "put_columns", .writes = 1, .host = ts_host_join_f32, .host_f64 = ts_host_join_f64, .vulkan = join_vulkan};
static const ts_op columns_op = {.name = "columns",
                                 .grad = columns_grad,
                                 .host = ts_host_columns_f32,
                                 .host_f64 = ts_host_columns_f64,
                                 .vulkan = columns_vulkan};

/* The columns of all parts together; 0: they do not fit side by side, and the graph says so. */
static int64_t width_of(ts_graph *g, const char *op, int count, ts_tensor *const *part)
{
    int64_t width = 0;
    if (count < 1 || count > MOST_PARTS) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, op, "%d parts, wanted 1 to %d", count, MOST_PARTS);
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (!part[i]) return 0;
        if (part[i]->type != TS_REAL || part[i]->ndim < 1 || ts_rows(part[i]) != ts_rows(part[0])) {
            ts_graph_fail(g, TS_ERR_SHAPE, op, "%s and %s do not stand side by side: they must be reals of as many rows",
                          ts_shape_text(part[0]).s, ts_shape_text(part[i]).s);
            return 0;
        }
        width += ts_last_dim(part[i]);
    }
    return width;
}

ts_tensor *ts_join(ts_graph *g, int count, ts_tensor *const *part)
{
    const int64_t width = width_of(g, "join", count, part);
    if (width == 0) return NULL;
    ts_tensor *in[TS_MAX_IN] = {NULL};
    int64_t shape[TS_MAX_DIMS];
    for (int i = 0; i < count; i++) in[i + 1] = part[i];
    for (int i = 0; i < part[0]->ndim; i++) shape[i] = part[0]->shape[i];
    shape[part[0]->ndim - 1] = width;
    ts_node *n = ts_node_new(g, &join_op, count + 1, in, &(join_attr){0}, sizeof(join_attr));
    return ts_node_output(n, TS_REAL, part[0]->ndim, shape);
}

bool ts_put_columns(ts_graph *g, ts_tensor *state, int64_t first, int count, ts_tensor *const *part)
{
    const int64_t width = width_of(g, "put_columns", count, part);
    if (width == 0 || !state) return false;
    if (first < 0 || first + width > ts_last_dim(state) || ts_rows(state) != ts_rows(part[0])) {
        ts_graph_fail(g, TS_ERR_SHAPE, "put_columns", "%lld columns of %s do not go into %s from column %lld on",
                      (long long)width, ts_shape_text(part[0]).s, ts_shape_text(state).s, (long long)first);
        return false;
    }
    ts_tensor *in[TS_MAX_IN] = {state};
    for (int i = 0; i < count; i++) in[i + 1] = part[i];
    const join_attr attr = {first};
    return ts_in_place(g, "put_columns", state) && ts_node_new(g, &put_op, count + 1, in, &attr, sizeof attr);
}

ts_tensor *ts_columns(ts_graph *g, ts_tensor *x, int64_t first, int64_t count)
{
    if (!x) return NULL;
    if (x->type != TS_REAL || x->ndim < 1 || first < 0 || count < 1 || first + count > ts_last_dim(x))
        return ts_graph_fail(g, TS_ERR_SHAPE, "columns", "%s has no columns %lld to %lld", ts_shape_text(x).s, (long long)first,
                             (long long)(first + count - 1));
    const join_attr attr = {first};
    int64_t shape[TS_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) shape[i] = x->shape[i];
    shape[x->ndim - 1] = count;
    ts_node *n = ts_node_new(g, &columns_op, 1, &x, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, x->ndim, shape);
}
#endif
