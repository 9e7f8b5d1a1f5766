/* test_clip_tune.c - `tessera clip tune` and `clip eval` as a user meets them: a tuning of every kind from the command line,
 * stopped and killed ones that go on to the same bits, seeds, halves of the classes, and one clear sentence for what is wrong.
 * The small golden model's weights are random; the pictures are of plain colours, so that even it can tell some apart. */
#include "../support/clip_library.h"
#include "../support/process.h"
#include "../support/report.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WITH_MODEL "--model", MODEL, "--vocab", VOCAB, "--device", "cpu", "--threads", "1"

enum { CLASSES = 4, EACH = 10, MAX_WORDS = 60 };
static const char *const class_names[CLASSES] = {"blue_sky", "green_tree", "grey_wall", "red_rose"};

static void write_colour(const char *path, int class, uint64_t seed)
{
    static const int colours[CLASSES][3] = {{40, 60, 220}, {40, 190, 50}, {128, 128, 128}, {210, 40, 50}};
    ts_image img;
    ts_error err = {0};
    assert_true(ts_image_new(72, 70, &img, &err));
    for (int i = 0; i < 72 * 70 * 3; i++) img.data[i] = (uint8_t)(colours[class][i % 3] - 30 + (int)(60 * test_uniform(&seed)));
    if (!ts_image_save(path, &img, &err)) fail_msg("%s", err.text);
    ts_image_clear(&img);
}

