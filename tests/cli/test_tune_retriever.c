/* test_tune_retriever.c - `tessera tune retriever` as a user does it, on a model of random weights: the files, the same bits
 * however often it is stopped, what `run` makes of the result, and what is refused. */
#include "../support/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAIRS = 24, SIDE = 24 };

static const char *pairs;

static int make_pairs(void **state)
{
    (void)state;
    pairs = kept_path("pairs");
    mkdir(pairs, 0755);
    for (int i = 0; i < PAIRS; i++) {
        write_picture(temp_path("pairs/p%02d.png", i), SIDE, SIDE, (uint64_t)i);
        write_picture(temp_path("pairs/p%02d_target.png", i), SIDE, SIDE, (uint64_t)(100 + i % 5));
    }
    return 0;
}

#define TUNE(folder, ...)                                                                                                        \
    program_run("tune", "retriever", pairs, "--model", random_model(), "--device", "cpu", "--candidates", "5", "--best", "2",    \
                "--epochs", "6", "--queries", "8", "--width", "16", "--save-every", "4", "--keep", "9", "--out", folder,         \
                __VA_ARGS__)

static program_result resume(const char *folder, const char *more, const char *value)
{
    return program_run("tune", "retriever", "--out", folder, "--resume", more, value, NULL);
}

static void whole(void **state)
{
    (void)state;
    const char *folder = kept_path("whole");
    cJSON *o = report(TUNE(folder, "--json", NULL));
    const cJSON *held = cJSON_GetObjectItem(o, "held_out");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "complete")));
    assert_int_equal((int)number(o, "candidates"), 5);
    assert_true(number(held, "pairs") == 2); /* a tenth of 24 */
    assert_true(number(held, "best") >= number(held, "learned") && number(held, "best") >= number(held, "any"));
    cJSON_Delete(o);
    static const char *const files[] = {"config.json", "scores.jsonl", "log.jsonl", "loss.png", "retriever.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) assert_true(file_exists(temp_path("whole/%s", files[i])));
    assert_false(file_exists(temp_path("whole/.lock")));
    const char *retriever = kept_path("whole/retriever.safetensors");
    program_result r = program_run("model", "info", retriever, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "retriever of examples"));
    program_free(&r);
    o = report(program_run("run", "--model", random_model(), "--device", "cpu", "--examples", pairs, "--by", retriever, "--top",
                           "2", "-q", temp_path("pairs/p03.png"), "-o", temp_path("a.png"), "--json", NULL));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(o, 0), "examples_found")), 2);
    cJSON_Delete(o);
    const char *other = temp_path("other.safetensors");
    succeed(program_run("model", "random", other, "--seed", "9", NULL));
    assert_refused(program_run("run", "--model", other, "--device", "cpu", "--examples", pairs, "--by", retriever, "-Q", "-q",
                               temp_path("pairs/p03.png"), "-o", temp_path("a.png"), NULL),
                   1, "another model");
}

static void cut_last_line(const char *path)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    write_bytes(path, bytes, size - 9);
    free(bytes);
}

/* Without the end of its scores, or of its steps. */
static void goes_on(void **state)
{
    (void)state;
    const char *folder = kept_path("stopped"), *retriever = kept_path("stopped/retriever.safetensors");
    succeed(TUNE(folder, "-Q", NULL));
    assert_true(same_bytes(retriever, temp_path("whole/retriever.safetensors")));
    unlink(retriever);
    unlink(temp_path("stopped/checkpoint-00000012.safetensors"));
    succeed(resume(folder, "-Q", NULL));
    assert_true(same_bytes(retriever, temp_path("whole/retriever.safetensors")));
    unlink(retriever);
    for (int step = 4; step <= 12; step += 4) unlink(temp_path("stopped/checkpoint-%08d.safetensors", step));
    cut_last_line(temp_path("stopped/scores.jsonl"));
    succeed(resume(folder, "-Q", NULL));
    assert_true(same_bytes(retriever, temp_path("whole/retriever.safetensors")));
    assert_true(same_bytes(temp_path("stopped/scores.jsonl"), temp_path("whole/scores.jsonl")));
    assert_refused(resume(folder, "--lr", "0.1"), 2, "--lr of a tuning that goes on cannot change");
    assert_refused(resume(folder, "--epochs", "9"), 2, "cannot change");
    assert_refused(resume(folder, pairs, NULL), 2, "has its folder of pairs already");
    assert_refused(TUNE(folder, "-Q", NULL), 2, "--resume goes on");
    write_text(temp_path("stopped/config.json"), "{\"kind\":\"tune retriever\",\"folders\":[3],\"options\":[]}");
    assert_refused(resume(folder, "-Q", NULL), 1, "is not the configuration");
}

static void refuses(void **state)
{
    (void)state;
    const char *few = temp_path("few");
    mkdir(few, 0755);
    for (int i = 0; i < 2; i++) {
        write_picture(temp_path("few/p%d.png", i), SIDE, SIDE, (uint64_t)i);
        write_picture(temp_path("few/p%d_target.png", i), SIDE, SIDE, (uint64_t)i);
    }
    assert_refused(
        program_run("tune", "retriever", few, "--model", random_model(), "--device", "cpu", "-Q", "--out", temp_path("t1"), NULL),
        1, "three at least");
    assert_refused(program_run("tune", "retriever", pairs, NULL), 2, "--out DIR");
    assert_refused(program_run("tune", "retriever", "--out", temp_path("t2"), NULL), 2, "a folder of pairs is missing");
    assert_refused(program_run("tune", "retriever", "/nowhere", "--out", temp_path("t2"), NULL), 2, "is no folder");
    assert_refused(program_run("tune", "retriever", pairs, "--by", "pixels", "--out", temp_path("t2"), NULL), 2,
                   "place by place");
    assert_refused(program_run("tune", "retriever", "--resume", "--out", temp_path("t2"), NULL), 2, "holds no tuning");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(goes_on), cmocka_unit_test(refuses)};
    return cmocka_run_group_tests_name("tune_retriever", tests, make_pairs, NULL);
}
