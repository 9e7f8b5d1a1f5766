/* test_figures.c - `tessera figures`: pages on disk, the report, and wrong usage. */
#include "../support/program.h"

#include "clip/clip.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static void pages(void **state)
{
    (void)state;
    const char *one = temp_path("figures_one"), *two = temp_path("figures_two");
    program_result r = program_run("figures", "--out", one, "--count", "6", "--size", "64", "--patch", "8", "--seed", "3",
                                   "--tasks", "flip,segment", "--examples", "2", "--json", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *o = cJSON_Parse(r.out), *list = cJSON_GetObjectItem(o, "pages"), *page;
    assert_int_equal(cJSON_GetArraySize(list), 6);
    cJSON_ArrayForEach(page, list)
    {
        const char *task = cJSON_GetObjectItem(page, "task")->valuestring;
        assert_true(strcmp(task, "flip") == 0 || strcmp(task, "segment") == 0);
        assert_int_equal(cJSON_GetObjectItem(page, "examples")->valueint, 2);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(page, "hole")), 4);
    }
    cJSON_Delete(o);
    program_free(&r);
    r = program_run("figures", "--out", two, "--count", "2", "--size", "64", "--patch", "8", "--seed", "3", "--tasks",
                    "flip,segment", "--examples", "2..2", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "2 pages of 64 x 64"));
    program_free(&r);
    size_t a_size, b_size;
    unsigned char *a = read_bytes(temp_path("figures_one/page-000001.png"), &a_size);
    unsigned char *b = read_bytes(temp_path("figures_two/page-000001.png"), &b_size);
    assert_true(a_size == b_size && memcmp(a, b, a_size) == 0);
    assert_false(file_exists(temp_path("figures_two/page-000002.png")));
    free(a);
    free(b);
}

static void list(void **state)
{
    (void)state;
    program_result r = program_run("figures", "--list", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "size-shape"));
    program_free(&r);
    r = program_run("figures", "--help", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "Example:\n"));
    program_free(&r);
}

static void refused(void **state)
{
    (void)state;
    const char *out = temp_path("figures_none");
    assert_refused(program_run("figures", NULL), 2, "--out DIR");
    assert_refused(program_run("figures", "--out", out, "--tasks", "flip,paint", NULL), 2, "paint");
    assert_refused(program_run("figures", "--out", out, "--tasks", "", NULL), 2, "no task");
    assert_refused(program_run("figures", "--out", out, "--examples", "4", NULL), 2, "1..3");
    assert_refused(program_run("figures", "--out", out, "--examples", "3..2", NULL), 2, "1..3");
    assert_refused(program_run("figures", "--out", out, "--size", "100", NULL), 2, "does not divide");
    assert_refused(program_run("figures", "--out", "/nonexistent/figures", NULL), 1, "/nonexistent");
    assert_false(file_exists(out));
}

/* Scenes with sentences: every line names a picture that is there, and the first ones do not depend on how many are asked for. */
static void captions(void **state)
{
    (void)state;
    program_result r =
        program_run("figures", "--captions", temp_path("scenes"), "--count", "7", "--size", "32", "--seed", "3", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "7 scenes of 32 x 32"));
    program_free(&r);
    r = program_run("figures", "--captions", temp_path("fewer"), "--count", "3", "--size", "32", "--seed", "3", "--json", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "captions.jsonl"));
    program_free(&r);
    size_t size, fewer_size;
    char *text = (char *)read_bytes(temp_path("scenes/captions.jsonl"), &size);
    char *fewer = (char *)read_bytes(temp_path("fewer/captions.jsonl"), &fewer_size);
    assert_true(fewer_size < size && memcmp(text, fewer, fewer_size) == 0);
    int lines = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
        ts_image img;
        *end = '\0';
        cJSON *line = cJSON_Parse(at);
        const char *file = cJSON_GetObjectItem(line, "file")->valuestring;
        assert_true(ts_image_load(temp_path("scenes/%s", file), &img, NULL));
        assert_int_equal(img.width, 32);
        assert_true(strlen(cJSON_GetObjectItem(line, "text")->valuestring) > 8);
        ts_image_clear(&img);
        cJSON_Delete(line);
    }
    assert_int_equal(lines, 7);
    free(text);
    free(fewer);
}

