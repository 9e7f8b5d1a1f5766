/* test_tune_prompt.c - `tessera tune border` and `tune fusion`, and what run and eval make of their files, as a user meets them:
 * losses that fall, a tuning that is gone on with to the same bits, canvases that do not fit, and one clear sentence for what is
 * wrong. */
#include "../support/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PAIRS = 10, SIDE = 40 };

#define ON_HOST "--device", "cpu", "--threads", "2"

/* Squares of a colour on another ground, and where they are: white on black. */
static void draw_pair(const char *folder, int number)
{
    ts_image input, target;
    uint64_t seed = 77 + (uint64_t)number;
    assert_true(ts_image_new(SIDE, SIDE, &input, NULL) && ts_image_new(SIDE, SIDE, &target, NULL));
    uint8_t ground[3], colour[3];
    for (int c = 0; c < 3; c++) {
        ground[c] = (uint8_t)(100 * test_uniform(&seed));
        colour[c] = (uint8_t)(155 + 100 * test_uniform(&seed));
    }
    const int x0 = (int)(20 * test_uniform(&seed)), y0 = (int)(20 * test_uniform(&seed));
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int x = i % SIDE - x0, y = i / SIDE - y0;
        const bool in = x >= 0 && x < 18 && y >= 0 && y < 18;
        memcpy(input.data + i * 3, in ? colour : ground, 3);
        memset(target.data + i * 3, in ? 255 : 0, 3);
    }
    assert_true(ts_image_save(temp_path("%s/p%d.png", folder, number), &input, NULL));
    assert_true(ts_image_save(temp_path("%s/p%d_target.png", folder, number), &target, NULL));
    ts_image_clear(&input);
    ts_image_clear(&target);
}

static const char *pairs; /* a folder of them */

static int make_pairs(void **state)
{
    (void)state;
    mkdir(temp_path("pairs"), 0755);
    for (int i = 0; i < PAIRS; i++) draw_pair("pairs", i);
    pairs = kept_path("pairs");
    return 0;
}

static program_result tune(const char *kind, const char *model, const char *out, const char *epochs, const char *more,
                           const char *value)
{
    const char *rate = strcmp(kind, "border") == 0 ? "0.3" : "0.1";
    const char *args[] = {"tune",     kind,   pairs,       "--model", model,  "--out", out,      ON_HOST, "--batch", "4",
                          "--epochs", epochs, "--restart", "40",      "--lr", rate,    "--json", more,    value};
    int count = sizeof args / sizeof *args;
    while (!args[count - 1]) count--;
    return program_run_list(args, count);
}

/* The model is as good as a user gets it: the loss of the held out pairs falls, and so does that of the steps. */
static void learns(void **state)
{
    (void)state;
    if (!file_exists(TS_TESTS_DIR "/../assets/default.safetensors")) {
        print_message("[  SKIPPED ] assets/default.safetensors is not there\n");
        skip();
    }
    static const char *const kinds[] = {"border", "fusion"};
    for (int k = 0; k < 2; k++) {
        const char *out = temp_path("learns-%s", kinds[k]);
        program_result r = tune(kinds[k], TS_TESTS_DIR "/../assets/default.safetensors", out, "10", NULL, NULL);
        cJSON *o = report(r);
        assert_int_equal((int)number(o, "step"), 20);
        assert_true(number(o, "parameters") == (k ? 12 * 160 * 160 + 160 * 160 + 13 * 160 + 2 * 160 : 12 * 11 * 69));
        if (!(number(o, "best_validation_loss") < number(o, "first_validation_loss") - 0.02 &&
              number(o, "loss") < number(o, "first_validation_loss")))
            fail_msg("%s: validation %g at first, %g at best, the last step %g", kinds[k], number(o, "first_validation_loss"),
                     number(o, "best_validation_loss"), number(o, "loss"));
        assert_true(file_exists(text(o, "out")));
        cJSON_Delete(o);
    }
}

