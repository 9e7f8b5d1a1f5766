#version 460
// y[h, (r, c), (r', c')] = table[h, |r - r'| width + |c - c'|], for places of a map of height x width.
// Push: table (heads, height width), y (heads, height width, height width), count: elements of y; height, width.
// Specialisation: elementwise.glsl. Dispatch: an invocation an element of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal table;
    OutReal y;
    uint count, height, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint places = height * width, row = i / places, key = i - row * places, head = row / places, query = row - head * places;
    const uint down = uint(abs(int(query / width) - int(key / width))), across = uint(abs(int(query % width) - int(key % width)));
    y.v[i] = table.v[head * places + down * width + across];
}
