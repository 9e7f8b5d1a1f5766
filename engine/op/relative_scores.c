/* relative_scores.c - what decomposed relative positions add to attention's scores (Li et al. 2022, arXiv 2112.01526, eq. 3): for
 * the query at place (y, x) and each head the height numbers q rel_h[y - y' + height - 1], then the width numbers
 * q rel_w[x - x' + width - 1]. The score of (y', x') is the sum of two of them, so that no matrix of all pairs is needed. The
 * gradient goes to q and to the tables: a table's row is summed over all places that use it, in their order, by one thread or
 * workgroup. */
#include "engine/internal.h"
#include "engine/op/attention.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

typedef struct {
    int64_t heads, dim, height, width;
} relative_attr;

/* ---- host ---- */

typedef struct {
    relative_attr a;
    const real *q, *rel_h, *rel_w;
    real *out, *scratch;
    int64_t batch, stride;
    int64_t slots, slot_count;
} relative_job;

TS_HOST_KERNEL(relative_scores);

/* All queries of one row of a map, or of one column, meet the same rows of a table. Such lines are the units of work: of each map
 * its rows, then its columns. */
typedef struct {
    const real *table;           /* of the query's own place; key i takes the row i further up */
    int64_t keys;                /* of the map: rows (columns) */
    int64_t places, step, first; /* in the line, in tokens from one to the next, and its first token */
    int64_t at;                  /* in a query's numbers */
} map_line;

static map_line line_of(const relative_job *j, int64_t unit)
{
    const relative_attr *a = &j->a;
    const int64_t lines = a->height + a->width, b = unit / lines;
    unit %= lines;
    const bool row = unit < a->height;
    const int64_t side = row ? a->height : a->width, at = row ? unit : unit - a->height;
    return (map_line){.table = (row ? j->rel_h : j->rel_w) + (at + side - 1) * a->dim,
                      .keys = side,
                      .places = row ? a->width : a->height,
                      .step = row ? 1 : a->width,
                      .first = b * a->height * a->width + (row ? at * a->width : at),
                      .at = row ? 0 : a->height};
}

/* Query n of a line: where its q and its numbers are. */
static inline void query_of(const relative_job *j, const map_line *l, int64_t n, const real **q, real **out)
{
    const relative_attr *a = &j->a;
    const int64_t head = n % a->heads, token = l->first + n / a->heads * l->step;
    *q = j->q + token * j->stride + head * a->dim;
    *out = j->out + (token * a->heads + head) * (a->height + a->width) + l->at;
}

#ifdef TS_YARDSTICK

static void relative_slots(void *ctx, int64_t begin, int64_t end)
{
    const relative_job *j = ctx;
    const relative_attr *a = &j->a;
    const int64_t units = j->batch * (a->height + a->width);
    for (int64_t unit = units * begin / j->slots; unit < units * end / j->slots; unit++) {
        const map_line l = line_of(j, unit);
        for (int64_t n = 0; n < a->heads * l.places; n++) {
            const real *q;
            real *out;
            query_of(j, &l, n, &q, &out);
            for (int64_t i = 0; i < l.keys; i++) {
                out[i] = 0;
                for (int64_t c = 0; c < a->dim; c++) out[i] += q[c] * l.table[c - i * a->dim];
            }
        }
    }
}

#else

enum { ROWS = TS_TILE_ROWS, COLS = TS_TILE_COLS };

/* Of one thread: the rows of a table that a line meets, in panels. */
static int64_t scratch_floats(const relative_attr *a)
{
    return attention_padded(a->height > a->width ? a->height : a->width) * a->dim;
}

TS_CLONES static void relative_slots(void *ctx, int64_t begin, int64_t end)
{
    const relative_job *j = ctx;
    const relative_attr *a = &j->a;
    const int64_t units = j->batch * (a->height + a->width);
    float *panels = j->scratch + begin * j->slot_count;
    for (int64_t unit = units * begin / j->slots; unit < units * end / j->slots; unit++) {
        const map_line l = line_of(j, unit);
        const int64_t queries = a->heads * l.places;
        attention_pack_rows(l.table, -a->dim, l.keys, a->dim, panels);
        for (int64_t n = 0; n < queries; n += ROWS) {
            const int64_t rows = queries - n < ROWS ? queries - n : ROWS;
            const float *q[ROWS];
            float *out[ROWS];
            for (int64_t r = 0; r < ROWS; r++) query_of(j, &l, n + (r < rows ? r : 0), &q[r], &out[r]);
            for (int64_t i = 0; i < l.keys; i += COLS) {
                ts_lanes acc[ROWS] = {0};
                ts_tile_add(acc, q, a->dim, panels + i * a->dim);
                const int64_t width = l.keys - i < COLS ? l.keys - i : COLS;
                for (int64_t r = 0; r < rows; r++) memcpy(out[r] + i, &acc[r], (size_t)width * sizeof(float));
            }
        }
    }
}
#endif

