/* revive.c - places for codes: for those that nothing uses, for a whole codebook that begins, and for those that are too many. A
 * latent is drawn with a chance in proportion to its squared distance to the nearest code that has a place (k-means++, Arthur &
 * Vassilvitskii 2007): what the codebook renders worst, a rare colour among much white, gets a code first. */
#include "vqgan/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void come_nearer(float *distance, const float *latents, int64_t places, const float *code, int width)
{
    for (int64_t i = 0; i < places; i++) {
        const float *z = latents + i * width;
        float sum = 0;
        for (int k = 0; k < width; k++) sum += (z[k] - code[k]) * (z[k] - code[k]);
        if (sum < distance[i]) distance[i] = sum;
    }
}

static int64_t draw(const float *distance, int64_t places, uint64_t *seed)
{
    double sum = 0;
    for (int64_t i = 0; i < places; i++) sum += (double)distance[i];
    double at = ts_uniform(seed) * sum;
    for (int64_t i = 0; i < places; i++) {
        at -= (double)distance[i];
        if (at < 0) return i;
    }
    return (int64_t)(ts_uniform(seed) * (double)places); /* every latent has a code of its own */
}

bool ts_vqgan_revive(float *book, int codes, int width, const uint8_t *used, const float *latents, int64_t places, uint64_t *seed,
                     ts_error *err)
{
    float *distance = malloc((size_t)places * sizeof *distance);
    if (!distance) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool any = false;
    for (int64_t i = 0; i < places; i++) distance[i] = INFINITY;
    for (int k = 0; k < codes; k++) {
        if (!used[k]) continue;
        come_nearer(distance, latents, places, book + (size_t)k * (size_t)width, width);
        any = true;
    }
    for (int64_t i = 0; !any && i < places; i++) distance[i] = 1; /* the first one: any */
    for (int k = 0; k < codes; k++) {
        if (used[k]) continue;
        const float *from = latents + draw(distance, places, seed) * width;
        for (int64_t i = 0; !any && i < places; i++) distance[i] = INFINITY;
        any = true;
        memcpy(book + (size_t)k * (size_t)width, from, (size_t)width * sizeof *book);
        come_nearer(distance, latents, places, from, width);
    }
    free(distance);
    return true;
}

/* Sums the latents of each code and counts them. */
static void assign(const float *book, int codes, int width, const float *latents, int64_t places, double *sum, int64_t *count)
{
    for (int64_t i = 0; i < places; i++) {
        const float *z = latents + i * width;
        float best = INFINITY;
        int at = 0;
        for (int k = 0; k < codes; k++) {
            const float *e = book + (size_t)k * (size_t)width;
            float distance = 0;
            for (int j = 0; j < width; j++) distance += (z[j] - e[j]) * (z[j] - e[j]);
            if (distance < best) {
                best = distance;
                at = k;
            }
        }
        count[at]++;
        for (int j = 0; j < width; j++) sum[(size_t)at * (size_t)width + (size_t)j] += (double)z[j];
    }
}

bool ts_vqgan_fit(float *book, int codes, int width, const float *latents, int64_t places, uint64_t *seed, ts_error *err)
{
    enum { ROUNDS = 10 };
    const size_t row = (size_t)width, values = (size_t)codes * row;
    uint8_t *none = calloc((size_t)codes, 1);
    double *sum = malloc(values * sizeof *sum);
    int64_t *count = malloc((size_t)codes * sizeof *count);
    bool ok = false;
    if (!none || !sum || !count) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        goto done;
    }
    ok = ts_vqgan_revive(book, codes, width, none, latents, places, seed, err);
    for (int round = 0; ok && round < ROUNDS; round++) {
        memset(sum, 0, values * sizeof *sum);
        memset(count, 0, (size_t)codes * sizeof *count);
        assign(book, codes, width, latents, places, sum, count);
        for (int k = 0; k < codes; k++) {
            const double share = (double)count[k];
            const size_t at = (size_t)k * row;
            for (size_t j = at; share > 0 && j < at + row; j++) book[j] = (float)(sum[j] / share);
        }
    }
done:
    free(none);
    free(sum);
    free(count);
    return ok;
}

static float apart(const float *book, int width, int i, int k)
{
    float sum = 0;
    for (int j = 0; j < width; j++) {
        const float d = book[(size_t)i * (size_t)width + (size_t)j] - book[(size_t)k * (size_t)width + (size_t)j];
        sum += d * d;
    }
    return sqrtf(sum);
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

bool ts_vqgan_merge(float *book, int codes, int width, double share, ts_error *err)
{
    float *nearest = malloc((size_t)codes * sizeof *nearest);
    if (!nearest) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < codes; i++) {
        nearest[i] = INFINITY;
        for (int k = 0; k < codes; k++)
            if (k != i && apart(book, width, i, k) < nearest[i]) nearest[i] = apart(book, width, i, k);
    }
    qsort(nearest, (size_t)codes, sizeof *nearest, ascending);
    const float limit = (float)share * nearest[codes / 2];
    free(nearest);
    for (int i = 0; i < codes; i++) {
        int k = 0;
        while (k < i && apart(book, width, i, k) >= limit) k++;
        memcpy(book + (size_t)i * (size_t)width, book + (size_t)k * (size_t)width, (size_t)width * sizeof *book);
    }
    return true;
}
