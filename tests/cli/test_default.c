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
    assert_non_null(strstr(line, "tessera eval synthetic: no default model is installed: name one with --model FILE"));
    assert_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 1 << 8);
}

/* Who names no model is told what is taken; who names one, or wants no words, is not. */
static void told(void **state)
{
    (void)state;
    const char *model = TS_TESTS_DIR "/../assets/default.safetensors", *picture = kept_path("picture.png");
    if (!file_exists(model)) skip();
    write_picture(picture, 64, 64, 1);
    static const char words[] = "a small one trained on drawn figures, which paints 39 x 39 pixels; for photographs name another "
                                "with --model: published ones are at github.com/amirbar/visual_prompting";
    for (int i = 0; i < 3; i++) {
        const char *args[16] = {"run",
                                "-e",
                                picture,
                                picture,
                                "-q",
                                picture,
                                "-o",
                                temp_path("answer.png"),
                                "--views",
                                "1",
                                i == 1   ? "-Q"
                                : i == 2 ? "-m"
                                         : "--cell",
                                model};
        program_result r = program_run_list(args, i == 2 ? 12 : 11);
        if (r.status != 0) fail_msg("%s", r.err);
        assert_int_equal(strstr(r.err, words) != NULL, i == 0);
        program_free(&r);
    }
}

/* A file that is not there: where one is to be had. */
static void absent(void **state)
{
    (void)state;
    const char *picture = kept_path("picture.png"), *no = kept_path("no.pth"), *out = kept_path("out");
    write_picture(picture, 64, 64, 1);
    static const char mae[] =
        "no.pth is not there; published ones are at github.com/amirbar/visual_prompting, 'Pretrained Models'";
    assert_refused(program_run("run", "-m", no, "-e", picture, picture, "-q", picture, "-o", "a.png", NULL), 1, mae);
    assert_refused(program_run("eval", "synthetic", "-m", no, NULL), 1, mae);
    assert_refused(program_run("train", "mae", "--data", "figures:", "--steps", "1", "--out", out, "--vqgan", no, NULL), 1,
                   "no.pth is not there; the published one is vqgan_imagenet_f16_1024");
    assert_refused(program_run("clip", "embed", "--text", "a", "--out", temp_path("a.jsonl"), "-m", no, NULL), 1,
                   "no.pth is not there; OpenAI's are listed in clip/clip.py of github.com/openai/CLIP");
    assert_refused(program_run("model", "info", no, NULL), 1, "no.pth is not there; docs/models.md says where");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_the_tasks), cmocka_unit_test(missing), cmocka_unit_test(told),
                                       cmocka_unit_test(absent)};
    return cmocka_run_group_tests_name("default model", tests, NULL, NULL);
}
