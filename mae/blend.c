/* blend.c - all codes of a place at once, by how likely each is. Places are predicted each for itself, so that two neighbours may
 * choose codes that do not fit, each for another likely picture; the mean paints what they have in common. Not in the papers. */
#include "mae/mae.h"

#include <math.h>

/* Rows of a smaller weight than this share of the heaviest change nothing that can be seen, and are most. */
static const double LEAST = 1e-6;

static double largest(const float *x, int64_t n)
{
    float best = x[0];
    for (int64_t i = 1; i < n; i++)
        if (x[i] > best) best = x[i];
    return (double)best;
}

void ts_blend_codes(const float *logits, int64_t places, int64_t codes, double temperature, const float *book, int64_t width,
                    float *out)
{
    for (int64_t place = 0; place < places; place++) {
        const float *x = logits + place * codes;
        float *row = out + place * width;
        const double top = largest(x, codes);
        double sum = 0;
        for (int64_t k = 0; k < width; k++) row[k] = 0;
        for (int64_t i = 0; i < codes; i++) {
            const double weight = exp(((double)x[i] - top) / temperature);
            if (weight < LEAST) continue;
            sum += weight;
            for (int64_t k = 0; k < width; k++) row[k] += (float)weight * book[i * width + k];
        }
        for (int64_t k = 0; k < width; k++) row[k] = (float)((double)row[k] / sum);
    }
}
