#version 460
// Attention for GPUs. One workgroup of 128 takes 32 query rows and 64 of the output's dimensions; keys come in tiles of 64. Both products, scores and
// output, are tiles of 32 x 64 with 4 x 4 in the registers of an invocation, fed from shared memory 16 deep. A head wider than 64 is cut in
// parts, each of which computes the scores again: a head that wide is rare.
// Push and numbering of the work: attention.glsl, whose specialisation is all there is (15.3 kB of shared memory, which every device has). Dispatch:
// `total` workgroups in x and y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"

const uint THREADS = 128, ROWS = 32, KEYS = 64, DIMS = 64, DEPTH = 16;
layout(local_size_x = THREADS) in;

// A pad of one after each row: transposing stores meet no bank twice.
shared float q_tile[DEPTH * (ROWS + 1)];  // (dimension, row)
shared float kv_tile[DEPTH * (KEYS + 1)]; // (dimension, key), then (key, dimension)
shared float score[KEYS * (ROWS + 1)];    // (key, row)
shared float part_result[4 * ROWS];       // of the four invocations that reduce a row
shared float shrink[ROWS];

const uint Q = ROWS + 1, K = KEYS + 1, S = ROWS + 1;

void load_q(uint base, uint row, uint depth)
{
    for (uint i = gl_LocalInvocationID.x; i < ROWS * DEPTH; i += THREADS) {
        const uint d = i % DEPTH, r = i / DEPTH;
        const bool inside = depth + d < dim && row + r < tq;
        q_tile[d * Q + r] = inside ? float(q.v[base + (row + r) * q_stride + depth + d]) : 0.0;
    }
}

void load_k(uint base, uint key, uint depth)
{
    for (uint i = gl_LocalInvocationID.x; i < KEYS * DEPTH; i += THREADS) {
        const uint d = i % DEPTH, t = i / DEPTH;
        const bool inside = depth + d < dim && key + t < tk;
        kv_tile[d * K + t] = inside ? float(k.v[base + (key + t) * k_stride + depth + d]) : 0.0;
    }
}

void load_v(uint base, uint key, uint first)
{
    for (uint i = gl_LocalInvocationID.x; i < DIMS * DEPTH; i += THREADS) {
        const uint d = i % DIMS, t = i / DIMS;
        const bool inside = first + d < dim && key + t < tk;
        kv_tile[t * K + d] = inside ? float(v.v[base + (key + t) * k_stride + first + d]) : 0.0;
    }
}

// The scores of 32 rows and 64 keys into `score`; those that do not count become LOWEST.
void scores(Place at, uint row, uint tile, uint keys, uint tx, uint ty)
{
    float s[4][4];
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) s[i][j] = 0.0;
    for (uint depth = 0; depth < dim; depth += DEPTH) {
        barrier();
        load_q(at.q, row, depth);
        load_k(at.k, tile, depth);
        barrier();
        [[unroll]] for (uint d = 0; d < DEPTH; d++)
        {
            float a[4], b[4];
            [[unroll]] for (uint i = 0; i < 4; i++) a[i] = q_tile[d * Q + ty * 4 + i];
            [[unroll]] for (uint j = 0; j < 4; j++) b[j] = kv_tile[d * K + tx + 16 * j];
            [[unroll]] for (uint i = 0; i < 4; i++)
                [[unroll]] for (uint j = 0; j < 4; j++) s[i][j] = fma(a[i], b[j], s[i][j]);
        }
    }
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
        {
            const uint r = ty * 4 + i, t = tx + 16 * j;
            const bool counts = tile + t < keys && (causal == 0 || tile + t <= row + r);
            s[i][j] *= scale;
            if (RELATIVE || BIASED) s[i][j] += added_score(at, row + r, tile + t);
            score[t * S + r] = counts ? s[i][j] : LOWEST;
        }
}

void main()
{
    const uint index = work_index(), me = gl_LocalInvocationID.x;
    if (index >= total) return;
    const Place at = place(index);
    const uint row = at.block * ROWS, first = at.part * DIMS, keys = causal != 0 ? min(row + ROWS, tk) : tk;
    const uint tx = me % 16, ty = me / 16;                 // columns tx + 16 j and rows 4 ty + i of a product's tile
    const uint my_row = me % ROWS, my_key = me / ROWS * 16; // of a reduction: 16 keys of a row
    float acc[4][4], top = LOWEST, sum = 0.0;              // top, sum: of my_row
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) acc[i][j] = 0.0;

    for (uint tile = 0; tile < keys; tile += KEYS) {
        scores(at, row, tile, keys, tx, ty);
        barrier();
        float higher = LOWEST, more = 0.0;
        for (uint t = my_key; t < my_key + 16; t++) higher = max(higher, score[t * S + my_row]);
        part_result[me] = higher;
        barrier();
        higher = top;
        [[unroll]] for (uint i = 0; i < 4; i++) higher = max(higher, part_result[i * ROWS + my_row]);
        for (uint t = my_key; t < my_key + 16; t++) {
            const float e = exp(score[t * S + my_row] - higher);
            score[t * S + my_row] = e;
            more += e;
        }
        barrier();
        part_result[me] = more;
        if (my_key == 0) shrink[my_row] = exp(top - higher);
        barrier();
        sum *= shrink[my_row];
        [[unroll]] for (uint i = 0; i < 4; i++) sum += part_result[i * ROWS + my_row];
        top = higher;
        [[unroll]] for (uint i = 0; i < 4; i++)
            [[unroll]] for (uint j = 0; j < 4; j++) acc[i][j] *= shrink[ty * 4 + i];
        for (uint depth = 0; depth < KEYS; depth += DEPTH) {
            barrier();
            load_v(at.k, tile + depth, first);
            barrier();
            [[unroll]] for (uint t = 0; t < DEPTH; t++)
            {
                float a[4], b[4];
                [[unroll]] for (uint i = 0; i < 4; i++) a[i] = score[(depth + t) * S + ty * 4 + i];
                [[unroll]] for (uint j = 0; j < 4; j++) b[j] = kv_tile[t * K + tx + 16 * j];
                [[unroll]] for (uint i = 0; i < 4; i++)
                    [[unroll]] for (uint j = 0; j < 4; j++) acc[i][j] = fma(a[i], b[j], acc[i][j]);
            }
        }
    }
    barrier();
    if (my_key == 0) shrink[my_row] = 1.0 / sum;
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++)
    {
        const uint r = row + ty * 4 + i;
        [[unroll]] for (uint j = 0; j < 4; j++)
        {
            const uint d = first + tx + 16 * j;
            if (r < tq && d < dim) y.v[at.y + r * heads * dim + d] = REAL(acc[i][j] * shrink[ty * 4 + i]);
        }
    }
}
