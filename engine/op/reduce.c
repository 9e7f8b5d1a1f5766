/* reduce.c - sums over a whole tensor, or over its leading dimensions, and the repetition that is their gradient. Everything is
 * added in an order that the shape alone decides, never the number of threads or the chance of an atomic, so that two runs agree
 * to the bit: the elements are cut into chunks, a chunk's sum goes to scratch, and the sums are added in turn. On the host the
 * second step is in double precision. */
#include "engine/op/reduce.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

enum {
    CHUNK = 4096, /* elements of a chunk of a whole sum, at least */
    ROWS = 256,   /* rows of a chunk of a sum over rows on the host */
};

typedef struct {
    double scale;
    bool square; /* the squares are summed */
} sum_attr;

typedef struct {
    double scale;
} broadcast_attr;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- host: sum, mean, sum_squares ---- */

typedef struct {
    const real *x;
    double *partial;
    int64_t count;
    bool square;
} sum_job;

TS_CLONES static void sum_chunks(void *ctx, int64_t begin, int64_t end)
{
    const sum_job *j = ctx;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const real *x = j->x + chunk * CHUNK;
        const int64_t count = j->count - chunk * CHUNK < CHUNK ? j->count - chunk * CHUNK : CHUNK;
        real sum = 0;
        if (j->square) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < count; i++) sum += x[i] * x[i];
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < count; i++) sum += x[i];
        }
        j->partial[chunk] = (double)sum;
    }
}

TS_HOST_KERNEL(sum);
bool REAL(ts_host_sum)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const sum_attr *attr = n->attr;
    double *partial = ts_host_scratch(h, n), total = 0;
    int64_t chunks = 0;
    for (int k = 0; k < n->nin; k++) {
        sum_job job = {ts_host_ptr(h, n->in[k]), partial + chunks, ts_count(n->in[k]), attr->square};
        ts_parallel(ts_host_threads(h), ceil_div(job.count, CHUNK), 4, sum_chunks, &job);
        chunks += ceil_div(job.count, CHUNK);
    }
    for (int64_t i = 0; i < chunks; i++) total += partial[i];
    *(real *)ts_host_ptr(h, n->out[0]) = (real)(total * attr->scale);
    return true;
}

/* ---- host: sum_leading ---- */

typedef struct {
    const real *x; /* (rows, width) */
    real *partial; /* (chunks, width) */
    real *y;       /* (width) */
    int64_t rows, width, chunks;
} rows_job;

TS_CLONES static void add_rows(void *ctx, int64_t begin, int64_t end)
{
    const rows_job *j = ctx;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t first = chunk * ROWS, last = first + ROWS < j->rows ? first + ROWS : j->rows;
        real *sum = j->partial + chunk * j->width;
        for (int64_t i = 0; i < j->width; i++) sum[i] = 0;
        for (int64_t row = first; row < last; row++) {
            const real *x = j->x + row * j->width;
#pragma omp simd
            for (int64_t i = 0; i < j->width; i++) sum[i] += x[i];
        }
    }
}

TS_CLONES static void add_chunks(void *ctx, int64_t begin, int64_t end)
{
    const rows_job *j = ctx;
    enum { BLOCK = 64 };
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t width = end - at < BLOCK ? end - at : BLOCK;
        double sum[BLOCK] = {0};
        for (int64_t chunk = 0; chunk < j->chunks; chunk++) {
            const real *x = j->partial + chunk * j->width + at;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) sum[i] += (double)x[i];
        }
        for (int64_t i = 0; i < width; i++) j->y[at + i] = (real)sum[i];
    }
}

TS_HOST_KERNEL(sum_leading);
bool REAL(ts_host_sum_leading)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    rows_job job = {.x = ts_host_ptr(h, n->in[0]),
                    .partial = ts_host_scratch(h, n),
                    .y = ts_host_ptr(h, n->out[0]),
                    .width = ts_count(n->out[0])};
    job.rows = ts_count(n->in[0]) / job.width;
    job.chunks = ceil_div(job.rows, ROWS);
    ts_parallel(ts_host_threads(h), job.chunks, 1, add_rows, &job);
    ts_parallel(ts_host_threads(h), job.width, 64, add_chunks, &job);
    return true;
}

/* ---- host: broadcast ---- */

