/* test_clip_train.c - `tessera clip train` as a user meets it: what is in the run's folder, that the other subcommands take its
 * model, that a run which was stopped, or whose pictures do not fit into memory, comes to the same bits, and what is refused. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clip/clip.h"

enum { MAX_WORDS = 60 };

/* Scenes with sentences, drawn once. */
static const char *scenes(void)
{
    static const char *folder;
    if (folder) return folder;
    folder = kept_path("scenes");
    succeed(program_run("figures", "--captions", folder, "--count", "30", "--size", "16", "--seed", "4", NULL));
    return folder;
}

/* The smallest training, 6 steps; `more` ends with NULL. */
static program_result train(const char *out, const char *const *more)
{
    const char *args[MAX_WORDS];
    const char *const words[] = {"clip",    "train",  "--data",       scenes(), "--out",    out,      "--image",      "16",
                                 "--patch", "8",      "--vision",     "16x1x2", "--text",   "12x1x3", "--embed",      "8",
                                 "--steps", "6",      "--batch",      "6",      "--merges", "40",     "--save-every", "2",
                                 "--seed",  "5",      "--threads",    "1",      "--device", "cpu",    "--lr",         "1e-3",
                                 "--val",   scenes(), "--eval-every", "3"};
    int n = sizeof words / sizeof *words;
    memcpy(args, words, sizeof words);
    for (; more && *more; more++) args[n++] = *more;
    return program_run_list(args, n);
}

static const char *whole_run(void)
{
    static const char *folder;
    if (folder) return folder;
    folder = kept_path("whole");
    succeed(train(folder, NULL));
    return folder;
}

static void assert_there(const char *folder, const char *name, bool wanted)
{
    if (file_exists(temp_path("%s/%s", folder, name)) != wanted)
        fail_msg("%s/%s is %s", folder, name, wanted ? "missing" : "there");
}

/* Writes `to` over the first `from` of a file. */
static void replace(const char *path, const char *from, const char *to)
{
    size_t size;
    char *text = (char *)read_bytes(path, &size), *at = strstr(text, from), *changed = NULL;
    assert_non_null(at);
    const int length = asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_bytes(path, changed, (size_t)length);
    free(changed);
    free(text);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void folder(void **state)
{
    (void)state;
    whole_run();
    static const char *const files[] = {"config.json",
                                        "log.jsonl",
                                        "loss.png",
                                        "checkpoint-00000006.safetensors",
                                        "model.safetensors",
                                        "best.safetensors",
                                        "bpe_simple_vocab_16e6.txt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) assert_there("whole", files[i], true);
    assert_there("whole", "checkpoint-00000002.safetensors", false); /* 3, 4 and 6 are the last three */
    size_t size;
    char *log = (char *)read_bytes(temp_path("whole/log.jsonl"), &size);
    int lines = 0, validations = 0;
    for (size_t i = 0; i < size; i++) lines += log[i] == '\n';
    for (char *at = log; (at = strstr(at, "\"validation_loss\"")); at++) validations++;
    assert_int_equal(lines, 8);
    assert_int_equal(validations, 2);
    free(log);
}

/* The vocabulary is found beside the model, and classify takes both. */
static void used_by_others(void **state)
{
    (void)state;
    ts_error err = {0};
    char model[600], picture[600];
    snprintf(model, sizeof model, "%s/model.safetensors", whole_run());
    snprintf(picture, sizeof picture, "%s/pictures/000000.png", scenes());
    ts_tokenizer *t = ts_tokenizer_find(model, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(ts_tokenizer_count(t), 512 + 40 + 2);
    ts_tokenizer_free(t);
    program_result r = program_run("clip", "classify", "--model", model, "--classes", "red circle,blue star", picture, "--json",
                                   "--device", "cpu", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "blue star"));
    program_free(&r);
    r = program_run("model", "check", model, NULL);
    succeed(r);
}

/* As if killed after its fourth step, in the middle of a checkpoint and of a line of the log. */
static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    whole_run();
    const char *out = kept_path("stopped");
    succeed(train(out, NULL));
    static const char *const gone[] = {"checkpoint-00000006.safetensors", "model.safetensors", "best.safetensors"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) assert_int_equal(unlink(temp_path("stopped/%s", gone[i])), 0);
    write_text(temp_path("stopped/checkpoint-00000005.safetensors"), "half");
    succeed(program_run("clip", "train", "--out", out, "--resume", NULL));
    assert_same(whole_run(), temp_path("stopped"), "model.safetensors");
    assert_same(whole_run(), temp_path("stopped"), "checkpoint-00000006.safetensors");
    assert_same(whole_run(), temp_path("stopped"), "best.safetensors");
}

/* Pictures that are read again in each step are the same pictures, whoever reads them. */
static void without_memory(void **state)
{
    (void)state;
    whole_run();
    const char *const more[] = {"--memory", "0", "--workers", "3", NULL};
    succeed(train(kept_path("poor"), more));
    assert_same(whole_run(), temp_path("poor"), "model.safetensors");
}

static void margin_and_fp16(void **state)
{
    (void)state;
    const char *const more[] = {"--margin", "4", "--fp16", "--weight-decay", "0", "--clip", "1", NULL};
    succeed(train(kept_path("cropped"), more));
    struct stat whole, half;
    whole_run();
    assert_int_equal(stat(temp_path("whole/model.safetensors"), &whole), 0);
    assert_int_equal(stat(temp_path("cropped/model.safetensors"), &half), 0);
    assert_true(2 * half.st_size < whole.st_size + 16384);
}

/* A second training from the first one's model, whose sizes and vocabulary it takes over. */
static void from_a_model(void **state)
{
    (void)state;
    char model[600];
    snprintf(model, sizeof model, "%s/model.safetensors", whole_run());
    program_result r = program_run("clip", "train", "--init", model, "--data", scenes(), "--out", kept_path("second"), "--epochs",
                                   "1", "--batch", "10", "--device", "cpu", "--threads", "1", "--json", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    cJSON *o = cJSON_Parse(r.out);
    assert_non_null(o);
    assert_int_equal(cJSON_GetObjectItem(o, "steps")->valueint, 3);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "complete")));
    assert_int_equal(cJSON_GetObjectItem(o, "vocabulary")->valueint, 512 + 40 + 2);
    cJSON_Delete(o);
    program_free(&r);
    assert_same(whole_run(), temp_path("second"), "bpe_simple_vocab_16e6.txt");
    assert_refused(program_run("clip", "train", "--init", model, "--data", scenes(), "--out", kept_path("third"), "--steps", "1",
                               "--embed", "4", NULL),
                   2, "--init has sizes");
}

