/* test_run_retrieval.c - `tessera run --examples` and `tessera eval pairs` with it: the pairs most like each query, whatever
 * model runs; the index that notices changes; published lists; folders, lists and options that are refused. */
#include "../support/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAIRS = 4, WIDTH = 40, HEIGHT = 30 };

static const char *pairs;      /* p0 ... p3 with targets */
static const char *queries[2]; /* the same bytes as p1 and p3 */
static const char dino[] = TS_TESTS_DIR "/golden/dino/v2.safetensors";

/* A white square on black, elsewhere for each number. */
static void write_mask(const char *path, int number)
{
    ts_image img;
    assert_true(ts_image_new(WIDTH, HEIGHT, &img, NULL));
    for (int y = 6; y < 22; y++)
        for (int x = 3 * number; x < 3 * number + 16; x++) memset(img.data + (y * WIDTH + x) * 3, 255, 3);
    assert_true(ts_image_save(path, &img, NULL));
    ts_image_clear(&img);
}

static const char *make_pairs(const char *name)
{
    const char *folder = kept_path(name);
    mkdir(folder, 0755);
    for (int i = 0; i < PAIRS; i++) {
        write_picture(temp_path("%s/p%d.png", name, i), WIDTH, HEIGHT, (uint64_t)i + 1);
        write_mask(temp_path("%s/p%d_target.png", name, i), i);
    }
    return folder;
}

static int make_all(void **state)
{
    (void)state;
    pairs = make_pairs("pairs");
    queries[0] = kept_path("q1.png");
    queries[1] = kept_path("q3.png");
    write_picture(queries[0], WIDTH, HEIGHT, 2);
    write_picture(queries[1], WIDTH, HEIGHT, 4);
    return 0;
}

static program_result find(const char *folder, const char *query, const char *more, const char *value, const char *other)
{
    return program_run("run", "--model", random_model(), "--device", "cpu", "--examples", folder, "-q", query, "-o",
                       temp_path("found.png"), "--json", more, value, other, NULL);
}

/* The name of example `k` of query `at`, without its folder. */
static const char *example(const cJSON *all, int at, int k)
{
    const cJSON *found = cJSON_GetObjectItem(cJSON_GetArrayItem(all, at), "examples_found");
    return strrchr(text(cJSON_GetArrayItem(found, k), "input"), '/') + 1;
}

static int examples_of(const cJSON *all, int at)
{
    return cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(all, at), "examples_found"));
}

/* ---- what is found ---- */

static void most_alike(void **state)
{
    (void)state;
    cJSON *all = report(find(pairs, queries[0], "--top", "3", NULL));
    assert_int_equal(examples_of(all, 0), 3);
    assert_string_equal(example(all, 0, 0), "p1.png");
    double before = 2;
    for (int k = 0; k < 3; k++) {
        const cJSON *found = cJSON_GetObjectItem(cJSON_GetArrayItem(all, 0), "examples_found");
        const double likeness = number(cJSON_GetArrayItem(found, k), "likeness");
        assert_true(likeness <= before && likeness <= 1.000001);
        before = likeness;
    }
    cJSON_Delete(all);
    all = report(find(pairs, queries[1], "--by", "pixels", NULL));
    assert_string_equal(example(all, 0, 0), "p3.png");
    assert_int_equal(examples_of(all, 0), 1);
    cJSON_Delete(all);
    /* A pair is no example of itself, by whatever name it is asked. */
    const char *link = temp_path("link.png");
    unlink(link);
    assert_int_equal(symlink(temp_path("pairs/p2.png"), link), 0);
    all = report(find(pairs, link, "--top", "3", NULL));
    for (int k = 0; k < 3; k++) assert_string_not_equal(example(all, 0, k), "p2.png");
    cJSON_Delete(all);
}

static void all_there_are(void **state)
{
    (void)state;
    program_result r = find(pairs, queries[0], "--top", "9", NULL);
    assert_non_null(strstr(r.err, "4 examples are taken"));
    cJSON *all = report(r);
    assert_int_equal(examples_of(all, 0), PAIRS);
    cJSON_Delete(all);
}

