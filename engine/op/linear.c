/* linear.c - y = x w^T + b over the last dimension, with an activation and a residual folded in: act(x w^T + b) + residual. The
 * products are nearly all of a transformer's work. */
#include "engine/host/product.h"
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    ts_act act;
} linear_attr;

/* ---- host ---- */

TS_HOST_KERNEL(linear);

#ifdef TS_YARDSTICK
typedef struct {
    const real *x, *w, *bias, *residual;
    real *y;
    int64_t in, out;
    ts_act act;
} linear_job;

static void linear_rows(void *ctx, int64_t begin, int64_t end)
{
    const linear_job *j = ctx;
    for (int64_t row = begin; row < end; row++)
        for (int64_t o = 0; o < j->out; o++) {
            real sum = j->bias ? j->bias[o] : 0;
            for (int64_t i = 0; i < j->in; i++) sum += j->x[row * j->in + i] * j->w[o * j->in + i];
            const int64_t at = row * j->out + o;
            j->y[at] = ts_product_activate(j->act, sum) + (j->residual ? j->residual[at] : 0);
        }
}

bool ts_host_linear_f64(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const linear_attr *attr = n->attr;
    linear_job job = {.x = ts_host_ptr(h, n->in[TS_PRODUCT_X]),
                      .w = ts_host_ptr(h, n->in[TS_PRODUCT_W]),
                      .bias = ts_host_ptr(h, n->in[TS_PRODUCT_BIAS]),
                      .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_host_ptr(h, n->in[TS_PRODUCT_RESIDUAL]) : NULL,
                      .y = ts_host_ptr(h, n->out[0]),
                      .in = ts_last_dim(n->in[TS_PRODUCT_X]),
                      .out = ts_last_dim(n->out[0]),
                      .act = attr->act};
    ts_parallel(ts_host_threads(h), ts_rows(n->out[0]), 1, linear_rows, &job);
    return true;
}
#else

static ts_product product_of(const ts_node *n)
{
    const linear_attr *attr = n->attr;
    const int64_t rows = ts_rows(n->out[0]);
    return (ts_product){.images = 1,
                        .height = 1,
                        .width = rows,
                        .channels = ts_last_dim(n->in[TS_PRODUCT_X]),
                        .out_height = 1,
                        .out_width = rows,
                        .out_channels = ts_last_dim(n->out[0]),
                        .kernel_h = 1,
                        .kernel_w = 1,
                        .stride = 1,
                        .act = attr->act};
}

bool ts_host_linear_f32(const ts_node *n, ts_host *h, ts_error *err)
{
    const ts_product p = product_of(n);
    return ts_product_run(&p, n, h, err);
}

static bool linear_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    const ts_product p = product_of(n);
    return ts_product_prepare(&p, n, h, state, err);
}

static uint64_t linear_scratch(const ts_node *n, const ts_host *h)
{
    const ts_product p = product_of(n);
    return ts_product_scratch(&p, n, h);
}

/* ---- Vulkan ---- */

static bool linear_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const linear_attr *attr = n->attr;
    const ts_vk_matmul p = {
        .a = ts_vk_address(cmd, n->in[TS_PRODUCT_X]),
        .b = ts_vk_address(cmd, n->in[TS_PRODUCT_W]),
        .bias = ts_vk_address(cmd, n->in[TS_PRODUCT_BIAS]),
        .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_vk_address(cmd, n->in[TS_PRODUCT_RESIDUAL]) : 0,
        .out = ts_vk_address(cmd, n->out[0]),
        .m = ts_rows(n->out[0]),
        .n = ts_last_dim(n->out[0]),
        .k = ts_last_dim(n->in[TS_PRODUCT_X]),
        .act = attr->act,
    };
    return ts_vk_matmul_record(cmd, &p, err);
}

/* ---- the op ---- */

static bool linear_absorb(ts_node *n, const ts_node *consumer)
{
    linear_attr *attr = n->attr;
    return ts_product_absorb(n, consumer, &attr->act);
}

static void linear_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    const ts_product p = product_of(n);
    ts_product_grad(n, &p, dy, wanted, dx);
}

static double linear_flops(const ts_node *n)
{
    const ts_product p = product_of(n);
    return ts_product_flops(&p);
}

static const ts_op linear_op = {.name = "linear",
                                .absorb = linear_absorb,
                                .grad = linear_grad,
                                .flops = linear_flops,
                                .host = ts_host_linear_f32,
                                .host_f64 = ts_host_linear_f64,
                                .host_prepare = linear_prepare,
                                .host_release = ts_product_release,
                                .host_scratch = linear_scratch,
                                .vulkan = linear_vulkan};

ts_tensor *ts_linear(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b)
{
    if (!x || !w) return NULL;
    const bool matrix = w->ndim == 2 || (w->ndim == 4 && w->shape[2] == 1 && w->shape[3] == 1);
    if (x->type != TS_REAL || w->type != TS_REAL || !matrix || w->layout == TS_LAYOUT_PLAIN)
        return ts_graph_fail(g, TS_ERR_SHAPE, "linear", "wants real x (..., in) and a weight (out, in), they are %s and %s",
                             ts_shape_text(x).s, ts_shape_text(w).s);
    if (w->shape[1] != ts_last_dim(x))
        return ts_graph_fail(g, TS_ERR_SHAPE, "linear", "x %s does not fit the weight %s (out, in)", ts_shape_text(x).s,
                             ts_shape_text(w).s);
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[0]))
        return ts_graph_fail(g, TS_ERR_SHAPE, "linear", "bias %s does not fit the weight %s (out, in)", ts_shape_text(b).s,
                             ts_shape_text(w).s);
    int64_t shape[TS_MAX_DIMS];
    for (int i = 0; i < x->ndim; i++) shape[i] = x->shape[i];
    shape[x->ndim - 1] = w->shape[0];
    const linear_attr attr = {TS_ACT_NONE};
    ts_node *n = ts_node_new(g, &linear_op, 3, (ts_tensor *[]){x, w, b}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, x->ndim, shape);
}
#endif
