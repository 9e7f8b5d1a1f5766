#version 460
// s[i] += x[i], s in fp32 whatever the storage of x.
// Push: s, x of count elements. Specialisation: elementwise.glsl. Dispatch: an invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float s;
    InReal x;
    uint count;
};

void main()
{
    const uint i = item_index();
    if (i < count) s.v[i] += float(x.v[i]);
}
