/* test_figures.c - `tessera figures`: pages on disk, the report, and wrong usage. */
#include "../support/program.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages), cmocka_unit_test(list), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
