#version 460
// First of three (groupnorm.glsl): partial[image, block, unit] = mean and M2 of a unit over a block of places, in two passes.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation an element of `partial`. No lane waits for another.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "groupnorm.glsl"

void main()
{
    const uint item = item_index();
    if (item >= images * blocks * units) return;
    const uint unit = item % units, block = item / units % blocks, image = item / (units * blocks);
    const uint count = min(span, places - block * span), start = (image * places + block * span) * units + unit;
    const float shift = first_of_group(image, unit / group_units), weight = 1.0 / float(count * unit_size());
    vec4 sum = vec4(0.0), square = vec4(0.0);
    for (uint p = 0; p < count; p++) sum += load_unit(x, start + p * units) - shift;
    const float mean = dot(sum, unit_mask()) * weight;
    for (uint p = 0; p < count; p++) {
        const vec4 d = load_unit(x, start + p * units) - shift - mean;
        square += d * d;
    }
    partial_moments.v[item] = vec2(mean, dot(square, unit_mask()));
}
