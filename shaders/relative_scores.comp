#version 460
// What decomposed relative positions add to attention's scores (engine/op/relative_scores.c): for the query at place (row, column) of a map and a head
// the numbers q rel_h[row - i + height - 1], i < height, then q rel_w[column - i + width - 1], i < width.
// Push: q (batch height width rows, `stride` units from one to the next), rel_h (2 height - 1, dim), rel_w (2 width - 1, dim), y (batch height width,
// heads, height + width; count elements); dim and stride in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation an element of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal q, rel_h, rel_w;
    OutReal y;
    uint count, heads, dim, stride, height, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint each = height + width, token = i / (heads * each), head = i / each % heads, number = i % each;
    const uint row = token / width % height, column = token % width, from = token * stride + head * dim;
    const bool of_row = number < height;
    const uint at = (of_row ? row + height - 1 - number : column + each - 1 - number) * dim;
    float sum = 0.0;
    for (uint d = 0; d < dim; d++) {
        const vec4 table = of_row ? load_unit(rel_h, at + d) : load_unit(rel_w, at + d);
        sum += dot(load_unit(q, from + d), table);
    }
    y.v[i] = REAL(sum);
}
