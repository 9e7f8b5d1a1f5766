/* schedule.c - the learning rate over a run: warm-up and half a cosine, as the published masked autoencoders were trained, or
 * half a cosine again and again (Loshchilov & Hutter 2017, arXiv 1608.03983). */
#include "engine/engine.h"

#include <math.h>

static double half_cosine(int64_t step, int64_t steps, double peak)
{
    return peak * 0.5 * (1 + cos(3.14159265358979323846 * (double)step / (double)steps));
}

double ts_cosine_rate(int64_t step, int64_t steps, int64_t warmup, double peak)
{
    if (step < warmup)
        return peak * (double)(step + 1) / (double)warmup; /* the first step counts too: a rate of 0 moves nothing */
    if (step >= steps) return 0;
    return half_cosine(step - warmup, steps - warmup, peak);
}

double ts_restart_rate(int64_t step, int64_t period, double peak)
{
    return half_cosine(step % period, period, peak);
}
