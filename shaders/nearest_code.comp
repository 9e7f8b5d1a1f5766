#version 460
// index[r] = argmin over k of |z[r] - codebook[k]|^2, the first of equal ones.
// Push: z (rows, width), codebook (codes, width), index (rows); width in units.
// Specialisation: rows.glsl, wide.glsl. Dispatch: one workgroup a row of z (rows.glsl), its lanes over the codes.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal z, codebook;
    OutInt index;
    uint rows, codes, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    float least = uintBitsToFloat(0x7f800000); // infinity
    uint best = codes;
    for (uint k = gl_LocalInvocationID.x; k < codes; k += gl_WorkGroupSize.x) {
        float distance = 0.0;
        for (uint i = 0; i < width; i++) {
            const vec4 d = load_unit(z, row * width + i) - load_unit(codebook, k * width + i);
            distance += dot(d, d);
        }
        if (distance < least) {
            least = distance;
            best = k;
        }
    }
    const float nearest = -row_max(-least);
    best = row_min(least == nearest ? best : codes);
    if (gl_LocalInvocationID.x == 0) index.v[row] = best < codes ? int(best) : 0; // no distance to NaN is the least
}
