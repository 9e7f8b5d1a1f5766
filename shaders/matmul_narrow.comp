#version 460
// The product of matmul_cpu.comp where n is at most 4 (a convolution to RGB): there most of a wide tile would be lost. A lane has whole rows of
// out, and loads A for itself; the 4 x n numbers of B are loaded once by the lanes and shuffled.
//
// Push: matmul.glsl. Specialisation: 0 and 1 lanes, 2 n is 4. channels is a multiple of 4. Dispatch: x blocks of ROWS LANES rows from first_row.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "matmul_cpu.glsl"

layout(constant_id = 2) const bool B_WIDE = false;

const uint ROWS = 4;                          // of a lane
const uint B_LOADS = (16 + LANES - 1) / LANES; // of a lane, for 4 rows of B

void main()
{
    MatmulPush p = push;
    const uint lane = gl_SubgroupInvocationID, first = p.first_row + gl_WorkGroupID.x * ROWS * LANES + lane;
    uint64_t image[ROWS];
    ivec2 corner[ROWS];
    vec4 sum[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        locate(p, min(first + r * LANES, p.m - 1), image[r], corner[r]);
        sum[r] = vec4(0.0);
    }
    // Which of the 16 numbers this lane loads; those past n are another one, and give columns that are not stored.
    uint place[B_LOADS];
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
        const uint at = min(i * LANES + lane, 15);
        place[i] = at / 4 * p.n + min(at % 4, p.n - 1);
    }
    const uint taps = p.k / p.channels, fours = p.channels / 4;
    for (uint tap = 0; tap < taps; tap++) {
        Four64 a_four[ROWS];
        bool inside[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            const ivec2 at = corner[r] + ivec2(tap % p.kernel_w, tap / p.kernel_w);
            inside[r] = in_image(p, at);
            a_four[r] = Four64(image[r] + (inside[r] ? BYTES * pixel(p, at) : 0));
        }
        for (uint four = 0; four < fours; four++) {
            const uint row = 4 * (tap * fours + four);
            vec4 a[ROWS];
            float b[B_LOADS];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                a[r] = load_four64(a_four[r], four);
                a[r] = inside[r] ? a[r] : vec4(0.0);
            }
            [[unroll]] for (uint i = 0; i < B_LOADS; i++) b[i] = float(p.b.v[row * p.n + place[i]]);
            [[unroll]] for (uint j = 0; j < 4; j++) {
                vec4 v;
                [[unroll]] for (uint i = 0; i < 4; i++) v[i] = subgroupShuffle(b[(4 * j + i) / LANES], (4 * j + i) % LANES);
                [[unroll]] for (uint r = 0; r < ROWS; r++) sum[r] += a[r][j] * v;
            }
        }
    }
    const vec4 bias = bias_at(p, B_WIDE, 0);
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        if (first + r * LANES < p.m) finish(p, p.act, B_WIDE, first + r * LANES, 0, sum[r] + bias);
}
