/* test_clip.c - `tessera clip classify` and `embed` as a user meets them: answers that are the library's, and one clear sentence
 * for what is wrong. The small golden model's weights are random: what it thinks of a picture means nothing, but it must always
 * think the same. */
#include "../support/clip_library.h"
#include "../support/models.h"
#include "../support/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WITH_MODEL "--model", MODEL, "--vocab", VOCAB, "--device", "cpu"

/* ---- classify ---------------------------------------------------------------------------------------------------- */

/* Probabilities that sum to 1, the likeliest first, and logits that are the library's. */
static void classify_is_the_librarys(void **state)
{
    (void)state;
    need_model();
    static const char *const names[] = {"cat", "dog", "fire engine"};
    static const char *const templates[] = {"a photo of a {}.", "art of the {}."};
    const char *folder = make_folder("classify");
    char picture[512];
    snprintf(picture, sizeof picture, "%s/b.jpg", folder);
    const char *file = kept_path("templates.txt");
    write_text(file, "# comment\na photo of a {}.\n\nart of the {}.\n");
    cJSON *o = report(program_run("clip", "classify", picture, WITH_MODEL, "--classes", "cat, dog", "--classes", "fire engine",
                                  "--templates", file, "--json", NULL));
    const cJSON *pictures = cJSON_GetObjectItem(o, "pictures"), *guess;
    assert_int_equal(cJSON_GetArraySize(pictures), 1);
    assert_string_equal(text(cJSON_GetArrayItem(pictures, 0), "file"), picture);
    assert_true(number(o, "classes") == 3 && number(o, "templates") == 2);

    library l = open_library();
    ts_error err = {0};
    float *classes = malloc(3 * (size_t)l.embed * sizeof *classes), *features = picture_features(&l, picture), logits[3];
    if (!ts_clip_classifier(l.clip, l.tokenizer, names, 3, templates, 2, false, classes, &err)) fail_msg("%s", err.text);
    ts_clip_logits(l.clip, features, 1, classes, 3, logits);
    double sum = 0, before = 2;
    cJSON_ArrayForEach(guess, cJSON_GetObjectItem(cJSON_GetArrayItem(pictures, 0), "classes"))
    {
        const double p = number(guess, "probability");
        assert_true(p <= before);
        before = p;
        sum += p;
        for (int k = 0; k < 3; k++)
            if (strcmp(text(guess, "class"), names[k]) == 0) assert_true(fabs(number(guess, "logit") - (double)logits[k]) < 1e-3);
    }
    assert_true(fabs(sum - 1) < 1e-9);
    free(classes);
    free(features);
    close_library(&l);
    cJSON_Delete(o);
}

/* Files and folders, below too, in a table; --top; classes named by folders and by a file. */
static void classify_prints(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("table");
    const char *names = kept_path("names.txt");
    write_text(names, "tabby cat\n\xc3\xa9tang\n");
    program_result r =
        program_run("clip", "classify", folder, WITH_MODEL, "--classes-file", names, "--classes", "dog", "--top", "2", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    int lines = 0;
    for (const char *c = r.out; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, 6);
    assert_non_null(strstr(r.out, "below/c.png"));
    assert_null(strstr(r.out, "notes.txt"));
    assert_non_null(strstr(r.out, " %\n"));
    assert_non_null(strstr(r.err, "device: "));
    program_free(&r);
    r = program_run("clip", "classify", "-Q", folder, WITH_MODEL, "--classes", "dog,cat", NULL);
    assert_string_equal(r.err, "");
    assert_non_null(strstr(r.out, " %\n"));
    program_free(&r);
}

static void classes_from_folders(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_empty_folder("kinds");
    static const char *const kinds[] = {"fire_engine", "dog"};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(mkdir(temp_path("kinds/%s", kinds[k]), 0777), 0);
        for (int i = 0; i < 4; i++) write_picture(temp_path("kinds/%s/%d.png", kinds[k], i), 20, 20, (uint64_t)i);
    }
    cJSON *o = report(program_run("clip", "classify", temp_path("kinds/dog/1.png"), WITH_MODEL, "--classes-from", folder,
                                  "--json", "--top", "9", NULL));
    const cJSON *guesses = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(o, "pictures"), 0), "classes");
    assert_int_equal(cJSON_GetArraySize(guesses), 2);
    int engines = 0;
    for (int k = 0; k < 2; k++) engines += strcmp(text(cJSON_GetArrayItem(guesses, k), "class"), "fire engine") == 0;
    assert_int_equal(engines, 1);
    cJSON_Delete(o);
}

