/* resize.c - resizing exactly as Pillow's Image.resize does it for 8-bit RGB, bit for bit: the published models were trained and
 * measured on cells that Pillow made, and its antialiasing differs visibly from a GPU's or OpenCV's bilinear.
 *
 * A filter of width `support` (1 bilinear, 2 bicubic), stretched by the scale when shrinking, is sampled around the centre of
 * every output pixel, normalised to sum 1 in double precision, then rounded to 22 fractional bits. Rows are filtered first and
 * rounded to 8 bits, columns after that. A direction whose size stays is not touched.
 *
 * Nearest takes the pixel that the output's centre falls in. Pillow adds the step up from place to place, in double precision,
 * which now and then ends in another pixel than a product would. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

/* 8 bits hold the value, 2 the overshoot of a bicubic's negative lobes: the sum fits in 32 bits with its sign. */
enum { PRECISION_BITS = 32 - 8 - 2 };

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

/* For each place of the output along one axis: which places of the input it sums, and with what weights. */
typedef struct {
    int out;          /* places */
    int taps;         /* room for weights a place */
    int *first;       /* (out) */
    int *count;       /* (out) */
    int32_t *weights; /* (out, taps), fixed point */
} kernel;

static void kernel_clear(kernel *k)
{
    free(k->first);
    free(k->count);
    free(k->weights);
}

static bool kernel_make(int in, int out, ts_resize_filter which, kernel *k, ts_error *err)
{
    double (*filter)(double) = which == TS_RESIZE_BICUBIC ? bicubic : bilinear;
    double scale = (double)in / out;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = (which == TS_RESIZE_BICUBIC ? 2.0 : 1.0) * stretch;
    *k = (kernel){.out = out, .taps = (int)ceil(support) * 2 + 1}; /* in <= 2^28: fits */
    k->first = malloc((size_t)out * sizeof *k->first);
    k->count = malloc((size_t)out * sizeof *k->count);
    k->weights = calloc((size_t)out * (size_t)k->taps, sizeof *k->weights);
    double *exact = malloc((size_t)k->taps * sizeof *exact);
    if (!k->first || !k->count || !k->weights || !exact) {
        free(exact);
        kernel_clear(k);
        ts_fail(err, TS_ERR_MEMORY, "no memory to resize a picture from %d to %d pixels", in, out);
        return false;
    }
    for (int i = 0; i < out; i++) {
        double center = (i + 0.5) * scale, sum = 0;
        int first = (int)(center - support + 0.5);
        if (first < 0) first = 0;
        int end = (int)(center + support + 0.5);
        if (end > in) end = in;
        int count = end - first;
        int32_t *weights = k->weights + (size_t)i * (size_t)k->taps;
        for (int j = 0; j < count; j++) {
            exact[j] = filter((j + first - center + 0.5) * (1.0 / stretch));
            sum += exact[j];
        }
        for (int j = 0; j < count; j++) {
            double w = (sum != 0 ? exact[j] / sum : exact[j]) * (1 << PRECISION_BITS);
            weights[j] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
        }
        k->first[i] = first;
        k->count[i] = count;
    }
    free(exact);
    return true;
}

