/* layernorm.c - over the last dimension: y = (x - mean) / sqrt(var + eps) * gamma + beta (Ba et al. 2016, arXiv 1607.06450, eq.
 * 3-4, with the biased variance, as every ViT uses it). Two passes over a row that stays in cache: the one-pass formula loses
 * digits when the mean is large. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    float eps;
} layernorm_attr;

/* ---- host ---- */

typedef struct {
    const real *x, *gamma, *beta;
    real *y;
    int64_t width;
    real eps;
} layernorm_job;

TS_CLONES static void layernorm_rows(void *ctx, int64_t begin, int64_t end)
{
    const layernorm_job *j = ctx;
    const int64_t width = j->width;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * width;
        real *y = j->y + row * width;
        real sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) sum += x[i];
        const real mean = sum / (real)width;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < width; i++) square += (x[i] - mean) * (x[i] - mean);
        const real rstd = 1 / real_sqrt(square / (real)width + j->eps);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) y[i] = (x[i] - mean) * rstd * j->gamma[i] + j->beta[i];
    }
}

TS_HOST_KERNEL(layernorm);
bool REAL(ts_host_layernorm)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const layernorm_attr *attr = n->attr;
    layernorm_job job = {ts_host_ptr(h, n->in[0]),  ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->in[2]),
                         ts_host_ptr(h, n->out[0]), ts_last_dim(n->in[0]),    (real)attr->eps};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, layernorm_rows, &job);
    return true;
}

/* The gradient, with xhat = (x - mean) / sqrt(var + eps) and q = dy gamma:
 *     dx = (q - mean(q) - xhat mean(q xhat)) / sqrt(var + eps)     and p = dy xhat, whose sum over rows is dgamma. */

typedef struct {
    const real *x, *gamma, *dy;
    real *dx, *p;
    int64_t width;
    real eps;
} layernorm_grad_job;

TS_CLONES static void layernorm_grad_rows(void *ctx, int64_t begin, int64_t end)
{
    const layernorm_grad_job *j = ctx;
    const int64_t width = j->width;
    const real *gamma = j->gamma;
    for (int64_t row = begin; row < end; row++) {
        const real *x = j->x + row * width, *dy = j->dy + row * width;
        real *dx = j->dx + row * width, *p = j->p + row * width;
        real sum = 0, square = 0, q_sum = 0, qx_sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) sum += x[i];
        const real mean = sum / (real)width;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < width; i++) square += (x[i] - mean) * (x[i] - mean);
        const real rstd = 1 / real_sqrt(square / (real)width + j->eps);
#pragma omp simd reduction(+ : q_sum, qx_sum)
        for (int64_t i = 0; i < width; i++) {
            p[i] = dy[i] * ((x[i] - mean) * rstd);
            q_sum += dy[i] * gamma[i];
            qx_sum += p[i] * gamma[i];
        }
        q_sum /= (real)width;
        qx_sum /= (real)width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) dx[i] = rstd * (dy[i] * gamma[i] - q_sum - (x[i] - mean) * rstd * qx_sum);
    }
}

TS_HOST_KERNEL(layernorm_grad);
bool REAL(ts_host_layernorm_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const layernorm_attr *attr = n->attr;
    layernorm_grad_job job = {
        ts_host_ptr(h, n->in[0]),  ts_host_ptr(h, n->in[1]), ts_host_ptr(h, n->in[2]), ts_host_ptr(h, n->out[0]),
        ts_host_ptr(h, n->out[1]), ts_last_dim(n->in[0]),    (real)attr->eps};
    ts_parallel(ts_host_threads(h), ts_rows(n->in[0]), 8, layernorm_grad_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: one workgroup a row ---- */

static bool layernorm_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const layernorm_attr *attr = n->attr;
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, gamma, beta, y;
        uint32_t rows, width;
        float eps;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0]),
              attr->eps};
    ts_vk_dispatch_desc desc = {.shader = "layernorm", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool layernorm_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const layernorm_attr *attr = n->attr;
    const int64_t rows = ts_rows(n->in[0]);
    const struct {
        uint64_t x, gamma, dy, dx, p;
        uint32_t rows, width;
        float eps;
    } push = {ts_vk_address(cmd, n->in[0]),    ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->in[2]),    ts_vk_address(cmd, n->out[0]),
              ts_vk_address(cmd, n->out[1]),   (uint32_t)rows,
              (uint32_t)ts_last_dim(n->in[0]), attr->eps};
    ts_vk_dispatch_desc desc = {.shader = "layernorm_grad", .push = &push, .push_bytes = sizeof push};
    ts_vk_rows(cmd, rows, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op layernorm_grad_op = {.name = "layernorm_grad",
                                        .host = ts_host_layernorm_grad_f32,
                                        .host_f64 = ts_host_layernorm_grad_f64,
                                        .vulkan = layernorm_grad_vulkan};

static void layernorm_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_graph *g = n->graph;
    ts_tensor *x = n->in[0];
    ts_node *d = ts_node_new(g, &layernorm_grad_op, 3, (ts_tensor *[]){x, n->in[1], dy[0]}, n->attr, sizeof(layernorm_attr));
    dx[0] = ts_node_output(d, TS_REAL, x->ndim, x->shape);
    ts_tensor *p = ts_node_output(d, TS_REAL, x->ndim, x->shape);
    if (wanted[1]) dx[1] = ts_sum_leading(g, p, 1);
    if (wanted[2]) dx[2] = ts_sum_leading(g, dy[0], 1);
}

static const ts_op layernorm_op = {.name = "layernorm",
                                   .grad = layernorm_grad,
                                   .host = ts_host_layernorm_f32,
                                   .host_f64 = ts_host_layernorm_f64,
                                   .vulkan = layernorm_vulkan};

ts_tensor *ts_layernorm(ts_graph *g, ts_tensor *x, ts_tensor *gamma, ts_tensor *beta, float eps)
{
    if (!x || !gamma || !beta) return NULL;
    const int64_t width = ts_last_dim(x);
    if (gamma->ndim != 1 || beta->ndim != 1 || gamma->shape[0] != width || beta->shape[0] != width)
        return ts_graph_fail(g, TS_ERR_SHAPE, "layernorm", "x %s needs gamma and beta of %lld, they are %s and %s",
                             ts_shape_text(x).s, (long long)width, ts_shape_text(gamma).s, ts_shape_text(beta).s);
    const layernorm_attr attr = {eps};
    ts_node *n = ts_node_new(g, &layernorm_op, 3, (ts_tensor *[]){x, gamma, beta}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, x->ndim, x->shape);
}
#endif
