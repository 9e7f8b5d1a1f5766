/* test_ensemble.c - eight arrangements of a pair: each alone gives the numbers that it gives among the others, and what is fused
 * of them is what the single runs say. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mae/mae.h"

enum {
    SIDE = 4,
    PLACES = 16,
    CANVAS = 64,
    CODES = 1024,
    HEADS = 4,
    ALL = TS_GRID_ARRANGEMENTS,
    EACH = PLACES * CODES,
    CELL = 31
};

typedef struct {
    ts_device *dev;
    ts_weights *w;
    ts_inpainter *ip;
    ts_grid grids[ALL];
    ts_image canvas[ALL];
    float *alone; /* (ALL, PLACES, CODES), each arrangement's logits by itself */
} bench;

static ts_image smooth(int width, int height, int seed)
{
    ts_image img;
    assert_true(ts_image_new(width, height, &img, NULL));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                img.data[(y * width + x) * 3 + c] = (uint8_t)(128 + 100 * sin(0.2 * x + seed + c) * cos(0.15 * y - seed));
    return img;
}

static void open_bench(bench *b, const char *device)
{
    ts_error err = {0};
    b->w = open_golden("mae_vqgan_tiny.pth");
    b->dev = ts_device_open(&(ts_device_desc){.name = device}, &err);
    if (!b->dev) fail_msg("%s", err.text);
    b->ip = ts_inpainter_new(
        b->dev, &(ts_inpainter_desc){.weights = b->w, .heads = HEADS, .decoder_heads = HEADS, .batch = ALL + 1}, &err);
    if (!b->ip) fail_msg("%s", err.text);
    ts_image in = smooth(40, 30, 1), out = smooth(40, 30, 2), query = smooth(50, 20, 3);
    b->alone = malloc((size_t)ALL * EACH * sizeof *b->alone);
    for (int i = 0; i < ALL; i++) {
        ts_grid_desc desc = {.canvas = CANVAS, .patch = 16};
        ts_grid_arrange(&desc, i + 1);
        if (!ts_grid_plan(&desc, &b->grids[i], &err) ||
            !ts_grid_compose(&b->grids[i], &(ts_example){&in, &out}, &query, &b->canvas[i], &err) ||
            !ts_inpainter_predict(b->ip, &b->grids[i], &b->canvas[i], 1, NULL, b->alone + i * EACH, NULL, &err))
            fail_msg("%s", err.text);
    }
    ts_image_clear(&in);
    ts_image_clear(&out);
    ts_image_clear(&query);
}

static void close_bench(bench *b)
{
    for (int i = 0; i < ALL; i++) ts_image_clear(&b->canvas[i]);
    free(b->alone);
    ts_inpainter_free(b->ip);
    ts_device_free(b->dev);
    ts_weights_free(b->w);
}

/* Patch of arrangement `a` that shows what patch (row, col) of the hole does in the first. */
static int same_place(const bench *b, int a, int row, int col)
{
    return (b->grids[a].hole.y / 16 + row) * SIDE + b->grids[a].hole.x / 16 + col;
}

static void probabilities(const float *logits, double *out)
{
    double sum = 0;
    for (int i = 0; i < CODES; i++) sum += out[i] = exp((double)logits[i]);
    for (int i = 0; i < CODES; i++) out[i] /= sum;
}