/* Ended after six steps and gone on with: the same as in one go. */
static void goes_on(void **state)
{
    (void)state;
    static const char *const kinds[] = {"border", "fusion"};
    for (int k = 0; k < 2; k++) {
        char whole[512], parts[512], file[64];
        snprintf(whole, sizeof whole, "%s", temp_path("whole-%s", kinds[k]));
        snprintf(parts, sizeof parts, "%s", temp_path("parts-%s", kinds[k]));
        snprintf(file, sizeof file, "%s.safetensors", kinds[k]);
        succeed(tune(kinds[k], random_model(), whole, "6", NULL, NULL));
        succeed(tune(kinds[k], random_model(), parts, "3", NULL, NULL));
        assert_refused(tune(kinds[k], random_model(), parts, "6", NULL, NULL), 2, "holds a tuning already: --resume goes on");
        succeed(program_run("tune", kinds[k], "--out", parts, "--resume", "--epochs", "6", "-Q", NULL));
        assert_same(whole, parts, file);
        assert_same(whole, parts, "checkpoint-00000012.safetensors");
        assert_refused(program_run("tune", kinds[k], "--out", parts, "--resume", "--batch", "2", NULL), 2,
                       "--batch of a tuning that goes on cannot change");
    }
}

static const char *made(const char *kind)
{
    return temp_path("whole-%s/%s.safetensors", kind, kind);
}

static program_result run(const char *answer, const char *option, const char *file, const char *more, const char *value)
{
    char a[512], b[512], c[512], d[512], q[512];
    snprintf(a, sizeof a, "%s", temp_path("pairs/p0.png"));
    snprintf(b, sizeof b, "%s", temp_path("pairs/p0_target.png"));
    snprintf(c, sizeof c, "%s", temp_path("pairs/p1.png"));
    snprintf(d, sizeof d, "%s", temp_path("pairs/p1_target.png"));
    snprintf(q, sizeof q, "%s", temp_path("pairs/p2.png"));
    return program_run("run", "--model", random_model(), ON_HOST, "-e", a, b, "-e", c, d, "-q", q, "-o", answer, "--json", option,
                       file, more, value, NULL);
}

/* Codes of the first answer. */
static char *codes(program_result r)
{
    cJSON *o = report(r);
    char *out = cJSON_PrintUnformatted(cJSON_GetObjectItem(cJSON_GetArrayItem(o, 0), "codes"));
    cJSON_Delete(o);
    return out;
}

static void is_used(void **state)
{
    (void)state;
    char border[512], fusion[512], plain[512], answer[512];
    snprintf(border, sizeof border, "%s", made("border"));
    snprintf(fusion, sizeof fusion, "%s", made("fusion"));
    snprintf(plain, sizeof plain, "%s", temp_path("plain.png"));
    snprintf(answer, sizeof answer, "%s", temp_path("answer.png"));
    char *without = codes(run(plain, NULL, NULL, NULL, NULL)), *with = codes(run(answer, "--border", border, NULL, NULL));
    assert_string_not_equal(without, with);
    char *fused = codes(run(answer, "--fusion", fusion, NULL, NULL));
    assert_string_not_equal(without, fused);
    assert_string_not_equal(with, fused);
    /* By itself a canvas of each pair goes into a fusion, and what else there is goes with it. */
    cJSON *o = report(run(answer, "--fusion", fusion, "--views", "3"));
    assert_int_equal((int)number(cJSON_GetArrayItem(o, 0), "fused"), 2);
    assert_string_equal(text(cJSON_GetArrayItem(o, 0), "fusion"), fusion);
    cJSON_Delete(o);
    succeed(run(answer, "--fusion", fusion, "--blend", "0.5"));
    succeed(run(answer, "--border", border, "--ensemble", "mean"));
    free(without);
    free(with);
    free(fused);
    static const char *const kinds[] = {"border", "fusion"};
    for (int k = 0; k < 2; k++) {
        char option[16];
        snprintf(option, sizeof option, "--%s", kinds[k]);
        o = report(program_run("eval", "pairs", pairs, "--model", random_model(), ON_HOST, "--limit", "3", "--examples", "2",
                               "--json", option, k ? fusion : border, NULL));
        assert_int_equal((int)number(o, "trials"), 3);
        cJSON_Delete(o);
    }
    assert_refused(run(answer, "--border", fusion, NULL, NULL), 1, "is a fusion: it is given with --fusion");
    assert_refused(run(answer, "--fusion", border, NULL, NULL), 1, "is a border: it is given with --border");
    assert_refused(run(answer, "--fusion", random_model(), NULL, NULL), 1, "what tessera tune border or fusion has made");
    assert_refused(run(answer, "--border", border, "--fusion", fusion), 2, "not both");
    assert_refused(run(answer, "--fusion", fusion, "--arrange", "2"), 1, "a fusion wants canvases of one example above");
    assert_refused(run(answer, "--fusion", fusion, "--per-canvas", "2"), 1, "a fusion wants canvases of one example above");
    assert_refused(run(answer, "--border", temp_path("nowhere"), NULL, NULL), 1, "nowhere");
    if (!file_exists(TS_TESTS_DIR "/../assets/default.safetensors")) return;
    assert_refused(program_run("run", "-Q", "-m", TS_TESTS_DIR "/../assets/default.safetensors", "-e", plain, plain, "-q", plain,
                               "-o", answer, "--border", border, NULL),
                   1, "is a border for canvases of 64 pixels, the model has canvases of 80");
}

