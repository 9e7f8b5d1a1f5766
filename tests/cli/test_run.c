/* test_run.c - the main job as a user does it, on the golden model and on one of random weights: what comes out, in which file,
 * and that options change what they should. What must be refused is in test_refuse.c. */
#include "../support/report.h"

#include "grid/grid.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the random model. */
enum { CANVAS = 64, SIDE = 4, PLACES = 16, CODES = 64, CELL = 31 };

/* The pictures that all tests use. */
static const char *example_in, *example_out, *queries[3];

static int make_pictures(void **state)
{
    (void)state;
    static char paths[5][512];
    const char *const names[] = {"in.png", "out.png", "q1.png", "q2.jpg", "q3.png"};
    const int sizes[][2] = {{40, 30}, {40, 30}, {50, 20}, {31, 47}, {64, 64}};
    for (int i = 0; i < 5; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", temp_dir(), names[i]);
        write_picture(paths[i], sizes[i][0], sizes[i][1], (uint64_t)i);
    }
    example_in = paths[0];
    example_out = paths[1];
    for (int i = 0; i < 3; i++) queries[i] = paths[2 + i];
    return 0;
}

/* `tessera run` on the random model with the example pair and `more` arguments; must succeed. */
static program_result run_ok(const char *const *more, int count)
{
    const char *args[40] = {"run", "--device", "cpu", "--model", random_model(), "-e", example_in, example_out};
    int n = 8;
    for (int i = 0; i < count; i++) args[n++] = more[i];
    program_result r = program_run_list(args, n);
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    return r;
}
#define RUN_OK(...) run_ok((const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void assert_size(const char *path, int width, int height)
{
    ts_image img = {0};
    ts_error err = {0};
    if (!ts_image_load(path, &img, &err)) fail_msg("%s", err.text);
    if (img.width != width || img.height != height)
        fail_msg("%s has %d x %d pixels, wanted %d x %d", path, img.width, img.height, width, height);
    ts_image_clear(&img);
}

/* The report of a run, an array with an object for each query. */
static cJSON *parse_report(const program_result *r, int count, int places, int codes)
{
    cJSON *list = cJSON_Parse(r->out);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != count) fail_msg("no report of %d queries: %s", count, r->out);
    cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *all = cJSON_GetObjectItem(item, "codes"), *code, *ms = cJSON_GetObjectItem(item, "ms");
        assert_int_equal(cJSON_GetArraySize(all), places);
        cJSON_ArrayForEach(code, all) assert_true(code->valueint >= 0 && code->valueint < codes);
        assert_non_null(cJSON_GetObjectItem(item, "query"));
        assert_non_null(cJSON_GetObjectItem(item, "answer"));
        assert_non_null(cJSON_GetObjectItem(item, "device"));
        for (int i = 0; i < 4; i++) assert_true(number(ms, (const char *const[]){"load", "encode", "mae", "decode"}[i]) >= 0);
        assert_true(number(ms, "mae") > 0);
    }
    return list;
}

/* ---- the golden model ---------------------------------------------------------------------------------------- */

