#version 460
// y[i] = 0 where a hash of seed, number and i is below `threshold` of 2^24, else x[i] scale; y = x where the seed is below 0.
// Push: x, seed (1), y of count units; the call's number; threshold; scale. Specialisation: elementwise.glsl, wide.glsl.
// Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    InInt seed;
    OutReal y;
    uint count, number, threshold;
    float scale;
};

uint mixed(uint h)
{
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    return h ^ (h >> 16);
}

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    vec4 v = load_unit(x, i);
    const int from = seed.v[0];
    if (from >= 0) {
        const uint key = mixed(uint(from) + number * 0x9e3779b9u), first = i * unit_size();
        [[unroll]] for (uint k = 0; k < 4; k++) {
            if ((mixed(key ^ mixed(first + k)) >> 8) < threshold) v[k] = 0.0;
            else v[k] *= scale;
        }
    }
    store_unit(y, i, v);
}
