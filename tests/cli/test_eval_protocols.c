/* test_eval_protocols.c - `tessera eval segmentation`, `detection` and `colorization` on a small data set: every trial's example,
 * every cell's pixels and every score of a copy as numpy and Pillow have them (tests/reference/make_eval_golden.py), the model's
 * own score from the answer that is kept, the answer as `tessera run` gives it; parts, going on, the table; and folders and lists
 * that do not fit. */
#include "../support/program.h"
#include "../support/report.h"
#include "../support/voc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mae/mae.h"

static const char *root, *imagenet, *model;
static cJSON *golden;

/* A canvas of 224 pixels, cells of 111: as published, but for the widths, and a VQGAN that is quick. */
static void write_model(const char *path)
{
    const ts_mae_config mae = {.patch = 16,
                               .side = 14,
                               .dim = 64,
                               .depth = 1,
                               .heads = 4,
                               .mlp = 128,
                               .decoder_dim = 32,
                               .decoder_depth = 1,
                               .decoder_heads = 2,
                               .decoder_mlp = 64,
                               .codes = 64};
    const ts_vqgan_config vqgan = {
        .base = 32, .levels = 2, .width = {32, 32}, .blocks = 1, .latent = 32, .embed = 16, .codes = 64, .factor = 2};
    ts_error err = {0};
    if (!ts_mae_write_random(path, &mae, &vqgan, 7, &err)) fail_msg("%s", err.text);
}

static cJSON *read_json(const char *path)
{
    size_t size;
    char *bytes = (char *)read_bytes(path, &size);
    cJSON *json = cJSON_ParseWithLength(bytes, size);
    free(bytes);
    assert_non_null(json);
    return json;
}

static int prepare(void **state)
{
    (void)state;
    root = kept_path("voc");
    model = kept_path("canvas224.safetensors");
    voc_write(root);
    imagenet = kept_path("voc/imagenet");
    write_model(model);
    golden = read_json(TS_TESTS_DIR "/golden/eval_protocols.json");
    return 0;
}

static int tidy(void **state)
{
    (void)state;
    cJSON_Delete(golden);
    return 0;
}

static program_result evaluate(const char *what, const char *folder, const char *a, const char *b, const char *c, const char *d)
{
    return program_run("eval", what, folder, "--model", model, "--device", "cpu", "-Q", a, b, c, d, NULL);
}

/* ---- against the reference ---- */

static void assert_cell(const char *kept, int trial, const char *what, const cJSON *cells, int at)
{
    char path[1024], hash[17];
    ts_image picture;
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/%05d-%s.png", kept, trial, what);
    if (!ts_image_load(path, &picture, &err)) fail_msg("%s", err.text);
    assert_int_equal(picture.width, 111);
    assert_int_equal(picture.height, 111);
    const char *want = cJSON_GetStringValue(cJSON_GetArrayItem(cells, at));
    if (strcmp(voc_hash(&picture, hash), want) != 0) fail_msg("%s has other pixels than the reference", path);
    ts_image_clear(&picture);
}

static void assert_scores(const cJSON *line, const cJSON *want, const char *who)
{
    const cJSON *of = cJSON_GetObjectItem(want, who), *have = cJSON_GetObjectItem(line, who), *score;
    assert_int_equal(cJSON_GetArraySize(have), cJSON_GetArraySize(of));
    cJSON_ArrayForEach(score, of)
    {
        const double got = number(have, score->string);
        if (!(fabs(got - score->valuedouble) <= 1e-6))
            fail_msg("trial %g, %s of %s: %.9g, the reference has %.9g", number(line, "trial"), score->string, who, got,
                     score->valuedouble);
    }
}

/* Whether a pixel is nearer to the first of the two colours, or as near. */
static bool nearer(const uint8_t *pixel, const uint8_t colours[2][3])
{
    int d[2] = {0};
    for (int k = 0; k < 2; k++)
        for (int c = 0; c < 3; c++) d[k] += (pixel[c] - colours[k][c]) * (pixel[c] - colours[k][c]);
    return d[0] <= d[1];
}

