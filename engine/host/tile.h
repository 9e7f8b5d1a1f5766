/* tile.h - the inner loop of our own products on the host: 6 rows times 16 columns, held in registers (12 of AVX2's 16; 6 of
 * AVX-512's 32, which is three quarters of its peak). GCC's vector types, so that one text serves every instruction set: the
 * functions that use it carry TS_CLONES. A vector that is longer than the processor's registers is no help: GCC takes it apart
 * into pairs of doubles, a tenth as fast. So the loop is there twice, for registers of 16 floats and for shorter ones. */
#ifndef TESSERA_HOST_TILE_H
#define TESSERA_HOST_TILE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { TS_TILE_ROWS = 6, TS_TILE_COLS = 16 };

typedef float ts_lanes __attribute__((vector_size(64)));

#ifdef __x86_64__
enum { TS_TILE_PARTS = 2 }; /* of a line of 16, where registers are shorter: AVX2's; elsewhere 4 floats are what all have */
#else
enum { TS_TILE_PARTS = 4 };
#endif
typedef float ts_part __attribute__((vector_size(64 / TS_TILE_PARTS)));

/* Whether a register holds all 16: known when the program starts, as the choice of TS_CLONES is. */
static inline bool ts_tile_whole(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

static inline __attribute__((always_inline)) void
ts_tile_add_whole(ts_lanes acc[TS_TILE_ROWS], const float *const row[TS_TILE_ROWS], int64_t step, int64_t k, const float *b)
{
    const ts_lanes *lanes = (const ts_lanes *)(const void *)b;
    ts_lanes a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3], a4 = acc[4], a5 = acc[5];
    const float *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3], *r4 = row[4], *r5 = row[5];
    for (int64_t i = 0; i < k; i++) {
        const ts_lanes v = lanes[i];
        a0 += r0[i * step] * v;
        a1 += r1[i * step] * v;
        a2 += r2[i * step] * v;
        a3 += r3[i * step] * v;
        a4 += r4[i * step] * v;
        a5 += r5[i * step] * v;
    }
    acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3, acc[4] = a4, acc[5] = a5;
}

static inline __attribute__((always_inline)) void
ts_tile_add_parts(ts_lanes acc[TS_TILE_ROWS], const float *const row[TS_TILE_ROWS], int64_t step, int64_t k, const float *b)
{
    const ts_part *parts = (const ts_part *)(const void *)b;
    ts_part sum[TS_TILE_ROWS][TS_TILE_PARTS];
    memcpy(sum, acc, sizeof sum);
    for (int64_t i = 0; i < k; i++) {
        ts_part v[TS_TILE_PARTS];
        for (int c = 0; c < TS_TILE_PARTS; c++) v[c] = parts[i * TS_TILE_PARTS + c];
        for (int r = 0; r < TS_TILE_ROWS; r++)
            for (int c = 0; c < TS_TILE_PARTS; c++) sum[r][c] += row[r][i * step] * v[c];
    }
    memcpy(acc, sum, sizeof sum);
}

/* acc[r][c] += sum over i < k of row[r][i step] b[i][c]; b (k, 16) is aligned to 64 bytes. */
static inline __attribute__((always_inline)) void
ts_tile_add_spread(ts_lanes acc[TS_TILE_ROWS], const float *const row[TS_TILE_ROWS], int64_t step, int64_t k, const float *b)
{
    if (ts_tile_whole()) ts_tile_add_whole(acc, row, step, k, b);
    else ts_tile_add_parts(acc, row, step, k, b);
}

/* The same of rows that lie in one piece. */
static inline __attribute__((always_inline)) void ts_tile_add(ts_lanes acc[TS_TILE_ROWS], const float *const row[TS_TILE_ROWS],
                                                              int64_t k, const float *b)
{
    ts_tile_add_spread(acc, row, 1, k, b);
}

#endif
