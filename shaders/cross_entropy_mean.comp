#version 460
// share = 1 / number of rows whose target is a class, 0 where there is none; mean = share * sum of losses.
// Push: as cross_entropy.comp. Specialisation: rows.glsl. Dispatch: one workgroup.
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
    float sum = 0.0, used = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < rows; i += gl_WorkGroupSize.x) {
        const int at = target.v[i];
        used += at >= 0 && at < int(width) ? 1.0 : 0.0;
        sum += losses.v[i];
    }
    sum = row_sum(sum);
    used = row_sum(used);
    if (gl_LocalInvocationID.x != 0) return;
    const float part = used > 0.0 ? 1.0 / used : 0.0;
    mean.v[0] = REAL(sum * part);
    share.v[0] = part;
}
