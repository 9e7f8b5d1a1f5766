#version 460
// y[row * y_width + y_at + i] = x[row * x_width + x_at + i] for `count` columns i of each row: `total` numbers in all.
// Push: x, y, total, count, x_width, x_at, y_width, y_at. Specialisation: elementwise.glsl. Dispatch: an invocation a number.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint total, count, x_width, x_at, y_width, y_at;
};

void main()
{
    const uint i = item_index();
    if (i >= total) return;
    const uint row = i / count, column = i - row * count;
    y.v[row * y_width + y_at + column] = x.v[row * x_width + x_at + column];
}
