/* preprocess.c - pictures as CLIP was trained and is measured on, to the last bit of Pillow's: another filter or a crop one pixel
 * off moves logits visibly. */
#include <math.h>
#include <string.h>

#include "clip/clip.h"

const float ts_clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
const float ts_clip_deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};

typedef struct {
    int x, y, width, height;
} box;

void ts_clip_normalise(const uint8_t *rgb, int64_t pixels, float *out)
{
    for (int64_t i = 0; i < pixels * 3; i += 3)
        for (int c = 0; c < 3; c++) out[i + c] = ((float)rgb[i + c] / 255 - ts_clip_mean[c]) / ts_clip_deviation[c];
}

void ts_clip_denormalise(const float *in, int64_t pixels, uint8_t *rgb)
{
    for (int64_t i = 0; i < pixels * 3; i += 3) {
        for (int c = 0; c < 3; c++) {
            float v = (in[i + c] * ts_clip_deviation[c] + ts_clip_mean[c]) * 255;
            rgb[i + c] = (uint8_t)(v >= 255 ? 255 : v > 0 ? v + 0.5f : 0); /* not a number: black */
        }
    }
}

static bool check(const ts_image *img, int side, ts_error *err)
{
    if (!img->data || img->width < 1 || img->height < 1) return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture for CLIP");
    if (side < 1 || side > 16384) return ts_fail(err, TS_ERR_ARGUMENT, "CLIP cannot take pictures of %d pixels a side", side);
    return true;
}

/* A part of a picture as a picture of its own. */
static bool cut(const ts_image *img, box part, ts_image *out, ts_error *err)
{
    if (!ts_image_new(part.width, part.height, out, err)) return false;
    for (int y = 0; y < part.height; y++) {
        const uint8_t *row = img->data + ((size_t)(part.y + y) * (size_t)img->width + (size_t)part.x) * 3;
        memcpy(out->data + (size_t)y * (size_t)part.width * 3, row, (size_t)part.width * 3);
    }
    return true;
}

/* Python's round() of half of an extent: to the even neighbour. */
static int half_even(int extent)
{
    int half = extent / 2;
    return extent % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

bool ts_clip_preprocess(const ts_image *img, int side, float *out, ts_error *err)
{
    ts_image sized, middle;
    if (!check(img, side, err)) return false;
    int64_t lesser = img->width < img->height ? img->width : img->height;
    int64_t width = (int64_t)side * img->width / lesser, height = (int64_t)side * img->height / lesser; /* rounded down */
    /* All of the long side is resized and most of it cut off again, as published: absurdly long pictures are refused. */
    if (width > INT32_MAX || height > INT32_MAX)
        return ts_fail(err, TS_ERR_ARGUMENT, "a picture of %d x %d pixels is too long for CLIP", img->width, img->height);
    if (!ts_image_resize(img, (int)width, (int)height, TS_RESIZE_BICUBIC, &sized, err)) return false;
    box part = {half_even(sized.width - side), half_even(sized.height - side), side, side};
    bool ok = cut(&sized, part, &middle, err);
    ts_image_clear(&sized);
    if (ok) ts_clip_normalise(middle.data, (int64_t)side * side, out);
    ts_image_clear(&middle);
    return ok;
}

/* ---- random crops ----------------------------------------------------------------------------------------------- */

static double between(uint64_t *state, double low, double high)
{
    return low + (high - low) * ts_uniform(state);
}

/* torchvision's RandomResizedCrop: ten tries, then the largest central part of a ratio in range. */
static box random_part(const ts_image *img, uint64_t *state)
{
    const double least_area = 0.08, least_ratio = 3.0 / 4, most_ratio = 4.0 / 3;
    double area = (double)img->width * img->height;
    for (int tries = 0; tries < 10; tries++) {
        double wanted = area * between(state, least_area, 1), ratio = exp(between(state, log(least_ratio), log(most_ratio)));
        double w = rint(sqrt(wanted * ratio)), h = rint(sqrt(wanted / ratio)); /* to even, as Python rounds */
        if (w < 1 || h < 1 || w > img->width || h > img->height) continue;
        int y = (int)(ts_uniform(state) * (img->height - h + 1)), x = (int)(ts_uniform(state) * (img->width - w + 1));
        return (box){x, y, (int)w, (int)h};
    }
    double ratio = (double)img->width / img->height;
    int w = img->width, h = img->height;
    if (ratio < least_ratio) h = (int)rint(w / least_ratio);
    else if (ratio > most_ratio) w = (int)rint(h * most_ratio);
    return (box){(img->width - w) / 2, (img->height - h) / 2, w, h};
}

static void mirror(ts_image *img)
{
    for (int y = 0; y < img->height; y++) {
        uint8_t *left = img->data + (size_t)y * (size_t)img->width * 3, *right = left + ((size_t)img->width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t swap[3];
            memcpy(swap, left, 3);
            memcpy(left, right, 3);
            memcpy(right, swap, 3);
        }
    }
}

bool ts_clip_random_crop(const ts_image *img, int side, uint64_t seed, float *out, ts_error *err)
{
    ts_image part, sized;
    if (!check(img, side, err)) return false;
    uint64_t state = seed;
    bool flipped = ts_uniform(&state) < 0.5;
    if (!cut(img, random_part(img, &state), &part, err)) return false;
    bool ok = ts_image_resize(&part, side, side, TS_RESIZE_BICUBIC, &sized, err);
    ts_image_clear(&part);
    if (!ok) return false;
    if (flipped) mirror(&sized);
    ts_clip_normalise(sized.data, (int64_t)side * side, out);
    ts_image_clear(&sized);
    return true;
}
