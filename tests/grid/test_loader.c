/* test_loader.c - what training sees: the same whatever the threads and wherever a run began, masks that hide what they should,
 * and folders with broken pictures. */
#include "../support/program.h"

#include "grid/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CANVAS = 48, PATCH = 8, SIDE = 6, BATCH = 3, BYTES = BATCH * CANVAS * CANVAS * 3 };

static ts_loader *open_ok(const ts_loader_desc *desc)
{
    ts_error err = {0};
    ts_loader *l = ts_loader_new(desc, &err);
    if (!l) fail_msg("%s", err.text);
    return l;
}

static ts_batch next_ok(ts_loader *l)
{
    ts_error err = {0};
    ts_batch b;
    if (!ts_loader_next(l, &b, &err)) fail_msg("%s", err.text);
    return b;
}

/* A folder of pictures in two levels, one of them broken, made once. */
static const char *folder(void)
{
    static char path[512];
    if (path[0]) return path;
    snprintf(path, sizeof path, "%s", temp_path("pictures"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(temp_path("pictures/deeper"), 0700), 0);
    for (int i = 0; i < 5; i++) write_picture(temp_path("pictures/%s%d.png", i % 2 ? "deeper/" : "", i), 30 + i, 60 - 7 * i, i);
    write_text(temp_path("pictures/deeper/broken.jpg"), "no picture");
    write_text(temp_path("pictures/notes.txt"), "none either");
    return path;
}

static ts_loader_desc mixed(const ts_loader_source sources[2])
{
    return (ts_loader_desc){.sources = sources,
                            .count = 2,
                            .canvas = CANVAS,
                            .patch = PATCH,
                            .batch = BATCH,
                            .visible = 9,
                            .cell_share = 0.5,
                            .seed = 5};
}

static void same_whatever_the_threads(void **state)
{
    (void)state;
    enum { BATCHES = 6 };
    const ts_loader_source sources[] = {{folder(), 2}, {"figures:flip,segment", 1}};
    static uint8_t pixels[BATCHES][BYTES];
    static int32_t keep[BATCHES][BATCH * 9];
    ts_loader_desc desc = mixed(sources);
    ts_loader *l = open_ok(&desc);
    assert_int_equal(ts_loader_pictures(l), 6);
    for (int i = 0; i < BATCHES; i++) {
        ts_batch b = next_ok(l);
        memcpy(pixels[i], b.pixels, BYTES);
        memcpy(keep[i], b.keep, sizeof keep[i]);
        if (i > 0) assert_true(memcmp(pixels[i], pixels[i - 1], BYTES) != 0);
    }
    ts_error complaint = {0};
    assert_true(ts_loader_skipped(l, &complaint));
    assert_non_null(strstr(complaint.text, "broken.jpg"));
    assert_false(ts_loader_skipped(l, &complaint));
    assert_true(ts_loader_waited_ms(l) >= 0);
    ts_loader_free(l);
    for (int threads = 2; threads <= 5; threads += 3) {
        desc.threads = threads;
        desc.ahead = threads == 2 ? 1 : 9;
        desc.first = threads == 2 ? 0 : 2;
        desc.cache_bytes = threads == 2 ? 1 : 0; /* nothing fits */
        l = open_ok(&desc);
        for (int64_t i = desc.first; i < BATCHES; i++) {
            ts_batch b = next_ok(l);
            assert_memory_equal(pixels[i], b.pixels, BYTES);
            assert_memory_equal(keep[i], b.keep, sizeof keep[i]);
        }
        ts_loader_free(l);
    }
    desc.first = 0;
    desc.validation = true;
    l = open_ok(&desc);
    assert_true(memcmp(pixels[0], next_ok(l).pixels, BYTES) != 0);
    ts_loader_free(l);
    desc.validation = false;
    desc.seed++;
    l = open_ok(&desc);
    assert_true(memcmp(pixels[0], next_ok(l).pixels, BYTES) != 0);
    ts_loader_free(l);
}

static void masks(void **state)
{
    (void)state;
    const ts_loader_source sources[] = {{"figures:", 1}, {folder(), 1}};
    ts_loader_desc desc = mixed(sources);
    for (int share = 0; share < 2; share++) {
        int seen_in_holes = 0;
        desc.cell_share = share;
        ts_loader *l = open_ok(&desc);
        for (int i = 0; i < 8; i++) {
            ts_batch b = next_ok(l);
            for (int k = 0; k < BATCH; k++) {
                const int32_t *keep = b.keep + k * 9;
                for (int at = 0; at < 9; at++) {
                    assert_true(keep[at] >= 0 && keep[at] < SIDE * SIDE);
                    if (at > 0) assert_true(keep[at] > keep[at - 1]);
                    seen_in_holes += ts_grid_hidden(&b.grids[k], keep[at] / SIDE, keep[at] % SIDE);
                }
            }
        }
        if (share == 1) assert_int_equal(seen_in_holes, 0);
        else assert_true(seen_in_holes > 0);
        ts_loader_free(l);
    }
    /* More visible patches than lie outside the hole: all of those, and some of the hole's. */
    desc.visible = SIDE * SIDE - 1;
    ts_loader *l = open_ok(&desc);
    ts_batch b = next_ok(l);
    int hidden = 0;
    for (int i = 0; i < SIDE * SIDE; i++) hidden += ts_grid_hidden(&b.grids[0], i / SIDE, i % SIDE);
    for (int at = 0; at < desc.visible; at++) hidden -= ts_grid_hidden(&b.grids[0], b.keep[at] / SIDE, b.keep[at] % SIDE);
    assert_int_equal(hidden, 1);
    ts_loader_free(l);
    desc.visible = 0;
    l = open_ok(&desc);
    assert_null(next_ok(l).keep);
    ts_loader_free(l);
}

/* Every picture comes once in each epoch: pictures of one colour tell which they were. */
static void epochs(void **state)
{
    (void)state;
    enum { COUNT = 11 };
    assert_int_equal(mkdir(temp_path("flat"), 0700), 0);
    for (int i = 0; i < COUNT; i++) {
        ts_image img;
        ts_error err = {0};
        assert_true(ts_image_new(9, 9, &img, &err));
        memset(img.data, 20 * (i + 1), 9 * 9 * 3);
        assert_true(ts_image_save(temp_path("flat/%d.png", i), &img, &err));
        ts_image_clear(&img);
    }
    const ts_loader_source source = {temp_path("flat"), 1};
    ts_loader_desc desc = {.sources = &source, .count = 1, .canvas = 16, .patch = 8, .batch = 1, .seed = 1};
    ts_loader *l = open_ok(&desc);
    int order[2][COUNT];
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[COUNT] = {0};
        for (int i = 0; i < ts_loader_pictures(l); i++) {
            order[epoch][i] = next_ok(l).pixels[0] / 20 - 1;
            assert_in_range(order[epoch][i], 0, COUNT - 1);
            assert_int_equal(seen[order[epoch][i]]++, 0);
        }
    }
    assert_memory_not_equal(order[0], order[1], (size_t)ts_loader_pictures(l) * sizeof(int));
    ts_loader_free(l);
}

