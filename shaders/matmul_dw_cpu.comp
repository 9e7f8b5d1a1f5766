#version 460
// dw (m, n) = A^T dY, see matmul_dw.glsl, for drivers that run on the CPU: a workgroup is one subgroup and makes ROWS x 8 LANES outputs in
// registers, as in matmul_cpu.comp, which tells what such a driver is good at. A lane holds four rows of A^T, which lie side by side in
// a pixel; the rows are handed round by shuffles from constant lanes. The place in the image goes on from step to step, since a division
// is slow there. x and dY lie in panels (panel_pack.comp), x of X_PANEL channels and dY of 8 LANES columns: what a workgroup reads
// of each are stretches of memory, not as many places in as many pages.
//
// Push: matmul_dw.glsl. Specialisation: 0 and 1 lanes, 2 rows, 3 convolution, 4 A can be loaded in fours (the channels are a multiple of
// 4), 5 the same of dY (n is), 6 split. Dispatch: x blocks of ROWS rows from first_row, y blocks of 8 LANES columns, z slices
// from first_slice.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "four64.glsl"
#include "matmul_dw.glsl"
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 8;
layout(constant_id = 2) const uint ROWS = 32;
layout(constant_id = 3) const bool CONV = false;
layout(constant_id = 4) const bool A_WIDE = true;
layout(constant_id = 5) const bool B_WIDE = true;
layout(constant_id = 6) const bool SPLIT = false;

const uint HELD = (ROWS + 4 * LANES - 1) / (4 * LANES); // fours of rows that a lane loads
const uint X_PANEL = 4 * LANES;
const uint TILE = 8 * LANES;                            // columns of a workgroup: each lane has 4 in each half

void main()
{
    DwPush p = push;
    const uint lane = gl_SubgroupInvocationID;
    const uint first = p.first_row + gl_WorkGroupID.x * ROWS, tile = gl_WorkGroupID.y * TILE;
    const uint slice = p.first_slice + gl_WorkGroupID.z, begin = slice * p.slice, end = min(begin + p.slice, p.k);
    const uint width = min(TILE, p.n - tile);
    uint column[2]; // in its panel
    [[unroll]] for (uint h = 0; h < 2; h++) column[h] = 4 * (h * LANES + lane);

    // The rows this lane loads, singly where A is not wide: their channel, and their tap as a step from the place. Rows past the end
    // are the last ones again; they are not stored.
    const uint EACH = A_WIDE ? 1 : 4;
    uint channel[4 * HELD], step[4 * HELD]; // where pixel 0 has it, and how far it is to the next pixel
    ivec2 tap[4 * HELD];
    [[unroll]] for (uint h = 0; h < HELD; h++)
        [[unroll]] for (uint e = 0; e < EACH; e++) {
            const uint row = min(first + 4 * (h * LANES + lane) + e, p.m - (A_WIDE ? 4 : 1));
            const uint c = CONV ? row % p.channels : row, panel = c / X_PANEL * X_PANEL;
            channel[4 * h + e] = panel * p.pixels + c - panel;
            step[4 * h + e] = min(X_PANEL, p.channels - panel);
            const uint t = CONV ? row / p.channels : 0;
            tap[4 * h + e] = CONV ? ivec2(t % p.kernel_w, t / p.kernel_w) - ivec2(p.left, p.top) : ivec2(0);
        }

    vec4 sum[2 * ROWS];
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) sum[i] = vec4(0.0);
    uint ox = 0, oy = 0, image = 0;
    if (CONV) {
        ox = begin % p.out_width;
        oy = begin / p.out_width % p.out_height;
        image = begin / (p.out_width * p.out_height);
    }
    for (uint k = begin; k < end; k += 4) {
        vec4 a[4 * HELD], b0[4], b1[4];
        [[unroll]] for (uint j = 0; j < 4; j++) {
            const uint place = min(k + j, end - 1);
            const bool past = k + j >= end;
            [[unroll]] for (uint h = 0; h < HELD; h++) {
                vec4 v = vec4(0.0);
                [[unroll]] for (uint e = 0; e < EACH; e++) {
                    uint at = channel[4 * h + e] + place * step[4 * h + e];
                    bool zero = past;
                    if (CONV) {
                        const ivec2 seen = ivec2(ox, oy) * int(p.stride) + tap[4 * h + e];
                        zero = zero || seen.x < 0 || seen.y < 0 || seen.x >= int(p.width) || seen.y >= int(p.height);
                        at = channel[4 * h + e];
                        if (!zero) at += ((image * p.height + seen.y) * p.width + seen.x) * step[4 * h + e];
                    }
                    if (A_WIDE) {
                        v = load_four(p.x, at);
                        v = zero ? vec4(0.0) : v;
                    } else {
                        const float number = float(p.x.v[at]);
                        v[e] = zero ? 0.0 : number;
                    }
                }
                a[4 * h + j] = v;
            }
            const uint row = tile * p.k + place * width;
            if (B_WIDE) {
                b0[j] = load_four(p.dy, row + min(column[0], width - 4));
                b1[j] = load_four(p.dy, row + min(column[1], width - 4));
            } else {
                [[unroll]] for (uint i = 0; i < 4; i++) {
                    b0[j][i] = float(p.dy.v[row + min(column[0] + i, width - 1)]);
                    b1[j][i] = float(p.dy.v[row + min(column[1] + i, width - 1)]);
                }
            }
            if (CONV) {
                ox++;
                const bool line = ox == p.out_width;
                ox = line ? 0 : ox;
                oy += line ? 1 : 0;
                const bool next = oy == p.out_height;
                oy = next ? 0 : oy;
                image += next ? 1 : 0;
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const float v = subgroupShuffle(a[r / (4 * LANES) * 4 + j][r % 4], r / 4 % LANES);
                sum[2 * r] += v * b0[j];
                sum[2 * r + 1] += v * b1[j];
            }
    }
    const uint stored = min(ROWS, p.m - first);
    vec4 result[2 * ROWS];
    [[unroll]] for (uint i = 0; i < 2 * ROWS; i++) result[i] = sum[i];
    for (uint i = 0; i < 2 * stored; i++) store_dw(p, SPLIT, B_WIDE, slice, first + i / 2, tile + column[i & 1], result[i]);
}
