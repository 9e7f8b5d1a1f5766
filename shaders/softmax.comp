#version 460
// y[r, i] = exp(x[r, i] - max) / sum over j of exp(x[r, j] - max). The exponentials are computed twice: to keep them would round
// them to the storage type before they are summed.
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
    float top = uintBitsToFloat(0xff800000), sum = 0.0; // -infinity
    for (uint i = lane; i < width; i += step) top = max(top, float(x.v[base + i]));
    top = row_max(top);
    for (uint i = lane; i < width; i += step) sum += exp(float(x.v[base + i]) - top);
    const float scale = 1.0 / row_sum(sum);
    for (uint i = lane; i < width; i += step) y.v[base + i] = REAL(exp(float(x.v[base + i]) - top) * scale);
}
