#version 460
// dx[n,y,x,c] = sum over i, j of dy[n, (y + top - i) / stride, (x + left - j) / stride, c] w[i,j,c], where the stride divides.
// Push: dy, w (kernel_h, kernel_w, channels), dx, sizes (depthwise.glsl).
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of dx.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"
#include "depthwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy, w;
    OutReal dx;
    Sizes sizes;
};

void main()
{
    const uint i = item_index();
    if (i >= sizes.count) return;
    const uint place = i / sizes.channels, c = i - place * sizes.channels, line = place / sizes.width;
    const uint column = place - line * sizes.width, image = line / sizes.height, row = line - image * sizes.height;
    vec4 sum = vec4(0.0);
    for (uint ky = 0; ky < sizes.kernel_h; ky++) {
        const int down = int(row) + sizes.top - int(ky);
        if (down < 0 || uint(down) % sizes.stride != 0 || uint(down) / sizes.stride >= sizes.out_height) continue;
        for (uint kx = 0; kx < sizes.kernel_w; kx++) {
            const int across = int(column) + sizes.left - int(kx);
            if (across < 0 || uint(across) % sizes.stride != 0 || uint(across) / sizes.stride >= sizes.out_width) continue;
            const uint from = (image * sizes.out_height + uint(down) / sizes.stride) * sizes.out_width + uint(across) / sizes.stride;
            sum += load_unit(dy, from * sizes.channels + c) * load_unit(w, (ky * sizes.kernel_w + kx) * sizes.channels + c);
        }
    }
    store_unit(dx, i, sum);
}
