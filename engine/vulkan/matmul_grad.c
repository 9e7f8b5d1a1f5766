/* matmul_grad.c - records the gradients of matrix products and convolutions.
 *
 * dx is a product like the forward one, of dy and the weights turned round (weight_turn.comp), so the kernels of matmul.c serve
 * it. Of a convolution with stride s, the places of x fall into s x s phases, each seen through taps of its own: every phase is a
 * convolution of dy with stride 1, and phases_join.comp puts them together. No product with a zero is computed.
 *
 * dw sums over all places, which are many, and has few elements: kernels of its own (matmul_dw.glsl), which cut the places in
 * slices where dw alone would leave the device idle, and add the slices in their order, so that the same device gives the same
 * bits. */
#include "engine/host/product.h"
#include "engine/vulkan/vulkan.h"

static const double most_flops = 2e10; /* of a dispatch */
static const uint64_t alignment = 256; /* of the matrices in scratch memory */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

/* ---- dx ---- */

/* One axis of a phase: the taps first, first + stride, ... of the kernel reach its places, of which there are `places`; its first
 * place sees, through the last of those taps, the place -before of dy. */
typedef struct {
    int64_t first, taps, before, places;
} axis;

static axis axis_of(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t padding)
{
    axis a = {.first = (phase + padding) % stride, .places = size > phase ? ceil_div(size - phase, stride) : 0};
    if (a.first < kernel) a.taps = ceil_div(kernel - a.first, stride);
    a.before = a.taps - 1 - (phase + padding) / stride;
    return a;
}

/* What a phase needs: its axes and where its weights begin in scratch memory, in bytes; false: no tap reaches it, or it has no
 * places. `*weights` goes on to the next phase's. */
typedef struct {
    axis y, x;
    uint64_t weights;
} phase;

static uint64_t real_bytes(const ts_vk_limits *limits)
{
    return limits->fp16 ? 2 : 4;
}

static bool phase_of(const ts_product *p, const ts_vk_limits *limits, int64_t number, uint64_t *weights, phase *out)
{
    out->y = axis_of(number / p->stride, p->height, p->kernel_h, p->stride, p->top);
    out->x = axis_of(number % p->stride, p->width, p->kernel_w, p->stride, p->left);
    out->weights = *weights;
    if (!out->y.taps || !out->x.taps || !out->y.places || !out->x.places) return false;
    *weights += aligned((uint64_t)(out->y.taps * out->x.taps * p->out_channels * p->channels) * real_bytes(limits));
    return true;
}

static uint64_t weights_bytes(const ts_product *p, const ts_vk_limits *limits)
{
    uint64_t bytes = 0;
    phase unused;
    for (int64_t i = 0; i < p->stride * p->stride; i++) phase_of(p, limits, i, &bytes, &unused);
    return bytes;
}

/* Bytes from one phase of dx to the next: room for the largest, a whole number of fours. */
static uint64_t slot_bytes(const ts_product *p, const ts_vk_limits *limits)
{
    const int64_t places = ceil_div(p->height, p->stride) * ceil_div(p->width, p->stride);
    return aligned((uint64_t)(p->images * places * p->channels) * real_bytes(limits));
}

uint64_t ts_vk_product_dx_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    const ts_product *p = n->attr;
    const uint64_t phases = p->stride > 1 ? (uint64_t)(p->stride * p->stride) * slot_bytes(p, limits) : 0;
    return weights_bytes(p, limits) + phases;
}

/* The push constants of weight_turn.comp. */
typedef struct {
    uint64_t w, b;
    uint32_t channels, out_channels, kernel_w, panel;
    uint32_t stride, first_y, first_x, taps_y, taps_x;
    uint32_t w_rows, b_rows;
} turn_push;

