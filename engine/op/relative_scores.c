/* relative_scores.c - what decomposed relative positions add to attention's scores (Li et al. 2022, arXiv 2112.01526, eq. 3): for
 * the query at place (y, x) and each head the height numbers q rel_h[y - y' + height - 1], then the width numbers
 * q rel_w[x - x' + width - 1]. The score of (y', x') is the sum of two of them, so that no matrix of all pairs is needed. */
#include "engine/internal.h"
#include "engine/op/attention.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    int64_t heads, dim, height, width;
} relative_attr;

/* ---- host ---- */

typedef struct {
    relative_attr a;
    const real *q, *rel_h, *rel_w;
    real *out;
    int64_t stride;
} relative_job;

TS_HOST_KERNEL(relative_scores);

/* out[i] = q rows[-i dim], i < count */
static inline __attribute__((always_inline)) void scores(const real *q, const real *rows, int64_t count, int64_t dim, real *out)
{
    for (int64_t i = 0; i < count; i++) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < dim; c++) sum += q[c] * rows[c - i * dim];
        out[i] = sum;
    }
}

TS_CLONES static void relative_rows(void *ctx, int64_t begin, int64_t end)
{
    const relative_job *j = ctx;
    const relative_attr *a = &j->a;
    for (int64_t row = begin; row < end; row++) {
        const int64_t y = row / a->width % a->height, x = row % a->width;
        for (int64_t head = 0; head < a->heads; head++) {
            const real *q = j->q + row * j->stride + head * a->dim;
            real *out = j->out + (row * a->heads + head) * (a->height + a->width);
            scores(q, j->rel_h + (y + a->height - 1) * a->dim, a->height, a->dim, out);
            scores(q, j->rel_w + (x + a->width - 1) * a->dim, a->width, a->dim, out + a->height);
        }
    }
}

bool REAL(ts_host_relative_scores)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const relative_job job = {.a = *(const relative_attr *)n->attr,
                              .q = ts_host_ptr(h, n->in[0]),
                              .rel_h = ts_host_ptr(h, n->in[1]),
                              .rel_w = ts_host_ptr(h, n->in[2]),
                              .out = ts_host_ptr(h, n->out[0]),
                              .stride = n->in[0]->shape[2]};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, relative_rows, (void *)&job);
    return true;
}

#ifndef TS_YARDSTICK

static double relative_flops(const ts_node *n)
{
    const relative_attr *a = n->attr;
    return 2.0 * (double)ts_count(n->out[0]) * (double)a->dim;
}

/* ---- Vulkan: an invocation an element ---- */

static bool relative_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const relative_attr *a = n->attr;
    const int64_t count = ts_count(n->out[0]), stride = n->in[0]->shape[2];
    const bool wide = a->dim % 4 == 0 && stride % 4 == 0;
    if (count > UINT32_MAX || ts_count(n->in[0]) > UINT32_MAX)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "relative_scores: %s is too large for one dispatch", ts_shape_text(n->in[0]).s);
    const struct {
        uint64_t q, rel_h, rel_w, y;
        uint32_t count, heads, dim, stride, height, width;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)count,
              (uint32_t)a->heads,
              (uint32_t)(a->dim / (wide ? 4 : 1)),
              (uint32_t)(stride / (wide ? 4 : 1)),
              (uint32_t)a->height,
              (uint32_t)a->width};
    ts_vk_dispatch_desc desc = {
        .shader = "relative_scores", .push = &push, .push_bytes = sizeof push, .flops = relative_flops(n)};
    ts_vk_items(cmd, count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op relative_op = {.name = "relative_scores",
                                  .flops = relative_flops,
                                  .host = ts_host_relative_scores_f32,
                                  .host_f64 = ts_host_relative_scores_f64,
                                  .vulkan = relative_vulkan};

ts_tensor *ts_relative_scores(ts_graph *g, ts_tensor *qkv, ts_tensor *rel_h, ts_tensor *rel_w, int heads, int height, int width)
{
    if (!qkv || !rel_h || !rel_w) return NULL;
    const ts_tensor *tables[2] = {rel_h, rel_w};
    const int64_t rows[2] = {2 * (int64_t)height - 1, 2 * (int64_t)width - 1}, dim = rel_h->shape[rel_h->ndim - 1];
    for (int i = 0; i < 2; i++)
        if (tables[i]->type != TS_REAL || tables[i]->ndim != 2 || tables[i]->shape[0] != rows[i] || tables[i]->shape[1] != dim ||
            heads * dim > qkv->shape[2])
            return ts_graph_fail(g, TS_ERR_SHAPE, "attention",
                                 "a map of %d x %d wants tables of %lld and %lld rows, they are %s and %s", height, width,
                                 (long long)rows[0], (long long)rows[1], ts_shape_text(rel_h).s, ts_shape_text(rel_w).s);
    const relative_attr attr = {heads, dim, height, width};
    ts_node *n = ts_node_new(g, &relative_op, 3, (ts_tensor *[]){qkv, rel_h, rel_w}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){qkv->shape[0], qkv->shape[1], (int64_t)heads * (height + width)});
}
#endif
