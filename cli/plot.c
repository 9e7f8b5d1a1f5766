/* plot.c - a small plot of curves over common axes: enough to see how a training goes, without a plotting library. Numbers on the
 * axes are drawn in a font of 3 x 5 dots. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/train/train.h"

enum { WIDTH = 960, HEIGHT = 540, LEFT = 70, RIGHT = 20, TOP = 20, BOTTOM = 40, DOT = 2 };
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM };

static const uint8_t BLACK[3] = {60, 60, 60}, GREY[3] = {225, 225, 225};

/* Rows of three bits, the leftmost highest. */
static const struct {
    char letter;
    uint8_t row[5];
} font[] = {
    {'0', {7, 5, 5, 5, 7}}, {'1', {2, 6, 2, 2, 7}}, {'2', {7, 1, 7, 4, 7}}, {'3', {7, 1, 7, 1, 7}},
    {'4', {5, 5, 7, 1, 1}}, {'5', {7, 4, 7, 1, 7}}, {'6', {7, 4, 7, 5, 7}}, {'7', {7, 1, 1, 2, 2}},
    {'8', {7, 5, 7, 5, 7}}, {'9', {7, 5, 7, 1, 7}}, {'.', {0, 0, 0, 0, 2}}, {'-', {0, 0, 7, 0, 0}},
    {'+', {0, 2, 7, 2, 0}}, {'e', {0, 7, 7, 4, 7}}, {'k', {4, 5, 6, 5, 5}}, {'M', {5, 7, 7, 5, 5}},
};

static void point(ts_image *img, int x, int y, const uint8_t colour[3])
{
    if (x < 0 || y < 0 || x >= img->width || y >= img->height) return;
    memcpy(img->data + ((size_t)y * (size_t)img->width + (size_t)x) * 3, colour, 3);
}

static void box(ts_image *img, int x, int y, int width, int height, const uint8_t colour[3])
{
    for (int j = 0; j < height; j++)
        for (int i = 0; i < width; i++) point(img, x + i, y + j, colour);
}

static void line(ts_image *img, double x0, double y0, double x1, double y1, const uint8_t colour[3])
{
    int steps = (int)ceil(fmax(fabs(x1 - x0), fabs(y1 - y0))) + 1;
    for (int i = 0; i <= steps; i++) {
        double t = (double)i / steps;
        box(img, (int)lround(x0 + t * (x1 - x0)), (int)lround(y0 + t * (y1 - y0)), 2, 2, colour);
    }
}

void ts_plot_text(ts_image *img, int x, int y, bool right, const char *words)
{
    if (right) x -= (int)strlen(words) * 4 * DOT;
    for (const char *c = words; *c; c++, x += 4 * DOT) {
        for (size_t k = 0; k < sizeof font / sizeof *font; k++) {
            if (font[k].letter != *c) continue;
            for (int j = 0; j < 5; j++)
                for (int i = 0; i < 3; i++)
                    if (font[k].row[j] >> (2 - i) & 1) box(img, x + i * DOT, y + j * DOT, DOT, DOT, BLACK);
        }
    }
}

typedef struct {
    double x0, x1, y0, y1;
} range;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What the axes span. A few wild values, as a training's first steps may give, must not flatten the rest: the highest hundredth
 * is cut off. */
static bool find_range(const ts_curve *curves, int count, range *out, ts_error *err)
{
    int64_t all = 0, n = 0;
    for (int i = 0; i < count; i++) all += curves[i].count;
    double *values = malloc((size_t)(all + 1) * sizeof *values);
    if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a plot");
    *out = (range){INFINITY, -INFINITY, 0, 1};
    for (int i = 0; i < count; i++) {
        for (int64_t k = 0; k < curves[i].count; k++) {
            if (!isfinite(curves[i].y[k]) || !isfinite(curves[i].x[k])) continue;
            out->x0 = fmin(out->x0, curves[i].x[k]);
            out->x1 = fmax(out->x1, curves[i].x[k]);
            values[n++] = curves[i].y[k];
        }
    }
    if (n > 0) {
        qsort(values, (size_t)n, sizeof *values, by_value);
        out->y0 = values[0];
        out->y1 = values[n - 1 - n / 100];
    } else {
        out->x0 = 0;
        out->x1 = 1;
    }
    free(values);
    double margin = out->y1 > out->y0 ? 0.05 * (out->y1 - out->y0) : 0.5;
    out->y0 -= margin;
    out->y1 += margin;
    if (out->x1 <= out->x0) out->x1 = out->x0 + 1;
    return true;
}