static uint8_t to_byte(int32_t sum)
{
    int32_t v = sum >> PRECISION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static const int32_t half = 1 << (PRECISION_BITS - 1);

/* src (H, W, 3) -> dst (H, W', 3) */
static void filter_rows(const ts_image *src, const kernel *k, ts_image *dst)
{
    for (int y = 0; y < dst->height; y++) {
        const uint8_t *row = src->data + (size_t)y * (size_t)src->width * 3;
        uint8_t *to = dst->data + (size_t)y * (size_t)dst->width * 3;
        for (int x = 0; x < k->out; x++, to += 3) {
            const uint8_t *from = row + (size_t)k->first[x] * 3;
            const int32_t *w = k->weights + (size_t)x * (size_t)k->taps;
            int32_t r = half, g = half, b = half;
            for (int j = 0; j < k->count[x]; j++, from += 3) {
                r += from[0] * w[j];
                g += from[1] * w[j];
                b += from[2] * w[j];
            }
            to[0] = to_byte(r);
            to[1] = to_byte(g);
            to[2] = to_byte(b);
        }
    }
}

/* src (H, W, 3) -> dst (H', W, 3), a whole row of sums at a time, so that memory is read in order. `sums` has W*3 places. */
static void filter_columns(const ts_image *src, const kernel *k, ts_image *dst, int32_t *sums)
{
    size_t stride = (size_t)src->width * 3;
    for (int y = 0; y < k->out; y++) {
        for (size_t i = 0; i < stride; i++) sums[i] = half;
        for (int j = 0; j < k->count[y]; j++) {
            const uint8_t *from = src->data + (size_t)(k->first[y] + j) * stride;
            int32_t w = k->weights[(size_t)y * (size_t)k->taps + (size_t)j];
            for (size_t i = 0; i < stride; i++) sums[i] += from[i] * w;
        }
        uint8_t *to = dst->data + (size_t)y * stride;
        for (size_t i = 0; i < stride; i++) to[i] = to_byte(sums[i]);
    }
}

static bool resize_rows(const ts_image *src, int width, ts_resize_filter filter, ts_image *out, ts_error *err)
{
    kernel k;
    if (!kernel_make(src->width, width, filter, &k, err)) return false;
    bool ok = ts_image_new(width, src->height, out, err);
    if (ok) filter_rows(src, &k, out);
    kernel_clear(&k);
    return ok;
}

static bool resize_columns(const ts_image *src, int height, ts_resize_filter filter, ts_image *out, ts_error *err)
{
    kernel k;
    if (!kernel_make(src->height, height, filter, &k, err)) return false;
    int32_t *sums = malloc((size_t)src->width * 3 * sizeof *sums);
    if (!sums) ts_fail(err, TS_ERR_MEMORY, "no memory to resize a picture");
    bool ok = sums && ts_image_new(src->width, height, out, err);
    if (ok) filter_columns(src, &k, out, sums);
    free(sums);
    kernel_clear(&k);
    return ok;
}

/* For each of `out` places the one of `in` that is nearest; owned by the caller. */
static int *nearest_places(int in, int out, ts_error *err)
{
    int *places = malloc((size_t)out * sizeof *places);
    if (!places) {
        ts_fail(err, TS_ERR_MEMORY, "no memory to resize a picture from %d to %d pixels", in, out);
        return NULL;
    }
    const double step = (double)in / out;
    double at = step * 0.5;
    for (int i = 0; i < out; i++, at += step) places[i] = at < in ? (int)at : in - 1;
    return places;
}

static bool resize_nearest(const ts_image *src, int width, int height, ts_image *out, ts_error *err)
{
    int *across = nearest_places(src->width, width, err), *down = across ? nearest_places(src->height, height, err) : NULL;
    const bool ok = down && ts_image_new(width, height, out, err);
    for (int y = 0; ok && y < height; y++) {
        const uint8_t *row = src->data + (size_t)down[y] * (size_t)src->width * 3;
        uint8_t *to = out->data + (size_t)y * (size_t)width * 3;
        for (int x = 0; x < width; x++, to += 3) memcpy(to, row + (size_t)across[x] * 3, 3);
    }
    free(across);
    free(down);
    return ok;
}

bool ts_image_resize(const ts_image *src, int width, int height, ts_resize_filter filter, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    if (!src->data || src->width < 1 || src->height < 1 || (int64_t)src->width * src->height > TS_MAX_PIXELS) {
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture to resize, or it has more than %lld pixels",
                       (long long)TS_MAX_PIXELS);
    }
    if (width < 1 || height < 1 || (int64_t)width * height > TS_MAX_PIXELS) {
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "cannot resize a picture to %d x %d: each side must be 1 or more, and the pixels %lld at most", width,
                       height, (long long)TS_MAX_PIXELS);
    }
    if (filter != TS_RESIZE_BILINEAR && filter != TS_RESIZE_BICUBIC && filter != TS_RESIZE_NEAREST) {
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no resize filter %d", (int)filter);
    }
    if (width == src->width && height == src->height) {
        if (!ts_image_new(width, height, out, err)) return false;
        memcpy(out->data, src->data, (size_t)width * (size_t)height * 3);
        return true;
    }
    if (filter == TS_RESIZE_NEAREST) return resize_nearest(src, width, height, out, err);
    if (width == src->width) return resize_columns(src, height, filter, out, err);
    if (height == src->height) return resize_rows(src, width, filter, out, err);
    ts_image wide;
    if (!resize_rows(src, width, filter, &wide, err)) return false;
    bool ok = resize_columns(&wide, height, filter, out, err);
    ts_image_clear(&wide);
    return ok;
}
