#version 460
// g = grad scale + wd p; u = momentum u + g; p = p - lr u, in place; nothing where scale is 0.
// All but grad is fp32, whatever the storage.
// Push: p, grad, u (count), hyper (lr first), scale (1). Specialisation: elementwise.glsl; 1 whether there is a scale.
// Dispatch: an invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float p;
    InReal grad;
    Float u, hyper, scale;
    uint count;
    float momentum, weight_decay;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    float g = float(grad.v[i]);
    if (choice != 0) {
        if (scale.v[0] == 0.0) return;
        g *= scale.v[0];
    }
    const float moved = momentum * u.v[i] + (g + weight_decay * p.v[i]);
    u.v[i] = moved;
    p.v[i] -= hyper.v[0] * moved;
}
