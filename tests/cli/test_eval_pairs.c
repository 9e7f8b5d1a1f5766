/* test_eval_pairs.c - `tessera eval pairs` on folders that the test draws: known scores, the same trials however they are cut
 * into parts or stopped, lists of examples, and folders that are no pairs. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAIRS = 5, WIDTH = 32, HEIGHT = 24 };

static const char *masks, *photos; /* folders of pairs */

static void save(const char *path, const ts_image *img)
{
    assert_true(ts_image_save(path, img, NULL));
}

/* A square of white on black, at another place for each number. */
static void draw_mask(ts_image *img, int number)
{
    memset(img->data, 0, WIDTH * HEIGHT * 3);
    for (int y = 4; y < 16; y++)
        for (int x = 2 * number; x < 2 * number + 12; x++) memset(img->data + (y * WIDTH + x) * 3, 255, 3);
}

static void path_in(char out[512], const char *folder, const char *format, int number)
{
    char name[64];
    snprintf(name, sizeof name, format, number);
    snprintf(out, 512, "%s/%s", folder, name);
}

static int make_pairs(void **state)
{
    (void)state;
    char path[512];
    ts_image img;
    masks = kept_path("masks");
    photos = kept_path("photos");
    mkdir(masks, 0755);
    mkdir(photos, 0755);
    assert_true(ts_image_new(WIDTH, HEIGHT, &img, NULL));
    for (int i = 0; i < PAIRS; i++) {
        draw_mask(&img, i); /* the input is its own target */
        path_in(path, masks, "m%d.png", i);
        save(path, &img);
        path_in(path, masks, "m%d_target.png", i);
        save(path, &img);
        path_in(path, photos, "p%d.png", i);
        write_picture(path, WIDTH, HEIGHT, (uint64_t)i + 1);
        path_in(path, photos, "p%d_target.jpg", i);
        write_picture(path, WIDTH, HEIGHT, (uint64_t)i + 11);
    }
    ts_image_clear(&img);
    return 0;
}

static program_result measure(const char *folder, const char *option, const char *value, const char *more, const char *other)
{
    return program_run("eval", "pairs", folder, "--model", random_model(), "--device", "cpu", "--json", option, value, more,
                       other, NULL);
}

static double mean_of(const cJSON *all, const char *who, const char *metric)
{
    const cJSON *x = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(all, "scores"), who), metric);
    return x ? cJSON_GetObjectItem(x, "mean")->valuedouble : (double)NAN;
}

static void assert_close(double have, double want, double tolerance)
{
    assert_true(fabs(have - want) <= tolerance);
}

static cJSON *report(program_result r)
{
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    cJSON *all = cJSON_Parse(r.out);
    assert_non_null(all);
    for (const cJSON *item = all->child; item; item = item->next) /* no name stands twice */
        assert_ptr_equal(cJSON_GetObjectItem(all, item->string), item);
    program_free(&r);
    return all;
}

/* Copying the query is right, and the example's square overlaps by what its distance leaves. */
static void scores_masks(void **state)
{
    (void)state;
    const char *list = temp_path("list.txt");
    write_text(list, "# far apart, and next to each other\nm0 m3\n\nm1 m2\n");
    cJSON *all = report(measure(masks, "--list", list, NULL, NULL));
    assert_int_equal(cJSON_GetObjectItem(all, "trials")->valueint, 2);
    assert_close(mean_of(all, "copy_query", "iou"), 1, 0);
    assert_close(mean_of(all, "copy_query", "accuracy"), 1, 0);
    assert_close(mean_of(all, "copy_example", "iou"), (6.0 / 18 + 10.0 / 14) / 2, 1e-9);
    assert_close(mean_of(all, "copy_example", "iou_all"), (6.0 / 18 + 10.0 / 14) / 2, 1e-9);
    assert_true(mean_of(all, "model", "iou") >= 0 && mean_of(all, "right_codes", "iou") <= 1);
    assert_true(isnan(mean_of(all, "model", "mse")));
    cJSON_Delete(all);
}

