#version 460
// y[k] = scale * sum of x[i], or of x[i]^2, over the k-th chunk, in an order that depends on the sizes alone.
// Push: x (count), y (chunks). Specialisation: rows.glsl; 2: + 1 squares, + 2 x is fp32 sums, + 4 y is the result, in the storage
// type, and not fp32 sums. Dispatch: one workgroup a chunk (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
layout(constant_id = 2) const uint mode = 0;

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count, chunk;
    float scale;
};

void main()
{
    const uint row = row_index();
    if (row * chunk >= count) return;
    const uint end = min(row * chunk + chunk, count);
    float sum = 0.0;
    for (uint i = row * chunk + gl_LocalInvocationID.x; i < end; i += gl_WorkGroupSize.x) {
        float v;
        if ((mode & 2) != 0) v = Float(x).v[i];
        else v = float(x.v[i]);
        if ((mode & 1) != 0) v *= v;
        sum += v;
    }
    sum = row_sum(sum) * scale;
    if (gl_LocalInvocationID.x != 0) return;
    if ((mode & 4) != 0) y.v[row] = REAL(sum);
    else Float(y).v[row] = sum;
}
