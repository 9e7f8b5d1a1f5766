/* test_run_matching.c - `tessera run` with models that segment by an example's mask: the files that it writes, by any kind of
 * mask, and what it refuses. The models are the small ones of random weights that other tests compare with PyTorch. */
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *photo, *query, *mask, *coloured, *dino;

/* A square of one colour on another. */
static const char *write_square(const char *name, const uint8_t ground[3], const uint8_t square[3])
{
    ts_image img;
    const char *path = kept_path(name);
    assert_true(ts_image_new(40, 30, &img, NULL));
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++)
            memcpy(img.data + (y * 40 + x) * 3, x > 10 && x < 30 && y > 6 && y < 24 ? square : ground, 3);
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
    return path;
}

static int make_files(void **state)
{
    (void)state;
    static char path[512];
    snprintf(path, sizeof path, "%s/golden/dino/v3.safetensors", TS_TESTS_DIR);
    dino = path;
    photo = kept_path("photo.png");
    query = kept_path("query.png");
    write_picture(photo, 40, 30, 1);
    write_picture(query, 50, 20, 3);
    mask = write_square("mask.png", (uint8_t[]){0, 0, 0}, (uint8_t[]){255, 255, 255});
    coloured = write_square("coloured.png", (uint8_t[]){0, 0, 90}, (uint8_t[]){240, 200, 0});
    return 0;
}

/* Of the answer's pixels, all are one of two colours, and some are `inside`. */
static void expect_answer(const char *path, const uint8_t outside[3], const uint8_t inside[3])
{
    ts_image img;
    ts_error err = {0};
    int found = 0;
    if (!ts_image_load(path, &img, &err)) fail_msg("%s", err.text);
    assert_int_equal(img.width, 50);
    assert_int_equal(img.height, 20);
    for (int i = 0; i < 50 * 20; i++) {
        const bool is = memcmp(img.data + 3 * i, inside, 3) == 0;
        if (!is) assert_memory_equal(img.data + 3 * i, outside, 3);
        found += is;
    }
    assert_true(found > 0);
    ts_image_clear(&img);
}

static void test_answers(void **state)
{
    (void)state;
    const char *grey = temp_path("grey.png"), *colours = temp_path("colours.png"), *overlay = temp_path("overlay.png");
    succeed(program_run("run", "--device", "cpu", "--model", dino, "--places", "12", "--debias", "4", "-e", photo, mask, "-q",
                        query, "-o", grey, "--overlay", overlay, NULL));
    expect_answer(grey, (uint8_t[]){0, 0, 0}, (uint8_t[]){255, 255, 255});
    size_t size;
    unsigned char *bytes = read_bytes(grey, &size);
    assert_true(size > 25 && bytes[25] == 0); /* the kind of a PNG's pixels: grey */
    free(bytes);
    assert_true(file_exists(overlay));
    succeed(program_run("run", "--device", "cpu", "--model", dino, "--places", "12", "--debias", "4", "--palette", "-e", photo,
                        coloured, "-e", photo, coloured, "-q", query, "-o", colours, NULL));
    expect_answer(colours, (uint8_t[]){0, 0, 90}, (uint8_t[]){240, 200, 0});
}

static void test_folder(void **state)
{
    (void)state;
    const char *folder = temp_path("answers");
    program_result r = program_run("run", "--json", "--device", "cpu", "--model", dino, "--places", "8", "-e", photo, mask, "-q",
                                   query, photo, "-o", folder, NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "\"method\":\t\"INSID3\""));
    program_free(&r);
    assert_true(file_exists(temp_path("answers/query.png")));
    assert_true(file_exists(temp_path("answers/photo.png")));
}

/* The small Segment Anything stands beside the checkout. */
static const char *sam_file(void)
{
    static const char path[] = TS_GOLDEN_DIR "/sam_tiny.pth";
    if (file_exists(path)) return path;
    print_message("%s is not there\n", path);
    return NULL;
}

static void run_sam(const char *sam, const char *option, const char *value, const char *method)
{
    ts_image img;
    const char *out = temp_path("by_sam.png");
    program_result r = program_run("run", "--json", "--device", "cpu", "--model", sam, "-e", photo, mask, "-e", query, query,
                                   "-q", query, "-o", out, option, value, NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    if (!strstr(r.out, method)) fail_msg("%s", r.out);
    program_free(&r);
    assert_true(ts_image_load(out, &img, NULL));
    assert_int_equal(img.width, 50);
    assert_int_equal(img.height, 20);
    ts_image_clear(&img);
}

static void test_sam(void **state)
{
    (void)state;
    const char *sam = sam_file(), *out = temp_path("none.png");
    if (!sam) skip();
    run_sam(sam, NULL, NULL, "\"PerSAM\"");
    run_sam(sam, "--tune", NULL, "\"PerSAM-F\"");
    run_sam(sam, "--features", dino, "\"GF-SAM\"");
    assert_refused(
        program_run("run", "--model", sam, "--tune", "--features", dino, "-e", photo, mask, "-q", query, "-o", out, NULL), 1,
        "not both");
    assert_refused(program_run("run", "--model", sam, "--features", sam, "-e", photo, mask, "-q", query, "-o", out, NULL), 1,
                   "is a SAM; a DINOv2 or DINOv3 is wanted");
    assert_refused(program_run("run", "--model", sam, "--places", "8", "-e", photo, mask, "-q", query, "-o", out, NULL), 1,
                   "--places is for a DINOv2 or DINOv3");
    assert_refused(program_run("run", "--model", dino, "--tune", "-e", photo, mask, "-q", query, "-o", out, NULL), 1,
                   "--tune is for a SAM");
    assert_false(file_exists(out));
}

/* MobileSAM's, in the place of a SAM. */
static void test_mobile_sam(void **state)
{
    (void)state;
    const char *sam = TS_TESTS_DIR "/golden/mobile_sam.safetensors";
    run_sam(sam, NULL, NULL, "\"PerSAM\"");
    run_sam(sam, "--tune", NULL, "\"PerSAM-F\"");
    run_sam(sam, "--features", dino, "\"GF-SAM\"");
}

static void test_refused(void **state)
{
    (void)state;
    const char *black = write_square("black.png", (uint8_t[]){0, 0, 0}, (uint8_t[]){0, 0, 0}), *out = temp_path("no.png");
    assert_refused(program_run("run", "--model", dino, "-e", photo, black, "-q", query, "-o", out, NULL), 1,
                   "the example's mask shows nothing");
    assert_refused(program_run("run", "--model", dino, "--views", "2", "-e", photo, mask, "-q", query, "-o", out, NULL), 1,
                   "--views is for an MAE-VQGAN");
    assert_refused(program_run("run", "--model", dino, "--quiet", "--device", "cpu", "--places", "8", "--debias", "24", "-e",
                               photo, mask, "-q", query, "-o", out, NULL),
                   1, "fewer must be taken out");
    assert_false(file_exists(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),    cmocka_unit_test(test_folder),  cmocka_unit_test(test_sam),
        cmocka_unit_test(test_mobile_sam), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, make_files, NULL);
}
