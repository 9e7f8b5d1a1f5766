#version 460
// dx[r, i] = y[r, i] (dy[r, i] - sum over j of y[r, j] dy[r, j]), y the softmax.
// Push: y, dy, dx (rows, width). Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal y, dy;
    OutReal dx;
    uint rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    float sum = 0.0;
    for (uint i = lane; i < width; i += step) sum += float(y.v[base + i]) * float(dy.v[base + i]);
    sum = row_sum(sum);
    for (uint i = lane; i < width; i += step) dx.v[base + i] = REAL(float(y.v[base + i]) * (float(dy.v[base + i]) - sum));
}
