#version 460
// index[r] = argmin over k of |z[r] - codebook[k]|^2, the first of equal ones.
// Push: z (rows, width), codebook (codes, width), index (rows); width in units.
// Specialisation: rows.glsl, wide.glsl. Dispatch: one workgroup for four rows of z (rows.glsl), its lanes over the codes: what is
// loaded of a code, each lane from a place of its own, serves four times.
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
    const uint first = row_index() * 4;
    if (first >= rows) return;
    const uvec4 from = min(first + uvec4(0, 1, 2, 3), uvec4(rows - 1)) * width; // where fewer are left, the last one again
    vec4 least = vec4(uintBitsToFloat(0x7f800000)); // infinity
    uvec4 best = uvec4(codes);
    for (uint k = gl_LocalInvocationID.x; k < codes; k += gl_WorkGroupSize.x) {
        vec4 distance = vec4(0.0);
        for (uint i = 0; i < width; i++) {
            const vec4 e = load_unit(codebook, k * width + i);
            [[unroll]] for (uint r = 0; r < 4; r++) {
                const vec4 d = load_unit(z, from[r] + i) - e;
                distance[r] += dot(d, d);
            }
        }
        const bvec4 nearer = lessThan(distance, least);
        least = mix(least, distance, nearer);
        best = mix(best, uvec4(k), nearer);
    }
    [[unroll]] for (uint r = 0; r < 4; r++) {
        const float nearest = -row_max(-least[r]);
        const uint code = row_min(least[r] == nearest ? best[r] : codes);
        // No distance to NaN is the least: code 0 then.
        if (gl_LocalInvocationID.x == 0 && first + r < rows) index.v[first + r] = code < codes ? int(code) : 0;
    }
}
