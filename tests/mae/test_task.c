/* test_task.c - guidance, steps and task vectors against numbers of tests/reference/make_task_golden.py on the small golden
 * model, on every backend; what a task's file says and refuses; the arithmetic of the search. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mae/prompt/prompt.h"

enum { SIDE = 4, PLACES = 16, CANVAS = 64, CODES = 1024, HEADS = 4, CELL = 31, PART = 8, SHOWN = 32, UNITS = 40 };

typedef struct {
    ts_device *dev;
    ts_weights *w, *want;
    ts_inpainter *ip;
    ts_grid grid;
} bench;

/* As make_task_golden.py draws it. */
static ts_image draw_canvas(int seed)
{
    static const int left[3] = {0, 33, 0}, top[3] = {0, 0, 33};
    ts_image img;
    assert_true(ts_image_new(CANVAS, CANVAS, &img, NULL));
    for (int k = 0; k < 3; k++)
        for (int y = 0; y < CELL; y++)
            for (int x = 0; x < CELL; x++)
                for (int c = 0; c < 3; c++)
                    img.data[((top[k] + y) * CANVAS + left[k] + x) * 3 + c] =
                        (uint8_t)((x * (3 + seed) + y * (5 + 2 * k) + x * y / (2 + k) + 60 * c + 17 * seed) % 256);
    return img;
}

static ts_weights *open_tests_golden(const char *name)
{
    char path[512];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, name);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static void open_on(bench *b, ts_device *dev, int batch)
{
    ts_error err = {0};
    *b = (bench){.dev = dev};
    b->w = open_golden("mae_vqgan_tiny.pth");
    b->want = open_tests_golden("mae_task.safetensors");
    b->ip = ts_inpainter_new(dev, &(ts_inpainter_desc){.weights = b->w, .heads = HEADS, .decoder_heads = HEADS, .batch = batch},
                             &err);
    if (!b->ip) fail_msg("%s", err.text);
    assert_true(ts_grid_plan(&(ts_grid_desc){.canvas = CANVAS, .patch = 16}, &b->grid, &err));
}

static void close_on(bench *b)
{
    ts_inpainter_free(b->ip);
    ts_weights_free(b->w);
    ts_weights_free(b->want);
}

static ts_device *open_host(ts_precision precision)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = precision}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void on_all(void (*check)(bench *b))
{
    const ts_precision precision[2] = {TS_F64, TS_F32};
    for (int i = 0; i < 2; i++)
        for (int batch = 1; batch < 4; batch += 2) {
            bench b;
            ts_device *host = open_host(precision[i]);
            open_on(&b, host, batch);
            check(&b);
            close_on(&b);
            ts_device_free(host);
        }
    if (!test_vulkan(TS_F32)) return;
    bench b;
    open_on(&b, test_vulkan(TS_F32), 3);
    check(&b);
    close_on(&b);
}

/* ---- guidance and steps ---- */

static void assert_codes(const bench *b, const char *name, const int32_t *codes)
{
    int64_t *want = golden_i64(b->want, name);
    for (int i = 0; i < PLACES; i++)
        if (codes[i] != want[i]) fail_msg("%s: place %d has %d, not %d", name, i, codes[i], (int)want[i]);
    free(want);
}

static void run(bench *b, const ts_image *canvas, int count, const ts_inpaint_options *how, ts_inpainted *out)
{
    ts_error err = {0};
    if (!ts_inpainter_run(b->ip, &b->grid, canvas, count, how, out, NULL, &err)) fail_msg("%s", err.text);
}

static void check_guided(bench *b)
{
    static const struct {
        const char *name;
        ts_inpaint_options how;
    } cases[] = {{"codes.guide", {.guide = 2}},
                 {"codes.steps", {.steps = 5, .seed = 3}},
                 {"codes.both", {.guide = 2.5, .steps = 5, .seed = 7}}};
    ts_image canvas[2] = {draw_canvas(5), draw_canvas(1)}; /* what else is in the batch makes no difference */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_inpainted out[2];
        run(b, canvas, 2, &cases[i].how, out);
        assert_codes(b, cases[i].name, out[1].codes);
        for (int k = 0; k < 2; k++) ts_inpainted_clear(&out[k]);
    }
    for (int k = 0; k < 2; k++) ts_image_clear(&canvas[k]);
}

