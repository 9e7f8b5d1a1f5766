/* MAE-VQGAN inference against the published code's numbers on a small checkpoint, on every backend; the fixed positions;
 * sampling; what a file is said to be; and what is said of a broken one. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mae/mae.h"

enum { SIDE = 4, PLACES = 16, CANVAS = 64, CODES = 1024, HEADS = 4 };

static ts_device *open_host(ts_precision precision)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = precision}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static ts_grid tiny_grid(void)
{
    ts_grid grid;
    ts_error err = {0};
    if (!ts_grid_plan(&(ts_grid_desc){.canvas = CANVAS, .patch = 16}, &grid, &err)) fail_msg("%s", err.text);
    return grid;
}

static ts_inpainter *open_tiny(ts_device *dev, const ts_weights *w, int batch)
{
    ts_error err = {0};
    ts_inpainter *ip =
        ts_inpainter_new(dev, &(ts_inpainter_desc){.weights = w, .heads = HEADS, .decoder_heads = HEADS, .batch = batch}, &err);
    if (!ip) fail_msg("%s", err.text);
    return ip;
}

static void test_positions(void **state)
{
    (void)state;
    float p[(1 + 9) * 8];
    ts_mae_positions(3, 8, p);
    for (int i = 0; i < 8; i++) assert_float_equal(p[i], 0, 0);
    /* Row 1, column 2 of a grid of 3, width 8: frequencies 1 and 10000^(-1/2); the column first. */
    const double want[8] = {sin(2), sin(0.02), cos(2), cos(0.02), sin(1), sin(0.01), cos(1), cos(0.01)};
    for (int i = 0; i < 8; i++) assert_float_equal(p[(1 + 3 + 2) * 8 + i], want[i], 1e-6);

    ts_weights *w = open_golden("mae_vqgan_tiny.pth");
    static const struct {
        const char *name;
        int width;
    } stored[] = {{"pos_embed", 64}, {"decoder_pos_embed", 32}};
    for (int k = 0; k < 2; k++) {
        float *have = golden_f32(w, stored[k].name), made[(1 + PLACES) * 64];
        ts_mae_positions(SIDE, stored[k].width, made);
        assert_true(relative_error(made, have, (1 + PLACES) * stored[k].width) < 1e-6);
        free(have);
    }
    ts_weights_free(w);
}

static void test_config(void **state)
{
    (void)state;
    ts_weights *w = open_golden("mae_vqgan_tiny.pth");
    ts_mae_config c;
    ts_error err = {0};
    assert_false(ts_mae_config_read(w, 0, 0, false, &c, &err));
    assert_non_null(strstr(err.text, "--heads N"));
    assert_non_null(strstr(err.text, "64 wide"));
    err = (ts_error){0};
    assert_false(ts_mae_config_read(w, 4, 0, false, &c, &err));
    assert_non_null(strstr(err.text, "--decoder-heads N"));
    err = (ts_error){0};
    assert_false(ts_mae_config_read(w, 5, 4, false, &c, &err));
    assert_non_null(strstr(err.text, "5 heads do not divide"));
    err = (ts_error){0};
    assert_true(ts_mae_config_read(w, 0, 0, true, &c, &err));
    assert_int_equal(c.heads, 0);
    assert_true(ts_mae_config_read(w, 4, 2, false, &c, &err));
    assert_int_equal(c.patch, 16);
    assert_int_equal(c.side, SIDE);
    assert_int_equal(c.dim, 64);
    assert_int_equal(c.depth, 2);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.mlp, 256);
    assert_int_equal(c.decoder_dim, 32);
    assert_int_equal(c.decoder_depth, 2);
    assert_int_equal(c.decoder_heads, 2);
    assert_int_equal(c.decoder_mlp, 128);
    assert_int_equal(c.codes, CODES);
    ts_weights_free(w);
}

/* Numbers that only the metadata tells. */
static void test_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        bool good;
    } cases[] = {{"blend", "0.6", true},      {"examples", "1..3", true}, {"blend", "0", true},    {"blend", "-1", false},
                 {"blend", "nan", false},     {"blend", "", false},       {"blend", "101", false}, {"examples", "2", true},
                 {"examples", "1..8", false}, {"examples", "0", false},   {"views", "8", true},    {"views", "0", false},
                 {"views", "49", false},      {"views", "2x", false}};
    ts_weights *w = open_golden("mae_vqgan_tiny.pth");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_mae_config c;
        ts_weights_writer *writer = ts_weights_writer_new();
        for (int64_t k = 0; k < ts_weights_count(w); k++)
            assert_true(ts_weights_writer_add_weight(writer, ts_weights_at(w, k), TS_DT_F32, &err));
        assert_true(ts_weights_writer_meta(writer, cases[i].key, cases[i].value, &err));
        ts_weights *said = write_and_open(writer, "said");
        assert_int_equal(ts_mae_config_read(said, HEADS, HEADS, false, &c, &err), cases[i].good);
        if (i == 0) assert_true(c.blend == 0.6 && c.most_examples == 0 && c.views == 0);
        if (strcmp(cases[i].value, "8") == 0) assert_int_equal(c.views, 8);
        if (i == 1) assert_true(c.least_examples == 1 && c.most_examples == 3);
        if (!cases[i].good) assert_non_null(strstr(err.text, cases[i].key));
        ts_weights_free(said);
    }
    ts_weights_free(w);
}

