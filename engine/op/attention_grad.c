/* attention_grad.c - the gradient of attention. For a head with scores s = scale q k^T, p = softmax(s), y = p v:
 *     dv = p^T dy,   ds = p (dy v^T - rowsum(dy y)),   dq = scale ds k,   dk = scale ds^T q
 * (Dao et al. 2022, arXiv 2205.14135, appendix B.2). Where relative positions add to the scores, the gradient of what they add is
 * ds, summed over the keys of a row of the map and over those of a column; that of a bias is ds, summed over the batch. p is
 * computed again from q and k, so that no matrix of scores outlives its head. Every element of the result is summed by one thread
 * or workgroup, in order: no atomics, the same bits each time.
 *
 * The host takes a head at a time: for a block of query rows it makes p and ds, which give their rows of dq at once and are added
 * to dk and dv. A GPU cannot add like that without atomics, and makes the scores three times: for a block of query rows to get
 * their maximum and sum, for dq, and in a second dispatch, the other way round, for a block of keys; for a bias once more. */
#include "engine/op/attention.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

enum { ROWS = TS_TILE_ROWS, COLS = TS_TILE_COLS, BLOCK = 16 * ROWS }; /* at most so many query rows at a time */

typedef struct {
    attention_shape s;
    const real *q, *k, *v, *added, *y, *dy; /* added, dadded: NULL where there is none */
    real *dq, *dk, *dv, *dadded, *scratch;
    int64_t slots, slot_count;
} grad_job;

TS_HOST_KERNEL(attention_grad);

/* A unit of work is a head of an image; with a bias, which all images add to, a head of all of them, one after the other. */
static int64_t images_of_unit(const attention_shape *s)
{
    return s->biased ? s->batch : 1;
}

#ifdef TS_YARDSTICK

static void grad_row(const grad_job *j, int64_t b, int64_t head, int64_t t, real *p, real *ds)
{
    const attention_shape *s = &j->s;
    const int64_t q_at = (b * s->tq + t) * s->q_stride + head * s->dim, y_at = (b * s->tq + t) * s->channels + head * s->dim;
    const int64_t k_at = b * s->tk * s->k_stride + head * s->dim, keys = s->causal ? t + 1 : s->tk;
    const int64_t added_at = attention_added_at(s, b, head, t), numbers = s->biased ? s->tk : s->height + s->width;
    const real scale = 1 / real_sqrt((real)s->dim), *added = j->added ? j->added + added_at : NULL;
    real *dadded = j->added ? j->dadded + added_at : NULL;
    real top = -INFINITY, sum = 0, delta = 0;
    for (int64_t i = 0; added && !(s->biased && b > 0) && i < numbers; i++) dadded[i] = 0;
    for (int64_t i = 0; i < keys; i++) {
        p[i] = added ? attention_added(s, added, i) : 0;
        ds[i] = 0;
        for (int64_t c = 0; c < s->dim; c++) {
            p[i] += j->q[q_at + c] * j->k[k_at + i * s->k_stride + c] * scale;
            ds[i] += j->dy[y_at + c] * j->v[k_at + i * s->k_stride + c];
        }
        if (p[i] > top) top = p[i];
    }
    for (int64_t i = 0; i < keys; i++) sum += p[i] = real_exp(p[i] - top);
    for (int64_t c = 0; c < s->dim; c++) delta += j->dy[y_at + c] * j->y[y_at + c];
    for (int64_t c = 0; c < s->dim; c++) j->dq[q_at + c] = 0;
    for (int64_t i = 0; i < keys; i++) {
        p[i] /= sum;
        ds[i] = p[i] * (ds[i] - delta);
        if (s->biased) dadded[i] += ds[i];
        else if (added) dadded[i / s->width] += ds[i], dadded[s->height + i % s->width] += ds[i];
        ds[i] *= scale;
        for (int64_t c = 0; c < s->dim; c++) {
            j->dq[q_at + c] += ds[i] * j->k[k_at + i * s->k_stride + c];
            j->dk[k_at + i * s->k_stride + c] += ds[i] * j->q[q_at + c];
            j->dv[k_at + i * s->k_stride + c] += p[i] * j->dy[y_at + c];
        }
    }
}