/* Twelve classes, which CLIP's data reader takes. */
static void classes(void **state)
{
    (void)state;
    const char *folder = temp_path("twelve");
    program_result r = program_run("figures", "--classes", folder, "--count", "2", "--tests", "3", "--size", "32", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "12 classes of 2 pictures to train and 3 to test"));
    program_free(&r);
    ts_error err = {0};
    ts_clip_data d;
    if (!ts_clip_data_open(folder, NULL, 1, &d, &err)) fail_msg("%s", err.text);
    assert_int_equal(d.classes, 12);
    assert_string_equal(d.name[6], "red circle");
    assert_int_equal(d.train.count, 24);
    assert_int_equal(d.test.count, 36);
    ts_clip_data_clear(&d);
    assert_refused(program_run("figures", "--classes", folder, NULL), 1, "is there already");
    r = program_run("figures", "--classes", temp_path("more"), "--count", "1", "--tests", "1", "--shift", "0", "--json", NULL);
    assert_int_equal(r.status, 0);
    cJSON *all = cJSON_Parse(r.out);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(all, "classes")), 12);
    cJSON_Delete(all);
    program_free(&r);
    const char *none = temp_path("no_classes");
    assert_refused(program_run("figures", "--classes", none, "--captions", none, NULL), 2, "one of");
    assert_refused(program_run("figures", "--classes", none, "--out", none, NULL), 2, "one of");
    assert_refused(program_run("figures", "--classes", none, "--shift", "2", NULL), 2, "shift");
    assert_refused(program_run("figures", "--classes", "/nonexistent/twelve", NULL), 1, "/nonexistent");
    assert_refused(program_run("figures", "--captions", "/nonexistent/scenes", NULL), 1, "/nonexistent");
    assert_false(file_exists(none));
}

/* Pairs of one task: the same rule in all, another scene in each; more of them change none. */
static void pairs(void **state)
{
    (void)state;
    const char *few = temp_path("few"), *many = temp_path("many");
    program_result r =
        program_run("figures", "--pairs", few, "--tasks", "invert", "--count", "2", "--size", "24", "--seed", "5", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "2 pairs of 24 x 24"));
    program_free(&r);
    r = program_run("figures", "--pairs", many, "--tasks", "invert,grey", "--count", "3", "--size", "24", "--seed", "5", "--json",
                    NULL);
    assert_int_equal(r.status, 0);
    cJSON *json = cJSON_Parse(r.out);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "tasks")), 2);
    cJSON_Delete(json);
    program_free(&r);
    assert_true(same_bytes(temp_path("few/00001.png"), temp_path("many/invert/00001.png")));
    assert_true(same_bytes(temp_path("few/00001_target.png"), temp_path("many/invert/00001_target.png")));
    assert_false(same_bytes(temp_path("few/00000.png"), temp_path("few/00001.png")));
    assert_true(file_exists(temp_path("many/grey/00002_target.png")));
    ts_image before, after;
    ts_error err;
    assert_true(ts_image_load(temp_path("few/00000.png"), &before, &err) &&
                ts_image_load(temp_path("few/00000_target.png"), &after, &err));
    for (size_t i = 0; i < (size_t)24 * 24 * 3; i++) assert_int_equal(before.data[i] + after.data[i], 255);
    ts_image_clear(&before);
    ts_image_clear(&after);
    assert_refused(program_run("figures", "--pairs", few, NULL), 2, "--tasks");
    assert_refused(program_run("figures", "--pairs", few, "--out", few, "--tasks", "grey", NULL), 2, "one of");
    assert_refused(program_run("figures", "--pairs", "/nonexistent/pairs", "--tasks", "grey", NULL), 1, "/nonexistent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages),   cmocka_unit_test(list),  cmocka_unit_test(captions),
                                       cmocka_unit_test(classes), cmocka_unit_test(pairs), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
