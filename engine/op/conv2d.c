/* conv2d.c - 2-D convolution (cross-correlation, as every framework calls it) of NHWC images, zeros outside, any stride and any
 * padding on each side: out[n,y,x,o] = b[o] + sum over c, i, j of x[n, y s + i - top, x s + j - left, c] w[o,c,i,j]; then, folded
 * in, an activation and a residual. It is computed as a matrix product whose left side is read out of the image, never stored. */
#include "engine/host/product.h"
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    ts_conv_desc desc;
    ts_act act;
} conv_attr;

static ts_product product_of(const ts_node *n)
{
    const conv_attr *attr = n->attr;
    const int64_t *x = n->in[TS_PRODUCT_X]->shape, *w = n->in[TS_PRODUCT_W]->shape, *y = n->out[0]->shape;
    return (ts_product){.images = x[0],
                        .height = x[1],
                        .width = x[2],
                        .channels = x[3],
                        .out_height = y[1],
                        .out_width = y[2],
                        .out_channels = y[3],
                        .kernel_h = w[2],
                        .kernel_w = w[3],
                        .stride = attr->desc.stride,
                        .top = attr->desc.top,
                        .left = attr->desc.left,
                        .bottom = attr->desc.bottom,
                        .right = attr->desc.right,
                        .act = attr->act};
}

/* ---- host ---- */

TS_HOST_KERNEL(conv2d);

#ifdef TS_YARDSTICK
typedef struct {
    ts_product p;
    const real *x, *w, *bias, *residual;
    real *out;
} conv_job;

static real convolve(const conv_job *j, int64_t image, int64_t oy, int64_t ox, int64_t o)
{
    const ts_product *p = &j->p;
    real sum = j->bias ? j->bias[o] : 0;
    for (int64_t ky = 0; ky < p->kernel_h; ky++)
        for (int64_t kx = 0; kx < p->kernel_w; kx++) {
            const int64_t y = oy * p->stride + ky - p->top, x = ox * p->stride + kx - p->left;
            if (y < 0 || y >= p->height || x < 0 || x >= p->width) continue;
            const real *pixel = j->x + ((image * p->height + y) * p->width + x) * p->channels;
            for (int64_t c = 0; c < p->channels; c++)
                sum += pixel[c] * j->w[((o * p->channels + c) * p->kernel_h + ky) * p->kernel_w + kx];
        }
    return sum;
}

/* Lines of the output: (image, y). */
static void conv_lines(void *ctx, int64_t begin, int64_t end)
{
    const conv_job *j = ctx;
    const ts_product *p = &j->p;
    for (int64_t line = begin; line < end; line++)
        for (int64_t x = 0; x < p->out_width; x++)
            for (int64_t o = 0; o < p->out_channels; o++) {
                const int64_t at = (line * p->out_width + x) * p->out_channels + o;
                const real sum = convolve(j, line / p->out_height, line % p->out_height, x, o);
                j->out[at] = ts_product_activate(p->act, sum) + (j->residual ? j->residual[at] : 0);
            }
}

bool ts_host_conv2d_f64(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    conv_job job = {.p = product_of(n),
                    .x = ts_host_ptr(h, n->in[TS_PRODUCT_X]),
                    .w = ts_host_ptr(h, n->in[TS_PRODUCT_W]),
                    .bias = ts_host_ptr(h, n->in[TS_PRODUCT_BIAS]),
                    .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_host_ptr(h, n->in[TS_PRODUCT_RESIDUAL]) : NULL,
                    .out = ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), job.p.images * job.p.out_height, 1, conv_lines, &job);
    return true;
}
#else

bool ts_host_conv2d_f32(const ts_node *n, ts_host *h, ts_error *err)
{
    const ts_product p = product_of(n);
    return ts_product_run(&p, n, h, err);
}

static bool conv_prepare(const ts_node *n, ts_host *h, void **state, ts_error *err)
{
    const ts_product p = product_of(n);
    return ts_product_prepare(&p, n, h, state, err);
}

static uint64_t conv_scratch(const ts_node *n, const ts_host *h)
{
    const ts_product p = product_of(n);
    return ts_product_scratch(&p, n, h);
}

/* ---- Vulkan ---- */

