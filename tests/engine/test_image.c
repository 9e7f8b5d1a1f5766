/* Pictures in and out: every form that a file may have against what Pillow makes of it (tests/reference/make_image_golden.py),
 * and broken files, each of which must give an error that names it and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/engine.h"

#define GOLDEN TS_TESTS_DIR "/golden/image/"

static void load(const char *path, ts_image *out)
{
    ts_error err = {0};
    if (!ts_image_load(path, out, &err)) fail_msg("%s", err.text);
}

static int largest_difference(const ts_image *a, const ts_image *b)
{
    int largest = 0;
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (size_t i = 0; i < (size_t)a->width * (size_t)a->height * 3; i++) {
        int d = abs(a->data[i] - b->data[i]);
        if (d > largest) largest = d;
    }
    return largest;
}

static void compare_files(const char *name, const char *expected_name, int tolerance)
{
    char path[512];
    ts_image got, expected;
    snprintf(path, sizeof path, GOLDEN "%s", name);
    load(path, &got);
    snprintf(path, sizeof path, GOLDEN "%s", expected_name);
    load(path, &expected);
    int d = largest_difference(&got, &expected);
    if (d > tolerance) fail_msg("%s differs from %s by %d", name, expected_name, d);
    ts_image_clear(&got);
    ts_image_clear(&expected);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int tolerance; /* JPEG decoders round differently */
    } forms[] = {{"rgb.bmp", 0},  {"grey.bmp", 0},        {"rgba.png", 0},          {"grey.png", 0},      {"grey_alpha.png", 0},
                 {"bits.png", 0}, {"palette.png", 0},     {"palette_clear.png", 0}, {"grey16.png", 0},    {"rgba16.png", 0},
                 {"grey.jpg", 1}, {"progressive.jpg", 3}, {"cmyk.jpg", 4},          {"png_inside.jpg", 0}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "%s.expected.png", forms[i].name);
        compare_files(forms[i].name, expected, forms[i].tolerance);
    }
}

static void test_orientations(void **state)
{
    (void)state;
    for (int i = 1; i <= 8; i++) {
        char name[64];
        snprintf(name, sizeof name, "orientation%d.jpg", i);
        compare_files(name, "upright.png", 6);
    }
    compare_files("orientation6_intel.jpg", "upright.png", 6);
    compare_files("orientation6.png", "upright.png", 0);
    compare_files("orientation7.png", "upright.png", 0);
}

/* A new folder, empty but for what a test puts there. */
static char *make_folder(void)
{
    static char folder[64];
    strcpy(folder, "/tmp/tessera-image-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void fill(ts_image *img, int width, int height)
{
    assert_true(ts_image_new(width, height, img, NULL));
    for (int i = 0; i < width * height * 3; i++) assert_int_equal(img->data[i], 0);
    for (int i = 0; i < width * height * 3; i++) img->data[i] = (uint8_t)(i % 3 == 0 ? i : i * 7 + 3);
}

static void test_save(void **state)
{
    (void)state;
    char *folder = make_folder(), path[128];
    ts_image img, back;
    fill(&img, 31, 17);
    static const char *const exact[] = {"a.png", "b.PNG"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, exact[i]);
        assert_true(ts_image_save(path, &img, NULL));
        load(path, &back);
        assert_int_equal(largest_difference(&img, &back), 0);
        ts_image_clear(&back);
        unlink(path);
    }
    for (int i = 0; i < 31 * 17 * 3; i++) img.data[i] = (uint8_t)(i / 93 * 12); /* smooth, as JPEG likes it */
    static const char *const lossy[] = {"c.jpg", "d.jpeg", "e.JPG"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, lossy[i]);
        assert_true(ts_image_save(path, &img, NULL));
        load(path, &back);
        assert_in_range(largest_difference(&img, &back), 0, 4);
        ts_image_clear(&back);
        unlink(path);
    }
    ts_image_clear(&img);
    assert_null(img.data);
    ts_image_clear(&img);
    ts_image_clear(NULL);
    assert_int_equal(rmdir(folder), 0); /* no temporary file is left */
}