bool REAL(ts_host_relative_scores)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    relative_job job = {.a = *(const relative_attr *)n->attr,
                        .q = ts_host_ptr(h, n->in[0]),
                        .rel_h = ts_host_ptr(h, n->in[1]),
                        .rel_w = ts_host_ptr(h, n->in[2]),
                        .out = ts_host_ptr(h, n->out[0]),
                        .scratch = ts_host_scratch(h, n),
                        .batch = n->in[0]->shape[0],
                        .stride = n->in[0]->shape[2],
                        .slots = ts_host_threads(h)};
#ifndef TS_YARDSTICK
    job.slot_count = scratch_floats(&job.a);
#endif
    ts_parallel((int)job.slots, job.slots, 1, relative_slots, &job);
    return true;
}

/* ---- host: the gradients ---- */

typedef struct {
    relative_attr a;
    const real *q, *rel_h, *rel_w, *dy;
    real *dq, *drel_h, *drel_w;
    int64_t batch, stride;
} relative_grad_job;

/* out += the sum over i < count of dy[i] rows[-i dim] */
static inline __attribute__((always_inline)) void add_rows(const real *dy, const real *rows, int64_t count, int64_t dim,
                                                           real *out)
{
    for (int64_t i = 0; i < count; i++)
#pragma omp simd
        for (int64_t c = 0; c < dim; c++) out[c] += dy[i] * rows[c - i * dim];
}

/* Rows of dq, zeros in what follows q. */
TS_CLONES static void grad_q_rows(void *ctx, int64_t begin, int64_t end)
{
    const relative_grad_job *j = ctx;
    const relative_attr *a = &j->a;
    for (int64_t row = begin; row < end; row++) {
        const int64_t y = row / a->width % a->height, x = row % a->width;
        memset(j->dq + row * j->stride, 0, (size_t)j->stride * sizeof *j->dq);
        for (int64_t head = 0; head < a->heads; head++) {
            const real *dy = j->dy + (row * a->heads + head) * (a->height + a->width);
            real *dq = j->dq + row * j->stride + head * a->dim;
            add_rows(dy, j->rel_h + (y + a->height - 1) * a->dim, a->height, a->dim, dq);
            add_rows(dy + a->height, j->rel_w + (x + a->width - 1) * a->dim, a->width, a->dim, dq);
        }
    }
}

enum { AT_ONCE = 16 }; /* channels of a table's row */

/* line += dy q, over all places and heads of one line of the map that use the table's row; dy and q are of its first place. */
static inline __attribute__((always_inline)) void add_line(const relative_grad_job *j, int64_t places, int64_t step,
                                                           const real *q, const real *dy, int64_t width, real *line)
{
    const int64_t each = j->a.height + j->a.width;
    for (int64_t i = 0; i < places; i++)
        for (int64_t head = 0; head < j->a.heads; head++) {
            const real d = dy[(i * step * j->a.heads + head) * each], *from = q + i * step * j->stride + head * j->a.dim;
            for (int64_t c = 0; c < width; c++) line[c] += d * from[c];
        }
}

/* Rows of drel_h, then of drel_w. Sums are of lines' sums: one long sum in single precision would lose digits. */
TS_CLONES static void grad_table_rows(void *ctx, int64_t begin, int64_t end)
{
    const relative_grad_job *j = ctx;
    const relative_attr *a = &j->a;
    const int64_t each = a->height + a->width, of_rows = 2 * a->height - 1;
    for (int64_t row = begin; row < end; row++) {
        const bool rows = row < of_rows;
        const int64_t at = rows ? row : row - of_rows, side = rows ? a->height : a->width, places = rows ? a->width : a->height;
        const int64_t apart = rows ? a->width : 1, step = rows ? 1 : a->width; /* from line to line, from place to place */
        const int64_t shift = at - side + 1;                                   /* of the query's row or column to the key's */
        for (int64_t c = 0; c < a->dim; c += AT_ONCE) {
            const int64_t width = a->dim - c < AT_ONCE ? a->dim - c : AT_ONCE;
            real sum[AT_ONCE] = {0};
            for (int64_t b = 0; b < j->batch; b++)
                for (int64_t y = shift > 0 ? shift : 0; y < side && y - shift < side; y++) {
                    const int64_t token = b * a->height * a->width + y * apart;
                    const real *dy = j->dy + token * a->heads * each + (rows ? 0 : a->height) + y - shift;
                    real line[AT_ONCE] = {0};
                    if (width == AT_ONCE) add_line(j, places, step, j->q + token * j->stride + c, dy, AT_ONCE, line);
                    else add_line(j, places, step, j->q + token * j->stride + c, dy, width, line);
                    for (int64_t i = 0; i < AT_ONCE; i++) sum[i] += line[i];
                }
            memcpy((rows ? j->drel_h : j->drel_w) + at * a->dim + c, sum, (size_t)width * sizeof *sum);
        }
    }
}

