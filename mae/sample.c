/* sample.c - what is made of logits: several canvases' become one's, and of those one code a place, drawn or the likeliest, or
 * the mean of all. */
#include "mae/inpaint.h"

#include <math.h>

static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

double ts_inpaint_log_sum(const float *x, int64_t n)
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
        const double first = ts_inpaint_log_sum(to, codes);
        for (int64_t i = 0; i < codes; i++) to[i] = (float)((double)to[i] - first - share);
        for (int f = 1; f < fused; f++) {
            const float *x = logits + (f * places + place) * codes;
            const double own = ts_inpaint_log_sum(x, codes);
            for (int64_t i = 0; i < codes; i++) {
                const double a = (double)to[i], b = (double)x[i] - own - share;
                to[i] = (float)(a > b ? a + log1p(exp(b - a)) : b + log1p(exp(a - b)));
            }
        }
    }
}

/* Of patch (row, col) of the hole: its place among all, in an arrangement whose hole begins with `first`. */
static int64_t hole_place(const ts_grid *grid, int64_t first, int row, int col)
{
    return first + (int64_t)row * grid->side_patches + col;
}

int64_t ts_inpaint_hole(const ts_grid *grid, int *rows, int *cols)
{
    const int patch = grid->desc.patch;
    const ts_cell *hole = &grid->hole;
    const int top = hole->y / patch, left = hole->x / patch;
    *rows = (hole->y + hole->height - 1) / patch - top + 1;
    *cols = (hole->x + hole->width - 1) / patch - left + 1;
    return (int64_t)top * grid->side_patches + left;
}

void ts_fuse_arrangements(const ts_grid *grids, int arrangements, ts_ensemble how, float *logits, int64_t codes)
{
    const int64_t places = (int64_t)grids[0].side_patches * grids[0].side_patches;
    int64_t first[TS_GRID_ARRANGEMENTS];
    int rows = 0, cols = 0;
    for (int a = arrangements; a-- > 0;) first[a] = ts_inpaint_hole(&grids[a], &rows, &cols);
    for (int row = 0; row < rows; row++)
        for (int col = 0; col < cols; col++) {
            double sum[TS_GRID_ARRANGEMENTS];
            const float *x[TS_GRID_ARRANGEMENTS];
            for (int a = 0; a < arrangements; a++) {
                x[a] = logits + (a * places + hole_place(&grids[a], first[a], row, col)) * codes;
                sum[a] = ts_inpaint_log_sum(x[a], codes);
            }
            float *to = logits + hole_place(&grids[0], first[0], row, col) * codes;
            for (int64_t i = 0; i < codes; i++) {
                double top = -INFINITY, all = 0, product = 0;
                for (int a = 0; a < arrangements; a++) top = fmax(top, (double)x[a][i] - sum[a]);
                for (int a = 0; a < arrangements; a++) {
                    const double own = (double)x[a][i] - sum[a];
                    all += exp(own - top);
                    product += own;
                }
                to[i] = (float)(how == TS_ENSEMBLE_PRODUCT ? product
                                : how == TS_ENSEMBLE_MAX   ? top
                                                           : top + log(all / arrangements));
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
