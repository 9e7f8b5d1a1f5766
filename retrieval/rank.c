/* rank.c - the order of likeness, and hashes that tell one model's features from another's. */
#include <stdlib.h>
#include <string.h>

#include "retrieval/retrieval.h"

/* ---- likeness ---------------------------------------------------------------------------------------------------- */

enum { LANES = 8 };

void ts_likeness(const float *rows, int64_t count, int64_t width, const float *query, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        const float *row = rows + i * width;
        double sum[LANES] = {0}; /* side by side, in a fixed order */
        int64_t e = 0;
        for (; e + LANES <= width; e += LANES)
            for (int k = 0; k < LANES; k++) sum[k] += (double)row[e + k] * (double)query[e + k];
        for (; e < width; e++) sum[0] += (double)row[e] * (double)query[e];
        out[i] = 0;
        for (int k = 0; k < LANES; k++) out[i] += sum[k];
    }
}

typedef struct {
    double likeness;
    int number;
} hit;

/* A rising stable sort, read from its end: of equal ones the later first. */
static int falling(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    if (x->likeness != y->likeness) return x->likeness < y->likeness ? 1 : -1;
    return (x->number < y->number) - (x->number > y->number);
}

static bool is_new(const char *const *name, int number, int own, const int *taken, int count)
{
    if (number == own) return false;
    if (!name) return true;
    if (own >= 0 && strcmp(name[number], name[own]) == 0) return false;
    for (int i = 0; i < count; i++)
        if (strcmp(name[number], name[taken[i]]) == 0) return false;
    return true;
}

int ts_most_alike(const double *likeness, const char *const *name, int count, int own, int most, int *out, ts_error *err)
{
    hit *all = malloc((size_t)count * sizeof *all + 1);
    if (!all) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the order of %d pictures", count);
        return -1;
    }
    for (int i = 0; i < count; i++) all[i] = (hit){likeness[i], i};
    qsort(all, (size_t)count, sizeof *all, falling);
    int taken = 0;
    for (int i = 0; i < count && taken < most; i++)
        if (is_new(name, all[i].number, own, out, taken)) out[taken++] = all[i].number;
    free(all);
    return taken;
}

/* ---- fingerprints ------------------------------------------------------------------------------------------------ */

enum { SAMPLES = 64 };

uint64_t ts_fingerprint(uint64_t hash, const void *bytes, size_t size)
{
    for (const uint8_t *b = bytes; size; b++, size--) hash = (hash ^ *b) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t mix_weight(uint64_t hash, const ts_weight *t)
{
    const int64_t starts[3] = {0, t->count / 2, t->count - SAMPLES};
    const size_t size = (size_t)ts_dtype_size(t->dtype);
    hash = ts_fingerprint(hash, t->name, strlen(t->name) + 1);
    hash = ts_fingerprint(hash, t->shape, (size_t)t->ndim * sizeof *t->shape);
    for (int s = 0; s < 3; s++) {
        int64_t first = starts[s] > 0 ? starts[s] : 0;
        for (int64_t e = first; e < t->count && e < first + SAMPLES; e++) {
            int64_t left = e, at = 0;
            for (int d = t->ndim - 1; d >= 0; d--) {
                at += left % t->shape[d] * t->stride[d];
                left /= t->shape[d];
            }
            hash = ts_fingerprint(hash, (const uint8_t *)t->data + at * (int64_t)size, size);
        }
    }
    return hash;
}

uint64_t ts_weights_fingerprint(uint64_t hash, const ts_weights *w)
{
    for (int64_t i = 0; i < ts_weights_count(w); i++) hash = mix_weight(hash, ts_weights_at(w, i));
    return hash;
}
