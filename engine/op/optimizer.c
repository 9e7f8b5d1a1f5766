/* optimizer.c - AdamW and SGD with momentum: one update of a parameter and its moments, in place (engine.h has the formulas).
 * What changes from step to step (the learning rate, the corrections of the moments' start) comes in a tensor, so that a planned
 * graph serves the whole training. Parameters and moments are fp32 also where gradients are fp16 (ts_is_wide): a small update
 * would be lost in rounding. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

enum { ADAMW_P, ADAMW_GRAD, ADAMW_M, ADAMW_V, ADAMW_HYPER, ADAMW_SCALE };
enum { SGD_P, SGD_GRAD, SGD_U, SGD_HYPER, SGD_SCALE };

typedef struct {
    double momentum, weight_decay;
} sgd_attr;

/* ---- host ---- */

typedef struct {
    const real *grad;
    real *p, *m, *v;
    real scale, b1, rest1, b2, rest2; /* rest: 1 - b, from double precision */
    real keep, step, root, eps;       /* 1 - lr wd, lr / c1, sqrt(c2) */
} adamw_job;

TS_CLONES static void adamw_range(void *ctx, int64_t begin, int64_t end)
{
    const adamw_job *j = ctx;
    const adamw_job a = *j; /* or every store might change it */
    const real *grad = a.grad;
    real *p = a.p, *m = a.m, *v = a.v;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real g = grad[i] * a.scale;
        m[i] = a.b1 * m[i] + a.rest1 * g;
        v[i] = a.b2 * v[i] + a.rest2 * g * g;
        p[i] = a.keep * p[i] - a.step * m[i] / (real_sqrt(v[i]) / a.root + a.eps);
    }
}

TS_HOST_KERNEL(adamw);
bool REAL(ts_host_adamw)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const ts_adamw_desc *d = n->attr;
    const real *hyper = ts_host_ptr(h, n->in[ADAMW_HYPER]), *scale = ts_host_ptr(h, n->in[ADAMW_SCALE]);
    if (scale && scale[0] == 0) return true;
    adamw_job job = {.grad = ts_host_ptr(h, n->in[ADAMW_GRAD]),
                     .p = ts_host_ptr(h, n->in[ADAMW_P]),
                     .m = ts_host_ptr(h, n->in[ADAMW_M]),
                     .v = ts_host_ptr(h, n->in[ADAMW_V]),
                     .scale = scale ? scale[0] : 1,
                     .b1 = (real)d->beta1,
                     .rest1 = (real)(1 - d->beta1),
                     .b2 = (real)d->beta2,
                     .rest2 = (real)(1 - d->beta2),
                     .keep = 1 - hyper[0] * (real)d->weight_decay,
                     .step = hyper[0] / hyper[1],
                     .root = real_sqrt(hyper[2]),
                     .eps = (real)d->eps};
    ts_parallel(ts_host_threads(h), ts_count(n->in[ADAMW_P]), 1 << 13, adamw_range, &job);
    return true;
}

typedef struct {
    const real *grad;
    real *p, *u;
    real scale, momentum, weight_decay, rate;
} sgd_job;

TS_CLONES static void sgd_range(void *ctx, int64_t begin, int64_t end)
{
    const sgd_job *j = ctx;
    const sgd_job a = *j;
    const real *grad = a.grad;
    real *p = a.p, *u = a.u;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        u[i] = a.momentum * u[i] + (grad[i] * a.scale + a.weight_decay * p[i]);
        p[i] -= a.rate * u[i];
    }
}

TS_HOST_KERNEL(sgd);
bool REAL(ts_host_sgd)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const sgd_attr *d = n->attr;
    const real *hyper = ts_host_ptr(h, n->in[SGD_HYPER]), *scale = ts_host_ptr(h, n->in[SGD_SCALE]);
    if (scale && scale[0] == 0) return true;
    sgd_job job = {.grad = ts_host_ptr(h, n->in[SGD_GRAD]),
                   .p = ts_host_ptr(h, n->in[SGD_P]),
                   .u = ts_host_ptr(h, n->in[SGD_U]),
                   .scale = scale ? scale[0] : 1,
                   .momentum = (real)d->momentum,
                   .weight_decay = (real)d->weight_decay,
                   .rate = hyper[0]};
    ts_parallel(ts_host_threads(h), ts_count(n->in[SGD_P]), 1 << 13, sgd_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation an element ---- */

/* In fp16 only gradients may be. */
static bool check_wide(const ts_node *n, const ts_vk_cmd *cmd, ts_error *err)
{
    for (int k = 0; ts_vk_limits_of(cmd)->fp16 && k < n->nin; k++)
        if (k != ADAMW_GRAD && n->in[k] && !ts_is_wide(n->in[k]))
            return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: %s %s is stored in fp16, in which nothing can be trained", n->op->name,
                           n->in[k]->name, ts_shape_text(n->in[k]).s);
    return true;
}