static void check_golden_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    ts_error err = {0};
    const char *device = ts_device_about(dev)->name;
    ts_grid grid = tiny_grid();
    ts_inpainter *ip = open_tiny(dev, w, 1);
    ts_image canvas = golden_picture(want, "canvas");
    int32_t keep[PLACES], codes[PLACES];
    int64_t *want_keep = golden_i64(want, "keep"), *want_ids = golden_i64(want, "ids"), *want_codes = golden_i64(want, "codes");
    assert_int_equal(ts_grid_keep(&grid, keep), 12);
    for (int i = 0; i < 12; i++) assert_int_equal(keep[i], want_keep[i]);

    float *logits = malloc(PLACES * CODES * sizeof *logits), *want_logits = golden_f32(want, "logits");
    if (!ts_inpainter_predict(ip, &grid, &canvas, 1, codes, logits, NULL, &err)) fail_msg("%s: %s", device, err.text);
    double logits_error = relative_error(logits, want_logits, PLACES * CODES);
    for (int i = 0; i < PLACES; i++) assert_int_equal(codes[i], want_ids[i]);

    float *picture = malloc(CANVAS * CANVAS * 3 * sizeof *picture);
    float *planes = golden_f32(want, "decoded"), *want_picture = to_nhwc(planes, 3, CANVAS, CANVAS);
    if (!ts_inpainter_paint(ip, codes, 1, picture, NULL, &err)) fail_msg("%s: %s", device, err.text);
    double picture_error = relative_error(picture, want_picture, CANVAS * CANVAS * 3);
    print_message("%s: logits %.2g, decoded %.2g\n", device, logits_error, picture_error);
    assert_true(logits_error < 1e-4);
    assert_true(picture_error < 1e-4);

    ts_inpainted r;
    ts_inpaint_ms ms;
    if (!ts_inpainter_run(ip, &grid, &canvas, 1, NULL, &r, &ms, &err)) fail_msg("%s: %s", device, err.text);
    const ts_weight *pasted = ts_weights_find(want, "pasted");
    const uint8_t *want_pasted = pasted->data;
    int differ = 0;
    for (int i = 0; i < CANVAS * CANVAS * 3; i++) {
        int d = abs(r.pasted.data[i] - want_pasted[i]);
        /* Only where the true value stands on the edge between two integers may truncation fall on the other side. */
        float edge = fabsf(want_picture[i] * 255 - roundf(want_picture[i] * 255));
        if (d) assert_true(d == 1 && edge < 0.05f);
        differ += d;
    }
    assert_true(differ < CANVAS * CANVAS * 3 / 1000);
    for (int i = 0; i < PLACES; i++) assert_int_equal(r.codes[i], want_ids[i]);
    assert_true(ms.mae > 0 && ms.decode > 0 && ms.encode == 0);
    ts_inpainted_clear(&r);

    /* The visible places keep the canvas's own codes. */
    ts_inpaint_options own = {.keep_visible_codes = true};
    if (!ts_inpainter_run(ip, &grid, &canvas, 1, &own, &r, &ms, &err)) fail_msg("%s: %s", device, err.text);
    for (int i = 0; i < PLACES; i++)
        assert_int_equal(r.codes[i], ts_grid_hidden(&grid, i / SIDE, i % SIDE) ? want_ids[i] : want_codes[i]);
    assert_true(ms.encode > 0);
    ts_inpainted_clear(&r);

    free(logits);
    free(want_logits);
    free(picture);
    free(planes);
    free(want_picture);
    free(want_keep);
    free(want_ids);
    free(want_codes);
    ts_image_clear(&canvas);
    ts_inpainter_free(ip);
}

