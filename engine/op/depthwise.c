/* depthwise.c - a convolution of each channel by itself (of as many groups as channels), NHWC, zeros outside, any stride and any
 * padding on each side:
 *     y[n,y,x,c]  = b[c] + sum over i, j of x[n, y s + i - top, x s + j - left, c] w[i,j,c]
 *     dx[n,y,x,c] = sum over i, j of dy[n, (y + top - i) / s, (x + left - j) / s, c] w[i,j,c]   (where s divides)
 *     dw[i,j,c]   = sum over n, y, x of dy[n,y,x,c] x[n, y s + i - top, x s + j - left, c]
 * An activation and a residual are folded in, as into other convolutions. There is nothing to share between channels, so it is no
 * matrix product: it is bound by memory, and walks through channels, which lie together. */
#include "engine/host/product.h"
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    int64_t images, height, width, channels, out_height, out_width, kernel_h, kernel_w;
    int64_t stride, top, left;
    ts_act act;
} depthwise_attr;

/* ---- host ---- */

enum { AT_ONCE = 64 }; /* channels, whose sums stay in registers or close by */

typedef struct {
    const depthwise_attr *a;
    const real *x, *w, *bias, *residual, *dy;
    real *out;
} depthwise_job;

/* sum[c] += from[c] w[c] */
static inline __attribute__((always_inline)) void add_products(const real *from, const real *w, int64_t count, real *sum)
{
#pragma omp simd
    for (int64_t c = 0; c < count; c++) sum[c] += from[c] * w[c];
}

/* NOLINTBEGIN(bugprone-branch-clone): the loops look alike, and each is compiled for an activation of its own */
static inline __attribute__((always_inline)) void activate(ts_act act, int64_t count, real *sum)
{
    switch (act) {
    case TS_ACT_GELU:
#pragma omp simd
        for (int64_t c = 0; c < count; c++) sum[c] = ts_product_activate(TS_ACT_GELU, sum[c]);
        break;
    case TS_ACT_QUICK_GELU:
#pragma omp simd
        for (int64_t c = 0; c < count; c++) sum[c] = ts_product_activate(TS_ACT_QUICK_GELU, sum[c]);
        break;
    case TS_ACT_SWISH:
#pragma omp simd
        for (int64_t c = 0; c < count; c++) sum[c] = ts_product_activate(TS_ACT_SWISH, sum[c]);
        break;
    default:
        break;
    }
}
/* NOLINTEND(bugprone-branch-clone) */

/* `count` channels from `first` on of one place of the output, of line (image, y). */
static inline __attribute__((always_inline)) void convolve(const depthwise_job *j, int64_t line, int64_t x, int64_t first,
                                                           int64_t count)
{
    const depthwise_attr *a = j->a;
    const int64_t image = line / a->out_height, y = line % a->out_height;
    const int64_t at = (line * a->out_width + x) * a->channels + first;
    real sum[AT_ONCE];
    for (int64_t c = 0; c < count; c++) sum[c] = j->bias ? j->bias[first + c] : 0;
    for (int64_t ky = 0; ky < a->kernel_h; ky++) {
        const int64_t in_y = y * a->stride + ky - a->top;
        if (in_y < 0 || in_y >= a->height) continue;
        for (int64_t kx = 0; kx < a->kernel_w; kx++) {
            const int64_t in_x = x * a->stride + kx - a->left;
            if (in_x < 0 || in_x >= a->width) continue;
            add_products(j->x + ((image * a->height + in_y) * a->width + in_x) * a->channels + first,
                         j->w + (ky * a->kernel_w + kx) * a->channels + first, count, sum);
        }
    }
    activate(a->act, count, sum);
    for (int64_t c = 0; c < count; c++) j->out[at + c] = sum[c] + (j->residual ? j->residual[at + c] : 0);
}

/* Lines of the output. */
TS_CLONES static void forward_lines(void *ctx, int64_t begin, int64_t end)
{
    const depthwise_job *j = ctx;
    const depthwise_attr *a = j->a;
    for (int64_t line = begin; line < end; line++)
        for (int64_t x = 0; x < a->out_width; x++)
            for (int64_t c = 0; c < a->channels; c += AT_ONCE)
                if (a->channels - c >= AT_ONCE) convolve(j, line, x, c, AT_ONCE);
                else convolve(j, line, x, c, a->channels - c);
}

