/* numpy.c - MT19937 (Matsumoto and Nishimura 1998), seeded and drawn from as numpy's RandomState has it, whose stream is frozen:
 * a number below a bound is what is below it of the bits that the bound has, drawn until one fits; a permutation is Fisher and
 * Yates's shuffle from the end, its places drawn so. */
#include "grid/numpy.h"

enum { WORDS = 624, AHEAD = 397 };

void ts_numpy_seed(ts_numpy *r, uint32_t seed)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        r->key[i] = seed;
        seed = 1812433253u * (seed ^ seed >> 30) + i + 1;
    }
    r->at = WORDS;
}

static void refill(ts_numpy *r)
{
    for (int i = 0; i < WORDS; i++) {
        const uint32_t y = (r->key[i] & 0x80000000u) | (r->key[(i + 1) % WORDS] & 0x7fffffffu);
        r->key[i] = r->key[(i + AHEAD) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->at = 0;
}

uint32_t ts_numpy_next(ts_numpy *r)
{
    if (r->at == WORDS) refill(r);
    uint32_t y = r->key[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

int32_t ts_numpy_below(ts_numpy *r, int32_t count)
{
    const uint32_t most = count > 1 ? (uint32_t)count - 1 : 0;
    uint32_t mask = most, value;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    if (most == 0) return 0;
    do value = ts_numpy_next(r) & mask;
    while (value > most);
    return (int32_t)value;
}

void ts_numpy_permutation(ts_numpy *r, int32_t count, int32_t *out)
{
    for (int32_t i = 0; i < count; i++) out[i] = i;
    for (int32_t i = count - 1; i > 0; i--) {
        const int32_t j = ts_numpy_below(r, i + 1), other = out[j];
        out[j] = out[i];
        out[i] = other;
    }
}
