#version 460
// dx[n, row, column, c] = sum over the outputs that look at this place of their weight for it times dy[n, v, h, c].
// Push: dy, dx, count: units of dx; height, width of dx, channels in units; height and width of dy.
// Specialisation: elementwise.glsl (1: bicubic), wide.glsl. Dispatch: an invocation a unit of dx.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"
#include "resample.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy;
    OutReal dx;
    uint count, height, width, channels, out_height, out_width;
};

// The outputs that may look at place i; beyond the edge the edge is looked at.
uvec2 lookers(uint i, uint ins, uint outs)
{
    const float scale = float(outs) / float(ins);
    const float low = floor((float(i) - 2.0) * scale - 1.0), high = ceil((float(i) + 3.0) * scale + 1.0);
    uvec2 range = uvec2(uint(max(low, 0.0)), min(uint(high), outs));
    if (i == 0) range.x = 0;
    if (i == ins - 1) range.y = outs;
    return range;
}

float weight_of(Taps k, int i)
{
    return dot(k.weight, vec4(equal(k.at, ivec4(i))));
}

void main()
{
    const uint i = item_index();
    if (i >= count) return;
    const uint place = i / channels, c = i - place * channels, line = place / width, n = line / height;
    const uint row = line - n * height, column = place - line * width;
    const uvec2 down = lookers(row, height, out_height), across = lookers(column, width, out_width);
    vec4 sum = vec4(0.0);
    for (uint v = down.x; v < down.y; v++) {
        const float upper = weight_of(taps_of(v, height, out_height), int(row));
        if (upper == 0.0) continue;
        for (uint h = across.x; h < across.y; h++) {
            const float weight = upper * weight_of(taps_of(h, width, out_width), int(column));
            if (weight != 0.0) sum += weight * load_unit(dy, ((n * out_height + v) * out_width + h) * channels + c);
        }
    }
    store_unit(dx, i, sum);
}
