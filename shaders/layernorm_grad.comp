#version 460
// The gradient of layernorm over rows of `width`: with xhat = (x - mean) / sqrt(var + eps) and q = dy gamma,
//     dx = (q - mean(q) - xhat mean(q xhat)) / sqrt(var + eps),   p = dy xhat (summed over rows elsewhere, it is dgamma).
// Push: x (rows, width), gamma (width), dy, dx, p (rows, width); rows, width, eps.
// Specialisation: 0 width of the workgroup, 1 subgroups in it (rows.glsl). Dispatch: one workgroup a row, in x and y (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rows.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x, gamma, dy;
    OutReal dx, p;
    uint rows, width;
    float eps;
};

void main()
{
    const uint row = row_index();
    if (row >= rows) return;
    const uint base = row * width, lane = gl_LocalInvocationID.x, stride = gl_WorkGroupSize.x;
    float sum = 0.0, square = 0.0, q_sum = 0.0, qx_sum = 0.0;
    for (uint i = lane; i < width; i += stride) sum += float(x.v[base + i]);
    const float mean = row_sum(sum) / float(width);
    for (uint i = lane; i < width; i += stride) {
        const float d = float(x.v[base + i]) - mean;
        square += d * d;
    }
    const float rstd = inversesqrt(row_sum(square) / float(width) + eps);
    for (uint i = lane; i < width; i += stride) {
        const float d = float(dy.v[base + i]), product = d * ((float(x.v[base + i]) - mean) * rstd);
        p.v[base + i] = REAL(product);
        q_sum += d * float(gamma.v[i]);
        qx_sum += product * float(gamma.v[i]);
    }
    q_sum = row_sum(q_sum) / float(width);
    qx_sum = row_sum(qx_sum) / float(width);
    for (uint i = lane; i < width; i += stride) {
        const float q = float(dy.v[base + i]) * float(gamma.v[i]);
        dx.v[base + i] = REAL(rstd * (q - q_sum - (float(x.v[base + i]) - mean) * rstd * qx_sum));
    }
}
