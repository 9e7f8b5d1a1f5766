/* test_strokes.c - `tessera strokes` and `tessera run` with models of pixels: the files that they write, what they tell, and what
 * they refuse. */
#include "../support/program.h"
#include "../support/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W = 64, H = 48 };

static const char *picture, *other, *strokes, *mask, *model;

static bool is_inside(int x, int y, int cx)
{
    return abs(x - cx) < 14 && abs(y - 24) < 12;
}

/* A reddish square on a greenish ground, and its mask in two colours. */
static void draw(const char *path, int cx, uint64_t seed, const uint8_t colour[2][3])
{
    ts_image img;
    assert_true(ts_image_new(W, H, &img, NULL));
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < 3; c++) {
                const bool in = is_inside(x, y, cx);
                const double v = colour ? colour[in][c] : (c == 0) == in ? 150 + 20 * test_normal(&seed) : 90;
                img.data[3 * (y * W + x) + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
}

static void draw_strokes(const char *path, int width, const uint8_t first[3])
{
    uint8_t *rgba = calloc((size_t)width * H, 4);
    for (int i = 0; i < 10; i++) {
        uint8_t *in = rgba + 4 * (24 * width + 25 + i), *out = rgba + 4 * (3 * width + 4 + 5 * i);
        memcpy(in, first, 3);
        in[3] = out[3] = 255;
        out[2] = 255;
        out[4 + 2] = out[4 + 3] = 255;
    }
    assert_true(ts_png_save(path, rgba, width, H, 4, NULL));
    free(rgba);
}

static const uint8_t red[3] = {255, 0, 0}, black_white[2][3] = {{0, 0, 0}, {255, 255, 255}},
                     blue_red[2][3] = {{0, 0, 255}, {255, 0, 0}};

static int make_files(void **state)
{
    (void)state;
    picture = kept_path("picture.png");
    other = kept_path("other.png");
    strokes = kept_path("strokes.png");
    mask = kept_path("mask.png");
    model = kept_path("square.strokes");
    draw(picture, 30, 1, NULL);
    draw(other, 38, 2, NULL);
    draw(mask, 30, 0, black_white);
    draw_strokes(strokes, W, red);
    program_result r = program_run("strokes", "train", "--picture", picture, strokes, "-o", model, "--device", "cpu", NULL);
    const bool ok = r.status == 0;
    if (!ok) print_error("%s", r.err);
    program_free(&r);
    return ok ? 0 : -1;
}

/* How much of the square at cx is told right, by the answer's two colours. */
static double overlap(const char *path, int cx, const uint8_t inside[3])
{
    ts_image img;
    ts_error err = {0};
    int both = 0, either = 0;
    if (!ts_image_load(path, &img, &err)) fail_msg("%s", err.text);
    assert_int_equal(img.width, W);
    assert_int_equal(img.height, H);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const bool got = memcmp(img.data + 3 * (y * W + x), inside, 3) == 0, want = is_inside(x, y, cx);
            both += got && want;
            either += got || want;
        }
    ts_image_clear(&img);
    return (double)both / either;
}

static void expect_square(const char *path, int cx, const uint8_t inside[3])
{
    if (!(overlap(path, cx, inside) > 0.75)) fail_msg("%s: %.3f", path, overlap(path, cx, inside));
}

static void train(void **state)
{
    (void)state;
    const char *again = temp_path("again.strokes"), *logistic = temp_path("logistic.strokes");
    cJSON *r = report(program_run("strokes", "train", "-p", picture, strokes, "-p", other, mask, "--json", "--device", "cpu",
                                  "-o", again, "--hidden", "4", "--steps", "30", NULL));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(r, "classes")), 3); /* red and blue strokes, and white */
    assert_string_equal(text(r, "model"), again);
    assert_true(number(r, "steps") == 30);
    assert_true(number(cJSON_GetObjectItem(r, "ms"), "features") > 0);
    cJSON_Delete(r);
    succeed(program_run("strokes", "train", "-p", picture, mask, "-o", logistic, "--hidden", "0", "--device", "cpu", NULL));
    succeed(program_run("model", "check", logistic, NULL));
    program_result about = program_run("model", "info", logistic, NULL);
    assert_non_null(strstr(about.out, "model from strokes"));
    assert_non_null(strstr(about.out, "logistic regression"));
    assert_non_null(strstr(about.out, "classes: #000000 (background) #ffffff"));
    program_free(&about);
    r = report(program_run("model", "info", model, "--json", NULL));
    assert_true(number(cJSON_GetObjectItem(r, "strokes"), "hidden") == 32);
    assert_true(number(cJSON_GetObjectItem(r, "strokes"), "features") == 144);
    cJSON_Delete(r);
}

