#version 460
// Third of three (groupnorm.glsl): y from x and stats; with specialisation constant 1 = 1, swish of it. Here a block is `span`
// places, so that an invocation loads its channels' constants once.
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of a block of an image.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "math.glsl"
#include "groupnorm.glsl"

void main()
{
    const uint item = item_index();
    if (item >= images * blocks * units) return;
    const uint unit = item % units, block = item / units % blocks, image = item / (units * blocks);
    const uint count = min(span, places - block * span), start = (image * places + block * span) * units + unit;
    const vec4 s = stats.v[image * groups + unit / group_units];
    const vec4 scale = s.z * load_unit(gamma, unit), add = load_unit(beta, unit) - s.y * scale;
    for (uint p = 0; p < count; p++) {
        vec4 v = (load_unit(x, start + p * units) - s.x) * scale + add;
        if (choice == 1) v = swish(v);
        store_unit(y, start + p * units, v);
    }
}
