/* resample.c - maps at another size: (N, H, W, C) -> (N, h, w, C), bilinear or bicubic, half-pixel centres, never antialiased, as
 * PyTorch's interpolate(align_corners=False) computes them: output o looks at p = (o + 1/2) in/out - 1/2 of the input.
 *     bilinear  p no less than 0; floor(p) with weight 1 - t and the next with t, t = p - floor(p)
 *     bicubic   the four around p, Keys' kernel with a = -3/4 (Keys 1981)
 * Places beyond the edge are the edge's. The gradient is the transposed sum, gathered by each input from the outputs that look at
 * it, so that its order is fixed. Resizing pictures is another thing (engine/image/resize.c). */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    int64_t batch, height, width, channels, out_height, out_width;
    bool cubic;
} resample_attr;

/* ---- host ---- */

/* What output `o` of `out` takes from an axis of `in` places: `at` and the weights of 4 of them, edges repeated. */
typedef struct {
    int64_t at[4];
    real weight[4];
} taps;

static int64_t within(int64_t i, int64_t count)
{
    const int64_t low = i < 0 ? 0 : i;
    return low < count ? low : count - 1;
}

/* Keys' kernel at distance d, 0 <= d <= 2. */
static real keys(real d)
{
    const real a = (real)-0.75;
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((d - 5) * d + 8) * d * a - 4 * a;
}

static taps taps_of(int64_t o, int64_t in, int64_t out, bool cubic)
{
    /* p = place / two, divided in integers: in floats the fraction would be lost where there are thousands of places. */
    const int64_t two = 2 * out;
    int64_t place = (2 * o + 1) * in - out;
    if (!cubic && place < 0) place = 0;
    const int64_t base = place >= 0 ? place / two : -((two - 1 - place) / two);
    const real t = (real)(place - base * two) / (real)two;
    taps k;
    for (int i = 0; i < 4; i++) k.at[i] = within(base - 1 + i, in);
    k.weight[0] = cubic ? keys(1 + t) : 0;
    k.weight[1] = cubic ? keys(t) : 1 - t;
    k.weight[2] = cubic ? keys(1 - t) : t;
    k.weight[3] = cubic ? keys(2 - t) : 0;
    return k;
}

/* The outputs that look at input `i` lie in [first, last). */
static void lookers(int64_t i, int64_t in, int64_t out, int64_t *first, int64_t *last)
{
    const double scale = (double)out / (double)in;
    const int64_t low = (int64_t)floor(((double)i - 2) * scale - 1), high = (int64_t)ceil(((double)i + 3) * scale + 1);
    /* What is beyond the edge is the edge's. */
    *first = low < 0 || i == 0 ? 0 : low;
    *last = high > out || i == in - 1 ? out : high;
}

static real weight_of(const taps *k, int64_t i)
{
    real sum = 0;
    for (int t = 0; t < 4; t++) sum += k->at[t] == i ? k->weight[t] : 0;
    return sum;
}

typedef struct {
    const resample_attr *a;
    const real *x; /* or dy */
    real *y;       /* or dx */
} resample_job;

/* Rows of the output. */
TS_CLONES static void resample_rows(void *ctx, int64_t begin, int64_t end)
{
    const resample_job *j = ctx;
    const resample_attr *a = j->a;
    for (int64_t row = begin; row < end; row++) {
        const taps v = taps_of(row % a->out_height, a->height, a->out_height, a->cubic);
        const real *map = j->x + row / a->out_height * a->height * a->width * a->channels;
        for (int64_t o = 0; o < a->out_width; o++) {
            const taps h = taps_of(o, a->width, a->out_width, a->cubic);
            real *y = j->y + (row * a->out_width + o) * a->channels;
            for (int64_t c = 0; c < a->channels; c++) y[c] = 0;
            for (int t = 0; t < 16; t++) {
                const real weight = v.weight[t / 4] * h.weight[t % 4];
                if (weight == 0) continue;
                const real *x = map + (v.at[t / 4] * a->width + h.at[t % 4]) * a->channels;
#pragma omp simd
                for (int64_t c = 0; c < a->channels; c++) y[c] += weight * x[c];
            }
        }
    }
}