/* The place of the output that sees input coordinate `at` through tap `tap`; -1: none. */
static inline int64_t seen_from(int64_t at, int64_t tap, int64_t before, int64_t stride, int64_t places)
{
    const int64_t shifted = at + before - tap;
    return shifted < 0 || shifted % stride != 0 || shifted / stride >= places ? -1 : shifted / stride;
}

/* Lines of the input. */
TS_CLONES static void dx_lines(void *ctx, int64_t begin, int64_t end)
{
    const depthwise_job *j = ctx;
    const depthwise_attr *a = j->a;
    for (int64_t line = begin; line < end; line++)
        for (int64_t x = 0; x < a->width; x++) {
            real *dx = j->out + (line * a->width + x) * a->channels;
            for (int64_t c = 0; c < a->channels; c++) dx[c] = 0;
            for (int64_t tap = 0; tap < a->kernel_h * a->kernel_w; tap++) {
                const int64_t oy = seen_from(line % a->height, tap / a->kernel_w, a->top, a->stride, a->out_height);
                const int64_t ox = seen_from(x, tap % a->kernel_w, a->left, a->stride, a->out_width);
                if (oy < 0 || ox < 0) continue;
                add_products(j->dy + ((line / a->height * a->out_height + oy) * a->out_width + ox) * a->channels,
                             j->w + tap * a->channels, a->channels, dx);
            }
        }
}

/* Blocks of channels of a tap. A sum is of lines' sums: one long sum in single precision would lose digits. */
TS_CLONES static void dw_blocks(void *ctx, int64_t begin, int64_t end)
{
    const depthwise_job *j = ctx;
    const depthwise_attr *a = j->a;
    const int64_t blocks = (a->channels + AT_ONCE - 1) / AT_ONCE;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t tap = unit / blocks, first = unit % blocks * AT_ONCE;
        const int64_t count = a->channels - first < AT_ONCE ? a->channels - first : AT_ONCE;
        real sum[AT_ONCE] = {0};
        for (int64_t line = 0; line < a->images * a->out_height; line++) {
            const int64_t y = line % a->out_height * a->stride + tap / a->kernel_w - a->top;
            if (y < 0 || y >= a->height) continue;
            const real *row = j->x + (line / a->out_height * a->height + y) * a->width * a->channels + first;
            real of_line[AT_ONCE] = {0};
            for (int64_t ox = 0; ox < a->out_width; ox++) {
                const int64_t x = ox * a->stride + tap % a->kernel_w - a->left;
                if (x < 0 || x >= a->width) continue;
                add_products(j->dy + (line * a->out_width + ox) * a->channels + first, row + x * a->channels, count, of_line);
            }
            for (int64_t c = 0; c < count; c++) sum[c] += of_line[c];
        }
        for (int64_t c = 0; c < count; c++) j->out[tap * a->channels + first + c] = sum[c];
    }
}

TS_HOST_KERNEL(depthwise);
bool REAL(ts_host_depthwise)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    depthwise_job job = {.a = n->attr,
                         .x = ts_host_ptr(h, n->in[TS_PRODUCT_X]),
                         .w = ts_host_ptr(h, n->in[TS_PRODUCT_W]),
                         .bias = ts_host_ptr(h, n->in[TS_PRODUCT_BIAS]),
                         .residual = n->nin > TS_PRODUCT_RESIDUAL ? ts_host_ptr(h, n->in[TS_PRODUCT_RESIDUAL]) : NULL,
                         .out = ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), job.a->images * job.a->out_height, 1, forward_lines, &job);
    return true;
}

/* in: dy, w; out: dx */
TS_HOST_KERNEL(depthwise_dx);
bool REAL(ts_host_depthwise_dx)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    depthwise_job job = {
        .a = n->attr, .dy = ts_host_ptr(h, n->in[0]), .w = ts_host_ptr(h, n->in[1]), .out = ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), job.a->images * job.a->height, 1, dx_lines, &job);
    return true;
}