/* More pictures than a batch holds, some of them broken: each keeps its own answer, whatever the number of threads. */
static void many_pictures(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_empty_folder("many");
    for (int i = 0; i < 75; i++) write_picture(temp_path("many/%02d.png", i), 30 + i, 40, (uint64_t)i);
    for (int i = 3; i < 75; i += 30) truncate_picture(temp_path("many/%02d.png", i));
    cJSON *o[2];
    static const char *const threads[] = {"1", "3"};
    for (int k = 0; k < 2; k++)
        o[k] = partial_report(
            program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", "--json", "--threads", threads[k], NULL));
    const cJSON *many = cJSON_GetObjectItem(o[0], "pictures");
    assert_int_equal(cJSON_GetArraySize(many), 72);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o[0], "skipped")), 3);
    const cJSON *again = cJSON_GetObjectItem(o[1], "pictures");
    for (int i = 0; i < 72; i++) { /* with other threads sums may be split otherwise: the last digits differ */
        const cJSON *a = cJSON_GetArrayItem(many, i), *b = cJSON_GetArrayItem(again, i);
        const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(a, "classes"), 0),
                    *second = cJSON_GetArrayItem(cJSON_GetObjectItem(b, "classes"), 0);
        assert_string_equal(text(a, "file"), text(b, "file"));
        assert_string_equal(text(first, "class"), text(second, "class"));
        assert_true(fabs(number(first, "logit") - number(second, "logit")) < 1e-3);
    }
    for (int i = 0; i < 72; i += 71) {
        const cJSON *item = cJSON_GetArrayItem(many, i);
        cJSON *one =
            report(program_run("clip", "classify", text(item, "file"), WITH_MODEL, "--classes", "cat,dog", "--json", NULL));
        const cJSON *a = cJSON_GetArrayItem(cJSON_GetObjectItem(item, "classes"), 0);
        const cJSON *b =
            cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(one, "pictures"), 0), "classes"), 0);
        assert_string_equal(text(a, "class"), text(b, "class"));
        assert_true(fabs(number(a, "logit") - number(b, "logit")) < 1e-3);
        cJSON_Delete(one);
    }
    for (int k = 0; k < 2; k++) cJSON_Delete(o[k]);
}

/* ---- broken pictures --------------------------------------------------------------------------------------------- */

