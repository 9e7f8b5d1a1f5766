/* test_default.c - the default model: found when none is named, better than copying, and a clear word where it is not there. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static double score(const cJSON *report, const char *task, const char *who, const char *metric)
{
    const cJSON *tasks = cJSON_GetObjectItem(report, "tasks");
    const cJSON *value = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(tasks, task), who), metric);
    if (!cJSON_IsNumber(value)) fail_msg("no %s of %s in %s", metric, who, task);
    return value->valuedouble;
}

static void does_the_tasks(void **state)
{
    (void)state;
    if (!file_exists(TS_TESTS_DIR "/../assets/default.safetensors")) {
        print_message("[  SKIPPED ] assets/default.safetensors is not there\n");
        skip();
    }
    program_result r = program_run("eval", "synthetic", "--device", "cpu", "--trials", "3", "--seed", "9", "--views", "1",
                                   "--json", NULL); /* one view: a sanitizer makes eight slow */
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *report = cJSON_Parse(r.out);
    static const char *const tasks[] = {"colour", "colour-shape", "size-colour", "segment"};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const double model = score(report, tasks[i], "model", "iou"), query = score(report, tasks[i], "copy_query", "iou"),
                     example = score(report, tasks[i], "copy_example", "iou");
        if (!(model > query + 0.2 && model > example + 0.2))
            fail_msg("%s: IoU %.3f, of copies %.3f and %.3f", tasks[i], model, query, example);
    }
    cJSON_Delete(report);
    program_free(&r);
}

/* The program alone in a folder finds no model beside it. */
static void missing(void **state)
{
    (void)state;
    size_t size;
    unsigned char *program = read_bytes(TS_PROGRAM, &size);
    const char *alone = temp_path("tessera");
    write_bytes(alone, program, size);
    free(program);
    assert_int_equal(chmod(alone, 0700), 0);
    char command[600], line[512] = "";
    snprintf(command, sizeof command, "%s eval synthetic 2>&1", alone);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_non_null(strstr(line, "tessera eval: no default model is installed: name one with --model FILE"));
    assert_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 1 << 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_the_tasks), cmocka_unit_test(missing)};
    return cmocka_run_group_tests_name("default model", tests, NULL, NULL);
}
