/* test_train.c - the VQGAN's objective against PyTorch's numbers on small weights: reconstruction, codes, losses and gradients,
 * on every backend; and that a training lowers its loss, revives codes and resumes. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vqgan/vqgan.h"

enum { BATCH = 2, SIDE = 64, PLACES = 16 };

/* (BATCH, 3, SIDE, SIDE) -> (BATCH, SIDE, SIDE, 3) */
static float *batch_to_nhwc(const float *x)
{
    const size_t one = (size_t)3 * SIDE * SIDE;
    float *out = malloc(BATCH * one * sizeof *out);
    assert_non_null(out);
    for (int b = 0; b < BATCH; b++) {
        float *picture = to_nhwc(x + (size_t)b * one, 3, SIDE, SIDE);
        memcpy(out + (size_t)b * one, picture, one * sizeof *out);
        free(picture);
    }
    return out;
}

static void check_objective(ts_device *dev)
{
    static const char *const names[] = {"encoder.conv_in.weight",
                                        "encoder.down.4.attn.0.q.weight",
                                        "encoder.down.1.downsample.conv.weight",
                                        "quant_conv.bias",
                                        "quantize.embedding.weight",
                                        "decoder.mid.block_1.norm1.weight",
                                        "decoder.up.2.upsample.conv.weight",
                                        "decoder.conv_out.weight"};
    enum { COUNT = sizeof names / sizeof *names };
    ts_error err = {0};
    ts_weights *model = open_golden("vqgan_train_tiny.weights.safetensors"),
               *expected = open_golden("vqgan_train_tiny.expected.safetensors");
    ts_vqgan v = {.params = ts_params_new_trainable(dev, model, ts_vqgan_prefix(model), NULL, NULL, &err)};
    if (!v.params || !ts_vqgan_config_read(model, ts_vqgan_prefix(model), &v.config, &err)) fail_msg("%s", err.text);
    ts_graph *g = ts_graph_new();
    ts_tensor *pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){BATCH, SIDE, SIDE, 3});
    ts_vqgan_objective o = ts_vqgan_objective_new(g, &v, pixels, NULL, false);
    ts_output(g, o.codes), ts_output(g, o.painted), ts_output(g, o.loss), ts_output(g, o.codebook);
    ts_optimizer *optimizer = ts_optimizer_new(g, v.params, o.loss, &(ts_optimizer_desc){0}, &err);
    if (!optimizer) fail_msg("%s", err.text);
    ts_tensor *grads[COUNT];
    for (int i = 0; i < COUNT; i++) {
        grads[i] = ts_output(g, ts_optimizer_grad(optimizer, names[i]));
        assert_non_null(grads[i]);
    }
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    float *images = golden_f32(expected, "images"), *input = batch_to_nhwc(images);
    for (int64_t i = 0; i < (int64_t)BATCH * SIDE * SIDE * 3; i++) input[i] = 2 * input[i] - 1; /* stored in [0, 1] */
    if (!ts_write(e, pixels, input, &err) || !ts_optimizer_set(optimizer, e, 1, 0, &err) || !ts_run(e, &err))
        fail_msg("%s", err.text);

    int32_t codes[BATCH * PLACES];
    int64_t *want_codes = golden_i64(expected, "codes");
    float loss, codebook, *want_loss = golden_f32(expected, "loss"), *want_codebook = golden_f32(expected, "commit");
    if (!ts_read(e, o.codes, codes, &err) || !ts_read(e, o.loss, &loss, &err) || !ts_read(e, o.codebook, &codebook, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < BATCH * PLACES; i++) assert_int_equal(codes[i], want_codes[i]);
    if (!(fabsf(loss - *want_loss) < 1e-4F)) fail_msg("loss %.6f, wanted %.6f", (double)loss, (double)*want_loss);
    if (!(fabsf(codebook - *want_codebook) < 1e-4F))
        fail_msg("codebook loss %.6f, wanted %.6f", (double)codebook, (double)*want_codebook);
    const int64_t count = ts_count(o.painted);
    float *painted = malloc((size_t)count * sizeof *painted), *reconstruction = golden_f32(expected, "reconstruction");
    float *want = batch_to_nhwc(reconstruction);
    if (!ts_read(e, o.painted, painted, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(painted, want, count) < 1e-4);
    for (int i = 0; i < COUNT; i++) {
        char key[64];
        snprintf(key, sizeof key, "grad.%s", names[i]);
        float *want_grad = golden_f32(expected, key), *got = malloc((size_t)ts_count(grads[i]) * sizeof *got);
        if (!ts_read(e, grads[i], got, &err)) fail_msg("%s", err.text);
        const double error = relative_error(got, want_grad, ts_count(grads[i]));
        if (!(error < 1e-3)) fail_msg("gradient of %s: relative error %g", names[i], error);
        free(want_grad);
        free(got);
    }
    free(images), free(input), free(want_codes), free(want_loss), free(want_codebook), free(painted), free(reconstruction),
        free(want);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_optimizer_free(optimizer);
    ts_params_free(v.params);
    ts_weights_free(model);
    ts_weights_free(expected);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_objective(dev);
    ts_device_free(dev);
}

static void on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_objective(dev);
}

