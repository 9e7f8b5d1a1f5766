/* palette.c - the few colours of an example's mask or label picture, which say what an answer's colours mean. */
#include "masks/masks.h"

#include <string.h>

static int find(const ts_palette *p, const uint8_t *colour, int guess)
{
    if (guess < p->count && memcmp(p->colour[guess], colour, 3) == 0) return guess;
    for (int i = 0; i < p->count; i++)
        if (memcmp(p->colour[i], colour, 3) == 0) return i;
    return -1;
}

bool ts_palette_add(ts_palette *p, const ts_image *example)
{
    const int width = example->width, height = example->height;
    const uint8_t *pixel = example->data;
    int at = 0;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, pixel += 3) {
            at = find(p, pixel, at);
            if (at < 0 && p->count == TS_PALETTE_MOST) {
                *p = (ts_palette){0};
                return false;
            }
            if (at < 0) memcpy(p->colour[at = p->count++], pixel, 3);
            p->pixels[at]++;
            p->border[at] += x == 0 || y == 0 || x == width - 1 || y == height - 1;
        }
    }
    return true;
}

int ts_palette_background(const ts_palette *p)
{
    static const uint8_t black[3] = {0, 0, 0};
    int best = p->count > 0 ? 0 : -1;
    const int found = find(p, black, 0);
    if (found >= 0) return found;
    for (int i = 1; i < p->count; i++)
        if (p->border[i] > p->border[best] || (p->border[i] == p->border[best] && p->pixels[i] > p->pixels[best])) best = i;
    return best;
}

int ts_palette_nearest(const ts_palette *p, const uint8_t colour[3])
{
    int best = -1, least = 0;
    for (int i = 0; i < p->count; i++) {
        const int r = p->colour[i][0] - colour[0], g = p->colour[i][1] - colour[1], b = p->colour[i][2] - colour[2];
        const int distance = r * r + g * g + b * b;
        if (best >= 0 && distance >= least) continue;
        best = i;
        least = distance;
    }
    return best;
}

void ts_palette_snap(const ts_palette *p, ts_image *picture)
{
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    for (size_t i = 0; p->count > 0 && i < pixels; i++) {
        uint8_t *at = picture->data + 3 * i;
        memcpy(at, p->colour[ts_palette_nearest(p, at)], 3);
    }
}

bool ts_palette_mask(const ts_palette *p, const ts_image *picture, ts_mask *out, ts_error *err)
{
    *out = (ts_mask){0};
    const int background = ts_palette_background(p);
    if (background < 0) return ts_fail(err, TS_ERR_ARGUMENT, "without a palette nothing says what of a picture is foreground");
    if (!ts_mask_new(picture->width, picture->height, out, err)) return false;
    const size_t pixels = (size_t)picture->width * (size_t)picture->height;
    for (size_t i = 0; i < pixels; i++) out->data[i] = ts_palette_nearest(p, picture->data + 3 * i) != background;
    return true;
}
