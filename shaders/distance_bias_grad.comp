#version 460
// The gradient of distance_bias.comp's y with respect to the table: dtable[h, down width + across] is the sum of dy[h, a, b] over all pairs of places a, b
// of the map that are so many rows and columns apart, in any of the four directions.
// Push: dy (heads, height width, height width), dtable (heads, height width), count: elements of it; height, width.
// Specialisation: elementwise.glsl. Dispatch: an invocation an element of dtable.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy;
    OutReal dtable;
    uint count, height, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint places = height * width, head = i / places, down = i % places / width, across = i % width;
    const uint base = head * places * places;
    float sum = 0.0;
    for (uint r = 0; r + down < height; r++) {
        float of_row = 0.0;
        for (uint c = 0; c + across < width; c++) {
            const uint a = r * width + c, b = a + down * width + across;      // one diagonal of their rectangle
            const uint d = a + across, e = a + down * width;                  // the other
            of_row += float(dy.v[base + a * places + b]);
            if (a != b) of_row += float(dy.v[base + b * places + a]);
            if (down > 0 && across > 0) of_row += float(dy.v[base + d * places + e]) + float(dy.v[base + e * places + d]);
        }
        sum += of_row;
    }
    dtable.v[i] = REAL(sum);
}
