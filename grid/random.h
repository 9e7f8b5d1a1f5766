/* random.h - the generator behind everything drawn here: xoshiro256**, seeded by splitmix64. Ours, so that a seed means the same
 * pictures on every machine. Private to grid/. */
#ifndef TESSERA_GRID_RANDOM_H
#define TESSERA_GRID_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t s[4];
} ts_random;

uint64_t ts_random_mix(uint64_t x); /* splitmix64's step: close seeds become far ones */
void ts_random_seed(ts_random *r, uint64_t seed);
uint64_t ts_random_next(ts_random *r);
float ts_random_real(ts_random *r, float low, float high); /* [low, high) */
int ts_random_int(ts_random *r, int low, int high);        /* both ends included */
bool ts_random_chance(ts_random *r, float p);

#endif
