#version 460
// The gradient of eigen2.comp: with s = (dl + ds) / 2 (+ dt) and q = (dl - ds) / d, 0 where d is 0:
// da = s + q (a - c) / 4, db = q b, dc = s - q (a - c) / 4.
// Push: a, b, c, dy, da, db, dc, count: elements of a; width. Specialisation: elementwise.glsl (1: with traces).
// Dispatch: an invocation an element of a.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal a, b, c, dy;
    OutReal da, db, dc;
    uint count, width;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint row = i / width, column = i - row * width;
    const float u = 0.5 * (float(a.v[i]) - float(c.v[i])), v = float(b.v[i]), d = sqrt(u * u + v * v);
    uint at = row * 2 * width + column;
    float both = 0.0;
    if (choice == 1) {
        at += row * width;
        both = float(dy.v[at]);
        at += width;
    }
    const float large = float(dy.v[at]), small = float(dy.v[at + width]);
    both += 0.5 * (large + small);
    float apart = 0.0;
    if (d > 0.0) apart = (large - small) / d;
    da.v[i] = REAL(both + 0.5 * apart * u);
    db.v[i] = REAL(apart * v);
    dc.v[i] = REAL(both - 0.5 * apart * u);
}
