/* smooth.c - probabilities smoothed by a guided filter (He, Sun and Tang 2013, "Guided image filtering", IEEE TPAMI 35, section
 * 3.5: a guide in colour): in every square of 2 r + 1 pixels a probability is fitted as a linear function of the colours, a I +
 * b, and each pixel takes the mean of what all squares that hold it say. Flat regions become smooth, and edges of the picture
 * stay edges. Squares are cut at the picture's edges. */
#include "strokes/internal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

static const double EPSILON = 1e-3; /* of colours in 0 to 1: what varies less than its root counts as flat */

enum { GUIDE = 3, PAIRS = 6 }; /* channels; of their products: rr rg rb gg gb bb */

typedef struct {
    const float *in;
    float *out;
    int width, height, radius;
} box_job;

static void box_rows(void *ctx, int64_t begin, int64_t end)
{
    const box_job *j = ctx;
    const int n = j->width, r = j->radius;
    for (int64_t y = begin; y < end; y++) {
        const float *in = j->in + y * n;
        float *out = j->out + y * n;
        double sum = 0;
        int low = 0, high = 0; /* [low, high) is summed */
        for (int x = 0; x < n; x++) {
            while (high < n && high <= x + r) sum += (double)in[high++];
            while (low < x - r) sum -= (double)in[low++];
            out[x] = (float)(sum / (high - low));
        }
    }
}

/* Columns, so many at a time that their sums stay in the cache. */
static void box_columns(void *ctx, int64_t begin, int64_t end)
{
    enum { STRIP = 64 };
    const box_job *j = ctx;
    const int n = j->height, r = j->radius;
    for (int64_t first = begin; first < end; first += STRIP) {
        const int count = (int)(end - first < STRIP ? end - first : STRIP);
        double sum[STRIP] = {0};
        int low = 0, high = 0;
        for (int y = 0; y < n; y++) {
            for (; high < n && high <= y + r; high++)
                for (int i = 0; i < count; i++) sum[i] += (double)j->in[(int64_t)high * j->width + first + i];
            for (; low < y - r; low++)
                for (int i = 0; i < count; i++) sum[i] -= (double)j->in[(int64_t)low * j->width + first + i];
            for (int i = 0; i < count; i++) j->out[(int64_t)y * j->width + first + i] = (float)(sum[i] / (high - low));
        }
    }
}

/* The mean over each pixel's square, in place; `room` is as large. */
static void box(float *map, float *room, int width, int height, int radius)
{
    box_job across = {map, room, width, height, radius}, down = {room, map, width, height, radius};
    ts_parallel(ts_core_count(), height, 16, box_rows, &across);
    ts_parallel(ts_core_count(), width, 64, box_columns, &down);
}

/* All maps of one filter, (height, width) each. */
typedef struct {
    int width, height, radius;
    int64_t pixels;
    float *memory, *guide[GUIDE], *mean[GUIDE], *pair[PAIRS], *p, *slope[GUIDE], *room;
} filter;

static bool filter_new(filter *f, const ts_image *guide, int radius, ts_error *err)
{
    enum { MAPS = GUIDE + GUIDE + PAIRS + 1 + GUIDE + 1 };
    *f = (filter){.width = guide->width, .height = guide->height, .radius = radius};
    f->pixels = (int64_t)guide->width * guide->height;
    float *at = f->memory = malloc((size_t)f->pixels * MAPS * sizeof *at);
    if (!at) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory to smooth %d x %d pixels", guide->width, guide->height);
        return false;
    }
    float **const maps[MAPS] = {&f->guide[0], &f->guide[1], &f->guide[2], &f->mean[0],  &f->mean[1], &f->mean[2],
                                &f->pair[0],  &f->pair[1],  &f->pair[2],  &f->pair[3],  &f->pair[4], &f->pair[5],
                                &f->p,        &f->slope[0], &f->slope[1], &f->slope[2], &f->room};
    for (int i = 0; i < MAPS; i++) *maps[i] = at + (int64_t)i * f->pixels;
    for (int64_t i = 0; i < f->pixels; i++)
        for (int c = 0; c < GUIDE; c++) f->guide[c][i] = f->mean[c][i] = (float)guide->data[3 * i + c] / 255;
    for (int64_t i = 0; i < f->pixels; i++)
        for (int a = 0, k = 0; a < GUIDE; a++)
            for (int b = a; b < GUIDE; b++) f->pair[k++][i] = f->guide[a][i] * f->guide[b][i];
    for (int c = 0; c < GUIDE; c++) box(f->mean[c], f->room, f->width, f->height, radius);
    for (int k = 0; k < PAIRS; k++) box(f->pair[k], f->room, f->width, f->height, radius);
    return true;
}

