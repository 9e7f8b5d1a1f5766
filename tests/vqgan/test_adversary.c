/* test_adversary.c - the discriminator and what it adds to a VQGAN's training, against PyTorch's numbers on small weights, on
 * every backend: losses, adaptive weight, gradients of both sides. And that a training with it goes on from a checkpoint to the
 * same bits, from before the discriminator's first step and from after it. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vqgan/vqgan.h"

/* ---- against PyTorch --------------------------------------------------------------------------------------------- */

typedef struct {
    ts_weights *golden;
    ts_graph *g;
    ts_exec *e;
    ts_params *painter; /* "last" */
    ts_vqgan_discriminator d;
    ts_optimizer *optimizer, *opponent;
    ts_tensor *features, *pixels, *grad_features, *reconstruction;
    ts_vqgan_adversary a;
} side_by_side;

static ts_tensor *input_like(side_by_side *s, const char *name)
{
    const ts_weight *w = ts_weights_find(s->golden, name);
    assert_non_null(w);
    return ts_input(s->g, name, TS_REAL, w->ndim, w->shape);
}

static void feed(side_by_side *s, ts_tensor *t)
{
    ts_error err = {0};
    float *data = golden_f32(s->golden, t->name);
    if (!ts_write(s->e, t, data, &err)) fail_msg("%s", err.text);
    free(data);
}

/* A training step's graph, without the rest of the VQGAN. */
static side_by_side open_both(ts_device *dev)
{
    ts_error err = {0};
    side_by_side s = {.golden = ts_weights_open(TS_TESTS_DIR "/golden/vqgan_adversary.safetensors", &err), .g = ts_graph_new()};
    if (!s.golden) fail_msg("%s", err.text);
    ts_graph *g = s.g;
    s.painter = ts_params_new_trainable(dev, s.golden, "", NULL, NULL, &err);
    s.d.params = ts_params_new_trainable(dev, s.golden, "", NULL, NULL, &err);
    s.d.width = 3;
    s.features = input_like(&s, "features");
    s.pixels = input_like(&s, "pixels");
    ts_tensor *last = ts_param(g, s.painter, "last", TS_LAYOUT_CONV, 4, (int64_t[]){3, s.features->shape[3], 3, 3});
    ts_tensor *painted = ts_conv2d(g, s.features, last, NULL, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1});
    s.reconstruction = ts_output(g, ts_mean(g, ts_abs(g, ts_sub(g, painted, s.pixels))));
    s.a = ts_vqgan_adversary_new(g, &s.d, s.pixels, painted, last, s.reconstruction);
    ts_output(g, s.a.generator), ts_output(g, s.a.discriminator), ts_output(g, s.a.weight);
    if (!ts_params_check(s.d.params, &err)) fail_msg("%s", err.text);
    assert_true(ts_grad(g, s.a.gradient_of, 1, &s.features, &s.grad_features));
    ts_output(g, s.grad_features);
    s.optimizer = ts_optimizer_new(g, s.painter, s.a.gradient_of, &(ts_optimizer_desc){0}, &err);
    s.opponent = ts_optimizer_new(g, s.d.params, s.a.discriminator, &(ts_optimizer_desc){0}, &err);
    if (!s.optimizer || !s.opponent) fail_msg("%s", err.text);
    return s;
}

static void close_both(side_by_side *s)
{
    ts_exec_free(s->e);
    ts_graph_free(s->g);
    ts_optimizer_free(s->optimizer);
    ts_optimizer_free(s->opponent);
    ts_params_free(s->painter);
    ts_params_free(s->d.params);
    ts_weights_free(s->golden);
}

static void compare(side_by_side *s, const char *key, ts_tensor *t, double scale, double tolerance)
{
    ts_error err = {0};
    const int64_t count = ts_count(t);
    float *want = golden_f32(s->golden, key), *got = malloc((size_t)count * sizeof *got);
    assert_non_null(got);
    if (!ts_read(s->e, t, got, &err)) fail_msg("%s", err.text);
    for (int64_t i = 0; i < count; i++) got[i] = (float)((double)got[i] / scale);
    const double error = relative_error(got, want, count);
    if (!(error < tolerance)) fail_msg("%s: relative error %g", key, error);
    free(want);
    free(got);
}

