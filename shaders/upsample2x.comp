#version 460
// y[n, 2h + i, 2w + j, c] = x[n, h, w, c] for i, j in {0, 1}.
// Push: x (rows, width, channels), y (2 rows, 2 width, channels), rows of all images, channels in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of x.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint rows, width, channels;
};

void main()
{
    const uint i = item_index();
    if (i >= rows * width * channels) return;
    const vec4 v = load_unit(x, i);
    const uint pixel = i / channels, row = pixel / width;
    const uint at = (row * 4 * width + (pixel - row * width) * 2) * channels + (i - pixel * channels);
    const uint below = at + 2 * width * channels;
    store_unit(y, at, v);
    store_unit(y, at + channels, v);
    store_unit(y, below, v);
    store_unit(y, below + channels, v);
}
