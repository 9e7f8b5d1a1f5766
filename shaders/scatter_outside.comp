#version 460
// dx[t] = dy[t] where index[t] is outside of [0, rows), else zeros.
// Push: dy, dx (count, width), index (count); width in units; tokens is not used. Specialisation: rows.glsl, wide.glsl. Dispatch:
// one workgroup a row (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy;
    InInt index;
    OutReal dx;
    uint count, tokens, rows, width;
};

void main()
{
    const uint t = row_index();
    if (t >= count) return;
    const int at = index.v[t];
    const bool inside = at >= 0 && at < int(rows);
    for (uint c = gl_LocalInvocationID.x; c < width; c += gl_WorkGroupSize.x) {
        vec4 v = vec4(0.0);
        if (!inside) v = load_unit(dy, t * width + c);
        store_unit(dx, t * width + c, v);
    }
}