typedef struct {
    const real *x;
    real *y, scale;
    int64_t period;
} broadcast_job;

TS_CLONES static void broadcast_range(void *ctx, int64_t begin, int64_t end)
{
    const broadcast_job *j = ctx;
    const real scale = j->scale;
    if (j->period == 1) {
        const real v = j->x[0] * scale;
        for (int64_t i = begin; i < end; i++) j->y[i] = v;
        return;
    }
    for (int64_t i = begin, at = begin % j->period; i < end; at = 0) {
        const int64_t count = j->period - at < end - i ? j->period - at : end - i;
        const real *x = j->x + at;
        real *y = j->y + i;
#pragma omp simd
        for (int64_t k = 0; k < count; k++) y[k] = x[k] * scale;
        i += count;
    }
}

TS_HOST_KERNEL(broadcast);
bool REAL(ts_host_broadcast)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    broadcast_job job = {ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0]), (real)((const broadcast_attr *)n->attr)->scale,
                         ts_count(n->in[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->out[0]), 1 << 14, broadcast_range, &job);
    return true;
}

#ifndef TS_YARDSTICK
static uint64_t sum_host_scratch(const ts_node *n, const ts_host *h)
{
    (void)h;
    int64_t chunks = 0;
    for (int k = 0; k < n->nin; k++) chunks += ceil_div(ts_count(n->in[k]), CHUNK);
    return (uint64_t)chunks * sizeof(double);
}

static uint64_t sum_leading_host_scratch(const ts_node *n, const ts_host *h)
{
    (void)h;
    const int64_t width = ts_count(n->out[0]);
    return (uint64_t)(ceil_div(ts_count(n->in[0]) / width, ROWS) * width) * sizeof(double); /* the yardstick's real */
}

/* ---- Vulkan: sum.comp twice, the second time over the sums of the chunks ---- */

enum { MOST_CHUNKS = 1024 };

static int64_t vulkan_chunk(int64_t count)
{
    const int64_t even = ceil_div(count, MOST_CHUNKS);
    return even < CHUNK ? CHUNK : even;
}

static int64_t vulkan_chunks(const ts_node *n)
{
    int64_t chunks = 0;
    for (int k = 0; k < n->nin; k++) chunks += ceil_div(ts_count(n->in[k]), vulkan_chunk(ts_count(n->in[k])));
    return chunks;
}

static uint64_t sum_vulkan_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)limits;
    return (uint64_t)vulkan_chunks(n) * sizeof(float);
}

enum { SUM_SQUARE = 1, SUM_PARTIAL = 2, SUM_LAST = 4 }; /* as sum.comp takes them */

/* `chunks` sums of `chunk` elements each, the last one perhaps of fewer. */
static bool sum_dispatch(ts_vk_cmd *cmd, bool wide, uint64_t x, uint64_t y, int64_t count, int64_t chunk, int64_t chunks,
                         double scale, uint32_t choice, ts_error *err)
{
    const struct {
        uint64_t x, y;
        uint32_t count, chunk;
        float scale;
    } push = {x, y, (uint32_t)count, (uint32_t)chunk, (float)scale};
    ts_vk_dispatch_desc desc = {.shader = "sum", .wide = wide, .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_rows(cmd, chunks, &desc);
    desc.spec[2] = choice;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool sum_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const sum_attr *attr = n->attr;
    const uint64_t partial = ts_vk_address(cmd, n->scratch);
    int64_t chunks = 0;
    for (int k = 0; k < n->nin; k++) {
        const int64_t count = ts_count(n->in[k]), chunk = vulkan_chunk(count), part = ceil_div(count, chunk);
        if (!sum_dispatch(cmd, ts_is_wide(n->in[k]), ts_vk_address(cmd, n->in[k]), partial + (uint64_t)chunks * sizeof(float),
                          count, chunk, part, 1, attr->square ? SUM_SQUARE : 0, err))
            return false;
        chunks += part;
    }
    ts_vk_barrier(cmd);
    return sum_dispatch(cmd, ts_is_wide(n->out[0]), partial, ts_vk_address(cmd, n->out[0]), chunks, chunks, 1, attr->scale,
                        SUM_PARTIAL | SUM_LAST, err);
}

/* ---- Vulkan: sum_leading.comp until one row is left, the rows between in two places by turns ---- */

enum { FOLD = 64 }; /* rows that an invocation adds */

static uint64_t sum_leading_vulkan_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)limits;
    const int64_t width = ts_count(n->out[0]), once = ceil_div(ts_count(n->in[0]) / width, FOLD);
    return once == 1 ? 0 : (uint64_t)((once + ceil_div(once, FOLD)) * width) * sizeof(float);
}

