/* attention.h - what attention.c and attention_grad.c share: the attribute, where the rows of each head lie, and on the host the
 * panels and the softmax of a row. */
#ifndef TESSERA_OP_ATTENTION_H
#define TESSERA_OP_ATTENTION_H

#include "engine/host/tile.h"
#include "engine/internal.h"
#include "engine/real.h"

#include <string.h>

typedef struct {
    int heads;
    bool causal, packed;
    int64_t height, width; /* of the map whose relative positions are the last input; 0: there is none */
    bool biased;           /* the last input is a bias (heads, T, T) */
    bool frozen;           /* of a gradient: the bias wants none */
} attention_attr;

/* Sizes, and where a row of each lies: element (b, t, c) of q is q[(b tq + t) q_stride + c]; packed rows hold q, then k, then v.
 */
typedef struct {
    int64_t batch, tq, tk, heads, dim, channels;
    int64_t q_stride, k_stride, k_offset, v_offset;
    int64_t height, width;
    bool causal, biased;
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
                             .causal = attr->causal,
                             .biased = attr->biased};
}

/* Whether the last of a node's inputs, before those that a gradient has more, is added to the scores. */
static inline bool attention_adds(const attention_attr *attr)
{
    return attr->height > 0 || attr->biased;
}

/* Where what is added to the scores of query t and a head lies: of relative positions the numbers for the rows of the map, then
 * for its columns; of a bias, which all of the batch share, one for each key. */
static inline int64_t attention_added_at(const attention_shape *s, int64_t b, int64_t head, int64_t t)
{
    return s->biased ? (head * s->tq + t) * s->tk : ((b * s->tq + t) * s->heads + head) * (s->height + s->width);
}

/* What is added to the score of key i, by the numbers of its query. */
static inline real attention_added(const attention_shape *s, const real *added, int64_t i)
{
    return s->biased ? added[i] : added[i / s->width] + added[s->height + i % s->width];
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
        if (width < TS_TILE_COLS) memset(panel, 0, (size_t)(rows * TS_TILE_COLS) * sizeof *panel);
        for (int64_t r = 0; r < rows; r++) { /* a copy of known length is a few instructions */
            if (width == TS_TILE_COLS) memcpy(panel + r * TS_TILE_COLS, from + r * stride + c, TS_TILE_COLS * sizeof *panel);
            else memcpy(panel + r * TS_TILE_COLS, from + r * stride + c, (size_t)width * sizeof *panel);
        }
    }
}

/* from (rows, cols) at a stride, which may be negative, transposed -> panels of 16 rows, each (cols, 16). Row by row: rows far
 * apart share places of the cache. */
static inline void attention_pack_rows(const float *from, int64_t stride, int64_t rows, int64_t cols, float *panels)
{
    for (int64_t r = 0; r < rows; r += TS_TILE_COLS) {
        const int64_t height = rows - r < TS_TILE_COLS ? rows - r : TS_TILE_COLS;
        float *panel = panels + r * cols;
        if (height < TS_TILE_COLS) memset(panel, 0, (size_t)(cols * TS_TILE_COLS) * sizeof *panel);
        for (int64_t i = 0; i < height; i++)
            for (int64_t c = 0; c < cols; c++) panel[c * TS_TILE_COLS + i] = from[(r + i) * stride + c];
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

/* The floats that attention_begin_scores works in. */
static inline int64_t attention_begin_room(const attention_shape *s)
{
    return attention_padded(s->width);
}

/* The scores of a row before q k is added: those of its relative positions or its bias, as they are before scaling. Of relative
 * positions whole vectors are written, the end of a row of the map overwritten by the next; `score` has room for 15 more than
 * `room`. */
static inline __attribute__((always_inline)) void attention_begin_scores(const attention_shape *s, const float *added,
                                                                         float scale, int64_t room, float *columns, float *score)
{
    const float inverse = 1 / scale;
    if (s->biased)
#pragma omp simd
        for (int64_t i = 0; i < s->tk; i++) score[i] = added[i] * inverse;
    for (int64_t x = 0; x < s->width; x++) columns[x] = added[s->height + x] * inverse;
    for (int64_t y = 0; y < s->height; y++) {
        const float of_row = added[y] * inverse;
        float *to = score + y * s->width;
        for (int64_t x = 0; x < s->width; x += TS_TILE_COLS)
#pragma omp simd
            for (int64_t i = 0; i < TS_TILE_COLS; i++) to[x + i] = of_row + columns[x + i];
    }
    for (int64_t i = s->tk; i < room; i++) score[i] = 0;
}

#endif