/* A folder a class, made once. */
static const char *data(void)
{
    static const char *folder;
    if (folder) return folder;
    assert_int_equal(mkdir(temp_path("data"), 0700), 0);
    for (int k = 0; k < CLASSES; k++) {
        assert_int_equal(mkdir(temp_path("data/%s", class_names[k]), 0700), 0);
        for (int i = 0; i < EACH; i++) write_colour(temp_path("data/%s/%d.png", class_names[k], i), k, (uint64_t)(k * EACH + i));
    }
    return folder = kept_path("data");
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* A tuning of 24 steps. */
static void coop_args(const char **args, const char *out)
{
    const char *const words[] = {"clip",      "tune", "coop",         WITH_MODEL, "--data",       data(), "--out",   out,
                                 "--shots",   "4",    "--ctx",        "4",        "--epochs",     "12",   "--batch", "8",
                                 "--lr",      "0.02", "--save-every", "3",        "--eval-every", "4",    "--seed",  "5",
                                 "--no-eval", NULL};
    memcpy(args, words, sizeof words);
}

static program_result tune_coop(const char *out)
{
    const char *args[MAX_WORDS];
    int n = 0;
    coop_args(args, out);
    while (args[n]) n++;
    return program_run_list(args, n);
}

static const char *whole_run(double *seconds)
{
    static const char *path;
    static double took;
    if (!path) {
        path = kept_path("whole");
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        succeed(tune_coop(path));
        clock_gettime(CLOCK_MONOTONIC, &b);
        took = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    }
    if (seconds) *seconds = took;
    return path;
}

static program_result resume(const char *out)
{
    return program_run("clip", "tune", "coop", "--out", out, "--resume", "--no-eval", NULL);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void folder(void **state)
{
    (void)state;
    need_model();
    const char *out = whole_run(NULL);
    static const char *const files[] = {"config.json", "log.jsonl", "loss.png", "prompt.safetensors",
                                        "checkpoint-00000024.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!file_exists(temp_path("whole/%s", files[i]))) fail_msg("%s is missing", files[i]);
    assert_false(file_exists(temp_path("whole/checkpoint-00000003.safetensors"))); /* the last two are kept */
    size_t size;
    char *log = (char *)read_bytes(temp_path("whole/log.jsonl"), &size), *rest = log;
    int steps = 0, validations = 0;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        cJSON *o = cJSON_Parse(line);
        if (cJSON_HasObjectItem(o, "validation_accuracy")) validations++;
        else assert_int_equal(number(o, "step"), ++steps);
        cJSON_Delete(o);
    }
    assert_int_equal(steps, 24);
    assert_int_equal(validations, 3);
    free(log);
    assert_refused(tune_coop(out), 2, "--resume");
    assert_refused(program_run("clip", "tune", "upt", "--out", out, "--resume", NULL), 1, "a tuning by coop, not by upt");
}

static void stopped(void **state)
{
    (void)state;
    need_model();
    const char *whole = whole_run(NULL), *out = kept_path("stopped"), *args[MAX_WORDS];
    const char *first = kept_path("stopped/checkpoint-00000003.safetensors");
    coop_args(args, out);
    const pid_t pid = spawn(args, 0);
    for (int i = 0; i < 3000 && !file_exists(first); i++) sleep_for(0.002);
    kill(pid, SIGINT);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGINT);
    assert_false(file_exists(kept_path("stopped/prompt.safetensors")));
    succeed(resume(out));
    assert_same(whole, out, "prompt.safetensors");
    assert_same(whole, out, "checkpoint-00000024.safetensors");
    succeed(resume(out)); /* complete: nothing changes */
    assert_same(whole, out, "prompt.safetensors");
}

static void killed(void **state)
{
    (void)state;
    need_model();
    double seconds;
    const char *whole = whole_run(&seconds), *out = kept_path("killed"), *args[MAX_WORDS];
    int n = 0;
    coop_args(args, out);
    while (args[n]) n++;
    args[n++] = "--resume";
    args[n] = NULL;
    uint64_t seed = 11;
    const char *config = kept_path("killed/config.json");
    for (int i = 0; i < 4; i++) {
        args[n - 1] = file_exists(config) ? "--resume" : NULL;
        const pid_t pid = spawn(args, 0);
        sleep_for(1.1 * seconds * test_uniform(&seed));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    args[n - 1] = "--resume";
    succeed(program_run_list(args, file_exists(config) ? n : n - 1));
    assert_same(whole, out, "prompt.safetensors");
    assert_same(whole, out, "checkpoint-00000024.safetensors");
    assert_same(whole, out, "loss.png");
    assert_false(file_exists(kept_path("killed/.lock")));
}

/* One tuning, one folder; and what a tuning that goes on keeps. */
static void kept_as_begun(void **state)
{
    (void)state;
    need_model();
    const char *whole = whole_run(NULL), *out = kept_path("endless"), *args[MAX_WORDS];
    int n = 0;
    coop_args(args, out);
    while (args[n]) n++;
    args[n++] = "--epochs";
    args[n++] = "100000";
    args[n] = NULL;
    const pid_t pid = spawn(args, 0);
    const char *first = kept_path("endless/checkpoint-00000003.safetensors");
    for (int i = 0; i < 3000 && !file_exists(first); i++) sleep_for(0.002);
    assert_refused(resume(out), 1, "in use by another training (process");
    kill(pid, SIGTERM);
    assert_int_equal(wait_for(pid), 128 + SIGTERM);
    assert_refused(program_run("clip", "tune", "coop", "--out", whole, "--resume", "--ctx", "5", NULL), 2, "--ctx");
    assert_refused(program_run("clip", "tune", "coop", "--out", whole, "--resume", "--shots", "5", NULL), 2, "--shots");
    assert_refused(program_run("clip", "tune", "coop", "--out", whole, "--resume", "--seeds", "5,6", NULL), 2, "--seeds");
    assert_refused(
        program_run("clip", "tune", "coop", "--out", whole, "--resume", "--epochs", "3", "--device", "cpu", "-Q", NULL), 1,
        "more epochs");
    assert_refused(program_run("clip", "tune", "coop", "--out", kept_path("none"), "--resume", NULL), 2, "holds no tuning");
    assert_false(file_exists(kept_path("none")));
}

/* Seeds in folders of their own; base and new classes; the report. */
static void seeds(void **state)
{
    (void)state;
    need_model();
    const char *out = kept_path("seeds");
    cJSON *o = report(program_run("clip", "tune", "cocoop", WITH_MODEL, "--data", data(), "--out", out, "--shots", "2", "--seeds",
                                  "3,4", "--base-to-new", "--epochs", "1", "--no-augment", "--json", NULL));
    const cJSON *runs = cJSON_GetObjectItem(o, "runs");
    assert_int_equal(cJSON_GetArraySize(runs), 2);
    assert_true(number(cJSON_GetObjectItem(o, "zero_shot"), "new") >= 0);
    for (int i = 0; i < 2; i++) {
        const cJSON *run = cJSON_GetArrayItem(runs, i);
        assert_int_equal(number(run, "seed"), 3 + i);
        assert_int_equal(number(run, "steps"), 4); /* two classes, two pictures each, one by one */
        const double b = number(run, "base"), w = number(run, "new");
        assert_true(fabs(number(run, "harmonic_mean") - (b + w > 0 ? 2 * b * w / (b + w) : 0)) < 1e-6);
        assert_true(file_exists(temp_path("seeds/seed-%d/prompt.safetensors", 3 + i)));
    }
    cJSON_Delete(o);
    /* The same figures when they are measured again. */
    const char *one = kept_path("seeds/seed-3/prompt.safetensors"), *two = kept_path("seeds/seed-4/prompt.safetensors");
    o = report(program_run("clip", "eval", WITH_MODEL, "--data", data(), "--half", "both", "-p", one, "-p", two, "--json",
                           "--words", "2", NULL));
    const cJSON *prompts = cJSON_GetObjectItem(o, "prompts"), *first = cJSON_GetArrayItem(prompts, 0);
    assert_int_equal(cJSON_GetArraySize(prompts), 2);
    assert_string_equal(cJSON_GetObjectItem(first, "method")->valuestring, "cocoop");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(first, "base"), "classes")), 2);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(first, "words")), 4); /* "a photo of a" */
    assert_true(number(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "mean"), "new"), "deviation") >= 0);
    cJSON_Delete(o);
}