static const ts_vqgan_trainer_desc small = {.config = {.base = 32,
                                                       .levels = 3,
                                                       .width = {32, 32, 64},
                                                       .blocks = 1,
                                                       .attention = {false, false, true},
                                                       .latent = 16,
                                                       .embed = 16,
                                                       .codes = 32,
                                                       .factor = 4},
                                            .batch = 2,
                                            .side = 16,
                                            .revive = 4,
                                            .seed = 7};

static void steps(ts_vqgan_trainer *t, int count, ts_vqgan_losses *losses)
{
    ts_error err = {0};
    float pixels[2 * 16 * 16 * 3];
    for (int i = 0; i < 2 * 16 * 16 * 3; i++) pixels[i] = (float)sin(0.05 * i);
    for (int i = 0; i < count; i++)
        if (!ts_vqgan_trainer_step(t, pixels, 2e-3, losses, &err)) fail_msg("%s", err.text);
}

/* Stopped after step 18; `more` steps follow, of which some of the first `continuous` do not quantise. */
static void check_learning(int continuous, int more)
{
    ts_vqgan_trainer_desc desc = small;
    desc.continuous = continuous;
    ts_device *dev = host();
    ts_error err = {0};
    ts_vqgan_losses first, last, again;
    ts_vqgan_trainer *whole = ts_vqgan_trainer_new(dev, &desc, &err), *second = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!whole || !second) fail_msg("%s", err.text);
    steps(whole, 1, &first);
    steps(whole, 17, &last);
    char path[256];
    snprintf(path, sizeof path, "%s/vqgan.safetensors", temp_dir());
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_vqgan_trainer_save(whole, w, true, &err) || !ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    ts_weights *checkpoint = ts_weights_open(path, &err);
    if (!checkpoint || !ts_vqgan_trainer_resume(second, checkpoint, &err)) fail_msg("%s", err.text);
    steps(whole, more, &last);
    steps(second, more, &again);
    assert_true(last.reconstruction == again.reconstruction && last.codebook == again.codebook &&
                last.codes_used == again.codes_used);
    assert_true(last.reconstruction < 0.7 * first.reconstruction);
    assert_true(last.codes_used > 1);
    ts_weights_free(checkpoint);
    ts_vqgan_trainer_free(whole);
    ts_vqgan_trainer_free(second);
    ts_device_free(dev);
}

static void learns_and_resumes(void **state)
{
    (void)state;
    check_learning(0, 12);
}

static void begins_without_quantising(void **state)
{
    (void)state;
    check_learning(2, 102);
    check_learning(22, 102); /* stopped before the codebook begins */
}

static ts_weights *save(ts_vqgan_trainer *t, const char *name)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_vqgan_trainer_save(t, w, false, &err)) fail_msg("%s", err.text);
    return write_and_open(w, name);
}

static bool same(const ts_weights *a, const ts_weights *b, const char *name)
{
    float *x = golden_f32(a, name), *y = golden_f32(b, name);
    const bool equal = memcmp(x, y, (size_t)ts_weights_find(a, name)->count * sizeof *x) == 0;
    free(x);
    free(y);
    return equal;
}

static int different_codes(const ts_weights *w)
{
    const int codes = small.config.codes, width = small.config.embed;
    float *book = golden_f32(w, "quantize.embedding.weight");
    int count = 0;
    for (int i = 0; i < codes; i++) {
        int k = 0;
        while (k < i && memcmp(book + i * width, book + k * width, (size_t)width * sizeof *book) != 0) k++;
        count += k == i;
    }
    free(book);
    return count;
}

