#version 460
// ratio = min(sqrt(a) / (sqrt(b) + eps), most), a and b being sums of squares; NaN where b is not finite.
// Push: a, b (1), fp32; ratio (1). Dispatch: one invocation.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    Float a, b;
    OutReal ratio;
    float eps, most;
};

void main()
{
    float quotient = sqrt(a.v[0]) / (sqrt(b.v[0]) + eps);
    if (quotient > most) quotient = most; // NaN stays
    // By the bits: a driver may take a comparison for its opposite's opposite, which NaN is not.
    if ((floatBitsToUint(b.v[0]) & 0x7f800000u) == 0x7f800000u) quotient = uintBitsToFloat(0x7fc00000u);
    ratio.v[0] = REAL(quotient);
}
