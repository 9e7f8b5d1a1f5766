/* test_dino.c - DINOv2 and DINOv3 against PyTorch's numbers on small models of every layout
 * (tests/reference/make_dino_golden.py), on every backend; what is said of their sizes; and of a file that is no such model. */
#include "../support/models.h"
#include "../support/support.h"
#include "dino/dino.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ts_device *host;

static ts_weights *open_dino(const char *name)
{
    char path[512];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/golden/dino/%s.safetensors", TS_TESTS_DIR, name);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static const char *const models[] = {"v2", "v2_same", "v2_registers", "v2_registers_hf", "v3", "v3_hf"};
enum { MODELS = sizeof models / sizeof *models };

static int meta_int(const ts_weights *w, const char *key)
{
    return atoi(ts_weights_meta(w, key));
}

/* ---- sizes ---- */

static void test_config(void **state)
{
    (void)state;
    static const ts_dino_config want[MODELS] = {
        {.version = 2, .side = 5},
        {.version = 2, .side = 5},
        {.version = 2, .side = 6, .registers = 4, .gated = true},
        {.version = 2, .side = 5, .registers = 3, .gated = true},
        {.version = 3, .registers = 4, .gated = true},
        {.version = 3, .registers = 4},
    };
    for (int i = 0; i < MODELS; i++) {
        ts_weights *w = open_dino(models[i]);
        ts_dino_config c;
        ts_error err = {0};
        if (!ts_dino_config_read(w, &c, &err)) fail_msg("%s", err.text);
        assert_int_equal(c.version, want[i].version);
        assert_int_equal(c.side, want[i].side);
        assert_int_equal(c.registers, want[i].registers);
        assert_int_equal(c.gated, want[i].gated);
        assert_int_equal(c.width, 24);
        assert_int_equal(c.depth, 2);
        assert_int_equal(c.heads, 3);
        assert_int_equal(c.mlp, 32);
        assert_int_equal(c.patch, 2);
        ts_weights_free(w);
    }
}

static void test_title(void **state)
{
    (void)state;
    char title[64];
    const ts_dino_config large = {.version = 2, .width = 1024, .depth = 24, .patch = 14, .registers = 4};
    assert_string_equal(ts_dino_title(&large, title, sizeof title), "DINOv2 ViT-L/14 with 4 registers");
    const ts_dino_config giant = {.version = 2, .width = 1536, .depth = 40, .patch = 14, .gated = true};
    assert_string_equal(ts_dino_title(&giant, title, sizeof title), "DINOv2 ViT-g/14");
    const ts_dino_config own = {.version = 3, .width = 24, .depth = 2, .patch = 2};
    assert_string_equal(ts_dino_title(&own, title, sizeof title), "DINOv3 24x2/2");
}

/* ---- golden numbers ---- */

static void check_tokens(ts_device *dev, const char *name)
{
    ts_error err = {0};
    ts_weights *w = open_dino(name);
    const int rows = meta_int(w, "rows"), columns = meta_int(w, "columns");
    ts_dino *d = ts_dino_new(dev, w, rows, columns, &err);
    if (!d) fail_msg("%s", err.text);
    const int64_t count = (int64_t)rows * columns * ts_dino_about(d)->width;
    float *pixels = golden_f32(w, "expected.pixels"), *got = malloc((size_t)count * sizeof *got);
    for (int normed = 0; normed < 2; normed++) {
        float *want = golden_f32(w, normed ? "expected.tokens" : "expected.prenorm");
        if (!ts_dino_encode(d, pixels, normed, got, &err)) fail_msg("%s: %s", name, err.text);
        const double error = relative_error(got, want, count);
        free(want);
        if (!(error <= 1e-4)) fail_msg("%s, normed %d: relative error %g", name, normed, error);
    }
    free(pixels);
    free(got);
    ts_dino_free(d);
    ts_weights_free(w);
}

static void test_host(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) check_tokens(host, models[i]);
}

static void test_vulkan_tokens(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    for (int i = 0; i < MODELS; i++) check_tokens(dev, models[i]);
}

/* ---- what is refused ---- */

static void expect_refused(const ts_weights *w, int rows, const char *word)
{
    ts_error err = {0};
    ts_dino *d = ts_dino_new(host, w, rows, 3, &err);
    assert_null(d);
    if (!strstr(err.text, word)) fail_msg("'%s' does not say '%s'", err.text, word);
}

static void test_refused(void **state)
{
    (void)state;
    ts_weights *w = open_dino("v2_registers_hf"), *other;
    expect_refused(w, 0, "1 to 512");
    expect_refused(w, 513, "1 to 512");
    other = altered_copy(w, "lacking", "encoder.layer.1.attention.attention.key.bias", NULL);
    expect_refused(other, 3, "encoder.layer.1.attention.attention.key.bias is missing");
    ts_weights_free(other);
    other = altered_copy(w, "misshapen", NULL, "encoder.layer.0.mlp.weights_in.bias");
    expect_refused(other, 3, "weights_in.bias has another shape");
    ts_weights_free(other);
    other = altered_copy(w, "places", "embeddings.position_embeddings", NULL);
    expect_refused(other, 3, "position_embeddings is missing");
    ts_weights_free(other);
    ts_weights_free(w);
}

static int open_host(void **state)
{
    (void)state;
    return (host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL)) ? 0 : -1;
}

static int close_host(void **state)
{
    (void)state;
    ts_device_free(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),        cmocka_unit_test(test_title),   cmocka_unit_test(test_host),
        cmocka_unit_test(test_vulkan_tokens), cmocka_unit_test(test_refused), cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
