/* random.c - splitmix64 (Steele, Lea and Flood 2014): small, quick, and the same numbers on every machine. */
#include <math.h>

#include "engine/engine.h"

uint64_t ts_splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double ts_uniform(uint64_t *state)
{
    return (double)(ts_splitmix(state) >> 11) * 0x1p-53;
}

/* Box and Muller's */
double ts_normal(uint64_t *state)
{
    const double u = 1 - ts_uniform(state), v = ts_uniform(state);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}