/* In fp16 gradients come times the loss scale, and are rough: a dozen patches, of which a slope or a hinge goes the other way. */
static void check_adversary(ts_device *dev, double scale, double loss_tolerance, double tolerance)
{
    enum { MOST = 24 };
    ts_error err = {0};
    side_by_side s = open_both(dev);
    ts_tensor *grads[MOST];
    const int count = (int)ts_params_count(s.d.params);
    assert_int_equal(count, 13);
    for (int i = 0; i < count; i++) grads[i] = ts_output(s.g, ts_optimizer_grad(s.opponent, ts_params_name(s.d.params, i)));
    ts_tensor *grad_last = ts_output(s.g, ts_optimizer_grad(s.optimizer, "last"));
    s.e = ts_exec_new(s.g, dev, &err);
    if (!s.e) fail_msg("%s", err.text);
    feed(&s, s.features);
    feed(&s, s.pixels);
    if (!ts_optimizer_set(s.optimizer, s.e, 1, 1e-3, &err) || !ts_optimizer_set(s.opponent, s.e, 1, 1e-3, &err) ||
        !ts_run(s.e, &err))
        fail_msg("%s", err.text);
    compare(&s, "reconstruction", s.reconstruction, 1, loss_tolerance);
    compare(&s, "generator", s.a.generator, 1, loss_tolerance);
    compare(&s, "discriminator", s.a.discriminator, 1, loss_tolerance);
    compare(&s, "weight", s.a.weight, 1, tolerance);
    compare(&s, "grad.features", s.grad_features, 1, tolerance);
    compare(&s, "grad.last", grad_last, scale, tolerance);
    for (int i = 0; i < count; i++) {
        char key[96];
        snprintf(key, sizeof key, "grad.%s", ts_params_name(s.d.params, i));
        compare(&s, key, grads[i], scale, tolerance);
    }
    close_both(&s);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_adversary(dev, 1, 1e-5, 1e-4);
    ts_device_free(dev);
}

static void on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_adversary(dev, 1, 1e-5, 1e-4);
}

static void on_vulkan_fp16(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F16);
    if (!dev) skip();
    check_adversary(dev, 32768, 0.02, 0.3);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

enum { SIDE = 24, BATCH = 2, VALUES = BATCH * SIDE * SIDE * 3 };

static const ts_vqgan_trainer_desc small = {
    .config =
        {.base = 8, .levels = 2, .width = {8, 8}, .blocks = 1, .latent = 4, .embed = 4, .codes = 8, .factor = 2, .groups = 4},
    .batch = BATCH,
    .side = SIDE,
    .revive = 4,
    .discriminator = 4,
    .discriminator_start = 3,
    .seed = 5};

static ts_vqgan_trainer *open_trainer(ts_device *dev, const ts_vqgan_trainer_desc *desc)
{
    ts_error err = {0};
    ts_vqgan_trainer *t = ts_vqgan_trainer_new(dev, desc, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static ts_vqgan_losses steps(ts_vqgan_trainer *t, int count)
{
    ts_error err = {0};
    ts_vqgan_losses losses = {0};
    float pixels[VALUES];
    for (int i = 0; i < VALUES; i++) pixels[i] = (float)sin(0.05 * i);
    for (int i = 0; i < count; i++)
        if (!ts_vqgan_trainer_step(t, pixels, 1e-3, &losses, &err)) fail_msg("%s", err.text);
    return losses;
}

static ts_weights *saved(ts_vqgan_trainer *t, const char *name)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_vqgan_trainer_save(t, w, true, &err)) fail_msg("%s", err.text);
    return write_and_open(w, name);
}

static void check_same(const ts_weights *a, const ts_weights *b)
{
    assert_int_equal(ts_weights_count(a), ts_weights_count(b));
    for (int64_t i = 0; i < ts_weights_count(a); i++) {
        const ts_weight *x = ts_weights_at(a, i), *y = ts_weights_find(b, x->name);
        if (!y || x->count != y->count || memcmp(x->data, y->data, (size_t)x->count * sizeof(float)) != 0)
            fail_msg("%s differs", x->name);
    }
}

