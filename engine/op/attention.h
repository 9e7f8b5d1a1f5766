/* attention.h - what attention.c and attention_grad.c share: the attribute, where the rows of each head lie, and on the host the
 * panels and the softmax of a row. */
#ifndef TESSERA_OP_ATTENTION_H
#define TESSERA_OP_ATTENTION_H

#include "engine/host/tile.h"
#include "engine/internal.h"
#include "engine/vecmath.h"

typedef struct {
    int heads;
    bool causal, packed;
    int64_t height, width; /* of the map whose relative positions are the last input; 0: there is none */
} attention_attr;

/* Sizes, and where a row of each lies: element (b, t, c) of q is q[(b tq + t) q_stride + c]; packed rows hold q, then k, then v.
 */
typedef struct {
    int64_t batch, tq, tk, heads, dim, channels;
    int64_t q_stride, k_stride, k_offset, v_offset;
    int64_t height, width;
    bool causal;
} attention_shape;

/* Of a node whose inputs begin with q, k, v, or with the three packed. */
static inline attention_shape attention_shape_of(const ts_node *n)
{
    const attention_attr *attr = n->attr;
    const int64_t stride = n->in[0]->shape[2], channels = attr->packed ? stride / 3 : stride;
    return (attention_shape){.batch = n->in[0]->shape[0],
                             .tq = n->in[0]->shape[1],
                             .tk = n->in[attr->packed ? 0 : 1]->shape[1],
                             .heads = attr->heads,
                             .dim = channels / attr->heads,
                             .channels = channels,
                             .q_stride = stride,
                             .k_stride = stride,
                             .k_offset = attr->packed ? channels : 0,
                             .v_offset = attr->packed ? 2 * channels : 0,
                             .height = attr->height,
                             .width = attr->width,
                             .causal = attr->causal};
}

/* The numbers of relative positions of query t and a head: its scores for the rows of the map, then for its columns. */
static inline int64_t attention_relative_at(const attention_shape *s, int64_t b, int64_t head, int64_t t)
{
    return ((b * s->tq + t) * s->heads + head) * (s->height + s->width);
}

/* What relative positions add to the scores: qkv (B, height width, >= C), whose first C channels are q, and the tables
 * (2 height - 1, C/heads), (2 width - 1, C/heads) -> (B, height width, heads (height + width)). relative_scores.c */
ts_tensor *ts_relative_scores(ts_graph *g, ts_tensor *qkv, ts_tensor *rel_h, ts_tensor *rel_w, int heads, int height, int width);

/* For attention's ts_op.grad. */
void ts_attention_grad(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx);

/* ---- host ---- */

static inline int64_t attention_padded(int64_t count)
{
    return (count + TS_TILE_COLS - 1) / TS_TILE_COLS * TS_TILE_COLS;
}

/* from (rows, cols) at a stride -> panels of 16 columns, each (rows, 16), zeros beyond the last. */
static inline void attention_pack_columns(const float *from, int64_t stride, int64_t rows, int64_t cols, float *panels)
{
    for (int64_t c = 0; c < cols; c += TS_TILE_COLS) {
        const int64_t width = cols - c < TS_TILE_COLS ? cols - c : TS_TILE_COLS;
        float *panel = panels + c * rows;
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t i = 0; i < width; i++) panel[r * TS_TILE_COLS + i] = from[r * stride + c + i];
            for (int64_t i = width; i < TS_TILE_COLS; i++) panel[r * TS_TILE_COLS + i] = 0;
        }
    }
}

/* from (rows, cols) at a stride, transposed -> panels of 16 rows, each (cols, 16). */
static inline void attention_pack_rows(const float *from, int64_t stride, int64_t rows, int64_t cols, float *panels)
{
    for (int64_t r = 0; r < rows; r += TS_TILE_COLS) {
        const int64_t height = rows - r < TS_TILE_COLS ? rows - r : TS_TILE_COLS;
        float *panel = panels + r * cols;
        for (int64_t c = 0; c < cols; c++) {
            for (int64_t i = 0; i < height; i++) panel[c * TS_TILE_COLS + i] = from[(r + i) * stride + c];
            for (int64_t i = height; i < TS_TILE_COLS; i++) panel[c * TS_TILE_COLS + i] = 0;
        }
    }
}

/* score[0, keys) becomes exp(scale (score - max)), the rest up to `room` zero; returns their sum. */
static inline __attribute__((always_inline)) float attention_soften(float *score, int64_t keys, int64_t room, float scale)
{
    float top = score[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < keys; i++) top = score[i] > top ? score[i] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < keys; i++) {
        const float e = ts_expf((score[i] - top) * scale);
        score[i] = e;
        sum += e;
    }
    for (int64_t i = keys; i < room; i++) score[i] = 0;
    return sum;
}

/* The scores of a row before q k is added: those of its relative positions, as they are before scaling. */
static inline __attribute__((always_inline)) void attention_begin_scores(const attention_shape *s, const float *relative,
                                                                         float scale, int64_t room, float *score)
{
    const float *of_column = relative + s->height, inverse = 1 / scale;
    for (int64_t y = 0; y < s->height; y++)
#pragma omp simd
        for (int64_t x = 0; x < s->width; x++) score[y * s->width + x] = (relative[y] + of_column[x]) * inverse;
    for (int64_t i = s->tk; i < room; i++) score[i] = 0;
}

#endif