/* What is learned with is what the file tells of it. */
static void by_list_and_look(void **state)
{
    (void)state;
    char list[512], out[512];
    snprintf(list, sizeof list, "%s", temp_path("near.txt"));
    snprintf(out, sizeof out, "%s", temp_path("listed"));
    write_text(list, "p0 p1 p2\np1 p2 p3\np2 p3 p4\n");
    cJSON *o =
        report(program_run("tune", "fusion", pairs, "--model", random_model(), "--out", out, ON_HOST, "--batch", "4", "--epochs",
                           "2", "--condenser", "--examples", "2", "--background", "white", "--list", list, "--json", NULL));
    assert_true(number(o, "best_validation_loss") > 0);
    ts_weights *w = ts_weights_open(text(o, "out"), NULL);
    assert_non_null(w);
    assert_string_equal(ts_weights_meta(w, "tessera.fusion"), "condenser");
    assert_string_equal(ts_weights_meta(w, "background"), "#ffffff");
    ts_weights_free(w);
    program_result r = program_run("model", "info", text(o, "out"), NULL);
    assert_non_null(strstr(r.out, "fusion of examples for an MAE-VQGAN"));
    program_free(&r);
    cJSON_Delete(o);
    write_text(list, "p0 p1\np1 nobody\n");
    assert_refused(tune("border", random_model(), temp_path("none"), "1", "--list", list), 1, "line 2: there is no pair nobody");
}

static void refused(void **state)
{
    (void)state;
    const char *model = random_model(), *out = kept_path("none");
    assert_refused(program_run("tune", "border", "--model", model, "--out", out, NULL), 2, "a folder of pairs is missing");
    assert_refused(program_run("tune", "border", pairs, "--model", model, NULL), 2, "folder is missing: --out DIR");
    assert_refused(program_run("tune", "border", model, "--model", model, "--out", out, NULL), 2, "is no folder");
    assert_refused(program_run("tune", "fusion", "--out", out, "--resume", NULL), 2, "holds no tuning to go on with");
    assert_refused(tune("border", model, out, "1", "--pixels", "40"), 1, "a border of 40 pixels does not go on a canvas of 64");
    assert_refused(tune("border", model, out, "1", "--background", "blue"), 2, "is not black, white or #rrggbb");
    assert_refused(tune("fusion", model, out, "1", "--fusion-heads", "7"), 1, "7 heads do not divide a fusion's width of 64");
    assert_refused(tune("fusion", model, out, "1", "--examples", "9"), 1, "9 examples of 9 pairs to learn from: at most 8");
    assert_refused(tune("fusion", temp_path("pairs/p0.png"), out, "1", NULL, NULL), 1, "p0.png");
    assert_refused(tune("border", temp_path("nowhere"), out, "1", NULL, NULL), 1, "is not there");
    mkdir(temp_path("few"), 0755);
    for (int i = 0; i < 3; i++) draw_pair("few", i);
    assert_refused(program_run("tune", "border", temp_path("few"), "--model", model, "--out", out, ON_HOST, NULL), 1,
                   "holds 3 pairs: 4 at least are wanted");
    draw_pair("few", 3);
    draw_pair("few", 4);
    write_picture(temp_path("few/p4_target.png"), 30, SIDE, 1);
    program_result r = program_run("tune", "border", temp_path("few"), "--model", model, "--out", temp_path("left"), ON_HOST,
                                   "--epochs", "1", "--batch", "2", NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "they must be alike"));
    program_free(&r);
    remove(temp_path("few/p4_target.png"));
    assert_refused(program_run("tune", "border", temp_path("few"), "--model", model, "--out", out, ON_HOST, NULL), 1,
                   "has no target");
    assert_false(file_exists(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns), cmocka_unit_test(goes_on), cmocka_unit_test(is_used),
                                       cmocka_unit_test(by_list_and_look), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("tune_prompt", tests, make_pairs, NULL);
}