static void grad_slots(void *ctx, int64_t begin, int64_t end)
{
    const grad_job *j = ctx;
    const attention_shape *s = &j->s;
    const int64_t images = images_of_unit(s), units = s->batch * s->heads / images;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t i = units * slot / j->slots * images; i < units * (slot + 1) / j->slots * images; i++) {
            const int64_t unit = i / images, b = unit / s->heads + i % images, head = unit % s->heads;
            for (int64_t key = 0; key < s->tk; key++)
                for (int64_t c = 0; c < s->dim; c++) {
                    const int64_t at = (b * s->tk + key) * s->k_stride + head * s->dim + c;
                    j->dk[at] = j->dv[at] = 0;
                }
            real *row = j->scratch + slot * 2 * s->tk;
            for (int64_t t = 0; t < s->tq; t++) grad_row(j, b, head, t, row, row + s->tk);
        }
}

#else

/* Floats of one row of p or ds: tiles of 16 keys when it is made, of 6 when it is used. */
static int64_t row_room(const attention_shape *s)
{
    return attention_padded(s->tk + ROWS - 1);
}

/* Floats of dk or dv while they are summed: panels of 16 columns, whole tiles of 6 rows. */
static int64_t sum_room(const attention_shape *s)
{
    return (s->tk + ROWS - 1) / ROWS * ROWS * attention_padded(s->dim);
}

/* What a thread works in. In all more than the two rows of doubles that the yardstick takes. */
typedef struct {
    float *k_rows, *v_rows, *k_cols; /* panels of the head */
    float *q_cols, *dy_cols;         /* panels of the block */
    float *p, *ds;                   /* (BLOCK, row_room), p with a little more at the end */
    float *columns;                  /* of attention_begin_scores */
    float *dk, *dv;                  /* sums, in panels */
} workspace;

static int64_t lay_out(const attention_shape *s, float *base, workspace *w)
{
    const struct {
        float **place;
        int64_t floats;
    } parts[] = {{&w->k_rows, attention_padded(s->tk) * s->dim},
                 {&w->v_rows, attention_padded(s->tk) * s->dim},
                 {&w->k_cols, s->tk * attention_padded(s->dim)},
                 {&w->q_cols, BLOCK * attention_padded(s->dim)},
                 {&w->dy_cols, BLOCK * attention_padded(s->dim)},
                 {&w->p, BLOCK * row_room(s) + COLS},
                 {&w->ds, BLOCK * row_room(s)},
                 {&w->columns, attention_begin_room(s)},
                 {&w->dk, sum_room(s)},
                 {&w->dv, sum_room(s)}};
    int64_t total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].place = base + total;
        total += parts[i].floats;
    }
    return total;
}

static int64_t scratch_floats(const attention_shape *s)
{
    workspace none;
    return lay_out(s, NULL, &none);
}

/* acc[r][c] += sum over i < k of a[i * stride + r] b[i][c]: a tile of a^T b, both rows read as they lie. */
static inline __attribute__((always_inline)) void add_transposed(ts_lanes acc[ROWS], const float *a, int64_t stride, int64_t k,
                                                                 const float *b)
{
    const float *const column[ROWS] = {a, a + 1, a + 2, a + 3, a + 4, a + 5};
    ts_tile_add_spread(acc, column, stride, k, b);
}

/* Up to 16 floats; a copy of known length is one instruction. */
static inline __attribute__((always_inline)) void store_lanes(float *to, const void *from, int64_t width)
{
    if (width >= COLS) memcpy(to, from, COLS * sizeof *to);
    else memcpy(to, from, (size_t)width * sizeof *to);
}

/* Rows of `from` times panels of `keys` rows -> rows of `out`, each `room` apart; with `add` to what they hold. */
static inline __attribute__((always_inline)) void product_tile(const float *const from[ROWS], int64_t dim, const float *panels,
                                                               int64_t keys, bool add, float *out, int64_t room)
{
    for (int64_t i = 0; i < keys; i += COLS) {
        ts_lanes acc[ROWS] = {0};
        for (int64_t r = 0; add && r < ROWS; r++) memcpy(&acc[r], out + r * room + i, sizeof acc[r]);
        ts_tile_add(acc, from, dim, panels + i * dim);
        for (int64_t r = 0; r < ROWS; r++) memcpy(out + r * room + i, &acc[r], sizeof acc[r]);
    }
}

/* p, which holds scores, becomes their softmax, and ds, which holds dy v^T, the gradient of the scores times `scale`; of a row of
 * `keys`, and zeros up to `room`. */
