#version 460
// y[e * y_stride + y_at + i] = x[e * x_stride + x_at + i] for i < count of each entry e; zeros with specialisation constant 1.
// Push: x or 0, y, all in units; total: count times the entries. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an
// invocation a unit that is written.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint total, count, x_stride, x_at, y_stride, y_at;
};

void main()
{
    const uint item = item_index();
    if (item >= total) return;
    const uint entry = item / count, i = item - entry * count;
    vec4 v = vec4(0.0);
    if (choice == 0) v = load_unit(x, entry * x_stride + x_at + i);
    store_unit(y, entry * y_stride + y_at + i, v);
}
