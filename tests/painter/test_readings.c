/* What was painted brought to a size, and what its colours say: values worked out by hand from the published scripts. */
#include "painter/painter.h"

#include "../support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A painting of one channel's values, the same in all three. */
static ts_painted painting(int side, const float *grey)
{
    ts_painted a = {side, malloc((size_t)side * (size_t)side * 3 * sizeof(float))};
    assert_non_null(a.values);
    for (int i = 0; i < side * side * 3; i++) a.values[i] = grey[i / 3];
    return a;
}

static void expect_fit(const ts_painted *a, int width, int height, ts_painted_filter filter, const float *grey)
{
    float got[64 * 3];
    ts_error err = {0};
    if (!ts_painted_fit(a, width, height, filter, got, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < width * height; i++)
        if (fabsf(got[3 * i] - grey[i]) > 1e-3F) fail_msg("place %d is %g, wanted %g", i, (double)got[3 * i], (double)grey[i]);
}

static void test_fit(void **state)
{
    (void)state;
    ts_painted a = painting(2, (float[]){0, 100, 200, 300});
    expect_fit(&a, 2, 2, TS_PAINTED_NEAREST, (float[]){0, 100, 200, 255});
    expect_fit(&a, 3, 1, TS_PAINTED_NEAREST, (float[]){0, 0, 100});
    expect_fit(&a, 4, 1, TS_PAINTED_BILINEAR, (float[]){100, 119.375F, 158.125F, 177.5F}); /* clipped before */
    ts_painted_clear(&a);
    a = painting(2, (float[]){-50, 50, -50, 50});
    expect_fit(&a, 2, 2, TS_PAINTED_BILINEAR, (float[]){0, 50, 0, 50});
    /* At -1/4, 1/4, 3/4, 5/4: Keys' kernel overshoots, and only what comes out is clipped. */
    expect_fit(&a, 4, 1, TS_PAINTED_BICUBIC, (float[]){0, 0, 27.3438F, 60.5469F});
    ts_image picture;
    ts_error err = {0};
    assert_true(ts_painted_picture(&a, 4, 1, TS_PAINTED_BICUBIC, &picture, &err));
    assert_int_equal(picture.data[6], 27);
    assert_int_equal(picture.data[9], 60); /* cut off, not rounded */
    ts_image_clear(&picture);
    assert_false(ts_painted_picture(&a, 0, 5, TS_PAINTED_NEAREST, &picture, &err));
    ts_painted_clear(&a);
    a = painting(1, (float[]){NAN});
    expect_fit(&a, 2, 1, TS_PAINTED_NEAREST, (float[]){0, 0});
    ts_painted_clear(&a);
}

static void test_palettes(void **state)
{
    (void)state;
    uint8_t ade[150][3], few[4][3];
    ts_painter_palette(6, 42, 150, ade);
    assert_memory_equal(ade[0], ((uint8_t[]){255, 255, 255}), 3);
    assert_memory_equal(ade[149], ((uint8_t[]){255 - 42 * 4, 255 - 42 * 0, 255 - 42 * 5}), 3);
    ts_painter_class_palette(3, few);
    assert_memory_equal(few[0], ((uint8_t[]){0, 0, 0}), 3);
    assert_memory_equal(few[1], ((uint8_t[]){255, 255, 255}), 3);
    assert_memory_equal(few[2], ((uint8_t[]){255, 255, 127}), 3);
    assert_memory_equal(few[3], ((uint8_t[]){255, 127, 255}), 3);
}

static void test_labels(void **state)
{
    (void)state;
    static const uint8_t palette[][3] = {{0, 0, 0}, {90, 0, 0}, {40, 40, 40}};
    const float pixels[] = {80, 10, 0, 42, 38, 41, 3, 0, 2, 62, 28, 28};
    int32_t labels[4];
    ts_painter_labels(pixels, 4, palette, 3, false, labels);
    assert_memory_equal(labels, ((int32_t[]){1, 2, 0, 2}), sizeof labels);
    /* Nearest by sums and by squares are two things. */
    const float between[] = {70, 30, 5};
    ts_painter_labels(between, 1, (const uint8_t[][3]){{70, 30, 50}, {95, 10, 15}}, 2, false, labels);
    ts_painter_labels(between, 1, (const uint8_t[][3]){{70, 30, 50}, {95, 10, 15}}, 2, true, labels + 1);
    assert_int_equal(labels[0], 0);
    assert_int_equal(labels[1], 1);
}

static void test_tasks(void **state)
{
    (void)state;
    uint16_t millimetres[2];
    ts_painter_depth((float[]){255, 255, 255, 50, 51, 52}, 2, millimetres);
    assert_int_equal(millimetres[0], 10000);
    assert_int_equal(millimetres[1], 2000);
    uint8_t colour[3];
    ts_painter_centre_colour(50, 25, 100, 100, colour); /* column 39, row 19 */
    assert_memory_equal(colour, ((uint8_t[]){255 - 15, 255 - 13 * 19, 255 - 13 * 19}), 3);
    float heat[17 * 2];
    ts_painter_heat((float[]){127.5F, 250, 200, 200, 20, 30}, 2, 17, heat); /* joint 1; none */
    for (int k = 0; k < 17; k++) {
        assert_true(fabsf(heat[2 * k] - (k == 1 ? 0.5F : 0)) < 1e-6F);
        assert_true(heat[2 * k + 1] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit), cmocka_unit_test(test_palettes), cmocka_unit_test(test_labels),
                                       cmocka_unit_test(test_tasks)};
    return cmocka_run_group_tests_name("readings", tests, NULL, NULL);
}
