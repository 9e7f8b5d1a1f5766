/* tile.h - the inner loop of our own products on the host: 6 rows times 16 columns, held in registers (12 of AVX2's 16; 6 of
 * AVX-512's 32, which is three quarters of its peak). GCC's vector type, so that one text serves every instruction set: the
 * functions that use it carry TS_CLONES. */
#ifndef TESSERA_HOST_TILE_H
#define TESSERA_HOST_TILE_H

#include <stdint.h>

enum { TS_TILE_ROWS = 6, TS_TILE_COLS = 16 };

typedef float ts_lanes __attribute__((vector_size(64)));

/* acc[r][c] += sum over i < k of row[r][i] b[i][c]; b (k, 16) is aligned to 64 bytes. */
static inline __attribute__((always_inline)) void ts_tile_add(ts_lanes acc[TS_TILE_ROWS], const float *const row[TS_TILE_ROWS],
                                                              int64_t k, const float *b)
{
    const ts_lanes *lanes = (const ts_lanes *)(const void *)b;
    ts_lanes a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3], a4 = acc[4], a5 = acc[5];
    const float *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3], *r4 = row[4], *r5 = row[5];
    for (int64_t i = 0; i < k; i++) {
        const ts_lanes v = lanes[i];
        a0 += r0[i] * v;
        a1 += r1[i] * v;
        a2 += r2[i] * v;
        a3 += r3[i] * v;
        a4 += r4[i] * v;
        a5 += r5[i] * v;
    }
    acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3, acc[4] = a4, acc[5] = a5;
}

#endif
