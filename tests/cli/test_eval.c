/* test_eval.c - `tessera eval`: figures that can be, the same for the same seed, a sheet, and wrong usage. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const char *const TASKS[] = {"colour", "shape", "size", "colour-shape", "size-colour", "size-shape"};

static program_result measure(const char *sheet)
{
    return program_run("eval", "synthetic", "--model", random_model(), "--trials", "3", "--examples", "1", "--batch", "2",
                       "--seed", "5", "--json", "--device", "cpu", "--shown", "2", "--sheet", sheet, NULL);
}

static void synthetic(void **state)
{
    (void)state;
    const char *sheet = temp_path("sheet.png");
    program_result r = measure(sheet), again = measure(sheet);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_string_equal(r.out, again.out);
    cJSON *o = cJSON_Parse(r.out), *tasks = cJSON_GetObjectItem(o, "tasks");
    assert_int_equal(cJSON_GetArraySize(tasks), 9);
    for (size_t i = 0; i < sizeof TASKS / sizeof *TASKS; i++) {
        const cJSON *who, *metric;
        cJSON_ArrayForEach(who, cJSON_GetObjectItem(tasks, TASKS[i]))
        {
            assert_int_equal(cJSON_GetArraySize(who), 4);
            cJSON_ArrayForEach(metric, who) assert_true(metric->valuedouble >= 0 && metric->valuedouble <= 1);
        }
    }
    /* Copying the query scores nothing where only the colour changes. */
    const cJSON *copied = cJSON_GetObjectItem(cJSON_GetObjectItem(tasks, "colour"), "copy_query");
    assert_true(cJSON_GetObjectItem(copied, "iou")->valuedouble < 0.01);
    assert_true(cJSON_GetObjectItem(copied, "iou_blind")->valuedouble > 0.9);
    cJSON_Delete(o);
    program_free(&r);
    program_free(&again);
    ts_image picture;
    ts_error err = {0};
    if (!ts_image_load(sheet, &picture, &err)) fail_msg("%s", err.text);
    assert_int_equal(picture.width, 2 * (64 + 4));
    assert_int_equal(picture.height, 9 * (64 + 4));
    ts_image_clear(&picture);
}

/* A number that the report has of its settings. */
static int setting(const char *what, const char *model, const char *option, const char *value)
{
    program_result r =
        program_run("eval", "synthetic", "--model", model, "--trials", "1", "--device", "cpu", "--json", option, value, NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *o = cJSON_Parse(r.out);
    assert_int_equal(cJSON_GetObjectItem(o, "examples")->valueint, 2);
    const int number = cJSON_GetObjectItem(o, what)->valueint;
    cJSON_Delete(o);
    program_free(&r);
    return number;
}

/* Two pairs on a canvas, as published, or as many as the model has learned. */
static void canvases(void **state)
{
    (void)state;
    const char *model = random_model_that_says("of_one.safetensors", "--examples", "1");
    assert_int_equal(setting("per_canvas", random_model(), NULL, NULL), 2);
    assert_int_equal(setting("per_canvas", random_model(), "--per-canvas", "1"), 1);
    assert_int_equal(setting("per_canvas", model, NULL, NULL), 1);
    assert_int_equal(setting("per_canvas", model, "--per-canvas", "2"), 2);
}

static void views(void **state)
{
    (void)state;
    const char *model = random_model_that_says("of_views.safetensors", "--views", "3");
    assert_int_equal(setting("views", random_model(), NULL, NULL), 1);
    assert_int_equal(setting("views", model, NULL, NULL), 3);
    assert_int_equal(setting("views", model, "--views", "2"), 2);
}

static void table(void **state)
{
    (void)state;
    program_result r = program_run("eval", "synthetic", "--model", random_model(), "--trials", "1", "--device", "cpu", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "copy_example"));
    program_free(&r);
}

static void refused(void **state)
{
    (void)state;
    assert_refused(program_run("eval", NULL), 2, "synthetic, pairs, segmentation, detection, colorization or merge");
    assert_refused(program_run("eval", "pascal", "--model", "x", NULL), 2, "synthetic");
    assert_refused(program_run("eval", "synthetic", "--model", random_model(), "--sheet", "a.txt", NULL), 2, "a.txt");
    assert_refused(program_run("eval", "synthetic", "--model", "/nowhere/model.pth", NULL), 1, "/nowhere/model.pth");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(synthetic), cmocka_unit_test(table), cmocka_unit_test(canvases),
                                       cmocka_unit_test(views), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("eval", tests, NULL, NULL);
}