static bool adamw_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_adamw_desc *d = n->attr;
    const int64_t count = ts_count(n->in[ADAMW_P]);
    const struct {
        uint64_t p, grad, m, v, hyper, scale;
        uint32_t count;
        float b1, rest1, b2, rest2, eps, weight_decay;
    } push = {ts_vk_address(cmd, n->in[ADAMW_P]),
              ts_vk_address(cmd, n->in[ADAMW_GRAD]),
              ts_vk_address(cmd, n->in[ADAMW_M]),
              ts_vk_address(cmd, n->in[ADAMW_V]),
              ts_vk_address(cmd, n->in[ADAMW_HYPER]),
              ts_vk_address(cmd, n->in[ADAMW_SCALE]),
              (uint32_t)count,
              (float)d->beta1,
              (float)(1 - d->beta1),
              (float)d->beta2,
              (float)(1 - d->beta2),
              (float)d->eps,
              (float)d->weight_decay};
    ts_vk_dispatch_desc desc = {
        .shader = "adamw", .wide = ts_is_wide(n->in[ADAMW_GRAD]), .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    desc.spec[1] = n->in[ADAMW_SCALE] != NULL;
    desc.spec_count = 2;
    return check_wide(n, cmd, err) && ts_vk_dispatch(cmd, &desc, err);
}

static bool sgd_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const sgd_attr *d = n->attr;
    const int64_t count = ts_count(n->in[SGD_P]);
    const struct {
        uint64_t p, grad, u, hyper, scale;
        uint32_t count;
        float momentum, weight_decay;
    } push = {ts_vk_address(cmd, n->in[SGD_P]),
              ts_vk_address(cmd, n->in[SGD_GRAD]),
              ts_vk_address(cmd, n->in[SGD_U]),
              ts_vk_address(cmd, n->in[SGD_HYPER]),
              ts_vk_address(cmd, n->in[SGD_SCALE]),
              (uint32_t)count,
              (float)d->momentum,
              (float)d->weight_decay};
    ts_vk_dispatch_desc desc = {.shader = "sgd", .wide = ts_is_wide(n->in[SGD_GRAD]), .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    desc.spec[1] = n->in[SGD_SCALE] != NULL;
    desc.spec_count = 2;
    return check_wide(n, cmd, err) && ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static const ts_op adamw_op = {.name = "adamw",
                               .wide = (1 << (ADAMW_SCALE + 1)) - 1,
                               .writes = 1 << ADAMW_P | 1 << ADAMW_M | 1 << ADAMW_V,
                               .host = ts_host_adamw_f32,
                               .host_f64 = ts_host_adamw_f64,
                               .vulkan = adamw_vulkan};
static const ts_op sgd_op = {.name = "sgd",
                             .wide = (1 << (SGD_SCALE + 1)) - 1,
                             .writes = 1 << SGD_P | 1 << SGD_U,
                             .host = ts_host_sgd_f32,
                             .host_f64 = ts_host_sgd_f64,
                             .vulkan = sgd_vulkan};

/* The first `alike` inputs are of the parameter's elements, in their order; then hyper and scale. */
static bool fit(ts_graph *g, const ts_op *op, int alike, ts_tensor *const *in)
{
    const ts_tensor *hyper = in[alike], *scale = in[alike + 1];
    bool ok = hyper && hyper->type == TS_REAL && ts_count(hyper) == 3 && (!scale || ts_count(scale) == 1);
    for (int k = 0; ok && k < alike; k++)
        ok = in[k] && in[k]->type == TS_REAL && ts_same_shape(in[k], in[0]) && in[k]->layout == in[0]->layout;
    if (!ok) {
        ts_graph_fail(g, TS_ERR_SHAPE, op->name,
                      "parameter %s %s wants a gradient and moments of its shape and layout, 3 hyperparameters, a scale of 1",
                      in[0] ? in[0]->name : "", ts_shape_text(in[0]).s);
        return false;
    }
    for (int k = 0; k < alike; k++)
        if ((op->writes >> k & 1) && !ts_in_place(g, op->name, in[k])) return false;
    return true;
}

bool ts_adamw(ts_graph *g, ts_tensor *p, ts_tensor *grad, ts_tensor *m, ts_tensor *v, ts_tensor *hyper, ts_tensor *scale,
              const ts_adamw_desc *desc)
{
    ts_adamw_desc d = desc ? *desc : (ts_adamw_desc){0};
    if (d.beta1 == 0) d.beta1 = 0.9;
    if (d.beta2 == 0) d.beta2 = 0.999;
    if (d.eps == 0) d.eps = 1e-8;
    ts_tensor *in[] = {p, grad, m, v, hyper, scale};
    return fit(g, &adamw_op, 4, in) && ts_node_new(g, &adamw_op, 6, in, &d, sizeof d);
}

bool ts_sgd(ts_graph *g, ts_tensor *p, ts_tensor *grad, ts_tensor *u, ts_tensor *hyper, ts_tensor *scale, float momentum,
            float weight_decay)
{
    const sgd_attr attr = {(double)momentum, (double)weight_decay};
    ts_tensor *in[] = {p, grad, u, hyper, scale};
    return fit(g, &sgd_op, 3, in) && ts_node_new(g, &sgd_op, 5, in, &attr, sizeof attr);
}
#endif
