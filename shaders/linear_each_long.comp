#version 460
// y[b, r, o] = sum over k of x[b, r, k] w[b, o, k], for sums too long for one invocation.
// Push: x (B, rows, depth), w (B, outs, depth), y (count = B rows outs); depth in units.
// Specialisation: rows.glsl, wide.glsl. Dispatch: one workgroup an element of y (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, w;
    OutReal y;
    uint count, rows, outs, depth;
};

void main()
{
    const uint i = row_index();
    if (i >= count) return;
    const uint row = i / outs, o = i - row * outs, b = row / rows;
    const uint from = row * depth, weight = (b * outs + o) * depth;
    float sum = 0.0;
    for (uint k = gl_LocalInvocationID.x; k < depth; k += gl_WorkGroupSize.x)
        sum += dot(load_unit(x, from + k), load_unit(w, weight + k));
    sum = row_sum(sum);
    if (gl_LocalInvocationID.x == 0) y.v[i] = REAL(sum);
}
