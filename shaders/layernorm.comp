#version 460
// y = (x - mean) / sqrt(var + eps) * gamma + beta over rows of `width`.
// Push: x (rows, width), gamma (width), beta (width), y (rows, width); rows, width, eps.
// Specialisation: 0 width of the workgroup, 1 subgroups in it (rows.glsl). Dispatch: one workgroup a row, in x and y (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, gamma, beta;
    OutReal y;
    uint rows, width;
    float eps;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    float sum = 0.0, square = 0.0;
    for (uint i = lane; i < width; i += step) sum += float(x.v[base + i]);
    const float mean = row_sum(sum) / float(width);
    for (uint i = lane; i < width; i += step) {
        const float d = float(x.v[base + i]) - mean;
        square += d * d;
    }
    const float rstd = inversesqrt(row_sum(square) / float(width) + eps);
    for (uint i = lane; i < width; i += step)
        y.v[base + i] = REAL((float(x.v[base + i]) - mean) * rstd * float(gamma.v[i]) + float(beta.v[i]));
}
