/* sample.c - what is made of logits: several canvases' become one's, and of those one code a place, drawn or the likeliest, or
 * the mean of all. */
#include "mae/mae.h"

#include <math.h>

static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* The logarithm of softmax(x)[i] is x[i] less this. */
static double log_sum(const float *x, int64_t n)
{
    const int64_t top = largest(x, n);
    double rest = 0;
    for (int64_t i = 0; i < n; i++)
        if (i != top) rest += exp((double)x[i] - (double)x[top]);
    return (double)x[top] + log1p(rest);
}

/* Sums are kept as logarithms: where no canvas gives a code any weight, its place among the rest is still known. */
void ts_fuse_logits(float *logits, int fused, int64_t places, int64_t codes)
{
    if (fused < 2) return;
    const double share = log(fused);
    for (int64_t place = 0; place < places; place++) {
        float *to = logits + place * codes;
        const double first = log_sum(to, codes);
        for (int64_t i = 0; i < codes; i++) to[i] = (float)((double)to[i] - first - share);
        for (int f = 1; f < fused; f++) {
            const float *x = logits + (f * places + place) * codes;
            const double own = log_sum(x, codes);
            for (int64_t i = 0; i < codes; i++) {
                const double a = (double)to[i], b = (double)x[i] - own - share;
                to[i] = (float)(a > b ? a + log1p(exp(b - a)) : b + log1p(exp(a - b)));
            }
        }
    }
}

/* Walks the distribution until `u` of its mass is behind. The largest logit is taken off first, so that no exponential
 * overflows. */
static int64_t draw(const float *x, int64_t n, double temperature, double u)
{
    int64_t top = largest(x, n);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(((double)x[i] - (double)x[top]) / temperature);
    double left = u * sum;
    for (int64_t i = 0; i < n; i++) {
        left -= exp(((double)x[i] - (double)x[top]) / temperature);
        if (left < 0) return i;
    }
    return top; /* rounding left a crumb, or the logits are not numbers */
}

void ts_sample_codes(const float *logits, int64_t places, int64_t codes, double temperature, uint64_t seed, int32_t *out)
{
    for (int64_t i = 0; i < places; i++) {
        const float *x = logits + i * codes;
        double u = ts_uniform(&seed);
        out[i] = (int32_t)(temperature > 0 ? draw(x, codes, temperature, u) : largest(x, codes));
    }
}

/* Rows of a smaller weight than this share of the heaviest change nothing that can be seen, and are most. */
static const double LEAST = 1e-6;

/* Places are predicted each for itself, so that two neighbours may choose codes that do not fit, each for another likely picture;
 * the mean paints what they have in common. Not in the papers. */
void ts_blend_codes(const float *logits, int64_t places, int64_t codes, double temperature, const float *book, int64_t width,
                    float *out)
{
    for (int64_t place = 0; place < places; place++) {
        const float *x = logits + place * codes;
        float *row = out + place * width;
        const double top = (double)x[largest(x, codes)];
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
