/* schedule.c - the learning rate over a run: warm-up and half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without
 * restarts), as the published masked autoencoders were trained. */
#include "engine/engine.h"

#include <math.h>

double ts_cosine_rate(int64_t step, int64_t steps, int64_t warmup, double peak)
{
    if (step < warmup)
        return peak * (double)(step + 1) / (double)warmup; /* the first step counts too: a rate of 0 moves nothing */
    if (step >= steps) return 0;
    return peak * 0.5 * (1 + cos(3.14159265358979323846 * (double)(step - warmup) / (double)(steps - warmup)));
}
