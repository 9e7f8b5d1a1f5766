#version 460
// out = act(A B + bias) + residual, A (m, k) the places of an NHWC image under the kernel's taps (plain rows are an image one pixel high under a
// 1x1 kernel), B (k, n). The product for drivers that run on the CPU (lavapipe): a workgroup is one subgroup and makes ROWS x 8 LANES
// outputs in registers. No shared memory, no barrier: there they are plain memory and a context switch.
//
// What such a driver is good at was read off its machine code. A load by address is a loop over the lanes, whatever its width, so loads are
// as wide as can be (64 bits) and each serves many rows. A shuffle from a constant lane is one instruction; a subgroupBroadcast is a
// search for a live lane. A push constant read in a loop is a gather each time, so all are copied first. A loop keeps its variables
// in memory under a mask, so four steps of k are taken at a time. B lies in panels (ts_vk_limits.panel): the columns of one workgroup are one
// stretch of memory, not k places in k pages. Compiling takes a second, so there are few specialisations: convolution and activation
// are no constants, they cost a hundredth.
//
// Push: matmul.glsl. Specialisation: 0 and 1 lanes, 2 rows, 3 A can be loaded in fours (channels is a multiple of 4), 4 the same of B (n is).
// Dispatch: x blocks of ROWS rows from first_row, y blocks of 8 LANES columns. x runs fastest, so that the panel of B stays in cache.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "matmul_cpu.glsl"

layout(constant_id = 2) const uint ROWS = 32;
layout(constant_id = 3) const bool A_WIDE = true;
layout(constant_id = 4) const bool B_WIDE = true;

const uint HELD = (ROWS + LANES - 1) / LANES; // rows of A that a lane loads
const uint TILE = 8 * LANES;                  // columns of a workgroup: each lane has 4 in each half

void main()
{
    MatmulPush p = push;
    const uint lane = gl_SubgroupInvocationID;
    const uint first = p.first_row + gl_WorkGroupID.x * ROWS, tile = gl_WorkGroupID.y * TILE;

    // B: `step` numbers from one row to the next, from the place of this lane's columns in each half.
    const uint width = min(TILE, p.n - tile), step = p.panel != 0 ? width : p.n;
    const uint64_t b = uint64_t(p.b) + BYTES * (p.panel != 0 ? uint64_t(tile) * p.k : uint64_t(tile));
    uint column[2];
    Four64 b_four[2];
    [[unroll]] for (uint h = 0; h < 2; h++) {
        column[h] = 4 * (h * LANES + lane);
        if (B_WIDE) b_four[h] = Four64(b + BYTES * min(column[h], width - 4));
    }

    // A: the rows this lane loads, each by its image and the place in it under the kernel's first tap. Rows past the end are the last
    // one again; they are not stored.
    uint64_t image[HELD];
    ivec2 corner[HELD];
    [[unroll]] for (uint h = 0; h < HELD; h++) locate(p, min(first + h * LANES + lane, p.m - 1), image[h], corner[h]);

    vec4 sum[2 * ROWS];
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) sum[i] = vec4(0.0);
    const uint taps = A_WIDE ? p.k / p.channels : 1;
    const uint fours = A_WIDE ? p.channels / 4 : (p.k + 3) / 4;
    for (uint tap = 0; tap < taps; tap++) {
        Four64 a_four[HELD];
        bool inside[HELD];
        [[unroll]] for (uint h = 0; h < HELD; h++) {
            const ivec2 at = corner[h] + ivec2(tap % p.kernel_w, tap / p.kernel_w);
            inside[h] = in_image(p, at);
            a_four[h] = Four64(image[h] + (inside[h] ? BYTES * pixel(p, at) : 0));
        }
        for (uint four = 0; four < fours; four++) {
            const uint k = 4 * (tap * fours + four);
            vec4 a[HELD], b0[4], b1[4];
            [[unroll]] for (uint h = 0; h < HELD; h++) {
                if (A_WIDE) {
                    a[h] = load_four64(a_four[h], four);
                    a[h] = inside[h] ? a[h] : vec4(0.0);
                } else {
                    [[unroll]] for (uint j = 0; j < 4; j++) {
                        const uint t = (k + j) / p.channels;
                        const ivec2 at = corner[h] + ivec2(t % p.kernel_w, t / p.kernel_w);
                        const bool good = k + j < p.k && in_image(p, at);
                        const float v = float(InReal(image[h] + (good ? BYTES * (pixel(p, at) + (k + j) % p.channels) : 0)).v[0]);
                        a[h][j] = good ? v : 0.0;
                    }
                }
            }
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const uint row = A_WIDE ? k + j : min(k + j, p.k - 1);
                if (B_WIDE) {
                    b0[j] = load_four64(b_four[0], row * (step / 4));
                    b1[j] = load_four64(b_four[1], row * (step / 4));
                } else {
                    InReal from = InReal(b + BYTES * (uint64_t(row) * step));
                    [[unroll]] for (uint i = 0; i < 4; i++) {
                        b0[j][i] = float(from.v[min(column[0] + i, width - 1)]);
                        b1[j][i] = float(from.v[min(column[1] + i, width - 1)]);
                    }
                }
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                [[unroll]] for (uint j = 0; j < 4; j++) {
                    const float v = subgroupShuffle(a[r / LANES][j], r % LANES);
                    sum[2 * r] += v * b0[j];
                    sum[2 * r + 1] += v * b1[j];
                }
        }
    }

    // A loop that is not unrolled: activation, residual and store are long, and would be there 2 ROWS times.
    vec4 result[2 * ROWS];
    const vec4 bias[2] = {bias_at(p, B_WIDE, tile + column[0]), bias_at(p, B_WIDE, tile + column[1])};
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) result[i] = sum[i] + bias[i & 1];
    const uint stored = min(ROWS, p.m - first);
    for (uint i = 0; i < 2 * stored; i++)
        finish(p, p.act, B_WIDE, first + i / 2, tile + column[i & 1], result[i]);
}