/* Every method from the command line, with an option of its own; the table of an evaluation. */
static void methods(void **state)
{
    (void)state;
    need_model();
    static const char *const options[][4] = {{"coop", "--csc"},
                                             {"cocoop", "--init", "a picture of"},
                                             {"vp-padding", "--pixels", "9"},
                                             {"vp-fixed", "--pixels", "9"},
                                             {"vp-random", "--pixels", "9"},
                                             {"reprogram", "--pixels", "32"},
                                             {"vpt-shallow", "--tokens", "3"},
                                             {"vpt-deep", "--tokens", "2"},
                                             {"upt", "--attention", "degenerate"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *const *o = options[i], *out = kept_path(o[0]);
        const char *args[] = {"clip", "tune",    o[0], WITH_MODEL, "--data", data(), "--out",
                              out,    "--shots", "1",  "--epochs", "1",      o[1],   o[2]};
        program_result r = program_run_list(args, (int)(sizeof args / sizeof *args) - (o[2] ? 0 : 1));
        if (r.status != 0) fail_msg("%s: %s", o[0], r.err);
        if (!strstr(r.out, "prompt.safetensors") || !strstr(r.out, "zero-shot")) fail_msg("%s: %s", o[0], r.out);
        program_free(&r);
    }
    const char *picture = kept_path("frame.png"), *prompt = kept_path("vp-padding/prompt.safetensors");
    program_result r = program_run("clip", "eval", WITH_MODEL, "--data", data(), "--prompt", prompt, "--picture", picture,
                                   "--template", "a {}", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "grey wall"));
    assert_non_null(strstr(r.out, "mean over the classes"));
    program_free(&r);
    ts_image img;
    ts_error err = {0};
    assert_true(ts_image_load(picture, &img, &err));
    assert_int_equal(img.width, 64);
    ts_image_clear(&img);
}

/* What a tuned prompt says of pictures, of its own classes and of others. */
static void classify(void **state)
{
    (void)state;
    need_model();
    static const char *const by[] = {"upt", "cocoop"}; /* of test `methods` */
    const char *rose = kept_path("data/red_rose/1.png");
    for (int i = 0; i < 2; i++) {
        const char *prompt = kept_path(by[i]);
        char file[600];
        snprintf(file, sizeof file, "%s/prompt.safetensors", prompt);
        cJSON *o = report(program_run("clip", "classify", rose, WITH_MODEL, "--prompt", file, "--json", NULL));
        assert_int_equal(number(o, "classes"), CLASSES);
        const cJSON *guesses = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(o, "pictures"), 0), "classes");
        double sum = 0;
        for (int k = 0; k < CLASSES; k++) sum += number(cJSON_GetArrayItem(guesses, k), "probability");
        assert_true(fabs(sum - 1) < 1e-5);
        cJSON_Delete(o);
        program_result r = program_run("clip", "classify", rose, WITH_MODEL, "--prompt", file, "--classes", "cat,dog", NULL);
        if (r.status != 0 || !strstr(r.out, "dog")) fail_msg("%s%s", r.out, r.err);
        program_free(&r);
    }
    char own[600];
    snprintf(own, sizeof own, "%s/prompt.safetensors", kept_path("coop"));
    assert_refused(program_run("clip", "classify", rose, WITH_MODEL, "--prompt", own, "--classes", "cat,dog", NULL), 1,
                   "cannot serve 2");
    assert_refused(program_run("clip", "classify", rose, WITH_MODEL, "--prompt", own, "--template", "a {}", NULL), 2, "--prompt");
}