static void expect_save_error(const char *path, const ts_image *img, ts_code code, const char *says)
{
    ts_error err = {0};
    assert_false(ts_image_save(path, img, &err));
    assert_int_equal(err.code, code);
    if (!strstr(err.text, says)) fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_save_errors(void **state)
{
    (void)state;
    char *folder = make_folder(), path[128];
    ts_image img, none = {0}, wide;
    fill(&img, 4, 4);
    snprintf(path, sizeof path, "%s/answer.bmp", folder);
    expect_save_error(path, &img, TS_ERR_ARGUMENT, ".png, .jpg or .jpeg");
    snprintf(path, sizeof path, "%s/answer", folder);
    expect_save_error(path, &img, TS_ERR_ARGUMENT, ".png, .jpg or .jpeg");
    snprintf(path, sizeof path, "%s/no/such/folder.png", folder);
    expect_save_error(path, &img, TS_ERR_IO, "folder.png");
    snprintf(path, sizeof path, "%s/answer.png", folder);
    expect_save_error(path, &none, TS_ERR_ARGUMENT, "answer.png");
    fill(&wide, 65536, 1);
    snprintf(path, sizeof path, "%s/wide.jpg", folder);
    expect_save_error(path, &wide, TS_ERR_ARGUMENT, "65535");
    ts_image_clear(&wide);
    ts_image_clear(&img);
    assert_int_equal(rmdir(folder), 0);
}

static void expect_decode_error(const void *bytes, size_t size, const char *label, const char *says)
{
    ts_error err = {0};
    ts_image img = {.data = (uint8_t *)1};
    if (ts_image_decode(bytes, size, label, &img, &err)) fail_msg("%s was taken for a picture", label);
    assert_null(img.data);
    assert_int_equal(err.code, TS_ERR_FORMAT);
    if (!strstr(err.text, says) || !strstr(err.text, label)) fail_msg("%s: \"%s\" does not say \"%s\"", label, err.text, says);
}

static void test_not_pictures(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        ts_code code;
    } files[] = {{"empty.png", "is empty", TS_ERR_FORMAT},
                 {"text.png", "is a text file: a PNG, JPEG or BMP picture is needed", TS_ERR_FORMAT},
                 {"zero.png", "is 0 x 0 pixels", TS_ERR_FORMAT},
                 {"huge.png", "is 60000 x 60000 pixels: more than the 268435456", TS_ERR_FORMAT},
                 {"thin.png", "16000 x 16000 pixels, but has only", TS_ERR_FORMAT},
                 {"missing.png", "cannot open the picture", TS_ERR_IO},
                 {"", "is a folder", TS_ERR_IO}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        ts_error err = {0};
        ts_image img;
        snprintf(path, sizeof path, GOLDEN "%s", files[i].name);
        assert_false(ts_image_load(path, &img, &err));
        assert_null(img.data);
        assert_int_equal(err.code, files[i].code);
        if (!strstr(err.text, files[i].says) || !strstr(err.text, path)) {
            fail_msg("\"%s\" does not say \"%s\" of %s", err.text, files[i].says, path);
        }
        assert_false(ts_image_load(path, &img, NULL));
    }
    expect_decode_error("GIF89a", 6, "x.gif", "GIF");
    expect_decode_error("RIFF\0\0\0\0WEBPVP8 ", 16, "x.webp", "WebP");
    expect_decode_error("PK\3\4", 4, "model.pth", "zip");
    expect_decode_error("\0\0\0\1", 4, "x.bin", "of another kind");
}

static uint8_t *read_file(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(1 << 16);
    *size = fread(bytes, 1, 1 << 16, f);
    fclose(f);
    return bytes;
}

/* Cut anywhere, a picture is an error: never half a picture, whatever the decoder would forgive. */
static void test_truncated(void **state)
{
    (void)state;
    static const char *const names[] = {"rgba.png", "upright.png", "orientation6.jpg", "progressive.jpg", "rgb.bmp", "grey.bmp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        uint8_t *bytes = read_file(names[i], &size);
        for (size_t cut = 0; cut < size; cut += cut < 100 || size - cut < 100 ? 1 : 37) {
            uint8_t *part = malloc(cut + 1); /* a block of its own, so that a sanitizer sees a byte too far */
            memcpy(part, bytes, cut);
            ts_image img;
            ts_error err = {0};
            if (ts_image_decode(part, cut, names[i], &img, &err)) fail_msg("%s cut to %zu bytes was taken", names[i], cut);
            assert_non_null(strstr(err.text, names[i]));
            free(part);
        }
        free(bytes);
    }
}

/* EXIF that points outside itself, or says what it cannot: upright, and no byte outside is read. */
static void test_broken_exif(void **state)
{
    (void)state;
    size_t size, start = 0;
    uint8_t *bytes = read_file("orientation6_intel.jpg", &size);
    while (start + 6 < size && memcmp(bytes + start, "Exif\0\0", 6) != 0) start++;
    assert_true(start + 6 + 20 < size);
    uint8_t *tiff = bytes + start + 6;
    static const struct {
        int at;
        uint8_t value;
    } breaks[] = {{0, 'X'}, {4, 0xFF}, {7, 0xFF}, {9, 0xFF}, {12, 4}, {14, 2}, {18, 0}, {18, 9}, {19, 1}};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        uint8_t was = tiff[breaks[i].at];
        ts_image img;
        ts_error err = {0};
        tiff[breaks[i].at] = breaks[i].value;
        if (!ts_image_decode(bytes, size, "x", &img, &err)) fail_msg("%s", err.text);
        /* Stored on its side, 32 x 48. More entries than there are does no harm to the one that is there. */
        assert_int_equal(img.width, breaks[i].at == 9 ? 48 : 32);
        ts_image_clear(&img);
        tiff[breaks[i].at] = was;
    }
    free(bytes);
}

/* Tables that overran the decoder's memory before they were looked at: too many codes, and a header that leaves its segment. */
static void test_broken_huffman(void **state)
{
    (void)state;
    size_t size, at = 0;
    uint8_t *bytes = read_file("orientation1.jpg", &size);
    while (at + 21 < size && !(bytes[at] == 0xFF && bytes[at + 1] == 0xC4)) at++;
    assert_true(at + 21 < size);
    uint8_t count = bytes[at + 20], length = bytes[at + 3];
    bytes[at + 20] = 255;
    expect_decode_error(bytes, size, "codes.jpg", "Huffman");
    bytes[at + 20] = count;
    bytes[at + 3] = 9;
    expect_decode_error(bytes, size, "short.jpg", "Huffman");
    bytes[at + 3] = length;
    ts_image img;
    assert_true(ts_image_decode(bytes, size, "whole.jpg", &img, NULL));
    ts_image_clear(&img);
    free(bytes);
}

static void test_sizes(void **state)
{
    (void)state;
    static const int sizes[][2] = {{0, 5}, {5, 0}, {-1, 5}, {0, 0}, {1 << 14, (1 << 14) + 1}, {INT32_MAX, INT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ts_error err = {0};
        ts_image img;
        assert_false(ts_image_new(sizes[i][0], sizes[i][1], &img, &err));
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        assert_null(img.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),       cmocka_unit_test(test_orientations),   cmocka_unit_test(test_save),
        cmocka_unit_test(test_save_errors), cmocka_unit_test(test_not_pictures),   cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_broken_exif), cmocka_unit_test(test_broken_huffman), cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