/* in: dy, x; out: dw */
TS_HOST_KERNEL(depthwise_dw);
bool REAL(ts_host_depthwise_dw)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    depthwise_job job = {
        .a = n->attr, .dy = ts_host_ptr(h, n->in[0]), .x = ts_host_ptr(h, n->in[1]), .out = ts_host_ptr(h, n->out[0])};
    const int64_t blocks = (job.a->channels + AT_ONCE - 1) / AT_ONCE;
    ts_parallel(ts_host_threads(h), job.a->kernel_h * job.a->kernel_w * blocks, 1, dw_blocks, &job);
    return true;
}

#ifndef TS_YARDSTICK

static double depthwise_flops(const ts_node *n)
{
    const depthwise_attr *a = n->attr;
    return 2.0 * (double)(a->images * a->out_height * a->out_width) * (double)(a->channels * a->kernel_h * a->kernel_w);
}

/* ---- Vulkan: an invocation a unit of one or four channels of y or dx, a workgroup one of dw ---- */

typedef struct {
    uint32_t count, height, width, channels, out_height, out_width, kernel_h, kernel_w, stride;
    int32_t top, left;
    uint32_t act;
} push_sizes;

static bool is_wide(const depthwise_attr *a)
{
    return a->channels % 4 == 0;
}

/* `of`: the tensor that is written, a unit an item. */
static push_sizes sizes_of(const depthwise_attr *a, const ts_tensor *of)
{
    const int64_t unit = is_wide(a) ? 4 : 1;
    return (push_sizes){.count = (uint32_t)(ts_count(of) / unit),
                        .height = (uint32_t)a->height,
                        .width = (uint32_t)a->width,
                        .channels = (uint32_t)(a->channels / unit),
                        .out_height = (uint32_t)a->out_height,
                        .out_width = (uint32_t)a->out_width,
                        .kernel_h = (uint32_t)a->kernel_h,
                        .kernel_w = (uint32_t)a->kernel_w,
                        .stride = (uint32_t)a->stride,
                        .top = (int32_t)a->top,
                        .left = (int32_t)a->left,
                        .act = a->act};
}

static bool depthwise_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const depthwise_attr *a = n->attr;
    const struct {
        uint64_t x, w, bias, residual, y;
        push_sizes sizes;
    } push = {ts_vk_address(cmd, n->in[TS_PRODUCT_X]),
              ts_vk_address(cmd, n->in[TS_PRODUCT_W]),
              ts_vk_address(cmd, n->in[TS_PRODUCT_BIAS]),
              n->nin > TS_PRODUCT_RESIDUAL ? ts_vk_address(cmd, n->in[TS_PRODUCT_RESIDUAL]) : 0,
              ts_vk_address(cmd, n->out[0]),
              sizes_of(a, n->out[0])};
    ts_vk_dispatch_desc desc = {.shader = "depthwise", .push = &push, .push_bytes = sizeof push, .flops = depthwise_flops(n)};
    ts_vk_items(cmd, push.sizes.count, &desc);
    desc.spec[2] = is_wide(a);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

typedef struct {
    uint64_t dy, with, out; /* `with`: w, or x */
    push_sizes sizes;
} push_grad;

static push_grad push_grad_of(const ts_node *n, const ts_vk_cmd *cmd)
{
    return (push_grad){ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]),
                       sizes_of(n->attr, n->out[0])};
}

static bool dx_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const push_grad push = push_grad_of(n, cmd);
    ts_vk_dispatch_desc desc = {.shader = "depthwise_dx", .push = &push, .push_bytes = sizeof push, .flops = depthwise_flops(n)};
    ts_vk_items(cmd, push.sizes.count, &desc);
    desc.spec[2] = is_wide(n->attr);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool dw_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const depthwise_attr *a = n->attr;
    const struct {
        push_grad of;
        uint32_t places;
    } push = {push_grad_of(n, cmd), (uint32_t)(a->images * a->out_height * a->out_width)};
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    if (limits->cpu && push.places / limits->subgroup >= 65535) /* a loop ends there: shaders/common.glsl */
        return ts_fail(err, TS_ERR_UNSUPPORTED, "depthwise_dw: sums over %s are too long for this driver",
                       ts_shape_text(n->in[0]).s);
    ts_vk_dispatch_desc desc = {.shader = "depthwise_dw", .push = &push, .push_bytes = sizeof push, .flops = depthwise_flops(n)};
    ts_vk_rows(cmd, push.of.sizes.count, &desc);
    desc.spec[2] = is_wide(a);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static const ts_op dx_op = {.name = "depthwise_dx",
                            .flops = depthwise_flops,
                            .host = ts_host_depthwise_dx_f32,
                            .host_f64 = ts_host_depthwise_dx_f64,
                            .vulkan = dx_vulkan};
