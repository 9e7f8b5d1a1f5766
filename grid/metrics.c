/* metrics.c - how near an answer is to the truth, as the papers count it: pixels go to the nearest colour of the task's palette
 * and masks are compared; pictures by their squared error after ImageNet's normalisation. */
#include <stdlib.h>
#include <string.h>

#include "grid/grid.h"

static bool same_size(const ts_image *truth, const ts_image *answer, ts_error *err)
{
    if (truth->data && answer->data && truth->width == answer->width && truth->height == answer->height) return true;
    return ts_fail(err, TS_ERR_SHAPE, "the answer has %d x %d pixels and the truth %d x %d: they must be alike", answer->width,
                   answer->height, truth->width, truth->height);
}

int ts_nearest_colour(const uint8_t rgb[3], const uint8_t (*palette)[3], int count)
{
    int best = 0, least = 1 << 20;
    for (int i = 0; i < count; i++) {
        int r = rgb[0] - palette[i][0], g = rgb[1] - palette[i][1], b = rgb[2] - palette[i][2], d = r * r + g * g + b * b;
        if (d >= least) continue;
        least = d;
        best = i;
    }
    return best;
}

static double ratio(int64_t both, int64_t either)
{
    return either > 0 ? (double)both / (double)either : 1;
}

bool ts_score_palette(const ts_image *truth, const ts_image *answer, const uint8_t (*palette)[3], int count, ts_score *score,
                      ts_error *err)
{
    if (!same_size(truth, answer, err)) return false;
    int64_t pixels = (int64_t)truth->width * truth->height, right = 0, both = 0, either = 0, blind_both = 0, blind_either = 0;
    for (int64_t i = 0; i < pixels; i++) {
        int want = ts_nearest_colour(truth->data + i * 3, palette, count),
            got = ts_nearest_colour(answer->data + i * 3, palette, count);
        right += want == got;
        both += want == 1 && got == 1;
        either += want == 1 || got == 1;
        blind_both += want == 1 && got != 0;
        blind_either += want == 1 || got != 0;
    }
    score->iou = ratio(both, either);
    score->iou_blind = ratio(blind_both, blind_either);
    score->accuracy = ratio(right, pixels);
    return true;
}

bool ts_score_mse(const ts_image *truth, const ts_image *answer, const uint8_t *mask, double *mse, ts_error *err)
{
    static const double deviation[] = {0.229, 0.224, 0.225};
    if (!same_size(truth, answer, err)) return false;
    int64_t pixels = (int64_t)truth->width * truth->height, count = 0, sum[3] = {0};
    for (int64_t i = 0; i < pixels; i++) {
        if (mask && !mask[i]) continue;
        count++;
        for (int c = 0; c < 3; c++) {
            int d = truth->data[i * 3 + c] - answer->data[i * 3 + c];
            sum[c] += d * d;
        }
    }
    *mse = 0;
    for (int c = 0; count > 0 && c < 3; c++)
        *mse += (double)sum[c] / (255.0 * 255.0 * deviation[c] * deviation[c]) / (3 * (double)count);
    return true;
}

/* ---- the blob ------------------------------------------------------------------------------------------------ */

typedef struct {
    int x0, y0, x1, y1;
    bool outside; /* touches the picture's edge */
} region;

/* Takes the region at `start` off the mask (0, 1: not looked at; + 2: taken) by flooding; a blob's pixels also meet at corners,
 * those of a hole do not. `stack` has room for every pixel. */
static region flood(uint8_t *mask, int width, int height, int start, int *stack)
{
    static const int step[8][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}, {-1, -1}, {1, -1}, {-1, 1}, {1, 1}};
    const uint8_t value = mask[start];
    region b = {width, height, -1, -1, false};
    int top = 0;
    stack[top++] = start;
    mask[start] |= 2;
    while (top > 0) {
        int at = stack[--top], x = at % width, y = at / width;
        if (x < b.x0) b.x0 = x;
        if (x > b.x1) b.x1 = x;
        if (y < b.y0) b.y0 = y;
        if (y > b.y1) b.y1 = y;
        for (int i = 0; i < (value ? 8 : 4); i++) {
            int nx = x + step[i][0], ny = y + step[i][1];
            if (nx < 0 || nx >= width || ny < 0 || ny >= height) {
                b.outside = true;
                continue;
            }
            if (mask[ny * width + nx] != value) continue;
            mask[ny * width + nx] |= 2;
            stack[top++] = ny * width + nx;
        }
    }
    return b;
}

/* The box of the contour that the published code takes, the first of OpenCV's list: the one found last by rows from the top, be
 * it a blob's outline or a hole's, whose pixels are the blob's around it. False: there is no blob. */
static bool last_contour(uint8_t *mask, int width, int height, int *stack, region *out)
{
    bool found = false;
    for (int i = 0; i < width * height; i++) {
        if (mask[i] > 1) continue;
        const bool hole = mask[i] == 0;
        region b = flood(mask, width, height, i, stack);
        if (hole && b.outside) continue;
        *out = hole ? (region){b.x0 - 1, b.y0 - 1, b.x1 + 1, b.y1 + 1, false} : b;
        found = true;
    }
    return found;
}

/* The published test: a disc and a square about the middle of the contour's box, half as wide as its longer side; which of them
 * overlaps the mask more. The square's last row and column are left out there, and one that would begin outside the picture is
 * none. */
static int closer_to_square(const uint8_t *mask, int width, int height, const region *b)
{
    int w = b->x1 - b->x0 + 1, h = b->y1 - b->y0 + 1, radius = (w > h ? w : h) / 2;
    int cx = b->x0 + w / 2, cy = b->y0 + h / 2;
    bool drawn = cx >= radius && cy >= radius;
    int64_t square_both = 0, square_either = 0, disc_both = 0, disc_either = 0;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int dx = x - cx, dy = y - cy;
            bool there = mask[y * width + x] & 1;
            bool in_square = drawn && dx >= -radius && dx < radius && dy >= -radius && dy < radius;
            bool in_disc = (int64_t)dx * dx + (int64_t)dy * dy <= (int64_t)radius * radius;
            square_both += there && in_square;
            square_either += there || in_square;
            disc_both += there && in_disc;
            disc_either += there || in_disc;
        }
    }
    return ratio(square_both, square_either) > ratio(disc_both, disc_either);
}

int ts_blob_is_square(const ts_image *answer, const uint8_t (*palette)[3], int count, ts_error *err)
{
    int width = answer->width, height = answer->height;
    size_t pixels = (size_t)width * (size_t)height;
    uint8_t *mask = calloc(pixels + 1, 1);
    int *stack = malloc((pixels + 1) * sizeof *stack);
    int result = -1;
    if (!mask || !stack) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
    } else {
        region box;
        for (size_t i = 0; i < pixels; i++) mask[i] = ts_nearest_colour(answer->data + i * 3, palette, count) != 0;
        if (last_contour(mask, width, height, stack, &box)) result = closer_to_square(mask, width, height, &box);
    }
    free(mask);
    free(stack);
    return result;
}
