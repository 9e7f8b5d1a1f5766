/* test_lpips.c - LPIPS against PyTorch's number and gradients on a small VGG, on every backend, its weights in one file and in
 * two; a VQGAN's training with it; and what is said of files that do not hold it. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vqgan/vqgan.h"

static const char PREFIX[] = "loss.perceptual_loss.";

static ts_weights *golden(void)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open(TS_TESTS_DIR "/golden/vqgan_lpips.safetensors", &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

/* The vectors alone under their published names, or the VGG under torchvision's; without the tensor `missing` (or NULL). */
static ts_weights *part(const ts_weights *w, bool vgg, const char *missing, const char *file)
{
    ts_error err = {0};
    ts_weights_writer *writer = ts_weights_writer_new();
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        char name[64], what[16];
        int slice, place;
        if (strncmp(t->name, PREFIX, strlen(PREFIX)) != 0) continue;
        const char *rest = t->name + strlen(PREFIX);
        const bool conv = sscanf(rest, "net.slice%d.%d.%15s", &slice, &place, what) == 3;
        if (conv) snprintf(name, sizeof name, "features.%d.%s", place, what);
        else snprintf(name, sizeof name, "%s", rest);
        if (conv != vgg || (missing && strcmp(name, missing) == 0)) continue;
        if (!ts_weights_writer_add_weight_as(writer, name, t, TS_DT_F32, &err)) fail_msg("%s", err.text);
    }
    return write_and_open(writer, file);
}

static void compare(ts_exec *e, const ts_weights *w, const char *key, ts_tensor *t, double tolerance)
{
    ts_error err = {0};
    float *want = golden_f32(w, key), *got = malloc((size_t)ts_count(t) * sizeof *got);
    assert_non_null(got);
    if (!ts_read(e, t, got, &err)) fail_msg("%s", err.text);
    const double error = relative_error(got, want, ts_count(t));
    if (!(error < tolerance)) fail_msg("%s: relative error %g", key, error);
    free(want);
    free(got);
}

static void check(ts_device *dev, const ts_weights *w, const ts_weights *weights, const ts_weights *vgg, bool gradients,
                  double tolerance)
{
    ts_error err = {0};
    ts_lpips *l = ts_lpips_new(dev, weights, vgg, &err);
    if (!l) fail_msg("%s", err.text);
    ts_graph *g = ts_graph_new();
    const int64_t *shape = ts_weights_find(w, "a")->shape;
    ts_tensor *in[] = {ts_input(g, "a", TS_REAL, 4, shape), ts_input(g, "b", TS_REAL, 4, shape)}, *grads[2];
    ts_tensor *distance = ts_output(g, ts_lpips_distance(g, l, in[0], in[1]));
    if (!ts_lpips_check(l, &err)) fail_msg("%s", err.text);
    assert_true(ts_grad(g, distance, 2, in, grads));
    for (int i = 0; i < 2; i++) ts_output(g, grads[i]);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        float *data = golden_f32(w, in[i]->name);
        if (!ts_write(e, in[i], data, &err)) fail_msg("%s", err.text);
        free(data);
    }
    if (!ts_run(e, &err)) fail_msg("%s", err.text);
    compare(e, w, "distance", distance, tolerance);
    if (gradients) {
        compare(e, w, "grad.a", grads[0], 10 * tolerance);
        compare(e, w, "grad.b", grads[1], 10 * tolerance);
    }
    ts_exec_free(e);
    ts_graph_free(g);
    ts_lpips_free(l);
}

static void on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_weights *w = golden(), *vectors = part(w, false, NULL, "vectors"), *vgg = part(w, true, NULL, "vgg");
    check(dev, w, w, NULL, true, 1e-5);
    check(dev, w, vectors, vgg, true, 1e-5);
    ts_weights_free(vectors);
    ts_weights_free(vgg);
    ts_weights_free(w);
    ts_device_free(dev);
}

static void check_on_vulkan(ts_precision precision, bool gradients, double tolerance)
{
    ts_device *dev = test_vulkan(precision);
    if (!dev) skip();
    ts_weights *w = golden();
    check(dev, w, w, NULL, gradients, tolerance);
    ts_weights_free(w);
}

static void on_vulkan(void **state)
{
    (void)state;
    check_on_vulkan(TS_F32, true, 1e-5);
}

