#version 460
// The second half of attention's gradient, for a driver that runs on the CPU: dk and dv, after attention_grad_q_cpu.comp.
// Mathematics, push and numbering of the work: attention_grad.glsl. Specialisation: attention_grad_cpu.glsl. Dispatch: `total` workgroups in x and y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention_grad.glsl"
#include "attention_grad_cpu.glsl"

void main()
{
    const uint index = work_index(), lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    if (index >= total) return;
    const Place at = place(index);
    const uint row = at.block * ROWS, k_row = at.k + min(row + lane, tk - 1) * stride;
    const uint first = at.part * DEPTH * lanes * 4 + lane * 4; // of this lane's output dimensions
    vec4 p[ROWS], ds[ROWS], dk_acc[SUMS], dv_acc[SUMS];
    clear(dk_acc);
    clear(dv_acc);
    for (uint tile = causal != 0 ? row : 0; tile < tq; tile += 4 * lanes) {
        const uvec4 query = tile + lane + lanes * uvec4(0, 1, 2, 3), inside = min(query, uvec4(tq - 1));
        products(k, k_row, q, at.q + inside * stride, p);
        products(v, k_row, dy, at.y + inside * (heads * dim), ds);
        vec4 row_log, delta;
        [[unroll]] for (uint i = 0; i < 4; i++)
        {
            row_log[i] = stats.v[at.stats + 2 * inside[i]];
            delta[i] = stats.v[at.stats + 2 * inside[i] + 1];
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++)
        {
            const uint begin = causal != 0 ? row + r : 0;
            vec4 s = p[r] * scale - row_log;
            if (RELATIVE || BIASED) {
                [[unroll]] for (uint i = 0; i < 4; i++) s[i] += added_score(at, query[i], row + r);
            }
            s = mix(vec4(LOWEST), s, lessThan(query, uvec4(tq)));
            s = mix(vec4(LOWEST), s, greaterThanEqual(query, uvec4(begin)));
            p[r] = exp(s);
            ds[r] = p[r] * (ds[r] - delta) * scale;
        }
        accumulate(p, dy, at.y, heads * dim, tile, tq, first, dv_acc);
        accumulate(ds, q, at.q, stride, tile, tq, first, dk_acc);
    }
    store(dk, at.k, stride, row, tk, first, dk_acc);
    store(dv, at.k, stride, row, tk, first, dv_acc);
}
