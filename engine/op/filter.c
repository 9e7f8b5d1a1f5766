/* filter.c - a map filtered along its rows or its columns by a kernel of T = 2 r + 1 numbers, mirrored at the edges, whose own
 * value is not repeated: along the rows y[n, h, w, c] = sum over t of k[t] x[n, h, mirror(w + t - r), c],   mirror(-1) = 1,
 * mirror(W) = W - 2 Two of them make a separable filter, a Gaussian or one of its derivatives. The kernel is a constant of the
 * filter: it has no gradient. That of x is the transposed sum, gathered by each place from the outputs that look at it, so that
 * its order is fixed. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

enum { MOST_TAPS = 1023, STRIP = 1024 };

/* The map as `outer` stretches of `length` places, each `inner` numbers from the next. */
typedef struct {
    int64_t outer, length, inner, taps;
} filter_attr;

/* ---- host ---- */

static int64_t mirror(int64_t at, int64_t length)
{
    const int64_t period = length > 1 ? 2 * (length - 1) : 1;
    at = (at < 0 ? -at : at) % period;
    return at < length ? at : period - at;
}

typedef struct {
    const filter_attr *a;
    const real *x, *k; /* or dy */
    real *y;           /* or dx */
    real *scratch;     /* along the rows: a line with its mirrored ends for each slot */
    int64_t slots;
} filter_job;

/* y = the sum of `taps` stretches, each times its number of the kernel; four at a time, which saves loading and storing y. */
TS_CLONES static void add_taps(real *restrict y, int64_t count, const real *k, const real *const *from, int64_t taps)
{
    memset(y, 0, (size_t)count * sizeof *y);
    int64_t t = 0;
    for (; t + 4 <= taps; t += 4) {
        const real *a = from[t], *b = from[t + 1], *c = from[t + 2], *d = from[t + 3];
        const real ka = k[t], kb = k[t + 1], kc = k[t + 2], kd = k[t + 3];
#pragma omp simd
        for (int64_t i = 0; i < count; i++) y[i] += ka * a[i] + kb * b[i] + kc * c[i] + kd * d[i];
    }
    for (; t < taps; t++) {
        const real *a = from[t], ka = k[t];
#pragma omp simd
        for (int64_t i = 0; i < count; i++) y[i] += ka * a[i];
    }
}

/* Along the columns: rows of the output [begin, end), strip by strip, so that the rows that a kernel spans stay in the cache. */
static void filter_columns(void *ctx, int64_t begin, int64_t end)
{
    const filter_job *j = ctx;
    const filter_attr *a = j->a;
    const int64_t half = a->taps / 2;
    for (int64_t strip = 0; strip < a->inner; strip += STRIP) {
        const int64_t count = a->inner - strip < STRIP ? a->inner - strip : STRIP;
        for (int64_t row = begin; row < end; row++) {
            const real *from[MOST_TAPS], *map = j->x + row / a->length * a->length * a->inner + strip;
            for (int64_t t = 0; t < a->taps; t++) from[t] = map + mirror(row % a->length + t - half, a->length) * a->inner;
            add_taps(j->y + row * a->inner + strip, count, j->k, from, a->taps);
        }
    }
}

/* Along the rows: each is laid out with its mirrored ends, then a tap is the line a place further on. */
static void filter_rows(void *ctx, int64_t begin, int64_t end)
{
    const filter_job *j = ctx;
    const filter_attr *a = j->a;
    const int64_t half = a->taps / 2, whole = (a->length + 2 * half) * a->inner;
    for (int64_t slot = begin; slot < end; slot++) {
        real *line = j->scratch + slot * whole;
        const real *from[MOST_TAPS];
        for (int64_t t = 0; t < a->taps; t++) from[t] = line + t * a->inner;
        for (int64_t row = a->outer * slot / j->slots; row < a->outer * (slot + 1) / j->slots; row++) {
            const real *x = j->x + row * a->length * a->inner;
            memcpy(line + half * a->inner, x, (size_t)(a->length * a->inner) * sizeof *x);
            for (int64_t i = 1; i <= half; i++) {
                memcpy(line + (half - i) * a->inner, x + mirror(-i, a->length) * a->inner, (size_t)a->inner * sizeof *x);
                memcpy(line + (half + a->length - 1 + i) * a->inner, x + mirror(a->length - 1 + i, a->length) * a->inner,
                       (size_t)a->inner * sizeof *x);
            }
            add_taps(j->y + row * a->length * a->inner, a->length * a->inner, j->k, from, a->taps);
        }
    }
}

/* The places beyond the edges whose value is that of `at`, from -half on: `first` and every `period`-th. */
static int64_t first_image(int64_t at, int64_t half, int64_t period)
{
    return -half + ((at + half) % period + period) % period;
}

static void gather(const filter_job *j, int64_t outer, int64_t at)
{
    const filter_attr *a = j->a;
    const int64_t half = a->taps / 2, period = a->length > 1 ? 2 * (a->length - 1) : 1;
    const real *dy = j->x + outer * a->length * a->inner;
    real *dx = j->y + (outer * a->length + at) * a->inner;
    memset(dx, 0, (size_t)a->inner * sizeof *dx);
    for (int side = 0; side < 2; side++) {
        if (side == 1 && (at == 0 || at == a->length - 1)) break; /* its own mirror image */
        for (int64_t p = first_image(side ? -at : at, half, period); p < a->length + half; p += period)
            for (int64_t t = 0; t < a->taps; t++) {
                const int64_t o = p - t + half;
                if (o < 0 || o >= a->length) continue;
                const real k = j->k[t], *from = dy + o * a->inner;
#pragma omp simd
                for (int64_t i = 0; i < a->inner; i++) dx[i] += k * from[i];
            }
    }
}

