#version 460
// The second half of attention's gradient, for GPUs: dk and dv, after attention_grad_q.comp.
// Mathematics, push and numbering of the work: attention_grad.glsl. Specialisation: that one's (14.7 kB of shared memory). Dispatch: `total` workgroups in
// x and y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention_grad.glsl"
#include "attention_grad_gpu.glsl"

void main()
{
    const uint index = work_index(), me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    if (index >= total) return;
    const Place at = place(index);
    Rows q_rows = Rows(q, at.q, stride, tq), dy_rows = Rows(dy, at.y, heads * dim, tq);
    Rows k_rows = Rows(k, at.k, stride, tk), v_rows = Rows(v, at.k, stride, tk);
    const uint row = at.block * ROWS, first = at.part * DIMS;
    float p[4][4], ds[4][4], dk_acc[4][4], dv_acc[4][4];
    clear(dk_acc);
    clear(dv_acc);
    for (uint tile = causal != 0 ? row : 0; tile < tq; tile += COLS) {
        products(k_rows, row, q_rows, tile, p);
        products(v_rows, row, dy_rows, tile, ds);
        [[unroll]] for (uint j = 0; j < 4; j++)
        {
            const uint query = tile + tx + 16 * j, stat = at.stats + 2 * min(query, tq - 1);
            const float row_log = stats.v[stat], delta = stats.v[stat + 1];
            [[unroll]] for (uint i = 0; i < 4; i++)
            {
                const bool counts = query < tq && (causal == 0 || query >= row + ty * 4 + i);
                p[i][j] *= scale;
                if (RELATIVE || BIASED) p[i][j] += added_score(at, query, row + ty * 4 + i);
                p[i][j] = counts ? exp(p[i][j] - row_log) : 0.0;
                ds[i][j] = p[i][j] * (ds[i][j] - delta) * scale;
            }
        }
        put(p);
        accumulate(dy_rows, tile, first, dv_acc);
        put(ds);
        accumulate(q_rows, tile, first, dk_acc);
    }
    store(dk, at.k, stride, row, tk, first, dk_acc);
    store(dv, at.k, stride, row, tk, first, dv_acc);
}
