#version 460
// Second of three (groupnorm.glsl): stats[image, group] from the group's partials, M2 = sum of M2_i + n_i (mean_i - mean)^2.
// Specialisation: rows.glsl, wide.glsl. Dispatch: one workgroup a group of an image (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "groupnorm.glsl"

void main()
{
    const uint row = row_index();
    if (row >= images * groups) return;
    const uint image = row / groups, group = row % groups, count = blocks * group_units;
    const uint base = image * blocks * units + group * group_units;
    const float total = float(places * group_units * unit_size());
    float sum = 0.0, square = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < count; i += gl_WorkGroupSize.x) {
        const uint block = i / group_units;
        const float n = float(min(span, places - block * span) * unit_size());
        sum += n * partial_moments.v[base + block * units + i % group_units].x;
    }
    const float mean = row_sum(sum) / total;
    for (uint i = gl_LocalInvocationID.x; i < count; i += gl_WorkGroupSize.x) {
        const uint block = i / group_units;
        const float n = float(min(span, places - block * span) * unit_size());
        const vec2 m = partial_moments.v[base + block * units + i % group_units];
        square += m.y + n * (m.x - mean) * (m.x - mean);
    }
    const float rstd = 1.0 / sqrt(row_sum(square) / total + eps);
    const float shift = first_of_group(image, group);
    precise const float center = shift + mean; // rounded
    precise const float rest = (shift - center) + mean; // what the rounding lost
    if (gl_LocalInvocationID.x == 0) stats.v[row] = vec4(center, rest, rstd, 0.0);
}
