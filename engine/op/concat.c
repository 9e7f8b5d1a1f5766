/* concat.c - rows side by side: joining two tensors along the second last dimension, and cutting a part out of one. Each is the
 * other's gradient, and all of it is one kernel, the copy of a block of consecutive elements for each batch entry. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

typedef struct {
    int64_t first; /* row of the part that is cut out */
} slice_attr;

/* For each of `batch` entries: `count` elements to y[entry * y_stride + y_at + i] from x[entry * x_stride + x_at + i]. x_stride
 * 0: the same ones for all entries. */
typedef struct {
    const ts_tensor *from, *to; /* from NULL: zeros */
    int64_t batch, count, x_stride, x_at, y_stride, y_at;
} block_copy;

static int64_t rows_of(const ts_tensor *t)
{
    return t->shape[t->ndim - 2];
}

static int64_t batch_of(const ts_tensor *t)
{
    return ts_rows(t) / rows_of(t);
}

/* Of concat: the part that comes from in[k]. */
static block_copy concat_part(const ts_node *n, int k)
{
    const ts_tensor *x = n->in[k], *y = n->out[0];
    const int64_t width = ts_last_dim(y), count = rows_of(x) * width;
    return (block_copy){.from = x,
                        .to = y,
                        .batch = batch_of(y),
                        .count = count,
                        .x_stride = x->ndim == 2 ? 0 : count,
                        .y_stride = rows_of(y) * width,
                        .y_at = k == 0 ? 0 : rows_of(n->in[0]) * width};
}

static block_copy slice_part(const ts_node *n)
{
    const ts_tensor *x = n->in[0], *y = n->out[0];
    const int64_t width = ts_last_dim(x), count = rows_of(y) * width;
    return (block_copy){.from = x,
                        .to = y,
                        .batch = batch_of(x),
                        .count = count,
                        .x_stride = rows_of(x) * width,
                        .x_at = ((const slice_attr *)n->attr)->first * width,
                        .y_stride = count};
}

/* Of slice's gradient: the zeros before the part (k = 0), the part, the zeros after it. */
static block_copy pad_part(const ts_node *n, int k)
{
    const ts_tensor *x = n->in[0], *y = n->out[0];
    const int64_t width = ts_last_dim(x), first = ((const slice_attr *)n->attr)->first, last = first + rows_of(x);
    const int64_t begin = k == 0 ? 0 : k == 1 ? first : last, end = k == 0 ? first : k == 1 ? last : rows_of(y);
    return (block_copy){.from = k == 1 ? x : NULL,
                        .to = y,
                        .batch = batch_of(x),
                        .count = (end - begin) * width,
                        .x_stride = rows_of(x) * width,
                        .y_stride = rows_of(y) * width,
                        .y_at = begin * width};
}

/* ---- host ---- */

typedef struct {
    block_copy part;
    const real *x;
    real *y;
} copy_job;

static void copy_blocks(void *ctx, int64_t begin, int64_t end)
{
    const copy_job *j = ctx;
    const block_copy *p = &j->part;
    const size_t bytes = (size_t)p->count * sizeof(real);
    for (int64_t i = begin; i < end; i++) {
        real *y = j->y + i * p->y_stride + p->y_at;
        if (j->x) memcpy(y, j->x + i * p->x_stride + p->x_at, bytes);
        else memset(y, 0, bytes);
    }
}

static void copy_on_host(const ts_host *h, block_copy part)
{
    copy_job job = {part, ts_host_ptr(h, part.from), ts_host_ptr(h, part.to)};
    ts_parallel(ts_host_threads(h), part.batch, 1 + (1 << 14) / (part.count + 1), copy_blocks, &job);
}

TS_HOST_KERNEL(concat);
bool REAL(ts_host_concat)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    for (int k = 0; k < 2; k++) copy_on_host(h, concat_part(n, k));
    return true;
}

TS_HOST_KERNEL(slice);
bool REAL(ts_host_slice)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    copy_on_host(h, slice_part(n));
    return true;
}

