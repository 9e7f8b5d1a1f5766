#version 460
// The gradient of a strided convolution's input from its phases: place (y, x) of an image is place (y / stride, x / stride) of
// phase (y mod stride, x mod stride). A phase that no tap of the kernel reaches was not computed: zero.
// Push: phases lie `slot` units apart, unit: wide.glsl. Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal phases;
    OutReal dx;
    uint count, slot, channels; // in units
    uint height, width, stride, top, left, kernel_h, kernel_w;
};

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint c = i % channels, x = i / channels % width, y = i / channels / width % height, image = i / channels / width / height;
    const uint phase_y = y % stride, phase_x = x % stride;
    if ((phase_y + top) % stride >= kernel_h || (phase_x + left) % stride >= kernel_w) {
        store_unit(dx, i, vec4(0.0));
        return;
    }
    const uint rows = (height - phase_y + stride - 1) / stride, columns = (width - phase_x + stride - 1) / stride;
    const uint at = ((image * rows + y / stride) * columns + x / stride) * channels + c;
    store_unit(dx, i, load_unit(phases, (phase_y * stride + phase_x) * slot + at));
}