static bool sum_leading_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t width = ts_count(n->out[0]);
    const bool wide = width % 4 == 0;
    const int64_t units = wide ? width / 4 : width;
    const uint64_t scratch = ts_vk_address(cmd, n->scratch);
    int64_t rows = ts_count(n->in[0]) / width;
    const uint64_t between[2] = {scratch, scratch + (uint64_t)(ceil_div(rows, FOLD) * width) * sizeof(float)};
    uint64_t from = ts_vk_address(cmd, n->in[0]);
    for (int step = 0; step == 0 || rows > 1; step++) {
        const int64_t left = ceil_div(rows, FOLD);
        const struct {
            uint64_t x, y;
            uint32_t rows, left, units, fold;
        } push = {
            from, left == 1 ? ts_vk_address(cmd, n->out[0]) : between[step % 2], (uint32_t)rows, (uint32_t)left, (uint32_t)units,
            FOLD};
        ts_vk_dispatch_desc desc = {
            .shader = "sum_leading", .push = &push, .push_bytes = sizeof push, .flops = (double)(rows * width)};
        ts_vk_items(cmd, left * units, &desc);
        desc.spec[1] = (step > 0 ? SUM_PARTIAL : 0) | (left == 1 ? SUM_LAST : 0);
        desc.spec[2] = wide;
        desc.spec_count = 3;
        if (!ts_vk_dispatch(cmd, &desc, err)) return false;
        if (left > 1) ts_vk_barrier(cmd);
        from = push.y;
        rows = left;
    }
    return true;
}

static bool broadcast_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const int64_t count = ts_count(n->out[0]), period = ts_count(n->in[0]);
    const bool single = period == 1, wide = single ? count % 4 == 0 : period % 4 == 0;
    const int64_t unit = wide ? 4 : 1;
    const struct {
        uint64_t x, y;
        uint32_t count, period;
        float scale;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)(count / unit),
              single ? 1 : (uint32_t)(period / unit), (float)((const broadcast_attr *)n->attr)->scale};
    ts_vk_dispatch_desc desc = {.shader = "broadcast", .push = &push, .push_bytes = sizeof push, .flops = (double)count};
    ts_vk_items(cmd, count / unit, &desc);
    desc.spec[1] = single;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static void sum_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const sum_attr *attr = n->attr;
    dx[0] = ts_broadcast(n->graph, dy[0], n->in[0]->ndim, n->in[0]->shape, attr->scale);
    if (dx[0]) dx[0]->layout = n->in[0]->layout;
}

static void sum_leading_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = ts_broadcast(n->graph, dy[0], n->in[0]->ndim, n->in[0]->shape, 1);
}

static void broadcast_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const broadcast_attr *attr = n->attr;
    const int64_t rows = ts_count(n->out[0]) / ts_count(n->in[0]);
    ts_tensor *flat = ts_reshape(n->graph, dy[0], 2, (int64_t[]){rows, ts_count(n->in[0])});
    ts_tensor *sum = ts_sum_leading(n->graph, flat, 1);
    dx[0] = attr->scale == 1 ? sum : ts_scale(n->graph, sum, (float)attr->scale, 0);
}

static const ts_op sum_op = {.name = "sum",
                             .grad = sum_grad,
                             .host = ts_host_sum_f32,
                             .host_f64 = ts_host_sum_f64,
                             .host_scratch = sum_host_scratch,
                             .vulkan = sum_vulkan,
                             .vulkan_scratch = sum_vulkan_scratch};
static const ts_op mean_op = {.name = "mean",
                              .grad = sum_grad,
                              .host = ts_host_sum_f32,
                              .host_f64 = ts_host_sum_f64,
                              .host_scratch = sum_host_scratch,
                              .vulkan = sum_vulkan,
                              .vulkan_scratch = sum_vulkan_scratch};