/* Against the sums written out. */
static void scores_photos(void **state)
{
    (void)state;
    char path[512];
    ts_image a, b;
    const char *list = temp_path("one.txt");
    write_text(list, "p0 p1\n");
    cJSON *all = report(measure(photos, "--list", list, NULL, NULL));
    path_in(path, photos, "p%d_target.jpg", 0);
    assert_true(ts_image_load(path, &a, NULL));
    path_in(path, photos, "p%d.png", 0);
    assert_true(ts_image_load(path, &b, NULL));
    double mse = 0;
    for (int i = 0; i < WIDTH * HEIGHT * 3; i++) mse += pow((a.data[i] - b.data[i]) / 255.0, 2) / (WIDTH * HEIGHT * 3);
    assert_close(mean_of(all, "copy_query", "mse"), mse, 1e-9);
    assert_close(mean_of(all, "copy_query", "psnr"), -10 * log10(mse), 1e-6);
    const double ssim = mean_of(all, "copy_query", "ssim");
    assert_true(ssim > -1 && ssim < 1);
    assert_true(isnan(mean_of(all, "model", "iou")));
    ts_image_clear(&a);
    ts_image_clear(&b);
    cJSON_Delete(all);
}

/* The query is its own target: it looks like it. */
static void looks(void **state)
{
    (void)state;
    const char *weights = TS_TESTS_DIR "/golden/vqgan_lpips.safetensors", *list = temp_path("looks.txt");
    write_text(list, "m0 m3\nm1 m2\n");
    cJSON *all = report(measure(masks, "--lpips", weights, "--list", list));
    assert_close(mean_of(all, "copy_query", "lpips"), 0, 1e-7);
    assert_true(mean_of(all, "copy_example", "lpips") > 1e-3 && mean_of(all, "model", "lpips") > 1e-3);
    assert_true(isnan(mean_of(all, "model", "mse")));
    cJSON_Delete(all);
    assert_refused(measure(masks, "--lpips", random_model(), NULL, NULL), 1, "LPIPS");
    assert_refused(measure(masks, "--vgg", weights, NULL, NULL), 2, "--lpips");
}

/* Parts put together, and an evaluation that was stopped in the middle of a line, give what one run does. */
static void parts_and_resume(void **state)
{
    (void)state;
    const char *whole = temp_path("whole.jsonl"), *one = temp_path("one.jsonl"), *two = temp_path("two.jsonl");
    program_result all = measure(photos, "--log", whole, "--seed", "3");
    if (all.status != 0) fail_msg("%s", all.err);
    program_free(&all);
    succeed(program_run("eval", "pairs", photos, "--model", random_model(), "--device", "cpu", "--seed", "3", "--log", one,
                        "--part", "1/2", NULL));
    succeed(program_run("eval", "pairs", photos, "--model", random_model(), "--device", "cpu", "--seed", "3", "--log", two,
                        "--part", "2/2", NULL));
    program_result merged = program_run("eval", "merge", two, one, NULL), single = program_run("eval", "merge", whole, NULL);
    assert_int_equal(merged.status, 0);
    assert_string_equal(merged.out, single.out);
    assert_non_null(strstr(merged.out, "5 trials"));
    program_free(&merged);
    program_free(&single);

    size_t size;
    unsigned char *bytes = read_bytes(whole, &size);
    const char *cut = temp_path("cut.jsonl");
    write_bytes(cut, bytes, size - 20);
    free(bytes);
    program_result again = measure(photos, "--log", cut, "--seed", "3");
    assert_int_equal(again.status, 0);
    program_free(&again);
    assert_true(same_bytes(cut, whole));
    assert_refused(measure(photos, "--log", cut, "--seed", "4"), 1, "another evaluation");
    assert_refused(measure(photos, "--log", cut, "--temperature", "0.5"), 1, "another evaluation");
    assert_refused(program_run("eval", "merge", one, one, NULL), 1, "was there already");
    write_text(cut, "{\"measured\":\"pairs\",\"trials\":2}\n{\"trial\":2e60}\n");
    assert_refused(program_run("eval", "merge", cut, NULL), 1, "line 2");
}

/* The model's scores in the line of a journal that is `number`th, as text; free(). */
static char *line_of(const char *path, int number)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    char *rest = (char *)bytes, *line = NULL;
    rest[size - 1] = '\0';
    for (int i = 0; i <= number; i++) line = strsep(&rest, "\n");
    cJSON *json = cJSON_Parse(line);
    char *text = cJSON_PrintUnformatted(cJSON_GetObjectItem(json, "model"));
    cJSON_Delete(json);
    free(bytes);
    return text;
}