/* in: rel_h, rel_w, dy; out: dqkv */
TS_HOST_KERNEL(relative_scores_grad_q);
bool REAL(ts_host_relative_scores_grad_q)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const relative_grad_job job = {.a = *(const relative_attr *)n->attr,
                                   .rel_h = ts_host_ptr(h, n->in[0]),
                                   .rel_w = ts_host_ptr(h, n->in[1]),
                                   .dy = ts_host_ptr(h, n->in[2]),
                                   .dq = ts_host_ptr(h, n->out[0]),
                                   .stride = n->out[0]->shape[2]};
    ts_parallel(ts_host_threads(h), ts_rows(n->out[0]), 8, grad_q_rows, (void *)&job);
    return true;
}

/* in: qkv, dy; out: drel_h, drel_w */
TS_HOST_KERNEL(relative_scores_grad_tables);
bool REAL(ts_host_relative_scores_grad_tables)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const relative_grad_job job = {.a = *(const relative_attr *)n->attr,
                                   .q = ts_host_ptr(h, n->in[0]),
                                   .dy = ts_host_ptr(h, n->in[1]),
                                   .drel_h = ts_host_ptr(h, n->out[0]),
                                   .drel_w = ts_host_ptr(h, n->out[1]),
                                   .batch = n->in[0]->shape[0],
                                   .stride = n->in[0]->shape[2]};
    ts_parallel(ts_host_threads(h), 2 * (job.a.height + job.a.width) - 2, 1, grad_table_rows, (void *)&job);
    return true;
}

#ifndef TS_YARDSTICK

static double relative_flops(const ts_node *n)
{
    const relative_attr *a = n->attr;
    return 2.0 * (double)ts_count(n->out[0]) * (double)a->dim;
}

static uint64_t relative_scratch(const ts_node *n, const ts_host *h)
{
    return (uint64_t)(scratch_floats(n->attr) * ts_host_threads(h)) * sizeof(float);
}

/* Of either gradient; dy is the last input. */
static double relative_grad_flops(const ts_node *n)
{
    const relative_attr *a = n->attr;
    return 2.0 * (double)ts_count(n->in[n->nin - 1]) * (double)a->dim;
}

/* ---- Vulkan: an invocation an element ---- */

/* At the end of each shader's push constants; dim and stride in units. */
typedef struct {
    uint32_t count, heads, dim, stride, height, width;
} push_sizes;

/* Whether q's rows, `stride` long, and the tables' are read in fours. */
static bool is_wide(const relative_attr *a, int64_t stride)
{
    return a->dim % 4 == 0 && stride % 4 == 0;
}

static push_sizes sizes_of(const relative_attr *a, int64_t count, int64_t stride)
{
    const int64_t unit = is_wide(a, stride) ? 4 : 1;
    return (push_sizes){(uint32_t)count,           (uint32_t)a->heads,  (uint32_t)(a->dim / unit),
                        (uint32_t)(stride / unit), (uint32_t)a->height, (uint32_t)a->width};
}

static bool relative_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const relative_attr *a = n->attr;
    const int64_t count = ts_count(n->out[0]), stride = n->in[0]->shape[2];
    const struct {
        uint64_t q, rel_h, rel_w, y;
        push_sizes sizes;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->out[0]), sizes_of(a, count, stride)};
    ts_vk_dispatch_desc desc = {
        .shader = "relative_scores", .push = &push, .push_bytes = sizeof push, .flops = relative_flops(n)};
    ts_vk_items(cmd, count, &desc);
    desc.spec[2] = is_wide(a, stride);
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* dy is kept in fp32: sums of gradients, which attention_grad makes. */
static bool check_wide(const ts_node *n, const ts_tensor *dy, const ts_vk_cmd *cmd, ts_error *err)
{
    if (!ts_vk_limits_of(cmd)->fp16 || ts_is_wide(dy)) return true;
    return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: the gradient %s is not kept in fp32", n->op->name, ts_shape_text(dy).s);
}

static bool grad_q_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const relative_attr *a = n->attr;
    const int64_t stride = n->out[0]->shape[2], count = ts_count(n->out[0]) / (is_wide(a, stride) ? 4 : 1);
    const struct {
        uint64_t rel_h, rel_w, dy, dq;
        push_sizes sizes;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->in[2]),
              ts_vk_address(cmd, n->out[0]), sizes_of(a, count, stride)};
    ts_vk_dispatch_desc desc = {
        .shader = "relative_scores_grad_q", .push = &push, .push_bytes = sizeof push, .flops = relative_grad_flops(n)};
    ts_vk_items(cmd, count, &desc);
    desc.spec[2] = is_wide(a, stride);
    desc.spec_count = 3;
    return check_wide(n, n->in[2], cmd, err) && ts_vk_dispatch(cmd, &desc, err);
}

