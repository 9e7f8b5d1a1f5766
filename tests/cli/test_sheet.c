/* test_sheet.c - `tessera sheet`: where the pictures come to lie, and what is refused. */
#include "../support/program.h"

#include <string.h>

static void save_flat(const char *path, int width, int height, uint8_t value)
{
    ts_error err = {0};
    ts_image img;
    if (!ts_image_new(width, height, &img, &err)) fail_msg("%s", err.text);
    memset(img.data, value, (size_t)width * (size_t)height * 3);
    if (!ts_image_save(path, &img, &err)) fail_msg("%s", err.text);
    ts_image_clear(&img);
}

static int at(const ts_image *img, int x, int y)
{
    return img->data[((size_t)y * (size_t)img->width + (size_t)x) * 3];
}

static void lays_out(void **state)
{
    (void)state;
    const char *square = temp_path("square.png"), *wide = temp_path("wide.png"), *sheet = temp_path("sheet.png");
    save_flat(square, 10, 10, 50);
    save_flat(wide, 40, 20, 100);
    program_result r = program_run("sheet", "-o", sheet, "--columns", "2", "--side", "20", square, wide, square, NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    ts_error err = {0};
    ts_image img;
    if (!ts_image_load(sheet, &img, &err)) fail_msg("%s", err.text);
    assert_int_equal(img.width, 2 * 24 + 4);
    assert_int_equal(img.height, 2 * 24 + 4);
    assert_int_equal(at(&img, 0, 0), 255);
    assert_int_equal(at(&img, 14, 14), 50);  /* enlarged to the whole square */
    assert_int_equal(at(&img, 38, 14), 100); /* its height is half the square's, in the middle */
    assert_int_equal(at(&img, 38, 6), 255);
    assert_int_equal(at(&img, 14, 38), 50);
    assert_int_equal(at(&img, 38, 38), 255); /* no fourth picture */
    ts_image_clear(&img);
    program_free(&r);
}

static void refused(void **state)
{
    (void)state;
    const char *picture = temp_path("refused.png");
    save_flat(picture, 8, 8, 9);
    assert_refused(program_run("sheet", "-o", temp_path("s.png"), NULL), 2, "PICTURE");
    assert_refused(program_run("sheet", picture, NULL), 2, "-o FILE");
    assert_refused(program_run("sheet", "-o", "s.gif", picture, NULL), 2, "s.gif");
    assert_refused(program_run("sheet", "-o", picture, picture, NULL), 1, "overwrite");
    assert_refused(program_run("sheet", "-o", temp_path("s.png"), "/nowhere.png", NULL), 1, "/nowhere.png");
    assert_refused(program_run("sheet", "-o", temp_path("s.png"), "--side", "8192", "--columns", "2", picture, picture, NULL), 1,
                   "too large");
    assert_false(file_exists(temp_path("s.png")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lays_out), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("sheet", tests, NULL, NULL);
}
