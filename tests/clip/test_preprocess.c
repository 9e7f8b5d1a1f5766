/* test_preprocess.c - pictures as the published code prepares them with Pillow, and random crops. */
#include "../support/program.h"

#include "clip/clip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void load(ts_image *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void load(ts_image *out, const char *format, ...)
{
    char path[512];
    ts_error err = {0};
    va_list args;
    int used = snprintf(path, sizeof path, "%s/golden/clip/", TS_TESTS_DIR);
    va_start(args, format);
    vsnprintf(path + used, sizeof path - (size_t)used, format, args);
    va_end(args);
    if (!ts_image_load(path, out, &err)) fail_msg("%s", err.text);
}

static float *room_for(int side)
{
    float *out = malloc((size_t)side * (size_t)side * 3 * sizeof *out);
    assert_non_null(out);
    return out;
}

static void as_published(void **state)
{
    (void)state;
    static const int sizes[][3] = {{53, 37, 24}, {37, 53, 25}, {400, 9, 16}, {3, 150, 10}, {1, 1, 8},
                                   {5, 3, 32},   {3, 5, 31},   {33, 32, 32}, {35, 32, 32}, {37, 32, 32},
                                   {32, 39, 32}, {32, 32, 32}, {31, 34, 96}, {1, 40, 12}};
    static const double mean[] = {0.48145466, 0.4578275, 0.40821073}, deviation[] = {0.26862954, 0.26130258, 0.27577711};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int width = sizes[i][0], height = sizes[i][1], side = sizes[i][2], pixels = side * side;
        ts_image img, want;
        ts_error err = {0};
        load(&img, "pre_%dx%d.png", width, height);
        load(&want, "pre_%dx%d_to_%d.png", width, height, side);
        assert_int_equal(want.width, side);
        float *out = room_for(side);
        uint8_t *back = malloc((size_t)pixels * 3);
        assert_non_null(back);
        if (!ts_clip_preprocess(&img, side, out, &err)) fail_msg("%s", err.text);
        for (int k = 0; k < pixels * 3; k++) {
            double exact = (want.data[k] / 255.0 - mean[k % 3]) / deviation[k % 3];
            if (fabs(out[k] - exact) > 1e-5) fail_msg("%d x %d: %d is %g, not %g", width, height, k, (double)out[k], exact);
        }
        ts_clip_denormalise(out, pixels, back);
        assert_memory_equal(back, want.data, (size_t)pixels * 3);
        free(back);
        free(out);
        ts_image_clear(&img);
        ts_image_clear(&want);
    }
}

static void clamped(void **state)
{
    (void)state;
    const float odd[] = {-100, 100, NAN, INFINITY, -INFINITY, 0};
    uint8_t rgb[6];
    ts_clip_denormalise(odd, 2, rgb);
    static const uint8_t want[] = {0, 255, 0, 255, 0, 104};
    assert_memory_equal(rgb, want, sizeof want);
}

/* A picture that tells where it was cut: red counts columns, green rows. */
static ts_image ruler(int width, int height)
{
    ts_image img;
    assert_true(ts_image_new(width, height, &img, NULL));
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            img.data[(y * width + x) * 3] = (uint8_t)(width > 1 ? x * 255 / (width - 1) : 0);
            img.data[(y * width + x) * 3 + 1] = (uint8_t)(height > 1 ? y * 255 / (height - 1) : 0);
        }
    }
    return img;
}

enum { SIDE = 16, BYTES = SIDE * SIDE * 3 };

static void crop(const ts_image *img, uint64_t seed, float out[BYTES], uint8_t rgb[BYTES])
{
    ts_error err = {0};
    if (!ts_clip_random_crop(img, SIDE, seed, out, &err)) fail_msg("%s", err.text);
    ts_clip_denormalise(out, SIDE * SIDE, rgb);
}