static inline __attribute__((always_inline)) void score_grad(float *p, float *ds, int64_t keys, int64_t room, float scale,
                                                             float delta)
{
    const float inverse = 1 / attention_soften(p, keys, room, scale);
#pragma omp simd
    for (int64_t i = 0; i < keys; i++) {
        p[i] *= inverse;
        ds[i] = p[i] * (ds[i] - delta) * scale;
    }
    for (int64_t i = keys; i < room; i++) ds[i] = 0;
}

/* ds of one query row, times `scale` -> the gradients of its relative positions, without it. */
static inline __attribute__((always_inline)) void sum_positions(const attention_shape *s, const float *ds, float scale,
                                                                float *out)
{
    const float inverse = 1 / scale;
    float *of_column = out + s->height;
    for (int64_t x = 0; x < s->width; x++) of_column[x] = 0;
    for (int64_t y = 0; y < s->height; y++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t x = 0; x < s->width; x++) {
            const float value = ds[y * s->width + x] * inverse;
            sum += value;
            of_column[x] += value;
        }
        out[y] = sum;
    }
}

/* The same for a bias: written by the first image, added to by the others. */
static inline __attribute__((always_inline)) void sum_bias(const attention_shape *s, const float *ds, float scale, bool first,
                                                           float *out)
{
    const float inverse = 1 / scale;
#pragma omp simd
    for (int64_t i = 0; i < s->tk; i++) out[i] = (first ? 0 : out[i]) + ds[i] * inverse;
}

/* Where the head of an image begins. `first`: it is the image whose gradient of the bias is written. */
typedef struct {
    const float *q, *added, *y, *dy;
    float *dq, *dadded;
    bool first;
} grad_head;

/* Up to 6 query rows of one head, from `t` of all and `at` of the block on: their p, ds and dq. */
static inline __attribute__((always_inline)) void grad_tile(const grad_job *j, const workspace *w, const grad_head *h, int64_t t,
                                                            int64_t at, int64_t rows)
{
    const attention_shape *s = &j->s;
    const int64_t keys = s->causal ? t + rows : s->tk, room = row_room(s);
    const float scale = 1 / sqrtf((float)s->dim);
    float *p = w->p + at * room, *ds = w->ds + at * room;
    const float *row[ROWS];
    for (int64_t r = 0; r < ROWS; r++) row[r] = h->q + (t + (r < rows ? r : 0)) * s->q_stride;
    for (int64_t r = 0; h->added && r < ROWS; r++)
        attention_begin_scores(s, h->added + attention_added_at(s, 0, 0, t + (r < rows ? r : 0)), scale, room, w->columns,
                               p + r * room);
    product_tile(row, s->dim, w->k_rows, keys, h->added != NULL, p, room);
    for (int64_t r = 0; r < ROWS; r++) row[r] = h->dy + (t + (r < rows ? r : 0)) * s->channels;
    product_tile(row, s->dim, w->v_rows, keys, false, ds, room);
    for (int64_t r = 0; r < rows; r++) {
        const float *y_row = h->y + (t + r) * s->channels, *dy_row = row[r];
        float delta = 0;
#pragma omp simd reduction(+ : delta)
        for (int64_t c = 0; c < s->dim; c++) delta += dy_row[c] * y_row[c];
        score_grad(p + r * room, ds + r * room, s->causal ? t + r + 1 : keys, room, scale, delta);
        float *dadded = h->added ? h->dadded + attention_added_at(s, 0, 0, t + r) : NULL;
        if (s->biased) sum_bias(s, ds + r * room, scale, h->first, dadded);
        else if (dadded) sum_positions(s, ds + r * room, scale, dadded);
    }
    for (int64_t r = 0; r < ROWS; r++) row[r] = ds + (r < rows ? r : 0) * room;
    for (int64_t c = 0; c < s->dim; c += COLS) {
        ts_lanes acc[ROWS] = {0};
        ts_tile_add(acc, row, keys, w->k_cols + c * s->tk);
        for (int64_t r = 0; r < rows; r++) store_lanes(h->dq + (t + r) * s->q_stride + c, &acc[r], s->dim - c);
    }
}

