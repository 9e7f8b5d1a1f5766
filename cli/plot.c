/* plot.c - a small plot of curves over common axes, with all that a reader who was not there needs: a title, the axes' names, a
 * legend. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot.h"

enum { WIDTH = 1000, HEIGHT = 600, LEFT = 104, RIGHT = 24, TOP = 76, BOTTOM = 72 };
enum { PLOT_WIDTH = WIDTH - LEFT - RIGHT, PLOT_HEIGHT = HEIGHT - TOP - BOTTOM, SMOOTHED_ONE_IN = 50 };

static const uint8_t BLACK[3] = {60, 60, 60}, GREY[3] = {228, 228, 228}, WHITE[3] = {255, 255, 255};
static const double MOST = 1e30; /* beyond it, differences and pixels have no meaning */

static void box(ts_image *img, int x, int y, int width, int height, const uint8_t colour[3])
{
    for (int j = y < 0 ? 0 : y; j < y + height && j < img->height; j++)
        for (int i = x < 0 ? 0 : x; i < x + width && i < img->width; i++)
            memcpy(img->data + ((size_t)j * (size_t)img->width + (size_t)i) * 3, colour, 3);
}

static void line(ts_image *img, double x0, double y0, double x1, double y1, const uint8_t colour[3])
{
    int steps = (int)ceil(fmax(fabs(x1 - x0), fabs(y1 - y0))) + 1;
    for (int i = 0; i <= steps; i++) {
        double t = (double)i / steps;
        box(img, (int)lround(x0 + t * (x1 - x0)), (int)lround(y0 + t * (y1 - y0)), 2, 2, colour);
    }
}

/* ---- axes ------------------------------------------------------------------------------------------------------- */

typedef struct {
    double x0, x1, y0, y1;
} range;

