#version 460
// y[o, i, n] = sum over t of k[t] x[o, mirror(i + t - r), n], taps = 2 r + 1: stretches of `length` places of `inner` units.
// Push: x, k, y, count: units of y; length, inner, taps.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, k;
    OutReal y;
    uint count, length, inner, taps;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint line = i / inner, at = line % length, first = i - at * inner;
    const int period = max(2 * (int(length) - 1), 1), reach = int(taps / 2);
    vec4 sum = vec4(0.0);
    for (int t = 0; t < int(taps); t++) {
        int p = abs(int(at) + t - reach) % period;
        if (p >= int(length)) p = period - p;
        sum += float(k.v[t]) * load_unit(x, first + uint(p) * inner);
    }
    store_unit(y, i, sum);
}
