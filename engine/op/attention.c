/* attention.c - softmax(q k^T / sqrt(d)) v for each head of d = C / heads channels (Vaswani et al. 2017, arXiv 1706.03762, eq.
 * 1). The matrix of scores is never stored: the host keeps those of a few query rows, a GPU a running maximum and sum (Milakov
 * and Gimelshein 2018, arXiv 1805.02867). q, k, v are read where they lie, also packed in one tensor. To the scores may be added
 * what relative positions make of q (relative_scores.c), or a bias that all of the batch share. */
#include "engine/op/attention.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

/* ---- host ---- */

enum { ROWS = TS_TILE_ROWS, COLS = TS_TILE_COLS, BLOCK = 4 * ROWS }; /* query rows of a unit of work */

typedef struct {
    attention_shape s;
    const real *q, *k, *v, *added; /* the last NULL: none */
    real *out, *scratch;
    int64_t slots, slot_count;
} attention_job;

TS_HOST_KERNEL(attention);

#ifdef TS_YARDSTICK

static void attend(const attention_job *j, int64_t b, int64_t head, int64_t t, real *score)
{
    const attention_shape *s = &j->s;
    const real *q = j->q + (b * s->tq + t) * s->q_stride + head * s->dim;
    const real *k = j->k + b * s->tk * s->k_stride + head * s->dim, *v = j->v + b * s->tk * s->k_stride + head * s->dim;
    const real *added = j->added ? j->added + attention_added_at(s, b, head, t) : NULL;
    real *out = j->out + (b * s->tq + t) * s->channels + head * s->dim;
    const int64_t keys = s->causal ? t + 1 : s->tk;
    real top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < keys; i++) {
        score[i] = 0;
        for (int64_t c = 0; c < s->dim; c++) score[i] += q[c] * k[i * s->k_stride + c];
        score[i] /= real_sqrt((real)s->dim);
        if (added) score[i] += attention_added(s, added, i);
        if (score[i] > top) top = score[i];
    }
    for (int64_t i = 0; i < keys; i++) sum += score[i] = real_exp(score[i] - top);
    for (int64_t c = 0; c < s->dim; c++) {
        out[c] = 0;
        for (int64_t i = 0; i < keys; i++) out[c] += score[i] / sum * v[i * s->k_stride + c];
    }
}

static void attention_slots(void *ctx, int64_t begin, int64_t end)
{
    const attention_job *j = ctx;
    const attention_shape *s = &j->s;
    const int64_t units = s->batch * s->heads * s->tq;
    for (int64_t slot = begin; slot < end; slot++)
        for (int64_t unit = units * slot / j->slots; unit < units * (slot + 1) / j->slots; unit++)
            attend(j, unit / (s->heads * s->tq), unit / s->tq % s->heads, unit % s->tq, j->scratch + slot * s->tk);
}

#else

/* Of one thread: a head's k and v in panels, the scores of a tile of query rows, and what their beginning takes. The plain loops
 * in double precision need only a row of scores, which is less. */
static int64_t scratch_floats(const attention_shape *s)
{
    return attention_padded(s->tk) * s->dim + s->tk * attention_padded(s->dim) + ROWS * attention_padded(s->tk) + COLS +
           attention_begin_room(s);
}

