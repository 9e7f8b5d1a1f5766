#version 460
// y[r, i] = x[r, i] / sqrt(sum over j of x[r, j]^2); a row of zeros stays zeros.
// Push: x, y (rows, width). Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    float square = 0.0;
    for (uint i = lane; i < width; i += step) square += float(x.v[base + i]) * float(x.v[base + i]);
    square = row_sum(square);
    const float scale = square > 0.0 ? 1.0 / sqrt(square) : 0.0;
    for (uint i = lane; i < width; i += step) y.v[base + i] = REAL(float(x.v[base + i]) * scale);
}