/* sums (keys, dim) += rows^T panels, over the query rows of a block. */
static inline __attribute__((always_inline)) void add_block(const attention_shape *s, const float *rows, int64_t count,
                                                            int64_t keys, const float *panels, float *sums)
{
    const int64_t room = row_room(s), height = (s->tk + ROWS - 1) / ROWS * ROWS;
    for (int64_t c = 0; c < s->dim; c += COLS)
        for (int64_t i = 0; i < keys; i += ROWS) {
            ts_lanes acc[ROWS];
            float *sum = sums + c * height + i * COLS;
            memcpy(acc, sum, sizeof acc);
            add_transposed(acc, rows + i, room, count, panels + c * count);
            memcpy(sum, acc, sizeof acc);
        }
}

static void store_sums(const attention_shape *s, const float *sums, float *out)
{
    const int64_t height = (s->tk + ROWS - 1) / ROWS * ROWS;
    for (int64_t c = 0; c < s->dim; c += COLS)
        for (int64_t i = 0; i < s->tk; i++) store_lanes(out + i * s->k_stride + c, sums + c * height + i * COLS, s->dim - c);
}

TS_CLONES static void grad_slots(void *ctx, int64_t begin, int64_t end)
{
    const grad_job *j = ctx;
    const attention_shape *s = &j->s;
    const int64_t images = images_of_unit(s), units = s->batch * s->heads / images;
    const int64_t blocks = (s->tq + BLOCK - 1) / BLOCK, even = (s->tq + blocks - 1) / blocks;
    const int64_t block = (even + ROWS - 1) / ROWS * ROWS; /* all about as long: a short last one would cost as much */
    for (int64_t slot = begin; slot < end; slot++) {
        workspace w;
        lay_out(s, j->scratch + slot * j->slot_count, &w);
        for (int64_t i = units * slot / j->slots * images; i < units * (slot + 1) / j->slots * images; i++) {
            const int64_t unit = i / images, b = unit / s->heads + i % images, channel = unit % s->heads * s->dim;
            const int64_t q_at = b * s->tq * s->q_stride + channel, k_at = b * s->tk * s->k_stride + channel;
            const int64_t y_at = b * s->tq * s->channels + channel, at = attention_added_at(s, b, unit % s->heads, 0);
            const grad_head h = {.q = j->q + q_at,
                                 .added = j->added ? j->added + at : NULL,
                                 .y = j->y + y_at,
                                 .dy = j->dy + y_at,
                                 .dq = j->dq + q_at,
                                 .dadded = j->added ? j->dadded + at : NULL,
                                 .first = b == 0};
            attention_pack_rows(j->k + k_at, s->k_stride, s->tk, s->dim, w.k_rows);
            attention_pack_rows(j->v + k_at, s->k_stride, s->tk, s->dim, w.v_rows);
            attention_pack_columns(j->k + k_at, s->k_stride, s->tk, s->dim, w.k_cols);
            memset(w.dk, 0, (size_t)sum_room(s) * sizeof *w.dk);
            memset(w.dv, 0, (size_t)sum_room(s) * sizeof *w.dv);
            for (int64_t first = 0; first < s->tq; first += block) {
                const int64_t rows = s->tq - first < block ? s->tq - first : block;
                const int64_t keys = s->causal ? first + rows : s->tk;
                for (int64_t t = 0; t < rows; t += ROWS) grad_tile(j, &w, &h, first + t, t, rows - t < ROWS ? rows - t : ROWS);
                attention_pack_columns(j->q + q_at + first * s->q_stride, s->q_stride, rows, s->dim, w.q_cols);
                attention_pack_columns(j->dy + y_at + first * s->channels, s->channels, rows, s->dim, w.dy_cols);
                add_block(s, w.p, rows, keys, w.dy_cols, w.dv);
                add_block(s, w.ds, rows, keys, w.q_cols, w.dk);
            }
            store_sums(s, w.dk, j->dk + k_at);
            store_sums(s, w.dv, j->dv + k_at);
        }
    }
}
#endif

/* in: q, k, v (or the three packed), what is added to the scores where there is such, y, dy; out: dq, dk, dv (or the three
 * packed), the gradient of what is added. */
