#version 460
// The gradient of groupnorm: over the places of an image and the channels of a group, xhat = (x - mean) / sqrt(var + eps), q = dy gamma,
//     dx = (q - mean(q) - xhat mean(q xhat)) / sqrt(var + eps),   p = dy xhat (summed over images and places elsewhere: dgamma).
// Push: x (images, places, channels), gamma (channels), dy, dx, p as x; images, places, channels, groups, eps.
// Specialisation: 0 width of the workgroup, 1 subgroups in it (rows.glsl). Dispatch: one workgroup a group of an image. A lane takes a place at a
// time, so that no loop has more turns than places / lanes.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, gamma, dy;
    OutReal dx, p;
    uint images, places, channels, groups;
    float eps;
};

void main()
{
    const uint row = row_index();
    if (row >= images * groups) return;
    const uint width = channels / groups, channel = row % groups * width, base = row / groups * places * channels + channel;
    const uint lane = gl_LocalInvocationID.x, stride = gl_WorkGroupSize.x;
    const float total = float(places * width), shift = float(x.v[base]); // differences from it keep their digits
    float sum = 0.0, square = 0.0, q_sum = 0.0, qx_sum = 0.0;
    for (uint place = lane; place < places; place += stride)
        for (uint c = 0; c < width; c++) sum += float(x.v[base + place * channels + c]) - shift;
    const float mean = row_sum(sum) / total;
    for (uint place = lane; place < places; place += stride)
        for (uint c = 0; c < width; c++) {
            const float d = float(x.v[base + place * channels + c]) - shift - mean;
            square += d * d;
        }
    const float rstd = 1.0 / sqrt(row_sum(square) / total + eps);
    for (uint place = lane; place < places; place += stride)
        for (uint c = 0; c < width; c++) {
            const uint at = base + place * channels + c;
            const float d = float(dy.v[at]), product = d * ((float(x.v[at]) - shift - mean) * rstd), weight = float(gamma.v[channel + c]);
            p.v[at] = REAL(product);
            q_sum += d * weight;
            qx_sum += product * weight;
        }
    q_sum = row_sum(q_sum) / total;
    qx_sum = row_sum(qx_sum) / total;
    for (uint place = lane; place < places; place += stride)
        for (uint c = 0; c < width; c++) {
            const uint at = base + place * channels + c;
            const float q = float(dy.v[at]) * float(gamma.v[channel + c]);
            dx.v[at] = REAL(rstd * (q - q_sum - (float(x.v[at]) - shift - mean) * rstd * qx_sum));
        }
}
