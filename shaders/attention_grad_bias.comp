#version 460
// The gradient of a bias that is added to attention's scores and shared by the batch, after attention_grad_q.comp: with the mathematics of
// attention_grad.glsl, dbias[head, i, j] = sum over the batch of p[i,j] ((dy v^T)[i,j] - delta[i]).
// Push: q, k, v (batch, tokens, heads dim) at `stride` units from row to row, bias and dbias (heads, tokens, tokens; count elements), dy (batch, tokens,
// heads dim) dense, stats (batch, heads, tokens, 2) as that shader leaves them; dim in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation an element of dbias.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal q, k, v, bias, dy;
    Float stats;
    OutReal dbias;
    uint count, batch, tokens, heads, dim, stride;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint key = i % tokens, query = i / tokens % tokens, head = i / tokens / tokens;
    const float scale = 1.0 / sqrt(float(dim * unit_size())), added = float(bias.v[i]);
    float sum = 0.0;
    for (uint b = 0; b < batch; b++) {
        const uint q_at = (b * tokens + query) * stride + head * dim, k_at = (b * tokens + key) * stride + head * dim;
        const uint y_at = ((b * tokens + query) * heads + head) * dim, stat = ((b * heads + head) * tokens + query) * 2;
        float score = 0.0, slope = 0.0;
        for (uint d = 0; d < dim; d++) {
            score += dot(load_unit(q, q_at + d), load_unit(k, k_at + d));
            slope += dot(load_unit(dy, y_at + d), load_unit(v, k_at + d));
        }
        sum += exp(score * scale + added - stats.v[stat]) * (slope - stats.v[stat + 1]);
    }
    dbias.v[i] = REAL(sum);
}
