#version 460
// y[i] = f(x[i]), f by specialisation constant 1: 0 x a + b, 1 min(max(x, a), b), 2 gelu, 3 quick_gelu, 4 swish, 5 |x|, 6 x^2,
// 7 max(x, 0), 8 tanh, 9 e^x, 10 x where x > 0, else a x, 11 sine, 12 cosine, 13 square root.
// Push: x, y of count units; a, b. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "math.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count;
    float a, b;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    vec4 v = load_unit(x, i);
    if (choice == 0) v = v * a + b;
    else if (choice == 1) v = clamp(v, a, b);
    else if (choice == 2) v = gelu(v);
    else if (choice == 3) v = quick_gelu(v);
    else if (choice == 4) v = swish(v);
    else if (choice == 5) v = abs(v);
    else if (choice == 6) v *= v;
    else if (choice == 7) v = max(v, 0.0);
    else if (choice == 8) v = safe_tanh(v);
    else if (choice == 9) v = exp(v);
    else if (choice == 10) v = mix(v, a * v, lessThan(v, vec4(0.0)));
    else if (choice == 11) v = sine(v);
    else if (choice == 12) v = cosine(v);
    else v = sqrt(v);
    store_unit(y, i, v);
}
