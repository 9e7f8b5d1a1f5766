#version 460
// norm = sqrt(sum) unscale; scale = unscale min(1, most / (norm + 1e-6)), without the bound where most is 0; NaN where the norm is,
// or with an unscale 0 where the norm is not finite.
// Push: sum, unscale, scale, norm (1), fp32. Specialisation: 1 whether there is an unscale. Dispatch: one invocation.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float sum, unscale, scale, norm;
    float most;
};

void main()
{
    float unit = 1.0;
    if (choice != 0) unit = unscale.v[0];
    const float length = sqrt(sum.v[0]) * unit;
    float factor = most > 0.0 ? most / (length + 1e-6) : 1.0;
    if (factor > 1.0) factor = 1.0;
    // By its bits: a compiler that takes NaN for impossible may turn a comparison round.
    if (choice != 0 && (floatBitsToUint(length) & 0x7f800000u) == 0x7f800000u) factor = 0.0;
    norm.v[0] = length;
    scale.v[0] = factor * unit;
}
