/* The VQGAN against the published code's numbers on a small checkpoint, from its own file and out of an MAE-VQGAN file, on every
 * backend; and what is said of a broken file. */
#include "../support/models.h"
#include "../support/support.h"

#include <stdlib.h>
#include <string.h>

#include "vqgan/vqgan.h"

static void test_config(void **state)
{
    (void)state;
    ts_weights *w = open_golden("vqgan_tiny.ckpt");
    ts_vqgan_config c;
    ts_error err = {0};
    assert_string_equal(ts_vqgan_prefix(w), "");
    if (!ts_vqgan_config_read(w, "", &c, &err)) fail_msg("%s", err.text);
    assert_int_equal(c.base, 32);
    assert_int_equal(c.levels, 5);
    assert_int_equal(c.blocks, 1);
    assert_int_equal(c.factor, 16);
    assert_int_equal(c.latent, 32);
    assert_int_equal(c.embed, 32);
    assert_int_equal(c.codes, 1024);
    assert_int_equal(c.width[0], 32);
    assert_int_equal(c.width[2], 64);
    assert_int_equal(c.width[4], 128);
    assert_false(c.attention[3]);
    assert_true(c.attention[4]);
    ts_weights_free(w);
}

/* Encodes the golden canvas and decodes the golden codes of `ids` with the weights of `w`. */
static void check_on(ts_device *dev, const ts_weights *w, const ts_weights *want)
{
    ts_error err = {0};
    ts_vqgan v = {0};
    const char *prefix = ts_vqgan_prefix(w), *device = ts_device_about(dev)->name;
    assert_true(ts_vqgan_config_read(w, prefix, &v.config, &err));
    assert_non_null(v.params = ts_params_new(dev, w, prefix, &err));

    ts_graph *g = ts_graph_new();
    ts_tensor *pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){1, 64, 64, 3});
    ts_tensor *z = ts_output(g, ts_vqgan_encode(g, &v, pixels));
    ts_tensor *codes = ts_output(g, ts_vqgan_codes(g, &v, z));
    ts_tensor *ids = ts_input(g, "ids", TS_I32, 2, (int64_t[]){1, 16});
    ts_tensor *picture = ts_output(g, ts_vqgan_paint(g, &v, ids, 4, 4));
    if (!ts_params_check(v.params, &err)) fail_msg("%s", err.text);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s: %s", device, err.text);

    ts_image canvas = golden_picture(want, "canvas");
    float in[64 * 64 * 3], got_z[16 * 32], got_picture[64 * 64 * 3];
    int32_t in_ids[16], got_codes[16];
    for (int i = 0; i < 64 * 64 * 3; i++) in[i] = 2 * ((float)canvas.data[i] / 255) - 1;
    int64_t *want_ids = golden_i64(want, "ids"), *want_codes = golden_i64(want, "codes");
    for (int i = 0; i < 16; i++) in_ids[i] = (int32_t)want_ids[i];
    if (!ts_write(e, pixels, in, &err) || !ts_write(e, ids, in_ids, &err) || !ts_run(e, &err) || !ts_read(e, z, got_z, &err) ||
        !ts_read(e, codes, got_codes, &err) || !ts_read(e, picture, got_picture, &err))
        fail_msg("%s: %s", device, err.text);

    float *planes = golden_f32(want, "latents"), *want_z = to_nhwc(planes, 32, 4, 4);
    float *picture_planes = golden_f32(want, "decoded"), *want_picture = to_nhwc(picture_planes, 3, 64, 64);
    double z_error = relative_error(got_z, want_z, 16 * 32),
           picture_error = relative_error(got_picture, want_picture, 64 * 64 * 3);
    print_message("%s: latents %.2g, decoded %.2g\n", device, z_error, picture_error);
    assert_true(z_error < 1e-4);
    assert_true(picture_error < 1e-4);
    for (int i = 0; i < 16; i++) assert_int_equal(got_codes[i], want_codes[i]);

    free(planes);
    free(want_z);
    free(picture_planes);
    free(want_picture);
    free(want_ids);
    free(want_codes);
    ts_image_clear(&canvas);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_params_free(v.params);
}

static void test_golden(void **state)
{
    (void)state;
    ts_weights *want = open_golden("mae_vqgan_tiny.expected.safetensors");
    static const char *const files[] = {"vqgan_tiny.ckpt", "mae_vqgan_tiny.pth"};
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    assert_non_null(host);
    assert_non_null(yardstick);
    for (int i = 0; i < 2; i++) {
        ts_weights *w = open_golden(files[i]);
        check_on(yardstick, w, want);
        check_on(host, w, want);
        if (test_vulkan(TS_F32)) check_on(test_vulkan(TS_F32), w, want);
        ts_weights_free(w);
    }
    ts_device_free(yardstick);
    ts_device_free(host);
    ts_weights_free(want);
}

static void expect_config_error(const ts_weights *w, const char *says)
{
    ts_vqgan_config c;
    ts_error err = {0};
    assert_false(ts_vqgan_config_read(w, ts_vqgan_prefix(w), &c, &err));
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
}

static void test_broken_files(void **state)
{
    (void)state;
    ts_weights *w = open_golden("vqgan_tiny.ckpt");
    ts_weights *bad = altered_copy(w, "a.safetensors", "encoder.down.3.block.0.conv1.weight", NULL);
    expect_config_error(bad, "encoder.down.3.block.0.conv1.weight is missing");
    ts_weights_free(bad);
    bad = altered_copy(w, "b.safetensors", NULL, "encoder.down.1.block.0.conv1.weight");
    expect_config_error(bad, "33 channels");
    ts_weights_free(bad);
    ts_weights_free(w);
    w = open_golden("mae_vqgan_tiny.expected.safetensors");
    assert_null(ts_vqgan_prefix(w));
    expect_config_error(w, "holds no VQGAN");
    ts_weights_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_config), cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_broken_files), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("vqgan", tests, NULL, NULL);
}
