#version 460
// y[n,y,x,c] = act(b[c] + sum over i, j of x[n, y stride + i - top, x stride + j - left, c] w[i,j,c]) + residual[n,y,x,c], zeros outside.
// Push: x, w (kernel_h, kernel_w, channels), bias, residual (null where there is none), y, sizes (depthwise.glsl).
// Specialisation: elementwise.glsl, wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference_uvec2 : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"
#include "math.glsl"
#include "depthwise.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, w, bias, residual;
    OutReal y;
    Sizes sizes;
};

bool present(InReal p)
{
    return any(notEqual(uvec2(p), uvec2(0)));
}

void main()
{
    const uint i = item_index();
    if (i >= sizes.count) return;
    const uint place = i / sizes.channels, c = i - place * sizes.channels, line = place / sizes.out_width;
    const uint column = place - line * sizes.out_width, image = line / sizes.out_height, row = line - image * sizes.out_height;
    vec4 sum = vec4(0.0);
    if (present(bias)) sum = load_unit(bias, c);
    for (uint ky = 0; ky < sizes.kernel_h; ky++) {
        const uint from_row = row * sizes.stride + ky - sizes.top; // one before the first is very large
        if (from_row >= sizes.height) continue;
        for (uint kx = 0; kx < sizes.kernel_w; kx++) {
            const uint from = column * sizes.stride + kx - sizes.left;
            if (from >= sizes.width) continue;
            sum += load_unit(x, ((image * sizes.height + from_row) * sizes.width + from) * sizes.channels + c) *
                   load_unit(w, (ky * sizes.kernel_w + kx) * sizes.channels + c);
        }
    }
    if (sizes.act == 1) sum = gelu(sum);
    if (sizes.act == 2) sum = quick_gelu(sum);
    if (sizes.act == 3) sum = swish(sum);
    if (present(residual)) sum += load_unit(residual, i);
    store_unit(y, i, sum);
}
