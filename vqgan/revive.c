/* revive.c - new places for codes that nothing uses. A latent is drawn with a chance in proportion to its squared distance to the
 * nearest code that has a place (k-means++, Arthur & Vassilvitskii 2007): what the codebook renders worst, a rare colour among
 * much white, gets a code first. */
#include "vqgan/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64: the next of [0, 1). */
double ts_vqgan_uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

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
    double at = ts_vqgan_uniform(seed) * sum;
    for (int64_t i = 0; i < places; i++) {
        at -= (double)distance[i];
        if (at < 0) return i;
    }
    return (int64_t)(ts_vqgan_uniform(seed) * (double)places); /* every latent has a code of its own */
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
