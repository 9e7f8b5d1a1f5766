/* schedule.c - the learning rates of the published recipes: after each epoch as Dassl changes it (CoOp, CoCoOp, UPT), after each
 * step (VP), linear warm-up from nothing and cosine by epoch (VPT), falling by powers (adversarial reprogramming). */
#include "clip/prompt/tune.h"

#include <math.h>

int ts_recipe_epochs(const ts_recipe *r, int shots)
{
    return r->epochs_of ? r->epochs_of(shots) : r->epochs;
}

int ts_clip_warm(const ts_recipe *r, int64_t total)
{
    if (r->by_step) return r->warm;
    const int64_t tenth = total / 10, most = tenth < 1 && r->warm_kind != TS_WARM_FROM_ZERO ? 1 : tenth;
    return r->warm < most ? r->warm : (int)most;
}

double ts_clip_rate(const ts_recipe *r, double lr, int64_t n, int64_t total)
{
    if (n < r->warm && r->warm_kind == TS_WARM_CONSTANT) return r->warm_rate;
    if (n < r->warm) return lr * (double)(r->warm_kind == TS_WARM_FROM_ZERO ? n : n + 1) / r->warm;
    if (r->fall == TS_FALL_DECAY) return lr * pow(r->decay, floor((double)n / (r->decay_every > 0 ? r->decay_every : 1)));
    const int64_t since = n - r->warm, period = r->whole_period ? total : total - r->warm;
    return since >= period ? 0 : lr * 0.5 * (1 + cos(3.14159265358979323846 * (double)since / (double)period));
}
