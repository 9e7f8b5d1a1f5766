#version 460
// y[a, c, b, d] = x[a, b, c, d].
// Push: x, y, count: units; b, c of x, d in units. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count, b, c, d;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint run = i / d, row = run / b, a = row / c;
    store_unit(y, i, load_unit(x, ((a * b + (run - row * b)) * c + (row - a * c)) * d + (i - run * d)));
}
