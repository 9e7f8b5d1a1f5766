#version 460
// y[b, r, o] = sum over k of x[b, r, k] w[b, o, k].
// Push: x (B, rows, depth), w (B, outs, depth), y (count = B rows outs); depth in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation an element of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, w;
    OutReal y;
    uint count, rows, outs, depth;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint row = i / outs, o = i - row * outs, b = row / rows;
    const uint from = row * depth, weight = (b * outs + o) * depth;
    float sum = 0.0;
    for (uint k = 0; k < depth; k++) sum += dot(load_unit(x, from + k), load_unit(w, weight + k));
    y.v[i] = REAL(sum);
}
