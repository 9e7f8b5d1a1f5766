#version 460
// out = act(A B + bias) + residual, A (m, k) plain rows or, with CONV, the places of an NHWC image under the kernel's taps; B (k, n) plain rows.
// The product for GPUs: a workgroup makes BM x BN outputs, 16 of k at a time through shared memory, each invocation TM x TN of them in
// registers. The next tiles are loaded into registers while the present ones are multiplied. A convolution is the same product: the tile of
// A is gathered from the image, which is never unrolled in memory. With fp16 storage the tiles are fp16 too, and so is the arithmetic within
// a tile: 16 products are summed in fp16, the tiles' sums in fp32, so that neither range nor digits run out along k.
//
// Push: matmul.glsl. Specialisation: 0 invocations, BM BN / (TM TN), 1 BM, 2 BN, 3 TM, 4 TN, 5 activation (ts_act), 6 convolution, 7 A can be
// loaded in fours (k, or the channels of an image, are a multiple of 4), 8 the same of B (n is). Dispatch: x blocks of BM rows from
// first_row, y blocks of BN columns.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "four.glsl"
#include "matmul.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 256;
layout(constant_id = 1) const uint BM = 64;
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 3) const uint TM = 4;
layout(constant_id = 4) const uint TN = 4;
layout(constant_id = 5) const uint ACT = 0;
layout(constant_id = 6) const bool CONV = false;
layout(constant_id = 7) const bool A_WIDE = true;
layout(constant_id = 8) const bool B_WIDE = true;

const uint BK = 16;
const uint A_STRIDE = BK / 4 + 1; // one more, so that rows start in different banks
const uint ACROSS = BN / TN;      // invocations along a row
const uint A_LOADS = BM * BK / 4 / THREADS, B_LOADS = BK * BN / 4 / THREADS; // of each invocation, a tile
const uint HALVES = TN / 4;

shared REAL4 a_tile[BM * A_STRIDE]; // [row][k / 4], four of k in a vector
shared REAL4 b_tile[BK * (BN / 4)]; // [k][column / 4], four columns in a vector

// One number of the image: row's corner is the place under the kernel's first tap, `base` the first number of its image.
float image_at(MatmulPush p, uint base, ivec2 corner, uint k)
{
    const uint tap = k / p.channels;
    const ivec2 at = corner + ivec2(tap % p.kernel_w, tap / p.kernel_w);
    if (at.x < 0 || at.y < 0 || at.x >= int(p.width) || at.y >= int(p.height)) return 0.0;
    return float(p.a.v[base + (at.y * p.width + at.x) * p.channels + k % p.channels]);
}

vec4 load_a(MatmulPush p, uint base, ivec2 corner, uint k)
{
    if (k >= p.k) return vec4(0.0);
    if (A_WIDE && !CONV) return load_four(p.a, base + k);
    if (A_WIDE) {
        const uint tap = k / p.channels;
        const ivec2 at = corner + ivec2(tap % p.kernel_w, tap / p.kernel_w);
        if (at.x < 0 || at.y < 0 || at.x >= int(p.width) || at.y >= int(p.height)) return vec4(0.0);
        return load_four(p.a, base + (at.y * p.width + at.x) * p.channels + k % p.channels);
    }
    vec4 v = vec4(0.0);
    [[unroll]] for (uint j = 0; j < 4; j++)
        if (k + j < p.k) v[j] = CONV ? image_at(p, base, corner, k + j) : float(p.a.v[base + k + j]);
    return v;
}

vec4 load_b(MatmulPush p, uint k, uint column)
{
    if (k >= p.k || column >= p.n) return vec4(0.0);
    const uint at = k * p.n + column;
    if (B_WIDE) return load_four(p.b, at);
    vec4 v = vec4(0.0);
    [[unroll]] for (uint j = 0; j < 4; j++)
        if (column + j < p.n) v[j] = float(p.b.v[at + j]);
    return v;
}