static void refuse(const ts_loader_desc *desc, const char *word)
{
    ts_error err = {0};
    ts_loader *l = ts_loader_new(desc, &err);
    assert_null(l);
    if (!strstr(err.text, word)) fail_msg("wanted \"%s\" in: %s", word, err.text);
}

static void refused(void **state)
{
    (void)state;
    ts_loader_source source = {"figures:", 1};
    ts_loader_desc good = {.sources = &source, .count = 1, .canvas = CANVAS, .patch = PATCH, .batch = BATCH, .visible = 9};
    ts_loader_desc desc = good;
    desc.patch = 7;
    refuse(&desc, "does not divide");
    desc = good;
    desc.visible = SIDE * SIDE;
    refuse(&desc, "visible");
    desc = good;
    desc.batch = 0;
    refuse(&desc, "batch");
    source.path = "figures:paint";
    refuse(&good, "no task paint");
    source.path = "/nonexistent/pictures";
    refuse(&good, "/nonexistent/pictures");
    assert_int_equal(mkdir(temp_path("empty"), 0700), 0);
    source.path = temp_path("empty");
    refuse(&good, "no picture");
    /* Nothing but broken pictures: the batch fails, and says so again. */
    assert_int_equal(mkdir(temp_path("bad"), 0700), 0);
    write_text(temp_path("bad/one.png"), "x");
    source.path = temp_path("bad");
    for (good.batch = 1; good.batch <= 3; good.batch++) { /* with one canvas, the one that fails is the last */
        ts_loader *l = open_ok(&good);
        for (int i = 0; i < 2; i++) {
            ts_error err = {0};
            ts_batch b;
            assert_false(ts_loader_next(l, &b, &err));
            assert_non_null(strstr(err.text, "broken"));
        }
        ts_loader_free(l);
    }
}

static void counts_examples(void **state)
{
    (void)state;
    ts_error err = {0};
    const ts_loader_source source = {"figures:published,plain,2,copy", 1};
    ts_loader *l = ts_loader_new(
        &(ts_loader_desc){.sources = &source, .count = 1, .canvas = 64, .patch = 8, .batch = 16, .visible = 40, .threads = 1},
        &err);
    if (!l) fail_msg("%s", err.text);
    ts_batch batch;
    if (!ts_loader_next(l, &batch, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 16; i++) assert_int_equal(batch.grids[i].desc.examples, 2);
    ts_loader_free(l);
    const ts_loader_source four = {"figures:4", 1};
    assert_null(ts_loader_new(&(ts_loader_desc){.sources = &four, .count = 1, .canvas = 64, .patch = 8, .batch = 1}, &err));
    assert_non_null(strstr(err.text, "there is no task 4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_examples), cmocka_unit_test(same_whatever_the_threads),
                                       cmocka_unit_test(masks), cmocka_unit_test(epochs), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
