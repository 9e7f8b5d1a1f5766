#version 460
// dw[i] = sum over the slices s of sums[s][i], in their order.
// Push: below, in units (wide.glsl). Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    Float sums;
    OutReal dw;
    uint count, slices;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    vec4 sum = vec4(0.0);
    for (uint s = 0; s < slices; s++) {
        if (wide) sum += Float4(sums).v[s * count + i];
        else sum.x += sums.v[s * count + i];
    }
    store_unit(dw, i, sum);
}
