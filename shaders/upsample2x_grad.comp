#version 460
// dx[n, h, w, c] = sum of dy[n, 2h + i, 2w + j, c] over i, j in {0, 1}.
// Push: dy (2 rows, 2 width, channels), dx (rows, width, channels), rows of all images, channels in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of dx.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy;
    OutReal dx;
    uint rows, width, channels;
};

void main()
{
    const uint i = item_index();
    if (i >= rows * width * channels) return;
    const uint pixel = i / channels, row = pixel / width;
    const uint at = (row * 4 * width + (pixel - row * width) * 2) * channels + (i - pixel * channels);
    const uint below = at + 2 * width * channels;
    store_unit(dx, i, (load_unit(dy, at) + load_unit(dy, at + channels)) + (load_unit(dy, below) + load_unit(dy, below + channels)));
}
