#version 460
// The first half of attention's gradient, for a driver that runs on the CPU: log(sum exp s) and delta of each query row, and dq.
// Mathematics, push and numbering of the work: attention_grad.glsl. Specialisation: attention_grad_cpu.glsl. Dispatch: `total` workgroups in x and y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention_grad.glsl"
#include "attention_grad_cpu.glsl"

// Products to scores; those that do not count become LOWEST.
void mask(Place at, uint row, uvec4 key, uint keys, inout vec4 s[ROWS])
{
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        const uint end = causal != 0 ? min(row + r + 1, keys) : keys;
        s[r] *= scale;
        if (RELATIVE || BIASED) {
            [[unroll]] for (uint i = 0; i < 4; i++) s[r][i] += added_score(at, row + r, key[i]);
        }
        s[r] = mix(vec4(LOWEST), s[r], lessThan(key, uvec4(end)));
    }
}

// Adds a tile of ds, keys tile.., to the gradients of the relative positions: each lane to those of its query row.
void add_positions(Place at, uint row, uint tile, vec4 ds[ROWS])
{
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    const uint to = at.added + (row + lane) * heads * relative_each();
    for (uint group = tile; group < min(tile + 4 * lanes, tk); group += lanes) {
        [[unroll]] for (uint i = 0; i < lanes; i++)
        {
            const uint y = (group + i) / map_width, x = group + i - y * map_width;
            float mine = 0.0;
            [[unroll]] for (uint r = 0; r < ROWS; r++)
            {
                const float value = subgroupBroadcast(ds[r].x, i);
                if (lane == r) mine = value / scale;
            }
            if (group + i < tk && lane < ROWS && row + lane < tq) {
                add_relative(to + y, x == 0, mine);
                add_relative(to + map_height() + x, y == 0, mine);
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) ds[r] = ds[r].yzwx; // the next group's to the front
    }
}

void main()
{
    const uint index = work_index(), lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    if (index >= total) return;
    const Place at = place(index);
    const uint row = at.block * ROWS, keys = causal != 0 ? min(row + ROWS, tk) : tk, my_row = min(row + lane, tq - 1);
    const uint q_row = at.q + my_row * stride, y_row = at.y + my_row * heads * dim;
    const uint first = at.part * DEPTH * lanes * 4 + lane * 4; // of this lane's output dimensions

    vec4 s[ROWS], ds[ROWS], acc[SUMS];
    float top[ROWS], sum[ROWS]; // the maximum so far; this lane's share of the sum
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        top[r] = LOWEST;
        sum[r] = 0.0;
    }
    for (uint tile = 0; tile < keys; tile += 4 * lanes) {
        const uvec4 key = tile + lane + lanes * uvec4(0, 1, 2, 3), k_row = at.k + min(key, uvec4(tk - 1)) * stride;
        products(q, q_row, k, k_row, s);
        mask(at, row, key, keys, s);
        [[unroll]] for (uint r = 0; r < ROWS; r++)
        {
            const float higher = max(top[r], subgroupMax(max(max(s[r].x, s[r].y), max(s[r].z, s[r].w))));
            s[r] = exp(s[r] - higher);
            sum[r] = sum[r] * exp(top[r] - higher) + s[r].x + s[r].y + s[r].z + s[r].w;
            top[r] = higher;
        }
    }
    float delta = 0.0, my_log = 0.0; // of this lane's row
    for (uint d = 0; d < dim; d += 4) delta += dot(load(dy, y_row, d), load(y, y_row, d));
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        top[r] += log(subgroupAdd(sum[r]));
        if (lane == r) my_log = top[r];
    }
    if (at.part == 0 && lane < ROWS && row + lane < tq) {
        stats.v[at.stats + 2 * (row + lane)] = my_log;
        stats.v[at.stats + 2 * (row + lane) + 1] = delta;
    }

    clear(acc);
    for (uint tile = 0; tile < keys; tile += 4 * lanes) {
        const uvec4 key = tile + lane + lanes * uvec4(0, 1, 2, 3), k_row = at.k + min(key, uvec4(tk - 1)) * stride;
        products(q, q_row, k, k_row, s);
        products(dy, y_row, v, k_row, ds);
        mask(at, row, key, keys, s);
        [[unroll]] for (uint r = 0; r < ROWS; r++) ds[r] = exp(s[r] - top[r]) * (ds[r] - subgroupBroadcast(delta, r)) * scale;
        accumulate(ds, k, at.k, stride, tile, keys, first, acc);
        if (RELATIVE && at.part == 0) add_positions(at, row, tile, ds);
    }
    store(dq, at.q, stride, row, tq, first, acc);
}
