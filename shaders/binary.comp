#version 460
// y[i] = a[i] + b[i mod period], or the product, by specialisation constant 1: 0 sum, 1 product; + 2 where b is as long as a.
// Push: a, y of count units, b of period units. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal a, b;
    OutReal y;
    uint count, period;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const vec4 u = load_unit(a, i), v = load_unit(b, (choice & 2) != 0 ? i : i % period);
    store_unit(y, i, (choice & 1) != 0 ? u * v : u + v);
}