static bool conv_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_product p = product_of(n);
    const bool plain_rows = p.kernel_h == 1 && p.kernel_w == 1 && p.stride == 1 && !(p.top | p.left | p.bottom | p.right);
    const ts_vk_matmul matmul = {
        .a = ts_vk_address(cmd, n->in[TS_PRODUCT_X]),
        .b = ts_vk_address(cmd, n->in[TS_PRODUCT_W]),
        .bias = ts_vk_address(cmd, n->in[TS_PRODUCT_BIAS]),
        .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_vk_address(cmd, n->in[TS_PRODUCT_RESIDUAL]) : 0,
        .out = ts_vk_address(cmd, n->out[0]),
        .m = p.images * p.out_height * p.out_width,
        .n = p.out_channels,
        .k = p.kernel_h * p.kernel_w * p.channels,
        .act = p.act,
        .conv = !plain_rows,
        .height = (int32_t)p.height,
        .width = (int32_t)p.width,
        .channels = (int32_t)p.channels,
        .out_height = (int32_t)p.out_height,
        .out_width = (int32_t)p.out_width,
        .kernel_h = (int32_t)p.kernel_h,
        .kernel_w = (int32_t)p.kernel_w,
        .stride = (int32_t)p.stride,
        .top = (int32_t)p.top,
        .left = (int32_t)p.left,
    };
    return ts_vk_matmul_record(cmd, &matmul, err);
}

/* ---- the op ---- */

static bool conv_absorb(ts_node *n, const ts_node *consumer)
{
    conv_attr *attr = n->attr;
    return ts_product_absorb(n, consumer, &attr->act);
}

static void conv_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    const ts_product p = product_of(n);
    ts_product_grad(n, &p, dy, wanted, dx);
}

static double conv_flops(const ts_node *n)
{
    const ts_product p = product_of(n);
    return ts_product_flops(&p);
}

static const ts_op conv2d_op = {.name = "conv2d",
                                .absorb = conv_absorb,
                                .grad = conv_grad,
                                .flops = conv_flops,
                                .host = ts_host_conv2d_f32,
                                .host_f64 = ts_host_conv2d_f64,
                                .host_prepare = conv_prepare,
                                .host_release = ts_product_release,
                                .host_scratch = conv_scratch,
                                .vulkan = conv_vulkan};

ts_tensor *ts_conv2d(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b, const ts_conv_desc *desc)
{
    if (!x || !w) return NULL;
    conv_attr attr = {.desc = desc ? *desc : (ts_conv_desc){0}};
    ts_conv_desc *d = &attr.desc;
    if (d->stride == 0) d->stride = 1;
    if (d->stride < 0 || d->top < 0 || d->left < 0 || d->bottom < 0 || d->right < 0)
        return ts_graph_fail(g, TS_ERR_ARGUMENT, "conv2d",
                             "the stride is %d and the padding %d, %d, %d, %d: none may be negative", d->stride, d->top, d->left,
                             d->bottom, d->right);
    const bool one = w->ndim == 4 && w->shape[2] == 1 && w->shape[3] == 1;
    if (x->type != TS_REAL || x->ndim != 4 || w->type != TS_REAL || w->ndim != 4 ||
        !(w->layout == TS_LAYOUT_CONV || (w->layout == TS_LAYOUT_LINEAR && one)))
        return ts_graph_fail(g, TS_ERR_SHAPE, "conv2d",
                             "wants images (N, H, W, C) and a weight (O, C, kh, kw), they are %s and %s", ts_shape_text(x).s,
                             ts_shape_text(w).s);
    if (w->shape[1] != x->shape[3])
        return ts_graph_fail(g, TS_ERR_SHAPE, "conv2d", "images %s (N, H, W, C) do not fit the weight %s (O, C, kh, kw)",
                             ts_shape_text(x).s, ts_shape_text(w).s);
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[0]))
        return ts_graph_fail(g, TS_ERR_SHAPE, "conv2d", "bias %s does not fit the weight %s (O, C, kh, kw)", ts_shape_text(b).s,
                             ts_shape_text(w).s);
    const int64_t room_y = x->shape[1] + d->top + d->bottom - w->shape[2];
    const int64_t room_x = x->shape[2] + d->left + d->right - w->shape[3];
    if (room_y < 0 || room_x < 0 || x->shape[1] > INT32_MAX / 2 || x->shape[2] > INT32_MAX / 2)
        return ts_graph_fail(g, TS_ERR_SHAPE, "conv2d",
                             "images %s (N, H, W, C) with their padding are smaller than the kernel %s", ts_shape_text(x).s,
                             ts_shape_text(w).s);
    ts_node *n = ts_node_new(g, &conv2d_op, 3, (ts_tensor *[]){x, w, b}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){x->shape[0], room_y / d->stride + 1, room_x / d->stride + 1, w->shape[0]});
}
#endif
