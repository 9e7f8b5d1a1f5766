/* scatter.c - the gradients of gather.c. Of the table: dx[r] = sum of dy[b, t] over all places with index[b, t] = r, in the order
 * of the places, so that repeated indices add up the same in every run: a row of dx looks for its places, none is sent to it. Of
 * the fill: the sum of the places whose index is outside, which are taken out here and added by ts_sum_leading. */
#include "engine/op/scatter.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

typedef struct {
    const real *dy;
    const int32_t *index;
    real *dx;
    int64_t rows, width, tokens; /* of a table; of a row; places that look into one table */
} scatter_job;

/* Rows of dx, of all tables. Each thread runs over the places of the tables it has rows in. */
TS_CLONES static void scatter_rows(void *ctx, int64_t begin, int64_t end)
{
    const scatter_job *j = ctx;
    memset(j->dx + begin * j->width, 0, (size_t)((end - begin) * j->width) * sizeof(real));
    for (int64_t table = begin / j->rows; table * j->rows < end; table++)
        for (int64_t t = table * j->tokens; t < (table + 1) * j->tokens; t++) {
            if (j->index[t] < 0 || j->index[t] >= j->rows) continue;
            const int64_t row = table * j->rows + j->index[t];
            if (row < begin || row >= end) continue;
            const real *dy = j->dy + t * j->width;
            real *dx = j->dx + row * j->width;
#pragma omp simd
            for (int64_t i = 0; i < j->width; i++) dx[i] += dy[i];
        }
}

TS_HOST_KERNEL(scatter);
bool REAL(ts_host_scatter)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_tensor *dx = n->out[0], *index = n->in[1];
    const int64_t tables = dx->ndim == 2 ? 1 : dx->shape[0];
    scatter_job job = {.dy = ts_host_ptr(h, n->in[0]),
                       .index = ts_host_ptr(h, index),
                       .dx = ts_host_ptr(h, dx),
                       .rows = dx->shape[dx->ndim - 2],
                       .width = ts_last_dim(dx),
                       .tokens = ts_count(index) / tables};
    ts_parallel(ts_host_threads(h), tables * job.rows, 16, scatter_rows, &job);
    return true;
}

static void outside_rows(void *ctx, int64_t begin, int64_t end)
{
    const scatter_job *j = ctx;
    const size_t bytes = (size_t)j->width * sizeof(real);
    for (int64_t t = begin; t < end; t++) {
        if (j->index[t] >= 0 && j->index[t] < j->rows) memset(j->dx + t * j->width, 0, bytes);
        else memcpy(j->dx + t * j->width, j->dy + t * j->width, bytes);
    }
}

TS_HOST_KERNEL(outside);
bool REAL(ts_host_outside)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    scatter_job job = {.dy = ts_host_ptr(h, n->in[0]),
                       .index = ts_host_ptr(h, n->in[1]),
                       .dx = ts_host_ptr(h, n->out[0]),
                       .rows = *(const int64_t *)n->attr,
                       .width = ts_last_dim(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->in[1]), 64, outside_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

typedef struct {
    uint64_t dy, index, dx;
    uint32_t count, tokens, rows, width;
} scatter_push;

static bool dispatch(const char *shader, scatter_push *push, int64_t width, ts_vk_cmd *cmd, ts_error *err)
{
    const bool wide = width % 4 == 0;
    push->width = (uint32_t)(wide ? width / 4 : width);
    ts_vk_dispatch_desc desc = {.shader = shader, .push = push, .push_bytes = sizeof *push};
    desc.flops = (double)push->count * push->tokens;
    ts_vk_rows(cmd, push->count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool scatter_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_tensor *dx = n->out[0], *index = n->in[1];
    const int64_t tables = dx->ndim == 2 ? 1 : dx->shape[0];
    scatter_push push = {.dy = ts_vk_address(cmd, n->in[0]),
                         .index = ts_vk_address(cmd, index),
                         .dx = ts_vk_address(cmd, dx),
                         .count = (uint32_t)ts_rows(dx),
                         .tokens = (uint32_t)(ts_count(index) / tables),
                         .rows = (uint32_t)dx->shape[dx->ndim - 2]};
    return dispatch("scatter", &push, ts_last_dim(dx), cmd, err);
}

static bool outside_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t *rows = n->attr;
    scatter_push push = {.dy = ts_vk_address(cmd, n->in[0]),
                         .index = ts_vk_address(cmd, n->in[1]),
                         .dx = ts_vk_address(cmd, n->out[0]),
                         .count = (uint32_t)ts_count(n->in[1]),
                         .rows = (uint32_t)*rows};
    return dispatch("scatter_outside", &push, ts_last_dim(n->in[0]), cmd, err);
}

static const ts_op scatter_op = {
    .name = "scatter", .host = ts_host_scatter_f32, .host_f64 = ts_host_scatter_f64, .vulkan = scatter_vulkan};
static const ts_op outside_op = {
    .name = "scatter_outside", .host = ts_host_outside_f32, .host_f64 = ts_host_outside_f64, .vulkan = outside_vulkan};

ts_tensor *ts_scatter(ts_graph *g, ts_tensor *dy, ts_tensor *index, const ts_tensor *x)
{
    ts_node *n = ts_node_new(g, &scatter_op, 2, (ts_tensor *[]){dy, index}, NULL, 0);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}

ts_tensor *ts_scatter_outside(ts_graph *g, ts_tensor *dy, ts_tensor *index, int64_t rows)
{
    ts_node *n = ts_node_new(g, &outside_op, 2, (ts_tensor *[]){dy, index}, &rows, sizeof rows);
    return ts_sum_leading(g, ts_node_output(n, TS_REAL, dy->ndim, dy->shape), 1);
}
#endif
