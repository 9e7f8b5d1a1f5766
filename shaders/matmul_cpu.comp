#version 460
// out = act(A B + bias) + residual, A (m, k) plain rows or, with CONV, the places of an NHWC image under the kernel's taps; B (k, n).
// The product for drivers that run on the CPU (lavapipe): a workgroup is one subgroup and makes ROWS x 8 LANES outputs in registers. No shared
// memory, no barrier: there they are plain memory and a context switch.
//
// What such a driver is good at was read off its machine code. A load by address is a loop over the lanes, whatever its width, so loads are
// as wide as can be (64 bits) and each serves many rows. A shuffle from a constant lane is one instruction; a subgroupBroadcast is a
// search for a live lane. A push constant read in a loop is a gather each time, so all are copied first. A loop keeps its variables
// in memory under a mask, so four steps of k are taken at a time. B lies in panels (ts_vk_limits.panel): the columns of one workgroup are one
// stretch of memory, not k places in k pages.
//
// Push: below. Specialisation: 0 and 1 lanes, 2 rows, 3 activation (ts_act), 4 convolution, 5 rows of A can be loaded in fours (k, or the channels
// of an image, are a multiple of 4), 6 the same of columns (n is). Dispatch: x blocks of ROWS rows from first_row, y blocks of 8 LANES columns.
// x runs fastest, so that the panel of B stays in cache.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "matmul.glsl"
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 8;
layout(constant_id = 2) const uint ROWS = 32;
layout(constant_id = 3) const uint ACT = 0;
layout(constant_id = 4) const bool CONV = false;
layout(constant_id = 5) const bool A_WIDE = true;
layout(constant_id = 6) const bool B_WIDE = true;

const uint HELD = (ROWS + LANES - 1) / LANES; // rows of A that a lane loads
const uint TILE = 8 * LANES;                  // columns of a workgroup: each lane has 4 in each half
const uint BYTES = REAL_BYTES;

// Four numbers in 64-bit loads.
#ifdef REAL16
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Four { uint64_t v[]; };
vec4 load_four(Four p, uint at)
{
    const uvec2 w = unpackUint2x32(p.v[at]);
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}
#else
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Four { u64vec2 v[]; };
vec4 load_four(Four p, uint at)
{
    const u64vec2 w = p.v[at];
    return vec4(uintBitsToFloat(unpackUint2x32(w.x)), uintBitsToFloat(unpackUint2x32(w.y)));
}
#endif

void main()
{
    MatmulPush p = push;
    const uint lane = gl_SubgroupInvocationID;
    const uint first = p.first_row + gl_WorkGroupID.x * ROWS, tile = gl_WorkGroupID.y * TILE;

    // B: `step` numbers from one row to the next, from the place of this lane's columns in each half.
    const uint width = min(TILE, p.n - tile), step = p.panel != 0 ? width : p.n;
    const uint64_t b = uint64_t(p.b) + BYTES * (p.panel != 0 ? uint64_t(tile) * p.k : uint64_t(tile));
    uint column[2];
    Four b_four[2];
    [[unroll]] for (uint h = 0; h < 2; h++) {
        column[h] = 4 * (h * LANES + lane);
        if (B_WIDE) b_four[h] = Four(b + BYTES * min(column[h], width - 4));
    }

    // A: the rows this lane loads. Rows past the end are the last one again; they are not stored.
    uint64_t a_row[HELD]; // its numbers, or its image
    ivec2 corner[HELD];   // the place in the image under the kernel's first tap
    [[unroll]] for (uint h = 0; h < HELD; h++) {
        const uint row = min(first + h * LANES + lane, p.m - 1);
        if (CONV) {
            const uint image = row / (p.out_height * p.out_width), place = row % (p.out_height * p.out_width);
            corner[h] = ivec2(place % p.out_width, place / p.out_width) * int(p.stride) - ivec2(p.left, p.top);
            a_row[h] = uint64_t(p.a) + BYTES * (uint64_t(image) * p.height * p.width * p.channels);
        } else {
            a_row[h] = uint64_t(p.a) + BYTES * (uint64_t(row) * p.k);
        }
    }

    vec4 sum[2 * ROWS];
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) sum[i] = vec4(0.0);
    const uint taps = CONV && A_WIDE ? p.k / p.channels : 1;
    const uint fours = A_WIDE ? (CONV ? p.channels : p.k) / 4 : (p.k + 3) / 4;
    for (uint tap = 0; tap < taps; tap++) {
        Four a_four[HELD];
        bool inside[HELD];
        if (A_WIDE) {
            const ivec2 shift = CONV ? ivec2(tap % p.kernel_w, tap / p.kernel_w) : ivec2(0);
            [[unroll]] for (uint h = 0; h < HELD; h++) {
                uint64_t from = a_row[h];
                if (CONV) {
                    const ivec2 at = corner[h] + shift;
                    inside[h] = at.x >= 0 && at.y >= 0 && at.x < int(p.width) && at.y < int(p.height);
                    if (inside[h]) from += BYTES * ((uint64_t(at.y) * p.width + at.x) * p.channels);
                }
                a_four[h] = Four(from);
            }
        }
        for (uint four = 0; four < fours; four++) {
            const uint k = 4 * (tap * fours + four);
            vec4 a[HELD], b0[4], b1[4];
            [[unroll]] for (uint h = 0; h < HELD; h++) {
                if (A_WIDE) {
                    a[h] = load_four(a_four[h], four);
                    if (CONV) a[h] = inside[h] ? a[h] : vec4(0.0);
                } else {
                    [[unroll]] for (uint j = 0; j < 4; j++) {
                        const uint c = min(k + j, p.k - 1);
                        bool zero = k + j >= p.k;
                        uint64_t from = a_row[h] + BYTES * c;
                        if (CONV) {
                            const uint t = c / p.channels;
                            const ivec2 at = corner[h] + ivec2(t % p.kernel_w, t / p.kernel_w);
                            zero = zero || at.x < 0 || at.y < 0 || at.x >= int(p.width) || at.y >= int(p.height);
                            from = a_row[h];
                            if (!zero) from += BYTES * ((uint64_t(at.y) * p.width + at.x) * p.channels + c % p.channels);
                        }
                        const float v = float(InReal(from).v[0]);
                        a[h][j] = zero ? 0.0 : v;
                    }
                }
            }
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const uint row = A_WIDE ? k + j : min(k + j, p.k - 1);
                if (B_WIDE) {
                    b0[j] = load_four(b_four[0], row * (step / 4));
                    b1[j] = load_four(b_four[1], row * (step / 4));
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

    // A loop that is not unrolled: bias, activation and residual are long, and would be there 2 ROWS times.
    vec4 result[2 * ROWS];
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) result[i] = sum[i];
    const uint stored = min(ROWS, p.m - first);
    for (uint i = 0; i < 2 * stored; i++)
        finish(p, ACT, B_WIDE, first + i / 2, tile + column[i & 1], result[i]);
}