/* The IoU of the model's answer, counted here. */
static void assert_counted(const cJSON *line, const char *kept, const uint8_t colours[2][3])
{
    char path[1024];
    ts_image picture[2];
    static const char *const names[] = {"target", "answer"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%05d-%s.png", kept, (int)number(line, "trial"), names[i]);
        assert_true(ts_image_load(path, &picture[i], NULL));
    }
    int both = 0, either = 0;
    for (size_t i = 0; i < 111 * 111; i++) {
        const bool a = nearer(picture[0].data + i * 3, colours), b = nearer(picture[1].data + i * 3, colours);
        both += a && b;
        either += a || b;
    }
    const double iou = number(cJSON_GetObjectItem(line, "model"), "iou");
    assert_true(fabs(iou - (double)both / either) <= 1e-9);
    for (int i = 0; i < 2; i++) ts_image_clear(&picture[i]);
}

static void check(const char *key, const char *what, const char *folder, const char *option, const char *value,
                  const char *option2, const char *value2)
{
    char name[64];
    snprintf(name, sizeof name, "%s.kept", key);
    const char *kept = kept_path(name), *log = temp_path("%s.jsonl", key);
    program_result r = program_run("eval", what, folder, "--model", model, "--device", "cpu", "-Q", "--log", log, "--keep", kept,
                                   option, value, option2, value2, NULL);
    if (r.status != 0) fail_msg("%s: %s", key, r.err);
    program_free(&r);
    static const uint8_t colours[2][2][3] = {{{255, 255, 255}, {0, 0, 0}}, {{253, 231, 37}, {68, 1, 84}}};
    const cJSON *trials = cJSON_GetObjectItem(golden, key);
    size_t size;
    char *all = (char *)read_bytes(log, &size), *rest = all;
    all[size - 1] = '\0';
    strsep(&rest, "\n"); /* the head */
    int count = 0;
    for (char *at; (at = strsep(&rest, "\n")); count++) {
        const cJSON *want = cJSON_GetArrayItem(trials, count), *cells = cJSON_GetObjectItem(want, "cells");
        cJSON *line = cJSON_Parse(at);
        assert_non_null(want);
        assert_int_equal((int)number(line, "trial"), count);
        assert_int_equal((int)number(line, "fold"), (int)number(want, "fold"));
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(line, "query")),
                            cJSON_GetObjectItem(want, "query")->valuestring);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(line, "examples"), 0)),
                            cJSON_GetObjectItem(want, "example")->valuestring);
        static const char *const parts[] = {"example-1", "output-1", "query", "target"};
        for (int i = 0; i < 4; i++) assert_cell(kept, count, parts[i], cells, i);
        assert_scores(line, want, "copy_query");
        assert_scores(line, want, "copy_example");
        if (strcmp(what, "segmentation") == 0) assert_counted(line, kept, colours[strcmp(key, "segmentation_yellow") == 0]);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(line, "model")), strcmp(what, "colorization") == 0 ? 1 : 3);
        cJSON_Delete(line);
    }
    assert_int_equal(count, cJSON_GetArraySize(trials));
    free(all);
}

static void segmentation(void **state)
{
    (void)state;
    check("segmentation", "segmentation", root, "--trials", "6", NULL, NULL);
}

static void segmentation_of_trn(void **state)
{
    (void)state;
    check("segmentation_trn", "segmentation", root, "--trials", "2", "--supports", "trn");
}

static void segmentation_in_yellow(void **state)
{
    (void)state;
    check("segmentation_yellow", "segmentation", root, "--trials", "1", "--colours", "yellow");
}

static void detection(void **state)
{
    (void)state;
    check("detection", "detection", root, NULL, NULL, NULL, NULL);
}