static void check_fused(bench *b)
{
    ts_error err = {0};
    static double p[ALL][CODES];
    float *together = malloc((size_t)ALL * EACH * sizeof *together), *fused = malloc((size_t)ALL * EACH * sizeof *fused);
    const ts_arranged arranged = {b->grids, ALL, 1};
    if (!ts_inpainter_predict_arranged(b->ip, &arranged, b->canvas, ALL, NULL, together, NULL, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(together, b->alone, ALL * EACH) < 1e-5);
    for (int how = TS_ENSEMBLE_MEAN; how <= TS_ENSEMBLE_MAX; how++) {
        memcpy(fused, together, (size_t)ALL * EACH * sizeof *fused);
        ts_fuse_arrangements(b->grids, ALL, (ts_ensemble)how, fused, CODES);
        for (int row = 0; row < 2; row++)
            for (int col = 0; col < 2; col++) {
                for (int a = 0; a < ALL; a++) probabilities(b->alone + a * EACH + same_place(b, a, row, col) * CODES, p[a]);
                const float *have = fused + same_place(b, 0, row, col) * CODES;
                for (int i = 0; i < CODES; i++) {
                    double mean = 0, product = 1, most = 0;
                    for (int a = 0; a < ALL; a++) {
                        mean += p[a][i] / ALL;
                        product *= p[a][i];
                        most = fmax(most, p[a][i]);
                    }
                    if (how == TS_ENSEMBLE_MEAN) assert_float_equal(exp((double)have[i]), mean, 1e-5);
                    else if (how == TS_ENSEMBLE_MAX) assert_float_equal(exp((double)have[i]), most, 1e-5);
                    else assert_float_equal(have[i], (float)log(product), 1e-3);
                }
            }
        /* What is visible in the first arrangement stays its own. */
        assert_memory_equal(fused, together, (size_t)2 * SIDE * CODES * sizeof *fused);
    }
    free(together);
    free(fused);
}

/* The run itself takes the likeliest of the fused codes, for several queries and beside views and own codes. */
static void check_run(bench *b)
{
    ts_error err = {0};
    float *fused = malloc((size_t)ALL * EACH * sizeof *fused);
    memcpy(fused, b->alone, (size_t)ALL * EACH * sizeof *fused);
    ts_fuse_arrangements(b->grids, ALL, TS_ENSEMBLE_MEAN, fused, CODES);
    int32_t codes[PLACES];
    ts_sample_codes(fused, PLACES, CODES, 0, 0, codes);
    ts_image canvas[2 * ALL];
    memcpy(canvas, b->canvas, sizeof b->canvas);
    memcpy(canvas + ALL, b->canvas, sizeof b->canvas);
    ts_inpainted out[2];
    for (int views = 1; views < 3; views++)
        for (int own = 0; own < 2; own++) {
            const ts_inpaint_options how = {.arrangements = ALL, .keep_visible_codes = own, .views = views};
            if (!ts_inpainter_run(b->ip, b->grids, canvas, 2, &how, out, NULL, &err)) fail_msg("%s", err.text);
            for (int i = 0; i < PLACES; i++)
                for (int k = 0; k < 2; k++)
                    if (!own || ts_grid_hidden(&b->grids[0], i / SIDE, i % SIDE)) assert_int_equal(out[k].codes[i], codes[i]);
            assert_memory_equal(out[0].pasted.data, out[1].pasted.data, CANVAS * CANVAS * 3);
            for (int k = 0; k < 2; k++) ts_inpainted_clear(&out[k]);
        }
    free(fused);
}

/* Pixels: the mean of eight answers, and the vote. */
static void check_pixels(bench *b)
{
    ts_error err = {0};
    ts_inpainted single[ALL], out;
    for (int a = 0; a < ALL; a++)
        if (!ts_inpainter_run(b->ip, &b->grids[a], &b->canvas[a], 1, NULL, &single[a], NULL, &err)) fail_msg("%s", err.text);
    for (int vote = 0; vote < 2; vote++) {
        const ts_inpaint_options how = {.arrangements = ALL, .ensemble = vote ? TS_ENSEMBLE_VOTE : TS_ENSEMBLE_PIXELS};
        if (!ts_inpainter_run(b->ip, b->grids, b->canvas, 1, &how, &out, NULL, &err)) fail_msg("%s", err.text);
        for (int y = 0; y < CELL; y++)
            for (int x = 0; x < CELL; x++)
                for (int c = 0; c < 3; c++) {
                    int sum = 0;
                    for (int a = 0; a < ALL; a++) {
                        const ts_cell *hole = &b->grids[a].hole;
                        sum += single[a].pasted.data[((hole->y + y) * CANVAS + hole->x + x) * 3 + c];
                    }
                    const ts_cell *hole = &b->grids[0].hole;
                    const int have = out.pasted.data[((hole->y + y) * CANVAS + hole->x + x) * 3 + c];
                    if (vote) assert_int_equal(have, sum > 127 * ALL ? 255 : 0);
                    else assert_true(abs(have * ALL - sum) <= ALL / 2);
                }
        ts_inpainted_clear(&out);
    }
    for (int a = 0; a < ALL; a++) ts_inpainted_clear(&single[a]);
}

static void on(const char *device)
{
    bench b;
    open_bench(&b, device);
    check_fused(&b);
    check_run(&b);
    check_pixels(&b);
    close_bench(&b);
}

static void on_the_host(void **state)
{
    (void)state;
    on("cpu");
}

static void on_vulkan(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    on("vulkan");
}

static void refuses(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, "cpu");
    ts_error err = {0};
    ts_inpainted out;
    assert_false(ts_inpainter_run(b.ip, b.grids, b.canvas, 1, &(ts_inpaint_options){.arrangements = ALL + 1}, &out, NULL, &err));
    assert_non_null(strstr(err.text, "9 arrangements"));
    /* Three rows hide another number of patches than two. */
    ts_grid mixed[2] = {b.grids[0]};
    err = (ts_error){0};
    assert_true(ts_grid_plan(&(ts_grid_desc){.canvas = CANVAS, .patch = 16, .examples = 3}, &mixed[1], NULL));
    assert_false(ts_inpainter_run(b.ip, mixed, b.canvas, 1, &(ts_inpaint_options){.arrangements = 2}, &out, NULL, &err));
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_the_host), cmocka_unit_test(on_vulkan), cmocka_unit_test(refuses),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("ensemble", tests, NULL, NULL);
}
