/* positions.c - where the places of a picture are: DINOv2's learned table brought to another grid, DINOv3's angles. */
#include "dino/internal.h"

#include <math.h>
#include <stdlib.h>

static const double PI = 3.14159265358979323846;

/* Keys' kernel (Keys 1981). */
static double keys(double x, double a)
{
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/* Weights (out, in) of one axis without antialias, by PyTorch's interpolate with a scale factor of (out + 0.1) / in: the
 * published code adds the tenth so that a rounded product does not lose a place, and the models are used with it. */
static void axis_plain(int in, int out, double *weight)
{
    const double scale = in / (out + 0.1);
    for (int o = 0; o < out; o++) {
        const double centre = (o + 0.5) * scale - 0.5, base = floor(centre);
        for (int k = -1; k <= 2; k++) {
            const int at = (int)base + k;
            weight[o * in + (at < 0 ? 0 : at < in ? at : in - 1)] += keys(centre - (base + k), -0.75);
        }
    }
}

/* With antialias, as PyTorch and Pillow: the kernel widened where the grid shrinks, its weights over the places that there are
 * adding up to 1. */
static void axis_antialiased(int in, int out, double *weight)
{
    const double scale = (double)in / out, wide = scale > 1 ? scale : 1;
    for (int o = 0; o < out; o++) {
        const double centre = (o + 0.5) * scale;
        const int low = (int)(centre - 2 * wide + 0.5), high = (int)(centre + 2 * wide + 0.5);
        double sum = 0;
        for (int i = low > 0 ? low : 0; i < high && i < in; i++) {
            weight[o * in + i] = keys((i - centre + 0.5) / wide, -0.5);
            sum += weight[o * in + i];
        }
        for (int i = 0; i < in; i++) weight[o * in + i] /= sum;
    }
}

static double *axis(int in, int out, bool antialias)
{
    double *weight = calloc((size_t)in * (size_t)out, sizeof *weight);
    if (weight && antialias) axis_antialiased(in, out, weight);
    else if (weight) axis_plain(in, out, weight);
    return weight;
}

/* y (out, inner) = weight (out, in) x (in, inner) */
static void along(const double *weight, int in, int out, const double *x, int64_t inner, double *y)
{
    for (int o = 0; o < out; o++)
        for (int i = 0; i < in; i++) {
            const double t = weight[o * in + i];
            for (int64_t k = 0; t != 0 && k < inner; k++) y[o * inner + k] += t * x[i * inner + k];
        }
}

bool ts_dino_positions(const float *table, int side, int width, bool antialias, int rows, int columns, float *out, ts_error *err)
{
    const int64_t all = (int64_t)side * side * width, line = (int64_t)side * width;
    if (rows == side && columns == side) {
        for (int64_t i = 0; i < all; i++) out[i] = table[i];
        return true;
    }
    double *vertical = axis(side, rows, antialias), *horizontal = axis(side, columns, antialias);
    double *x = calloc((size_t)all, sizeof *x), *tall = calloc((size_t)(rows * line), sizeof *tall);
    double *row = malloc((size_t)columns * (size_t)width * sizeof *row);
    const bool ok = vertical && horizontal && x && tall && row;
    if (ok) {
        for (int64_t i = 0; i < all; i++) x[i] = (double)table[i];
        along(vertical, side, rows, x, line, tall);
    }
    for (int y = 0; ok && y < rows; y++) {
        for (int64_t i = 0; i < (int64_t)columns * width; i++) row[i] = 0;
        along(horizontal, side, columns, tall + y * line, width, row);
        for (int64_t i = 0; i < (int64_t)columns * width; i++) out[(int64_t)y * columns * width + i] = (float)row[i];
    }
    free(vertical);
    free(horizontal);
    free(x);
    free(tall);
    free(row);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d x %d positions", rows, columns);
}

/* Place (y, x) stands at 2 (y + 1/2) / rows - 1, likewise across. A head's first quarter of pairs is turned by 2 pi y /
 * 100^(i/q), the second by the same of x; q is their number. */
void ts_dino_rotary(const ts_dino_config *c, int prefix, int rows, int columns, bool sine, float *out)
{
    const int half = c->width / c->heads / 2, quarter = half / 2;
    float *to = out;
    for (int i = 0; i < prefix * c->width / 2; i++) *to++ = sine ? 0.0F : 1.0F;
    for (int place = 0; place < rows * columns; place++) {
        const int y = place / columns, x = place % columns;
        const double at[2] = {2 * (y + 0.5) / rows - 1, 2 * (x + 0.5) / columns - 1};
        for (int i = 0; i < c->width / 2; i++) {
            const int pair = i % half;
            const double angle = 2 * PI * at[pair / quarter] / pow(100, (double)(pair % quarter) / quarter);
            *to++ = (float)(sine ? sin(angle) : cos(angle));
        }
    }
}