static bool usable(const ts_curve *c, int64_t k)
{
    return fabs(c->x[k]) < MOST && fabs(c->y[k]) < MOST; /* false for NaN */
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What the axes span. A few wild values, as a training's first steps may give, must not flatten the rest: the highest hundredth
 * is cut off. */
static bool find_range(const ts_plot *p, range *out, ts_error *err)
{
    int64_t all = 0, n = 0;
    for (int i = 0; i < p->count; i++) all += p->curves[i].count;
    double *values = malloc((size_t)(all + 1) * sizeof *values);
    if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a plot");
    *out = (range){INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (int i = 0; i < p->count; i++) {
        const ts_curve *c = &p->curves[i];
        for (int64_t k = 0; k < c->count; k++) {
            if (c->kind == TS_CURVE_LEVEL) {
                out->y0 = fmin(out->y0, c->y[k]);
                out->y1 = fmax(out->y1, c->y[k]);
            } else if (usable(c, k)) {
                out->x0 = fmin(out->x0, c->x[k]);
                out->x1 = fmax(out->x1, c->x[k]);
                values[n++] = c->y[k];
            }
        }
    }
    if (n > 0) {
        qsort(values, (size_t)n, sizeof *values, by_value);
        out->y0 = fmin(out->y0, values[0]);
        out->y1 = fmax(out->y1, values[n - 1 - n / 100]);
    }
    free(values);
    if (!(out->x0 <= out->x1)) out->x0 = 0, out->x1 = 1;
    if (!(out->y0 <= out->y1)) out->y0 = 0, out->y1 = 1;
    double margin = out->y1 > out->y0 ? 0.05 * (out->y1 - out->y0) : fmax(0.5, 0.05 * fabs(out->y1));
    out->y0 -= margin;
    out->y1 += margin;
    if (out->x1 <= out->x0) out->x1 = out->x0 + fmax(1, 0.05 * fabs(out->x0));
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
    if (fabs(value) >= 1e6 && fabs(value) < 1e9) snprintf(out, 32, "%.4gM", value / 1e6);
    else if (fabs(value) >= 1e4 && fabs(value) < 1e6) snprintf(out, 32, "%.4gk", value / 1e3);
    else snprintf(out, 32, "%.4g", value);
}

/* The marks of an axis from `low` to `high`, step by step; at most a hundred, should steps be too small to count in doubles. */
static double mark(double low, double step, int k)
{
    return (ceil(low / step) + k) * step;
}

static void draw_axes(ts_image *img, const ts_plot *p, const range *r)
{
    char words[32];
    double step = step_of(r->y1 - r->y0, 8);
    for (int k = 0; k < 100 && mark(r->y0, step, k) <= r->y1; k++) {
        const int at = (int)lround(to_y(r, mark(r->y0, step, k)));
        box(img, LEFT, at, PLOT_WIDTH, 1, GREY);
        label(mark(r->y0, step, k), step, words);
        ts_draw_text(img, LEFT - 8, at - TS_LETTER_HEIGHT / 2, TS_TEXT_RIGHT, words);
    }
    step = step_of(r->x1 - r->x0, 8);
    for (int k = 0; k < 100 && mark(r->x0, step, k) <= r->x1; k++) {
        const int at = (int)lround(to_x(r, mark(r->x0, step, k)));
        box(img, at, TOP, 1, PLOT_HEIGHT, GREY);
        label(mark(r->x0, step, k), step, words);
        ts_draw_text(img, at, TOP + PLOT_HEIGHT + 10, TS_TEXT_MIDDLE, words);
    }
    box(img, LEFT, TOP, 1, PLOT_HEIGHT, BLACK);
    box(img, LEFT, TOP + PLOT_HEIGHT, PLOT_WIDTH, 1, BLACK);
    ts_draw_text(img, WIDTH / 2, 16, TS_TEXT_MIDDLE, p->title);
    ts_draw_text(img, 12, TOP - 28, TS_TEXT_LEFT, p->y_name);
    ts_draw_text(img, LEFT + PLOT_WIDTH / 2, HEIGHT - 26, TS_TEXT_MIDDLE, p->x_name);
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */

/* A curve's pen: where it was last. */
typedef struct {
    ts_image *img;
    const ts_curve *curve;
    double x, y;
    bool down;
} pen;

static void draw_to(pen *p, double x, double y)
{
    if (p->down) line(p->img, p->x, p->y, x, y, p->curve->colour);
    p->x = x;
    p->y = y;
    p->down = true;
}

static void draw_points(pen *p, const range *r)
{
    const ts_curve *c = p->curve;
    for (int64_t k = 0; k < c->count; k++) {
        if (!usable(c, k)) continue;
        draw_to(p, to_x(r, c->x[k]), to_y(r, c->y[k]));
        box(p->img, (int)lround(p->x) - 3, (int)lround(p->y) - 3, 8, 8, c->colour);
    }
}

/* The mean over each column of pixels, of values (or, smoothed, of their running mean, which begins with the first value and
 * forgets one in so many steps). */
static void draw_mean(pen *p, const range *r)
{
    const ts_curve *c = p->curve;
    double sum[PLOT_WIDTH + 1] = {0}, running = 0, weight = 0;
    int64_t n[PLOT_WIDTH + 1] = {0};
    const double keep = c->kind == TS_CURVE_SMOOTH ? exp(-SMOOTHED_ONE_IN / fmax((double)c->count, SMOOTHED_ONE_IN)) : 0;
    for (int64_t k = 0; k < c->count; k++) {
        if (!usable(c, k)) continue;
        const int column = (int)(to_x(r, c->x[k]) - LEFT);
        running = keep * running + (1 - keep) * c->y[k];
        weight = keep * weight + (1 - keep);
        sum[column] += running / weight;
        n[column]++;
    }
    for (int i = 0; i <= PLOT_WIDTH; i++)
        if (n[i] > 0) draw_to(p, LEFT + i, to_y(r, sum[i] / (double)n[i]));
}

/* Dashes, so that it is not taken for one of the training's. */
static void draw_level(ts_image *img, const range *r, const ts_curve *c)
{
    const int at = (int)lround(to_y(r, c->y[0]));
    for (int x = LEFT; x + 12 <= LEFT + PLOT_WIDTH; x += 20) box(img, x, at, 12, 2, c->colour);
}

static void draw_curve(ts_image *img, const range *r, const ts_curve *c)
{
    pen p = {.img = img, .curve = c};
    if (c->kind == TS_CURVE_LEVEL && c->count > 0) draw_level(img, r, c);
    else if (c->kind == TS_CURVE_POINTS) draw_points(&p, r);
    else if (c->kind != TS_CURVE_LEVEL) draw_mean(&p, r);
}

/* At the right, above the curves. */
static void draw_legend(ts_image *img, const ts_plot *p)
{
    enum { KEY = 40, ROW = 22, EDGE = 8 };
    int rows = 0, longest = 0;
    for (int i = 0; i < p->count; i++) {
        if (!p->curves[i].name || p->curves[i].count == 0) continue;
        const int length = (int)strlen(p->curves[i].name);
        longest = length > longest ? length : longest;
        rows++;
    }
    const int width = longest * TS_LETTER_WIDTH + KEY + 2 * EDGE, x = LEFT + PLOT_WIDTH - width - EDGE;
    int y = TOP + EDGE;
    if (rows == 0) return;
    box(img, x, y, width, rows * ROW + EDGE, BLACK);
    box(img, x + 1, y + 1, width - 2, rows * ROW + EDGE - 2, WHITE);
    y += EDGE;
    for (int i = 0; i < p->count; i++) {
        const ts_curve *c = &p->curves[i];
        if (!c->name || c->count == 0) continue;
        for (int k = 0; k < KEY - 2 * EDGE; k++)
            if (c->kind != TS_CURVE_LEVEL || k % 14 < 9) box(img, x + EDGE + k, y + TS_LETTER_HEIGHT / 2 - 1, 1, 3, c->colour);
        if (c->kind == TS_CURVE_POINTS) box(img, x + EDGE + 8, y + TS_LETTER_HEIGHT / 2 - 4, 8, 8, c->colour);
        ts_draw_text(img, x + KEY, y, TS_TEXT_LEFT, c->name);
        y += ROW;
    }
}

bool ts_plot_save(const char *path, const ts_plot *plot, ts_error *err)
{
    range r = {0};
    ts_image img;
    if (!find_range(plot, &r, err) || !ts_image_new(WIDTH, HEIGHT, &img, err)) return false;
    box(&img, 0, 0, WIDTH, HEIGHT, WHITE);
    draw_axes(&img, plot, &r);
    for (int i = 0; i < plot->count; i++) draw_curve(&img, &r, &plot->curves[i]);
    draw_legend(&img, plot);
    bool ok = ts_image_save(path, &img, err);
    ts_image_clear(&img);
    return ok;
}
