#version 460
// The gradient of relative_scores.comp's y with respect to the tables: row r of that of rel_h is the sum of dy[y'] q over all queries, heads and rows
// y' of the map with y - y' + height - 1 = r, and likewise for rel_w and columns.
// Push: q (batch height width rows, `stride` units from one to the next), dy (batch height width, heads, height + width) in fp32, rel_h's (2 height -
// 1, dim), rel_w's (2 width - 1, dim); count units of both; dim and stride in units.
// Specialisation: rows.glsl, wide.glsl. Dispatch: a workgroup a unit of a table.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal q;
    Float dy;
    OutReal drel_h, drel_w;
    uint count, heads, dim, stride, height, width, batch;
};

void main()
{
    const uint i = row_index();
    if (i >= count) return;
    const uint of_rows = (2 * height - 1) * dim;
    const bool rows = i < of_rows;
    const uint at = rows ? i : i - of_rows, d = at % dim, side = rows ? height : width, other = rows ? width : height;
    const int shift = int(at / dim) - int(side) + 1; // of the query's row (column) to the key's
    const uint pairs = side - uint(abs(shift)), first = uint(max(shift, 0));
    vec4 sum = vec4(0.0);
    for (uint k = gl_LocalInvocationID.x; k < batch * pairs * other * heads; k += gl_WorkGroupSize.x) {
        const uint head = k % heads, across = k / heads % other, mine = first + k / (heads * other) % pairs;
        const uint image = k / (heads * other * pairs);
        const uint token = (image * height + (rows ? mine : across)) * width + (rows ? across : mine);
        const uint key = uint(int(mine) - shift) + (rows ? 0 : height);
        sum += dy.v[(token * heads + head) * (height + width) + key] * load_unit(q, token * stride + head * dim + d);
    }
    [[unroll]] for (uint c = 0; c < 4; c++) sum[c] = row_sum(sum[c]);
    if (gl_LocalInvocationID.x != 0) return;
    if (rows) store_unit(drel_h, at, sum);
    else store_unit(drel_w, at, sum);
}