static bool grad_tables_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const relative_attr *a = n->attr;
    const ts_tensor *qkv = n->in[0];
    const int64_t stride = qkv->shape[2], units = a->dim / (is_wide(a, stride) ? 4 : 1);
    const int64_t count = 2 * (a->height + a->width - 1) * units;
    const struct {
        uint64_t q, dy, drel_h, drel_w;
        push_sizes sizes;
        uint32_t batch;
    } push = {ts_vk_address(cmd, qkv),       ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]),
              ts_vk_address(cmd, n->out[1]), sizes_of(a, count, stride),   (uint32_t)qkv->shape[0]};
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    if (limits->cpu && ts_rows(qkv) * a->heads / limits->subgroup >= 65535) /* a loop ends there: shaders/common.glsl */
        return ts_fail(err, TS_ERR_UNSUPPORTED, "relative_scores_grad: sums over %s are too long for this driver",
                       ts_shape_text(qkv).s);
    ts_vk_dispatch_desc desc = {
        .shader = "relative_scores_grad_tables", .push = &push, .push_bytes = sizeof push, .flops = relative_grad_flops(n)};
    ts_vk_rows(cmd, count, &desc);
    desc.spec[2] = is_wide(a, stride);
    desc.spec_count = 3;
    return check_wide(n, n->in[1], cmd, err) && ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the ops ---- */

static const ts_op grad_q_op = {.name = "relative_scores_grad_q",
                                .wide = 1 << 2,
                                .flops = relative_grad_flops,
                                .host = ts_host_relative_scores_grad_q_f32,
                                .host_f64 = ts_host_relative_scores_grad_q_f64,
                                .vulkan = grad_q_vulkan};
static const ts_op grad_tables_op = {.name = "relative_scores_grad_tables",
                                     .wide = 1 << 1,
                                     .flops = relative_grad_flops,
                                     .host = ts_host_relative_scores_grad_tables_f32,
                                     .host_f64 = ts_host_relative_scores_grad_tables_f64,
                                     .vulkan = grad_tables_vulkan};

static void relative_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    ts_tensor *qkv = n->in[0], *rel_h = n->in[1], *rel_w = n->in[2];
    const relative_attr *a = n->attr;
    if (wanted[0]) {
        ts_node *d = ts_node_new(n->graph, &grad_q_op, 3, (ts_tensor *[]){rel_h, rel_w, dy[0]}, a, sizeof *a);
        dx[0] = ts_node_output(d, TS_REAL, 3, qkv->shape);
    }
    if (wanted[1] || wanted[2]) {
        ts_node *d = ts_node_new(n->graph, &grad_tables_op, 2, (ts_tensor *[]){qkv, dy[0]}, a, sizeof *a);
        dx[1] = ts_node_output(d, TS_REAL, 2, rel_h->shape);
        dx[2] = ts_node_output(d, TS_REAL, 2, rel_w->shape);
    }
}

static const ts_op relative_op = {.name = "relative_scores",
                                  .grad = relative_grad,
                                  .flops = relative_flops,
                                  .host = ts_host_relative_scores_f32,
                                  .host_f64 = ts_host_relative_scores_f64,
                                  .host_scratch = relative_scratch,
                                  .vulkan = relative_vulkan};

ts_tensor *ts_relative_scores(ts_graph *g, ts_tensor *qkv, ts_tensor *rel_h, ts_tensor *rel_w, int heads, int height, int width)
{
    if (!qkv || !rel_h || !rel_w) return NULL;
    const ts_tensor *tables[2] = {rel_h, rel_w};
    const int64_t rows[2] = {2 * (int64_t)height - 1, 2 * (int64_t)width - 1}, dim = rel_h->shape[rel_h->ndim - 1];
    for (int i = 0; i < 2; i++)
        if (tables[i]->type != TS_REAL || tables[i]->ndim != 2 || tables[i]->shape[0] != rows[i] || tables[i]->shape[1] != dim ||
            heads * dim > qkv->shape[2])
            return ts_graph_fail(g, TS_ERR_SHAPE, "attention",
                                 "a map of %d x %d wants tables of %lld and %lld rows, they are %s and %s", height, width,
                                 (long long)rows[0], (long long)rows[1], ts_shape_text(rel_h).s, ts_shape_text(rel_w).s);
    const relative_attr attr = {heads, dim, height, width};
    ts_node *n = ts_node_new(g, &relative_op, 3, (ts_tensor *[]){qkv, rel_h, rel_w}, &attr, sizeof attr);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){qkv->shape[0], qkv->shape[1], (int64_t)heads * (height + width)});
}
#endif
