/* test_run_painter.c - `tessera run` with a SegGPT: the golden answers through the program, colours brought back, masks, a film's
 * frames, and what is refused. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL TS_GOLDEN_DIR "/seggpt_tiny.pth"

enum { SIDE = 64, FRAMES = 3 };

static const char *names[] = {"p1", "t1", "p2", "t2", "q"};
static const char *paths[5];
static ts_weights *want;

/* A golden (H, W, 3), or the one at `at` of (N, H, W, 3). */
static ts_image golden(const char *name, int at)
{
    const ts_weight *t = ts_weights_find(want, name);
    assert_non_null(t);
    const int64_t *shape = t->shape + (t->ndim - 3);
    ts_image img;
    assert_true(ts_image_new((int)shape[1], (int)shape[0], &img, NULL));
    const size_t size = (size_t)(shape[0] * shape[1] * 3);
    memcpy(img.data, (const uint8_t *)t->data + (size_t)at * size, size);
    return img;
}

static int make_pictures(void **state)
{
    (void)state;
    ts_error err = {0};
    if (!file_exists(MODEL)) {
        print_message("%s is absent: these tests are left out\n", MODEL);
        return 0;
    }
    want = ts_weights_open(TS_GOLDEN_DIR "/seggpt_tiny.expected.safetensors", &err);
    for (int i = 0; want && i < 5; i++) {
        char file[24];
        snprintf(file, sizeof file, "%s.png", names[i]);
        ts_image img = golden(names[i], 0);
        paths[i] = kept_path(file);
        if (!ts_image_save(paths[i], &img, &err)) return -1;
        ts_image_clear(&img);
    }
    return want ? 0 : -1;
}

static int drop_pictures(void **state)
{
    (void)state;
    ts_weights_free(want);
    return 0;
}

static ts_image load(const char *path)
{
    ts_image img;
    ts_error err = {0};
    if (!ts_image_load(path, &img, &err)) fail_msg("%s", err.text);
    return img;
}

/* The golden answer at the query's size, by the one example and by both. */
static void test_answers(void **state)
{
    (void)state;
    if (!want) skip();
    const char *out = kept_path("answer.png");
    for (int examples = 1; examples <= 2; examples++)
        for (int kind = 0; kind < 2; kind++) {
            const char *word = kind ? "semantic" : "instance";
            char name[64];
            succeed(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "--no-palette", "--kind", word,
                                "-q", paths[4], "-o", out, examples == 2 ? "-e" : NULL, paths[2], paths[3], NULL));
            ts_image got = load(out);
            snprintf(name, sizeof name, "%s.%s.output", examples == 1 ? "one" : "two", word);
            float *values = golden_f32(want, name);
            assert_true(got.width == 101 && got.height == 71);
            for (int y = 0; y < got.height; y++)
                for (int x = 0; x < got.width; x++)
                    for (int c = 0; c < 3; c++) {
                        const double wanted = (double)values[((y * SIDE / 71) * SIDE + x * SIDE / 101) * 3 + c];
                        const double given = got.data[(y * got.width + x) * 3 + c];
                        if (given > wanted + 1 || given < wanted - 1) fail_msg("%s: %g, wanted %g", name, given, wanted);
                    }
            free(values);
            ts_image_clear(&got);
        }
}

/* Every colour of an answer is one of the example's, without being asked. */
static void test_palette(void **state)
{
    (void)state;
    if (!want) skip();
    const char *out = kept_path("snapped.png"), *mask = kept_path("mask.png"), *cell = kept_path("cell.png");
    succeed(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "-q", paths[4], "-o", out, NULL));
    ts_image answer = load(out), example = load(paths[1]);
    for (int i = 0; i < answer.width * answer.height; i++) {
        bool known = false;
        for (int k = 0; !known && k < example.width * example.height; k++)
            known = memcmp(answer.data + 3 * i, example.data + 3 * k, 3) == 0;
        assert_true(known);
    }
    ts_image_clear(&answer);
    ts_image_clear(&example);
    succeed(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "-q", paths[4], "-o", mask, "--mask",
                        "--size", "96", NULL));
    answer = load(mask);
    assert_true(answer.width == 101 && answer.height == 71);
    for (int i = 0; i < answer.width * answer.height * 3; i++) assert_true(answer.data[i] == 0 || answer.data[i] == 255);
    ts_image_clear(&answer);
    succeed(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "-q", paths[4], "-o", cell, "--cell",
                        "--fit", "bicubic", NULL));
    answer = load(cell);
    assert_true(answer.width == SIDE && answer.height == SIDE);
    ts_image_clear(&answer);
}

