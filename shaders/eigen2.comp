#version 460
// Eigenvalues of [a b; b c]: m + d and m - d, m = (a + c) / 2, d = sqrt(((a - c) / 2)^2 + b^2), the large ones of a row's `width`
// elements before the small ones; with choice 1 the traces a + c before both.
// Push: a, b, c, y, count: elements of a; width. Specialisation: elementwise.glsl. Dispatch: an invocation an element of a.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal a, b, c;
    OutReal y;
    uint count, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint row = i / width, column = i - row * width;
    const float x = float(a.v[i]), z = float(c.v[i]), u = 0.5 * (x - z), v = float(b.v[i]), d = sqrt(u * u + v * v);
    uint at = row * 2 * width + column;
    if (choice == 1) {
        at += row * width;
        y.v[at] = REAL(x + z);
        at += width;
    }
    y.v[at] = REAL(0.5 * (x + z) + d);
    y.v[at + width] = REAL(0.5 * (x + z) - d);
}