/* a of one pixel: (covariance of the colours + epsilon)^-1 (covariance of colours and p), by Cramer's rule. */
static void solve(const filter *f, int64_t i, const double cov[GUIDE], double a[GUIDE])
{
    double s[PAIRS] = {0};
    for (int r = 0, k = 0; r < GUIDE; r++)
        for (int c = r; c < GUIDE; c++, k++)
            s[k] = (double)f->pair[k][i] - (double)f->mean[r][i] * (double)f->mean[c][i] + (r == c ? EPSILON : 0);
    const double rr = s[3] * s[5] - s[4] * s[4], rg = s[2] * s[4] - s[1] * s[5], rb = s[1] * s[4] - s[2] * s[3];
    const double gg = s[0] * s[5] - s[2] * s[2], gb = s[1] * s[2] - s[0] * s[4], bb = s[0] * s[3] - s[1] * s[1];
    const double det = s[0] * rr + s[1] * rg + s[2] * rb;
    a[0] = (rr * cov[0] + rg * cov[1] + rb * cov[2]) / det;
    a[1] = (rg * cov[0] + gg * cov[1] + gb * cov[2]) / det;
    a[2] = (rb * cov[0] + gb * cov[1] + bb * cov[2]) / det;
}

static void fit_range(void *ctx, int64_t begin, int64_t end)
{
    const filter *f = ctx;
    for (int64_t i = begin; i < end; i++) { /* p: its mean; slope: the mean of its products with the colours */
        double cov[GUIDE], a[GUIDE], b = (double)f->p[i];
        for (int c = 0; c < GUIDE; c++) cov[c] = (double)f->slope[c][i] - (double)f->mean[c][i] * (double)f->p[i];
        solve(f, i, cov, a);
        for (int c = 0; c < GUIDE; c++) {
            b -= a[c] * (double)f->mean[c][i];
            f->slope[c][i] = (float)a[c];
        }
        f->p[i] = (float)b;
    }
}

static void filter_one(filter *f, float *values, int stride)
{
    for (int64_t i = 0; i < f->pixels; i++) {
        f->p[i] = values[i * stride];
        for (int c = 0; c < GUIDE; c++) f->slope[c][i] = f->guide[c][i] * f->p[i];
    }
    box(f->p, f->room, f->width, f->height, f->radius);
    for (int c = 0; c < GUIDE; c++) box(f->slope[c], f->room, f->width, f->height, f->radius);
    ts_parallel(ts_core_count(), f->pixels, 1 << 12, fit_range, f);
    box(f->p, f->room, f->width, f->height, f->radius);
    for (int c = 0; c < GUIDE; c++) box(f->slope[c], f->room, f->width, f->height, f->radius);
    for (int64_t i = 0; i < f->pixels; i++) {
        float q = f->p[i];
        for (int c = 0; c < GUIDE; c++) q += f->slope[c][i] * f->guide[c][i];
        values[i * stride] = q < 0 ? 0 : q > 1 ? 1 : q;
    }
}

bool ts_guided_filter(const ts_image *guide, int radius, float *p, int classes, ts_error *err)
{
    filter f;
    if (!filter_new(&f, guide, radius, err)) return false;
    for (int c = 0; c < classes; c++) filter_one(&f, p + c, classes);
    free(f.memory);
    for (int64_t i = 0; i < (int64_t)guide->width * guide->height; i++) { /* they add up to 1 again */
        float sum = 0;
        for (int c = 0; c < classes; c++) sum += p[i * classes + c];
        for (int c = 0; sum > 0 && c < classes; c++) p[i * classes + c] /= sum;
    }
    return true;
}
