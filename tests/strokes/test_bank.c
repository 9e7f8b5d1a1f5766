/* test_bank.c - the features of pixels: against numbers by numpy (tests/reference/make_strokes_golden.py) on both backends, and
 * those of a part of a picture against those of the whole. */
#include "tests/support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strokes/internal.h"

enum { F = TS_STROKES_BANK };

static ts_weights *golden;

static int open_file(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/golden/strokes.safetensors", TS_TESTS_DIR);
    return (golden = ts_weights_open(path, NULL)) ? 0 : -1;
}

static int close_file(void **state)
{
    (void)state;
    ts_weights_free(golden);
    return 0;
}

static ts_image picture_of(const char *name)
{
    const ts_weight *t = ts_weights_find(golden, name);
    ts_image out;
    assert_non_null(t);
    assert_true(ts_image_new((int)t->shape[1], (int)t->shape[0], &out, NULL));
    memcpy(out.data, t->data, (size_t)t->count);
    return out;
}

/* A feature's values may be small: each is compared with what that feature is at most. */
static void compare(const char *label, const float *got, const float *want, int64_t rows, double tolerance)
{
    for (int k = 0; k < F; k++) {
        double most = 1e-6, worst = 0;
        for (int64_t i = 0; i < rows; i++) {
            most = fmax(most, fabs((double)want[i * F + k]));
            worst = fmax(worst, fabs((double)got[i * F + k] - (double)want[i * F + k]));
        }
        if (!(worst <= tolerance * most + 2e-7)) fail_msg("%s: feature %d is off by %g of %g", label, k, worst, most);
    }
}

static float *features_of(ts_device *dev, const ts_image *picture)
{
    ts_error err = {0};
    float *out = malloc((size_t)picture->width * (size_t)picture->height * F * sizeof *out);
    ts_strokes *s = ts_strokes_new(dev, &(ts_strokes_desc){.classes = 2}, &err);
    if (!s || !ts_strokes_picture(s, picture, &err) || !ts_strokes_features(s, out, &err)) fail_msg("%s", err.text);
    ts_strokes_free(s);
    return out;
}

static void check_device(const char *label, ts_device *dev, double tolerance)
{
    ts_image large = picture_of("large"), small = picture_of("small");
    float *got = features_of(dev, &large), *want = golden_f32(golden, "large.features");
    int64_t *pixel = golden_i64(golden, "pixel"), count = ts_weights_find(golden, "pixel")->count;
    for (int64_t i = 0; i < count; i++) memmove(got + i * F, got + pixel[i] * F, F * sizeof *got); /* they rise */
    compare(label, got, want, count, tolerance);
    free(got);
    free(want);
    free(pixel);
    got = features_of(dev, &small); /* which the kernels reach over many times */
    want = golden_f32(golden, "small.features");
    compare(label, got, want, (int64_t)small.width * small.height, tolerance);
    free(got);
    free(want);
    ts_image_clear(&large);
    ts_image_clear(&small);
}

static void reference(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *exact = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    check_device("in double precision", exact, 1e-6);
    check_device("host", host, 2e-5);
    if (test_vulkan(TS_F32)) check_device("vulkan", test_vulkan(TS_F32), 2e-5);
    ts_device_free(exact);
    ts_device_free(host);
}

/* What a window sees STROKES_REACH and more from its inner edges has the bits of the whole. */
static void parts(void **state)
{
    (void)state;
    enum { W = 150, H = 140, LEFT = 20, TOP = 30, SEEN_W = 130, SEEN_H = 110 }; /* to the lower right corner */
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_image picture;
    assert_true(ts_image_new(W, H, &picture, &err));
    uint64_t seed = 7;
    for (int i = 0; i < W * H * 3; i++) picture.data[i] = (uint8_t)(256 * test_uniform(&seed));
    float *whole = features_of(host, &picture), *seen = malloc((size_t)SEEN_W * SEEN_H * F * sizeof *seen);
    strokes_window *w = ts_window_new(host, SEEN_W, SEEN_H, &err);
    if (!w || !ts_window_look(w, &picture, LEFT, TOP, &err) || !ts_window_features(w, seen, &err)) fail_msg("%s", err.text);
    for (int y = STROKES_REACH; y < SEEN_H; y++)
        for (int x = STROKES_REACH; x < SEEN_W; x++)
            assert_memory_equal(seen + (y * SEEN_W + x) * F, whole + ((y + TOP) * W + x + LEFT) * F, F * sizeof *seen);
    const int32_t some[3] = {5, 0, SEEN_W * SEEN_H - 1};
    float *rows = calloc(3 * (F + 2), sizeof *rows);
    assert_true(ts_window_gather(w, some, 3, rows, F + 2, &err));
    for (int i = 0; i < 3; i++) assert_memory_equal(rows + i * (F + 2), seen + (int64_t)some[i] * F, F * sizeof *rows);
    ts_window_free(w);
    free(rows);
    free(seen);
    free(whole);
    ts_image_clear(&picture);
    ts_device_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference), cmocka_unit_test(parts),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests(tests, open_file, close_file);
}