static void check_alone(const char *model, const char *option, const char *value)
{
    const char *both = temp_path("both.txt"), *second = temp_path("second.txt"), *log = temp_path("both.jsonl"),
               *log_alone = temp_path("second.jsonl");
    write_text(both, "m0 m3\nm1 m2\n");
    write_text(second, "m1 m2\n");
    const char *const lists[2] = {both, second}, *const logs[2] = {log, log_alone};
    for (int i = 0; i < 2; i++)
        succeed(program_run("eval", "pairs", masks, "--model", model, "--device", "cpu", "-Q", "--list", lists[i], "--log",
                            logs[i], option, value, NULL));
    char *after = line_of(log, 2), *alone = line_of(log_alone, 1);
    assert_non_null(strstr(after, "iou"));
    assert_string_equal(after, alone);
    free(after);
    free(alone);
    unlink(log);
    unlink(log_alone);
}

/* Every kind of model that run takes; what it saw in the trial before is forgotten. */
static void asks_each_alone(void **state)
{
    (void)state;
    check_alone(random_model(), NULL, NULL);
    check_alone(TS_TESTS_DIR "/golden/dino/v2.safetensors", "--places", "8");
    if (!file_exists(TS_GOLDEN_DIR "/sam_tiny.pth")) {
        print_message("[  SKIPPED ] ../shared/golden is not there\n");
        return;
    }
    check_alone(TS_GOLDEN_DIR "/seggpt_tiny.pth", NULL, NULL);
    check_alone(TS_GOLDEN_DIR "/sam_tiny.pth", NULL, NULL);
    check_alone(TS_GOLDEN_DIR "/sam_tiny.pth", "--tune", NULL);
    check_alone(TS_GOLDEN_DIR "/sam_tiny.pth", "--features", TS_TESTS_DIR "/golden/dino/v2.safetensors");
}

/* One broken picture is left out, and said. */
static void leaves_out(void **state)
{
    (void)state;
    char path[512];
    const char *folder = temp_path("broken");
    ts_image img;
    mkdir(folder, 0755);
    assert_true(ts_image_new(WIDTH, HEIGHT, &img, NULL));
    for (int i = 0; i < 3; i++) {
        draw_mask(&img, i);
        path_in(path, folder, "m%d.png", i);
        save(path, &img);
        path_in(path, folder, "m%d_target.png", i);
        save(path, &img);
    }
    ts_image_clear(&img);
    path_in(path, folder, "m%d.png", 1);
    write_text(path, "no picture");
    program_result r = measure(folder, "--examples", "1", NULL, NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "m1.png"));
    program_free(&r);
    assert_refused(measure(folder, "--strict", NULL, NULL, NULL), 1, "m1.png");
    /* A target of another size than its picture. */
    path_in(path, folder, "m%d.png", 1);
    write_picture(path, WIDTH + 1, HEIGHT, 1);
    r = measure(folder, "--strict", NULL, NULL, NULL);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.err, "33 x 24"));
    program_free(&r);
}

static void refuses(void **state)
{
    (void)state;
    char path[512];
    const char *folder = temp_path("odd"), *list = temp_path("bad.txt");
    mkdir(folder, 0755);
    path_in(path, folder, "a%d.png", 0);
    write_picture(path, WIDTH, HEIGHT, 1);
    assert_refused(measure(folder, NULL, NULL, NULL, NULL), 1, "has no target");
    path_in(path, folder, "a%d_target.png", 0);
    write_picture(path, WIDTH, HEIGHT, 1);
    assert_refused(measure(folder, NULL, NULL, NULL, NULL), 1, "two at least");
    path_in(path, folder, "b%d_target.png", 0);
    write_picture(path, WIDTH, HEIGHT, 1);
    assert_refused(measure(folder, NULL, NULL, NULL, NULL), 1, "target of no picture");
    path_in(path, folder, "a%d.jpg", 0);
    write_picture(path, WIDTH, HEIGHT, 1);
    assert_refused(measure(folder, NULL, NULL, NULL, NULL), 1, "one name");
    assert_refused(measure(masks, "--examples", "5", NULL, NULL), 1, "at most 4");
    assert_refused(measure(masks, "--part", "3/2", NULL, NULL), 2, "K/N");
    write_text(list, "m0 m9\n");
    assert_refused(measure(masks, "--list", list, NULL, NULL), 1, "line 1: there is no pair m9");
    write_text(list, "m0\n");
    assert_refused(measure(masks, "--list", list, NULL, NULL), 1, "names no example");
    assert_refused(program_run("eval", "pairs", "/nowhere", NULL), 2, "no folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_masks), cmocka_unit_test(scores_photos),   cmocka_unit_test(parts_and_resume),
        cmocka_unit_test(looks),        cmocka_unit_test(asks_each_alone), cmocka_unit_test(leaves_out),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("eval_pairs", tests, make_pairs, NULL);
}