static void same_seed(void **state)
{
    (void)state;
    const char *a = temp_path("a.strokes"), *b = temp_path("b.strokes"), *c = temp_path("c.strokes");
    succeed(program_run("strokes", "train", "-p", picture, strokes, "-o", a, "--seed", "5", "--device", "cpu", NULL));
    succeed(program_run("strokes", "train", "-p", picture, strokes, "-o", b, "--seed", "5", "--device", "cpu", NULL));
    succeed(program_run("strokes", "train", "-p", picture, strokes, "-o", c, "--seed", "6", "--device", "cpu", NULL));
    assert_true(same_bytes(a, b));
    assert_false(same_bytes(a, c));
}

static void apply(void **state)
{
    (void)state;
    const char *out = temp_path("out.png"), *grey = temp_path("grey.png"), *overlay = temp_path("overlay.png");
    succeed(program_run("strokes", "apply", model, other, "-o", out, "--overlay", overlay, "--probabilities", "--device", "cpu",
                        NULL));
    expect_square(out, 38, red);
    assert_true(file_exists(overlay));
    ts_weights *w = ts_weights_open(temp_path("out.probabilities.safetensors"), NULL);
    assert_non_null(w);
    const ts_weight *p = ts_weights_find(w, "probabilities");
    assert_true(p && p->ndim == 3 && p->shape[0] == 2 && p->shape[1] == H && p->shape[2] == W);
    float *numbers = golden_f32(w, "probabilities");
    for (int i = 0; i < W * H; i++) assert_true(fabsf(numbers[i] + numbers[W * H + i] - 1) < 1e-5F);
    free(numbers);
    ts_weights_free(w);
    succeed(program_run("strokes", "apply", model, other, "-o", grey, "--mask", "--smooth", "2", "--device", "cpu", NULL));
    expect_square(grey, 38, (uint8_t[]){255, 255, 255}); /* more is painted blue, which is the background */
    size_t size;
    unsigned char *bytes = read_bytes(grey, &size);
    assert_true(size > 25 && bytes[25] == 0); /* grey */
    free(bytes);
}

static void folder(void **state)
{
    (void)state;
    char below[512];
    const char *in = temp_path("photos"), *out = temp_path("masks");
    snprintf(below, sizeof below, "mkdir -p %s", in);
    assert_int_equal(system(below), 0);
    snprintf(below, sizeof below, "%s/a.png", in);
    draw(below, 30, 7, NULL);
    snprintf(below, sizeof below, "%s/b.png", in);
    write_text(below, "no picture");
    program_result r = program_run("strokes", "apply", model, in, "-o", out, "--json", "--device", "cpu", NULL);
    assert_non_null(strstr(r.err, "left out: "));
    cJSON *list = partial_report(r);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_non_null(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 1), "problem"));
    cJSON_Delete(list);
    expect_square(temp_path("masks/a.png"), 30, red);
    r = program_run("strokes", "apply", model, in, "-o", temp_path("strict"), "--strict", "--device", "cpu", "-Q", NULL);
    assert_int_equal(r.status, 1);
    program_free(&r);
    assert_false(file_exists(temp_path("strict")));
}

static void evaluate(void **state)
{
    (void)state;
    char path[512];
    const char *pairs = temp_path("pairs"), *csv = temp_path("scores.csv");
    snprintf(path, sizeof path, "mkdir -p %s", pairs);
    assert_int_equal(system(path), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d.png", pairs, i);
        draw(path, 26 + 10 * i, 11 + (uint64_t)i, NULL);
        snprintf(path, sizeof path, "%s/%d_target.png", pairs, i);
        draw(path, 26 + 10 * i, 0, black_white);
    }
    cJSON *r = report(program_run("strokes", "eval", model, pairs, "--json", "--csv", csv, "--device", "cpu", NULL));
    const cJSON *iou = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(r, "scores"), "model"), "iou");
    assert_true(number(iou, "mean") > 0.75);
    assert_true(number(iou, "count") == 2);
    cJSON_Delete(r);
    assert_true(file_exists(csv));
    snprintf(path, sizeof path, "%s/1_target.png", pairs);
    draw(path, 36, 0, blue_red); /* now with colours that no two classes have */
    assert_refused(program_run("strokes", "eval", model, pairs, "--device", "cpu", "-Q", NULL), 1,
                   "other colours than the model's");
}

