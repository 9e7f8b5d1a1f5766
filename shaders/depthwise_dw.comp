#version 460
// dw[i,j,c] = sum over n, y, x of dy[n,y,x,c] x[n, y stride + i - top, x stride + j - left, c], zeros outside.
// Push: dy, x, dw (kernel_h, kernel_w, channels), sizes (depthwise.glsl), places of all of dy's images.
// Specialisation: rows.glsl, wide.glsl. Dispatch: a workgroup a unit of dw.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"
#include "depthwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy, x;
    OutReal dw;
    Sizes sizes;
    uint places;
};

void main()
{
    const uint i = row_index();
    if (i >= sizes.count) return;
    const uint tap = i / sizes.channels, c = i - tap * sizes.channels, ky = tap / sizes.kernel_w, kx = tap - ky * sizes.kernel_w;
    vec4 sum = vec4(0.0);
    for (uint k = gl_LocalInvocationID.x; k < places; k += gl_WorkGroupSize.x) {
        const uint line = k / sizes.out_width, image = line / sizes.out_height;
        const uint row = (line - image * sizes.out_height) * sizes.stride + ky - sizes.top; // one before the first is very large
        const uint column = (k - line * sizes.out_width) * sizes.stride + kx - sizes.left;
        if (row < sizes.height && column < sizes.width)
            sum += load_unit(dy, k * sizes.channels + c) *
                   load_unit(x, ((image * sizes.height + row) * sizes.width + column) * sizes.channels + c);
    }
    [[unroll]] for (uint k = 0; k < 4; k++) sum[k] = row_sum(sum[k]);
    if (gl_LocalInvocationID.x == 0) store_unit(dw, i, sum);
}
