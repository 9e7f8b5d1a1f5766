#version 460
// The first half of attention's gradient, for GPUs: log(sum exp s) and delta of each query row, and dq. Two passes over the keys, the first as in
// attention.comp by a running maximum and sum.
// Mathematics, push and numbering of the work: attention_grad.glsl. Specialisation: that one's (15.2 kB of shared memory). Dispatch: `total` workgroups in
// x and y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention_grad.glsl"
#include "attention_grad_gpu.glsl"

shared float part_result[4 * ROWS]; // of the four invocations that reduce a row
shared float row_log[ROWS], row_delta[ROWS];

// Products to scores; those that do not count become LOWEST.
void mask(Place at, uint row, uint tile, inout float s[4][4])
{
    const uint me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
        {
            const uint key = tile + tx + 16 * j;
            const bool counts = key < tk && (causal == 0 || key <= row + ty * 4 + i);
            s[i][j] *= scale;
            if (RELATIVE || BIASED) s[i][j] += added_score(at, row + ty * 4 + i, key);
            if (!counts) s[i][j] = LOWEST;
        }
}

// Adds the tile of ds that `score` holds to the gradients of the relative positions: of each query row four invocations have every fourth row and
// column of the map, so that no other touches their sums.
void add_positions(Place at, uint row, uint tile)
{
    const uint my_row = row + gl_LocalInvocationID.x % ROWS, my_part = gl_LocalInvocationID.x / ROWS;
    if (my_row >= tq) return;
    const uint to = at.added + my_row * heads * relative_each(), end = min(tk - tile, COLS);
    uint y = tile / map_width, x = tile - y * map_width;
    for (uint t = 0; t < end; t++) {
        const float value = score[t * S + my_row - row] / scale;
        if (y % 4 == my_part) add_relative(to + y, x == 0, value);
        if (x % 4 == my_part) add_relative(to + map_height() + x, y == 0, value);
        x++;
        if (x == map_width) {
            x = 0;
            y++;
        }
    }
}

void main()
{
    const uint index = work_index(), me = gl_LocalInvocationID.x, ty = me / 16;
    if (index >= total) return;
    const Place at = place(index);
    Rows q_rows = Rows(q, at.q, stride, tq), dy_rows = Rows(dy, at.y, heads * dim, tq);
    Rows k_rows = Rows(k, at.k, stride, tk), v_rows = Rows(v, at.k, stride, tk);
    const uint row = at.block * ROWS, first = at.part * DIMS, keys = causal != 0 ? min(row + ROWS, tk) : tk;
    const uint my_row = me % ROWS, my_part = me / ROWS; // of a reduction: a quarter of a row
    float s[4][4], ds[4][4], acc[4][4];

    float top = LOWEST, sum = 0.0; // of my quarter of each tile of my_row
    for (uint tile = 0; tile < keys; tile += COLS) {
        products(q_rows, row, k_rows, tile, s);
        mask(at, row, tile, s);
        put(s);
        barrier();
        float higher = top;
        for (uint t = 16 * my_part; t < 16 * my_part + 16; t++) higher = max(higher, score[t * S + my_row]);
        sum *= exp(top - higher);
        for (uint t = 16 * my_part; t < 16 * my_part + 16; t++) sum += exp(score[t * S + my_row] - higher);
        top = higher;
    }
    part_result[me] = top;
    barrier();
    float highest = LOWEST;
    [[unroll]] for (uint i = 0; i < 4; i++) highest = max(highest, part_result[i * ROWS + my_row]);
    barrier();
    part_result[me] = sum * exp(top - highest); // 0 where the quarter had no key that counts
    barrier();
    sum = 0.0;
    [[unroll]] for (uint i = 0; i < 4; i++) sum += part_result[i * ROWS + my_row];
    barrier();
    float delta = 0.0;
    if (row + my_row < tq) {
        const uint base = at.y + (row + my_row) * heads * dim;
        for (uint d = my_part; d < dim; d += 4) delta = fma(float(dy.v[base + d]), float(y.v[base + d]), delta);
    }
    part_result[me] = delta;
    barrier();
    if (my_part == 0) {
        delta = 0.0;
        [[unroll]] for (uint i = 0; i < 4; i++) delta += part_result[i * ROWS + my_row];
        row_log[my_row] = highest + log(sum);
        row_delta[my_row] = delta;
        if (at.part == 0 && row + my_row < tq) {
            stats.v[at.stats + 2 * (row + my_row)] = row_log[my_row];
            stats.v[at.stats + 2 * (row + my_row) + 1] = delta;
        }
    }
    barrier();

    clear(acc);
    for (uint tile = 0; tile < keys; tile += COLS) {
        products(q_rows, row, k_rows, tile, s);
        mask(at, row, tile, s);
        products(dy_rows, row, v_rows, tile, ds);
        [[unroll]] for (uint i = 0; i < 4; i++)
            [[unroll]] for (uint j = 0; j < 4; j++)
                ds[i][j] = exp(s[i][j] - row_log[ty * 4 + i]) * (ds[i][j] - row_delta[ty * 4 + i]) * scale;
        put(ds);
        accumulate(k_rows, tile, first, acc);
        if (RELATIVE && at.part == 0) add_positions(at, row, tile);
    }
    store(dq, at.q, stride, row, tq, first, acc);
}