static void golden(void **state)
{
    (void)state;
    ts_weights *expected = open_golden("mae_vqgan_tiny.expected.safetensors");
    char model[512];
    snprintf(model, sizeof model, "%s/mae_vqgan_tiny.pth", TS_GOLDEN_DIR);
    const char *answer = temp_path("golden.png"), *canvas = temp_path("golden.canvas.png");
    program_result r = program_run("run", "--device", "cpu", "--model", model, "--heads", "4", "--decoder-heads", "4", "-e",
                                   example_in, example_out, "-q", queries[0], "-o", answer, "--canvas", canvas, "--json", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *list = parse_report(&r, 1, 16, 1024);
    const cJSON *item = cJSON_GetArrayItem(list, 0), *hole = cJSON_GetObjectItem(item, "hole");
    int side = (int)number(item, "canvas"), cell = side / 2 - 1;
    assert_int_equal(number(hole, "x"), side / 2 + 1);
    assert_int_equal(number(hole, "y"), side / 2 + 1);
    assert_int_equal(number(hole, "width"), cell);
    assert_int_equal(number(hole, "height"), cell);
    assert_size(canvas, side, side);
    assert_size(answer, 50, 20);
    cJSON_Delete(list);
    program_free(&r);
    ts_weights_free(expected);
}

static void golden_needs_heads(void **state)
{
    (void)state;
    char model[512];
    snprintf(model, sizeof model, "%s/mae_vqgan_tiny.pth", TS_GOLDEN_DIR);
    ts_weights_free(open_golden("mae_vqgan_tiny.pth"));
    const char *answer = temp_path("headless.png");
    assert_refused(program_run("run", "--device", "cpu", "--model", model, "-e", example_in, example_out, "-q", queries[0], "-o",
                               answer, NULL),
                   1, "--heads");
    assert_false(file_exists(answer));
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static void sizes_and_names(void **state)
{
    (void)state;
    const char *answer = temp_path("answer.jpg"), *canvas = temp_path("canvas.png");
    program_result r = RUN_OK("-q", queries[0], "-o", answer, "--canvas", canvas);
    char line[600];
    snprintf(line, sizeof line, "%s\n", answer);
    assert_string_equal(r.out, line);
    assert_non_null(strstr(r.err, "device: "));
    program_free(&r);
    assert_size(answer, 50, 20);
    assert_size(canvas, CANVAS, CANVAS);
    r = RUN_OK("--quiet", "--cell", "-q", queries[0], "-o", answer);
    assert_string_equal(r.err, "");
    program_free(&r);
    assert_size(answer, CELL, CELL);
}

/* The same picture but for a rounding: a library may sum the products of another batch in another order. */
static bool same_picture(const char *a, const char *b)
{
    ts_error err = {0};
    ts_image x, y;
    if (!ts_image_load(a, &x, &err) || !ts_image_load(b, &y, &err)) fail_msg("%s", err.text);
    bool same = x.width == y.width && x.height == y.height;
    const size_t bytes = 3 * (size_t)x.width * (size_t)x.height;
    for (size_t i = 0; same && i < bytes; i++) same = abs(x.data[i] - y.data[i]) <= 1;
    ts_image_clear(&x);
    ts_image_clear(&y);
    return same;
}

/* Several queries into a folder that is not there yet give the same files as one by one, whatever the batch. */
static void several_queries(void **state)
{
    (void)state;
    const char *folder = temp_path("answers"), *canvases = temp_path("canvases");
    program_result r = RUN_OK("-q", queries[0], queries[1], "-q", queries[2], "-o", folder, "--canvas", canvases, "--batch", "2",
                              "--json", "--temperature", "1", "--seed", "5");
    cJSON_Delete(parse_report(&r, 3, PLACES, CODES));
    program_free(&r);
    for (int i = 0; i < 3; i++) {
        const char *alone = temp_path("alone.png"), *alone_canvas = temp_path("alone.canvas.png");
        r = RUN_OK("-q", queries[i], "-o", alone, "--canvas", alone_canvas, "--temperature", "1", "--seed", "5");
        program_free(&r);
        char name[16];
        snprintf(name, sizeof name, "q%d", i + 1);
        assert_true(same_picture(alone, temp_path("answers/%s.png", name)));
        assert_true(same_picture(alone_canvas, temp_path("canvases/%s.canvas.png", name)));
    }
}

static void folder_of_queries(void **state)
{
    (void)state;
    const char *folder = temp_path("queries"), *answers = temp_path("folder_answers");
    assert_int_equal(mkdir(folder, 0700), 0);
    write_picture(temp_path("queries/b.png"), 20, 10, 3);
    write_picture(temp_path("queries/a.jpeg"), 10, 20, 4);
    write_text(temp_path("queries/notes.txt"), "not a picture");
    program_result r = RUN_OK("-q", folder, "-o", answers);
    char lines[1200];
    snprintf(lines, sizeof lines, "%s/a.png\n%s/b.png\n", answers, answers);
    assert_string_equal(r.out, lines);
    program_free(&r);
    assert_size(temp_path("folder_answers/a.png"), 10, 20);
    assert_size(temp_path("folder_answers/b.png"), 20, 10);
}

/* ---- what options do ------------------------------------------------------------------------------------------ */

static void layout_options(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value;
        int x, y;
    } cases[] = {{"--side", "right", 33, 33}, {"--side", "left", 0, 33}, {"--transposed", NULL, 33, 33}};
    const char *plain = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = temp_path("layout%zu.png", i), *canvas = temp_path("layout%zu.canvas.png", i);
        const char *more[] = {"-q", queries[2], "-o", answer, "--canvas", canvas, "--json", cases[i].option, cases[i].value};
        program_result r = run_ok(more, cases[i].value ? 9 : 8);
        cJSON *list = parse_report(&r, 1, PLACES, CODES);
        const cJSON *hole = cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "hole");
        assert_int_equal(number(hole, "x"), cases[i].x);
        assert_int_equal(number(hole, "y"), cases[i].y);
        if (i == 0) plain = canvas;
        else assert_false(same_bytes(plain, canvas));
        cJSON_Delete(list);
        program_free(&r);
    }
}

