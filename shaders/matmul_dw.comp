#version 460
// dw (m, n) = A^T dY, see matmul_dw.glsl, for GPUs: a workgroup makes BM x BN outputs, 16 places at a time through shared memory, each
// invocation TM x TN of them in registers. The next tiles are loaded into registers while the present ones are multiplied. Both
// sides lie with the places as rows, so the tiles are stored as they are loaded: four rows, or columns, of dw in a vector.
//
// Push: matmul_dw.glsl. Specialisation: 0 invocations, BM BN / (TM TN), 1 BM, 2 BN, 3 TM, 4 TN, 5 convolution, 6 A can be loaded in fours
// (the channels are a multiple of 4), 7 the same of dY (n is), 8 split. Dispatch: x blocks of BM rows from first_row, y blocks of BN
// columns, z slices from first_slice.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "four.glsl"
#include "matmul_dw.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint BM = 64;
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 3) const uint TM = 4;
layout(constant_id = 4) const uint TN = 4;
layout(constant_id = 5) const bool CONV = false;
layout(constant_id = 6) const bool A_WIDE = true;
layout(constant_id = 7) const bool B_WIDE = true;
layout(constant_id = 8) const bool SPLIT = false;

const uint BK = 16;
const uint ACROSS = BN / TN; // invocations along a row
const uint A_LOADS = BM * BK / 4 / THREADS, B_LOADS = BK * BN / 4 / THREADS; // of each invocation, a tile
const uint A_STEP = THREADS / (BM / 4), B_STEP = THREADS / (BN / 4);         // places from one load to the next

shared vec4 a_tile[BK * (BM / 4)]; // [place][row / 4]
shared vec4 b_tile[BK * (BN / 4)]; // [place][column / 4]

// Row `row` of A^T at a place, and the three after it where `wide`.
vec4 load_row(DwPush p, uint place, uint row, bool wide)
{
    uint at = place * p.m + row;
    if (CONV) {
        const uint tap = row / p.channels, image = place / (p.out_height * p.out_width), rest = place % (p.out_height * p.out_width);
        const ivec2 seen = ivec2(rest % p.out_width, rest / p.out_width) * int(p.stride) +
                           ivec2(tap % p.kernel_w, tap / p.kernel_w) - ivec2(p.left, p.top);
        if (seen.x < 0 || seen.y < 0 || seen.x >= int(p.width) || seen.y >= int(p.height)) return vec4(0.0);
        at = ((image * p.height + seen.y) * p.width + seen.x) * p.channels + row % p.channels;
    }
    if (wide) return load_four(p.x, at);
    return vec4(float(p.x.v[at]), 0.0, 0.0, 0.0);
}

vec4 load_a(DwPush p, uint place, uint end, uint row)
{
    if (place >= end || row >= p.m) return vec4(0.0);
    if (A_WIDE) return load_row(p, place, row, true);
    vec4 v = vec4(0.0);
    [[unroll]] for (uint j = 0; j < 4; j++)
        if (row + j < p.m) v[j] = load_row(p, place, row + j, false).x;
    return v;
}

vec4 load_b(DwPush p, uint place, uint end, uint column)
{
    if (place >= end || column >= p.n) return vec4(0.0);
    const uint at = place * p.n + column;
    if (B_WIDE) return load_four(p.dy, at);
    vec4 v = vec4(0.0);
    [[unroll]] for (uint j = 0; j < 4; j++)
        if (column + j < p.n) v[j] = float(p.dy.v[at + j]);
    return v;
}

void main()
{
    DwPush p = push;
    const uint me = gl_LocalInvocationIndex;
    const uint first = p.first_row + gl_WorkGroupID.x * BM, left = gl_WorkGroupID.y * BN;
    const uint slice = p.first_slice + gl_WorkGroupID.z, begin = slice * p.slice, end = min(begin + p.slice, p.k);
    const uint a_row = first + 4 * (me % (BM / 4)), a_place = me / (BM / 4);
    const uint b_column = left + 4 * (me % (BN / 4)), b_place = me / (BN / 4);

    vec4 sum[TM * (TN / 4)], next_a[A_LOADS], next_b[B_LOADS];
    [[unroll]] for (uint i = 0; i < TM * (TN / 4); i++) sum[i] = vec4(0.0);
    [[unroll]] for (uint i = 0; i < A_LOADS; i++) next_a[i] = load_a(p, begin + i * A_STEP + a_place, end, a_row);
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) next_b[i] = load_b(p, begin + i * B_STEP + b_place, end, b_column);
    const uint my_row = me / ACROSS, my_column = me % ACROSS; // in steps of TM rows, and of four columns
    for (uint k = begin; k < end; k += BK) {
        barrier(); // the tiles of before may still be read
        [[unroll]] for (uint i = 0; i < A_LOADS; i++) a_tile[i * THREADS + me] = next_a[i];
        [[unroll]] for (uint i = 0; i < B_LOADS; i++) b_tile[i * THREADS + me] = next_b[i];
        barrier();
        if (k + BK < end) {
            [[unroll]] for (uint i = 0; i < A_LOADS; i++) next_a[i] = load_a(p, k + BK + i * A_STEP + a_place, end, a_row);
            [[unroll]] for (uint i = 0; i < B_LOADS; i++) next_b[i] = load_b(p, k + BK + i * B_STEP + b_place, end, b_column);
        }
        [[unroll]] for (uint j = 0; j < BK; j++) {
            vec4 a[TM / 4];
            [[unroll]] for (uint t = 0; t < TM / 4; t++) a[t] = a_tile[j * (BM / 4) + my_row * (TM / 4) + t];
            [[unroll]] for (uint h = 0; h < TN / 4; h++) {
                const vec4 b = b_tile[j * (BN / 4) + h * ACROSS + my_column];
                [[unroll]] for (uint r = 0; r < TM; r++)
                    sum[r * (TN / 4) + h] = fma(vec4(a[r / 4][r % 4]), b, sum[r * (TN / 4) + h]);
            }
        }
    }
    [[unroll]] for (uint r = 0; r < TM; r++)
        [[unroll]] for (uint h = 0; h < TN / 4; h++)
            store_dw(p, SPLIT, B_WIDE, slice, first + my_row * TM + r, left + 4 * (h * ACROSS + my_column),
                     sum[r * (TN / 4) + h]);
}