bool REAL(ts_host_attention_grad)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const attention_attr *attr = n->attr;
    const int last = attr->packed ? 0 : 2;
    grad_job job = {.s = attention_shape_of(n), .scratch = ts_host_scratch(h, n), .slots = ts_host_threads(h)};
    job.q = ts_host_ptr(h, n->in[0]);
    job.k = (const real *)ts_host_ptr(h, n->in[attr->packed ? 0 : 1]) + job.s.k_offset;
    job.v = (const real *)ts_host_ptr(h, n->in[last]) + job.s.v_offset;
    if (attention_adds(attr)) {
        job.added = ts_host_ptr(h, n->in[last + 1]);
        job.dadded = ts_host_ptr(h, n->out[last + 1]);
    }
    job.y = ts_host_ptr(h, n->in[n->nin - 2]);
    job.dy = ts_host_ptr(h, n->in[n->nin - 1]);
    job.dq = ts_host_ptr(h, n->out[0]);
    job.dk = (real *)ts_host_ptr(h, n->out[attr->packed ? 0 : 1]) + job.s.k_offset;
    job.dv = (real *)ts_host_ptr(h, n->out[last]) + job.s.v_offset;
#ifndef TS_YARDSTICK
    job.slot_count = scratch_floats(&job.s);
#endif
    ts_parallel((int)job.slots, job.slots, 1, grad_slots, &job);
    return true;
}

#ifndef TS_YARDSTICK

static uint64_t grad_scratch(const ts_node *n, const ts_host *h)
{
    const attention_shape s = attention_shape_of(n);
    return (uint64_t)(scratch_floats(&s) * ts_host_threads(h)) * sizeof(float);
}

static double grad_flops(const ts_node *n)
{
    const attention_shape s = attention_shape_of(n);
    return 10.0 * (double)(s.batch * s.tq) * (double)s.tk * (double)s.channels * (s.causal ? 0.5 : 1.0);
}

/* ---- Vulkan: attention_grad_q, which also leaves each row's log-sum-exp and rowsum(dy y) in the scratch, then
 * attention_grad_kv; the same with _cpu on a driver that runs on the CPU ---- */

static uint64_t grad_vulkan_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)limits;
    const attention_shape s = attention_shape_of(n);
    return (uint64_t)(s.batch * s.heads * s.tq) * 2 * sizeof(float);
}

/* The gradient of the bias, an invocation an element, once attention_grad_q has left the scratch. */
static bool bias_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const attention_shape s = attention_shape_of(n);
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const uint64_t real_bytes = limits->fp16 ? 2 : 4, qkv = ts_vk_address(cmd, n->in[0]);
    const bool wide = s.dim % 4 == 0; /* and so is the stride */
    const int64_t unit = wide ? 4 : 1;
    if (limits->cpu && s.batch * (1 + s.dim / unit) >= 65535) /* a loop ends there: shaders/common.glsl */
        return ts_fail(err, TS_ERR_UNSUPPORTED, "attention_grad: sums over %s are too long for this driver",
                       ts_shape_text(n->in[0]).s);
    const struct {
        uint64_t q, k, v, bias, dy, stats, dbias;
        uint32_t count, batch, tokens, heads, dim, stride;
    } push = {qkv,
              qkv + (uint64_t)s.k_offset * real_bytes,
              qkv + (uint64_t)s.v_offset * real_bytes,
              ts_vk_address(cmd, n->in[1]),
              ts_vk_address(cmd, n->in[3]),
              ts_vk_address(cmd, n->scratch),
              ts_vk_address(cmd, n->out[1]),
              (uint32_t)ts_count(n->out[1]),
              (uint32_t)s.batch,
              (uint32_t)s.tq,
              (uint32_t)s.heads,
              (uint32_t)(s.dim / unit),
              (uint32_t)(s.q_stride / unit)};
    ts_vk_dispatch_desc desc = {
        .shader = "attention_grad_bias", .push = &push, .push_bytes = sizeof push, .flops = 0.4 * grad_flops(n)};
    ts_vk_items(cmd, push.count, &desc);
    desc.spec[2] = wide;
    desc.spec_count = 3;
    return ts_vk_dispatch(cmd, &desc, err);
}