/* The pixel of a canvas in the line between the cells of the upper row. */
static void assert_gap(const char *canvas, uint8_t r, uint8_t g, uint8_t b)
{
    ts_image img = {0};
    assert_true(ts_image_load(canvas, &img, NULL));
    const uint8_t *pixel = img.data + (10 * img.width + CELL) * 3;
    assert_int_equal(pixel[0], r);
    assert_int_equal(pixel[1], g);
    assert_int_equal(pixel[2], b);
    ts_image_clear(&img);
}

static void background(void **state)
{
    (void)state;
    const char *canvas = temp_path("background.png"), *answer = temp_path("background.answer.png");
    program_result r = RUN_OK("-q", queries[0], "-o", answer, "--canvas", canvas);
    program_free(&r);
    assert_gap(canvas, 0, 0, 0);
    r = RUN_OK("-q", queries[0], "-o", answer, "--canvas", canvas, "--background", "#12aBff");
    program_free(&r);
    assert_gap(canvas, 0x12, 0xab, 0xff);
}

/* The codes of one query under the given options. */
static void codes_of(const char *const *more, int count, int out[PLACES])
{
    const char *args[24] = {"-q", queries[0], "-o", temp_path("codes.png"), "--json"};
    for (int i = 0; i < count; i++) args[5 + i] = more[i];
    program_result r = run_ok(args, 5 + count);
    cJSON *list = parse_report(&r, 1, PLACES, CODES);
    const cJSON *codes = cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "codes");
    for (int i = 0; i < PLACES; i++) out[i] = cJSON_GetArrayItem(codes, i)->valueint;
    cJSON_Delete(list);
    program_free(&r);
}

static void sampling(void **state)
{
    (void)state;
    int plain[PLACES], again[PLACES], sampled[PLACES], other[PLACES], kept[PLACES];
    codes_of(NULL, 0, plain);
    codes_of((const char *const[]){"--seed", "9"}, 2, again);
    assert_memory_equal(plain, again, sizeof plain); /* without a temperature there is nothing to draw */
    codes_of((const char *const[]){"--temperature", "2", "--seed", "1"}, 4, sampled);
    codes_of((const char *const[]){"--temperature", "2", "--seed", "1"}, 4, again);
    codes_of((const char *const[]){"--temperature", "2", "--seed", "2"}, 4, other);
    assert_memory_equal(sampled, again, sizeof sampled);
    assert_memory_not_equal(sampled, plain, sizeof sampled);
    assert_memory_not_equal(sampled, other, sizeof sampled);
    codes_of((const char *const[]){"--keep-codes"}, 1, kept);
    assert_memory_not_equal(kept, plain, sizeof kept);
    for (int row = SIDE / 2; row < SIDE; row++)
        for (int col = SIDE / 2; col < SIDE; col++) assert_int_equal(kept[row * SIDE + col], plain[row * SIDE + col]);
}

static void two_examples(void **state)
{
    (void)state;
    const char *answer = temp_path("two.png");
    program_result r = RUN_OK("-e", example_out, example_in, "-q", queries[0], "-o", answer, "--json");
    cJSON *list = parse_report(&r, 1, PLACES, CODES);
    const cJSON *hole = cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "hole");
    ts_grid grid;
    assert_true(ts_grid_plan(&(ts_grid_desc){.canvas = CANVAS, .examples = 2}, &grid, NULL));
    assert_int_equal(number(hole, "x"), grid.hole.x);
    assert_int_equal(number(hole, "y"), grid.hole.y);
    assert_int_equal(number(hole, "width"), grid.hole.width);
    cJSON_Delete(list);
    program_free(&r);
    assert_size(answer, 50, 20);
}

/* A model that says of how many pairs its canvases were: fewer are shown again, more go on another canvas. */
static void fills_up_examples(void **state)
{
    (void)state;
    const char *model = random_model_that_says("of_two.safetensors", "--examples", "2"), *once = temp_path("once.png"),
               *twice = temp_path("twice.png");
    const char *const args[] = {"run",      "--model",   model, "--device", "cpu",       "-q", queries[0], "-o",       once, "-e",
                                example_in, example_out, "-e",  example_in, example_out, "-e", example_in, example_out};
    program_result r = program_run_list(args, 12);
    assert_int_equal(r.status, 0);
    assert_null(strstr(r.err, "note:"));
    program_free(&r);
    const char *again[18];
    memcpy(again, args, sizeof again);
    again[8] = twice;
    r = program_run_list(again, 15);
    assert_int_equal(r.status, 0);
    program_free(&r);
    size_t size[2];
    unsigned char *a = read_bytes(once, &size[0]), *b = read_bytes(twice, &size[1]);
    assert_true(size[0] == size[1] && memcmp(a, b, size[0]) == 0);
    free(a);
    free(b);
    r = program_run_list(again, 18);
    assert_int_equal(r.status, 0);
    assert_null(strstr(r.err, "note:"));
    program_free(&r);
    r = program_run("run", "--model", model, "--device", "cpu", "-q", queries[0], "-o", twice, "-e", example_in, example_out,
                    "--per-canvas", "3", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "note: the model has learned canvases of at most 2 example pairs, not of 3"));
    program_free(&r);
}

