/* canvas.c - pictures onto canvases, and what was painted back to the query's size. */
#include "painter/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ImageNet's statistics; the targets are normalised by them too. */
static const double MEAN[3] = {0.485, 0.456, 0.406}, DEVIATION[3] = {0.229, 0.224, 0.225};

void ts_painter_normalise(const uint8_t *rgb, int64_t pixels, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) table[c][v] = (float)((v / 255.0 - MEAN[c]) / DEVIATION[c]);
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) out[i * 3 + c] = table[c][rgb[i * 3 + c]];
}

void ts_painter_restore(const float *values, int64_t pixels, float *out)
{
    for (int64_t i = 0; i < pixels * 3; i++) out[i] = (float)(((double)values[i] * DEVIATION[i % 3] + MEAN[i % 3]) * 255);
}

/* A picture of any size as the side x side pixels of a canvas's half. */
static bool place(const ts_image *img, int side, ts_resize_filter filter, float *out, ts_error *err)
{
    ts_image sized = {0};
    if (!ts_image_resize(img, side, side, filter, &sized, err)) return false;
    ts_painter_normalise(sized.data, (int64_t)side * side, out);
    ts_image_clear(&sized);
    return true;
}

bool ts_painter_compose(const ts_painter_pair *example, const ts_image *query, int side, float *picture, float *target,
                        ts_error *err)
{
    const int64_t half = (int64_t)side * side * 3;
    if (!place(example->picture, side, TS_RESIZE_BICUBIC, picture, err) ||
        !place(query, side, TS_RESIZE_BICUBIC, picture + half, err) ||
        !place(example->target, side, TS_RESIZE_NEAREST, target, err))
        return false;
    memcpy(target + half, target, (size_t)half * sizeof *target); /* hidden: any would do */
    return true;
}

void ts_painted_clear(ts_painted *a)
{
    if (!a) return;
    free(a->values);
    *a = (ts_painted){0};
}

/* ---- to another size ---- */

/* What place `i` of `out` takes from an axis of `in` places, as PyTorch's interpolate(align_corners=False) has it: in single
 * precision, as it does for single-precision maps. */
typedef struct {
    int at[4];
    float weight[4];
    int count;
} taps;

static int within(int i, int count)
{
    return i < 0 ? 0 : i < count ? i : count - 1;
}

static float keys(float d)
{
    const float a = -0.75F;
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((d - 5) * d + 8) * d * a - 4 * a;
}

static taps taps_of(int i, int in, int out, ts_painted_filter filter)
{
    const float scale = (float)in / (float)out;
    if (filter == TS_PAINTED_NEAREST) return (taps){.at = {within((int)floorf((float)i * scale), in)}, .weight = {1}, .count = 1};
    float place_in = scale * ((float)i + 0.5F) - 0.5F;
    if (filter == TS_PAINTED_BILINEAR && place_in < 0) place_in = 0;
    const int base = (int)floorf(place_in);
    const float t = place_in - (float)base;
    if (filter == TS_PAINTED_BILINEAR)
        return (taps){.at = {within(base, in), within(base + 1, in)}, .weight = {1 - t, t}, .count = 2};
    taps k = {.weight = {keys(1 + t), keys(t), keys(1 - t), keys(2 - t)}, .count = 4};
    for (int j = 0; j < 4; j++) k.at[j] = within(base - 1 + j, in);
    return k;
}

static float clipped(float v)
{
    return v > 0 ? (v < 255 ? v : 255) : 0; /* what is no number becomes black */
}

/* One pixel of the new size. */
static void fit_pixel(const ts_painted *a, const taps *down, const taps *across, bool clip, float out[3])
{
    for (int c = 0; c < 3; c++) {
        float sum = 0;
        for (int y = 0; y < down->count; y++) {
            float row = 0;
            for (int x = 0; x < across->count; x++) {
                const float v = a->values[((int64_t)down->at[y] * a->side + across->at[x]) * 3 + c];
                row += across->weight[x] * (clip ? clipped(v) : v);
            }
            sum += down->weight[y] * row;
        }
        out[c] = clipped(sum);
    }
}

bool ts_painted_fit(const ts_painted *a, int width, int height, ts_painted_filter filter, float *out, ts_error *err)
{
    if (!a->values || width < 1 || height < 1) {
        ts_fail(err, TS_ERR_ARGUMENT, "nothing was painted, or %d x %d is no size", width, height);
        return false;
    }
    taps *across = malloc((size_t)width * sizeof *across);
    if (!across) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for an answer of %d x %d pixels", width, height);
        return false;
    }
    for (int x = 0; x < width; x++) across[x] = taps_of(x, a->side, width, filter);
    for (int y = 0; y < height; y++) {
        const taps down = taps_of(y, a->side, height, filter);
        for (int x = 0; x < width; x++)
            fit_pixel(a, &down, &across[x], filter != TS_PAINTED_BICUBIC, out + ((int64_t)y * width + x) * 3);
    }
    free(across);
    return true;
}

/* The fitted answer, or NULL. */
static float *fitted(const ts_painted *a, int width, int height, ts_painted_filter filter, ts_error *err)
{
    const size_t pixels = width > 0 && height > 0 ? (size_t)width * (size_t)height : 1;
    float *values = malloc(pixels * 3 * sizeof *values);
    if (!values) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for an answer of %d x %d pixels", width, height);
        return NULL;
    }
    if (ts_painted_fit(a, width, height, filter, values, err)) return values;
    free(values);
    return NULL;
}

bool ts_painted_picture(const ts_painted *a, int width, int height, ts_painted_filter filter, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    float *values = fitted(a, width, height, filter, err);
    const bool ok = values && ts_image_new(width, height, out, err);
    const float up = filter == TS_PAINTED_BICUBIC ? 0 : 0.5F;
    for (int64_t i = 0; ok && i < (int64_t)width * height * 3; i++) out->data[i] = (uint8_t)(values[i] + up);
    free(values);
    return ok;
}

bool ts_painted_blend(const ts_painted *a, const ts_image *query, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    float *values = fitted(a, query->width, query->height, TS_PAINTED_NEAREST, err);
    const bool ok = values && ts_image_new(query->width, query->height, out, err);
    for (int64_t i = 0; ok && i < (int64_t)query->width * query->height * 3; i++)
        out->data[i] = (uint8_t)((double)query->data[i] * (0.6 * (double)values[i] / 255 + 0.4));
    free(values);
    return ok;
}
