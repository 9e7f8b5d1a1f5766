#version 460
// losses[r] = log(sum over j of exp(x[r, j] - max)) + max - x[r, target[r]]; 0 where the target is no class.
// Push: x (rows, width), target (rows), losses (rows) in fp32; mean and share are cross_entropy_mean.comp's.
// Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    InInt target;
    Float losses;
    OutReal mean;
    Float share;
    uint rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    const int at = target.v[row];
    if (at < 0 || at >= int(width)) { // of the whole workgroup
        if (lane == 0) losses.v[row] = 0.0;
        return;
    }
    float top = uintBitsToFloat(0xff800000), sum = 0.0; // -infinity
    for (uint i = lane; i < width; i += step) top = max(top, float(x.v[base + i]));
    top = row_max(top);
    for (uint i = lane; i < width; i += step) sum += exp(float(x.v[base + i]) - top);
    sum = row_sum(sum);
    if (lane == 0) losses.v[row] = log(sum) + (top - float(x.v[base + at]));
}
