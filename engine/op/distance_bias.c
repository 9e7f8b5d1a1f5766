/* distance_bias.c - what is added to the scores of attention among the places of a map by how far two of them are apart, a table
 * a head (Graham et al. 2021, LeViT, arXiv 2104.01136, section 4.4): (heads, height width) -> (heads, T, T), T = height width,
 *     y[h, (r, c), (r', c')] = table[h, |r - r'| width + |c - c'|]
 * It is made once for all windows of a picture. The gradient of a number of the table is the sum over all pairs so far apart. */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

typedef struct {
    int64_t heads, height, width;
} distance_attr;

/* ---- host ---- */

typedef struct {
    distance_attr a;
    const real *from;
    real *to;
} distance_job;

/* Rows of y: (head, place). */
static void bias_rows(void *ctx, int64_t begin, int64_t end)
{
    const distance_job *j = ctx;
    const int64_t height = j->a.height, width = j->a.width, places = height * width;
    for (int64_t row = begin; row < end; row++) {
        const int64_t r = row % places / width, c = row % width;
        const real *table = j->from + row / places * places;
        real *to = j->to + row * places;
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++) *to++ = table[(y > r ? y - r : r - y) * width + (x > c ? x - c : c - x)];
    }
}

/* The sum over all pairs of places of a head that are `down` and `across` apart, in any of the four directions. */
static real sum_pairs(const distance_job *j, int64_t head, int64_t down, int64_t across)
{
    const int64_t height = j->a.height, width = j->a.width, places = height * width;
    const real *dy = j->from + head * places * places;
    real sum = 0;
    for (int64_t r = 0; r + down < height; r++) {
        real of_row = 0;
        for (int64_t c = 0; c + across < width; c++) {
            const int64_t a = r * width + c, b = (r + down) * width + c + across; /* one diagonal of their rectangle */
            const int64_t d = r * width + c + across, e = (r + down) * width + c; /* the other */
            of_row += dy[a * places + b] + (a != b ? dy[b * places + a] : 0);
            if (down > 0 && across > 0) of_row += dy[d * places + e] + dy[e * places + d];
        }
        sum += of_row;
    }
    return sum;
}

/* Numbers of the table. */
static void table_numbers(void *ctx, int64_t begin, int64_t end)
{
    const distance_job *j = ctx;
    const int64_t places = j->a.height * j->a.width;
    for (int64_t i = begin; i < end; i++) j->to[i] = sum_pairs(j, i / places, i % places / j->a.width, i % j->a.width);
}

TS_HOST_KERNEL(distance_bias);
bool REAL(ts_host_distance_bias)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    distance_job job = {*(const distance_attr *)n->attr, ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), ts_rows(n->out[0]), 16, bias_rows, &job);
    return true;
}

TS_HOST_KERNEL(distance_bias_grad);
bool REAL(ts_host_distance_bias_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    distance_job job = {*(const distance_attr *)n->attr, ts_host_ptr(h, n->in[0]), ts_host_ptr(h, n->out[0])};
    ts_parallel(ts_host_threads(h), ts_count(n->out[0]), 1, table_numbers, &job);
    return true;
}

#ifndef TS_YARDSTICK
/* ---- Vulkan: an invocation an element of what is written ---- */

static bool dispatch(const ts_node *n, const char *shader, ts_vk_cmd *cmd, ts_error *err)
{
    const distance_attr *a = n->attr;
    const int64_t count = ts_count(n->out[0]);
    if (count > UINT32_MAX || ts_count(n->in[0]) > UINT32_MAX)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: %s is too large for one dispatch", n->op->name, ts_shape_text(n->out[0]).s);
    if (ts_vk_limits_of(cmd)->cpu && a->height * a->width >= 65535) /* a loop ends there: shaders/common.glsl */
        return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: sums over %s are too long for this driver", n->op->name,
                       ts_shape_text(n->in[0]).s);
    const struct {
        uint64_t from, to;
        uint32_t count, height, width;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->out[0]), (uint32_t)count, (uint32_t)a->height,
              (uint32_t)a->width};
    ts_vk_dispatch_desc desc = {.shader = shader, .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, count, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool distance_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "distance_bias", cmd, err);
}

static bool distance_grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return dispatch(n, "distance_bias_grad", cmd, err);
}

static const ts_op distance_grad_op = {.name = "distance_bias_grad",
                                       .host = ts_host_distance_bias_grad_f32,
                                       .host_f64 = ts_host_distance_bias_grad_f64,
                                       .vulkan = distance_grad_vulkan};

static void distance_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    (void)wanted;
    ts_node *grad = ts_node_new(n->graph, &distance_grad_op, 1, dy, n->attr, n->attr_size);
    dx[0] = ts_node_output(grad, TS_REAL, 2, n->in[0]->shape);
}

static const ts_op distance_op = {.name = "distance_bias",
                                  .grad = distance_grad,
                                  .host = ts_host_distance_bias_f32,
                                  .host_f64 = ts_host_distance_bias_f64,
                                  .vulkan = distance_vulkan};

ts_tensor *ts_distance_bias(ts_graph *g, ts_tensor *table, int height, int width)
{
    if (!table) return NULL;
    const int64_t places = (int64_t)height * width;
    if (table->type != TS_REAL || table->ndim != 2 || height < 1 || width < 1 || table->shape[1] != places ||
        places > INT32_MAX / places)
        return ts_graph_fail(g, TS_ERR_SHAPE, "distance_bias", "a map of %d x %d wants a table (heads, %lld), it is %s", height,
                             width, (long long)places, ts_shape_text(table).s);
    const distance_attr a = {table->shape[0], height, width};
    ts_node *n = ts_node_new(g, &distance_op, 1, &table, &a, sizeof a);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){a.heads, places, places});
}
#endif
