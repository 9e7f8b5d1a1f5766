/* binary.c - sum, difference and product of two tensors, the second repeated over the first where it is its trailing part: b[i
 * mod period], period = elements of b. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef enum { ADD, SUB, MUL } binary_function; /* as binary.comp counts them */

/* ---- host ---- */

typedef struct {
    const real *a, *b;
    real *y;
    int64_t period;
    binary_function function;
} binary_job;

TS_CLONES static void add_run(const real *a, const real *b, real *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

TS_CLONES static void sub_run(const real *a, const real *b, real *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = a[i] - b[i];
}

TS_CLONES static void mul_run(const real *a, const real *b, real *y, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

static void binary_range(void *ctx, int64_t begin, int64_t end)
{
    const binary_job *j = ctx;
    int64_t at = begin % j->period; /* in b */
    for (int64_t i = begin; i < end;) {
        int64_t count = j->period - at < end - i ? j->period - at : end - i;
        if (j->function == MUL) mul_run(j->a + i, j->b + at, j->y + i, count);
        else if (j->function == SUB) sub_run(j->a + i, j->b + at, j->y + i, count);
        else add_run(j->a + i, j->b + at, j->y + i, count);
        i += count;
        at = 0;
    }
}

static bool binary_run(const ts_node *n, ts_host *h, binary_function function)
{
    binary_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->out[0]), ts_count(n->in[1]),
                      function};
    ts_parallel(ts_host_threads(h), ts_count(n->in[0]), 1 << 14, binary_range, &job);
    return true;
}

TS_HOST_KERNEL(add);
bool REAL(ts_host_add)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return binary_run(n, h, ADD);
}

TS_HOST_KERNEL(sub);
bool REAL(ts_host_sub)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return binary_run(n, h, SUB);
}

TS_HOST_KERNEL(mul);
bool REAL(ts_host_mul)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return binary_run(n, h, MUL);
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four elements ---- */

static bool binary_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err, binary_function function)
{
    const int64_t count = ts_count(n->in[0]), period = ts_count(n->in[1]);
    const bool wide = period % 4 == 0; /* and so is the count, a multiple of it */
    const int64_t unit = wide ? 4 : 1;
    const struct {
        uint64_t a, b, y;
        uint32_t count, period;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]), (uint32_t)(count / unit),
              (uint32_t)(period / unit)};
    ts_vk_dispatch_desc desc = {.shader = "binary", .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_items(cmd, count / unit, &desc);
    desc.spec[1] = (uint32_t)function + (period == count ? 4 : 0);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool add_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return binary_vulkan(n, cmd, err, ADD);
}

static bool sub_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return binary_vulkan(n, cmd, err, SUB);
}

static bool mul_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return binary_vulkan(n, cmd, err, MUL);
}

/* ---- gradients ---- */

/* The gradient of the operand that is repeated, from that of the repeated one; NULL for NULL. */
static ts_tensor *gather_repeats(ts_graph *g, ts_tensor *dy, const ts_tensor *b)
{
    if (!dy || ts_count(dy) == ts_count(b)) return dy;
    const int64_t period = ts_count(b);
    return ts_sum_leading(g, ts_reshape(g, dy, 2, (int64_t[]){ts_count(dy) / period, period}), 1);
}

static void add_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    dx[0] = dy[0];
    if (wanted[1]) dx[1] = gather_repeats(n->graph, dy[0], n->in[1]);
}

static void sub_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    dx[0] = dy[0];
    if (wanted[1]) dx[1] = ts_scale(n->graph, gather_repeats(n->graph, dy[0], n->in[1]), -1, 0);
}

static void mul_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    if (wanted[0]) dx[0] = ts_mul(n->graph, dy[0], n->in[1]);
    if (wanted[1]) dx[1] = gather_repeats(n->graph, ts_mul(n->graph, dy[0], n->in[0]), n->in[1]);
}

static const ts_op add_op = {
    .name = "add", .grad = add_grad, .host = ts_host_add_f32, .host_f64 = ts_host_add_f64, .vulkan = add_vulkan};
static const ts_op sub_op = {
    .name = "sub", .grad = sub_grad, .host = ts_host_sub_f32, .host_f64 = ts_host_sub_f64, .vulkan = sub_vulkan};
static const ts_op mul_op = {
    .name = "mul", .grad = mul_grad, .host = ts_host_mul_f32, .host_f64 = ts_host_mul_f64, .vulkan = mul_vulkan};

/* Whether b's shape, but for ones in front, is the end of a's. */
static bool trails(const ts_tensor *a, const ts_tensor *b)
{
    int skip = 0;
    while (skip < b->ndim - 1 && b->shape[skip] == 1) skip++;
    const int ndim = b->ndim - skip;
    if (ndim > a->ndim) return false;
    for (int i = 0; i < ndim; i++)
        if (b->shape[skip + i] != a->shape[a->ndim - ndim + i]) return false;
    return true;
}

static ts_tensor *binary(ts_graph *g, const ts_op *op, ts_tensor *a, ts_tensor *b)
{
    if (!a || !b) return NULL;
    if (a->type != TS_REAL || b->type != TS_REAL)
        return ts_graph_fail(g, TS_ERR_ARGUMENT, op->name, "%s and %s must be real", ts_shape_text(a).s, ts_shape_text(b).s);
    if (!trails(a, b))
        return ts_graph_fail(g, TS_ERR_SHAPE, op->name, "%s and %s do not fit: the second must be the first's shape or its end",
                             ts_shape_text(a).s, ts_shape_text(b).s);
    /* Elements that lie in another order cannot be paired. */
    if (a->layout != b->layout || (a->layout != TS_LAYOUT_PLAIN && ts_count(a) != ts_count(b)))
        return ts_graph_fail(g, TS_ERR_ARGUMENT, op->name, "%s and %s are weights of different layouts", ts_shape_text(a).s,
                             ts_shape_text(b).s);
    ts_node *n = ts_node_new(g, op, 2, (ts_tensor *[]){a, b}, NULL, 0);
    ts_tensor *y = ts_node_output(n, TS_REAL, a->ndim, a->shape);
    if (y) y->layout = a->layout;
    return y;
}

ts_tensor *ts_add(ts_graph *g, ts_tensor *a, ts_tensor *b)
{
    return binary(g, &add_op, a, b);
}

ts_tensor *ts_sub(ts_graph *g, ts_tensor *a, ts_tensor *b)
{
    return binary(g, &sub_op, a, b);
}

ts_tensor *ts_mul(ts_graph *g, ts_tensor *a, ts_tensor *b)
{
    return binary(g, &mul_op, a, b);
}
#endif