/* How many canvases of `pairs` examples a report tells of; a folder of queries, two in a run of the model. */
static int canvases_of(int pairs, const char *per_canvas)
{
    const char *args[40] = {"run",     "--model",  random_model(), "--device",     "cpu",
                            "-q",      queries[0], queries[1],     "-o",           temp_path("many"),
                            "--batch", "2",        "--json",       "--per-canvas", per_canvas};
    int count = 15;
    for (int i = 0; i < pairs; i++) {
        args[count++] = "-e";
        args[count++] = i % 2 ? example_out : example_in;
        args[count++] = i % 2 ? example_in : example_out;
    }
    program_result r = program_run_list(args, count);
    cJSON *list = parse_report(&r, 2, PLACES, CODES);
    const int fused = (int)number(cJSON_GetArrayItem(list, 0), "fused");
    assert_int_equal(number(cJSON_GetArrayItem(list, 1), "fused"), fused);
    cJSON_Delete(list);
    program_free(&r);
    return fused;
}

static void fuses_canvases(void **state)
{
    (void)state;
    assert_int_equal(canvases_of(3, "1"), 3);
    assert_int_equal(canvases_of(3, "2"), 2);
    assert_int_equal(canvases_of(2, "2"), 1);
    assert_int_equal(canvases_of(8, "7"), 2);
}

/* What a report tells of how the answer was painted. */
static double painted_by(const char *what, const char *model, const char *const *more, int count)
{
    const char *args[24] = {"run",      "--model",   model, "--device", "cpu", "-e",
                            example_in, example_out, "-q",  queries[0], "-o",  temp_path("blend.png"),
                            "--json"};
    for (int i = 0; i < count; i++) args[13 + i] = more[i];
    program_result r = program_run_list(args, 13 + count);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *list = cJSON_Parse(r.out);
    const double value = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), what));
    cJSON_Delete(list);
    program_free(&r);
    return value;
}

/* How it is painted: what the command line says, else the model's file, else as published. */
static void blending(void **state)
{
    (void)state;
    const char *model = random_model_that_says("of_blend.safetensors", "--blend", "0.6");
    assert_true(painted_by("blend", random_model(), NULL, 0) == 0);
    assert_true(painted_by("blend", random_model(), (const char *const[]){"--blend", "2"}, 2) == 2);
    assert_true(painted_by("blend", model, NULL, 0) == 0.6);
    assert_true(painted_by("blend", model, (const char *const[]){"--blend", "0"}, 2) == 0);
    assert_true(painted_by("blend", model, (const char *const[]){"--temperature", "1"}, 2) == 0);
    program_result r = program_run("run", "--model", model, "-e", example_in, example_out, "-q", queries[0], "-o",
                                   temp_path("blend.png"), "--blend", "1", "--temperature", "1", NULL);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "not both"));
    program_free(&r);
}

static void several_views(void **state)
{
    (void)state;
    const char *model = random_model_that_says("of_views.safetensors", "--views", "3");
    assert_true(painted_by("views", random_model(), NULL, 0) == 1);
    assert_true(painted_by("views", random_model(), (const char *const[]){"--views", "2"}, 2) == 2);
    assert_true(painted_by("views", model, NULL, 0) == 3);
    assert_true(painted_by("views", model, (const char *const[]){"--views", "1"}, 2) == 1);
    assert_true(painted_by("views", model, (const char *const[]){"--temperature", "1"}, 2) == 1);
    program_result r = program_run("run", "--model", model, "-e", example_in, example_out, "-q", queries[0], "-o",
                                   temp_path("views.png"), "--views", "49", NULL);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "--views"));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden),
                                       cmocka_unit_test(golden_needs_heads),
                                       cmocka_unit_test(sizes_and_names),
                                       cmocka_unit_test(several_queries),
                                       cmocka_unit_test(folder_of_queries),
                                       cmocka_unit_test(layout_options),
                                       cmocka_unit_test(background),
                                       cmocka_unit_test(sampling),
                                       cmocka_unit_test(two_examples),
                                       cmocka_unit_test(fills_up_examples),
                                       cmocka_unit_test(fuses_canvases),
                                       cmocka_unit_test(blending),
                                       cmocka_unit_test(several_views)};
    return cmocka_run_group_tests_name("run", tests, make_pictures, NULL);
}
