/* scales.c - how PerSAM-F mixes the masks that Segment Anything gives for one point (Zhang et al. 2023, section 3.3): weights w
 * that add up to 1, by gradient descent on Dice plus focal loss of sum w_s logits_s. All weights but the first are free. The
 * logits do not change, so that a step is one pass over the pixels. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/vecmath.h"

enum { STEPS = 1000, CHUNK = 1 << 14, BLOCK = 256 };
static const double RATE = 1e-3, DECAY = 0.01, EPS = 1e-4, BETA1 = 0.9, BETA2 = 0.999, PI = 3.14159265358979323846;

/* Sums over pixels: p = sigmoid(x), t = 1 inside; of the gradients by each free weight, whose logits are d = logits_s - logits_0:
 * p' t d, p' d and f' d, where f is the focal loss. */
typedef struct {
    double p, pt, focal;
    double slope_t[TS_SAM_MAX_MASKS], slope[TS_SAM_MAX_MASKS], focal_slope[TS_SAM_MAX_MASKS];
} sums;

typedef struct {
    const scale_case *c;
    int scales;
    float weight[TS_SAM_MAX_MASKS];
    sums *part; /* one a chunk */
} pass;

/* Focal loss (Lin et al. 2017, arXiv 1708.02002, alpha 1/4, gamma 2) of logit x, and what changes it: slope, focal_slope. */
static float pixel(float x, bool inside, float *p, float *slope, float *focal_slope)
{
    const float s = inside ? x : -x, alpha = inside ? 0.25F : 0.75F, e = ts_expf(-fabsf(s));
    const float right = s >= 0 ? 1 / (1 + e) : e / (1 + e), wrong = s >= 0 ? e / (1 + e) : 1 / (1 + e);
    const float cross = (s < 0 ? -s : 0) + log1pf(e);
    const float along = -alpha * wrong * wrong * (2 * right * cross + wrong);
    *p = inside ? right : wrong;
    *slope = right * wrong;
    *focal_slope = inside ? along : -along;
    return alpha * wrong * wrong * cross;
}

static void add_block(const pass *k, int64_t first, int count, sums *to)
{
    const scale_case *c = k->c;
    float x[BLOCK], slope[BLOCK], slope_t[BLOCK], focal_slope[BLOCK];
    memset(x, 0, sizeof x);
    for (int s = 0; s < k->scales; s++)
        for (int i = 0; i < count; i++) x[i] += k->weight[s] * c->logits[s * c->pixels + first + i];
    for (int i = 0; i < count; i++) {
        const bool inside = c->inside[first + i];
        float p;
        to->focal += (double)pixel(x[i], inside, &p, &slope[i], &focal_slope[i]);
        slope_t[i] = inside ? slope[i] : 0;
        to->p += (double)p;
        to->pt += inside ? (double)p : 0;
    }
    for (int s = 1; s < k->scales; s++) {
        const float *a = c->logits + s * c->pixels + first, *b = c->logits + first;
        for (int i = 0; i < count; i++) {
            const double d = (double)a[i] - (double)b[i];
            to->slope[s] += (double)slope[i] * d;
            to->slope_t[s] += (double)slope_t[i] * d;
            to->focal_slope[s] += (double)focal_slope[i] * d;
        }
    }
}

static void add_chunks(void *ctx, int64_t begin, int64_t end)
{
    const pass *k = ctx;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        sums total = {0};
        const int64_t last = (chunk + 1) * CHUNK < k->c->pixels ? (chunk + 1) * CHUNK : k->c->pixels;
        for (int64_t at = chunk * CHUNK; at < last; at += BLOCK)
            add_block(k, at, (int)(last - at < BLOCK ? last - at : BLOCK), &total);
        k->part[chunk] = total;
    }
}

/* The gradient of one case's loss by the free weights, added. */
static void add_gradient(pass *k, double *gradient)
{
    const scale_case *c = k->c;
    const int64_t chunks = (c->pixels + CHUNK - 1) / CHUNK;
    sums all = {0};
    double inside = 0;
    ts_parallel(ts_core_count(), chunks, 1, add_chunks, k);
    for (int64_t i = 0; i < chunks; i++) { /* in one order, whatever the number of threads */
        all.p += k->part[i].p;
        all.pt += k->part[i].pt;
        for (int s = 1; s < k->scales; s++) {
            all.slope[s] += k->part[i].slope[s];
            all.slope_t[s] += k->part[i].slope_t[s];
            all.focal_slope[s] += k->part[i].focal_slope[s];
        }
    }
    for (int64_t i = 0; i < c->pixels; i++) inside += c->inside[i];
    /* Dice: 1 - (2 sum p t + 1) / (sum p + sum t + 1) */
    const double above = 2 * all.pt + 1, below = all.p + inside + 1;
    for (int s = 1; s < k->scales; s++)
        gradient[s] +=
            -2 * all.slope_t[s] / below + above * all.slope[s] / (below * below) + all.focal_slope[s] / (double)c->pixels;
}

typedef struct {
    double value[TS_SAM_MAX_MASKS], m[TS_SAM_MAX_MASKS], v[TS_SAM_MAX_MASKS];
} adam;

/* AdamW with a rate that falls along half a cosine. */
static void update(adam *a, const double *gradient, int scales, int step)
{
    const double rate = RATE / 2 * (1 + cos(PI * step / STEPS));
    for (int s = 1; s < scales; s++) {
        a->value[s] *= 1 - rate * DECAY;
        a->m[s] = BETA1 * a->m[s] + (1 - BETA1) * gradient[s];
        a->v[s] = BETA2 * a->v[s] + (1 - BETA2) * gradient[s] * gradient[s];
        const double m = a->m[s] / (1 - pow(BETA1, step + 1)), v = a->v[s] / (1 - pow(BETA2, step + 1));
        a->value[s] -= rate * m / (sqrt(v) + EPS);
    }
}

static void mix(const adam *a, int scales, double *weight)
{
    weight[0] = 1;
    for (int s = 1; s < scales; s++) {
        weight[s] = a->value[s];
        weight[0] -= weight[s];
    }
}

bool ts_tune_scales(const scale_case *list, int count, int scales, double *weight, ts_error *err)
{
    int64_t most = 0;
    adam a = {{0}, {0}, {0}};
    for (int i = 0; i < count; i++)
        if (list[i].pixels > most) most = list[i].pixels;
    sums *part = calloc((size_t)((most + CHUNK - 1) / CHUNK), sizeof *part);
    if (!part) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int s = 1; s < scales; s++) a.value[s] = 1.0 / scales;
    for (int step = 0; step < STEPS; step++) {
        double gradient[TS_SAM_MAX_MASKS] = {0};
        mix(&a, scales, weight);
        for (int i = 0; i < count; i++) {
            pass k = {.c = &list[i], .scales = scales, .part = part};
            for (int s = 0; s < scales; s++) k.weight[s] = (float)weight[s];
            add_gradient(&k, gradient);
        }
        for (int s = 1; s < scales; s++) gradient[s] /= count;
        update(&a, gradient, scales, step);
    }
    mix(&a, scales, weight);
    free(part);
    return true;
}
