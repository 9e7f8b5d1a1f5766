#version 460
// Attention for a driver that runs on the CPU: no shared memory, no barrier. One subgroup takes ROWS query rows. For the scores lanes are keys, four
// each at a time; for the output lanes are dimensions, four (a vec4) DEPTH times. What the lanes share goes by broadcast.
// Push and numbering of the work: attention.glsl. Specialisation: 0 width of the workgroup, which is one subgroup; 1 ROWS, no more than that; 2
// DEPTH; 3 whether dim is a multiple of 4. Dispatch: `total` workgroups in x and y.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common.glsl"
#include "attention.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DEPTH = 1;
layout(constant_id = 3) const bool WHOLE = false;

// Elements d to d + 3 of the row at `base`, zeros beyond the last dimension (where WHOLE, d must be inside).
vec4 load(InReal from, uint base, uint d)
{
    if (WHOLE) return vec4(InReal4(from).v[(base + d) / 4]);
    vec4 x;
    [[unroll]] for (uint i = 0; i < 4; i++)
    {
        const float value = float(from.v[base + min(d + i, dim - 1)]);
        x[i] = d + i < dim ? value : 0.0;
    }
    return x;
}

void main()
{
    const uint index = work_index(), lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    if (index >= total) return;
    const Place at = place(index);
    const uint row = at.block * ROWS, keys = causal != 0 ? min(row + ROWS, tk) : tk;
    const uint q_row = at.q + min(row + lane, tq - 1) * q_stride;
    const uint first = at.part * DEPTH * lanes * 4 + lane * 4; // of this lane's output dimensions

    vec4 acc[ROWS * DEPTH];
    float top[ROWS], sum[ROWS]; // the maximum so far; this lane's share of the sum
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        top[r] = LOWEST;
        sum[r] = 0.0;
        [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] = vec4(0.0);
    }
    for (uint tile = 0; tile < keys; tile += 4 * lanes) {
        // s[r]: this lane's keys tile + lane, + lanes further each.
        const uvec4 key = tile + lane + lanes * uvec4(0, 1, 2, 3), k_row = at.k + min(key, uvec4(tk - 1)) * k_stride;
        vec4 s[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) s[r] = vec4(0.0);
        for (uint d = 0; d < dim; d += 4) {
            const vec4 mine = load(q, q_row, d);
            const vec4 k0 = load(k, k_row.x, d), k1 = load(k, k_row.y, d), k2 = load(k, k_row.z, d), k3 = load(k, k_row.w, d);
            [[unroll]] for (uint r = 0; r < ROWS; r++)
            {
                const vec4 x = subgroupBroadcast(mine, r);
                s[r] += vec4(dot(x, k0), dot(x, k1), dot(x, k2), dot(x, k3));
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++)
        {
            const uint end = causal != 0 ? min(row + r + 1, keys) : keys;
            s[r] = mix(vec4(LOWEST), s[r] * scale, lessThan(key, uvec4(end)));
            const float higher = max(top[r], subgroupMax(max(max(s[r].x, s[r].y), max(s[r].z, s[r].w))));
            const float shrink = exp(top[r] - higher);
            s[r] = exp(s[r] - higher);
            sum[r] = sum[r] * shrink + s[r].x + s[r].y + s[r].z + s[r].w;
            top[r] = higher;
            [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] *= shrink;
        }
        for (uint group = tile; group < min(tile + 4 * lanes, keys); group += lanes) {
            [[unroll]] for (uint i = 0; i < lanes; i++)
            {
                const uint v_row = at.k + min(group + i, tk - 1) * k_stride;
                vec4 x[DEPTH];
                [[unroll]] for (uint c = 0; c < DEPTH; c++)
                {
                    const uint d = first + c * lanes * 4;
                    x[c] = load(v, v_row, WHOLE ? min(d, dim - 4) : d);
                }
                [[unroll]] for (uint r = 0; r < ROWS; r++)
                {
                    const float weight = subgroupBroadcast(s[r].x, i);
                    [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] += weight * x[c];
                }
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++) s[r] = s[r].yzwx; // the next group's to the front
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        const float total_sum = subgroupAdd(sum[r]);
        if (row + r >= tq) continue;
        const uint y_row = at.y + (row + r) * heads * dim;
        [[unroll]] for (uint c = 0; c < DEPTH; c++)
        {
            const uint d = first + c * lanes * 4;
            const vec4 result = acc[r * DEPTH + c] / total_sum;
            if (WHOLE) {
                if (d < dim) OutReal4(y).v[(y_row + d) / 4] = REAL4(result);
            } else {
                [[unroll]] for (uint i = 0; i < 4; i++) if (d + i < dim) y.v[y_row + d + i] = REAL(result[i]);
            }
        }
    }
}