TS_HOST_KERNEL(slice_grad);
bool REAL(ts_host_slice_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    for (int k = 0; k < 3; k++) copy_on_host(h, pad_part(n, k));
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements; the parts of a node do not overlap, so no barrier ---- */

static bool copy_on_vulkan(ts_vk_cmd *cmd, block_copy p, ts_error *err)
{
    if (p.count == 0) return true;
    const bool wide = ts_last_dim(p.to) % 4 == 0;
    const int64_t unit = wide ? 4 : 1;
    const struct {
        uint64_t x, y;
        uint32_t total, count, x_stride, x_at, y_stride, y_at;
    } push = {ts_vk_address(cmd, p.from),    ts_vk_address(cmd, p.to),      (uint32_t)(p.batch * p.count / unit),
              (uint32_t)(p.count / unit),    (uint32_t)(p.x_stride / unit), (uint32_t)(p.x_at / unit),
              (uint32_t)(p.y_stride / unit), (uint32_t)(p.y_at / unit)};
    ts_vk_dispatch_desc desc = {.shader = "copy_blocks", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.total, &desc);
    desc.spec[1] = p.from == NULL;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool concat_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return copy_on_vulkan(cmd, concat_part(n, 0), err) && copy_on_vulkan(cmd, concat_part(n, 1), err);
}

static bool slice_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return copy_on_vulkan(cmd, slice_part(n), err);
}

static bool slice_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    for (int k = 0; k < 3; k++)
        if (!copy_on_vulkan(cmd, pad_part(n, k), err)) return false;
    return true;
}

/* ---- the ops ---- */

static void concat_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    for (int k = 0; k < 2; k++) {
        if (!wanted[k]) continue;
        dx[k] = ts_slice(n->graph, dy[0], k == 0 ? 0 : rows_of(n->in[0]), rows_of(n->in[k]));
        if (n->in[k]->ndim == 2) dx[k] = ts_sum_leading(n->graph, dx[k], 2); /* shared by the whole batch */
    }
}

static const ts_op concat_op = {
    .name = "concat", .grad = concat_grad, .host = ts_host_concat_f32, .host_f64 = ts_host_concat_f64, .vulkan = concat_vulkan};

static const ts_op slice_grad_op = {
    .name = "slice_grad", .host = ts_host_slice_grad_f32, .host_f64 = ts_host_slice_grad_f64, .vulkan = slice_grad_vulkan};

static void slice_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_node *grad = ts_node_new(n->graph, &slice_grad_op, 1, dy, n->attr, sizeof(slice_attr));
    dx[0] = ts_node_output(grad, TS_REAL, n->in[0]->ndim, n->in[0]->shape);
}

static const ts_op slice_op = {
    .name = "slice", .grad = slice_grad, .host = ts_host_slice_f32, .host_f64 = ts_host_slice_f64, .vulkan = slice_vulkan};

static bool rows_fit(const ts_tensor *t)
{
    return t->type == TS_REAL && t->layout == TS_LAYOUT_PLAIN && (t->ndim == 2 || t->ndim == 3);
}

ts_tensor *ts_concat(ts_graph *g, ts_tensor *a, ts_tensor *b)
{
    if (!a || !b) return NULL;
    const ts_tensor *whole = a->ndim >= b->ndim ? a : b;
    if (!rows_fit(a) || !rows_fit(b) || ts_last_dim(a) != ts_last_dim(b) ||
        (a->ndim == 3 && b->ndim == 3 && a->shape[0] != b->shape[0]))
        return ts_graph_fail(g, TS_ERR_SHAPE, "concat",
                             "a is %s and b %s, wanted (B, R, C) or (R, C) of plain reals, of one B and C", ts_shape_text(a).s,
                             ts_shape_text(b).s);
    int64_t shape[3] = {whole->shape[0], 0, ts_last_dim(a)};
    shape[whole->ndim - 2] = rows_of(a) + rows_of(b);
    shape[whole->ndim - 1] = ts_last_dim(a);
    ts_node *n = ts_node_new(g, &concat_op, 2, (ts_tensor *[]){a, b}, NULL, 0);
    return ts_node_output(n, TS_REAL, whole->ndim, shape);
}

ts_tensor *ts_slice(ts_graph *g, ts_tensor *x, int64_t first, int64_t count)
{
    if (!x) return NULL;
    if (!rows_fit(x) || first < 0 || count < 1 || first > rows_of(x) - count)
        return ts_graph_fail(g, TS_ERR_SHAPE, "slice",
                             "x is %s, wanted (B, R, C) or (R, C) of plain reals with rows %lld to %lld", ts_shape_text(x).s,
                             (long long)first, (long long)(first + count - 1));
    if (count == rows_of(x)) return x;
    int64_t shape[3] = {x->shape[0], x->shape[1], ts_last_dim(x)};
    shape[x->ndim - 2] = count;
    const slice_attr attr = {first};
    ts_node *n = ts_node_new(g, &slice_op, 1, &x, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, x->ndim, shape);
}
#endif