static void colorization(void **state)
{
    (void)state;
    check("colorization", "colorization", imagenet, NULL, NULL, NULL, NULL);
}

/* The kept cells through `tessera run` on a white canvas give the kept answer. */
static void answers_as_run_does(void **state)
{
    (void)state;
    const char *kept = kept_path("run.kept"), *answer = temp_path("run.png");
    succeed(evaluate("segmentation", root, "--fold=1", "--limit=1", "--keep", kept));
    succeed(program_run("run", "--model", model, "--device", "cpu", "-Q", "--background", "white", "--cell", "-e",
                        temp_path("run.kept/00000-example-1.png"), temp_path("run.kept/00000-output-1.png"), "-q",
                        temp_path("run.kept/00000-query.png"), "-o", answer, NULL));
    assert_true(same_bytes(answer, temp_path("run.kept/00000-answer.png")));
}

/* ---- the work ---- */

static void parts_and_resume(void **state)
{
    (void)state;
    const char *whole = temp_path("whole.jsonl"), *one = temp_path("one.jsonl"), *two = temp_path("two.jsonl");
    succeed(evaluate("segmentation", root, "--log", whole, "--limit=2", NULL));
    succeed(evaluate("segmentation", root, "--log", one, "--limit=2", "--part=1/2"));
    succeed(evaluate("segmentation", root, "--log", two, "--limit=2", "--part=2/2"));
    program_result merged = program_run("eval", "merge", two, one, NULL), single = program_run("eval", "merge", whole, NULL);
    assert_int_equal(merged.status, 0);
    assert_string_equal(merged.out, single.out);
    assert_non_null(strstr(merged.out, "fold 3"));
    assert_non_null(strstr(merged.out, "8 trials"));
    program_free(&merged);
    program_free(&single);
    size_t size;
    unsigned char *bytes = read_bytes(whole, &size);
    const char *cut = temp_path("cut.jsonl");
    write_bytes(cut, bytes, size - 20);
    free(bytes);
    succeed(evaluate("segmentation", root, "--log", cut, "--limit=2", NULL));
    assert_true(same_bytes(cut, whole));
    assert_refused(evaluate("segmentation", root, "--log", cut, "--limit=3", NULL), 1, "another evaluation");
    assert_refused(evaluate("segmentation", root, "--log", cut, "--limit=2", "--seed=4"), 1, "another evaluation");
}

static void tells(void **state)
{
    (void)state;
    const char *csv = temp_path("table.csv"), *sheet = temp_path("sheet.png");
    char sheet_option[600];
    snprintf(sheet_option, sizeof sheet_option, "--sheet=%s", sheet);
    cJSON *all = report(program_run("eval", "segmentation", root, "--model", model, "--device", "cpu", "-Q", "--json", "--limit",
                                    "2", "--right-codes", "--csv", csv, sheet_option, NULL));
    const cJSON *scores = cJSON_GetObjectItem(all, "scores"),
                *iou = cJSON_GetObjectItem(cJSON_GetObjectItem(scores, "model"), "iou");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(iou, "folds")), 4);
    double mean = 0;
    for (int f = 0; f < 4; f++) mean += cJSON_GetArrayItem(cJSON_GetObjectItem(iou, "folds"), f)->valuedouble / 4;
    assert_true(fabs(mean - number(iou, "mean")) < 1e-12);
    assert_true(number(iou, "low") <= mean && mean <= number(iou, "high"));
    assert_non_null(cJSON_GetObjectItem(cJSON_GetObjectItem(scores, "model"), "iou_class"));
    assert_non_null(cJSON_GetObjectItem(scores, "right_codes"));
    assert_true(number(cJSON_GetObjectItem(all, "ms"), "model") >= 0);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(all, "differs")) > 0);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(all, "model_differs")) > 0);
    assert_null(cJSON_GetObjectItem(iou, "published"));
    cJSON_Delete(all);
    assert_true(file_exists(sheet));
    size_t size;
    char *table_text = (char *)read_bytes(csv, &size);
    assert_memory_equal(table_text, "trial,fold,class,query,model_iou", 32);
    free(table_text);
    program_result table =
        program_run("eval", "segmentation", root, "--model", model, "--device", "cpu", "--limit", "1", "--views", "2", NULL);
    assert_int_equal(table.status, 0);
    assert_non_null(strstr(table.out, "not beside the published figures: the list of fold 0 has 5 lines and not 346"));
    assert_non_null(strstr(table.out, "--views 2"));
    assert_non_null(strstr(table.err, "waiting for pictures"));
    program_free(&table);
}

