/* Palettes, overlays, cut-outs, and the PNGs of one and of four channels that they are written as. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "masks/masks.h"
#include "tests/support/support.h"

/* A picture of one letter a pixel. */
static ts_image painted(int width, int height, const char *letters)
{
    static const struct {
        char letter;
        uint8_t colour[3];
    } paints[] = {{'.', {0, 0, 0}}, {'w', {255, 255, 255}}, {'r', {200, 0, 0}}, {'g', {0, 200, 0}}, {'b', {0, 0, 200}}};
    ts_image out;
    assert_true(ts_image_new(width, height, &out, NULL));
    for (int i = 0; i < width * height; i++)
        for (size_t k = 0; k < sizeof paints / sizeof *paints; k++)
            if (paints[k].letter == letters[i]) memcpy(out.data + 3 * i, paints[k].colour, 3);
    return out;
}

static void check_painted(const ts_image *got, const char *letters)
{
    ts_image want = painted(got->width, got->height, letters);
    assert_memory_equal(got->data, want.data, (size_t)got->width * (size_t)got->height * 3);
    ts_image_clear(&want);
}

static void check_background(int width, int height, const char *letters, const char *background)
{
    ts_palette p = {0};
    ts_image example = painted(width, height, letters), one = painted(1, 1, background);
    assert_true(ts_palette_add(&p, &example));
    assert_memory_equal(p.colour[ts_palette_background(&p)], one.data, 3);
    ts_image_clear(&example);
    ts_image_clear(&one);
}

static void test_background(void **state)
{
    (void)state;
    check_background(3, 3, "rrrr.rrrr", "."); /* black, be it ever so rare */
    check_background(3, 3, "wwwrrrrrw", "r"); /* five of eight at the edge */
    check_background(4, 4, "wwwwwrrwwrrwwwww", "w");
    check_background(2, 2, "rgrg", "r"); /* equal: the first */
    check_background(3, 3, "rrrggrggr", "r");
    assert_int_equal(ts_palette_background(&(ts_palette){0}), -1);
}

static void test_snap(void **state)
{
    (void)state;
    ts_palette p = {0};
    ts_image first = painted(2, 1, ".r"), second = painted(2, 2, "gg.."), answer = painted(4, 1, "....");
    const uint8_t near[] = {99, 0, 0, 101, 0, 0, 20, 90, 130, 10, 120, 110};
    ts_mask m;
    assert_true(ts_palette_add(&p, &first) && ts_palette_add(&p, &second));
    assert_int_equal(p.count, 3);
    assert_int_equal(p.pixels[0], 3);
    memcpy(answer.data, near, sizeof near);
    assert_true(ts_palette_mask(&p, &answer, &m, NULL));
    assert_memory_equal(m.data, "\0\1\0\1", 4);
    ts_palette_snap(&p, &answer);
    check_painted(&answer, ".r.g");
    ts_mask_clear(&m);
    ts_error err = {0};
    assert_false(ts_palette_mask(&(ts_palette){0}, &answer, &m, &err));
    ts_image_clear(&first);
    ts_image_clear(&second);
    ts_image_clear(&answer);
}

static void test_many_colours(void **state)
{
    (void)state;
    ts_palette p = {0};
    ts_image grey;
    assert_true(ts_image_new(TS_PALETTE_MOST + 1, 1, &grey, NULL));
    for (int i = 0; i < grey.width; i++) memset(grey.data + 3 * i, i, 3);
    grey.width = TS_PALETTE_MOST;
    assert_true(ts_palette_add(&p, &grey));
    assert_int_equal(p.count, TS_PALETTE_MOST);
    assert_true(ts_palette_add(&p, &grey));
    grey.width++;
    assert_false(ts_palette_add(&p, &grey));
    assert_int_equal(p.count, 0);
    ts_image_clear(&grey);
}

