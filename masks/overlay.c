/* overlay.c - masks and answers laid over the picture that they are of, and what a mask cuts out of it. A tint alone is lost on a
 * picture of the same colour, so each region gets a line along its edge as well. */
#include "masks/masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void ts_mask_colour(int number, uint8_t out[3])
{
    /* Steps of the golden section around the circle of hues: whatever their number, no two lie close together. */
    const double hue = fmod(0.58 + 0.6180339887498949 * number, 1.0) * 6, light = number / 7 % 2 ? 200 : 255;
    for (int c = 0; c < 3; c++) {
        const double k = fmod(5 - 2 * c + hue, 6);
        const double part = fmax(0, fmin(fmin(k, 4 - k), 1));
        out[c] = (uint8_t)lround(light * (1 - 0.85 * part));
    }
}

static uint8_t mixed(uint8_t a, uint8_t b)
{
    return (uint8_t)((a + b + 1) / 2);
}

typedef struct {
    int width, height;
    const uint8_t *label; /* one a pixel, 0: nothing is laid there */
} regions;

/* Whether another label is met within `line` pixels up, down, left or right; the picture's own edge is none. */
static bool near_edge(const regions *r, int x, int y, int line)
{
    const ptrdiff_t width = r->width;
    const uint8_t *at = r->label + y * width + x;
    for (int k = 1; k <= line; k++)
        if ((x >= k && at[-k] != *at) || (x + k < r->width && at[k] != *at) || (y >= k && at[-k * width] != *at) ||
            (y + k < r->height && at[k * width] != *at))
            return true;
    return false;
}

/* `colour` is of labels from 1 on. */
static void tint(ts_image *picture, const uint8_t *label, const uint8_t (*colour)[3])
{
    const regions r = {picture->width, picture->height, label};
    const int longer = r.width > r.height ? r.width : r.height, line = 1 + longer / 640;
    for (int y = 0; y < r.height; y++)
        for (int x = 0; x < r.width; x++) {
            const size_t at = (size_t)y * (size_t)r.width + (size_t)x;
            if (!label[at]) continue;
            uint8_t *pixel = picture->data + 3 * at;
            const uint8_t *full = colour[label[at] - 1];
            const bool edge = near_edge(&r, x, y, line);
            for (int c = 0; c < 3; c++) pixel[c] = edge ? full[c] : mixed(pixel[c], full[c]);
        }
}

static bool same_size(const ts_image *picture, const char *what, int width, int height, ts_error *err)
{
    return (picture->width == width && picture->height == height) ||
           ts_fail(err, TS_ERR_SHAPE, "a picture of %d x %d pixels and %s of %d x %d do not lie over each other", picture->width,
                   picture->height, what, width, height);
}

bool ts_overlay_mask(ts_image *picture, const ts_mask *m, const uint8_t colour[3], ts_error *err)
{
    if (!same_size(picture, "a mask", m->width, m->height, err)) return false;
    tint(picture, m->data, (const uint8_t(*)[3])colour);
    return true;
}

bool ts_overlay_answer(ts_image *picture, const ts_image *answer, const ts_palette *p, ts_error *err)
{
    if (!same_size(picture, "an answer", answer->width, answer->height, err)) return false;
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    if (!p || p->count == 0) {
        for (size_t i = 0; i < 3 * pixels; i++) picture->data[i] = mixed(picture->data[i], answer->data[i]);
        return true;
    }
    const int background = ts_palette_background(p);
    uint8_t *label = calloc(pixels, 1);
    if (!label) return ts_fail(err, TS_ERR_MEMORY, "no memory to lay an answer over its picture");
    for (size_t i = 0; i < pixels; i++) {
        const int nearest = ts_palette_nearest(p, answer->data + 3 * i);
        label[i] = (uint8_t)(nearest == background ? 0 : nearest + 1);
    }
    tint(picture, label, p->colour);
    free(label);
    return true;
}

uint8_t *ts_cutout(const ts_image *picture, const ts_mask *m, ts_error *err)
{
    if (!same_size(picture, "a mask", m->width, m->height, err)) return NULL;
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    uint8_t *out = calloc(pixels, 4);
    if (!out) ts_fail(err, TS_ERR_MEMORY, "no memory for a cut-out of %d x %d pixels", picture->width, picture->height);
    for (size_t i = 0; out && i < pixels; i++) {
        if (!m->data[i]) continue;
        memcpy(out + 4 * i, picture->data + 3 * i, 3);
        out[4 * i + 3] = 255;
    }
    return out;
}
