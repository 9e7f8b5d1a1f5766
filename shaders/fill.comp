#version 460
// y[i] = value.
// Push: y of count units. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    OutReal y;
    uint count;
    float value;
};

void main()
{
    const uint i = item_index();
    if (i < count) store_unit(y, i, vec4(value));
}
