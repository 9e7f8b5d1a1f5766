/* test_tune_task.c - `tessera tune task` on pairs that the test draws: a file that answers without an example, a search that
 * finds better masks and goes on from where it was stopped, and what is refused. */
#include "../support/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PAIRS = 6, SIDE = 32 };

static const char *masks, *photos, *task; /* folders of pairs; a task of the former */

static void save(const char *folder, const char *format, int number, const ts_image *img)
{
    char name[64], path[512];
    snprintf(name, sizeof name, format, number);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(ts_image_save(path, img, NULL));
}

static int make_pairs(void **state)
{
    (void)state;
    ts_image img;
    masks = kept_path("masks");
    photos = kept_path("photos");
    task = kept_path("task.safetensors");
    mkdir(masks, 0755);
    mkdir(photos, 0755);
    assert_true(ts_image_new(SIDE, SIDE, &img, NULL));
    for (int i = 0; i < PAIRS; i++)
        for (int target = 0; target < 2; target++)
            for (int mask = 0; mask < 2; mask++) {
                for (int y = 0; y < SIDE; y++)
                    for (int x = 0; x < SIDE; x++)
                        for (int c = 0; c < 3; c++) {
                            const bool inside = abs(x - 8 - 3 * i) < 7 && abs(y - 16) < 9;
                            const bool edge =
                                mask && target && abs(y - 16) < 4 && abs(x - 8 - 3 * i) == 7; /* as smooth ones have */
                            const int shade = edge ? 128 : mask && target ? 0 : (x * (3 + i) + y * 5 + 40 * c) % 200;
                            img.data[(y * SIDE + x) * 3 + c] = (uint8_t)(inside && (mask || target) ? 255 : shade);
                        }
                save(mask ? masks : photos, target ? "p%d_target.png" : "p%d.png", i, &img);
            }
    ts_image_clear(&img);
    return 0;
}

static program_result tune(const char *folder, const char *out, const char *a, const char *b, const char *c, const char *d)
{
    return program_run("tune", "task", folder, "--model", random_model(), "--device", "cpu", "-o", out, "--json", "--canvases",
                       "8", "--best", "3", "--training", "2", a, b, c, d, NULL);
}

static void one_pass(void **state)
{
    (void)state;
    cJSON *all = report(tune(masks, task, NULL, NULL, NULL, NULL));
    assert_string_equal(text(all, "measure"), "iou");
    assert_int_equal(number(all, "pairs"), PAIRS);
    assert_int_equal(number(all, "checked"), PAIRS - 2);
    assert_true(number(all, "one_pass") >= 0 && number(all, "one_pass") <= 1);
    assert_true(number(all, "patched") > 0);
    cJSON_Delete(all);
    /* The same comes of the same, and other tasks to hold it against, another share, another part make another. */
    const char *again = kept_path("again.safetensors"), *other = kept_path("other.safetensors");
    cJSON_Delete(report(tune(masks, again, NULL, NULL, NULL, NULL)));
    assert_true(same_bytes(task, again));
    all = report(tune(masks, other, "--against", photos, "--share", "0.25"));
    assert_true(number(all, "one_pass_share") == 0.25);
    assert_false(same_bytes(task, other));
    cJSON_Delete(all);
    all = report(tune(photos, other, "--grain", "tokens", "--part", "decoder"));
    assert_string_equal(text(all, "measure"), "mse");
    cJSON_Delete(all);
}

static void answers(void **state)
{
    (void)state;
    const char *query = temp_path("query.png"), *answer = temp_path("answer.png"), *mask = temp_path("mask.png");
    write_picture(query, 40, 30, 3);
    cJSON *all = report(program_run("run", "--model", random_model(), "--device", "cpu", "--task", task, "-q", query, "-o",
                                    answer, "--json", NULL));
    assert_string_equal(text(cJSON_GetArrayItem(all, 0), "task"), task);
    cJSON_Delete(all);
    ts_image img;
    assert_true(ts_image_load(answer, &img, NULL));
    assert_int_equal(img.width, 40);
    assert_int_equal(img.height, 30);
    ts_image_clear(&img);
    /* Its answers are masks, whose colours the file knows. */
    succeed(program_run("run", "--model", random_model(), "--device", "cpu", "--task", task, "-q", query, "-o", mask, "--mask",
                        "--views", "2", "--blend", "0.5", NULL));
    succeed(program_run("eval", "pairs", masks, "--model", random_model(), "--device", "cpu", "--task", task, NULL));
}