/* The distance alone: where fp16 makes two pixels equal, or zero, a gradient goes another way. */
static void on_vulkan_fp16(void **state)
{
    (void)state;
    check_on_vulkan(TS_F16, false, 0.01);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

enum { SIDE = 24, BATCH = 2, VALUES = BATCH * SIDE * SIDE * 3 };

static const ts_vqgan_config small = {
    .base = 8, .levels = 2, .width = {8, 8}, .blocks = 1, .latent = 4, .embed = 4, .codes = 8, .factor = 2, .groups = 4};

static ts_vqgan_losses train(ts_device *dev, const ts_lpips *l, int discriminator, int steps)
{
    const ts_vqgan_trainer_desc desc = {
        .config = small, .batch = BATCH, .side = SIDE, .lpips = l, .discriminator = discriminator, .seed = 5};
    ts_error err = {0};
    ts_vqgan_trainer *t = ts_vqgan_trainer_new(dev, &desc, &err);
    if (!t) fail_msg("%s", err.text);
    ts_vqgan_losses losses = {0};
    float pixels[VALUES];
    for (int i = 0; i < VALUES; i++) pixels[i] = (float)sin(0.05 * i);
    for (int i = 0; i < steps; i++)
        if (!ts_vqgan_trainer_step(t, pixels, 2e-3, &losses, &err)) fail_msg("%s", err.text);
    ts_vqgan_trainer_free(t);
    return losses;
}

/* It counts beside |x - y|, is made smaller, and weighs the adversary. */
static void trains(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    ts_weights *w = golden();
    ts_lpips *l = ts_lpips_new(dev, w, NULL, &err);
    if (!l) fail_msg("%s", err.text);
    const ts_vqgan_losses without = train(dev, NULL, 0, 1), first = train(dev, l, 0, 1), last = train(dev, l, 0, 60);
    assert_true(isnan(without.perceptual) && without.reconstruction == first.reconstruction);
    assert_true(fabs(first.total - without.total - first.perceptual) < 1e-5);
    assert_true(first.perceptual > 0.01 && last.perceptual < 0.8 * first.perceptual);
    const ts_vqgan_losses plain = train(dev, NULL, 4, 1), both = train(dev, l, 4, 1);
    assert_true(plain.generator == both.generator && both.weight > 0 && fabs(both.weight - plain.weight) > 1e-3 * plain.weight);
    ts_lpips_free(l);
    ts_weights_free(w);
    ts_device_free(dev);
}

/* ---- files that do not hold it --------------------------------------------------------------------------------------- */

static void check_refused(ts_device *dev, const ts_weights *weights, const ts_weights *vgg, const char *words)
{
    ts_error err = {0};
    ts_lpips *l = ts_lpips_new(dev, weights, vgg, &err);
    if (l) { /* what is missing shows when it is described */
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 16, 16, 3});
        ts_lpips_distance(g, l, x, x);
        assert_false(ts_lpips_check(l, &err));
        ts_graph_free(g);
        ts_lpips_free(l);
    }
    if (!strstr(err.text, words)) fail_msg("'%s' does not say '%s'", err.text, words);
}

static void refused(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_weights *w = golden(), *vectors = part(w, false, NULL, "vectors"), *vgg = part(w, true, NULL, "vgg");
    ts_weights *no_vector = altered_copy(w, "no_vector", "loss.perceptual_loss.lin3.model.1.weight", NULL);
    ts_weights *wide = altered_copy(w, "wide", NULL, "loss.perceptual_loss.lin3.model.1.weight");
    ts_weights *no_weight = part(w, true, "features.21.weight", "no_weight"),
               *no_bias = part(w, true, "features.7.bias", "no_bias");
    check_refused(dev, vgg, NULL, "is a VGG; an LPIPS is wanted");
    check_refused(dev, vectors, NULL, "not the VGG-16");
    check_refused(dev, vectors, vectors, "is an LPIPS; a VGG is wanted");
    check_refused(dev, vectors, no_weight, "features.21.weight is missing");
    check_refused(dev, vectors, no_bias, "features.7.bias");
    check_refused(dev, no_vector, NULL, "loss.perceptual_loss.lin3.model.1.weight is missing");
    check_refused(dev, wide, NULL, "lin3.model.1.weight");
    ts_weights *all[] = {w, vectors, vgg, no_vector, wide, no_weight, no_bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ts_weights_free(all[i]);
    ts_device_free(dev);
}

static void too_small(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    ts_weights *w = golden();
    ts_lpips *l = ts_lpips_new(dev, w, NULL, &err);
    if (!l) fail_msg("%s", err.text);
    const ts_vqgan_trainer_desc desc = {.config = small, .batch = 1, .side = 14, .lpips = l};
    assert_null(ts_vqgan_trainer_new(dev, &desc, &err));
    assert_non_null(strstr(err.text, "16 or more"));
    ts_lpips_free(l);
    ts_weights_free(w);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_host),
                                       cmocka_unit_test(on_vulkan),
                                       cmocka_unit_test(on_vulkan_fp16),
                                       cmocka_unit_test(trains),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(too_small),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("lpips", tests, NULL, NULL);
}
