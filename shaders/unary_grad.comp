#version 460
// dx[i] = f'(x[i]) dy[i], f by specialisation constant 1 as in unary.comp (engine/op/unary_grad.c has the formulas).
// Push: x, dy, dx of count units; a, b. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "math.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, dy;
    OutReal dx;
    uint count;
    float a, b;
};

// The derivative of v sigmoid(s v).
vec4 swish_slope(vec4 v, float s)
{
    const vec4 y = 1.0 / (1.0 + exp(-s * v));
    return y + s * v * y * (1.0 - y);
}

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const vec4 v = load_unit(x, i);
    vec4 slope;
    if (choice == 1) slope = step(vec4(a), v) * step(v, vec4(b));
    else if (choice == 2) slope = 0.5 * (1.0 + erf(v * 0.70710678118)) + v * exp(-0.5 * v * v) * 0.39894228040;
    else if (choice == 3) slope = swish_slope(v, 1.702);
    else if (choice == 4) slope = swish_slope(v, 1.0);
    else if (choice == 5) slope = sign(v);
    else if (choice == 6) slope = 2.0 * v;
    else if (choice == 7) slope = vec4(greaterThan(v, vec4(0.0)));
    else if (choice == 8) {
        const vec4 y = safe_tanh(v);
        slope = 1.0 - y * y;
    }
    else if (choice == 9) slope = exp(v);
    else if (choice == 10) slope = mix(vec4(a), vec4(1.0), greaterThan(v, vec4(0.0)));
    else if (choice == 11) slope = cosine(v);
    else if (choice == 12) slope = -sine(v);
    else {
        slope = vec4(0.0);
        for (int k = 0; k < 4; k++)
            if (v[k] > 0.0) slope[k] = 0.5 / sqrt(v[k]);
    }
    store_unit(dx, i, load_unit(dy, i) * slope);
}
