/* maps.c - masks and maps between the sizes of a picture, of what the network sees of it, and of its places. */
#include "matching/internal.h"

#include <stdlib.h>
#include <string.h>

/* Where output `o` of `out` falls between the `in` inputs: the lower one of two, and the upper one's weight. */
static int between(int o, int in, int out, bool corners, double *upper)
{
    double at = corners ? (out > 1 ? o * (in - 1.0) / (out - 1.0) : 0) : (o + 0.5) * in / out - 0.5;
    if (at < 0) at = 0;
    int low = (int)at;
    if (low > in - 1) low = in - 1;
    *upper = low + 1 < in ? at - low : 0;
    return low;
}

void ts_map_resize(const float *in, int h, int w, bool corners, float *out, int height, int width)
{
    for (int y = 0; y < height; y++) {
        double down;
        const int top = between(y, h, height, corners, &down);
        const float *a = in + (int64_t)top * w, *b = in + (int64_t)(top + (down > 0)) * w;
        for (int x = 0; x < width; x++) {
            double right;
            const int left = between(x, w, width, corners, &right), next = left + (right > 0);
            const double upper = (1 - right) * (double)a[left] + right * (double)a[next];
            const double lower = (1 - right) * (double)b[left] + right * (double)b[next];
            out[(int64_t)y * width + x] = (float)((1 - down) * upper + down * lower);
        }
    }
}

/* The pixel that place `o` of `out` takes of `in`, by PyTorch's nearest. */
static int nearest(int o, int in, int out)
{
    return (int)((int64_t)o * in / out);
}

static int64_t cut_half(const float *map, int64_t count, uint8_t *out)
{
    int64_t inside = 0;
    for (int64_t i = 0; i < count; i++) inside += out[i] = map[i] > 0.5F;
    return inside;
}

/* No place is half inside: those whose nearest pixel is, or the place that the mask's middle falls into. */
static void thin_mask(const ts_mask *m, const float *square, int pixels, int side, uint8_t *inside)
{
    int64_t found = 0, count = 0, sum_x = 0, sum_y = 0;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            found += inside[y * side + x] = square[(int64_t)nearest(y, pixels, side) * pixels + nearest(x, pixels, side)] > 0.5F;
    for (int y = 0; y < m->height && found == 0; y++)
        for (int x = 0; x < m->width; x++)
            if (m->data[(int64_t)y * m->width + x]) count++, sum_x += x, sum_y += y;
    if (count == 0) return;
    const int64_t row = sum_y / count * side / m->height, column = sum_x / count * side / m->width;
    inside[row * side + column] = 1;
}

bool ts_mask_to_places(const ts_mask *m, int pixels, int side, uint8_t *inside, ts_error *err)
{
    float *square = calloc((size_t)pixels * (size_t)pixels, sizeof *square),
          *map = calloc((size_t)side * (size_t)side, sizeof *map);
    const bool ok = square && map;
    if (ok) {
        for (int y = 0; y < pixels; y++)
            for (int x = 0; x < pixels; x++)
                square[(int64_t)y * pixels + x] =
                    m->data[(int64_t)nearest(y, m->height, pixels) * m->width + nearest(x, m->width, pixels)];
        ts_map_resize(square, pixels, pixels, false, map, side, side);
        if (cut_half(map, (int64_t)side * side, inside) == 0) thin_mask(m, square, pixels, side, inside);
    }
    free(square);
    free(map);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask of %d x %d", pixels, pixels);
}

bool ts_mask_of_places(const uint8_t *inside, int side, int pixels, int width, int height, ts_mask *out, ts_error *err)
{
    const int64_t few = (int64_t)side * side, square = (int64_t)pixels * pixels, all = (int64_t)width * height;
    float *places = calloc((size_t)few, sizeof *places), *middle = calloc((size_t)square, sizeof *middle);
    float *whole = calloc((size_t)all, sizeof *whole);
    bool ok = places && middle && whole;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a mask of %d x %d", width, height);
    ok = ok && ts_mask_new(width, height, out, err);
    if (ok) {
        for (int64_t i = 0; i < few; i++) places[i] = inside[i];
        ts_map_resize(places, side, side, false, middle, pixels, pixels);
        for (int64_t i = 0; i < square; i++) middle[i] = middle[i] > 0.5F;
        ts_map_resize(middle, pixels, pixels, false, whole, height, width);
        cut_half(whole, all, out->data);
    }
    free(places);
    free(middle);
    free(whole);
    return ok;
}

bool ts_example_check(const ts_image *picture, const ts_mask *mask, ts_error *err)
{
    if (mask->width != picture->width || mask->height != picture->height)
        return ts_fail(err, TS_ERR_ARGUMENT, "an example of %d x %d pixels has a mask of %d x %d", picture->width,
                       picture->height, mask->width, mask->height);
    return ts_mask_area(mask) > 0 || ts_fail(err, TS_ERR_ARGUMENT, "the example's mask has nothing inside");
}