static void test_overlay(void **state)
{
    (void)state;
    static const uint8_t blue[3] = {0, 0, 200};
    ts_image picture = painted(7, 5, "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww");
    ts_mask m;
    ts_error err = {0};
    assert_true(ts_mask_new(7, 5, &m, NULL));
    for (int y = 0; y < 5; y++) memset(m.data + 7 * y, 1, 4);
    assert_true(ts_overlay_mask(&picture, &m, blue, &err));
    assert_memory_equal(picture.data + 3 * 0, ((const uint8_t[]){128, 128, 228}), 3); /* the picture's edge is no edge */
    assert_memory_equal(picture.data + 3 * 3, blue, 3);
    assert_memory_equal(picture.data + 3 * 4, ((const uint8_t[]){255, 255, 255}), 3);
    m.width = 6;
    assert_false(ts_overlay_mask(&picture, &m, blue, &err));
    assert_non_null(strstr(err.text, "7 x 5 pixels and a mask of 6 x 5"));
    m.width = 7;
    ts_mask_clear(&m);
    ts_image_clear(&picture);
}

static void test_overlay_answer(void **state)
{
    (void)state;
    ts_palette p = {0};
    ts_image picture = painted(5, 3, "wwwwwwwwwwwwwww"), answer = painted(5, 3, "rrr..rrr..rrr.."),
             example = painted(3, 1, ".rg");
    assert_true(ts_palette_add(&p, &example));
    assert_true(ts_overlay_answer(&picture, &answer, &p, NULL));
    assert_memory_equal(picture.data, ((const uint8_t[]){228, 128, 128, 228, 128, 128, 200, 0, 0, 255, 255, 255}), 12);
    assert_true(ts_overlay_answer(&picture, &answer, NULL, NULL));
    assert_memory_equal(picture.data + 9, ((const uint8_t[]){128, 128, 128}), 3);
    ts_image_clear(&picture);
    ts_image_clear(&answer);
    ts_image_clear(&example);
}

static void test_colours(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < i; k++) {
            uint8_t a[3], b[3];
            int apart = 0;
            ts_mask_colour(i, a);
            ts_mask_colour(k, b);
            for (int c = 0; c < 3; c++) apart += abs(a[c] - b[c]);
            if (apart < 40) fail_msg("colours %d and %d are %d apart", i, k, apart);
        }
}

/* The picture decoded again: alpha is shown over white. */
static void test_files(void **state)
{
    (void)state;
    char path[512];
    ts_image picture = painted(5, 2, "rgbrgwrwr."), back;
    ts_mask m;
    ts_error err = {0};
    assert_true(ts_mask_new(5, 2, &m, NULL));
    memcpy(m.data, "\1\0\1\0\1\0\0\0\1\1", 10);
    uint8_t *cut = ts_cutout(&picture, &m, &err), *grey = ts_mask_grey(&m, &err);
    assert_non_null(cut);
    assert_memory_equal(cut + 4, "\0\0\0\0", 4);
    snprintf(path, sizeof path, "%s/cut.png", temp_dir());
    assert_true(ts_png_save(path, cut, 5, 2, 4, &err) && ts_image_load(path, &back, &err));
    check_painted(&back, "rwbwgwwwr.");
    ts_image_clear(&back);
    assert_true(ts_png_save(path, grey, 5, 2, 1, &err) && ts_image_load(path, &back, &err));
    check_painted(&back, "w.w.w...ww");
    ts_image_clear(&back);
    assert_false(ts_png_save(path, grey, 5, 2, 2, &err));
    snprintf(path, sizeof path, "%s/cut.jpg", temp_dir());
    err = (ts_error){0};
    assert_false(ts_png_save(path, grey, 5, 2, 1, &err));
    assert_non_null(strstr(err.text, "does not end in .png"));
    assert_int_not_equal(access(path, F_OK), 0);
    free(cut);
    free(grey);
    ts_mask_clear(&m);
    ts_image_clear(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_background), cmocka_unit_test(test_snap),           cmocka_unit_test(test_many_colours),
        cmocka_unit_test(test_overlay),    cmocka_unit_test(test_overlay_answer), cmocka_unit_test(test_colours),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
