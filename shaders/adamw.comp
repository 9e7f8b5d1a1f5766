#version 460
// g = grad scale; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// p = p (1 - lr wd) - lr / c1 m / (sqrt(v) / sqrt(c2) + eps), all in place; nothing where scale is 0.
// All but grad is fp32, whatever the storage.
// Push: p, grad, m, v (count), hyper (lr, c1, c2), scale (1). Specialisation: elementwise.glsl; 1 whether there is a scale.
// Dispatch: an invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float p;
    InReal grad;
    Float m, v, hyper, scale;
    uint count;
    float b1, rest1, b2, rest2, eps, weight_decay;
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
    const float lr = hyper.v[0], mean = b1 * m.v[i] + rest1 * g, square = b2 * v.v[i] + rest2 * g * g;
    m.v[i] = mean;
    v.v[i] = square;
    p.v[i] = (1.0 - lr * weight_decay) * p.v[i] - lr / hyper.v[1] * mean / (sqrt(square) / sqrt(hyper.v[2]) + eps);
}
