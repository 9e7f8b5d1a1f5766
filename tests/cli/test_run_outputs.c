/* test_run_outputs.c - what becomes of an answer of `tessera run`: the examples' colours, a mask of one channel, and the answer
 * laid over the query; and options that are another kind of model's. */
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *photo, *query, *drawing;
static const uint8_t COLOURS[3][3] = {{0, 0, 0}, {250, 30, 20}, {20, 200, 240}};

/* Stripes of three colours. */
static void write_drawing(const char *path)
{
    ts_image img;
    assert_true(ts_image_new(40, 30, &img, NULL));
    for (int i = 0; i < 40 * 30; i++) memcpy(img.data + (size_t)i * 3, COLOURS[i % 40 * 3 / 40], 3);
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
}

static int make_pictures(void **state)
{
    (void)state;
    photo = kept_path("photo.png");
    query = kept_path("query.png");
    drawing = kept_path("drawing.png");
    write_picture(photo, 40, 30, 1);
    write_picture(query, 50, 20, 3);
    write_drawing(drawing);
    return 0;
}

static program_result run_with(const char *out, const char *answer, const char *option, const char *value)
{
    return program_run("run", "--device", "cpu", "--model", random_model(), "-e", photo, out, "-q", query, "-o", answer, option,
                       value, NULL);
}

static ts_image load(const char *path)
{
    ts_image img;
    assert_true(ts_image_load(path, &img, NULL));
    return img;
}

static int colour_of(const uint8_t *pixel)
{
    for (int i = 0; i < 3; i++)
        if (memcmp(pixel, COLOURS[i], 3) == 0) return i;
    return -1;
}

static int nearest_colour(const uint8_t *pixel)
{
    int best = 0, least = 1 << 30;
    for (int i = 0; i < 3; i++) {
        int distance = 0;
        for (int c = 0; c < 3; c++) distance += (pixel[c] - COLOURS[i][c]) * (pixel[c] - COLOURS[i][c]);
        if (distance < least) best = i, least = distance;
    }
    return best;
}

/* Bytes 24 and 25 of a PNG: depth, and kind of colour (0: grey). */
static void assert_grey_png(const char *path)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    assert_true(size > 26 && bytes[24] == 8 && bytes[25] == 0);
    free(bytes);
}

static void brings_back_the_colours(void **state)
{
    (void)state;
    const char *plain = temp_path("plain.png"), *snapped = temp_path("snapped.png"), *mask = temp_path("mask.png");
    succeed(run_with(drawing, plain, NULL, NULL));
    succeed(run_with(drawing, snapped, "--palette", NULL));
    succeed(run_with(drawing, mask, "--mask", NULL));
    assert_grey_png(mask);
    ts_image a = load(plain), b = load(snapped), m = load(mask);
    assert_int_equal(b.width, 50);
    assert_int_equal(m.height, 20);
    int seen[3] = {0};
    for (int i = 0; i < 50 * 20; i++) {
        const int colour = colour_of(b.data + (size_t)i * 3);
        assert_int_equal(colour, nearest_colour(a.data + (size_t)i * 3));
        assert_int_equal(m.data[i * 3], colour > 0 ? 255 : 0);
        seen[colour]++;
    }
    assert_true((seen[0] > 0) + (seen[1] > 0) + (seen[2] > 0) > 1); /* else it shows nothing */
    ts_image_clear(&a);
    ts_image_clear(&b);
    ts_image_clear(&m);
}

static void lies_over_the_query(void **state)
{
    (void)state;
    const char *mask = temp_path("m.png"), *over = temp_path("over.png");
    program_result r = program_run("run", "--device", "cpu", "--model", random_model(), "-e", photo, drawing, "-q", query, "-o",
                                   mask, "--mask", "--overlay", over, NULL);
    succeed(r);
    ts_image q = load(query), m = load(mask), o = load(over);
    assert_int_equal(o.width, q.width);
    assert_int_equal(o.height, q.height);
    int changed = 0;
    for (int i = 0; i < q.width * q.height; i++) {
        const bool same = memcmp(o.data + (size_t)i * 3, q.data + (size_t)i * 3, 3) == 0;
        if (m.data[i * 3] == 0) assert_true(same);
        changed += !same;
    }
    assert_true(changed > 0);
    ts_image_clear(&q);
    ts_image_clear(&m);
    ts_image_clear(&o);
}

/* Of several queries into a folder, and of one that is standard input. */
static void lies_over_each(void **state)
{
    (void)state;
    const char *answers = temp_path("answers"), *overs = temp_path("overs");
    succeed(program_run("run", "--device", "cpu", "--model", random_model(), "-e", photo, drawing, "-q", query, photo, "-o",
                        answers, "--overlay", overs, NULL));
    assert_true(file_exists(temp_path("overs/query.overlay.png")));
    assert_true(file_exists(temp_path("overs/photo.overlay.png")));
}

static void refuses(void **state)
{
    (void)state;
    const char *answer = temp_path("refused.png"), *flat = temp_path("flat.png");
    ts_image img;
    assert_true(ts_image_new(8, 8, &img, NULL));
    assert_true(ts_image_save(flat, &img, NULL));
    ts_image_clear(&img);
    assert_refused(run_with(photo, answer, "--mask", NULL), 1, "64 colours");
    assert_refused(run_with(photo, answer, "--palette", NULL), 1, "64 colours");
    assert_refused(run_with(flat, answer, "--mask", NULL), 1, "no foreground");
    assert_refused(run_with(drawing, temp_path("refused.jpg"), "--mask", NULL), 1, ".png");
    assert_false(file_exists(answer));
}

/* JPEG makes greys of a mask's edges, and it is a mask all the same. */
static void takes_jpeg_masks(void **state)
{
    (void)state;
    const char *jpeg = temp_path("mask.jpg"), *answer = temp_path("of_jpeg.png");
    ts_image img;
    assert_true(ts_image_new(160, 160, &img, NULL));
    for (int y = 0; y < 160; y++)
        for (int x = 0; x < 160; x++)
            memset(img.data + (y * 160 + x) * 3, (x - 80) * (x - 80) + (y - 70) * (y - 70) < 4000 ? 255 : 0, 3);
    assert_true(ts_image_save(jpeg, &img, NULL));
    ts_image_clear(&img);
    program_result r = run_with(jpeg, answer, "--mask", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "JPEG"));
    assert_non_null(strstr(r.err, "#000000"));
    assert_non_null(strstr(r.err, "#ffffff"));
    program_free(&r);
    assert_grey_png(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_back_the_colours), cmocka_unit_test(lies_over_the_query),
        cmocka_unit_test(lies_over_each),          cmocka_unit_test(refuses),
        cmocka_unit_test(takes_jpeg_masks),
    };
    return cmocka_run_group_tests_name("run_outputs", tests, make_pictures, NULL);
}