/* Stopped after `stop` steps and gone on with, against one that was never stopped. */
static void check_resumes(ts_device *dev, const ts_vqgan_trainer_desc *desc, int stop)
{
    ts_error err = {0};
    const int parts = desc->accumulate > 0 ? desc->accumulate : 1;
    ts_vqgan_trainer *whole = open_trainer(dev, desc);
    steps(whole, stop * parts);
    ts_weights *checkpoint = saved(whole, "stopped");
    ts_vqgan_trainer_desc again = *desc;
    again.weights = checkpoint; /* as a run that goes on opens it */
    ts_vqgan_trainer *second = open_trainer(dev, &again);
    if (!ts_vqgan_trainer_resume(second, checkpoint, &err)) fail_msg("%s", err.text);
    const ts_vqgan_losses a = steps(whole, (8 - stop) * parts), b = steps(second, (8 - stop) * parts);
    assert_true(a.total == b.total && a.generator == b.generator && a.discriminator == b.discriminator && a.weight == b.weight);
    ts_weights *one = saved(whole, "whole"), *other = saved(second, "second");
    check_same(one, other);
    ts_weights_free(one);
    ts_weights_free(other);
    ts_vqgan_trainer_free(second);
    ts_weights_free(checkpoint);
    ts_vqgan_trainer_free(whole);
}

static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_resumes(dev, &small, 2); /* before its first step */
    check_resumes(dev, &small, 3); /* just before it */
    check_resumes(dev, &small, 5);
    ts_vqgan_trainer_desc parted = small;
    parted.accumulate = 2;
    check_resumes(dev, &parted, 5);
    ts_device_free(dev);
    if ((dev = test_vulkan(TS_F32))) check_resumes(dev, &small, 4);
}

/* Nothing changes before its first step; from then on it learns to tell painted pictures from real ones. */
static void joins_in(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_vqgan_trainer_desc without = small;
    without.discriminator = 0;
    ts_vqgan_trainer *t = open_trainer(dev, &small), *alone = open_trainer(dev, &without);
    ts_vqgan_losses a = steps(t, 3), b = steps(alone, 3);
    assert_true(a.total == b.total && a.reconstruction == b.reconstruction && isnan(a.generator) && isnan(a.weight));
    a = steps(t, 1);
    b = steps(alone, 1);
    assert_true(a.reconstruction == b.reconstruction); /* both before the update */
    assert_true(isfinite(a.generator) && a.weight > 0 && a.discriminator > 0);
    /* The two sides take turns at winning, and rounding decides which is ahead at a given step. */
    double least = a.discriminator;
    for (int i = 0; i < 40; i++) {
        const ts_vqgan_losses later = steps(t, 1);
        if (later.discriminator < least) least = later.discriminator;
    }
    assert_true(least < 0.99 * a.discriminator);
    ts_vqgan_trainer_free(t);
    ts_vqgan_trainer_free(alone);
    ts_device_free(dev);
}

/* It joins a training that went without one so far. */
static void joins_late(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    ts_vqgan_trainer_desc desc = small;
    desc.discriminator = 0;
    ts_vqgan_trainer *alone = open_trainer(dev, &desc);
    steps(alone, 5);
    ts_weights *checkpoint = saved(alone, "alone");
    ts_vqgan_trainer *t = open_trainer(dev, &small);
    if (!ts_vqgan_trainer_resume(t, checkpoint, &err)) fail_msg("%s", err.text);
    assert_true(isfinite(steps(t, 1).generator));
    ts_vqgan_trainer_free(t);
    ts_vqgan_trainer_free(alone);
    ts_weights_free(checkpoint);
    ts_device_free(dev);
}

static void refused(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    ts_vqgan_trainer_desc desc = small;
    desc.side = 22;
    assert_null(ts_vqgan_trainer_new(dev, &desc, &err));
    assert_non_null(strstr(err.text, "24 pixels or more"));
    /* A checkpoint whose discriminator is another's. */
    ts_vqgan_trainer *t = open_trainer(dev, &small);
    steps(t, 1);
    ts_weights *checkpoint = saved(t, "other");
    desc = small;
    desc.discriminator = 6;
    ts_vqgan_trainer *other = open_trainer(dev, &desc);
    err = (ts_error){0};
    assert_false(ts_vqgan_trainer_resume(other, checkpoint, &err));
    assert_non_null(strstr(err.text, "loss.discriminator.main.0.weight"));
    ts_vqgan_trainer_free(t);
    ts_vqgan_trainer_free(other);
    ts_weights_free(checkpoint);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_host),        cmocka_unit_test(on_vulkan),
                                       cmocka_unit_test(on_vulkan_fp16), cmocka_unit_test(resumes_to_the_same_bits),
                                       cmocka_unit_test(joins_in),       cmocka_unit_test(joins_late),
                                       cmocka_unit_test(refused),        cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("vqgan adversary", tests, NULL, NULL);
}