/* What a masked autoencoder has learned to predict stays: encoder and codes, also those that nothing uses. */
static void trains_the_decoder_alone(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_error err = {0};
    ts_vqgan_losses losses;
    ts_vqgan_trainer_desc desc = small;
    ts_vqgan_trainer *t = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!t) fail_msg("%s", err.text);
    ts_weights *before = save(t, "before");
    ts_vqgan_trainer_free(t);
    desc.weights = before;
    desc.decoder_only = true;
    t = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!t) fail_msg("%s", err.text);
    steps(t, 8, &losses);
    ts_weights *after = save(t, "after");
    assert_true(same(before, after, "encoder.conv_in.weight") && same(before, after, "quant_conv.bias") &&
                same(before, after, "quantize.embedding.weight"));
    assert_false(same(before, after, "post_quant_conv.weight") || same(before, after, "decoder.conv_out.weight"));
    ts_vqgan_trainer_free(t);
    desc.merge = 0.9;
    t = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!t) fail_msg("%s", err.text);
    ts_weights *merged = save(t, "merged");
    assert_true(same(before, merged, "encoder.conv_in.weight") && different_codes(merged) < different_codes(before));
    ts_weights_free(merged);
    ts_vqgan_trainer_free(t);
    desc.merge = 0;
    desc.weights = NULL;
    assert_null(ts_vqgan_trainer_new(dev, &desc, &err));
    assert_string_equal(err.text, "a decoder alone learns for the codes of a trained VQGAN, and from the first step");
    ts_weights_free(before);
    ts_weights_free(after);
    ts_device_free(dev);
}

/* Before it has learned anything, a model gives back the colours of large flat parts. */
static void passes_colours_on(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_error err = {0};
    ts_vqgan_trainer_desc desc = small;
    desc.batch = 1;
    desc.continuous = 1;
    desc.config.groups = 4;
    ts_vqgan_trainer *t = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!t) fail_msg("%s", err.text);
    static const float colours[4][3] = {{1, -1, -1}, {-1, 1, -1}, {-1, -1, 1}, {1, 1, 1}};
    float pixels[16 * 16 * 3], painted[16 * 16 * 3];
    for (int i = 0; i < 16 * 16; i++) memcpy(pixels + 3 * i, colours[i / 128 * 2 + i % 16 / 8], sizeof colours[0]);
    ts_vqgan_losses losses;
    if (!ts_vqgan_trainer_step(t, pixels, 0, &losses, &err) || !ts_vqgan_trainer_painted(t, painted, &err))
        fail_msg("%s", err.text);
    float agree[4][3] = {{0}}; /* mean of a quarter's channel, positive where its sign is right */
    for (int i = 0; i < 16 * 16; i++)
        for (int c = 0; c < 3; c++) agree[i / 128 * 2 + i % 16 / 8][c] += pixels[3 * i + c] * painted[3 * i + c] / 64;
    for (int i = 0; i < 4 * 3; i++) assert_true(agree[i / 3][i % 3] > 0);
    ts_vqgan_trainer_free(t);
    ts_device_free(dev);
}

/* A batch of two in two calls: the same losses up to rounding, and the codes of both calls counted. */
static void parts_make_a_batch(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_error err = {0};
    ts_vqgan_trainer_desc parted = small;
    parted.batch = 1;
    parted.accumulate = 2;
    ts_vqgan_trainer *a = ts_vqgan_trainer_new(dev, &small, &err), *b = ts_vqgan_trainer_new(dev, &parted, &err);
    if (!a || !b) fail_msg("%s", err.text);
    float pixels[2 * 16 * 16 * 3];
    for (int i = 0; i < 2 * 16 * 16 * 3; i++) pixels[i] = (float)sin(0.05 * i);
    for (int i = 0; i < 3; i++) {
        ts_vqgan_losses whole, part[2];
        if (!ts_vqgan_trainer_step(a, pixels, 1e-4, &whole, &err) || !ts_vqgan_trainer_step(b, pixels, 1e-4, &part[0], &err) ||
            !ts_vqgan_trainer_step(b, pixels + 16 * 16 * 3, 1e-4, &part[1], &err))
            fail_msg("%s", err.text);
        assert_true(fabs(whole.reconstruction - (part[0].reconstruction + part[1].reconstruction) / 2) < 1e-4);
        assert_true(fabs(whole.codebook - (part[0].codebook + part[1].codebook) / 2) < 1e-4);
        assert_int_equal(whole.codes_used, part[1].codes_used);
        assert_int_equal(ts_vqgan_trainer_steps(b), i + 1);
    }
    ts_vqgan_trainer_free(a);
    ts_vqgan_trainer_free(b);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_host),
                                       cmocka_unit_test(on_vulkan),
                                       cmocka_unit_test(learns_and_resumes),
                                       cmocka_unit_test(begins_without_quantising),
                                       cmocka_unit_test(trains_the_decoder_alone),
                                       cmocka_unit_test(passes_colours_on),
                                       cmocka_unit_test(parts_make_a_batch),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("vqgan train", tests, NULL, NULL);
}