/* Where nothing differs the published figure stands beside; of a part of the trials, or another model, it does not. */
static void beside_the_paper(void **state)
{
    (void)state;
    static const char head[] =
        "{\"measured\":\"segmentation\",\"protocol\":\"p\",\"trials\":%d,\"fold_is\":\"fold\",\"folds\":[{\"fold\":1,"
        "\"trials\":%d}],\"differs\":[],\"model_differs\":[%s]}\n%s";
    static const char lines[] =
        "{\"trial\":0,\"fold\":1,\"query\":\"a\",\"model\":{\"iou\":0.25},\"copy_example\":{\"iou\":0.125}}\n";
    static const struct {
        int trials;
        const char *differs, *says, *lacks;
    } cases[] = {
        {1, "", "30.44", "not beside"}, {2, "", "1 of 2 trials are measured", "17.90"}, {1, "\"other\"", "17.90", "30.44"}};
    const char *log = temp_path("paper.jsonl");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, head, cases[i].trials, cases[i].trials, cases[i].differs, lines);
        write_text(log, text);
        program_result r = program_run("eval", "merge", log, NULL);
        assert_int_equal(r.status, 0);
        assert_non_null(strstr(r.out, cases[i].says));
        assert_null(strstr(r.out, cases[i].lacks));
        program_free(&r);
    }
}

/* Lists of neighbours in place of drawn examples, one for each fold: the best that is not the query itself, in all its trials. */
static void lists(void **state)
{
    (void)state;
    static const char *const examples[] = {"p02", "p02", "p00", "p00", "p00"};
    const char *list = temp_path("near0.json"), *log = temp_path("listed.jsonl");
    write_text(list, "{\"p00\": [\"p00\", \"p02\", \"p01\"], \"p01\": [\"p00\"], \"p02\": [\"p00\"]}\n");
    succeed(program_run("eval", "segmentation", root, "--model", model, "--device", "cpu", "-Q", "--fold", "0", "--lists",
                        temp_path("near#.json"), "--log", log, NULL));
    size_t size;
    char *all = (char *)read_bytes(log, &size), *rest = all;
    all[size - 1] = '\0';
    strsep(&rest, "\n");
    for (int i = 0; i < 5; i++) {
        cJSON *line = cJSON_Parse(strsep(&rest, "\n"));
        assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(line, "examples"), 0)->valuestring, examples[i]);
        cJSON_Delete(line);
    }
    assert_null(rest);
    free(all);
}

static void one_of_each_model(void **state)
{
    (void)state;
    succeed(program_run("eval", "detection", root, "--model", random_model(), "--device", "cpu", "-Q", "--limit", "1", "--runs",
                        "1", NULL));
    succeed(program_run("eval", "segmentation", root, "--model", TS_TESTS_DIR "/golden/dino/v2.safetensors", "--device", "cpu",
                        "-Q", "--places", "8", "--limit", "1", NULL));
    if (!file_exists(TS_GOLDEN_DIR "/seggpt_tiny.pth")) {
        print_message("[  SKIPPED ] ../shared/golden is not there\n");
        return;
    }
    succeed(program_run("eval", "segmentation", root, "--model", TS_GOLDEN_DIR "/seggpt_tiny.pth", "--device", "cpu", "-Q",
                        "--limit", "1", "--examples", "2", "--fold", "0", NULL));
    succeed(program_run("eval", "colorization", imagenet, "--model", TS_GOLDEN_DIR "/seggpt_tiny.pth", "--device", "cpu", "-Q",
                        "--limit", "1", NULL));
}

