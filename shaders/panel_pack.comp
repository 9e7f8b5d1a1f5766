#version 460
// A matrix in panels: all rows of the first `panel` columns, then all rows of the next ones.
// Push: below; columns and panel in units (wide.glsl). Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal from;
    OutReal to;
    uint rows, columns, panel;
};

void main()
{
    const uint i = item_index();
    if (i >= rows * columns) return;
    const uint row = i / columns, column = i % columns, first = column / panel * panel;
    store_unit(to, first * rows + row * min(panel, columns - first) + column - first, load_unit(from, i));
}