void main()
{
    MatmulPush p = push;
    const uint me = gl_LocalInvocationIndex;
    const uint first = p.first_row + gl_WorkGroupID.x * BM, left = gl_WorkGroupID.y * BN;

    // Where the rows of A that this invocation loads begin. Rows past the end are the last one again; they are not stored.
    uint base[A_LOADS];
    ivec2 corner[A_LOADS];
    [[unroll]] for (uint i = 0; i < A_LOADS; i++) {
        const uint row = min(first + (i * THREADS + me) / (BK / 4), p.m - 1);
        corner[i] = ivec2(0);
        base[i] = row * p.k;
        if (CONV) {
            const uint image = row / (p.out_height * p.out_width), place = row % (p.out_height * p.out_width);
            corner[i] = ivec2(place % p.out_width, place / p.out_width) * int(p.stride) - ivec2(p.left, p.top);
            base[i] = image * p.height * p.width * p.channels;
        }
    }
    const uint a_k = 4 * (me % (BK / 4));

    vec4 sum[TM * HALVES], next_a[A_LOADS], next_b[B_LOADS];
    [[unroll]] for (uint i = 0; i < TM * HALVES; i++) sum[i] = vec4(0.0);
    [[unroll]] for (uint i = 0; i < A_LOADS; i++) next_a[i] = load_a(p, base[i], corner[i], a_k);
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
        const uint at = i * THREADS + me;
        next_b[i] = load_b(p, at / (BN / 4), left + 4 * (at % (BN / 4)));
    }
    const uint my_row = me / ACROSS * TM, my_column = me % ACROSS;
    for (uint k = 0; k < p.k; k += BK) {
        barrier(); // the tiles of before may still be read
        [[unroll]] for (uint i = 0; i < A_LOADS; i++) {
            const uint at = i * THREADS + me;
            a_tile[at / (BK / 4) * A_STRIDE + at % (BK / 4)] = REAL4(next_a[i]);
        }
        [[unroll]] for (uint i = 0; i < B_LOADS; i++) b_tile[i * THREADS + me] = REAL4(next_b[i]);
        barrier();
        if (k + BK < p.k) {
            [[unroll]] for (uint i = 0; i < A_LOADS; i++) next_a[i] = load_a(p, base[i], corner[i], k + BK + a_k);
            [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
                const uint at = i * THREADS + me;
                next_b[i] = load_b(p, k + BK + at / (BN / 4), left + 4 * (at % (BN / 4)));
            }
        }
#ifdef REAL16
        REAL4 part[TM * HALVES];
        [[unroll]] for (uint i = 0; i < TM * HALVES; i++) part[i] = REAL4(0.0);
#define PART part
#else
#define PART sum
#endif
        [[unroll]] for (uint four = 0; four < BK / 4; four++) {
            REAL4 a[TM];
            [[unroll]] for (uint r = 0; r < TM; r++) a[r] = a_tile[(my_row + r) * A_STRIDE + four];
            [[unroll]] for (uint j = 0; j < 4; j++)
                [[unroll]] for (uint h = 0; h < HALVES; h++) {
                    const REAL4 b = b_tile[(4 * four + j) * (BN / 4) + h * ACROSS + my_column];
                    [[unroll]] for (uint r = 0; r < TM; r++) PART[r * HALVES + h] = fma(REAL4(a[r][j]), b, PART[r * HALVES + h]);
                }
        }
#ifdef REAL16
        [[unroll]] for (uint i = 0; i < TM * HALVES; i++) sum[i] += vec4(part[i]);
#endif
    }
    [[unroll]] for (uint h = 0; h < HALVES; h++) {
        const uint column = left + 4 * (h * ACROSS + my_column);
        const vec4 bias = bias_at(p, B_WIDE, column);
        [[unroll]] for (uint r = 0; r < TM; r++)
            if (first + my_row + r < p.m) finish(p, ACT, B_WIDE, first + my_row + r, column, sum[r * HALVES + h] + bias);
    }
}