static void gather_places(void *ctx, int64_t begin, int64_t end)
{
    const filter_job *j = ctx;
    for (int64_t i = begin; i < end; i++) gather(j, i / j->a->length, i % j->a->length);
}

TS_HOST_KERNEL(filter_down);
bool REAL(ts_host_filter_down)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const filter_attr *a = n->attr;
    filter_job job = {.a = a, .x = ts_host_ptr(h, n->in[0]), .k = ts_host_ptr(h, n->in[1]), .y = ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), a->outer * a->length, 1, filter_columns, &job);
    return true;
}

TS_HOST_KERNEL(filter_across);
bool REAL(ts_host_filter_across)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    filter_job job = {.a = n->attr,
                      .x = ts_host_ptr(h, n->in[0]),
                      .k = ts_host_ptr(h, n->in[1]),
                      .y = ts_host_ptr(h, n->out[0]),
                      .scratch = ts_host_scratch(h, n),
                      .slots = ts_host_threads(h)};
    ts_parallel((int)job.slots, job.slots, 1, filter_rows, &job);
    return true;
}

TS_HOST_KERNEL(filter_grad);
bool REAL(ts_host_filter_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const filter_attr *a = n->attr;
    filter_job job = {.a = a, .x = ts_host_ptr(h, n->in[0]), .k = ts_host_ptr(h, n->in[1]), .y = ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), a->outer * a->length, 1, gather_places, &job);
    return true;
}

#ifndef TS_YARDSTICK
static uint64_t line_scratch(const ts_node *n, const ts_host *h)
{
    const filter_attr *a = n->attr;
    return (uint64_t)ts_host_threads(h) * (uint64_t)((a->length + a->taps) * a->inner) * sizeof(double); /* of either build */
}

/* ---- Vulkan: an invocation a unit of one or four numbers of what is written ---- */

static bool dispatch(const ts_node *n, const char *shader, ts_vk_cmd *cmd, ts_error *err)
{
    const filter_attr *a = n->attr;
    const bool wide = a->inner % 4 == 0;
    const int64_t count = ts_count(n->out[0]) / (wide ? 4 : 1);
    const struct {
        uint64_t x, k, y;
        uint32_t count, length, inner, taps;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)count,
              (uint32_t)a->length,
              (uint32_t)(a->inner / (wide ? 4 : 1)),
              (uint32_t)a->taps};
    ts_vk_dispatch_desc desc = {
        .shader = shader, .push = &push, .push_bytes = sizeof push, .flops = 2.0 * (double)ts_count(n->out[0]) * (double)a->taps};
    ts_vk_items(cmd, count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool filter_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "filter", cmd, err);
}

static bool filter_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "filter_grad", cmd, err);
}

/* ---- the op ---- */

static const ts_op filter_grad_op = {
    .name = "filter_grad", .host = ts_host_filter_grad_f32, .host_f64 = ts_host_filter_grad_f64, .vulkan = filter_grad_vulkan};

static void filter_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    if (wanted[1]) {
        ts_graph_fail(n->graph, TS_ERR_UNSUPPORTED, "filter", "has no gradient for its kernel");
        return;
    }
    ts_node *grad = ts_node_new(n->graph, &filter_grad_op, 2, (ts_tensor *[]){dy[0], n->in[1]}, n->attr, n->attr_size);
    dx[0] = ts_node_output(grad, TS_REAL, 4, n->in[0]->shape);
}

static double filter_flops(const ts_node *n)
{
    return 2.0 * (double)ts_count(n->out[0]) * (double)((const filter_attr *)n->attr)->taps;
}

static const ts_op across_op = {.name = "filter",
                                .grad = filter_grad,
                                .flops = filter_flops,
                                .host = ts_host_filter_across_f32,
                                .host_f64 = ts_host_filter_across_f64,
                                .host_scratch = line_scratch,
                                .vulkan = filter_vulkan};
static const ts_op down_op = {.name = "filter",
                              .grad = filter_grad,
                              .flops = filter_flops,
                              .host = ts_host_filter_down_f32,
                              .host_f64 = ts_host_filter_down_f64,
                              .vulkan = filter_vulkan};

ts_tensor *ts_filter(ts_graph *g, ts_tensor *x, ts_tensor *kernel, bool down)
{
    if (!x || !kernel) return NULL;
    const int64_t taps = ts_count(kernel);
    if (x->ndim != 4 || x->type != TS_REAL || kernel->ndim != 1 || kernel->type != TS_REAL || taps % 2 == 0 || taps > MOST_TAPS)
        return ts_graph_fail(g, TS_ERR_SHAPE, "filter",
                             "x is %s and the kernel %s, wanted (N, H, W, C) and an odd number of at most %d, both reals",
                             ts_shape_text(x).s, ts_shape_text(kernel).s, MOST_TAPS);
    const int64_t *s = x->shape;
    const filter_attr a = down ? (filter_attr){s[0], s[1], s[2] * s[3], taps} : (filter_attr){s[0] * s[1], s[2], s[3], taps};
    ts_node *n = ts_node_new(g, down ? &down_op : &across_op, 2, (ts_tensor *[]){x, kernel}, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 4, s);
}
#endif