/* Each query answered by its own example, as if that had been named. */
static void same_as_named(const char *model, const char *option, const char *value)
{
    const char *out = temp_path("several");
    mkdir(out, 0755);
    succeed(program_run("run", "--model", model, "--device", "cpu", "-Q", "--examples", pairs, "--by",
                        strstr(model, ".pth") ? dino : "pixels", "-q", queries[0], queries[1], "-o", out, option, value, NULL));
    for (int i = 0; i < 2; i++) {
        const int wanted = 2 * i + 1;
        const char *named = temp_path("named.png");
        succeed(program_run("run", "--model", model, "--device", "cpu", "-Q", "-e", temp_path("pairs/p%d.png", wanted),
                            temp_path("pairs/p%d_target.png", wanted), "-q", queries[i], "-o", named, option, value, NULL));
        if (!same_bytes(named, temp_path("several/q%d.png", wanted))) fail_msg("%s: query %d", model, i);
    }
}

static void any_model(void **state)
{
    (void)state;
    same_as_named(random_model(), NULL, NULL);
    same_as_named(random_model(), "--batch", "2");
    same_as_named(random_model(), "--mask", NULL);
    same_as_named(dino, "--places", "8");
    if (!file_exists(TS_GOLDEN_DIR "/sam_tiny.pth")) {
        print_message("[  SKIPPED ] ../shared/golden is not there\n");
        return;
    }
    same_as_named(TS_GOLDEN_DIR "/seggpt_tiny.pth", NULL, NULL);
    same_as_named(TS_GOLDEN_DIR "/sam_tiny.pth", NULL, NULL);
}

static void by_clip(void **state)
{
    (void)state;
    static const char clip[] = TS_GOLDEN_DIR "/clip_tiny.pt";
    if (!file_exists(clip)) skip();
    const char *const ways[][4] = {{"--clip", clip}, {"--by", clip}, {"--clip", clip, "--by", "pixels"}};
    for (int i = 0; i < 3; i++) {
        cJSON *all =
            report(program_run("run", "--model", random_model(), "--device", "cpu", "--examples", pairs, "-q", queries[1], "-o",
                               temp_path("found.png"), "--json", ways[i][0], ways[i][1], ways[i][2], ways[i][3], NULL));
        assert_string_equal(example(all, 0, 0), "p3.png");
        cJSON_Delete(all);
    }
}

/* ---- the index ---- */

static void assert_counts(const char *folder, int known, int made)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "the features of %d were known, %d are new", known, made);
    program_result r = find(folder, queries[0], NULL, NULL, NULL);
    if (r.status != 0 || !strstr(r.err, wanted)) fail_msg("status %d, \"%s\", wanted \"%s\"", r.status, r.err, wanted);
    program_free(&r);
}

static void index_notices(void **state)
{
    (void)state;
    const char *folder = make_pairs("changing"), *index = kept_path("changing/.tessera-examples-mae.safetensors");
    assert_counts(folder, 0, PAIRS);
    assert_counts(folder, PAIRS, 0);
    assert_true(file_exists(index));
    write_picture(temp_path("changing/p2.png"), WIDTH, HEIGHT + 1, 99); /* another */
    assert_counts(folder, PAIRS - 1, 1);
    write_picture(temp_path("changing/p9.png"), WIDTH, HEIGHT, 9); /* one more */
    write_mask(temp_path("changing/p9_target.png"), 1);
    assert_counts(folder, PAIRS, 1);
    unlink(temp_path("changing/p9.png"));
    unlink(temp_path("changing/p9_target.png"));
    assert_counts(folder, PAIRS, 0);
    ts_error err = {0};
    ts_weights *w = ts_weights_open(index, &err);
    assert_true(w && ts_weights_find(w, "features")->shape[0] == PAIRS);
    ts_weights_free(w);
    /* Broken, or another model's. */
    write_text(index, "no index");
    program_result r = find(folder, queries[0], NULL, NULL, NULL);
    assert_non_null(strstr(r.err, "features are made anew"));
    assert_int_equal(r.status, 0);
    program_free(&r);
    const char *other = kept_path("other.safetensors");
    succeed(program_run("model", "random", other, "--seed", "7", NULL));
    r = program_run("run", "--model", other, "--device", "cpu", "--examples", folder, "-q", queries[0], "-o",
                    temp_path("found.png"), NULL);
    if (r.status != 0 || !strstr(r.err, "another model") || !strstr(r.err, "4 are new")) fail_msg("%s", r.err);
    program_free(&r);
    assert_counts(folder, 0, PAIRS);
}