static void random_crops(void **state)
{
    (void)state;
    enum { TRIES = 2000 };
    ts_image img = ruler(256, 192);
    float out[BYTES], again[BYTES];
    uint8_t rgb[BYTES];
    int flipped = 0, edge[4] = {0};
    double least = 1, most = 0, mean = 0, flat = 10, tall = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        crop(&img, seed, out, rgb);
        crop(&img, seed, again, rgb);
        assert_memory_equal(out, again, sizeof out);
        const uint8_t *middle = rgb + SIDE / 2 * SIDE * 3, *end = middle + (size_t)(SIDE - 1) * 3;
        /* Columns 0 and 15 hold the centres of the outer sixteenths. */
        double width = abs(end[0] - middle[0]) / 255.0 * 16 / 15;
        double height = (rgb[BYTES - 2] - rgb[1]) / 255.0 * 16 / 15, area = width * height, ratio = width * 256 / (height * 192);
        assert_true(height > 0); /* never upside down */
        flipped += middle[0] > end[0];
        if (area < least) least = area;
        if (area > most) most = area;
        if (ratio < flat) flat = ratio;
        if (ratio > tall) tall = ratio;
        mean += area / TRIES;
        edge[0] += middle[0] < 20 || end[0] < 20;
        edge[1] += middle[0] > 235 || end[0] > 235;
        edge[2] += rgb[1] < 20;
        edge[3] += rgb[BYTES - 2] > 235;
    }
    print_message("  area %.3f to %.3f, mean %.3f; ratio %.2f to %.2f; flipped %d of %d\n", least, most, mean, flat, tall,
                  flipped, TRIES);
    assert_true(least > 0.06 && least < 0.11);
    assert_true(most > 0.9 && most < 1.05);
    /* Large parts of an unfit ratio are drawn again: the mean lies below 0.54. */
    assert_true(mean > 0.42 && mean < 0.55);
    assert_true(flat > 0.68 && flat < 0.79);
    assert_true(tall > 1.27 && tall < 1.45);
    assert_true(flipped > TRIES * 0.45 && flipped < TRIES * 0.55);
    for (int i = 0; i < 4; i++) assert_true(edge[i] > TRIES / 20 && edge[i] < TRIES * 3 / 4);
    ts_image_clear(&img);
}

/* Where no part fits, the middle is taken, of the nearest ratio in range. */
static void central(void **state)
{
    (void)state;
    float out[BYTES];
    uint8_t rgb[BYTES];
    ts_image img = ruler(3000, 3); /* 4 columns of 3000 */
    for (uint64_t seed = 0; seed < 50; seed++) {
        crop(&img, seed, out, rgb);
        for (int i = 0; i < BYTES; i += 3) assert_in_range(rgb[i], 126, 129);
        assert_true(rgb[1] < 10 && rgb[BYTES - 2] > 245);
    }
    ts_image_clear(&img);
    img = ruler(1, 1);
    crop(&img, 7, out, rgb);
    for (int i = 0; i < BYTES; i++) assert_int_equal(rgb[i], 0);
    ts_image_clear(&img);
    img = ruler(2, 900);
    crop(&img, 7, out, rgb);
    ts_image_clear(&img);
}

static void refused(void **state)
{
    (void)state;
    float out[12];
    ts_error err = {0};
    ts_image none = {0}, one = ruler(1, 1);
    assert_false(ts_clip_preprocess(&none, 2, out, &err));
    assert_non_null(strstr(err.text, "no picture"));
    assert_false(ts_clip_random_crop(&none, 2, 0, out, NULL));
    assert_false(ts_clip_preprocess(&one, 0, out, NULL));
    assert_false(ts_clip_random_crop(&one, 1 << 20, 0, out, NULL));
    /* A line: 224 rows of it would be larger than any picture. */
    ts_image line = {.width = 1 << 26, .height = 1, .data = one.data};
    err = (ts_error){0};
    assert_false(ts_clip_preprocess(&line, 224, out, &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    line.width = 1 << 20;
    err = (ts_error){0};
    assert_false(ts_clip_preprocess(&line, 300, out, &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    ts_image_clear(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_published), cmocka_unit_test(clamped), cmocka_unit_test(random_crops),
                                       cmocka_unit_test(central), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