static const ts_op several_op = {.name = "sum_several",
                                 .wide = (1 << TS_MAX_IN) - 1,
                                 .host = ts_host_sum_f32,
                                 .host_f64 = ts_host_sum_f64,
                                 .host_scratch = sum_host_scratch,
                                 .vulkan = sum_vulkan,
                                 .vulkan_scratch = sum_vulkan_scratch};
static const ts_op sum_leading_op = {.name = "sum_leading",
                                     .grad = sum_leading_grad,
                                     .host = ts_host_sum_leading_f32,
                                     .host_f64 = ts_host_sum_leading_f64,
                                     .host_scratch = sum_leading_host_scratch,
                                     .vulkan = sum_leading_vulkan,
                                     .vulkan_scratch = sum_leading_vulkan_scratch};
static const ts_op broadcast_op = {.name = "broadcast",
                                   .grad = broadcast_grad,
                                   .host = ts_host_broadcast_f32,
                                   .host_f64 = ts_host_broadcast_f64,
                                   .vulkan = broadcast_vulkan};

static ts_tensor *whole(ts_graph *g, const ts_op *op, int count, ts_tensor *const *list, double scale, bool square)
{
    for (int i = 0; i < count; i++) {
        if (!list[i]) return NULL;
        if (list[i]->type != TS_REAL)
            return ts_graph_fail(g, TS_ERR_ARGUMENT, op->name, "x %s must be real", ts_shape_text(list[i]).s);
    }
    const sum_attr attr = {scale, square};
    ts_node *n = ts_node_new(g, op, count, list, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, 1, (int64_t[]){1});
}

ts_tensor *ts_sum(ts_graph *g, ts_tensor *x)
{
    return whole(g, &sum_op, 1, &x, 1, false);
}

ts_tensor *ts_mean(ts_graph *g, ts_tensor *x)
{
    return x ? whole(g, &mean_op, 1, &x, 1 / (double)ts_count(x), false) : NULL;
}

ts_tensor *ts_sum_several(ts_graph *g, int count, ts_tensor *const *list, bool square)
{
    ts_tensor *sum = whole(g, &several_op, count, list, 1, square);
    if (sum) sum->state->wide = true; /* squares of many gradients are more than fp16 holds */
    return sum;
}

ts_tensor *ts_sum_leading(ts_graph *g, ts_tensor *x, int ndim)
{
    if (!x) return NULL;
    if (x->type != TS_REAL || ndim < 1 || ndim > x->ndim || x->layout != TS_LAYOUT_PLAIN)
        return ts_graph_fail(g, TS_ERR_SHAPE, "sum_leading", "x is %s, wanted plain reals of at least %d dimensions",
                             ts_shape_text(x).s, ndim < 1 ? 1 : ndim);
    const int64_t *tail = x->shape + (x->ndim - ndim);
    int64_t width = 1;
    for (int i = 0; i < ndim; i++) width *= tail[i];
    if (width == ts_count(x)) return ts_reshape(g, x, ndim, tail);
    ts_node *n = ts_node_new(g, &sum_leading_op, 1, &x, NULL, 0);
    return ts_node_output(n, TS_REAL, ndim, tail);
}

ts_tensor *ts_broadcast(ts_graph *g, ts_tensor *x, int ndim, const int64_t *shape, double scale)
{
    if (!x) return NULL;
    const broadcast_attr attr = {scale};
    ts_node *n = ts_node_new(g, &broadcast_op, 1, &x, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, ndim, shape);
}

ts_tensor *ts_repeat(ts_graph *g, ts_tensor *x, int64_t count)
{
    if (!x) return NULL;
    if (x->type != TS_REAL || x->layout != TS_LAYOUT_PLAIN || x->ndim >= TS_MAX_DIMS || count < 1)
        return ts_graph_fail(g, TS_ERR_SHAPE, "repeat",
                             "x is %s, %lld times, wanted plain reals with room for a dimension, 1 or more", ts_shape_text(x).s,
                             (long long)count);
    int64_t shape[TS_MAX_DIMS] = {count};
    for (int i = 0; i < x->ndim; i++) shape[1 + i] = x->shape[i];
    return count == 1 ? ts_reshape(g, x, x->ndim + 1, shape) : ts_broadcast(g, x, x->ndim + 1, shape, 1);
}
#endif
