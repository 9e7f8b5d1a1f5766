#version 460
// Attention for a driver that runs on the CPU: no shared memory, no barrier. One subgroup takes ROWS query rows. For the scores lanes are keys, four
// each at a time; for the output lanes are dimensions, four (a vec4) DEPTH times. What the lanes share goes by shuffle from a constant lane. Why
// loads are 64 bits wide, and push constants copied before the loops, stands in matmul_cpu.comp.
// Push and numbering of the work: attention.glsl. Specialisation: 0 LANES, the width of the workgroup, which is one subgroup; 1 ROWS, a multiple of
// LANES; 2 DEPTH; 3 whether dim is a multiple of 4; 4 and 5 attention.glsl's. Dispatch: `total` workgroups in x and y.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#include "common.glsl"
#include "attention.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DEPTH = 1;
layout(constant_id = 3) const bool WHOLE = false;

const uint HELD = ROWS / LANES; // query rows that a lane loads

#ifdef REAL16
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Four { uint64_t v[]; };
vec4 load_four(InReal p, uint at)
{
    const uvec2 w = unpackUint2x32(Four(p).v[at / 4]);
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}
#else
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Four { u64vec2 v[]; };
vec4 load_four(InReal p, uint at)
{
    const u64vec2 w = Four(p).v[at / 4];
    return vec4(uintBitsToFloat(unpackUint2x32(w.x)), uintBitsToFloat(unpackUint2x32(w.y)));
}
#endif

// Elements d to d + 3 of a row of `width`; beyond its end zeros, or with WHOLE the last four.
vec4 load(InReal from, uint row, uint d, uint width)
{
    if (WHOLE) return load_four(from, row + min(d, width - 4));
    vec4 x;
    [[unroll]] for (uint i = 0; i < 4; i++)
    {
        const float value = float(from.v[row + min(d + i, width - 1)]);
        x[i] = d + i < width ? value : 0.0;
    }
    return x;
}

void main()
{
    const uint index = work_index(), lane = gl_LocalInvocationID.x;
    if (index >= total) return;
    const uint width = dim, rows = tq, all_keys = tk, step = k_stride, across = map_width, down = map_height;
    InReal queries = q, key_rows = k, values = v, bias = added;
    const Place at = place(index);
    const uint row = at.block * ROWS, keys = causal != 0 ? min(row + ROWS, all_keys) : all_keys;
    const uint first = at.part * DEPTH * LANES * 4 + lane * 4; // of this lane's output dimensions

    uint q_row[HELD];
    vec4 acc[ROWS * DEPTH];
    float top[ROWS], sum[ROWS]; // the maximum so far; this lane's share of the sum
    [[unroll]] for (uint i = 0; i < HELD; i++) q_row[i] = at.q + min(row + lane + i * LANES, rows - 1) * q_stride;
    [[unroll]] for (uint i = 0; i < ROWS * DEPTH; i++) acc[i] = vec4(0.0);
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        top[r] = LOWEST;
        sum[r] = 0.0;
    }
    for (uint tile = 0; tile < keys; tile += 4 * LANES) {
        // s[r]: this lane's keys tile + lane, + LANES further each.
        const uvec4 key = tile + lane + LANES * uvec4(0, 1, 2, 3), k_row = at.k + min(key, uvec4(all_keys - 1)) * step;
        vec4 s[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) s[r] = vec4(0.0);
        for (uint d = 0; d < width; d += 4) {
            vec4 mine[HELD], theirs[4];
            [[unroll]] for (uint i = 0; i < HELD; i++) mine[i] = load(queries, q_row[i], d, width);
            [[unroll]] for (uint i = 0; i < 4; i++) theirs[i] = load(key_rows, k_row[i], d, width);
            [[unroll]] for (uint r = 0; r < ROWS; r++)
            {
                const vec4 x = subgroupShuffle(mine[r / LANES], r % LANES);
                s[r] += vec4(dot(x, theirs[0]), dot(x, theirs[1]), dot(x, theirs[2]), dot(x, theirs[3]));
            }
        }
        const uvec4 inside = min(key, uvec4(all_keys - 1)), y = RELATIVE ? inside / across : uvec4(0), x = inside - y * across + down;
        [[unroll]] for (uint r = 0; r < ROWS; r++)
        {
            const uint end = causal != 0 ? min(row + r + 1, keys) : keys;
            s[r] *= scale;
            if (RELATIVE) {
                const uint base = at.added + min(row + r, rows - 1) * heads * (down + across);
                [[unroll]] for (uint i = 0; i < 4; i++) s[r][i] += float(bias.v[base + y[i]]) + float(bias.v[base + x[i]]);
            }
            if (BIASED) {
                const uint base = at.added + min(row + r, rows - 1) * all_keys;
                [[unroll]] for (uint i = 0; i < 4; i++) s[r][i] += float(bias.v[base + inside[i]]);
            }
            s[r] = mix(vec4(LOWEST), s[r], lessThan(key, uvec4(end)));
            const float higher = max(top[r], subgroupMax(max(max(s[r].x, s[r].y), max(s[r].z, s[r].w))));
            const float shrink = exp(top[r] - higher);
            s[r] = exp(s[r] - higher);
            sum[r] = sum[r] * shrink + s[r].x + s[r].y + s[r].z + s[r].w;
            top[r] = higher;
            [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] *= shrink;
        }
        for (uint group = tile; group < min(tile + 4 * LANES, keys); group += LANES) {
            [[unroll]] for (uint i = 0; i < LANES; i++)
            {
                const uint v_row = at.k + min(group + i, all_keys - 1) * step;
                vec4 x[DEPTH];
                [[unroll]] for (uint c = 0; c < DEPTH; c++) x[c] = load(values, v_row, first + c * LANES * 4, width);
                [[unroll]] for (uint r = 0; r < ROWS; r++)
                {
                    const float weight = subgroupShuffle(s[r].x, i);
                    [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] += weight * x[c];
                }
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++) s[r] = s[r].yzwx; // the next group's to the front
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        const float whole_sum = subgroupAdd(sum[r]);
        if (row + r >= rows) continue;
        const uint y_row = at.y + (row + r) * heads * width;
        [[unroll]] for (uint c = 0; c < DEPTH; c++)
        {
            const uint d = first + c * LANES * 4;
            const vec4 result = acc[r * DEPTH + c] / whole_sum;
            if (WHOLE) {
                if (d < width) OutReal4(y).v[(y_row + d) / 4] = REAL4(result);
            } else {
                [[unroll]] for (uint i = 0; i < 4; i++) if (d + i < width) y.v[y_row + d + i] = REAL(result[i]);
            }
        }
    }
}
