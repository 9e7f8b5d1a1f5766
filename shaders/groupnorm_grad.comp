#version 460
// The gradient of groupnorm: over the places of an image and the channels of a group, xhat = (x - mean) / sqrt(var + eps), q = dy gamma,
//     dx = (q - mean(q) - xhat mean(q xhat)) / sqrt(var + eps),   p = dy xhat (summed over images and places elsewhere: dgamma).
// Push: x (images, places, channels), gamma (channels), dy, dx, p as x; images, places, channels, groups, eps.
// Specialisation: 0 width of the workgroup, 1 subgroups in it (rows.glsl), 2 channels at a time, four or one (wide.glsl).
// Dispatch: one workgroup a group of an image. Units: channels in fours where a group's number of them allows it, else single.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, gamma, dy;
    OutReal dx, p;
    uint images, places, units, groups;
    float eps;
};

void main()
{
    const uint row = row_index();
    if (row >= images * groups) return;
    const uint width = units / groups, unit = row % groups * width, base = row / groups * places * units + unit;
    const uint lane = gl_LocalInvocationID.x, stride = gl_WorkGroupSize.x, count = places * width;
    const float total = float(count * unit_size()), shift = float(x.v[base * unit_size()]); // differences from it keep their digits
    const vec4 mask = unit_mask();
    vec4 sum = vec4(0.0), square = vec4(0.0), q_sum = vec4(0.0), qx_sum = vec4(0.0);
    for (uint i = lane; i < count; i += stride) sum += load_unit(x, base + i / width * units + i % width) - shift;
    const float mean = row_sum(dot(sum, mask)) / total;
    for (uint i = lane; i < count; i += stride) {
        const vec4 d = load_unit(x, base + i / width * units + i % width) - shift - mean;
        square += d * d;
    }
    const float rstd = 1.0 / sqrt(row_sum(dot(square, mask)) / total + eps);
    for (uint i = lane; i < count; i += stride) {
        const uint at = base + i / width * units + i % width;
        const vec4 d = load_unit(dy, at), product = d * ((load_unit(x, at) - shift - mean) * rstd);
        const vec4 weight = load_unit(gamma, unit + i % width);
        store_unit(p, at, product);
        q_sum += d * weight;
        qx_sum += product * weight;
    }
    const float q_mean = row_sum(dot(q_sum, mask)) / total, qx_mean = row_sum(dot(qx_sum, mask)) / total;
    for (uint i = lane; i < count; i += stride) {
        const uint at = base + i / width * units + i % width;
        const vec4 q = load_unit(dy, at) * load_unit(gamma, unit + i % width);
        store_unit(dx, at, rstd * (q - q_mean - (load_unit(x, at) - shift - mean) * rstd * qx_mean));
    }
}