static void guided(void **state)
{
    (void)state;
    on_all(check_guided);
}

/* A weight of 1 and one step are the plain way, bit by bit. */
static void check_off(bench *b)
{
    ts_image canvas = draw_canvas(1);
    ts_inpainted plain, off;
    for (int blend = 0; blend < 2; blend++) {
        run(b, &canvas, 1, &(ts_inpaint_options){.blend = blend}, &plain);
        run(b, &canvas, 1, &(ts_inpaint_options){.blend = blend, .guide = 1, .steps = 1}, &off);
        assert_memory_equal(plain.codes, off.codes, PLACES * sizeof *plain.codes);
        assert_memory_equal(plain.pasted.data, off.pasted.data, CANVAS * CANVAS * 3);
        ts_inpainted_clear(&plain);
        ts_inpainted_clear(&off);
    }
    ts_image_clear(&canvas);
}

static void off(void **state)
{
    (void)state;
    on_all(check_off);
}

/* With views, arrangements of every kind, several canvases of a query, own codes and blended ones they go together; twice the
 * same. */
static void together(void **state)
{
    (void)state;
    bench b;
    ts_error err = {0};
    ts_device *host = open_host(TS_F32);
    open_on(&b, host, 4);
    ts_grid grids[TS_GRID_ARRANGEMENTS];
    ts_image canvas[2 * TS_GRID_ARRANGEMENTS], in = draw_canvas(2), out = draw_canvas(3), query = draw_canvas(4);
    for (int i = 0; i < 2 * TS_GRID_ARRANGEMENTS; i++) {
        ts_grid_desc desc = {.canvas = CANVAS, .patch = 16};
        ts_grid *grid = &grids[i / 2];
        ts_grid_arrange(&desc, i / 2 + 1);
        assert_true(ts_grid_plan(&desc, grid, &err));
        const ts_example example = {i % 2 ? &out : &in, i % 2 ? &in : &out};
        assert_true(ts_grid_compose(grid, &example, &query, &canvas[i], &err));
    }
    for (int how = TS_ENSEMBLE_MEAN; how <= TS_ENSEMBLE_VOTE; how++)
        for (int kind = 0; kind < 4; kind++) {
            const ts_inpaint_options options = {.arrangements = TS_GRID_ARRANGEMENTS,
                                                .fused = 2,
                                                .ensemble = (ts_ensemble)how,
                                                .views = kind == 3 ? 2 : 1,
                                                .blend = kind == 1 ? 0.5 : 0,
                                                .keep_visible_codes = kind == 2,
                                                .guide = 1.5,
                                                .steps = 3};
            ts_inpainted first, second;
            if (!ts_inpainter_run(b.ip, grids, canvas, 1, &options, &first, NULL, &err) ||
                !ts_inpainter_run(b.ip, grids, canvas, 1, &options, &second, NULL, &err))
                fail_msg("%s", err.text);
            assert_memory_equal(first.codes, second.codes, PLACES * sizeof *first.codes);
            assert_memory_equal(first.pasted.data, second.pasted.data, CANVAS * CANVAS * 3);
            ts_inpainted_clear(&first);
            ts_inpainted_clear(&second);
        }
    for (int i = 0; i < 2 * TS_GRID_ARRANGEMENTS; i++) ts_image_clear(&canvas[i]);
    ts_image_clear(&in);
    ts_image_clear(&out);
    ts_image_clear(&query);
    close_on(&b);
    ts_device_free(host);
}