/* Where the folder takes no index the user's cache does. */
static void index_elsewhere(void **state)
{
    (void)state;
    const char *folder = make_pairs("taken");
    assert_int_equal(mkdir(temp_path("taken/.tessera-examples-mae.safetensors"), 0755), 0);
    assert_counts(folder, 0, PAIRS);
    assert_counts(folder, PAIRS, 0);
}

/* A picture that cannot be read is no example, and the others are. */
static void leaves_out(void **state)
{
    (void)state;
    const char *folder = make_pairs("broken");
    write_text(temp_path("broken/p0.png"), "no picture");
    program_result r = find(folder, queries[0], "--top", "3", NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "p0.png"));
    program_free(&r);
    r = find(folder, queries[0], "--strict", NULL, NULL);
    assert_int_equal(r.status, 1);
    program_free(&r);
    assert_refused(find(folder, queries[0], "--top", "4", "-Q"), 1, "3 that can be read");
}

/* ---- lists ---- */

static void published_lists(void **state)
{
    (void)state;
    const char *file = temp_path("top.json");
    write_text(file, "{\"q1\": [\"p3 17\", \"p0\", \"p2\"], \"p0\": [\"p0\", \"p2\", \"p1\"]}");
    cJSON *all = report(find(pairs, queries[0], "--lists", file, NULL));
    assert_string_equal(example(all, 0, 0), "p3.png");
    cJSON_Delete(all);
    all = report(find(pairs, temp_path("pairs/p0.png"), "--lists", file, NULL));
    assert_string_equal(example(all, 0, 0), "p2.png"); /* itself is left out */
    cJSON_Delete(all);
    assert_refused(find(pairs, queries[1], "--lists", file, NULL), 1, "no list for q3");
    write_text(file, "{\"q1\": [\"p7\"]}");
    assert_refused(find(pairs, queries[0], "--lists", file, NULL), 1, "names p7 as an example for q1");
    write_text(file, "nothing");
    assert_refused(find(pairs, queries[0], "--lists", file, NULL), 1, "holds no lists");
    assert_refused(find(pairs, queries[0], "--lists", "/nowhere.json", NULL), 1, "/nowhere.json");
}

/* ---- eval pairs ---- */

static program_result evaluate(const char *log, const char *a, const char *b, const char *c, const char *d)
{
    return program_run("eval", "pairs", pairs, "--model", random_model(), "--device", "cpu", "--json", "--log", log, a, b, c, d,
                       NULL);
}