/* Rows of the input. */
TS_CLONES static void gather_rows(void *ctx, int64_t begin, int64_t end)
{
    const resample_job *j = ctx;
    const resample_attr *a = j->a;
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < a->width; i++) {
            int64_t top, bottom, left, right;
            lookers(row % a->height, a->height, a->out_height, &top, &bottom);
            lookers(i, a->width, a->out_width, &left, &right);
            const real *map = j->x + row / a->height * a->out_height * a->out_width * a->channels;
            real *dx = j->y + (row * a->width + i) * a->channels;
            for (int64_t c = 0; c < a->channels; c++) dx[c] = 0;
            for (int64_t v = top; v < bottom; v++) {
                const taps down = taps_of(v, a->height, a->out_height, a->cubic);
                const real upper = weight_of(&down, row % a->height);
                if (upper == 0) continue;
                for (int64_t h = left; h < right; h++) {
                    const taps across = taps_of(h, a->width, a->out_width, a->cubic);
                    const real weight = upper * weight_of(&across, i);
                    if (weight == 0) continue;
                    const real *dy = map + (v * a->out_width + h) * a->channels;
#pragma omp simd
                    for (int64_t c = 0; c < a->channels; c++) dx[c] += weight * dy[c];
                }
            }
        }
}

TS_HOST_KERNEL(resample);
bool REAL(ts_host_resample)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const resample_attr *a = n->attr;
    resample_job job = {a, ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), a->batch * a->out_height, 1, resample_rows, &job);
    return true;
}

TS_HOST_KERNEL(resample_grad);
bool REAL(ts_host_resample_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const resample_attr *a = n->attr;
    resample_job job = {a, ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), a->batch * a->height, 1, gather_rows, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four channels of what is written ---- */

static bool dispatch(const ts_node *n, const char *shader, ts_vk_cmd *cmd, ts_error *err)
{
    const resample_attr *a = n->attr;
    const bool wide = a->channels % 4 == 0;
    const int64_t count = ts_count(n->out[0]) / (wide ? 4 : 1);
    const struct {
        uint64_t x, y;
        uint32_t count, height, width, channels, out_height, out_width;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)count,
              (uint32_t)a->height,
              (uint32_t)a->width,
              (uint32_t)(a->channels / (wide ? 4 : 1)),
              (uint32_t)a->out_height,
              (uint32_t)a->out_width};
    ts_vk_dispatch_desc desc = {.shader = shader, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    desc.spec[1] = a->cubic;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool resample_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "resample", cmd, err);
}

static bool resample_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "resample_grad", cmd, err);
}

static const ts_op resample_grad_op = {.name = "resample_grad",
                                       .host = ts_host_resample_grad_f32,
                                       .host_f64 = ts_host_resample_grad_f64,
                                       .vulkan = resample_grad_vulkan};

static void resample_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_node *grad = ts_node_new(n->graph, &resample_grad_op, 1, dy, n->attr, n->attr_size);
    dx[0] = ts_node_output(grad, TS_REAL, 4, n->in[0]->shape);
}

static const ts_op resample_op = {.name = "resample",
                                  .grad = resample_grad,
                                  .host = ts_host_resample_f32,
                                  .host_f64 = ts_host_resample_f64,
                                  .vulkan = resample_vulkan};

ts_tensor *ts_resample(ts_graph *g, ts_tensor *x, int64_t height, int64_t width, bool cubic)
{
    if (!x) return NULL;
    enum { MOST = 32767 }; /* of a side: 32 bits hold a place and its fraction in the shaders */
    if (x->ndim != 4 || x->type != TS_REAL || height < 1 || width < 1 || height > MOST || width > MOST || x->shape[1] > MOST ||
        x->shape[2] > MOST)
        return ts_graph_fail(g, TS_ERR_SHAPE, "resample",
                             "x is %s and the new size %lld x %lld, wanted (N, H, W, C) of reals, sides up to 32767",
                             ts_shape_text(x).s, (long long)height, (long long)width);
    const int64_t *s = x->shape;
    if (s[1] == height && s[2] == width) return x;
    const resample_attr a = {s[0], s[1], s[2], s[3], height, width, cubic};
    ts_node *n = ts_node_new(g, &resample_op, 1, &x, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){s[0], height, width, s[3]});
}
#endif