static void refused(void **state)
{
    (void)state;
    const char *query = temp_path("query.png"), *answer = temp_path("none.png");
    write_picture(query, 40, 30, 3);
#define RUN(...)                                                                                                                 \
    program_run("run", "--model", random_model(), "--device", "cpu", "--task", task, "-q", query, "-o", answer, __VA_ARGS__, NULL)
    assert_refused(RUN("-e", query, query), 2, "without an example");
    assert_refused(RUN("--ensemble", "mean"), 2, "--ensemble");
    assert_refused(RUN("--guide", "2"), 2, "--guide");
    assert_refused(RUN("--transposed"), 2, "--transposed");
#undef RUN
    assert_refused(program_run("run", "--model", random_model(), "--device", "cpu", "--task", random_model(), "-q", query, "-o",
                               answer, NULL),
                   1, "is no task");
    assert_refused(program_run("run", "--model", random_model(), "--device", "cpu", "--steps", "2", "--temperature", "1", "-e",
                               query, query, "-q", query, "-o", answer, NULL),
                   2, "--temperature");
    /* A task of a model with other weights. */
    const char *other = temp_path("other_model.safetensors");
    succeed(program_run("model", "random", other, "--seed", "5", NULL));
    assert_refused(program_run("run", "--model", other, "--device", "cpu", "--task", task, "-q", query, "-o", answer, NULL), 1,
                   "another model");
    assert_false(file_exists(answer));
    assert_refused(program_run("tune", "task", masks, NULL), 2, "-o FILE");
    assert_refused(tune("/nowhere", answer, NULL, NULL, NULL, NULL), 2, "is no folder");
    assert_refused(tune(masks, answer, "--resume", NULL, NULL, NULL), 2, "--search");
    assert_refused(tune(masks, answer, "--resume", "--search", NULL, NULL), 1, "not there");
}

static program_result search(const char *out, const char *steps, const char *resume)
{
    return program_run("tune", "task", photos, "--model", random_model(), "--device", "cpu", "-o", out, "--json", "--canvases",
                       "8", "--best", "3", "--training", "2", "--search", "--samples", "12", "--batch", "12", "--steps", steps,
                       resume, NULL);
}

static void searches(void **state)
{
    (void)state;
    const char *whole = kept_path("whole.safetensors"), *parts = kept_path("parts.safetensors");
    cJSON *all = report(search(temp_path("first.safetensors"), "1", NULL));
    const double first = number(all, "sampled");
    cJSON_Delete(all);
    all = report(search(whole, "100", NULL));
    print_message("masks drawn in the first step have an error of %g, in the last one of %g\n", first, number(all, "sampled"));
    assert_int_equal(number(all, "steps"), 100);
    assert_true(number(all, "sampled") < 0.95 * first);
    cJSON_Delete(all);
    /* Stopped in the middle, and gone on with: the same bits. */
    cJSON_Delete(report(search(parts, "50", NULL)));
    assert_refused(search(parts, "100", NULL), 1, "--resume");
    cJSON_Delete(report(search(parts, "100", "--resume")));
    assert_true(same_bytes(whole, parts));
    assert_refused(program_run("tune", "task", masks, "--model", random_model(), "--device", "cpu", "-o", parts, "--search",
                               "--resume", NULL),
                   1, "other pictures or options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_pass), cmocka_unit_test(answers), cmocka_unit_test(refused),
                                       cmocka_unit_test(searches)};
    return cmocka_run_group_tests_name("tune task", tests, make_pairs, NULL);
}
