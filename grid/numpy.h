/* numpy.h - the random numbers of numpy's RandomState (numpy.random.seed and what draws after it), bit for bit: published
 * evaluations chose their examples with them, and only the same numbers give the same trials. For grid/ and who builds on its
 * insides. */
#ifndef TESSERA_GRID_NUMPY_H
#define TESSERA_GRID_NUMPY_H

#include <stdint.h>

typedef struct {
    uint32_t key[624];
    int at;
} ts_numpy;

void ts_numpy_seed(ts_numpy *r, uint32_t seed); /* RandomState(seed) */
uint32_t ts_numpy_next(ts_numpy *r);            /* the generator's next 32 bits */
/* randint(count), and choice(count): 0 <= n < count. One place takes no number from the generator. */
int32_t ts_numpy_below(ts_numpy *r, int32_t count);
/* permutation(count), and a shuffle of 0 to count - 1, and choice(count, count, replace=False), whose beginning a smaller choice
 * without replacement is. */
void ts_numpy_permutation(ts_numpy *r, int32_t count, int32_t *out);

#endif
