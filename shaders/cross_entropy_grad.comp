#version 460
// dx[r, i] = (exp(x[r, i] - max) / sum over j of exp(x[r, j] - max) - [i = target[r]]) dy share; zeros where the target is no class.
// Push: x, dx (rows, width), target (rows), dy, share (1). Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    InInt target;
    InReal dy;
    Float share;
    OutReal dx;
    uint rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    const int at = target.v[row];
    if (at < 0 || at >= int(width)) { // of the whole workgroup
        for (uint i = lane; i < width; i += step) dx.v[base + i] = REAL(0.0);
        return;
    }
    float top = uintBitsToFloat(0xff800000), sum = 0.0; // -infinity
    for (uint i = lane; i < width; i += step) top = max(top, float(x.v[base + i]));
    top = row_max(top);
    for (uint i = lane; i < width; i += step) sum += exp(float(x.v[base + i]) - top);
    const float factor = float(dy.v[0]) * share.v[0], scale = 1.0 / row_sum(sum);
    for (uint i = lane; i < width; i += step) {
        const float y = exp(float(x.v[base + i]) - top) * scale;
        dx.v[base + i] = REAL((y - (i == uint(at) ? 1.0 : 0.0)) * factor);
    }
}
