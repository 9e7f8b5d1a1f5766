/* score.c - how near an answer is to what was wanted: by the colours of the targets where those are few, else pixel by pixel. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"

const char *const eval_metric_names[EVAL_METRICS] = {"iou", "iou_all", "iou_blind", "accuracy", "mse", "psnr", "ssim", "lpips"};

/* ---- colours ---- */

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool add_colour(ts_palette *p, uint32_t rgb, int64_t pixels, int64_t border)
{
    const uint8_t colour[3] = {(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb};
    int at = 0;
    while (at < p->count && memcmp(p->colour[at], colour, 3) != 0) at++;
    if (at == EVAL_PALETTE) return false;
    if (at == p->count) memcpy(p->colour[p->count++], colour, 3);
    p->pixels[at] += pixels;
    p->border[at] += border;
    return true;
}

static bool at_border(const ts_image *img, int64_t i)
{
    const int64_t x = i % img->width, y = i / img->width;
    return x == 0 || y == 0 || x == img->width - 1 || y == img->height - 1;
}

static int64_t border_of(const ts_image *img, uint32_t rgb)
{
    const uint8_t colour[3] = {(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb};
    int64_t count = 0;
    for (int64_t i = 0; i < (int64_t)img->width * img->height; i++)
        count += at_border(img, i) && memcmp(img->data + i * 3, colour, 3) == 0;
    return count;
}

/* What the main colours must make up of a target: less, and it is no picture of few colours. */
static const double COVERED = 0.9;

bool eval_palette_add(ts_palette *p, const ts_image *target)
{
    const int64_t pixels = (int64_t)target->width * target->height;
    uint32_t *value = malloc((size_t)pixels * sizeof *value);
    int64_t covered = 0;
    bool few = value != NULL;
    for (int64_t i = 0; few && i < pixels; i++) {
        const uint8_t *c = target->data + i * 3;
        value[i] = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    }
    if (few) qsort(value, (size_t)pixels, sizeof *value, by_value);
    for (int64_t i = 0, next; few && i < pixels; i = next) {
        for (next = i; next < pixels && value[next] == value[i];) next++;
        if ((next - i) * 200 < pixels) continue;
        covered += next - i;
        few = add_colour(p, value[i], next - i, border_of(target, value[i]));
    }
    free(value);
    few = few && (double)covered >= COVERED * (double)pixels;
    if (!few) *p = (ts_palette){0};
    return few;
}

static void score_colours(const ts_image *truth, const ts_image *answer, const ts_palette *p, double out[EVAL_METRICS])
{
    int64_t want[TS_PALETTE_MOST] = {0}, got[TS_PALETTE_MOST] = {0}, both[TS_PALETTE_MOST] = {0}, right = 0, all_both = 0,
            all_either = 0;
    const int64_t pixels = (int64_t)truth->width * truth->height;
    const int ground = ts_palette_background(p);
    for (int64_t i = 0; i < pixels; i++) {
        const int a = ts_palette_nearest(p, truth->data + i * 3), b = ts_palette_nearest(p, answer->data + i * 3);
        want[a]++;
        got[b]++;
        both[a] += a == b;
        right += a == b;
        all_both += a != ground && b != ground;
        all_either += a != ground || b != ground;
    }
    double sum = 0;
    int colours = 0;
    for (int i = 0; i < p->count; i++)
        if (i != ground && want[i] > 0) {
            sum += (double)both[i] / (double)(want[i] + got[i] - both[i]);
            colours++;
        }
    out[EVAL_ACCURACY] = (double)right / (double)pixels;
    if (colours > 0) out[EVAL_IOU] = sum / colours;
    if (all_either > 0) out[EVAL_IOU_ALL] = (double)all_both / (double)all_either;
}

/* ---- pixels ---- */

enum { WINDOW = 11, MIDDLE = WINDOW / 2 };

static void weigh(double w[WINDOW])
{
    double sum = 0;
    for (int i = 0; i < WINDOW; i++) {
        const double d = i - MIDDLE;
        sum += w[i] = exp(-d * d / (2 * 1.5 * 1.5));
    }
    for (int i = 0; i < WINDOW; i++) w[i] /= sum;
}

static double luma(const uint8_t *c)
{
    return (0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]) / 255;
}

/* The five moments at a window's corner, from rows that are summed across already. */
typedef struct {
    double x, y, xx, yy, xy;
} moments;

static double similarity(const moments *m)
{
    const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const double vx = m->xx - m->x * m->x, vy = m->yy - m->y * m->y, cov = m->xy - m->x * m->y;
    return (2 * m->x * m->y + c1) * (2 * cov + c2) / ((m->x * m->x + m->y * m->y + c1) * (vx + vy + c2));
}

static void add_moments(moments *sum, const moments *m, double weight)
{
    sum->x += weight * m->x;
    sum->y += weight * m->y;
    sum->xx += weight * m->xx;
    sum->yy += weight * m->yy;
    sum->xy += weight * m->xy;
}

/* NaN where the picture is smaller than a window, or memory is missing. */
static double ssim(const ts_image *a, const ts_image *b)
{
    const int wide = a->width - WINDOW + 1, high = a->height - WINDOW + 1;
    if (wide < 1 || high < 1) return (double)NAN;
    moments *across = calloc((size_t)wide * (size_t)a->height, sizeof *across);
    if (!across) return (double)NAN;
    double w[WINDOW], sum = 0;
    weigh(w);
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < wide; x++)
            for (int i = 0; i < WINDOW; i++) {
                const size_t at = ((size_t)y * (size_t)a->width + (size_t)(x + i)) * 3;
                const double p = luma(a->data + at), q = luma(b->data + at);
                add_moments(&across[(size_t)y * (size_t)wide + (size_t)x], &(moments){p, q, p * p, q * q, p * q}, w[i]);
            }
    for (int y = 0; y < high; y++)
        for (int x = 0; x < wide; x++) {
            moments m = {0};
            for (int i = 0; i < WINDOW; i++) add_moments(&m, &across[(size_t)(y + i) * (size_t)wide + (size_t)x], w[i]);
            sum += similarity(&m);
        }
    free(across);
    return sum / ((double)wide * high);
}

static void score_pixels(const ts_image *truth, const ts_image *answer, double out[EVAL_METRICS])
{
    const int64_t values = (int64_t)truth->width * truth->height * 3;
    int64_t sum = 0;
    for (int64_t i = 0; i < values; i++) {
        const int d = truth->data[i] - answer->data[i];
        sum += d * d;
    }
    out[EVAL_MSE] = (double)sum / (255.0 * 255.0 * (double)values);
    out[EVAL_PSNR] = sum > 0 ? -10 * log10(out[EVAL_MSE]) : 100;
    out[EVAL_SSIM] = ssim(truth, answer);
}

bool eval_score(const ts_image *truth, const ts_image *answer, const ts_palette *palette, double out[EVAL_METRICS], ts_error *err)
{
    for (int i = 0; i < EVAL_METRICS; i++) out[i] = (double)NAN;
    if (truth->width != answer->width || truth->height != answer->height)
        return ts_fail(err, TS_ERR_SHAPE, "the answer has %d x %d pixels and the target %d x %d: they must be alike",
                       answer->width, answer->height, truth->width, truth->height);
    if (palette->count > 1) score_colours(truth, answer, palette, out);
    else score_pixels(truth, answer, out);
    return true;
}