static bool grad_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const attention_attr *attr = n->attr;
    const attention_shape s = attention_shape_of(n);
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const uint64_t real_bytes = limits->fp16 ? 2 : 4, k_bytes = (uint64_t)s.k_offset * real_bytes;
    const uint64_t v_bytes = (uint64_t)s.v_offset * real_bytes;
    const int second = attr->packed ? 0 : 1, last = attr->packed ? 0 : 2;
    int64_t rows = 32,
            dims = 64; /* of a workgroup: rows, and dimensions of the output; attention_grad_gpu.glsl's ROWS and DIMS */
    uint32_t depth = 1;
    if (limits->cpu) {
        rows = limits->subgroup < 8 ? limits->subgroup : 8;
        depth = s.dim > 4 * (int64_t)limits->subgroup ? 2 : 1;
        dims = 4 * (int64_t)limits->subgroup * depth;
    }
    const bool adds = attention_adds(attr);
    if (adds && ts_count(n->in[last + 1]) > UINT32_MAX)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "attention_grad: %s is too large for one dispatch",
                       ts_shape_text(n->in[last + 1]).s);
    struct {
        uint64_t q, k, v, added, y, dy, dq, dk, dv, drelative, stats;
        uint32_t tq, tk, heads, dim, stride, blocks, parts, total, causal, map_width;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[second]) + k_bytes,
              ts_vk_address(cmd, n->in[last]) + v_bytes,
              ts_vk_address(cmd, adds ? n->in[last + 1] : NULL),
              ts_vk_address(cmd, n->in[n->nin - 2]),
              ts_vk_address(cmd, n->in[n->nin - 1]),
              ts_vk_address(cmd, n->out[0]),
              ts_vk_address(cmd, n->out[second]) + k_bytes,
              ts_vk_address(cmd, n->out[last]) + v_bytes,
              ts_vk_address(cmd, s.height > 0 ? n->out[last + 1] : NULL),
              ts_vk_address(cmd, n->scratch),
              (uint32_t)s.tq,
              (uint32_t)s.tk,
              (uint32_t)s.heads,
              (uint32_t)s.dim,
              (uint32_t)s.q_stride, /* k's too: they have as many channels */
              0,
              (uint32_t)((s.dim + dims - 1) / dims),
              0,
              s.causal,
              (uint32_t)s.width};
    for (int pass = 0; pass < 2; pass++) {
        const int64_t blocks = ((pass == 0 ? s.tq : s.tk) + rows - 1) / rows, total = s.batch * s.heads * blocks * push.parts;
        if (total > UINT32_MAX)
            return ts_fail(err, TS_ERR_UNSUPPORTED, "attention_grad: %s is too large for one dispatch",
                           ts_shape_text(n->in[0]).s);
        push.blocks = (uint32_t)blocks;
        push.total = (uint32_t)total;
        ts_vk_dispatch_desc desc = {.push = &push, .push_bytes = sizeof push, .flops = 0.8 * grad_flops(n)};
        ts_vk_rows(cmd, total, &desc); /* for the groups; the constants are our own */
        if (limits->cpu) desc.shader = pass == 0 ? "attention_grad_q_cpu" : "attention_grad_kv_cpu";
        else desc.shader = pass == 0 ? "attention_grad_q" : "attention_grad_kv";
        desc.spec_count = 6; /* a GPU's shaders have the last two alone */
        desc.spec[0] = limits->subgroup;
        desc.spec[1] = (uint32_t)rows;
        desc.spec[2] = depth;
        desc.spec[3] = s.dim % 4 == 0;
        desc.spec[4] = s.height > 0;
        desc.spec[5] = s.biased;
        if (!ts_vk_dispatch(cmd, &desc, err)) return false;
        if (pass == 0) ts_vk_barrier(cmd);
    }
    return !s.biased || attr->frozen || bias_vulkan(n, cmd, err);
}

/* ---- the op ---- */

static const ts_op attention_grad_op = {.name = "attention_grad",
                                        .flops = grad_flops,
                                        .host = ts_host_attention_grad_f32,
                                        .host_f64 = ts_host_attention_grad_f64,
                                        .host_scratch = grad_scratch,
                                        .vulkan = grad_vulkan,
                                        .vulkan_scratch = grad_vulkan_scratch};

void ts_attention_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx)
{
    attention_attr attr = *(const attention_attr *)n->attr;
    attr.frozen = attr.biased && !wanted[n->nin - 1]; /* the others share their work: those not wanted cost little */
    ts_tensor *in[5];
    for (int i = 0; i < n->nin; i++) in[i] = n->in[i];
    in[n->nin] = n->out[0];
    in[n->nin + 1] = dy[0];
    ts_node *d = ts_node_new(n->graph, &attention_grad_op, n->nin + 2, in, &attr, sizeof attr);
    for (int i = 0; i < n->nin; i++) dx[i] = ts_node_output(d, TS_REAL, 3, n->in[i]->shape);
    if (attr.height > 0 && dx[n->nin - 1]) dx[n->nin - 1]->state->wide = true; /* sums, added to where they lie */
}
#endif
