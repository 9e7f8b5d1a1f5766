#version 460
// y[n, h, w, c] = max of x[n, 2h + i, 2w + j, c] over i, j in {0, 1}.
// Push: x (images, height, width, channels), unused, y (images, height / 2, width / 2, channels), channels in units.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, unused;
    OutReal y;
    uint images, height, width, channels;
};

void main()
{
    const uint i = item_index(), rows = height / 2, columns = width / 2;
    if (i >= images * rows * columns * channels) return;
    const uint pixel = i / channels, row = pixel / columns, image = row / rows;
    const uint at = ((image * height + (row - image * rows) * 2) * width + (pixel - row * columns) * 2) * channels +
                    (i - pixel * channels);
    const uint below = at + width * channels;
    const vec4 top = max(load_unit(x, at), load_unit(x, at + channels));
    store_unit(y, i, max(top, max(load_unit(x, below), load_unit(x, below + channels))));
}
