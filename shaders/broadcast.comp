#version 460
// y[i] = x[i mod period] scale; with specialisation constant 1 there is one x for all.
// Push: x (period units), y (count units). Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count, period;
    float scale;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    vec4 v;
    if (choice != 0) v = vec4(float(x.v[0]));
    else v = load_unit(x, i % period);
    store_unit(y, i, v * scale);
}
