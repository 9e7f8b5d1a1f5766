/* test_left_out.c - broken pictures in data sets: named, left out and counted by exit status 3, also with --quiet, wherever
 * pictures are read to learn from or to measure with; and with --strict a failure. */
#include "../support/clip_library.h"
#include "../support/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_MODEL "--model", MODEL, "--vocab", VOCAB, "--device", "cpu", "--threads", "1"

enum { EACH = 10 };

/* Two classes of ten pictures, of each class all of `first` ... `last` broken, and an empty folder beside. */
static const char *make_data(const char *name, int first, int last)
{
    const char *folder = make_empty_folder(name);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(mkdir(temp_path("%s/%c", name, 'a' + k), 0777), 0);
        for (int i = 0; i < EACH; i++) {
            const char *path = temp_path("%s/%c/%d.png", name, 'a' + k, i);
            write_picture(path, 40, 40, (uint64_t)(k * EACH + i));
            if (i >= first && i <= last) truncate_picture(path);
        }
    }
    return folder;
}

static void assert_left_out(program_result r, const char *count)
{
    if (r.status != 3 || !strstr(r.err, count)) fail_msg("status %d: %s", r.status, r.err);
    program_free(&r);
}

static void eval_counts_what_is_left(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_data("eval", 3, 4), *all = make_data("none", 0, EACH - 1);
    int whole = 0;
    cJSON *o = partial_report(program_run("clip", "eval", WITH_MODEL, "--data", folder, "--json", NULL));
    const cJSON *classes = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "zero_shot"), "all"), "classes");
    for (int k = 0; k < 2; k++) whole += (int)number(cJSON_GetArrayItem(classes, k), "pictures");
    assert_true(whole > 0 && whole < 6); /* three of ten are to test with */
    cJSON_Delete(o);
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", folder, "--strict", "-Q", NULL), 1, ".png");
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", all, "-Q", NULL), 1, "can be read; the first: ");
}

/* An empty class is none, and a link that leads nowhere is a picture that cannot be read. */
static void untidy_classes(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_data("untidy", 1, 0);
    assert_int_equal(mkdir(temp_path("untidy/void"), 0777), 0);
    write_text(temp_path("untidy/a/notes.txt"), "x");
    program_result r = program_run("clip", "eval", WITH_MODEL, "--data", folder, "--json", NULL);
    assert_non_null(strstr(r.err, "left out: class folder "));
    assert_non_null(strstr(r.err, "untidy/void holds no picture"));
    assert_non_null(strstr(r.err, "untidy: passed over 1 file of other kinds (1 .txt)"));
    cJSON *o = partial_report(r);
    const cJSON *zero = cJSON_GetObjectItem(cJSON_GetObjectItem(o, "zero_shot"), "all");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(zero, "classes")), 2);
    cJSON_Delete(o);
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", folder, "--strict", "-Q", NULL), 1, "holds no picture");
    assert_left_out(program_run("clip", "tune", "coop", WITH_MODEL, "--data", folder, "--ctx", "2", "--epochs", "1", "--batch",
                                "4", "--no-eval", "-Q", "--out", temp_path("untidy_out"), NULL),
                    "1 input was left out: class folder ");
    assert_int_equal(rmdir(temp_path("untidy/void")), 0);
    for (int i = 0; i < 9; i++) assert_int_equal(symlink("nowhere", temp_path("untidy/b/x%d.png", i)), 0);
    assert_left_out(program_run("clip", "eval", WITH_MODEL, "--data", folder, "-Q", NULL), "cannot open the picture ");
}

/* What is frozen is computed once, or every step has its own crops: a broken picture's place is taken by another. */
static void tune_goes_on(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_data("tune", 2, 5);
#define TUNE                                                                                                                     \
    "clip", "tune", "coop", WITH_MODEL, "--data", folder, "--ctx", "2", "--epochs", "2", "--batch", "4", "--no-eval", "-Q"
    assert_left_out(program_run(TUNE, "--out", temp_path("plain"), "--no-augment", NULL), "left out, the first: ");
    assert_left_out(program_run(TUNE, "--out", temp_path("crops"), NULL), "left out, the first: ");
    assert_true(file_exists(temp_path("plain/prompt.safetensors")));
    assert_true(file_exists(temp_path("crops/prompt.safetensors")));
    assert_refused(program_run(TUNE, "--out", temp_path("strict"), "--strict", "--no-augment", NULL), 1, ".png");
    assert_false(file_exists(temp_path("strict/prompt.safetensors")));
}

/* Kept in memory, pairs are left out of the list; read anew in each step, they are replaced. */
static void captions(void **state)
{
    (void)state;
    const char *folder = make_empty_folder("captions");
    FILE *f = fopen(temp_path("captions/captions.jsonl"), "w");
    assert_non_null(f);
    for (int i = 0; i < 8; i++) {
        const char *path = temp_path("captions/%d.png", i);
        write_picture(path, 40, 40, (uint64_t)i);
        if (i == 2 || i == 7) truncate_picture(path);
        fprintf(f, "{\"file\":\"%d.png\",\"text\":\"thing number %d\"}\n", i, i);
    }
    fclose(f);
#define TRAIN                                                                                                                    \
    "clip", "train", "--data", folder, "--device", "cpu", "--threads", "1", "--steps", "6", "-Q", "--image", "32", "--merges", "8"
    assert_left_out(program_run(TRAIN, "--out", temp_path("kept"), "--batch", "3", NULL), "2 inputs were left out, the first: ");
    assert_true(file_exists(temp_path("kept/model.safetensors")));
    assert_refused(program_run(TRAIN, "--out", temp_path("few"), "--batch", "7", NULL), 1, "lists 6 pictures");
    assert_refused(program_run(TRAIN, "--out", temp_path("never"), "--batch", "3", "--strict", NULL), 1, ".png");
    assert_false(file_exists(temp_path("never/model.safetensors")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(eval_counts_what_is_left), cmocka_unit_test(untidy_classes),
                                       cmocka_unit_test(tune_goes_on), cmocka_unit_test(captions)};
    return cmocka_run_group_tests_name("left out", tests, NULL, NULL);
}
