#version 460
// dx[r, i] = (dy[r, i] - y[r, i] sum over j of y[r, j] dy[r, j]) / |x[r]|, y = x / |x|; zeros for a row of zeros.
// Push: x, dy, dx (rows, width). Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, dy;
    OutReal dx;
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
    float dot = 0.0;
    for (uint i = lane; i < width; i += step) dot += float(x.v[base + i]) * scale * float(dy.v[base + i]);
    dot = row_sum(dot);
    for (uint i = lane; i < width; i += step)
        dx.v[base + i] = REAL((float(dy.v[base + i]) - float(x.v[base + i]) * scale * dot) * scale);
}
