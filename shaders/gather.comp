#version 460
// y[i] = x[table, index[i]] with table = i / tokens, or 0 for a shared one; the fill where the index is outside, zeros without a
// fill.
// Push: x (tables, rows, width), fill (width) or 0, index (count), y (count, width); width in units; tokens 0 for a shared table.
// Specialisation: rows.glsl, wide.glsl; 3 whether there is a fill. Dispatch: one workgroup a row of y (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"
layout(constant_id = 3) const bool filled = false;

layout(push_constant, scalar) uniform Push {
    InReal x, fill;
    InInt index;
    OutReal y;
    uint count, tokens, rows, width;
};

void main()
{
    const uint i = row_index();
    if (i >= count) return;
    const int at = index.v[i];
    const bool inside = at >= 0 && at < int(rows);
    const uint from = ((tokens == 0 ? 0 : i / tokens * rows) + uint(max(at, 0))) * width;
    for (uint c = gl_LocalInvocationID.x; c < width; c += gl_WorkGroupSize.x) {
        vec4 v = vec4(0.0);
        if (inside) v = load_unit(x, from + c);
        else if (filled) v = load_unit(fill, c);
        store_unit(y, i * width + c, v);
    }
}
