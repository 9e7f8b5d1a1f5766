/* Resizing against Pillow's own results, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

#define GOLDEN TS_TESTS_DIR "/golden/image/"

static void load(const char *path, ts_image *out)
{
    ts_error err = {0};
    if (!ts_image_load(path, out, &err)) fail_msg("%s", err.text);
}

static void test_as_pillow(void **state)
{
    (void)state;
    static const char *const names[] = {"bilinear", "bicubic", "nearest"};
    static const int sizes[][2] = {{19, 11}, {97, 61}, {20, 70}, {53, 9}, {111, 37}, {1, 1}};
    ts_image src;
    load(GOLDEN "resize_src.png", &src);
    for (int filter = 0; filter < 3; filter++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int width = sizes[i][0], height = sizes[i][1];
            char path[512];
            ts_image expected, got;
            snprintf(path, sizeof path, GOLDEN "resize_%s_%dx%d.png", names[filter], width, height);
            load(path, &expected);
            assert_true(ts_image_resize(&src, width, height, (ts_resize_filter)filter, &got, NULL));
            assert_int_equal(got.width, width);
            assert_int_equal(got.height, height);
            assert_memory_equal(got.data, expected.data, (size_t)width * (size_t)height * 3);
            ts_image_clear(&got);
            ts_image_clear(&expected);
        }
    }
    ts_image_clear(&src);
}

static void test_same_size_is_a_copy(void **state)
{
    (void)state;
    ts_image src, got;
    load(GOLDEN "resize_src.png", &src);
    assert_true(ts_image_resize(&src, src.width, src.height, TS_RESIZE_BICUBIC, &got, NULL));
    assert_ptr_not_equal(src.data, got.data);
    assert_memory_equal(src.data, got.data, (size_t)src.width * (size_t)src.height * 3);
    ts_image_clear(&got);
    ts_image_clear(&src);
}

/* A flat picture stays flat at any size, the largest value included: weights that did not sum to one would show. */
static void test_flat_stays_flat(void **state)
{
    (void)state;
    static const int sizes[][4] = {{1, 1, 40, 9}, {301, 7, 3, 1}, {2, 500, 499, 1}, {17, 17, 16, 18}};
    for (int filter = 0; filter < 3; filter++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            ts_image src, got;
            assert_true(ts_image_new(sizes[i][0], sizes[i][1], &src, NULL));
            memset(src.data, 255, (size_t)src.width * (size_t)src.height * 3);
            assert_true(ts_image_resize(&src, sizes[i][2], sizes[i][3], (ts_resize_filter)filter, &got, NULL));
            for (int j = 0; j < got.width * got.height * 3; j++) assert_int_equal(got.data[j], 255);
            ts_image_clear(&got);
            ts_image_clear(&src);
        }
    }
}

static void test_errors(void **state)
{
    (void)state;
    ts_image src, none = {0}, got;
    assert_true(ts_image_new(3, 2, &src, NULL));
    static const int sizes[][2] = {{0, 4}, {4, 0}, {-3, 4}, {1 << 15, 1 << 15}, {INT32_MAX, INT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ts_error err = {0};
        assert_false(ts_image_resize(&src, sizes[i][0], sizes[i][1], TS_RESIZE_BILINEAR, &got, &err));
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        assert_null(got.data);
    }
    ts_error err = {0};
    assert_false(ts_image_resize(&none, 4, 4, TS_RESIZE_BILINEAR, &got, &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    assert_false(ts_image_resize(&src, 4, 4, (ts_resize_filter)9, &got, NULL));
    ts_image_clear(&src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pillow),
        cmocka_unit_test(test_same_size_is_a_copy),
        cmocka_unit_test(test_flat_stays_flat),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