static void run(void **state)
{
    (void)state;
    const char *out = temp_path("run.png"), *pixels = temp_path("pixels.png");
    succeed(program_run("run", "--model", model, "-q", other, "-o", out, "--device", "cpu", NULL));
    expect_square(out, 38, red);
    cJSON *r = report(program_run("run", "--model", "pixels", "-e", picture, mask, "-q", other, "-o", pixels, "--mask", "--json",
                                  "--smooth", "1", "--device", "cpu", NULL));
    assert_string_equal(text(cJSON_GetArrayItem(r, 0), "method"), "pixels");
    cJSON_Delete(r);
    expect_square(pixels, 38, (uint8_t[]){255, 255, 255});
    const char *coloured = temp_path("coloured.png"), *palette = temp_path("palette.png");
    draw(coloured, 30, 0, blue_red);
    succeed(program_run("run", "--model", "pixels", "--units", "0", "-e", picture, coloured, "-q", other, picture, "-o",
                        temp_path("answers"), "--device", "cpu", NULL));
    expect_square(temp_path("answers/other.png"), 38, red);
    succeed(program_run("strokes", "apply", model, other, "-o", palette, "--device", "cpu", NULL));
    assert_true(same_bytes(palette, out));
    if (test_vulkan(TS_F32)) {
        succeed(program_run("run", "--model", model, "-q", other, "-o", out, "--device", "vulkan", NULL));
        expect_square(out, 38, red);
    }
}

static void refusals(void **state)
{
    (void)state;
    const char *out = temp_path("no.strokes"), *png = temp_path("no.png"), *small = temp_path("small.png"),
               *photo = kept_path("smooth.png");
    draw_strokes(small, W + 8, red);
    write_picture(photo, W, H, 3);
    assert_refused(program_run("strokes", NULL), 2, "what to do is missing: train, apply or eval");
    assert_refused(program_run("strokes", "train", "-o", out, NULL), 2, "a picture and its strokes are missing");
    assert_refused(program_run("strokes", "train", "-p", picture, strokes, NULL), 2, "an output is missing");
    assert_refused(program_run("strokes", "train", "-p", picture, small, "-o", out, "-Q", NULL), 1, "they must be alike");
    assert_refused(program_run("strokes", "train", "-p", picture, photo, "-o", out, NULL), 1, "colours");
    assert_refused(program_run("strokes", "train", "-p", picture, strokes, "-o", strokes, NULL), 1, "would overwrite the input");
    assert_refused(program_run("strokes", "train", "-p", picture, strokes, "-o", out, "--ground", "#123456", NULL), 1,
                   "no colour of the strokes");
    assert_refused(program_run("strokes", "train", "-p", picture, strokes, "-o", out, "--features", model, "-Q", NULL), 1,
                   "features are taken of");
    assert_refused(program_run("strokes", "apply", model, "-o", png, NULL), 2, "is missing");
    assert_refused(program_run("strokes", "apply", model, other, NULL), 2, "an output is missing");
    assert_refused(program_run("strokes", "apply", picture, other, "-o", png, NULL), 1, "picture.png");
    assert_refused(program_run("strokes", "apply", random_model(), other, "-o", png, NULL), 1, "a model from strokes is wanted");
    assert_refused(program_run("strokes", "apply", model, strokes, "-o", temp_path("no.jpg"), "--mask", NULL), 2,
                   "does not end in .png");
    assert_refused(program_run("strokes", "apply", model, other, "-o", png, "--features", model, NULL), 1, "learned without");
    assert_refused(program_run("run", "--model", model, "-e", picture, mask, "-q", other, "-o", png, NULL), 1,
                   "takes no examples");
    assert_refused(program_run("run", "--model", model, "--units", "4", "-q", other, "-o", png, NULL), 1, "has learned already");
    assert_refused(program_run("run", "--model", "pixels", "-q", other, "-o", png, NULL), 2, "an example pair is missing");
    assert_refused(program_run("run", "--model", "pixels", "-e", picture, photo, "-q", other, "-o", png, "-Q", NULL), 1,
                   "learns from masks");
    assert_refused(program_run("run", "--model", "pixels", "--views", "2", "-e", picture, mask, "-q", other, "-o", png, NULL), 1,
                   "--views is for an MAE-VQGAN");
    assert_refused(
        program_run("run", "--model", random_model(), "--smooth", "2", "-e", picture, mask, "-q", other, "-o", png, NULL), 1,
        "--smooth is for a model from strokes");
    assert_false(file_exists(out));
    assert_false(file_exists(png));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train),    cmocka_unit_test(same_seed), cmocka_unit_test(apply),    cmocka_unit_test(folder),
        cmocka_unit_test(evaluate), cmocka_unit_test(run),       cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, make_files, NULL);
}