/* Half precision moves the logits by about a thousandth, so that a code may change: the numbers are looked at, not the codes. */
static void check_half_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    ts_error err = {0};
    ts_grid grid = tiny_grid();
    ts_inpainter *ip = open_tiny(dev, w, 1);
    ts_image canvas = golden_picture(want, "canvas");
    float *logits = malloc(PLACES * CODES * sizeof *logits), *want_logits = golden_f32(want, "logits");
    float *picture = malloc(CANVAS * CANVAS * 3 * sizeof *picture);
    float *planes = golden_f32(want, "decoded"), *want_picture = to_nhwc(planes, 3, CANVAS, CANVAS);
    int64_t *want_ids = golden_i64(want, "ids");
    int32_t ids[PLACES];
    for (int i = 0; i < PLACES; i++) ids[i] = (int32_t)want_ids[i];
    if (!ts_inpainter_predict(ip, &grid, &canvas, 1, NULL, logits, NULL, &err) ||
        !ts_inpainter_paint(ip, ids, 1, picture, NULL, &err))
        fail_msg("fp16: %s", err.text);
    double logits_error = relative_error(logits, want_logits, PLACES * CODES);
    double picture_error = relative_error(picture, want_picture, CANVAS * CANVAS * 3);
    print_message("fp16: logits %.2g, decoded %.2g\n", logits_error, picture_error);
    assert_true(logits_error < 1e-2);
    assert_true(picture_error < 2e-2);
    free(logits);
    free(want_logits);
    free(picture);
    free(planes);
    free(want_picture);
    free(want_ids);
    ts_image_clear(&canvas);
    ts_inpainter_free(ip);
}

