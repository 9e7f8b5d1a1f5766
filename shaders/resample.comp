#version 460
// y[n, v, h, c] = sum over the taps of both axes of their weights times x[n, row, column, c].
// Push: x, y, count: units of y; height, width of x, channels in units; height and width of y.
// Specialisation: elementwise.glsl (1: bicubic), wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"
#include "resample.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint count, height, width, channels, out_height, out_width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint place = i / channels, c = i - place * channels, line = place / out_width, n = line / out_height;
    const Taps v = taps_of(line - n * out_height, height, out_height), h = taps_of(place - line * out_width, width, out_width);
    vec4 sum = vec4(0.0);
    [[unroll]] for (int a = 0; a < 4; a++) {
        const uint row = (n * height + uint(v.at[a])) * width;
        vec4 across = vec4(0.0);
        [[unroll]] for (int b = 0; b < 4; b++)
            if (h.weight[b] != 0.0) across += h.weight[b] * load_unit(x, (row + uint(h.at[b])) * channels + c);
        sum += v.weight[a] * across;
    }
    store_unit(y, i, sum);
}
