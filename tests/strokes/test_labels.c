/* test_labels.c - which classes pictures of strokes tell of: transparent, black and coloured pixels, masks, edges of brushes. */
#include "tests/support/program.h"

#include <stdlib.h>
#include <string.h>

#include "strokes/strokes.h"

/* A PNG of one letter a pixel: '.' black, '_' transparent, 'h' half transparent red. */
static const char *draw(const char *file, int width, int height, const char *letters)
{
    static const struct {
        char letter;
        uint8_t rgba[4];
    } paints[] = {{'.', {0, 0, 0, 255}},   {'_', {90, 90, 90, 0}},      {'r', {200, 0, 0, 255}},
                  {'g', {0, 200, 0, 255}}, {'w', {255, 255, 255, 255}}, {'h', {200, 0, 0, 60}}};
    uint8_t *data = calloc((size_t)(width * height), 4);
    for (int i = 0; i < width * height; i++)
        for (size_t k = 0; k < sizeof paints / sizeof *paints; k++)
            if (paints[k].letter == letters[i]) memcpy(data + 4 * i, paints[k].rgba, 4);
    const char *path = kept_path(file);
    ts_error err = {0};
    if (!ts_png_save(path, data, width, height, 4, &err)) fail_msg("%s", err.text);
    free(data);
    return path;
}

/* Labels as digits, '-' for none. */
static void check_labels(const ts_labels *l, const char *want)
{
    for (int i = 0; i < l->width * l->height; i++)
        assert_int_equal(l->data[i] == TS_STROKES_NONE ? '-' : '0' + l->data[i], want[i]);
}

static void check_read(const char *file, const char *letters, const char *want, int classes, int ground)
{
    const char *path = draw(file, 4, 2, letters);
    ts_strokes_colours c;
    ts_labels l;
    ts_error err = {0};
    if (!ts_strokes_read(&path, 1, &c, &l, &err)) fail_msg("%s", err.text);
    check_labels(&l, want);
    assert_int_equal(c.classes, classes);
    assert_int_equal(c.ground, ground);
    ts_labels_clear(&l);
}

static void strokes(void **state)
{
    (void)state;
    check_read("transparent.png", "_r__gg__", "-0--11--", 2, 1);
    check_read("black.png", ".rr.g...", "-00-1---", 2, 0);
    check_read("half.png", "hrrhg___", "-00-1---", 2, 0);
    check_read("white.png", "_w__rr__", "-0--11--", 2, 1);
    check_read("mask.png", "..ww..ww", "00110011", 2, 0);
    check_read("two.png", "rrggrrgg", "00110011", 2, 0);
}

/* The same colours of two pictures are the same classes. */
static void several(void **state)
{
    (void)state;
    const char *paths[2] = {draw("first.png", 2, 2, "r_g_"), draw("second.png", 3, 1, "gwr")};
    ts_strokes_colours c;
    ts_labels l[2];
    ts_image out;
    ts_error err = {0};
    if (!ts_strokes_read(paths, 2, &c, l, &err)) fail_msg("%s", err.text);
    check_labels(&l[0], "0-1-");
    check_labels(&l[1], "120");
    assert_int_equal(c.classes, 3);
    assert_int_equal(c.pixels[1], 2);
    assert_true(ts_labels_image(&l[1], &c, &out, &err));
    const uint8_t want[9] = {0, 200, 0, 255, 255, 255, 200, 0, 0};
    assert_memory_equal(out.data, want, 9);
    ts_labels again;
    assert_true(ts_labels_of_image(&out, &c, &again, &err));
    check_labels(&again, "120");
    ts_labels_clear(&again);
    ts_labels_clear(&l[0]);
    ts_labels_clear(&l[1]);
    ts_image_clear(&out);
}

static void refuse(const char *path, const char *word)
{
    ts_strokes_colours c;
    ts_labels l;
    ts_error err = {0};
    assert_false(ts_strokes_read(&path, 1, &c, &l, &err));
    if (!strstr(err.text, word)) fail_msg("%s", err.text);
    assert_null(l.data);
}

static void refusals(void **state)
{
    (void)state;
    const char *photo = kept_path("photo.png");
    refuse(draw("none.png", 2, 1, "_."), "nothing is painted");
    refuse(draw("one.png", 2, 2, "r__r"), "one class alone");
    write_picture(photo, 90, 70, 5);
    refuse(photo, "colours");
    refuse(kept_path("absent.png"), "cannot open");
}

/* 15 colours and a soft edge: the few pixels of the edge say nothing. */
static void edges(void **state)
{
    (void)state;
    enum { W = 400, H = 30 };
    ts_image img;
    assert_true(ts_image_new(W, H, &img, NULL));
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            uint8_t *p = img.data + 3 * (y * W + x);
            p[0] = y < 15 ? 10 : 250;
            if (x < 5) p[1] = (uint8_t)(1 + 5 * y + x); /* 150 colours of one pixel each */
        }
    const char *path = kept_path("edges.png");
    assert_true(ts_image_save(path, &img, NULL));
    ts_strokes_colours c;
    ts_labels l;
    ts_error err = {0};
    if (!ts_strokes_read(&path, 1, &c, &l, &err)) fail_msg("%s", err.text);
    assert_int_equal(c.classes, 2);
    assert_int_equal(l.data[2], TS_STROKES_NONE);
    assert_int_equal(l.data[20], 0);
    ts_labels_clear(&l);
    ts_image_clear(&img);
}

/* What is transparent in files of other kinds, and colours that half cover: as they were painted. */
static void alpha(void **state)
{
    (void)state;
    const uint8_t rgba[12] = {200, 100, 50, 255, 200, 100, 50, 128, 9, 9, 9, 0};
    const char *path = kept_path("alpha.png");
    ts_image img;
    uint8_t *a;
    ts_error err = {0};
    assert_true(ts_png_save(path, rgba, 3, 1, 4, &err));
    assert_true(ts_image_load_alpha(path, &img, &a, &err));
    assert_memory_equal(a, ((uint8_t[]){255, 128, 0}), 3);
    assert_memory_equal(img.data, rgba, 3);
    for (int c = 0; c < 3; c++) assert_true(abs(img.data[3 + c] - rgba[c]) <= 1);
    assert_memory_equal(img.data + 6, ((uint8_t[]){0, 0, 0}), 3);
    free(a);
    ts_image_clear(&img);
    assert_false(ts_image_load_alpha(kept_path("not.png"), &img, &a, &err));
    assert_null(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strokes), cmocka_unit_test(several), cmocka_unit_test(refusals),
                                       cmocka_unit_test(edges), cmocka_unit_test(alpha)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