static void test_golden(void **state)
{
    (void)state;
    ts_weights *want = open_golden("mae_vqgan_tiny.expected.safetensors"), *w = open_golden("mae_vqgan_tiny.pth");
    ts_device *host = open_host(TS_F32), *yardstick = open_host(TS_F64);
    check_golden_on(yardstick, w, want);
    check_golden_on(host, w, want);
    if (test_vulkan(TS_F32)) check_golden_on(test_vulkan(TS_F32), w, want);
    if (test_vulkan(TS_F16)) check_half_on(test_vulkan(TS_F16), w, want);
    ts_device_free(yardstick);
    ts_device_free(host);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* Three canvases in batches of two give what each gives alone; so do two layouts with as many visible patches, one after the
 * other, and the VQGAN in a file of its own. */
static void test_batches_and_layouts(void **state)
{
    (void)state;
    ts_weights *want = open_golden("mae_vqgan_tiny.expected.safetensors"), *w = open_golden("mae_vqgan_tiny.pth");
    ts_weights *vqgan = open_golden("vqgan_tiny.ckpt");
    ts_device *host = open_host(TS_F32);
    ts_error err = {0};
    ts_inpainter *alone = open_tiny(host, w, 1);
    ts_inpainter *batched = ts_inpainter_new(
        host, &(ts_inpainter_desc){.weights = w, .vqgan_weights = vqgan, .heads = HEADS, .decoder_heads = HEADS, .batch = 2},
        &err);
    if (!batched) fail_msg("%s", err.text);
    ts_grid right = tiny_grid(), left;
    assert_true(ts_grid_plan(&(ts_grid_desc){.canvas = CANVAS, .patch = 16, .side = TS_SIDE_LEFT}, &left, &err));
    ts_image canvas[3];
    for (int i = 0; i < 3; i++) {
        canvas[i] = golden_picture(want, "canvas");
        for (int k = 0; i > 0 && k < CANVAS * CANVAS * 3; k++) canvas[i].data[k] = (uint8_t)((k * 7 + i * 50) % 256);
    }
    const ts_grid *grids[] = {&right, &left, &right};
    for (int k = 0; k < 3; k++) {
        ts_inpainted together[3], one;
        if (!ts_inpainter_run(batched, grids[k], canvas, 3, NULL, together, NULL, &err)) fail_msg("%s", err.text);
        for (int i = 0; i < 3; i++) {
            if (!ts_inpainter_run(alone, grids[k], &canvas[i], 1, NULL, &one, NULL, &err)) fail_msg("%s", err.text);
            assert_memory_equal(one.codes, together[i].codes, PLACES * sizeof *one.codes);
            for (int p = 0; p < CANVAS * CANVAS * 3; p++) assert_true(abs(one.pasted.data[p] - together[i].pasted.data[p]) <= 1);
            ts_inpainted_clear(&one);
        }
        for (int i = 0; i < 3; i++) ts_inpainted_clear(&together[i]);
    }
    for (int i = 0; i < 3; i++) ts_image_clear(&canvas[i]);
    ts_inpainter_free(alone);
    ts_inpainter_free(batched);
    ts_device_free(host);
    ts_weights_free(vqgan);
    ts_weights_free(w);
    ts_weights_free(want);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    ts_weights *w = open_golden("mae_vqgan_tiny.pth"), *vqgan = open_golden("vqgan_tiny.ckpt");
    ts_device *host = open_host(TS_F32);
    ts_inpainter *ip = open_tiny(host, w, 1);
    ts_grid grid = tiny_grid(), other;
    ts_image small, canvas;
    ts_inpainted r;
    ts_error err = {0};
    assert_true(ts_image_new(32, 32, &small, &err) && ts_image_new(CANVAS, CANVAS, &canvas, &err));
    assert_true(ts_grid_plan(&(ts_grid_desc){0}, &other, &err));
    assert_false(ts_inpainter_run(ip, &grid, &small, 1, NULL, &r, NULL, &err));
    assert_non_null(strstr(err.text, "32 x 32"));
    err = (ts_error){0};
    assert_false(ts_inpainter_run(ip, &other, &canvas, 1, NULL, &r, NULL, &err));
    assert_non_null(strstr(err.text, "224"));
    err = (ts_error){0};
    assert_false(ts_inpainter_run(ip, &grid, &canvas, 1, &(ts_inpaint_options){.temperature = -1}, &r, NULL, &err));
    assert_non_null(strstr(err.text, "temperature -1"));
    err = (ts_error){0};
    assert_false(ts_inpainter_run(ip, &grid, &canvas, 1, &(ts_inpaint_options){.temperature = 1, .blend = 1}, &r, NULL, &err));
    assert_non_null(strstr(err.text, "blend 1"));
    err = (ts_error){0};
    assert_false(ts_inpainter_run(ip, &grid, &canvas, 1, &(ts_inpaint_options){.views = 49}, &r, NULL, &err));
    assert_non_null(strstr(err.text, "49 views"));
    err = (ts_error){0};
    float picture[CANVAS * CANVAS * 3];
    int32_t codes[PLACES] = {0};
    codes[3] = CODES;
    assert_false(ts_inpainter_paint(ip, codes, 1, picture, NULL, &err));
    assert_non_null(strstr(err.text, "code 1024"));
    err = (ts_error){0};
    assert_null(ts_inpainter_new(host, &(ts_inpainter_desc){.weights = vqgan}, &err));
    assert_non_null(strstr(err.text, "is a VQGAN; an MAE-VQGAN is wanted"));
    ts_image_clear(&small);
    ts_image_clear(&canvas);
    ts_inpainter_free(ip);
    ts_device_free(host);
    ts_weights_free(vqgan);
    ts_weights_free(w);
}

static void expect_error(ts_device *dev, const ts_weights *w, const char *says)
{
    ts_error err = {0};
    ts_grid grid = tiny_grid();
    ts_inpainter *ip = ts_inpainter_new(dev, &(ts_inpainter_desc){.weights = w, .heads = HEADS, .decoder_heads = HEADS}, &err);
    assert_false(ip && ts_inpainter_prepare(ip, &grid, 1, NULL, NULL, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
    ts_inpainter_free(ip);
    err = (ts_error){0};
    assert_false(ts_model_check(w, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
}

static void test_broken_files(void **state)
{
    (void)state;
    ts_weights *w = open_golden("mae_vqgan_tiny.pth");
    ts_device *host = open_host(TS_F32);
    ts_error err = {0};
    if (!ts_model_check(w, &err)) fail_msg("%s", err.text);
    static const char *const missing[] = {"blocks.1.attn.qkv.bias", "decoder_blocks.1.norm2.weight", "pos_embed",
                                          "vae.decoder.up.2.block.1.conv2.weight"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        ts_weights *bad = altered_copy(w, "bad.safetensors", missing[i], NULL);
        expect_error(host, bad, missing[i]);
        ts_weights_free(bad);
    }
    ts_weights *bad = altered_copy(w, "bad.safetensors", NULL, "blocks.0.attn.proj.weight");
    expect_error(host, bad, "blocks.0.attn.proj.weight is (65, 64), wanted (64, 64)");
    ts_weights_free(bad);
    ts_device_free(host);
    ts_weights_free(w);
}

static void test_sampling(void **state)
{
    (void)state;
    enum { N = 4, DRAWS = 20000 };
    float *logits = malloc(DRAWS * N * sizeof *logits);
    int32_t *a = malloc(DRAWS * sizeof *a), *b = malloc(DRAWS * sizeof *b);
    for (int i = 0; i < DRAWS; i++) memcpy(logits + i * N, (float[N]){0, logf(2), 0, logf(5)}, N * sizeof *logits);
    ts_sample_codes(logits, DRAWS, N, 0, 7, a);
    for (int i = 0; i < DRAWS; i++) assert_int_equal(a[i], 3);
    ts_sample_codes(logits, DRAWS, N, 1, 7, a);
    ts_sample_codes(logits, DRAWS, N, 1, 7, b);
    assert_memory_equal(a, b, DRAWS * sizeof *a);
    ts_sample_codes(logits, DRAWS, N, 1, 8, b);
    assert_memory_not_equal(a, b, DRAWS * sizeof *a);
    double share[N] = {0}, want[N] = {1 / 9.0, 2 / 9.0, 1 / 9.0, 5 / 9.0};
    for (int i = 0; i < DRAWS; i++) share[a[i]] += 1.0 / DRAWS;
    for (int i = 0; i < N; i++) assert_float_equal(share[i], want[i], 0.015);
    /* Large logits do not overflow, and a low temperature comes to the largest. */
    ts_sample_codes((float[N]){3000, 2999, -3000, 0}, 1, N, 1e-3, 1, a);
    assert_int_equal(a[0], 0);
    free(logits);
    free(a);
    free(b);
}

/* Against the sums written out, and the two ends: cold, the likeliest code's row; hot, the mean of all. */
static void test_blend(void **state)
{
    (void)state;
    enum { TWO = 2, N = 3, WIDTH = 2 };
    const float logits[TWO * N] = {0, logf(2), logf(5), 100, 99, -1e30F}, book[N * WIDTH] = {1, 0, 0, 1, 2, -3};
    float got[TWO * WIDTH];
    ts_blend_codes(logits, TWO, N, 1, book, WIDTH, got);
    const double e = exp(-1), want[TWO * WIDTH] = {(1 + 5 * 2.0) / 8, (2 - 5 * 3.0) / 8, 1 / (1 + e), e / (1 + e)};
    for (int i = 0; i < TWO * WIDTH; i++) assert_float_equal(got[i], want[i], 1e-6);
    ts_blend_codes(logits, TWO, N, 1e-3, book, WIDTH, got);
    assert_memory_equal(got, ((float[]){2, -3, 1, 0}), sizeof got);
    ts_blend_codes(logits, 1, N, 1e6, book, WIDTH, got);
    assert_float_equal(got[0], 1, 1e-4);
    assert_float_equal(got[1], -2.0 / 3, 1e-4);
}

/* A check with the golden model and what it must give, on the processor and, where there is one, on the Vulkan device. */
static void on_each_device(void (*check)(ts_device *dev, const ts_weights *w, const ts_weights *want))
{
    ts_weights *want = open_golden("mae_vqgan_tiny.expected.safetensors"), *w = open_golden("mae_vqgan_tiny.pth");
    ts_device *host = open_host(TS_F32);
    check(host, w, want);
    if (test_vulkan(TS_F32)) check(test_vulkan(TS_F32), w, want);
    ts_device_free(host);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* Against the sums written out; one canvas is left as it is; a code that no canvas gives any weight keeps its rank. */
static void test_fuse(void **state)
{
    (void)state;
    enum { FUSED = 3, TWO = 2, N = 3 };
    const float given[FUSED * TWO * N] = {0,       logf(2), logf(5), 100, 99, -2000,  /* the first canvas, two places */
                                          logf(7), 0,       0,       -50, 0,  -3000,  /* the second */
                                          1,       1,       1,       5,   5,  -1000}; /* the third */
    float logits[FUSED * TWO * N];
    memcpy(logits, given, sizeof logits);
    ts_fuse_logits(logits, 1, TWO, N);
    assert_memory_equal(logits, given, sizeof logits);
    ts_fuse_logits(logits, FUSED, TWO, N);
    const double e = exp(-1);
    const double want[TWO * N - 1] = {(1 / 8.0 + 7 / 9.0 + 1 / 3.0) / 3, (2 / 8.0 + 1 / 9.0 + 1 / 3.0) / 3,
                                      (5 / 8.0 + 1 / 9.0 + 1 / 3.0) / 3, (1 / (1 + e) + 0.5) / 3, (e / (1 + e) + 1.5) / 3};
    for (int i = 0; i < TWO * N - 1; i++) assert_float_equal(logits[i], log(want[i]), 1e-5);
    assert_float_equal(logits[TWO * N - 1], (float)(-1005 - log(2) - log(3)), 1e-3);
}

/* A query on two canvases with different examples: the codes are those of the fused logits, whichever comes first, and a canvas
 * twice is as one. */
static void check_fused_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    ts_error err = {0};
    ts_grid grid = tiny_grid();
    ts_inpainter *ip = open_tiny(dev, w, 2);
    ts_image canvas[4] = {golden_picture(want, "canvas"), golden_picture(want, "canvas")};
    for (int i = 0; i < CANVAS * CANVAS / 2 * 3; i++) canvas[1].data[i] = (uint8_t)(255 - canvas[1].data[i]);
    canvas[2] = canvas[1];
    canvas[3] = canvas[0];
    float *logits = malloc((size_t)2 * PLACES * CODES * sizeof *logits);
    int32_t codes[PLACES];
    ts_inpainted one, both[2];
    if (!ts_inpainter_predict(ip, &grid, canvas, 2, NULL, logits, NULL, &err)) fail_msg("%s", err.text);
    ts_fuse_logits(logits, 2, PLACES, CODES);
    ts_sample_codes(logits, PLACES, CODES, 0, 0, codes);
    for (int own = 0; own < 2; own++) {
        ts_inpaint_options how = {.fused = 2, .keep_visible_codes = own};
        if (!ts_inpainter_run(ip, &grid, canvas, 2, &how, both, NULL, &err)) fail_msg("%s", err.text);
        for (int i = 0; i < PLACES; i++) {
            if (own && !ts_grid_hidden(&grid, i / SIDE, i % SIDE)) continue;
            assert_int_equal(both[0].codes[i], codes[i]);
            assert_int_equal(both[1].codes[i], codes[i]);
        }
        assert_memory_equal(both[0].pasted.data, canvas[0].data, CANVAS * 3); /* a query's first canvas stays: its upper row */
        assert_memory_equal(both[1].pasted.data, canvas[2].data, CANVAS * 3);
        for (int i = 0; i < 2; i++) ts_inpainted_clear(&both[i]);
    }
    if (!ts_inpainter_run(ip, &grid, canvas, 1, NULL, &one, NULL, &err) ||
        !ts_inpainter_run(ip, &grid, (ts_image[]){canvas[0], canvas[0]}, 1, &(ts_inpaint_options){.fused = 2}, both, NULL, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(one.codes, both[0].codes, PLACES * sizeof *one.codes);
    ts_inpainted_clear(&one);
    ts_inpainted_clear(&both[0]);
    assert_false(ts_inpainter_run(ip, &grid, canvas, 2, &(ts_inpaint_options){.fused = 1 << 24}, both, NULL, &err));
    free(logits);
    for (int i = 0; i < 2; i++) ts_image_clear(&canvas[i]);
    ts_inpainter_free(ip);
}

/* Cold it paints what the likeliest codes do; warm what the decoder makes of the mean rows; own codes are kept in both. */
static void check_blended_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    ts_error err = {0};
    ts_grid grid = tiny_grid();
    ts_inpainter *ip = open_tiny(dev, w, 1);
    ts_image canvas = golden_picture(want, "canvas");
    const int width = ts_inpainter_vqgan(ip)->embed;
    float *logits = malloc(PLACES * CODES * sizeof *logits), *book = golden_f32(w, "vae.quantize.embedding.weight");
    float *latents = malloc((size_t)PLACES * (size_t)width * sizeof *latents),
          *picture = malloc(CANVAS * CANVAS * 3 * sizeof *picture);
    ts_inpainted published, blended;
    ts_image painted;
    if (!ts_inpainter_predict(ip, &grid, &canvas, 1, NULL, logits, NULL, &err)) fail_msg("%s", err.text);
    for (int own = 0; own < 2; own++) {
        ts_inpaint_options how = {.keep_visible_codes = own};
        if (!ts_inpainter_run(ip, &grid, &canvas, 1, &how, &published, NULL, &err)) fail_msg("%s", err.text);
        how.blend = 1e-4;
        if (!ts_inpainter_run(ip, &grid, &canvas, 1, &how, &blended, NULL, &err)) fail_msg("%s", err.text);
        assert_memory_equal(blended.codes, published.codes, PLACES * sizeof *published.codes);
        for (int i = 0; i < CANVAS * CANVAS * 3; i++) assert_true(abs(blended.painted.data[i] - published.painted.data[i]) <= 1);
        ts_inpainted_clear(&blended);
        how.blend = 2;
        if (!ts_inpainter_run(ip, &grid, &canvas, 1, &how, &blended, NULL, &err)) fail_msg("%s", err.text);
        assert_memory_equal(blended.codes, published.codes, PLACES * sizeof *published.codes);
        ts_blend_codes(logits, PLACES, CODES, 2, book, width, latents);
        for (int i = 0; i < PLACES && own; i++)
            if (!ts_grid_hidden(&grid, i / SIDE, i % SIDE))
                memcpy(latents + i * width, book + blended.codes[i] * width, (size_t)width * sizeof *book);
        if (!ts_inpainter_paint_latents(ip, latents, 1, picture, NULL, &err) ||
            !ts_inpainter_picture(ip, picture, &painted, &err))
            fail_msg("%s", err.text);
        assert_memory_equal(blended.painted.data, painted.data, CANVAS * CANVAS * 3);
        assert_memory_not_equal(blended.painted.data, published.painted.data, CANVAS * CANVAS * 3);
        ts_image_clear(&painted);
        ts_inpainted_clear(&blended);
        ts_inpainted_clear(&published);
    }
    free(logits);
    free(book);
    free(latents);
    free(picture);
    ts_image_clear(&canvas);
    ts_inpainter_free(ip);
}

/* Two queries of two canvases each in three views: the hole is the median of what the views give by themselves, and the rest is
 * the first's. */
static void check_views_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    enum { VIEWS = 3 };
    ts_error err = {0};
    const ts_grid grid = tiny_grid();
    ts_inpainter *ip = open_tiny(dev, w, 2);
    ts_image canvas[4] = {golden_picture(want, "canvas"), golden_picture(want, "canvas")}, pasted[VIEWS];
    for (int i = 0; i < CANVAS * CANVAS / 2 * 3; i++) canvas[1].data[i] = (uint8_t)(255 - canvas[1].data[i]);
    canvas[2] = canvas[1];
    canvas[3] = canvas[0];
    ts_inpaint_options how = {.fused = 2, .blend = 0.5};
    ts_inpainted alone[VIEWS], both[2];
    for (int v = 0; v < VIEWS; v++) {
        ts_image turned[2];
        if (!ts_grid_view(&grid, &canvas[2], v, &turned[0], &err) || !ts_grid_view(&grid, &canvas[3], v, &turned[1], &err) ||
            !ts_inpainter_run(ip, &grid, turned, 1, &how, &alone[v], NULL, &err))
            fail_msg("%s", err.text);
        pasted[v] = alone[v].pasted;
        for (int i = 0; i < 2; i++) ts_image_clear(&turned[i]);
    }
    assert_memory_not_equal(pasted[1].data, pasted[0].data, CANVAS * CANVAS * 3);
    how.views = VIEWS;
    if (!ts_inpainter_run(ip, &grid, canvas, 2, &how, both, NULL, &err)) fail_msg("%s", err.text);
    assert_memory_equal(both[1].codes, alone[0].codes, PLACES * sizeof *alone[0].codes);
    assert_memory_equal(both[1].painted.data, alone[0].painted.data, CANVAS * CANVAS * 3);
    assert_true(ts_grid_merge_views(&grid, pasted, VIEWS, &pasted[0], &err));
    assert_memory_equal(both[1].pasted.data, pasted[0].data, CANVAS * CANVAS * 3);
    assert_memory_not_equal(both[1].pasted.data, both[0].pasted.data, CANVAS * CANVAS * 3);
    for (int v = 0; v < VIEWS; v++) ts_inpainted_clear(&alone[v]);
    for (int i = 0; i < 2; i++) ts_inpainted_clear(&both[i]);
    for (int i = 0; i < 2; i++) ts_image_clear(&canvas[i]);
    ts_inpainter_free(ip);
}

static void test_views(void **state)
{
    (void)state;
    on_each_device(check_views_on);
}

static void test_blended(void **state)
{
    (void)state;
    on_each_device(check_blended_on);
}

static void test_fused(void **state)
{
    (void)state;
    on_each_device(check_fused_on);
}

static void test_about(void **state)
{
    (void)state;
    static const struct {
        const char *file, *title, *says;
        ts_kind kind;
    } cases[] = {
        {"mae_vqgan_tiny.pth", "MAE-VQGAN", "encoder: 64 wide, 2 blocks, heads unknown, patch 16, canvas 64", TS_KIND_MAE_VQGAN},
        {"vqgan_tiny.ckpt", "VQGAN", "VQGAN: f16, widths 32 32 64 64 128, 1 blocks a level, 1024 codes of 32", TS_KIND_VQGAN},
        {"clip_tiny.pt", "CLIP", "", TS_KIND_CLIP},
        {"clip_tiny_hf.safetensors", "CLIP", "", TS_KIND_CLIP},
        {"sam_tiny.pth", "SAM", "", TS_KIND_SAM},
        {"seggpt_tiny.pth", "SegGPT", "", TS_KIND_SEGGPT},
        {"flamingo_tiny.pth", "OpenFlamingo or Otter", "", TS_KIND_FLAMINGO},
        {"mae_vqgan_tiny.expected.safetensors", "unknown", "", TS_KIND_UNKNOWN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_weights *w = open_golden(cases[i].file);
        ts_model_info info;
        ts_error err = {0};
        if (!ts_model_about(w, &info, &err)) fail_msg("%s", err.text);
        assert_int_equal(info.kind, cases[i].kind);
        assert_string_equal(info.title, cases[i].title);
        if (!strstr(info.architecture, cases[i].says)) fail_msg("'%s' does not say '%s'", info.architecture, cases[i].says);
        assert_true(info.ours <= info.tensors && info.tensors == ts_weights_count(w));
        if (info.kind == TS_KIND_VQGAN) assert_int_equal(info.tensors - info.ours, 2); /* loss.* */
        if (info.kind == TS_KIND_MAE_VQGAN) assert_int_equal(info.ours, info.tensors);
        ts_weights_free(w);
    }
}

/* One weight that is no number, in the masked autoencoder, in the VQGAN's decoder or in its encoder: no picture comes of it. */
static void test_no_numbers(void **state)
{
    (void)state;
    static const char *const names[] = {"blocks.0.attn.qkv.weight", "decoder_pred.bias", "vae.decoder.conv_out.bias",
                                        "vae.encoder.conv_in.weight"};
    ts_error err = {0};
    ts_device *host = open_host(TS_F32);
    char path[256];
    snprintf(path, sizeof path, "%s/random.safetensors", temp_dir());
    if (!ts_mae_write_random(path, NULL, NULL, 1, &err)) fail_msg("%s", err.text);
    ts_weights *whole = ts_weights_open(path, &err);
    assert_non_null(whole);
    ts_grid grid;
    ts_image canvas;
    assert_true(ts_grid_plan(&(ts_grid_desc){0}, &grid, &err) && ts_image_new(224, 224, &canvas, &err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ts_weights_writer *out = ts_weights_writer_new();
        float *broken = golden_f32(whole, names[i]);
        broken[1] = i % 2 ? NAN : INFINITY;
        for (int64_t k = 0; k < ts_weights_count(whole); k++) {
            const ts_weight *t = ts_weights_at(whole, k);
            if (strcmp(t->name, names[i]) != 0) assert_true(ts_weights_writer_add_weight(out, t, t->dtype, &err));
            else assert_true(ts_weights_writer_add(out, t->name, TS_DT_F32, t->ndim, t->shape, broken, &err));
        }
        for (int64_t k = 0; k < ts_weights_meta_count(whole); k++) {
            const char *key, *value;
            ts_weights_meta_at(whole, k, &key, &value);
            assert_true(ts_weights_writer_meta(out, key, value, &err));
        }
        ts_weights *w = write_and_open(out, "broken");
        free(broken);
        ts_inpainter *ip = ts_inpainter_new(host, &(ts_inpainter_desc){.weights = w}, &err);
        if (!ip) fail_msg("%s", err.text);
        ts_inpainted r = {0};
        const ts_inpaint_options how = {.keep_visible_codes = true};
        if (ts_inpainter_run(ip, &grid, &canvas, 1, &how, &r, NULL, &err) || !strstr(err.text, "no numbers"))
            fail_msg("%s: taken, or refused by \"%s\"", names[i], err.text);
        err = (ts_error){0};
        ts_inpainted_clear(&r);
        ts_inpainter_free(ip);
        ts_weights_free(w);
    }
    ts_image_clear(&canvas);
    ts_weights_free(whole);
    ts_device_free(host);
}

/* The demo's model: written, known for what it is, complete, and it runs; the picture is not flat. */
static void test_random_model(void **state)
{
    (void)state;
    ts_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/random.safetensors", temp_dir());
    if (!ts_mae_write_random(path, NULL, NULL, 1, &err)) fail_msg("%s", err.text);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w || !ts_model_check(w, &err)) fail_msg("%s", err.text);
    assert_string_equal(ts_weights_meta(w, "tessera.note"), "random weights");
    ts_device *host = open_host(TS_F32);
    ts_inpainter *ip = ts_inpainter_new(host, &(ts_inpainter_desc){.weights = w}, &err);
    if (!ip) fail_msg("%s", err.text);
    ts_grid grid;
    ts_image canvas;
    ts_inpainted r;
    assert_true(ts_grid_plan(&(ts_grid_desc){0}, &grid, &err) && ts_image_new(224, 224, &canvas, &err));
    if (!ts_inpainter_run(ip, &grid, &canvas, 1, &(ts_inpaint_options){.temperature = 1, .seed = 3}, &r, NULL, &err))
        fail_msg("%s", err.text);
    double sum = 0, square = 0, n = 224 * 224 * 3;
    for (int i = 0; i < (int)n; i++) {
        sum += r.painted.data[i];
        square += (double)r.painted.data[i] * r.painted.data[i];
    }
    assert_true(sqrt(square / n - (sum / n) * (sum / n)) > 10);
    ts_inpainted_clear(&r);
    ts_image_clear(&canvas);
    ts_inpainter_free(ip);
    ts_device_free(host);
    ts_weights_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_positions),
                                       cmocka_unit_test(test_config),
                                       cmocka_unit_test(test_metadata),
                                       cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_batches_and_layouts),
                                       cmocka_unit_test(test_wrong_calls),
                                       cmocka_unit_test(test_broken_files),
                                       cmocka_unit_test(test_sampling),
                                       cmocka_unit_test(test_blend),
                                       cmocka_unit_test(test_blended),
                                       cmocka_unit_test(test_fuse),
                                       cmocka_unit_test(test_fused),
                                       cmocka_unit_test(test_views),
                                       cmocka_unit_test(test_about),
                                       cmocka_unit_test(test_random_model),
                                       cmocka_unit_test(test_no_numbers),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("mae", tests, NULL, NULL);
}