static const ts_op dw_op = {.name = "depthwise_dw",
                            .flops = depthwise_flops,
                            .host = ts_host_depthwise_dw_f32,
                            .host_f64 = ts_host_depthwise_dw_f64,
                            .vulkan = dw_vulkan};

static void depthwise_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_tensor *x = n->in[TS_PRODUCT_X], *w = n->in[TS_PRODUCT_W];
    if (wanted[TS_PRODUCT_X]) {
        ts_node *d = ts_node_new(n->graph, &dx_op, 2, (ts_tensor *[]){dy[0], w}, n->attr, n->attr_size);
        dx[TS_PRODUCT_X] = ts_node_output(d, TS_REAL, 4, x->shape);
    }
    if (wanted[TS_PRODUCT_W]) {
        ts_node *d = ts_node_new(n->graph, &dw_op, 2, (ts_tensor *[]){dy[0], x}, n->attr, n->attr_size);
        dx[TS_PRODUCT_W] = ts_node_output(d, TS_REAL, 3, w->shape);
    }
    if (wanted[TS_PRODUCT_BIAS]) dx[TS_PRODUCT_BIAS] = ts_sum_leading(n->graph, dy[0], 1);
}

static bool depthwise_absorb(ts_node *n, const ts_node *consumer)
{
    depthwise_attr *a = n->attr;
    return ts_product_absorb(n, consumer, &a->act);
}

static const ts_op depthwise_op = {.name = "depthwise",
                                   .absorb = depthwise_absorb,
                                   .grad = depthwise_grad,
                                   .flops = depthwise_flops,
                                   .host = ts_host_depthwise_f32,
                                   .host_f64 = ts_host_depthwise_f64,
                                   .vulkan = depthwise_vulkan};

ts_tensor *ts_depthwise(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b, const ts_conv_desc *desc)
{
    if (!x || !w) return NULL;
    ts_conv_desc d = desc ? *desc : (ts_conv_desc){0};
    if (d.stride == 0) d.stride = 1;
    if (d.stride < 0 || d.top < 0 || d.left < 0 || d.bottom < 0 || d.right < 0)
        return ts_graph_fail(g, TS_ERR_ARGUMENT, "depthwise",
                             "the stride is %d and the padding %d, %d, %d, %d: none may be negative", d.stride, d.top, d.left,
                             d.bottom, d.right);
    if (x->type != TS_REAL || x->ndim != 4 || w->type != TS_REAL || w->ndim != 3 || w->layout != TS_LAYOUT_PLAIN ||
        w->shape[2] != x->shape[3] || (b && (b->ndim != 1 || b->shape[0] != x->shape[3])))
        return ts_graph_fail(g, TS_ERR_SHAPE, "depthwise",
                             "images %s (N, H, W, C) want a weight (kh, kw, C) and a bias (C), the weight is %s",
                             ts_shape_text(x).s, ts_shape_text(w).s);
    const int64_t *s = x->shape, room_y = s[1] + d.top + d.bottom - w->shape[0], room_x = s[2] + d.left + d.right - w->shape[1];
    if (room_y < 0 || room_x < 0 || s[1] > INT32_MAX / 2 || s[2] > INT32_MAX / 2)
        return ts_graph_fail(g, TS_ERR_SHAPE, "depthwise",
                             "images %s (N, H, W, C) with their padding are smaller than the kernel %s", ts_shape_text(x).s,
                             ts_shape_text(w).s);
    const depthwise_attr a = {.images = s[0],
                              .height = s[1],
                              .width = s[2],
                              .channels = s[3],
                              .out_height = room_y / d.stride + 1,
                              .out_width = room_x / d.stride + 1,
                              .kernel_h = w->shape[0],
                              .kernel_w = w->shape[1],
                              .stride = d.stride,
                              .top = d.top,
                              .left = d.left};
    ts_node *n = ts_node_new(g, &depthwise_op, 3, (ts_tensor *[]){x, w, b}, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){a.images, a.out_height, a.out_width, a.channels});
}
#endif
