// groupnorm.glsl - what the three dispatches of a groupnorm share (engine/op/groupnorm.c tells the method): gather, merge, apply.
//     y = (x - mean) / sqrt(var + eps) * gamma + beta over the places of an image and the `width` channels of a group.
// x, y are (images, places, units), a unit being four channels of one group where width % 4 == 0 (wide.glsl), else one.
// `partial` is (images, blocks, units) of mean, M2 over a block of `span` places, the mean counted from the first element of the
// group; `stats` is (images, groups) of the mean in two parts, and 1 / sqrt(var + eps).
#include "wide.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer Partial { vec2 v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer Stats { vec4 v[]; };

layout(push_constant, scalar) uniform Push {
    InReal x, gamma, beta;
    OutReal y;
    Partial partial_moments;
    Stats stats;
    uint images, places, units, blocks, span, groups, group_units;
    float eps;
};

// Element 0 of the group at the image's first place: near enough to the mean that differences keep their digits.
float first_of_group(uint image, uint group)
{
    return float(x.v[(image * places * units + group * group_units) * unit_size()]);
}