static double to_x(const range *r, double x)
{
    return LEFT + (x - r->x0) / (r->x1 - r->x0) * PLOT_WIDTH;
}

static double to_y(const range *r, double y)
{
    return TOP + (r->y1 - fmin(fmax(y, r->y0), r->y1)) / (r->y1 - r->y0) * PLOT_HEIGHT;
}

/* 1, 2 or 5 times a power of ten: about `marks` of them in the span. */
static double step_of(double span, int marks)
{
    double power = pow(10, floor(log10(span / marks))), part = span / marks / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void label(double value, double step, char out[32])
{
    if (fabs(value) < step / 1000) value = 0;
    if (fabs(value) >= 1e6) snprintf(out, 32, "%.6gM", value / 1e6);
    else if (fabs(value) >= 1e4) snprintf(out, 32, "%.6gk", value / 1e3);
    else snprintf(out, 32, "%.6g", value);
}

static void axes(ts_image *img, const range *r)
{
    char words[32];
    double step = step_of(r->y1 - r->y0, 8);
    for (int k = 0; (ceil(r->y0 / step) + k) * step <= r->y1; k++) {
        double y = (ceil(r->y0 / step) + k) * step;
        int at = (int)lround(to_y(r, y));
        box(img, LEFT, at, PLOT_WIDTH, 1, GREY);
        label(y, step, words);
        ts_plot_text(img, LEFT - 8, at - 5, true, words);
    }
    step = step_of(r->x1 - r->x0, 8);
    for (int k = 0; (ceil(r->x0 / step) + k) * step <= r->x1; k++) {
        double x = (ceil(r->x0 / step) + k) * step;
        int at = (int)lround(to_x(r, x));
        box(img, at, TOP, 1, PLOT_HEIGHT, GREY);
        label(x, step, words);
        ts_plot_text(img, at + (int)strlen(words) * 2 * DOT, TOP + PLOT_HEIGHT + 10, true, words);
    }
    box(img, LEFT, TOP, 1, PLOT_HEIGHT, BLACK);
    box(img, LEFT, TOP + PLOT_HEIGHT, PLOT_WIDTH, 1, BLACK);
}

static void draw_points(ts_image *img, const range *r, const ts_curve *c)
{
    double x0 = NAN, y0 = NAN;
    for (int64_t k = 0; k < c->count; k++) {
        if (!isfinite(c->x[k]) || !isfinite(c->y[k])) continue;
        double x = to_x(r, c->x[k]), y = to_y(r, c->y[k]);
        if (isfinite(x0)) line(img, x0, y0, x, y, c->colour);
        box(img, (int)lround(x) - 3, (int)lround(y) - 3, 7, 7, c->colour);
        x0 = x;
        y0 = y;
    }
}

/* The mean over each column of pixels. */
static void draw_mean(ts_image *img, const range *r, const ts_curve *c)
{
    double sum[PLOT_WIDTH + 1] = {0}, x0 = NAN, y0 = NAN;
    int64_t n[PLOT_WIDTH + 1] = {0};
    for (int64_t k = 0; k < c->count; k++) {
        if (!isfinite(c->x[k]) || !isfinite(c->y[k])) continue;
        int column = (int)(to_x(r, c->x[k]) - LEFT);
        sum[column] += c->y[k];
        n[column]++;
    }
    for (int i = 0; i <= PLOT_WIDTH; i++) {
        if (n[i] == 0) continue;
        double x = LEFT + i, y = to_y(r, sum[i] / (double)n[i]);
        if (isfinite(x0)) line(img, x0, y0, x, y, c->colour);
        x0 = x;
        y0 = y;
    }
}

bool ts_plot_save(const char *path, const ts_curve *curves, int count, ts_error *err)
{
    range r = {0};
    ts_image img;
    if (!find_range(curves, count, &r, err) || !ts_image_new(WIDTH, HEIGHT, &img, err)) return false;
    memset(img.data, 255, (size_t)WIDTH * HEIGHT * 3);
    axes(&img, &r);
    for (int i = 0; i < count; i++) {
        if (curves[i].points) draw_points(&img, &r, &curves[i]);
        else draw_mean(&img, &r, &curves[i]);
    }
    bool ok = ts_image_save(path, &img, err);
    ts_image_clear(&img);
    return ok;
}