/* A film, its frames in the order of their names: the first is answered by the pair alone, those after it by more. */
static void test_film(void **state)
{
    (void)state;
    if (!want) skip();
    const char *first = kept_path("first.png"), *frames[FRAMES], *one = kept_path("alone"), *film = kept_path("film");
    ts_image img = golden("video.frames", 0);
    assert_true(ts_image_save(first, &img, NULL));
    ts_image_clear(&img);
    for (int i = 0; i < FRAMES; i++) {
        char file[24];
        snprintf(file, sizeof file, "frame%d.png", i);
        frames[i] = kept_path(file);
        img = golden("video.frames", i + 1);
        assert_true(ts_image_save(frames[i], &img, NULL));
        ts_image_clear(&img);
    }
    program_result r = program_run("run", "--device", "cpu", "-m", MODEL, "-e", first, paths[1], "--no-palette", "--follow", "2",
                                   "--json", "-o", film, "-q", frames[0], frames[1], frames[2], NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *report = cJSON_Parse(r.out);
    for (int i = 0; i < FRAMES; i++)
        assert_true(cJSON_GetObjectItem(cJSON_GetArrayItem(report, i), "examples")->valueint == 1 + i);
    cJSON_Delete(report);
    program_free(&r);
    succeed(program_run("run", "--device", "cpu", "-m", MODEL, "-e", first, paths[1], "--no-palette", "-o", one, "-q", frames[0],
                        frames[1], frames[2], NULL));
    for (int i = 0; i < FRAMES; i++) {
        char a[512], b[512], file[24];
        snprintf(file, sizeof file, "frame%d.png", i);
        snprintf(a, sizeof a, "%s/%s", film, file);
        snprintf(b, sizeof b, "%s/%s", one, file);
        assert_true(same_bytes(a, b) == (i == 0));
        /* The published command's picture of it, which the golden file has. */
        ts_image answer = load(a), frame = load(frames[i]), blend = golden("video.written", i);
        for (int k = 0; k < frame.width * frame.height * 3; k++) {
            const int made = (int)(frame.data[k] * (0.6 * answer.data[k] / 255 + 0.4));
            if (abs(made - blend.data[k]) > 1) fail_msg("%s: %d, wanted %d", file, made, blend.data[k]);
        }
        ts_image_clear(&answer);
        ts_image_clear(&frame);
        ts_image_clear(&blend);
    }
}

static void test_refused(void **state)
{
    (void)state;
    if (!want) skip();
    const char *out = kept_path("no.png");
    static const struct {
        const char *option, *value, *says;
    } cases[] = {{"--size", "100", "wanted a multiple of 16"},
                 {"--canvas", "canvas.png", "--canvas is for an MAE-VQGAN"},
                 {"--temperature", "1", "--temperature is for an MAE-VQGAN"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "-q", paths[4], "-o", out,
                                   cases[i].option, cases[i].value, NULL),
                       1, cases[i].says);
    assert_refused(program_run("run", "--device", "cpu", "-m", MODEL, "-e", paths[0], paths[1], "-e", paths[2], paths[3], "-q",
                               paths[4], "-o", out, "--follow", "63", NULL),
                   1, "2 example pairs and 63 frames to follow are too many");
    assert_refused(program_run("run", "--device", "cpu", "-m", random_model(), "-e", paths[0], paths[1], "-q", paths[4], "-o",
                               out, "--follow", "1", NULL),
                   1, "--follow is for a SegGPT");
    assert_false(file_exists(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_palette),
                                       cmocka_unit_test(test_film), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("run with a SegGPT", tests, make_pictures, drop_pictures);
}