static void broken_pictures(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("broken");
    truncate_picture(temp_path("broken/b.jpg"));
    program_result r = program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", NULL);
    if (r.status != 3 || strstr(r.out, "b.jpg")) fail_msg("status %d: %s", r.status, r.out);
    assert_non_null(strstr(r.err, "left out: "));
    assert_non_null(strstr(r.err, "b.jpg"));
    assert_non_null(strstr(r.err, "passed over 1 file of other kinds (1 .txt)"));
    program_free(&r);
    r = program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", "--quiet", NULL);
    assert_int_equal(r.status, 3);
    assert_int_equal(strncmp(r.err, "tessera clip classify: done, but 1 input was left out: ", 55), 0);
    assert_non_null(strstr(r.err, "b.jpg"));
    assert_string_equal(strchr(r.err, '\n'), "\n");
    program_free(&r);
    assert_refused(program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", "--strict", NULL), 1, "b.jpg");
    assert_refused(program_run("clip", "classify", temp_path("broken/b.jpg"), WITH_MODEL, "--classes", "cat,dog", NULL), 1,
                   "b.jpg");
    truncate_picture(temp_path("broken/a.png"));
    truncate_picture(temp_path("broken/below/c.png"));
    assert_refused(program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", NULL), 1,
                   "none of the 3 pictures");
    assert_refused(program_run("clip", "search", folder, WITH_MODEL, "--like", temp_path("broken/a.png"), NULL), 1, "a.png");
    const char *out = kept_path("broken.safetensors");
    assert_refused(program_run("clip", "embed", folder, WITH_MODEL, "--out", out, NULL), 1, "none of the 3 pictures");
    assert_false(file_exists(out));
}

/* ---- embed ------------------------------------------------------------------------------------------------------- */

static void embed_pictures(void **state)
{
    (void)state;
    need_model();
    const char *folder = make_folder("embed"), *out = kept_path("pictures.safetensors");
    truncate_picture(temp_path("embed/b.jpg"));
    program_result r = program_run("clip", "embed", folder, WITH_MODEL, "--out", out, NULL);
    if (r.status != 3) fail_msg("%s", r.err);
    assert_ptr_equal(strstr(r.out, out), r.out);
    program_free(&r);
    ts_error err = {0};
    ts_weights *w = ts_weights_open(out, &err);
    if (!w) fail_msg("%s", err.text);
    const ts_weight *t = ts_weights_find(w, "features");
    cJSON *names = cJSON_Parse(ts_weights_meta(w, "names"));
    library l = open_library();
    assert_true(t && t->ndim == 2 && t->shape[0] == 2 && t->shape[1] == l.embed);
    assert_int_equal(cJSON_GetArraySize(names), 2);
    float *rows = golden_f32(w, "features");
    for (int i = 0; i < 2; i++) {
        float *want = picture_features(&l, cJSON_GetArrayItem(names, i)->valuestring);
        assert_true(fabs(cosine(want, rows + (size_t)i * (size_t)l.embed, l.embed) - 1) < 1e-4);
        free(want);
    }
    free(rows);
    cJSON_Delete(names);
    close_library(&l);
    ts_weights_free(w);
}

static void embed_texts(void **state)
{
    (void)state;
    need_model();
    const char *file = kept_path("texts.txt");
    const char *out = kept_path("texts.jsonl");
    write_text(file, "a \"red\" boat\nrain\n");
    cJSON *o = report(program_run("clip", "embed", WITH_MODEL, "--text", "a dog", "--texts", file, "--out", out, "--json", NULL));
    assert_true(number(o, "rows") == 3);
    cJSON_Delete(o);
    static const char *const want[] = {"a dog", "a \"red\" boat", "rain"};
    library l = open_library();
    size_t size;
    char *bytes = (char *)read_bytes(out, &size), *line = bytes;
    for (int i = 0; i < 3; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        o = cJSON_Parse(line);
        assert_string_equal(text(o, "name"), want[i]);
        const cJSON *row = cJSON_GetObjectItem(o, "features");
        float *features = text_features(&l, want[i]);
        assert_int_equal(cJSON_GetArraySize(row), l.embed);
        for (int e = 0; e < l.embed; e++) assert_true(fabs(cJSON_GetArrayItem(row, e)->valuedouble - (double)features[e]) < 1e-4);
        free(features);
        cJSON_Delete(o);
        line = end + 1;
    }
    assert_int_equal(*line, '\0');
    free(bytes);
    close_library(&l);
}

/* A file's name may be any bytes, but JSON may not. */
static void names_of_any_bytes(void **state)
{
    (void)state;
    need_model();
    static const char wanted[] =
        "bytes/\\udcff\xc3\xa9\\udce2\xe2\x82\xac\\udced\\udca0.png"; /* of a lone byte, e acute, half a euro, a whole one, a
                                                                         surrogate */
    const char *folder = make_empty_folder("bytes"), *out = kept_path("bytes.jsonl");
    write_picture(temp_path("bytes/\xff\xc3\xa9\xe2\xe2\x82\xac\xed\xa0.png"), 20, 20, 1);
    cJSON *o = report(program_run("clip", "embed", folder, WITH_MODEL, "--out", out, "--json", NULL));
    cJSON_Delete(o);
    size_t size;
    char *line = (char *)read_bytes(out, &size);
    if (!strstr(line, wanted)) fail_msg("%s", line);
    free(line);
    program_result r = program_run("clip", "classify", folder, WITH_MODEL, "--classes", "cat,dog", "--json", NULL);
    assert_int_equal(r.status, 0);
    if (!strstr(r.out, wanted)) fail_msg("%s", r.out);
    program_free(&r);
}

static void embed_refused(void **state)
{
    (void)state;
    need_model();
    const char *picture = kept_path("one.png");
    write_picture(picture, 20, 20, 1);
    assert_refused(program_run("clip", "embed", picture, WITH_MODEL, "--out", "/nowhere/x.jsonl", NULL), 1, "/nowhere");
    const char *link = temp_path("full.jsonl");
    assert_int_equal(symlink("/dev/full", link), 0);
    assert_refused(program_run("clip", "embed", picture, WITH_MODEL, "--out", link, NULL), 1, "plain file");
    const char *texts = temp_path("same.jsonl");
    write_text(texts, "a dog\n");
    assert_refused(program_run("clip", "embed", "--texts", texts, WITH_MODEL, "--out", texts, NULL), 1, "overwrite");
}

/* A full disk where the results go. */
static void full_disk(void **state)
{
    (void)state;
    need_model();
    char command[4096];
    const char *picture = kept_path("full.png");
    write_picture(picture, 20, 20, 1);
    static const char *const json[] = {"", "--json"};
    for (int k = 0; k < 2; k++) {
        const char *errors = temp_path("full.txt");
        snprintf(command, sizeof command,
                 "'%s' clip classify -Q '%s' --model '%s' --vocab '%s' --device cpu --classes cat,dog %s >/dev/full 2>'%s'",
                 TS_PROGRAM, picture, MODEL, VOCAB, json[k], errors);
        const int state_of = system(command);
        assert_true(WIFEXITED(state_of) && WEXITSTATUS(state_of) == 1);
        size_t size;
        char *said = (char *)read_bytes(errors, &size);
        if (!strstr(said, "standard output cannot be written")) fail_msg("%s", said);
        free(said);
    }
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void wrong_usage(void **state)
{
    (void)state;
    assert_refused(program_run("clip", NULL), 2, "classify");
    assert_refused(program_run("clip", "dance", NULL), 2, "dance");
    assert_refused(program_run("clip", "classify", NULL), 2, "PICTURE is missing");
    assert_refused(program_run("clip", "classify", "a.png", "--model", "x", NULL), 2, "--classes");
    assert_refused(program_run("clip", "classify", "a.png", "--classes", "a,b", NULL), 2, "--model");
    assert_refused(program_run("clip", "search", NULL), 2, "FOLDER is missing");
    assert_refused(program_run("clip", "search", "x", "--model", "x", NULL), 2, "--text");
    assert_refused(program_run("clip", "search", "x", "--model", "x", "--text", "a", "--like", "b", NULL), 2, "exclude");
    assert_refused(program_run("clip", "search", "x", "--model", "x", "--text", " ", NULL), 2, "empty");
    assert_refused(program_run("clip", "search", "x", "--model", "x", "--text", "a", "--sheet", "b.gif", NULL), 2, "b.gif");
    assert_refused(program_run("clip", "search", "x", "--text", "a", NULL), 2, "--model");
    assert_refused(program_run("clip", "embed", NULL), 2, "what to embed");
    assert_refused(program_run("clip", "embed", "a.png", "--model", "x", NULL), 2, "--out");
    assert_refused(program_run("clip", "embed", "a.png", "--out", "x.npy", NULL), 2, "x.npy");
    assert_refused(program_run("clip", "embed", "a.png", "--text", "a", "--out", "x.jsonl", NULL), 2, "a.png");
    assert_refused(program_run("clip", "embed", "a.png", "--out", "x.jsonl", NULL), 2, "--model");
    static const char *const commands[] = {"classify", "search", "embed", NULL};
    for (int i = 0; i < 4; i++) {
        program_result r = commands[i] ? program_run("clip", commands[i], "--help", NULL) : program_run("clip", "--help", NULL);
        if (r.status != 0 || r.err[0] || !strstr(r.out, "Usage:") || !strstr(r.out, "Example:\n")) fail_msg("%s", r.out);
        program_free(&r);
    }
}

static void wrong_words(void **state)
{
    (void)state;
    need_model();
    char words[1024] = "";
    const char *picture = kept_path("words.png");
    const char *empty = kept_path("empty.txt");
    write_picture(picture, 20, 20, 1);
    write_text(empty, "# nothing\n\n");
    for (int i = 0; i < 90; i++) strcat(words, "seven ");
#define CLASSIFY "clip", "classify", picture, WITH_MODEL
    assert_refused(program_run(CLASSIFY, "--classes", "cat,,dog", NULL), 1, "empty");
    assert_refused(program_run(CLASSIFY, "--classes", "cat", NULL), 1, "\"cat\" is the only class");
    assert_refused(program_run(CLASSIFY, "--classes", "cat,", NULL), 1, "empty");
    assert_refused(program_run(CLASSIFY, "--classes", "cat,dog,cat", NULL), 1, "cat");
    assert_refused(program_run(CLASSIFY, "--classes-file", empty, NULL), 1, "empty.txt");
    assert_refused(program_run(CLASSIFY, "--classes-file", "/nowhere/names", NULL), 1, "/nowhere/names");
    assert_refused(program_run(CLASSIFY, "--classes-from", "/nowhere/folder", NULL), 1, "/nowhere/folder");
    assert_refused(program_run(CLASSIFY, "--classes", "cat,dog", "--template", "a photo", NULL), 1, "a photo");
    assert_refused(program_run(CLASSIFY, "--classes", "cat,dog", "--templates", empty, NULL), 1, "empty.txt");
    assert_refused(program_run(CLASSIFY, "--classes", "cat", "--classes", words, NULL), 1, "seven");
    program_result r = program_run(CLASSIFY, "--classes", "cat", "--classes", words, "--cut", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    program_free(&r);
    assert_refused(program_run("clip", "search", temp_dir(), WITH_MODEL, "--text", words, NULL), 1, "seven");
#undef CLASSIFY
}

static void wrong_files(void **state)
{
    (void)state;
    need_model();
    const char *picture = kept_path("files.png");
    const char *empty = kept_path("nothing");
    write_picture(picture, 20, 20, 1);
    assert_int_equal(mkdir(empty, 0777), 0);
#define CLASSES "--classes", "cat,dog", "--device", "cpu"
    assert_refused(program_run("clip", "classify", empty, "--model", MODEL, CLASSES, NULL), 1, "holds no picture");
    assert_refused(program_run("clip", "classify", "/nowhere/a.png", "--model", MODEL, CLASSES, NULL), 1, "/nowhere/a.png");
    assert_refused(program_run("clip", "search", empty, WITH_MODEL, "--text", "rain", NULL), 1, "holds no picture");
    assert_refused(program_run("clip", "search", picture, WITH_MODEL, "--text", "rain", NULL), 1, "is no folder");
    assert_refused(program_run("clip", "classify", picture, "--model", "/nowhere/clip.pt", CLASSES, NULL), 1, "/nowhere/clip.pt");
    assert_refused(program_run("clip", "classify", picture, "--model", picture, CLASSES, NULL), 1, "files.png");
    assert_refused(program_run("clip", "classify", picture, "--model", random_model(), CLASSES, NULL), 1, "random_model");
    assert_refused(program_run("clip", "classify", picture, "--model", MODEL, "--vocab", picture, CLASSES, NULL), 1, "files.png");
    assert_refused(program_run("clip", "classify", picture, WITH_MODEL, "--classes", "cat,dog", "--device", "vulkan:99", NULL), 1,
                   "vulkan:99");
    ts_error err = {0};
    ts_weights *w = ts_weights_open(MODEL, &err), *larger = altered_copy(w, "larger.safetensors", NULL, "token_embedding.weight");
    assert_refused(program_run("clip", "classify", picture, "--model", ts_weights_path(larger), "--vocab", VOCAB, CLASSES, NULL),
                   1, "49409");
    assert_refused(program_run("clip", "classify", picture, "--model", ts_weights_path(larger), CLASSES, NULL), 1, "vocab");
    ts_weights_free(larger);
    ts_weights_free(w);
#undef CLASSES
}

/* ---- model info -------------------------------------------------------------------------------------------------- */

static void info(void **state)
{
    (void)state;
    need_model();
    program_result r = program_run("model", "info", MODEL, NULL);
    assert_non_null(strstr(r.out, "text: 64 wide, 3 blocks, 1 heads, context 77, 49408 symbols"));
    program_free(&r);
    cJSON *o = report(program_run("model", "info", MODEL, "--json", NULL));
    const cJSON *clip = cJSON_GetObjectItem(o, "clip");
    assert_true(number(clip, "image") == 64 && number(clip, "patch") == 16 && number(clip, "embed") == 64);
    cJSON_Delete(o);
    ts_error err = {0};
    ts_weights *w = ts_weights_open(MODEL, &err), *less = altered_copy(w, "less.safetensors", "ln_final.weight", NULL);
    r = program_run("model", "check", MODEL, NULL);
    if (r.status != 0 || !strstr(r.out, "whole")) fail_msg("%s", r.err);
    program_free(&r);
    assert_refused(program_run("model", "check", ts_weights_path(less), NULL), 1, "ln_final.weight");
    r = program_run("model", "info", ts_weights_path(less), NULL);
    assert_non_null(strstr(r.out, "problem "));
    assert_non_null(strstr(r.out, "ln_final.weight"));
    program_free(&r);
    ts_weights_free(less);
    ts_weights_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage),     cmocka_unit_test(classify_is_the_librarys),
        cmocka_unit_test(classify_prints), cmocka_unit_test(classes_from_folders),
        cmocka_unit_test(many_pictures),   cmocka_unit_test(broken_pictures),
        cmocka_unit_test(embed_pictures),  cmocka_unit_test(embed_texts),
        cmocka_unit_test(embed_refused),   cmocka_unit_test(names_of_any_bytes),
        cmocka_unit_test(full_disk),       cmocka_unit_test(wrong_words),
        cmocka_unit_test(wrong_files),     cmocka_unit_test(info),
    };
    return cmocka_run_group_tests_name("clip", tests, NULL, NULL);
}