static bool turn_weights(ts_vk_cmd *cmd, const ts_product *p, const phase *f, uint64_t w, uint64_t b, ts_error *err)
{
    const turn_push push = {.w = w,
                            .b = b,
                            .channels = (uint32_t)p->channels,
                            .out_channels = (uint32_t)p->out_channels,
                            .kernel_w = (uint32_t)p->kernel_w,
                            .panel = ts_vk_limits_of(cmd)->panel,
                            .stride = (uint32_t)p->stride,
                            .first_y = (uint32_t)f->y.first,
                            .first_x = (uint32_t)f->x.first,
                            .taps_y = (uint32_t)f->y.taps,
                            .taps_x = (uint32_t)f->x.taps,
                            .w_rows = (uint32_t)(p->kernel_h * p->kernel_w * p->channels),
                            .b_rows = (uint32_t)(f->y.taps * f->x.taps * p->out_channels)};
    const bool blocks = p->channels % 4 == 0 && p->out_channels % 4 == 0;
    ts_vk_dispatch_desc desc = {
        .shader = "weight_turn", .spec = {0, blocks}, .spec_count = 2, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, f->y.taps * f->x.taps * p->channels * p->out_channels / (blocks ? 16 : 1), &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool multiply_phase(ts_vk_cmd *cmd, const ts_product *p, const phase *f, uint64_t dy, uint64_t b, uint64_t out,
                           ts_error *err)
{
    const bool plain_rows = f->y.taps == 1 && f->x.taps == 1 && !f->y.before && !f->x.before && f->y.places == p->out_height &&
                            f->x.places == p->out_width;
    const ts_vk_matmul matmul = {.a = dy,
                                 .b = b,
                                 .out = out,
                                 .m = p->images * f->y.places * f->x.places,
                                 .n = p->channels,
                                 .k = f->y.taps * f->x.taps * p->out_channels,
                                 .conv = !plain_rows,
                                 .height = (int32_t)p->out_height,
                                 .width = (int32_t)p->out_width,
                                 .channels = (int32_t)p->out_channels,
                                 .out_height = (int32_t)f->y.places,
                                 .out_width = (int32_t)f->x.places,
                                 .kernel_h = (int32_t)f->y.taps,
                                 .kernel_w = (int32_t)f->x.taps,
                                 .stride = 1,
                                 .top = (int32_t)f->y.before,
                                 .left = (int32_t)f->x.before};
    return ts_vk_matmul_record(cmd, &matmul, err);
}

/* The push constants of phases_join.comp. */
typedef struct {
    uint64_t phases, dx;
    uint32_t count, slot, channels;
    uint32_t height, width, stride, top, left, kernel_h, kernel_w;
} join_push;

static bool join_phases(ts_vk_cmd *cmd, const ts_product *p, uint64_t phases, uint64_t dx, ts_error *err)
{
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const uint32_t unit = p->channels % 4 == 0 ? 4 : 1;
    const int64_t count = p->images * p->height * p->width * p->channels / unit;
    const join_push push = {.phases = phases,
                            .dx = dx,
                            .count = (uint32_t)count,
                            .slot = (uint32_t)(slot_bytes(p, limits) / real_bytes(limits) / unit),
                            .channels = (uint32_t)p->channels / unit,
                            .height = (uint32_t)p->height,
                            .width = (uint32_t)p->width,
                            .stride = (uint32_t)p->stride,
                            .top = (uint32_t)p->top,
                            .left = (uint32_t)p->left,
                            .kernel_h = (uint32_t)p->kernel_h,
                            .kernel_w = (uint32_t)p->kernel_w};
    ts_vk_dispatch_desc desc = {
        .shader = "phases_join", .spec = {0, 0, unit == 4}, .spec_count = 3, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

bool ts_vk_product_dx(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_product *p = n->attr;
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const uint64_t dy = ts_vk_address(cmd, n->in[TS_GRAD_DY]), w = ts_vk_address(cmd, n->in[TS_GRAD_WITH]);
    const uint64_t dx = ts_vk_address(cmd, n->out[0]), scratch = ts_vk_address(cmd, n->scratch);
    const uint64_t slot = slot_bytes(p, limits), phases = scratch + weights_bytes(p, limits);
    const int64_t count = p->stride * p->stride;
    uint64_t weights = 0;
    phase f;
    for (int64_t i = 0; i < count; i++)
        if (phase_of(p, limits, i, &weights, &f) && !turn_weights(cmd, p, &f, w, scratch + f.weights, err)) return false;
    ts_vk_barrier(cmd);
    weights = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t out = p->stride == 1 ? dx : phases + (uint64_t)i * slot;
        if (phase_of(p, limits, i, &weights, &f) && !multiply_phase(cmd, p, &f, dy, scratch + f.weights, out, err)) return false;
    }
    if (p->stride == 1) return true;
    ts_vk_barrier(cmd);
    return join_phases(cmd, p, phases, dx, err);
}

/* ---- dw ---- */

/* The push constants of matmul_dw.glsl. */
typedef struct {
    uint64_t x, dy, dw, sums;
    uint32_t m, n, k, panel, first_row, first_slice, slice, pixels;
    uint32_t height, width, channels, out_height, out_width, kernel_w, stride;
    int32_t top, left;
} dw_push;

/* A kernel with its specialisation, the rows and columns that a workgroup makes, and how the places are cut. */
typedef struct {
    const char *shader;
    uint32_t spec[TS_VK_MAX_SPEC];
    int spec_count;
    int64_t rows, columns, slice, slices;
} dw_kernel;

typedef struct {
    int64_t m, n, k;
    int64_t pixels, channels; /* of x */
    bool conv, x_in_fours, dy_in_fours;
} dw_size;

static dw_size size_of(const ts_product *p)
{
    const bool plain_rows = p->kernel_h == 1 && p->kernel_w == 1 && p->stride == 1 && !(p->top | p->left | p->bottom | p->right);
    return (dw_size){.m = p->kernel_h * p->kernel_w * p->channels,
                     .n = p->out_channels,
                     .k = p->images * p->out_height * p->out_width,
                     .pixels = p->images * p->height * p->width,
                     .channels = p->channels,
                     .conv = !plain_rows,
                     .x_in_fours = p->channels % 4 == 0,
                     .dy_in_fours = p->out_channels % 4 == 0};
}

/* Enough slices to give the device `wanted` workgroups, but none so short that adding them would cost more than they gain; and
 * none longer than `longest`, beyond which a workgroup's part of x and dy would leave the cache, or rounding would add up. */
static void cut(dw_kernel *kernel, const dw_size *s, int64_t wanted, int64_t longest)
{
    const int64_t shortest = 256, most_numbers = 1 << 24; /* of all slices together: 64 MiB */
    const int64_t groups = ceil_div(s->m, kernel->rows) * ceil_div(s->n, kernel->columns);
    int64_t slices = at_most(ceil_div(wanted, groups), ceil_div(s->k, shortest));
    if (slices < ceil_div(s->k, longest)) slices = ceil_div(s->k, longest);
    slices = at_most(slices, most_numbers / (s->m * s->n));
    if (slices < 1) slices = 1;
    kernel->slice = ceil_div(ceil_div(s->k, slices), 16) * 16;
    kernel->slices = ceil_div(s->k, kernel->slice);
}

static dw_kernel kernel_on_cpu(const ts_vk_limits *limits, const dw_size *s)
{
    const uint32_t rows = s->m <= 8 ? 8 : s->m <= 16 ? 16 : 32;
    dw_kernel kernel = {.shader = "matmul_dw_cpu", .spec_count = 7, .rows = rows, .columns = 8 * limits->subgroup};
    cut(&kernel, s, 16, 2048);
    const uint32_t spec[] = {limits->subgroup, limits->subgroup, rows, s->conv, s->x_in_fours, s->dy_in_fours, kernel.slices > 1};
    for (int i = 0; i < kernel.spec_count; i++) kernel.spec[i] = spec[i];
    return kernel;
}

static dw_kernel kernel_on_gpu(const ts_vk_limits *limits, const dw_size *s)
{
    static const struct {
        uint32_t threads, rows, columns, high, wide; /* of an invocation: high x wide outputs */
        uint32_t shared;                             /* bytes */
    } tiles[] = {{256, 128, 128, 8, 8, 16384}, {256, 64, 64, 4, 4, 8192}, {64, 32, 32, 4, 4, 4096}};
    int i = 0;
    while (i < 2 && (tiles[i].threads > limits->max_workgroup || tiles[i].shared > limits->max_shared ||
                     s->m * 2 < tiles[i].rows || s->n * 2 < tiles[i].columns))
        i++;
    dw_kernel kernel = {.shader = "matmul_dw", .spec_count = 9, .rows = tiles[i].rows, .columns = tiles[i].columns};
    cut(&kernel, s, 256, 32768);
    const uint32_t spec[] = {tiles[i].threads, tiles[i].rows, tiles[i].columns, tiles[i].high,    tiles[i].wide,
                             s->conv,          s->x_in_fours, s->dy_in_fours,   kernel.slices > 1};
    for (int k = 0; k < kernel.spec_count; k++) kernel.spec[k] = spec[k];
    return kernel;
}

static dw_kernel kernel_of(const ts_vk_limits *limits, const dw_size *s)
{
    return limits->cpu ? kernel_on_cpu(limits, s) : kernel_on_gpu(limits, s);
}

/* Scratch memory: x and dy in panels where the kernel for CPU drivers wants those, then the slices. Bytes; 0: not needed. */
typedef struct {
    uint64_t x, dy, sums;
} dw_scratch;

static int64_t x_panel(const ts_vk_limits *limits)
{
    return 4 * limits->subgroup;
}

static int64_t dy_panel(const ts_vk_limits *limits)
{
    return 8 * limits->subgroup;
}

static dw_scratch scratch_of(const ts_vk_limits *limits, const dw_size *s, const dw_kernel *kernel)
{
    dw_scratch bytes = {0};
    if (limits->cpu && s->channels > x_panel(limits)) bytes.x = aligned((uint64_t)(s->pixels * s->channels) * real_bytes(limits));
    if (limits->cpu && s->n > dy_panel(limits)) bytes.dy = aligned((uint64_t)(s->k * s->n) * real_bytes(limits));
    if (kernel->slices > 1) bytes.sums = (uint64_t)(kernel->slices * s->m * s->n) * 4;
    return bytes;
}

uint64_t ts_vk_product_dw_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    const dw_size s = size_of(n->attr);
    const dw_kernel kernel = kernel_of(limits, &s);
    const dw_scratch bytes = scratch_of(limits, &s, &kernel);
    return bytes.x + bytes.dy + bytes.sums;
}

static bool pack(ts_vk_cmd *cmd, uint64_t from, uint64_t to, int64_t rows, int64_t columns, int64_t panel, ts_error *err)
{
    const uint32_t unit = columns % 4 == 0 ? 4 : 1;
    const struct {
        uint64_t from, to;
        uint32_t rows, columns, panel, unused;
    } push = {from, to, (uint32_t)rows, (uint32_t)columns / unit, (uint32_t)panel / unit, 0};
    ts_vk_dispatch_desc desc = {
        .shader = "panel_pack", .spec = {0, 0, unit == 4}, .spec_count = 3, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, rows * columns / unit, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

/* dw[i] = the sum over the slices. */
static bool add_slices(ts_vk_cmd *cmd, const dw_push *p, int64_t slices, ts_error *err)
{
    const struct {
        uint64_t sums, dw;
        uint32_t count, slices;
    } push = {p->sums, p->dw, p->m * p->n / (p->n % 4 == 0 ? 4 : 1), (uint32_t)slices};
    ts_vk_dispatch_desc desc = {
        .shader = "matmul_dw_sum", .spec = {0, 0, p->n % 4 == 0}, .spec_count = 3, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

/* All of the product, in dispatches of `most_flops` or, where that is not possible, of one block of rows of one slice. */
static bool multiply(ts_vk_cmd *cmd, const dw_kernel *kernel, dw_push *push, ts_error *err)
{
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    ts_vk_dispatch_desc desc = {
        .shader = kernel->shader, .spec_count = kernel->spec_count, .push = push, .push_bytes = sizeof *push};
    for (int i = 0; i < kernel->spec_count; i++) desc.spec[i] = kernel->spec[i];
    const int64_t blocks = ceil_div(push->m, kernel->rows);
    const double block_flops = 2.0 * (double)kernel->rows * (double)push->n * (double)kernel->slice; /* of one slice */
    double fit = most_flops / block_flops;
    if (fit < 1) fit = 1;
    int64_t most_blocks = fit < (double)blocks ? (int64_t)fit : blocks;
    most_blocks = at_most(most_blocks, limits->max_groups[0]);
    fit /= (double)most_blocks;
    int64_t most_slices = fit < 1 ? 1 : fit < (double)kernel->slices ? (int64_t)fit : kernel->slices;
    most_slices = at_most(most_slices, limits->max_groups[2]);
    desc.groups[1] = (uint32_t)ceil_div(push->n, kernel->columns);
    for (int64_t slice = 0; slice < kernel->slices; slice += most_slices)
        for (int64_t block = 0; block < blocks; block += most_blocks) {
            push->first_slice = (uint32_t)slice;
            push->first_row = (uint32_t)(block * kernel->rows);
            desc.groups[0] = (uint32_t)at_most(blocks - block, most_blocks);
            desc.groups[2] = (uint32_t)at_most(kernel->slices - slice, most_slices);
            desc.flops = block_flops * desc.groups[0] * desc.groups[2];
            if (!ts_vk_dispatch(cmd, &desc, err)) return false;
        }
    return true;
}

bool ts_vk_product_dw(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const ts_product *p = n->attr;
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const dw_size s = size_of(p);
    const dw_kernel kernel = kernel_of(limits, &s);
    const dw_scratch bytes = scratch_of(limits, &s, &kernel);
    const uint64_t scratch = ts_vk_address(cmd, n->scratch);
    dw_push push = {.x = ts_vk_address(cmd, n->in[TS_GRAD_WITH]),
                    .dy = ts_vk_address(cmd, n->in[TS_GRAD_DY]),
                    .dw = ts_vk_address(cmd, n->out[0]),
                    .sums = scratch + bytes.x + bytes.dy,
                    .m = (uint32_t)s.m,
                    .n = (uint32_t)s.n,
                    .k = (uint32_t)s.k,
                    .panel = limits->panel,
                    .slice = (uint32_t)kernel.slice,
                    .pixels = (uint32_t)s.pixels,
                    .height = (uint32_t)p->height,
                    .width = (uint32_t)p->width,
                    .channels = (uint32_t)p->channels,
                    .out_height = (uint32_t)p->out_height,
                    .out_width = (uint32_t)p->out_width,
                    .kernel_w = (uint32_t)p->kernel_w,
                    .stride = (uint32_t)p->stride,
                    .top = (int32_t)p->top,
                    .left = (int32_t)p->left};
    if (bytes.x && !pack(cmd, push.x, scratch, s.pixels, s.channels, x_panel(limits), err)) return false;
    if (bytes.dy && !pack(cmd, push.dy, scratch + bytes.x, s.k, s.n, dy_panel(limits), err)) return false;
    if (bytes.x) push.x = scratch;
    if (bytes.dy) push.dy = scratch + bytes.x;
    if (bytes.x || bytes.dy) ts_vk_barrier(cmd);
    if (!multiply(cmd, &kernel, &push, err)) return false;
    if (kernel.slices == 1) return true;
    ts_vk_barrier(cmd);
    return add_slices(cmd, &push, kernel.slices, err);
}