/* Up to 6 query rows from t on, of one head. `added`: to the scores of query 0, or NULL. */
static inline __attribute__((always_inline)) void attend_tile(const attention_shape *s, const float *q, int64_t t, int64_t rows,
                                                              const float *k_panels, const float *v_panels, const float *added,
                                                              float *score, float *out)
{
    const int64_t keys = s->causal ? t + rows : s->tk, room = attention_padded(s->tk);
    const float scale = 1 / sqrtf((float)s->dim);
    const float *row[ROWS];
    float inverse[ROWS] = {0};
    for (int64_t r = 0; r < ROWS; r++) row[r] = q + (t + (r < rows ? r : 0)) * s->q_stride;
    for (int64_t r = 0; added && r < ROWS; r++)
        attention_begin_scores(s, added + attention_added_at(s, 0, 0, t + (r < rows ? r : 0)), scale, room,
                               score + ROWS * room + COLS, score + r * room);
    for (int64_t i = 0; i < keys; i += COLS) {
        ts_lanes acc[ROWS] = {0};
        for (int64_t r = 0; added && r < ROWS; r++) memcpy(&acc[r], score + r * room + i, sizeof acc[r]);
        ts_tile_add(acc, row, s->dim, k_panels + i * s->dim);
        for (int64_t r = 0; r < ROWS; r++) memcpy(score + r * room + i, &acc[r], sizeof acc[r]);
    }
    for (int64_t r = 0; r < ROWS; r++) {
        row[r] = score + r * room;
        if (r < rows) inverse[r] = 1 / attention_soften(score + r * room, s->causal ? t + r + 1 : keys, keys, scale);
    }
    for (int64_t c = 0; c < s->dim; c += COLS) {
        ts_lanes acc[ROWS] = {0};
        ts_tile_add(acc, row, keys, v_panels + c * s->tk);
        const int64_t width = s->dim - c < COLS ? s->dim - c : COLS;
        for (int64_t r = 0; r < rows; r++) {
            const ts_lanes y = acc[r] * inverse[r];
            memcpy(out + (t + r) * s->channels + c, &y, (size_t)width * sizeof *out);
        }
    }
}

/* Units of work are blocks of query rows, in order of (image, head), so that a thread packs a head's k and v once. */
TS_CLONES static void attention_slots(void *ctx, int64_t begin, int64_t end)
{
    const attention_job *j = ctx;
    const attention_shape *s = &j->s;
    const int64_t blocks = (s->tq + BLOCK - 1) / BLOCK, units = s->batch * s->heads * blocks;
    for (int64_t slot = begin; slot < end; slot++) {
        float *k_panels = j->scratch + slot * j->slot_count, *v_panels = k_panels + attention_padded(s->tk) * s->dim;
        float *score = v_panels + s->tk * attention_padded(s->dim);
        int64_t packed = -1;
        for (int64_t unit = units * slot / j->slots; unit < units * (slot + 1) / j->slots; unit++) {
            const int64_t item = unit / blocks, b = item / s->heads, channel = item % s->heads * s->dim;
            if (item != packed) {
                attention_pack_rows(j->k + b * s->tk * s->k_stride + channel, s->k_stride, s->tk, s->dim, k_panels);
                attention_pack_columns(j->v + b * s->tk * s->k_stride + channel, s->k_stride, s->tk, s->dim, v_panels);
                packed = item;
            }
            const float *q = j->q + b * s->tq * s->q_stride + channel;
            const float *added = j->added ? j->added + attention_added_at(s, b, item % s->heads, 0) : NULL;
            float *out = j->out + b * s->tq * s->channels + channel;
            const int64_t first = unit % blocks * BLOCK, last = first + BLOCK < s->tq ? first + BLOCK : s->tq;
            for (int64_t t = first; t < last; t += ROWS)
                attend_tile(s, q, t, last - t < ROWS ? last - t : ROWS, k_panels, v_panels, added, score, out);
        }
    }
}
#endif

bool REAL(ts_host_attention)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const attention_attr *attr = n->attr;
    attention_job job = {.s = attention_shape_of(n), .out = ts_host_ptr(h, n->out[0]), .scratch = ts_host_scratch(h, n)};
    job.q = ts_host_ptr(h, n->in[0]);
    job.k = (const real *)ts_host_ptr(h, n->in[attr->packed ? 0 : 1]) + job.s.k_offset;
    job.v = (const real *)ts_host_ptr(h, n->in[attr->packed ? 0 : 2]) + job.s.v_offset;
    if (attention_adds(attr)) job.added = ts_host_ptr(h, n->in[n->nin - 1]);
    job.slots = ts_host_threads(h);
#ifndef TS_YARDSTICK
    job.slot_count = scratch_floats(&job.s);
#endif
    ts_parallel((int)job.slots, job.slots, 1, attention_slots, &job);
    return true;
}

#ifndef TS_YARDSTICK

static uint64_t attention_scratch(const ts_node *n, const ts_host *h)
{
    const attention_shape s = attention_shape_of(n);
    return (uint64_t)(scratch_floats(&s) * ts_host_threads(h)) * sizeof(float);
}

static double attention_flops(const ts_node *n)
{
    const attention_shape s = attention_shape_of(n);
    return 4.0 * (double)(s.batch * s.tq) * (double)s.tk * (double)s.channels * (s.causal ? 0.5 : 1.0);
}

