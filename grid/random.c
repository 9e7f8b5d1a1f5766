/* random.c - xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. */
#include "grid/random.h"

#include "engine/engine.h"

uint64_t ts_random_mix(uint64_t x)
{
    return ts_splitmix(&x);
}

void ts_random_seed(ts_random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->s[i] = ts_random_mix(seed);
        seed += UINT64_C(0x9e3779b97f4a7c15);
    }
}

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t ts_random_next(ts_random *r)
{
    uint64_t *s = r->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

float ts_random_real(ts_random *r, float low, float high)
{
    return low + (high - low) * ((float)(ts_random_next(r) >> 40) * 0x1p-24f);
}

int ts_random_int(ts_random *r, int low, int high)
{
    /* The bias of the multiplication is below range / 2^32: nothing for pictures. */
    return low + (int)(((ts_random_next(r) >> 32) * (uint64_t)(high - low + 1)) >> 32);
}

bool ts_random_chance(ts_random *r, float p)
{
    return ts_random_real(r, 0, 1) < p;
}