static void lpips(void **state)
{
    (void)state;
    const char *weights = TS_TESTS_DIR "/golden/vqgan_lpips.safetensors";
    cJSON *all = report(program_run("eval", "colorization", imagenet, "--model", model, "--device", "cpu", "-Q", "--json",
                                    "--limit", "2", "--lpips", weights, NULL));
    const cJSON *of = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(all, "scores"), "model"), "lpips");
    assert_true(number(of, "mean") > 0);
    cJSON_Delete(all);
    assert_refused(evaluate("colorization", imagenet, "--lpips", model, "--limit=1", NULL), 1, "LPIPS");
    assert_refused(evaluate("colorization", imagenet, "--lpips", "/nowhere.pth", NULL, NULL), 1, "is not there");
    assert_refused(evaluate("colorization", imagenet, "--vgg", weights, NULL, NULL), 2, "--lpips");
}

/* ---- what does not fit ---- */

/* A file of a copy of the data set is replaced, NULL: taken away. */
static const char *spoiled(const char *name, const char *file, const char *text)
{
    char path[1024];
    const char *copy = temp_path("%s", name);
    voc_write(copy);
    snprintf(path, sizeof path, "%s/%s", copy, file);
    if (text) write_text(path, text);
    else assert_int_equal(unlink(path), 0);
    return copy;
}

static void refuses_lists(void **state)
{
    (void)state;
    assert_refused(evaluate("segmentation", root, "--fold", "4", NULL, NULL), 2, "fold");
    assert_refused(evaluate("segmentation", spoiled("a", "splits/pascal/val/fold2.txt", NULL), NULL, NULL, NULL, NULL), 1,
                   "fold2.txt cannot be opened");
    assert_refused(
        evaluate("segmentation", spoiled("b", "splits/pascal/val/fold1.txt", "p03__06\nq77__06\n"), NULL, NULL, NULL, NULL), 1,
        "fold1.txt, line 2: there is no picture");
    assert_refused(evaluate("segmentation", spoiled("c", "SegmentationClassAug/p02.png", NULL), NULL, NULL, NULL, NULL), 1,
                   "fold0.txt, line 4: there is no mask");
    assert_refused(evaluate("segmentation", spoiled("d", "splits/pascal/val/fold0.txt", "p00__21\n"), NULL, NULL, NULL, NULL), 1,
                   "line 1 is not NAME__CC");
    assert_refused(evaluate("segmentation", spoiled("e", "splits/pascal/val/fold0.txt", "p00__01\n"), NULL, NULL, NULL, NULL), 1,
                   "0 pictures of class 1 beside p00");
    assert_refused(evaluate("segmentation", spoiled("f", "splits/pascal/val/fold0.txt", "\n"), NULL, NULL, NULL, NULL), 1,
                   "names no picture");
    assert_refused(evaluate("segmentation", root, "--splits", root, NULL, NULL), 1, "holds no folder val");
    assert_refused(evaluate("segmentation", imagenet, NULL, NULL, NULL, NULL), 1, "JPEGImages");
    assert_refused(evaluate("segmentation", "/nowhere", NULL, NULL, NULL, NULL), 2, "no folder");
    assert_refused(evaluate("segmentation", root, "--filter=bilinear", NULL, NULL, NULL), 2, "not the protocol's");
    assert_refused(evaluate("segmentation", root, "--seed=4294967296", NULL, NULL, NULL), 2, "32 bits");
    assert_refused(evaluate("segmentation", root, "--part=0/2", NULL, NULL, NULL), 2, "K/N");
    const char *list = temp_path("bad.json");
    write_text(list, "{\"p00\": [\"p09\"]}");
    assert_refused(evaluate("segmentation", root, "--fold=0", "--lists", list, NULL), 1, "names p09 as an example for p00");
    write_text(list, "{\"p00\": [\"p01\"]}");
    assert_refused(evaluate("segmentation", root, "--fold=0", "--lists", list, NULL), 1, "has no list for p01");
    write_text(list, "{\"p00\": [\"p00\"]}");
    assert_refused(evaluate("segmentation", root, "--fold=0", "--lists", list, NULL), 1, "names 0 examples for p00");
}