/* ---- Vulkan: shaders/attention.comp on GPUs, attention_cpu.comp on a driver that runs on the CPU ---- */

static bool attention_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const attention_attr *attr = n->attr;
    const attention_shape s = attention_shape_of(n);
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const uint64_t real_bytes = limits->fp16 ? 2 : 4;
    ts_vk_dispatch_desc desc = {.flops = attention_flops(n)};
    int64_t rows = 32, dims = 64; /* of a workgroup: query rows, dimensions of the output; ROWS and DIMS of attention.comp */
    uint32_t depth = 1;
    if (limits->cpu) {
        const int64_t dims_at_once = 4 * (int64_t)limits->subgroup;
        const int64_t all = (s.dim + dims_at_once - 1) / dims_at_once;
        rows = limits->subgroup < 16 ? 2 * limits->subgroup : limits->subgroup;
        depth = all < 4 ? (uint32_t)all : 4;
        dims = depth * dims_at_once;
    }
    const int64_t blocks = (s.tq + rows - 1) / rows, parts = (s.dim + dims - 1) / dims;
    const int64_t total = s.batch * s.heads * blocks * parts;
    const ts_tensor *added = attention_adds(attr) ? n->in[n->nin - 1] : NULL;
    if (total > UINT32_MAX || (added && ts_count(added) > UINT32_MAX) || s.batch * s.tq * s.q_stride > UINT32_MAX ||
        s.batch * s.tk * s.k_stride > UINT32_MAX)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "attention: %s is too large for one dispatch", ts_shape_text(n->in[0]).s);
    const struct {
        uint64_t q, k, v, added, y;
        uint32_t tq, tk, heads, dim, q_stride, k_stride, map_height, map_width, blocks, parts, total, causal;
        float scale;
    } push = {ts_vk_address(cmd, n->in[0]),
              ts_vk_address(cmd, n->in[attr->packed ? 0 : 1]) + (uint64_t)s.k_offset * real_bytes,
              ts_vk_address(cmd, n->in[attr->packed ? 0 : 2]) + (uint64_t)s.v_offset * real_bytes,
              ts_vk_address(cmd, added),
              ts_vk_address(cmd, n->out[0]),
              (uint32_t)s.tq,
              (uint32_t)s.tk,
              (uint32_t)s.heads,
              (uint32_t)s.dim,
              (uint32_t)s.q_stride,
              (uint32_t)s.k_stride,
              (uint32_t)s.height,
              (uint32_t)s.width,
              (uint32_t)blocks,
              (uint32_t)parts,
              (uint32_t)total,
              s.causal,
              1 / sqrtf((float)s.dim)};
    desc.push = &push;
    desc.push_bytes = sizeof push;
    ts_vk_rows(cmd, total, &desc); /* for the groups; the constants are our own */
    desc.shader = limits->cpu ? "attention_cpu" : "attention";
    desc.spec_count = 6; /* a GPU's shader has the last two alone */
    desc.spec[0] = limits->subgroup;
    desc.spec[1] = (uint32_t)rows;
    desc.spec[2] = depth;
    desc.spec[3] = s.dim % 4 == 0;
    desc.spec[4] = s.height > 0;
    desc.spec[5] = s.biased;
    return ts_vk_dispatch(cmd, &desc, err);
}

/* ---- the op ---- */

static const ts_op attention_op = {.name = "attention",
                                   .grad = ts_attention_grad,
                                   .flops = attention_flops,
                                   .host = ts_host_attention_f32,
                                   .host_f64 = ts_host_attention_f64,
                                   .host_scratch = attention_scratch,
                                   .vulkan = attention_vulkan};

static ts_tensor *add_node(ts_graph *g, int nin, ts_tensor *const *in, int64_t channels, const attention_attr *attr)
{
    ts_node *n = ts_node_new(g, &attention_op, nin, in, attr, sizeof *attr);
    return ts_node_output(n, TS_REAL, 3, (int64_t[]){in[0]->shape[0], in[0]->shape[1], channels});
}

