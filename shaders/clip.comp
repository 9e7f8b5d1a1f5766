#version 460
// norm = sqrt(sum); scale = min(1, most / (norm + 1e-6)), NaN where the norm is.
// Push: sum, scale, norm (1). Dispatch: one invocation.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal sum;
    OutReal scale, norm;
    float most;
};

void main()
{
    const float length = sqrt(float(sum.v[0])), factor = most / (length + 1e-6);
    norm.v[0] = REAL(length);
    scale.v[0] = REAL(factor > 1.0 ? 1.0 : factor);
}