static void gone_wrong(void **state)
{
    (void)state;
    need_model();
    program_result r =
        program_run("clip", "tune", "vpt-shallow", WITH_MODEL, "--data", data(), "--out", kept_path("wrong"), "--lr", "9e4",
                    "--weight-decay", "900", "--warmup", "0", "--epochs", "200", "--save-every", "1", NULL);
    assert_int_equal(r.status, 1);
    if (!strstr(r.err, "--lr") || !strstr(r.err, "last good checkpoint")) fail_msg("%s", r.err);
    program_free(&r);
}

static const char *broken_data(const char *name, const char *const *folders, bool with_pictures)
{
    assert_int_equal(mkdir(temp_path("%s", name), 0700), 0);
    for (; *folders; folders++) {
        assert_int_equal(mkdir(temp_path("%s/%s", name, *folders), 0700), 0);
        for (int i = 0; with_pictures && i < 4; i++) write_colour(temp_path("%s/%s/%d.png", name, *folders, i), 0, (uint64_t)i);
    }
    return kept_path(name);
}

static program_result tune_of(const char *path, const char *more, const char *value)
{
    return program_run("clip", "tune", "coop", WITH_MODEL, "--data", path, "--out", kept_path("refused"), "--epochs", "1", more,
                       value, NULL);
}

static void refused(void **state)
{
    (void)state;
    need_model();
    const char *out = kept_path("refused");
    assert_refused(program_run("clip", "tune", NULL), 2, "vpt-deep");
    assert_refused(program_run("clip", "tune", "coup", NULL), 2, "there is no method coup");
    assert_refused(program_run("clip", "tune", "coop", NULL), 2, "--out");
    assert_refused(program_run("clip", "tune", "coop", "--out", out, NULL), 2, "--model");
    assert_refused(program_run("clip", "tune", "coop", "--out", out, "--model", MODEL, NULL), 2, "--data");
    assert_refused(tune_of(data(), "--shots", "0"), 2, "--shots");
    assert_refused(tune_of(data(), "--seeds", "1,1"), 2, "--seeds");
    assert_refused(tune_of(data(), "--template", "a photo"), 2, "{}");
    assert_refused(tune_of("/nonexistent", NULL, NULL), 1, "/nonexistent");
    assert_refused(tune_of(broken_data("empty", (const char *const[]){"cat", NULL}, false), NULL, NULL), 1, "cat");
    assert_refused(tune_of(broken_data("twice", (const char *const[]){"red_rose", "red rose", NULL}, true), NULL, NULL), 1,
                   "red rose");
    char word[200] = "";
    for (int i = 0; i < 24; i++) strcat(word, "catfish ");
    word[strlen(word) - 1] = '\0';
    assert_refused(tune_of(broken_data("long", (const char *const[]){"dog", word, NULL}, true), "--ctx", "60"), 1, "too long");
    /* Another model's vocabulary, and prompts that do not fit. */
    const char *other = kept_path("other.txt");
    write_text(other, "#version: 0.2\na b\nc d\n");
    program_result r = program_run("clip", "tune", "coop", "--model", MODEL, "--vocab", other, "--device", "cpu", "--data",
                                   data(), "--out", out, NULL);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.err, "other.txt"));
    program_free(&r);
    const char *own = kept_path("coop/prompt.safetensors"); /* of test `methods`: context per class */
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", data(), "--half", "base", "-p", own, "--quiet", NULL), 1,
                   "cannot serve 2");
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", data(), "-p", MODEL, NULL), 1, "clip_tiny.pt");
    assert_refused(program_run("clip", "eval", WITH_MODEL, "--data", data(), "-p", "/nonexistent", NULL), 1, "/nonexistent");
    assert_refused(program_run("clip", "eval", WITH_MODEL, NULL), 2, "--data");
    assert_refused(program_run("clip", "eval", "--data", data(), NULL), 2, "--model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folder),        cmocka_unit_test(stopped),    cmocka_unit_test(killed),
                                       cmocka_unit_test(kept_as_begun), cmocka_unit_test(seeds),      cmocka_unit_test(methods),
                                       cmocka_unit_test(classify),      cmocka_unit_test(gone_wrong), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("clip tune", tests, NULL, NULL);
}