static void refuses_annotations(void **state)
{
    (void)state;
    assert_refused(evaluate("detection", spoiled("g", "Annotations/p01.xml", NULL), NULL, NULL, NULL, NULL), 1,
                   "train.txt, line 2: there is no annotation");
    assert_refused(
        evaluate("detection", spoiled("h", "Annotations/p01.xml", "<annotation><object></annotation>"), NULL, NULL, NULL, NULL),
        1, "p01.xml is no annotation");
    assert_refused(evaluate("detection",
                            spoiled("i", "Annotations/p01.xml",
                                    "<annotation><size><width>9</width><height>9</height></size><object><name>dog</name></object>"
                                    "</annotation>"),
                            NULL, NULL, NULL, NULL),
                   1, "p01.xml does not tell");
    assert_refused(evaluate("detection", spoiled("j", "ImageSets/Main/train.txt", "p00\n"), NULL, NULL, NULL, NULL), 1,
                   "0 pictures of one thing of class 8");
    assert_refused(evaluate("detection", spoiled("k", "JPEGImages/p07.jpg", NULL), NULL, NULL, NULL, NULL), 1,
                   "val.txt, line 3: there is no picture");
    const char *few = temp_path("few");
    mkdir(few, 0755);
    assert_refused(evaluate("colorization", few, NULL, NULL, NULL, NULL), 1, "few");
}

/* A picture that is broken, or of another size than its mask, is left out. */
static void leaves_out(void **state)
{
    (void)state;
    const char *copy = spoiled("l", "JPEGImages/p08.jpg", "no picture");
    program_result r = evaluate("segmentation", copy, "--fold", "3", "--strict", NULL);
    assert_int_equal(r.status, 1);
    program_free(&r);
    write_picture(temp_path("l/JPEGImages/p08.png"), 40, 30, 1);
    assert_int_equal(rename(temp_path("l/JPEGImages/p08.png"), temp_path("l/JPEGImages/p08.jpg")), 0);
    r = program_run("eval", "segmentation", copy, "--model", model, "--device", "cpu", "--fold", "3", NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "40 x 30 pixels and its mask"));
    assert_non_null(strstr(r.out, "of 3 trials"));
    program_free(&r);
    /* Colours where numbers are wanted. */
    write_picture(temp_path("l/SegmentationClassAug/p08.png"), 40, 30, 1);
    r = evaluate("segmentation", copy, "--fold", "3", "--strict", NULL);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.err, "numbers of classes"));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segmentation),
        cmocka_unit_test(segmentation_of_trn),
        cmocka_unit_test(segmentation_in_yellow),
        cmocka_unit_test(detection),
        cmocka_unit_test(colorization),
        cmocka_unit_test(answers_as_run_does),
        cmocka_unit_test(parts_and_resume),
        cmocka_unit_test(tells),
        cmocka_unit_test(lists),
        cmocka_unit_test(beside_the_paper),
        cmocka_unit_test(one_of_each_model),
        cmocka_unit_test(lpips),
        cmocka_unit_test(refuses_lists),
        cmocka_unit_test(refuses_annotations),
        cmocka_unit_test(leaves_out),
    };
    return cmocka_run_group_tests_name("eval_protocols", tests, prepare, tidy);
}