ts_tensor *ts_attention(ts_graph *g, ts_tensor *q, ts_tensor *k, ts_tensor *v, int heads, bool causal)
{
    if (!q || !k || !v) return NULL;
    if (q->type != TS_REAL || k->type != TS_REAL || v->type != TS_REAL || q->ndim != 3 || k->ndim != 3 || !ts_same_shape(k, v) ||
        k->shape[0] != q->shape[0] || k->shape[2] != q->shape[2])
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "wants q (B, Tq, C) and k, v (B, Tk, C), they are %s, %s and %s",
                             ts_shape_text(q).s, ts_shape_text(k).s, ts_shape_text(v).s);
    if (heads < 1 || q->shape[2] % heads != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "%lld channels cannot be split into %d heads", (long long)q->shape[2],
                             heads);
    if (causal && k->shape[1] != q->shape[1])
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "causal attention wants as many keys as queries, they are %s and %s",
                             ts_shape_text(k).s, ts_shape_text(q).s);
    const attention_attr attr = {.heads = heads, .causal = causal};
    return add_node(g, 3, (ts_tensor *[]){q, k, v}, q->shape[2], &attr);
}

ts_tensor *ts_attention_qkv(ts_graph *g, ts_tensor *qkv, int heads, bool causal)
{
    if (!qkv) return NULL;
    if (qkv->type != TS_REAL || qkv->ndim != 3 || heads < 1 || qkv->shape[2] % (3 * (int64_t)heads) != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention",
                             "wants q, k, v packed as (B, T, 3C) with C a multiple of %d heads, got %s", heads,
                             ts_shape_text(qkv).s);
    const attention_attr attr = {.heads = heads, .causal = causal, .packed = true};
    return add_node(g, 1, (ts_tensor *[]){qkv}, qkv->shape[2] / 3, &attr);
}

ts_tensor *ts_attention_relative(ts_graph *g, ts_tensor *qkv, ts_tensor *rel_h, ts_tensor *rel_w, int heads, int height,
                                 int width)
{
    if (!qkv || !rel_h || !rel_w) return NULL;
    if (qkv->type != TS_REAL || qkv->ndim != 3 || heads < 1 || qkv->shape[2] % (3 * (int64_t)heads) != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention",
                             "wants q, k, v packed as (B, T, 3C) with C a multiple of %d heads, got %s", heads,
                             ts_shape_text(qkv).s);
    if (height < 1 || width < 1 || qkv->shape[1] != (int64_t)height * width)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "%lld tokens are not the %d x %d places of a map",
                             (long long)qkv->shape[1], height, width);
    const int64_t dim = qkv->shape[2] / 3 / heads;
    if (rel_h->ndim != 2 || rel_w->ndim != 2 || rel_h->shape[1] != dim || rel_w->shape[1] != dim)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "tables for %d heads want rows of %lld, they are %s and %s", heads,
                             (long long)dim, ts_shape_text(rel_h).s, ts_shape_text(rel_w).s);
    const attention_attr attr = {.heads = heads, .packed = true, .height = height, .width = width};
    ts_tensor *relative = ts_relative_scores(g, qkv, rel_h, rel_w, heads, height, width);
    if (!relative) return NULL;
    return add_node(g, 2, (ts_tensor *[]){qkv, relative}, qkv->shape[2] / 3, &attr);
}

ts_tensor *ts_attention_biased(ts_graph *g, ts_tensor *qkv, ts_tensor *bias, int heads)
{
    if (!qkv || !bias) return NULL;
    if (qkv->type != TS_REAL || qkv->ndim != 3 || heads < 1 || qkv->shape[2] % (3 * (int64_t)heads) != 0)
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention",
                             "wants q, k, v packed as (B, T, 3C) with C a multiple of %d heads, got %s", heads,
                             ts_shape_text(qkv).s);
    if (bias->type != TS_REAL || bias->ndim != 3 || bias->shape[0] != heads || bias->shape[1] != qkv->shape[1] ||
        bias->shape[2] != qkv->shape[1])
        return ts_graph_fail(g, TS_ERR_SHAPE, "attention", "%d heads of %lld tokens want a bias (heads, T, T), it is %s", heads,
                             (long long)qkv->shape[1], ts_shape_text(bias).s);
    const attention_attr attr = {.heads = heads, .packed = true, .biased = true};
    return add_node(g, 2, (ts_tensor *[]){qkv, bias}, qkv->shape[2] / 3, &attr);
}
#endif
