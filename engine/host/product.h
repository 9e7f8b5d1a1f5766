/* product.h - the host's matrix product and convolution, one interface for ts_linear and ts_conv2d. Two implementations, one of
 * them built: onednn.c, and product.c in our own C for a build without oneDNN. A linear layer is the 1x1 convolution of an image
 * one pixel high. */
#ifndef TESSERA_HOST_PRODUCT_H
#define TESSERA_HOST_PRODUCT_H

#include "engine/internal.h"
#include "engine/real.h"

/* out (images, out_height, out_width, out_channels) = act(conv(x, w) + bias) + residual, where x = in[0] is NHWC, w = in[1] is in
 * PyTorch's order (out, in, kh, kw), bias = in[2] and residual = in[3] may be absent. */
typedef struct {
    int64_t images, height, width, channels;
    int64_t out_height, out_width, out_channels;
    int64_t kernel_h, kernel_w, stride;
    int64_t top, left, bottom, right;
    ts_act act;
} ts_product;

enum { TS_PRODUCT_X, TS_PRODUCT_W, TS_PRODUCT_BIAS, TS_PRODUCT_RESIDUAL };

/* For the ops' tables; prepare, scratch, run, release in this order. */
bool ts_product_prepare(const ts_product *p, const ts_node *n, ts_host *h, void **state, ts_error *err);
uint64_t ts_product_scratch(const ts_product *p, const ts_node *n, const ts_host *h);
bool ts_product_run(const ts_product *p, const ts_node *n, ts_host *h, ts_error *err);
void ts_product_release(void *state);

/* The gradients of a product as nodes, for ts_op.grad: dx[k] of in[k] where wanted, `p` being the product without what is folded
 * into it (engine/op/product_grad.c). */
void ts_product_grad(ts_node *n, const ts_product *p, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx);

/* The kernels of those nodes, whose attribute is the ts_product. dx: in[0] = dy, in[1] = w -> out[0] = dx. dw: in[0] = dy,
 * in[1] = x -> out[0] = dw, in PyTorch's order like w. Two implementations again: onednn_grad.c, and product_dx.c with
 * product_dw.c. */
enum { TS_GRAD_DY, TS_GRAD_WITH };
bool ts_product_dx_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err);
bool ts_product_dw_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err);
uint64_t ts_product_dx_scratch(const ts_node *n, const ts_host *h);
uint64_t ts_product_dw_scratch(const ts_node *n, const ts_host *h);
bool ts_product_dx_run(const ts_node *n, ts_host *h, ts_error *err);
bool ts_product_dw_run(const ts_node *n, ts_host *h, ts_error *err);
void ts_product_grad_release(void *state);

/* Folds an activation (once, and not after a residual) or the addition of a tensor of the same shape into the product. */
bool ts_product_absorb(ts_node *n, const ts_node *consumer, ts_act *act);

/* Multiply-adds times two. */
static inline double ts_product_flops(const ts_product *p)
{
    return 2.0 * (double)(p->images * p->out_height * p->out_width) * (double)p->out_channels *
           (double)(p->channels * p->kernel_h * p->kernel_w);
}

static inline real ts_product_activate(ts_act act, real x)
{
    switch (act) {
    case TS_ACT_GELU:
        return x / 2 * (1 + real_erf(x * (real)0.70710678118654752440));
    case TS_ACT_QUICK_GELU:
        return x / (1 + real_exp((real)-1.702 * x));
    case TS_ACT_SWISH:
        return x / (1 + real_exp(-x));
    default:
        return x;
    }
}

#endif
