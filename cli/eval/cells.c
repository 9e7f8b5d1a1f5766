/* cells.c - pixels as the public evaluations have them, to the last level: crops rounded as Python rounds, Pillow's grey, what
 * normalising and cutting to whole numbers leaves of a target, the nearer of two colours, the box of the largest region. Compiled
 * without fused multiply-add: where a level is cut off must not depend on the machine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"
#include "grid/grid.h"

static const double MEAN[3] = {0.485, 0.456, 0.406}, DEVIATION[3] = {0.229, 0.224, 0.225};

static size_t pixels_of(const ts_image *img)
{
    return (size_t)img->width * (size_t)img->height;
}

void eval_paint_class(ts_image *numbers, int number, const uint8_t colour[3], const uint8_t ground[3])
{
    for (size_t i = 0; i < pixels_of(numbers); i++)
        memcpy(numbers->data + i * 3, numbers->data[i * 3] == number ? colour : ground, 3);
}

/* Half of `rest`, a half that is over going to the even number, as Python's round() has it. */
static int half_to_even(int rest)
{
    const int half = rest / 2;
    return half + (rest % 2 && half % 2);
}

bool eval_centre_crop(const ts_image *picture, int side, ts_image *out, ts_error *err)
{
    const int width = picture->width, height = picture->height;
    if (!ts_image_new(side, side, out, err)) return false;
    /* Of a smaller picture: where it begins in the crop; of a larger one: where the crop begins in it. */
    const int to_x = width < side ? (side - width) / 2 : 0, to_y = height < side ? (side - height) / 2 : 0;
    const int from_x = width > side ? half_to_even(width - side) : 0, from_y = height > side ? half_to_even(height - side) : 0;
    const int wide = width < side ? width : side, high = height < side ? height : side;
    for (int y = 0; y < high; y++)
        memcpy(out->data + ((size_t)(to_y + y) * (size_t)side + (size_t)to_x) * 3,
               picture->data + ((size_t)(from_y + y) * (size_t)width + (size_t)from_x) * 3, (size_t)wide * 3);
    return true;
}

void eval_grey(ts_image *picture)
{
    for (size_t i = 0; i < pixels_of(picture); i++) {
        uint8_t *c = picture->data + i * 3;
        memset(c, (int)((c[0] * 19595u + c[1] * 38470u + c[2] * 7471u + 0x8000u) >> 16), 3);
    }
}

void eval_through_normalisation(ts_image *picture, bool single)
{
    uint8_t left[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            const float value = (float)v / 255.0f;
            const float normalised = (value - (float)MEAN[c]) / (float)DEVIATION[c];
            const double exact = single ? (double)normalised : ((double)value - MEAN[c]) / DEVIATION[c];
            const double back = (exact * DEVIATION[c] + MEAN[c]) * 255;
            left[c][v] = (uint8_t)(back < 0 ? 0 : back > 255 ? 255 : back);
        }
    for (size_t i = 0; i < pixels_of(picture) * 3; i++) picture->data[i] = left[i % 3][picture->data[i]];
}

void eval_snap(ts_image *picture, const uint8_t colours[2][3])
{
    for (size_t i = 0; i < pixels_of(picture); i++)
        memcpy(picture->data + i * 3, colours[ts_nearest_colour(picture->data + i * 3, colours, 2)], 3);
}

void eval_score_masks(const ts_image *truth, const ts_image *answer, const uint8_t colours[2][3], eval_scores *out)
{
    int64_t right = 0, blind_both = 0, blind_either = 0;
    for (size_t i = 0; i < pixels_of(truth); i++) {
        const uint8_t *a = truth->data + i * 3, *b = answer->data + i * 3;
        const bool wanted = memcmp(a, colours[0], 3) == 0, got = memcmp(b, colours[0], 3) == 0;
        const bool some = memcmp(b, colours[1], 3) != 0;
        right += memcmp(a, b, 3) == 0;
        out->both += wanted && got;
        out->either += wanted || got;
        blind_both += wanted && some;
        blind_either += wanted || some;
    }
    out->value[EVAL_ACCURACY] = (double)right / (double)pixels_of(truth);
    if (out->either > 0) out->value[EVAL_IOU] = (double)out->both / (double)out->either;
    if (blind_either > 0) out->value[EVAL_IOU_BLIND] = (double)blind_both / (double)blind_either;
}

/* ---- regions ---- */

typedef struct {
    int64_t area;
    ts_box box;
} region;

/* Takes the region at `start` off the mask. `stack` has room for every pixel. */
static region take_region(uint8_t *mask, int width, int height, int start, int *stack)
{
    region r = {.box = {width, height, -1, -1}};
    int top = 0;
    stack[top++] = start;
    mask[start] = 0;
    while (top > 0) {
        const int at = stack[--top], x = at % width, y = at / width;
        r.area++;
        if (x < r.box.x0) r.box.x0 = x;
        if (x > r.box.x1) r.box.x1 = x;
        if (y < r.box.y0) r.box.y0 = y;
        if (y > r.box.y1) r.box.y1 = y;
        for (int ny = y > 0 ? y - 1 : 0; ny <= y + 1 && ny < height; ny++)
            for (int nx = x > 0 ? x - 1 : 0; nx <= x + 1 && nx < width; nx++) {
                if (!mask[ny * width + nx]) continue;
                mask[ny * width + nx] = 0;
                stack[top++] = ny * width + nx;
            }
    }
    return r;
}

static region largest_region(uint8_t *mask, int width, int height, int *stack)
{
    region largest = {.area = 0};
    for (int i = 0; i < width * height; i++) {
        if (!mask[i]) continue;
        const region r = take_region(mask, width, height, i, stack);
        if (r.area >= largest.area) largest = r;
    }
    return largest;
}

bool eval_largest_box(ts_image *picture, ts_error *err)
{
    const int width = picture->width, height = picture->height;
    uint8_t *mask = calloc(pixels_of(picture), 1);
    int *stack = malloc(pixels_of(picture) * sizeof *stack);
    const bool ok = mask && stack;
    if (ok) {
        for (size_t i = 0; i < pixels_of(picture); i++) mask[i] = picture->data[i * 3] == 255;
        const region r = largest_region(mask, width, height, stack);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                const bool inside = r.area > 0 && x >= r.box.x0 && x <= r.box.x1 && y >= r.box.y0 && y <= r.box.y1;
                memset(picture->data + ((size_t)y * (size_t)width + (size_t)x) * 3, inside ? 255 : 0, 3);
            }
    }
    free(mask);
    free(stack);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

double eval_normalised_mse(const ts_image *truth, const ts_image *answer)
{
    double sum = 0;
    for (size_t i = 0; i < pixels_of(truth) * 3; i++) {
        const double d = (truth->data[i] - answer->data[i]) / (255.0 * DEVIATION[i % 3]);
        sum += d * d;
    }
    return sum / ((double)pixels_of(truth) * 3);
}
