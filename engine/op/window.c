/* window.c - maps cut into square windows and put back (Li et al. 2022, arXiv 2203.16527, section 3: attention inside windows):
 *     cut:   (N, H, W, C) -> (N nh nw, s, s, C), nh = ceil(H / s), nw = ceil(W / s), windows row by row, zeros beyond the map
 *     paste: the way back, what lies beyond the map left out
 * Each is the other's gradient: a place beyond the map gives nothing and gets nothing. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

typedef struct {
    int64_t batch, height, width, channels; /* of the map */
    int64_t size, down, across;             /* a window's side; windows of one map */
} window_attr;

/* ---- host ---- */

typedef struct {
    const window_attr *a;
    const real *x;
    real *y;
} window_job;

/* Where row `row` of all windows' rows lies in the map: its first place, and how many places of it there are. */
static int64_t line_in_map(const window_attr *a, int64_t row, int64_t *count)
{
    const int64_t window = row / a->size, n = window / (a->down * a->across), at = window % (a->down * a->across);
    const int64_t y = at / a->across * a->size + row % a->size, x = at % a->across * a->size;
    *count = y >= a->height ? 0 : (a->width - x < a->size ? a->width - x : a->size);
    return (n * a->height + y) * a->width + x;
}

static void cut_rows(void *ctx, int64_t begin, int64_t end)
{
    const window_job *j = ctx;
    const window_attr *a = j->a;
    for (int64_t row = begin; row < end; row++) {
        int64_t count;
        const int64_t from = line_in_map(a, row, &count), whole = a->size * a->channels;
        real *y = j->y + row * whole;
        if (count > 0) memcpy(y, j->x + from * a->channels, (size_t)(count * a->channels) * sizeof *y);
        memset(y + count * a->channels, 0, (size_t)(whole - count * a->channels) * sizeof *y);
    }
}

static void paste_rows(void *ctx, int64_t begin, int64_t end)
{
    const window_job *j = ctx;
    const window_attr *a = j->a;
    for (int64_t row = begin; row < end; row++) {
        int64_t count;
        const int64_t to = line_in_map(a, row, &count);
        if (count > 0)
            memcpy(j->y + to * a->channels, j->x + row * a->size * a->channels, (size_t)(count * a->channels) * sizeof(real));
    }
}

static bool run(const ts_node *n, ts_host *h, ts_range_fn rows)
{
    const window_attr *a = n->attr;
    window_job job = {a, ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), a->batch * a->down * a->across * a->size, 16, rows, &job);
    return true;
}

TS_HOST_KERNEL(window_cut);
bool REAL(ts_host_window_cut)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return run(n, h, cut_rows);
}

TS_HOST_KERNEL(window_paste);
bool REAL(ts_host_window_paste)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    return run(n, h, paste_rows);
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation a unit of one or four channels of what is written ---- */

static bool dispatch(const ts_node *n, bool paste, ts_vk_cmd *cmd, ts_error *err)
{
    const window_attr *a = n->attr;
    const bool wide = a->channels % 4 == 0;
    const int64_t count = ts_count(n->out[0]) / (wide ? 4 : 1);
    const struct {
        uint64_t x, y;
        uint32_t count, height, width, channels, size, down, across;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)count,
              (uint32_t)a->height,
              (uint32_t)a->width,
              (uint32_t)(a->channels / (wide ? 4 : 1)),
              (uint32_t)a->size,
              (uint32_t)a->down,
              (uint32_t)a->across};
    ts_vk_dispatch_desc desc = {.shader = "window", .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    desc.spec[1] = paste;
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool cut_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, false, cmd, err);
}

static bool paste_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, true, cmd, err);
}

static void cut_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    const window_attr *a = n->attr;
    dx[0] = ts_window_paste(n->graph, dy[0], a->height, a->width);
}

static void paste_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    dx[0] = ts_window_cut(n->graph, dy[0], ((const window_attr *)n->attr)->size);
}

static const ts_op cut_op = {.name = "window_cut",
                             .grad = cut_grad,
                             .host = ts_host_window_cut_f32,
                             .host_f64 = ts_host_window_cut_f64,
                             .vulkan = cut_vulkan};
static const ts_op paste_op = {.name = "window_paste",
                               .grad = paste_grad,
                               .host = ts_host_window_paste_f32,
                               .host_f64 = ts_host_window_paste_f64,
                               .vulkan = paste_vulkan};

ts_tensor *ts_window_cut(ts_graph *g, ts_tensor *x, int64_t size)
{
    if (!x) return NULL;
    if (x->ndim != 4 || x->type != TS_REAL || size < 1)
        return ts_graph_fail(g, TS_ERR_SHAPE, "window_cut",
                             "x is %s and the window %lld, wanted (N, H, W, C) of reals and 1 or more", ts_shape_text(x).s,
                             (long long)size);
    const int64_t *s = x->shape;
    const window_attr a = {s[0], s[1], s[2], s[3], size, (s[1] + size - 1) / size, (s[2] + size - 1) / size};
    ts_node *n = ts_node_new(g, &cut_op, 1, &x, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){a.batch * a.down * a.across, size, size, a.channels});
}

ts_tensor *ts_window_paste(ts_graph *g, ts_tensor *x, int64_t height, int64_t width)
{
    if (!x) return NULL;
    const int64_t *s = x->shape, size = x->ndim == 4 ? s[1] : 0;
    const int64_t down = size > 0 ? (height + size - 1) / size : 0, across = size > 0 ? (width + size - 1) / size : 0;
    if (size < 1 || s[2] != size || x->type != TS_REAL || height < 1 || width < 1 || s[0] % (down * across) != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "window_paste",
                             "x is %s, wanted (N windows, S, S, C) of reals that cover %lld x %lld", ts_shape_text(x).s,
                             (long long)height, (long long)width);
    const window_attr a = {s[0] / (down * across), height, width, s[3], size, down, across};
    ts_node *n = ts_node_new(g, &paste_op, 1, &x, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 4, (int64_t[]){a.batch, height, width, a.channels});
}
#endif
