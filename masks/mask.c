/* mask.c - a mask: made, measured, resized, and as a picture. */
#include <stdlib.h>
#include <string.h>

#include "masks/masks.h"

static const int64_t MOST_PIXELS = (int64_t)1 << 28; /* as of a picture */

void ts_mask_clear(ts_mask *m)
{
    if (!m) return;
    free(m->data);
    *m = (ts_mask){0};
}

bool ts_mask_new(int width, int height, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    if (width < 1 || height < 1 || width > MOST_PIXELS / height)
        return ts_fail(err, TS_ERR_ARGUMENT, "a mask of %d x %d pixels cannot be made", width, height);
    uint8_t *data = calloc((size_t)width * (size_t)height, 1);
    if (!data) return ts_fail(err, TS_ERR_MEMORY, "no memory for a mask of %d x %d pixels", width, height);
    *out = (ts_mask){.width = width, .height = height, .data = data};
    return true;
}

bool ts_mask_of_image(const ts_image *picture, ts_mask *out, ts_error *err)
{
    if (!ts_mask_new(picture->width, picture->height, out, err)) return false;
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = picture->data + 3 * i;
        out->data[i] = 299 * p[0] + 587 * p[1] + 114 * p[2] >= 128 * 1000;
    }
    return true;
}

uint8_t *ts_mask_grey(const ts_mask *m, ts_error *err)
{
    const size_t pixels = (size_t)m->width * (size_t)m->height;
    uint8_t *out = malloc(pixels ? pixels : 1);
    if (!out) ts_fail(err, TS_ERR_MEMORY, "no memory for a mask of %d x %d pixels", m->width, m->height);
    for (size_t i = 0; out && i < pixels; i++) out[i] = m->data[i] ? 255 : 0;
    return out;
}

/* The place that each of `to` places is taken from. Pillow adds the step up, rounding and all, and so do we. */
static int *sources_of(int from, int to)
{
    int *at = malloc((size_t)to * sizeof *at);
    const double step = (double)from / to;
    double place = step * 0.5;
    for (int i = 0; at && i < to; i++, place += step) at[i] = place < from ? (int)place : from - 1;
    return at;
}

bool ts_mask_resize(const ts_mask *m, int width, int height, ts_mask *out, ts_error *err)
{
    if (!ts_mask_new(width, height, out, err)) return false;
    int *x_of = sources_of(m->width, width), *y_of = sources_of(m->height, height);
    const bool ok = x_of && y_of;
    for (int y = 0; ok && y < height; y++) {
        const uint8_t *from = m->data + (size_t)y_of[y] * (size_t)m->width;
        uint8_t *row = out->data + (size_t)y * (size_t)width;
        for (int x = 0; x < width; x++) row[x] = from[x_of[x]];
    }
    free(x_of);
    free(y_of);
    if (!ok) ts_mask_clear(out);
    return ok || ts_fail(err, TS_ERR_MEMORY, "no memory to resize a mask to %d x %d pixels", width, height);
}

int64_t ts_mask_area(const ts_mask *m)
{
    int64_t area = 0;
    for (int y = 0; y < m->height; y++) {
        const uint8_t *row = m->data + (size_t)y * (size_t)m->width;
        int inside = 0;
        for (int x = 0; x < m->width; x++) inside += row[x];
        area += inside;
    }
    return area;
}

ts_box ts_mask_box(const ts_mask *m)
{
    ts_box box = {m->width, m->height, -1, -1};
    for (int y = 0; y < m->height; y++) {
        const uint8_t *row = m->data + (size_t)y * (size_t)m->width, *first = memchr(row, 1, (size_t)m->width);
        if (!first) continue;
        const uint8_t *last = memrchr(row, 1, (size_t)m->width);
        if (box.y1 < 0) box.y0 = y;
        box.y1 = y;
        if (first - row < box.x0) box.x0 = (int)(first - row);
        if (last - row > box.x1) box.x1 = (int)(last - row);
    }
    if (box.y1 < 0) box = (ts_box){0};
    return box;
}
