#version 460
// dx[o, i, n] = sum over the places p inside or mirrored beyond the edges whose value is that of i, and over t, of k[t] times
// dy[o, p - t + r, n], where that is a place (engine/op/filter.c).
// Push: dy, k, dx, count: units of dx; length, inner, taps = 2 r + 1.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of dx.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy, k;
    OutReal dx;
    uint count, length, inner, taps;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint line = i / inner, place = line % length, first = i - place * inner;
    const int n = int(length), at = int(place), period = max(2 * (n - 1), 1), reach = int(taps / 2);
    vec4 sum = vec4(0.0);
    for (int side = 0; side < 2; side++) {
        if (side == 1 && (at == 0 || at == n - 1)) break; // its own mirror image
        int from = (side == 1 ? reach - at : reach + at) % period;
        if (from < 0) from += period;
        for (int p = from - reach; p < n + reach; p += period)
            for (int t = 0; t < int(taps); t++) {
                const int o = p - t + reach;
                if (o >= 0 && o < n) sum += float(k.v[t]) * load_unit(dy, first + uint(o) * inner);
            }
    }
    store_unit(dx, i, sum);
}
