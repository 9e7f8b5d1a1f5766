#version 460
// The weights with which dy gives dx: b(y, x, o, c) = w(first_y + stride (taps_y - 1 - y), first_x + stride (taps_x - 1 - x), c, o), those
// taps of the kernel that one phase of a strided convolution has, turned round, with input and output channels exchanged. Both lie
// as weights lie on the device: taps and rows together, in panels of `panel` columns (0: whole rows).
// Push: below. Specialisation: elementwise.glsl, 1: blocks of 4 x 4 (both channel counts are multiples of 4). Dispatch: an invocation a
// number or a block of b.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal w;
    OutReal b;
    uint channels, out_channels, kernel_w, panel;
    uint stride, first_y, first_x, taps_y, taps_x;
    uint w_rows, b_rows; // kernel_h kernel_w channels; taps_y taps_x out_channels
};

// Where (row, column) lies in a matrix of `rows` rows and `columns` columns.
uint place_of(uint row, uint column, uint rows, uint columns)
{
    if (panel == 0) return row * columns + column;
    const uint first = column / panel * panel;
    return first * rows + row * min(panel, columns - first) + column - first;
}

void main()
{
    const uint unit = choice != 0 ? 4 : 1;
    const uint across = channels / unit, down = out_channels / unit, i = item_index();
    if (i >= taps_y * taps_x * across * down) return;
    const uint c = i % across * unit, o = i / across % down * unit, tap = i / (across * down);
    const uint y = first_y + stride * (taps_y - 1 - tap / taps_x), x = first_x + stride * (taps_x - 1 - tap % taps_x);
    const uint from = (y * kernel_w + x) * channels + c, to = tap * out_channels + o; // rows
    if (choice == 0) {
        b.v[place_of(to, c, b_rows, channels)] = w.v[place_of(from, o, w_rows, out_channels)];
        return;
    }
    mat4 block;
    [[unroll]] for (uint k = 0; k < 4; k++) block[k] = vec4(InReal4(w).v[place_of(from + k, o, w_rows, out_channels) / 4]);
    block = transpose(block);
    [[unroll]] for (uint k = 0; k < 4; k++) OutReal4(b).v[place_of(to + k, c, b_rows, channels) / 4] = REAL4(block[k]);
}
