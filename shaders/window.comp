#version 460
// Windows of a map, `down` x `across` of each: choice 0 cuts, y[window, i, j, c] = x[n, wy size + i, wx size + j, c], zeros beyond
// the map; 1 pastes, y[n, h, w, c] = x[window, h mod size, w mod size, c].
// Push: x, y, count: units of y; the map's height, width, channels in units; size, down, across.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count, height, width, channels, size, down, across;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint place = i / channels, c = i - place * channels;
    vec4 v = vec4(0.0);
    if (choice == 0) {
        const uint line = place / size, window = line / size, n = window / (down * across), at = window - n * down * across;
        const uint row = at / across * size + (line - window * size), column = at % across * size + (place - line * size);
        if (row < height && column < width) v = load_unit(x, ((n * height + row) * width + column) * channels + c);
    } else {
        const uint line = place / width, column = place - line * width, n = line / height, row = line - n * height;
        const uint window = (n * down + row / size) * across + column / size;
        v = load_unit(x, ((window * size + row % size) * size + column % size) * channels + c);
    }
    store_unit(y, i, v);
}