static void refuse(bench *b, const ts_inpaint_options *how, const char *says)
{
    ts_error err = {0};
    ts_inpainted out;
    ts_image canvas = draw_canvas(1);
    assert_false(ts_inpainter_run(b->ip, &b->grid, &canvas, 1, how, &out, NULL, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
    ts_image_clear(&canvas);
}

static void refused(void **state)
{
    (void)state;
    bench b;
    ts_device *host = open_host(TS_F32);
    open_on(&b, host, 1);
    const ts_predictor other = {0};
    refuse(&b, &(ts_inpaint_options){.guide = -1}, "guidance of -1");
    refuse(&b, &(ts_inpaint_options){.guide = (double)NAN}, "guidance of");
    refuse(&b, &(ts_inpaint_options){.steps = TS_INPAINT_STEPS + 1}, "17 steps");
    refuse(&b, &(ts_inpaint_options){.steps = 2, .temperature = 1}, "temperature");
    refuse(&b, &(ts_inpaint_options){.steps = 2, .predictor = &other}, "no example");
    refuse(&b, &(ts_inpaint_options){.guide = 2, .predictor = &other}, "no example");
    close_on(&b);
    ts_device_free(host);
}

/* ---- task vectors ---- */

static ts_task *new_task(bench *b)
{
    ts_error err = {0};
    ts_task *t = ts_task_new(ts_inpainter_mae(b->ip), &b->grid, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

/* Canvases `first` to first + 2 of task number `task`. */
static void collect(ts_task_collector *c, int task, int first)
{
    ts_error err = {0};
    ts_image canvas[3];
    for (int i = 0; i < 3; i++) canvas[i] = draw_canvas(first + i);
    if (!ts_task_collect(c, task, canvas, 3, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 3; i++) ts_image_clear(&canvas[i]);
}

static ts_task *collected(bench *b, double *score)
{
    ts_error err = {0};
    ts_task *t = new_task(b);
    ts_task_collector *c = ts_task_collector_new(b->ip, t, 2, &err);
    if (!c) fail_msg("%s", err.text);
    collect(c, 0, 1);
    collect(c, 1, 4);
    if (!ts_task_collected(c, t, &err) || (score && !ts_task_scores(c, TS_TASK_GROUPS, score, &err))) fail_msg("%s", err.text);
    ts_task_collector_free(c);
    return t;
}

static uint8_t *mask_of_places(const ts_task *t)
{
    uint8_t *mask = malloc((size_t)ts_task_places(t));
    for (int64_t i = 0; i < ts_task_places(t); i++) mask[i] = i * 7919 % 5 < 2;
    return mask;
}

static void check_scores(const bench *b, const double *score)
{
    float *want = golden_f32(b->want, "task.scores");
    for (int i = 0; i < UNITS; i++) assert_true(fabs(score[i] - (double)want[i]) < 1e-3 * (double)want[i]);
    free(want);
}

static void check_logits(const bench *b, const float *logits)
{
    float *want = golden_f32(b->want, "task.logits"), have[PART * SHOWN];
    for (int i = 0; i < PART; i++) memcpy(have + i * SHOWN, logits + (PART + i) * CODES, SHOWN * sizeof *have);
    assert_true(relative_error(have, want, PART * SHOWN) < 1e-4);
    assert_memory_equal(logits, logits + PART * CODES, PART * CODES * sizeof *logits);
    free(want);
}

static void check_patched(bench *b)
{
    ts_error err = {0};
    double score[UNITS];
    ts_task *t = collected(b, score);
    assert_int_equal(ts_task_units(t, TS_TASK_GROUPS), UNITS);
    check_scores(b, score);
    uint8_t *mask = mask_of_places(t), *masks = calloc(2, (size_t)ts_task_places(t));
    memcpy(masks + ts_task_places(t), mask, (size_t)ts_task_places(t)); /* the first canvas has none */
    float *logits = malloc(2 * (size_t)PLACES * CODES * sizeof *logits), *bare = malloc((size_t)PLACES * CODES * sizeof *bare);
    int32_t codes[2 * PLACES];
    ts_image canvas[2] = {draw_canvas(9), draw_canvas(9)};
    /* A mask for each canvas, */
    ts_task_runner *own = ts_task_runner_new(b->ip, t, true, &err);
    if (!own || !ts_task_predict(own, canvas, 2, masks, codes, logits, NULL, &err)) fail_msg("%s", err.text);
    assert_codes(b, "task.codes", codes + PLACES);
    check_logits(b, logits + PLACES * CODES);
    /* and the task's for all, which leaves unpatched blocks as they are: nothing patched is then the model itself. */
    ts_task_runner *fixed = ts_task_runner_new(b->ip, t, false, &err);
    if (!fixed || !ts_task_predict(fixed, canvas, 1, NULL, NULL, bare, NULL, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(logits, bare, PLACES * CODES) < 1e-6);
    ts_task_runner_free(fixed);
    ts_task_set_mask(t, mask);
    fixed = ts_task_runner_new(b->ip, t, false, &err);
    if (!fixed || !ts_task_predict(fixed, canvas, 1, NULL, codes, logits, NULL, &err)) fail_msg("%s", err.text);
    assert_codes(b, "task.codes", codes);
    check_logits(b, logits);
    ts_task_runner_free(fixed);
    ts_task_runner_free(own);
    for (int i = 0; i < 2; i++) ts_image_clear(&canvas[i]);
    free(logits);
    free(bare);
    free(mask);
    free(masks);
    ts_task_free(t);
}

static void patched(void **state)
{
    (void)state;
    on_all(check_patched);
}

/* What has learned a task answers in the model's place, with views and blended codes too. */
static void as_predictor(void **state)
{
    (void)state;
    bench b;
    ts_error err = {0};
    ts_device *host = open_host(TS_F32);
    open_on(&b, host, 2);
    ts_task *t = collected(&b, NULL);
    uint8_t *mask = mask_of_places(t);
    ts_task_set_mask(t, mask);
    ts_task_runner *r = ts_task_runner_new(b.ip, t, false, &err);
    const ts_predictor by_task = ts_task_predictor(r);
    ts_image canvas[2] = {draw_canvas(9), draw_canvas(1)};
    ts_inpainted out[2];
    run(&b, canvas, 2, &(ts_inpaint_options){.predictor = &by_task}, out);
    assert_codes(&b, "task.codes", out[0].codes);
    for (int k = 0; k < 2; k++) ts_inpainted_clear(&out[k]);
    run(&b, canvas, 2, &(ts_inpaint_options){.predictor = &by_task, .views = 2, .blend = 0.5, .keep_visible_codes = true}, out);
    for (int k = 0; k < 2; k++) ts_inpainted_clear(&out[k]);
    for (int k = 0; k < 2; k++) ts_image_clear(&canvas[k]);
    ts_task_runner_free(r);
    free(mask);
    ts_task_free(t);
    close_on(&b);
    ts_device_free(host);
}

static ts_weights *write_task(const ts_task *t, const ts_weights *model, const char *name)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_task_add(t, model, w, &err)) fail_msg("%s", err.text);
    return write_and_open(w, name);
}

static void no_task(const ts_weights *file, const ts_weights *model, const ts_mae_config *c, const char *says)
{
    ts_error err = {0};
    assert_null(ts_task_open(file, model, c, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
}

/* The file gives the task again, to this model alone, and not where a part of it is missing. */
static void file(void **state)
{
    (void)state;
    bench b;
    ts_error err = {0};
    ts_device *host = open_host(TS_F32);
    open_on(&b, host, 1);
    const ts_mae_config *c = ts_inpainter_mae(b.ip);
    ts_task *t = collected(&b, NULL);
    uint8_t *mask = mask_of_places(t);
    ts_task_set_mask(t, mask);
    static const uint8_t colours[2][3] = {{0, 0, 0}, {255, 200, 1}};
    ts_task_set_colours(t, colours);
    ts_weights *written = write_task(t, b.w, "task");
    ts_task *again = ts_task_open(written, b.w, c, &err);
    if (!again) fail_msg("%s", err.text);
    assert_memory_equal(ts_task_mask(again), mask, (size_t)ts_task_places(t));
    assert_memory_equal(ts_task_colours(again), colours, sizeof colours);
    ts_weights *twice = write_task(again, b.w, "again");
    assert_int_equal(ts_weights_count(twice), 4);
    for (int i = 0; i < 4; i++) {
        const ts_weight *x = ts_weights_at(written, i), *y = ts_weights_at(twice, i);
        assert_memory_equal(x->data, y->data, (size_t)x->count * (x->dtype == TS_DT_U8 ? 1 : 4));
    }
    /* A copy in fp16 is the same model, other weights are another, whatever their size. */
    ts_weights_writer *half = ts_weights_writer_new();
    for (int64_t i = 0; i < ts_weights_count(b.w); i++)
        assert_true(ts_weights_writer_add_weight(half, ts_weights_at(b.w, i), TS_DT_F16, &err));
    ts_weights *narrow = write_and_open(half, "narrow"),
               *other = altered_copy(b.w, "other.safetensors", NULL, "decoder_pred.bias");
    ts_task *of_half = ts_task_open(written, narrow, c, &err);
    assert_non_null(of_half);
    no_task(written, other, c, "another model");
    no_task(b.want, b.w, c, "is no task");
    static const char *const parts[] = {"encoder.vectors", "decoder.vectors", "encoder.mask", "decoder.mask"};
    for (int i = 0; i < 4; i++) {
        ts_weights *less = altered_copy(written, "less.safetensors", parts[i], NULL);
        no_task(less, b.w, c, parts[i]);
        ts_weights_free(less);
        less = altered_copy(written, "less.safetensors", NULL, i < 2 ? parts[i] : NULL);
        if (i < 2) no_task(less, b.w, c, parts[i]);
        ts_weights_free(less);
    }
    ts_task_free(of_half);
    ts_weights_free(narrow);
    ts_weights_free(other);
    ts_weights_free(twice);
    ts_weights_free(written);
    ts_task_free(again);
    ts_task_free(t);
    free(mask);
    close_on(&b);
    ts_device_free(host);
}

/* Of the published sizes the paper's numbers of units come out; and a unit's bit goes where it belongs. */
static void units(void **state)
{
    (void)state;
    const ts_mae_config large = {.patch = 16,
                                 .side = 14,
                                 .dim = 1024,
                                 .depth = 24,
                                 .heads = 16,
                                 .decoder_dim = 512,
                                 .decoder_depth = 8,
                                 .decoder_heads = 16,
                                 .codes = 1024};
    ts_grid grid;
    ts_error err = {0};
    assert_true(ts_grid_plan(&(ts_grid_desc){0}, &grid, &err));
    ts_task *t = ts_task_new(&large, &grid, &err);
    if (!t) fail_msg("%s", err.text);
    assert_int_equal(ts_task_units(t, TS_TASK_HEADS), 512);
    assert_int_equal(ts_task_units(t, TS_TASK_GROUPS), 1152);
    assert_int_equal(ts_task_units(t, TS_TASK_TOKENS), 31872);
    assert_int_equal(ts_task_places(t), 31872);
    uint8_t *bits = calloc(1152, 1), *mask = calloc(31872, 1);
    bits[(3 * 16 + 5) * 2 + 1] = 1;               /* encoder, block 3, head 5, the query's */
    bits[24 * 16 * 2 + (7 * 16 + 2) * 3 + 2] = 1; /* decoder, block 7, head 2, the hole's */
    ts_task_spread(t, TS_TASK_GROUPS, bits, mask);
    int count = 0;
    for (int i = 0; i < 31872; i++) count += mask[i];
    assert_int_equal(count, 49 + 49);
    assert_int_equal(mask[(3 * 50 + 0) * 16 + 5], 0);
    assert_int_equal(mask[(3 * 50 + 1) * 16 + 5], 1);
    const int decoder = 24 * 50 * 16;
    assert_int_equal(mask[decoder + (7 * 99 + 1) * 16 + 2], 0); /* the query's first patch, */
    assert_int_equal(mask[decoder + (7 * 99 + 8) * 16 + 2], 1); /* and the hole's */
    assert_true(ts_task_in_part(t, TS_TASK_GROUPS, 767, TS_TASK_ENCODER));
    assert_true(ts_task_in_part(t, TS_TASK_GROUPS, 768, TS_TASK_DECODER));
    assert_false(ts_task_in_part(t, TS_TASK_GROUPS, 768, TS_TASK_ENCODER));
    free(bits);
    free(mask);
    ts_task_free(t);
    assert_true(ts_grid_plan(&(ts_grid_desc){.transposed = true}, &grid, &err));
    assert_null(ts_task_new(&large, &grid, &err));
}

/* ---- the search ---- */

static void near(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance)) fail_msg("%.9g, not %.9g", have, want);
}

/* Two units of probability 1/2, two samples, each patching one unit, losses 1 and 3: r is -+1/sqrt 2, a gradient -+1/sqrt 2 / 4,
 * and Adam's first step the rate. Then losses that are equal, which move by what is left in the moments: 0.1 * (0.09 / 0.19) /
 * sqrt(0.000999 / 0.001999) = 0.0670058. */
static void arithmetic(void **state)
{
    (void)state;
    ts_task_search s;
    ts_error err = {0};
    const uint8_t bits[4] = {1, 0, 0, 1};
    assert_true(ts_task_search_new(&s, 2, 0, &err));
    assert_true(ts_task_search_update(&s, bits, (double[]){1, 3}, 2, 0.1, 0, &err));
    const double gradient = -1 / sqrt(2) / 4;
    near(s.m[0], 0.1 * gradient, 1e-7);
    near(s.m[1], -0.1 * gradient, 1e-7);
    near(s.v[0], 0.001 * gradient * gradient, 1e-9);
    near(s.logit[0], 0.1, 1e-6);
    near(s.logit[1], -0.1, 1e-6);
    assert_true(ts_task_search_update(&s, bits, (double[]){2, 2}, 2, 0.1, 0, &err));
    near(s.logit[0], 0.1670058, 1e-6);
    ts_task_search_free(&s);
    /* The mean probability alone: p (1 - p) / 2 is its gradient, and the logits sink. */
    assert_true(ts_task_search_new(&s, 2, -1, &err));
    assert_true(ts_task_search_update(&s, bits, (double[]){2, 2}, 2, 0.1, 3, &err));
    const double p = 1 / (1 + exp(1));
    near(s.m[0], 0.1 * 3 * p * (1 - p) / 2, 1e-9);
    near(s.logit[0], -1.1, 1e-6);
    ts_task_search_free(&s);
    /* Beyond the bounds nothing moves, and next to nothing is drawn. */
    assert_true(ts_task_search_new(&s, 2, -1000, &err));
    assert_true(ts_task_search_update(&s, bits, (double[]){1, 3}, 2, 0.1, 1, &err));
    near(s.logit[0], -1000, 0);
    assert_false(ts_task_search_update(&s, bits, (double[]){1, (double)NAN}, 2, 0.1, 1, &err));
    ts_task_search_free(&s);
}

/* Where a loss counts the units that are not as they should be, they become so; the same seed draws the same. */
static void finds(void **state)
{
    (void)state;
    enum { SEARCHED = 24, SAMPLES = 32, STEPS = 150 };
    ts_task_search s;
    ts_error err = {0};
    uint8_t bits[SAMPLES * SEARCHED], again[SEARCHED];
    double loss[SAMPLES], first = 0, last = 0;
    assert_true(ts_task_search_new(&s, SEARCHED, -1, &err));
    for (int step = 0; step < STEPS; step++) {
        double mean = 0;
        for (int i = 0; i < SAMPLES; i++) {
            ts_task_search_draw(&s, 5, i, bits + i * SEARCHED);
            ts_task_search_draw(&s, 5, i, again);
            assert_memory_equal(bits + i * SEARCHED, again, SEARCHED);
            loss[i] = 0;
            for (int k = 0; k < SEARCHED; k++) loss[i] += bits[i * SEARCHED + k] != (k % 3 == 0);
            mean += loss[i] / SAMPLES;
        }
        if (step == 0) first = mean;
        last = mean;
        assert_true(ts_task_search_update(&s, bits, loss, SAMPLES, 0.1, 0, &err));
    }
    assert_true(first > 6 && last < 1);
    ts_task_search_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(guided),
                                       cmocka_unit_test(off),
                                       cmocka_unit_test(together),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(patched),
                                       cmocka_unit_test(as_predictor),
                                       cmocka_unit_test(file),
                                       cmocka_unit_test(units),
                                       cmocka_unit_test(arithmetic),
                                       cmocka_unit_test(finds),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
