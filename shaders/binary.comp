#version 460
// y[i] = a[i] op b[i mod period], op by specialisation constant 1: 0 sum, 1 difference, 2 product; + 4 where b is as long as a.
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
    const vec4 u = load_unit(a, i), v = load_unit(b, (choice & 4) != 0 ? i : i % period);
    if ((choice & 3) == 0) store_unit(y, i, u + v);
    else if ((choice & 3) == 1) store_unit(y, i, u - v);
    else store_unit(y, i, u * v);
}
