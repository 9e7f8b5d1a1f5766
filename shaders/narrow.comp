#version 460
// y[i] = x[i], from fp32 to the storage type.
// Push: x, y of count elements. Specialisation: elementwise.glsl. Dispatch: an invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float x;
    OutReal y;
    uint count;
};

void main()
{
    const uint i = item_index();
    if (i < count) y.v[i] = REAL(x.v[i]);
}