static void leave_one_out(void **state)
{
    (void)state;
    const char *log = temp_path("loo.jsonl"), *file = temp_path("eval.json");
    size_t size;
    unlink(log);
    cJSON *all = report(evaluate(log, "--by", "mae", "--top", "2"));
    assert_int_equal((int)number(all, "examples"), 2);
    assert_int_equal((int)number(all, "trials"), PAIRS);
    cJSON_Delete(all);
    char *rest = (char *)read_bytes(log, &size), *bytes = rest, *line;
    rest[size - 1] = '\0';
    for (int i = 0; (line = strsep(&rest, "\n")); i++) {
        cJSON *json = cJSON_Parse(line), *shown;
        if (i > 0)
            cJSON_ArrayForEach(shown, cJSON_GetObjectItem(json, "examples"))
                assert_string_not_equal(shown->valuestring, text(json, "query"));
        cJSON_Delete(json);
    }
    free(bytes);
    succeed(evaluate(log, "--by", "mae", "--top", "2")); /* all of it is there */
    assert_refused(evaluate(log, "--by", "mae", "--top", "1"), 1, "another evaluation");
    /* From a list, and from another folder. */
    write_text(file, "{\"p0\": [\"p0\", \"p1\"], \"p1\": [\"p3\"], \"p2\": [\"p1\"], \"p3\": [\"p1\"]}");
    unlink(log);
    succeed(evaluate(log, "--lists", file, NULL, NULL));
    unlink(log);
    const char *others = make_pairs("others");
    succeed(evaluate(log, "--examples", others, "--top", "4"));
    assert_refused(evaluate(temp_path("x.jsonl"), "--examples", "2", "--top", "2"), 2, "not both");
    assert_refused(evaluate(temp_path("x.jsonl"), "--examples", "/nowhere", NULL, NULL), 2, "neither a number");
    assert_refused(evaluate(temp_path("x.jsonl"), "--list", file, "--top", "2"), 2, "--list says");
}

/* ---- what is refused ---- */

static void refuses(void **state)
{
    (void)state;
    const char *empty = temp_path("empty"), *single = temp_path("single");
    mkdir(empty, 0755);
    mkdir(single, 0755);
    assert_refused(find(empty, queries[0], NULL, NULL, NULL), 1, "holds no picture");
    assert_refused(find("/nowhere", queries[0], NULL, NULL, NULL), 2, "is no folder");
    write_picture(temp_path("single/a.png"), WIDTH, HEIGHT, 1);
    assert_refused(find(single, queries[0], NULL, NULL, NULL), 1, "has no target");
    write_mask(temp_path("single/a_target.png"), 1);
    assert_refused(find(single, temp_path("single/a.png"), "-Q", NULL, NULL), 1, "but itself");
    assert_refused(find(pairs, queries[0], "--by", "clip", NULL), 1, "--clip FILE");
    assert_refused(find(pairs, queries[0], "--by", "/nowhere.pt", NULL), 1, "/nowhere.pt");
    assert_refused(find(pairs, queries[0], "--by", TS_TESTS_DIR "/golden/retrieval.safetensors", NULL), 1,
                   "no features to compare");
    assert_refused(find(pairs, queries[0], "--top", "65", NULL), 2, "1 to 64");
    assert_refused(program_run("run", "--examples", pairs, "-e", queries[0], queries[0], "-q", queries[0], "-o", "a.png", NULL),
                   2, "not both");
    assert_refused(program_run("run", "-e", queries[0], queries[0], "-q", queries[0], "-o", "a.png", "--top", "2", NULL), 2,
                   "--examples DIR");
    assert_refused(
        program_run("run", "--examples", pairs, "--lists", "a.json", "--by", "mae", "-q", queries[0], "-o", "a.png", NULL), 2,
        "not with --by");
    assert_refused(program_run("run", "--model", dino, "--device", "cpu", "--examples", pairs, "--by", "mae", "-q", queries[0],
                               "-o", temp_path("a.png"), NULL),
                   1, "a DINOv2");
    assert_refused(program_run("run", "--model", random_model(), "--device", "cpu", "--examples", pairs, "-q", queries[0], "-o",
                               temp_path("pairs/p2_target.png"), NULL),
                   1, "overwrite the example");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_alike), cmocka_unit_test(all_there_are),   cmocka_unit_test(any_model),
        cmocka_unit_test(by_clip),    cmocka_unit_test(index_notices),   cmocka_unit_test(index_elsewhere),
        cmocka_unit_test(leaves_out), cmocka_unit_test(published_lists), cmocka_unit_test(leave_one_out),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("run_retrieval", tests, make_all, NULL);
}
