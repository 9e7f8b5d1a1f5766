/* task_search.c - which heads to patch, by trying: masks are drawn, and the probability of a unit that was patched in the better
 * ones grows (REINFORCE, Williams 1992, with Adam). Arithmetic alone: what a mask is worth, the caller tells. */
#include "mae/prompt/prompt.h"

#include <math.h>
#include <stdlib.h>

static const double LEAST = 1e-6, BETA1 = 0.9, BETA2 = 0.999, EPS = 1e-8;

bool ts_task_search_new(ts_task_search *s, int units, double logit, ts_error *err)
{
    *s = (ts_task_search){.units = units};
    s->logit = calloc((size_t)units, sizeof *s->logit);
    s->m = calloc((size_t)units, sizeof *s->m);
    s->v = calloc((size_t)units, sizeof *s->v);
    if (!s->logit || !s->m || !s->v) {
        ts_task_search_free(s);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d units", units);
    }
    for (int i = 0; i < units; i++) s->logit[i] = logit;
    return true;
}

void ts_task_search_free(ts_task_search *s)
{
    free(s->logit);
    free(s->m);
    free(s->v);
    *s = (ts_task_search){0};
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double probability(double logit)
{
    return fmin(fmax(sigmoid(logit), LEAST), 1 - LEAST);
}

/* States that begin one next to the other would give sequences that overlap: each number is mixed in by itself. */
static uint64_t state_of(uint64_t seed, int64_t step, int sample)
{
    uint64_t state = ts_splitmix(&seed) + (uint64_t)step;
    state = ts_splitmix(&state) + (uint64_t)sample;
    return ts_splitmix(&state);
}

void ts_task_search_draw(const ts_task_search *s, uint64_t seed, int sample, uint8_t *bits)
{
    uint64_t state = state_of(seed, s->step, sample);
    for (int i = 0; i < s->units; i++) bits[i] = ts_uniform(&state) < probability(s->logit[i]);
}

/* (loss - mean) / (deviation + 1e-6), the deviation as of a sample. */
static bool standardise(const double *loss, int samples, double *r)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < samples; i++) mean += loss[i] / samples;
    for (int i = 0; i < samples; i++) squares += (loss[i] - mean) * (loss[i] - mean);
    const double deviation = samples > 1 ? sqrt(squares / (samples - 1)) : 0;
    for (int i = 0; i < samples; i++) r[i] = (loss[i] - mean) / (deviation + 1e-6);
    return isfinite(mean);
}

bool ts_task_search_update(ts_task_search *s, const uint8_t *bits, const double *loss, int samples, double lr, double regular,
                           ts_error *err)
{
    double *r = malloc((size_t)samples * sizeof *r);
    if (!r) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d samples", samples);
    if (!standardise(loss, samples, r)) {
        free(r);
        return ts_fail(err, TS_ERR_FORMAT, "an answer's loss is no number");
    }
    s->step++;
    const double c1 = 1 - pow(BETA1, (double)s->step), c2 = 1 - pow(BETA2, (double)s->step);
    for (int i = 0; i < s->units; i++) {
        const double p = sigmoid(s->logit[i]);
        double gradient = 0;
        /* d log p(b) / d logit = b - p; beyond the bounds the probability stays what it is. */
        if (p >= LEAST && p <= 1 - LEAST) {
            for (int k = 0; k < samples; k++) gradient += r[k] * (bits[(int64_t)k * s->units + i] - p) / samples;
            gradient = (gradient + regular * p * (1 - p)) / s->units;
        }
        s->m[i] = BETA1 * s->m[i] + (1 - BETA1) * gradient;
        s->v[i] = BETA2 * s->v[i] + (1 - BETA2) * gradient * gradient;
        s->logit[i] -= lr * (s->m[i] / c1) / (sqrt(s->v[i] / c2) + EPS);
    }
    free(r);
    return true;
}
