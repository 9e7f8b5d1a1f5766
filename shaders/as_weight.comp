#version 460
// A matrix (outputs, inputs) from plain rows to where a weight lies on the device, (inputs, outputs) in panels of `panel` columns
// (0: whole rows), or back with specialisation constant 1.
// Push: below. Specialisation: elementwise.glsl. Dispatch: an invocation a number.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal from;
    OutReal to;
    uint inputs, outputs, panel;
};

void main()
{
    const uint i = item_index();
    if (i >= inputs * outputs) return;
    const uint row = i % inputs, column = i / inputs;
    uint place = row * outputs + column;
    if (panel != 0) {
        const uint first = column / panel * panel;
        place = first * inputs + row * min(panel, outputs - first) + column - first;
    }
    if (choice == 0) to.v[place] = from.v[i];
    else to.v[i] = from.v[place];
}
