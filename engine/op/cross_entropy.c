/* cross_entropy.c - the mean over rows of -log softmax(logits)[target], and its gradient, (softmax(logits) - onehot) dy / rows.
 * A row counts whose target is a class; one with a negative target is left out, and so is one beyond the last class, because a
 * target is data. No row at all gives 0. The softmax is not kept: the gradient computes it again from the logits. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

/* ---- host ---- */

typedef struct {
    const real *logits, *dy, *share;
    const int32_t *target;
    double *loss; /* of each row */
    real *dx;
    int64_t width;
} entropy_job;

static bool counts(const entropy_job *j, int64_t row)
{
    return j->target[row] >= 0 && j->target[row] < j->width;
}

/* The row's largest element, and the sum of exp(x - largest). */
static inline real row_sum(const real *x, int64_t width, real *largest)
{
    real top = -INFINITY, sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < width; i++) top = x[i] > top ? x[i] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) sum += real_exp(x[i] - top);
    *largest = top;
    return sum;
}

TS_CLONES static void loss_rows(void *ctx, int64_t begin, int64_t end)
{
    const entropy_job *j = ctx;
    for (int64_t row = begin; row < end; row++) {
        if (!counts(j, row)) continue;
        const real *x = j->logits + row * j->width;
        real top;
        const real sum = row_sum(x, j->width, &top);
        j->loss[row] = log((double)sum) + (double)(top - x[j->target[row]]);
    }
}

TS_CLONES static void grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const entropy_job *j = ctx;
    const real factor = j->dy[0] * j->share[0];
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->logits + row * j->width;
        real *dx = j->dx + row * j->width;
        if (!counts(j, row)) {
            for (int64_t i = 0; i < j->width; i++) dx[i] = 0;
            continue;
        }
        real top;
        const real scale = factor / row_sum(x, j->width, &top);
#pragma omp simd
        for (int64_t i = 0; i < j->width; i++) dx[i] = real_exp(x[i] - top) * scale;
        dx[j->target[row]] -= factor;
    }
}

TS_HOST_KERNEL(cross_entropy);
bool REAL(ts_host_cross_entropy)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    entropy_job job = {.logits = ts_host_ptr(h, n->in[0]),
                       .target = ts_host_ptr(h, n->in[1]),
                       .loss = ts_host_scratch(h, n),
                       .width = ts_last_dim(n->in[0])};
    const int64_t rows = ts_rows(n->in[0]);
    ts_parallel(ts_host_threads(h), rows, 8, loss_rows, &job);
    double sum = 0;
    int64_t used = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (!counts(&job, row)) continue;
        sum += job.loss[row];
        used++;
    }
    const double share = used > 0 ? 1 / (double)used : 0;
    *(real *)ts_host_ptr(h, n->out[0]) = (real)(sum * share);
    *(real *)ts_host_ptr(h, n->out[1]) = (real)share;
    return true;
}

TS_HOST_KERNEL(cross_entropy_grad);
bool REAL(ts_host_cross_entropy_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    entropy_job job = {.logits = ts_host_ptr(h, n->in[0]),
                       .target = ts_host_ptr(h, n->in[1]),
                       .dy = ts_host_ptr(h, n->in[2]),
                       .share = ts_host_ptr(h, n->in[3]),
                       .dx = ts_host_ptr(h, n->out[0]),
                       .width = ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
static uint64_t entropy_host_scratch(const ts_node *n, const ts_host *h)
{
    (void)h;
    return (uint64_t)ts_rows(n->in[0]) * sizeof(double);
}

/* ---- Vulkan: one workgroup a row, then one for the mean of the rows ---- */

static uint64_t entropy_vulkan_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)limits;
    return (uint64_t)ts_rows(n->in[0]) * sizeof(float);
}

static bool entropy_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t logits, target, losses, mean, share;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]),   ts_vk_address(cmd, n->in[1]),  ts_vk_address(cmd, n->scratch),
              ts_vk_address(cmd, n->out[0]),  ts_vk_address(cmd, n->out[1]), (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "cross_entropy", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    if (!ts_vk_dispatch(cmd, &desc, err)) return false;
    ts_vk_barrier(cmd);
    desc.shader = "cross_entropy_mean";
    ts_vk_rows(cmd, 1, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool entropy_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t logits, target, dy, share, dx;
        uint32_t rows, width;
    } push = {ts_vk_address(cmd, n->in[0]),   ts_vk_address(cmd, n->in[1]),  ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->in[3]),   ts_vk_address(cmd, n->out[0]), (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0])};
    ts_vk_dispatch_desc desc = {.shader = "cross_entropy_grad", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static const ts_op entropy_grad_op = {.name = "cross_entropy_grad",
                                      .wide = 1 << 3,
                                      .host = ts_host_cross_entropy_grad_f32,
                                      .host_f64 = ts_host_cross_entropy_grad_f64,
                                      .vulkan = entropy_grad_vulkan};

static void entropy_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_node *grad = ts_node_new(n->graph, &entropy_grad_op, 4, (ts_tensor *[]){n->in[0], n->in[1], dy[0], n->out[1]}, NULL, 0);
    dx[0] = ts_node_output(grad, TS_REAL, n->in[0]->ndim, n->in[0]->shape);
}

static const ts_op entropy_op = {.name = "cross_entropy",
                                 .grad = entropy_grad,
                                 .host = ts_host_cross_entropy_f32,
                                 .host_f64 = ts_host_cross_entropy_f64,
                                 .host_scratch = entropy_host_scratch,
                                 .vulkan = entropy_vulkan,
                                 .vulkan_scratch = entropy_vulkan_scratch};

ts_tensor *ts_cross_entropy(ts_graph *g, ts_tensor *logits, ts_tensor *target)
{
    if (!logits || !target) return NULL;
    if (logits->type != TS_REAL || target->type != TS_I32 || ts_rows(logits) != ts_count(target))
        return ts_graph_fail(g, TS_ERR_SHAPE, "cross_entropy",
                             "logits are %s and targets %s%s, wanted (..., K) of reals and (...) of integers",
                             ts_shape_text(logits).s, ts_shape_text(target).s, target->type == TS_I32 ? "" : " of reals");
    ts_node *n = ts_node_new(g, &entropy_op, 2, (ts_tensor *[]){logits, target}, NULL, 0);
    ts_tensor *loss = ts_node_output(n, TS_REAL, 1, (int64_t[]){1});
    ts_tensor *share = ts_node_output(n, TS_REAL, 1, (int64_t[]){1}); /* 1 / rows that count, for the gradient */
    if (share) share->state->wide = true;                             /* of very many rows it would be no normal fp16 */
    return share ? loss : NULL;
}
#endif
