#version 460
// index[r] = the first i with x[r, i] = max over j of x[r, j].
// Push: x (rows, width), index (rows). Specialisation: rows.glsl. Dispatch: one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutInt index;
    uint rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    float top = uintBitsToFloat(0xff800000); // -infinity
    for (uint i = lane; i < width; i += step) top = max(top, float(x.v[base + i]));
    top = row_max(top);
    uint best = width;
    for (uint i = lane; i < width && best == width; i += step)
        if (float(x.v[base + i]) == top) best = i;
    best = row_min(best);
    if (lane == 0) index.v[row] = best < width ? int(best) : 0; // a row of NaN has no largest
}