/* What the command line refuses is refused in a changed configuration too. */
static void changed_configuration(void **state)
{
    (void)state;
    const char *out = kept_path("changed"), *config = kept_path("changed/config.json");
    succeed(train(out, (const char *const[]){"--steps", "2", NULL}));
    static const char *const was[] = {"\"save_every\":\t2", "\"eval_every\":\t3", "\"keep\":\t3", "\"batch\":\t6"};
    static const char *const now[] = {"\"save_every\":\t0", "\"eval_every\":\t0", "\"keep\":\t0", "\"batch\":\t0"};
    for (int i = 0; i < 4; i++) {
        replace(config, was[i], now[i]);
        assert_refused(program_run("clip", "train", "--out", out, "--resume", NULL), 1, "config.json");
        replace(config, now[i], was[i]);
    }
}

static void write_list(const char *name, const char *text)
{
    write_text(temp_path("%s", name), text);
}

static void refused(void **state)
{
    (void)state;
    const char *out = kept_path("refused");
    assert_refused(program_run("clip", "train", "--out", out, "--steps", "3", NULL), 2, "--data");
    assert_refused(program_run("clip", "train", "--data", scenes(), "--steps", "3", NULL), 2, "--out");
    assert_refused(program_run("clip", "train", "--data", scenes(), "--out", out, NULL), 2, "--steps");
    assert_refused(program_run("clip", "train", "--data", scenes(), "--out", out, "--steps", "3", "--vision", "30x2", NULL), 2,
                   "--vision 30x2");
    assert_refused(program_run("clip", "train", "--data", scenes(), "--out", out, "--steps", "3", "--patch", "7", NULL), 2,
                   "patches of 7");
    assert_refused(train(whole_run(), NULL), 2, "--resume");
    assert_refused(program_run("clip", "train", "--out", whole_run(), "--resume", "--embed", "4", NULL), 2, "sizes");
    assert_refused(program_run("clip", "train", "--data", scenes(), "--out", out, "--steps", "3", "--batch", "31", NULL), 1,
                   "lower --batch");
    assert_refused(program_run("clip", "train", "--data", kept_path("nothing"), "--out", out, "--steps", "3", NULL), 1,
                   "nothing");
    static const struct {
        const char *list, *word;
    } lists[] = {
        {"\n\n", "lists no picture"},
        {"{\"file\": \"a.png\", \"text\": \"aa aa\"}\n{\"file\": \"b.png\"}\n", "line 2 has no \"text\""},
        {"{\"file\": \"a.png\", \"text\": \"aa aa\"}\nhello\n", "line 2 is no object"},
        {"{\"file\": \"a.png\", \"text\": \"aa aa\"}\n{\"file\": \"b.png\", \"text\": \"aa\"}\n", "a.png"},
        {"{\"file\": \"a.png\", \"text\": \"a\"}\n{\"file\": \"b.png\", \"text\": \"b\"}\n", "no vocabulary to learn"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char list[64];
        snprintf(list, sizeof list, "list-%zu.jsonl", i);
        write_list(list, lists[i].list);
        assert_refused(program_run("clip", "train", "--data", kept_path(list), "--out", out, "--steps", "3", "--batch", "2",
                                   "--quiet", "--device", "cpu", NULL),
                       1, lists[i].word);
    }
    assert_refused(program_run("clip", "train", "--data", scenes(), "--out", out, "--steps", "3", "--context", "4", "--batch",
                               "2", "--quiet", "--device", "cpu", NULL),
                   1, "line 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(folder),
                                       cmocka_unit_test(used_by_others),
                                       cmocka_unit_test(resumes_to_the_same_bits),
                                       cmocka_unit_test(without_memory),
                                       cmocka_unit_test(margin_and_fp16),
                                       cmocka_unit_test(from_a_model),
                                       cmocka_unit_test(changed_configuration),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("cli clip train", tests, NULL, NULL);
}
