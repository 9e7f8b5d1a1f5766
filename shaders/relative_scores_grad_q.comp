#version 460
// The gradient of relative_scores.comp's y with respect to q: for the query at place (row, column) of a map and a head
//     dq = sum over i of dy[i] rel_h[row - i + height - 1] + sum over i of dy[height + i] rel_w[column - i + width - 1]
// and zeros in what follows q in a packed row.
// Push: rel_h (2 height - 1, dim), rel_w (2 width - 1, dim), dy (batch height width, heads, height + width) in fp32, dq (batch height width rows of
// `stride`; count units); dim and stride in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of dq.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal rel_h, rel_w;
    Float dy;
    OutReal dq;
    uint count, heads, dim, stride, height, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint token = i / stride, head = i % stride / dim, d = i % stride % dim;
    vec4 sum = vec4(0.0);
    if (head < heads) {
        const uint from = (token * heads + head) * (height + width);
        const uint row = token / width % height + height - 1, column = token % width + width - 1;
        for (uint k = 0; k < height; k++) sum += dy.v[from + k] * load_unit(rel_h, (row - k) * dim + d);
        for (uint k = 0; k < width; k++) sum += dy.v[from + height + k] * load_unit(rel_w, (column - k) * dim + d);
    }
    store_unit(dq, i, sum);
}
