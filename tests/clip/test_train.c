/* test_train.c - contrastive training: the loss of a toy set falls, a training that was stopped goes on to the same bits, and
 * what is saved is a CLIP with the features that were trained. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clip/clip.h"

enum { BATCH = 5, IMAGE = 12, PIXELS = IMAGE * IMAGE * 3, CONTEXT = 7, LENGTH = 5, VOCABULARY = 20, EMBED = 6 };

/* Widths that 64 does not divide: their heads stand in the metadata. */
static const ts_clip_config sizes = {.image = IMAGE,
                                     .patch = 4,
                                     .width = 16,
                                     .layers = 2,
                                     .heads = 2,
                                     .text_width = 12,
                                     .text_layers = 2,
                                     .text_heads = 3,
                                     .context = CONTEXT,
                                     .vocabulary = VOCABULARY,
                                     .embed = EMBED};

/* Pairs of noise: a batch must be learned by heart. */
typedef struct {
    float pixels[BATCH * PIXELS];
    int32_t tokens[BATCH * CONTEXT];
} pairs;

static void make_pairs(pairs *p)
{
    uint64_t seed = 5;
    memset(p, 0, sizeof *p);
    for (int i = 0; i < BATCH * PIXELS; i++) p->pixels[i] = (float)test_normal(&seed);
    for (int b = 0; b < BATCH; b++) {
        int32_t *text = p->tokens + (size_t)b * CONTEXT;
        const int words = 1 + b % (LENGTH - 2);
        text[0] = VOCABULARY - 2;
        for (int i = 1; i <= words; i++) text[i] = (int32_t)(test_uniform(&seed) * (VOCABULARY - 2));
        text[1] = b; /* no two alike */
        text[1 + words] = VOCABULARY - 1;
    }
}

static ts_clip_trainer *open_trainer(ts_device *dev, const ts_weights *from)
{
    ts_error err = {0};
    ts_clip_trainer *t = ts_clip_trainer_new(
        dev, &(ts_clip_trainer_desc){.weights = from, .config = sizes, .batch = BATCH, .length = LENGTH, .seed = 3}, &err);
    if (!t) fail_msg("%s", err.text);
    return t;
}

static void check_near(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s is %.9g, wanted %.9g", what, got, want);
}

static void step(ts_clip_trainer *t, const pairs *p, double *loss, double *accuracy)
{
    ts_error err = {0};
    if (!ts_clip_trainer_step(t, p->pixels, p->tokens, 1e-2, loss, accuracy, &err)) fail_msg("%s", err.text);
}

static ts_weights *save(ts_clip_trainer *t, const char *name, bool optimizer)
{
    char path[256];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_clip_trainer_save(t, w, optimizer, &err) || !ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    ts_weights *back = ts_weights_open(path, &err);
    if (!back) fail_msg("%s", err.text);
    return back;
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

/* The loss that the features of the opened file come to, by the formula (the paper, figure 3). */
static double loss_of(ts_clip *c, const pairs *p)
{
    float images[BATCH * EMBED], texts[BATCH * EMBED], by_image[BATCH * BATCH], by_text[BATCH * BATCH];
    ts_error err = {0};
    if (!ts_clip_encode_images(c, p->pixels, BATCH, images, &err) || !ts_clip_encode_texts(c, p->tokens, BATCH, texts, &err))
        fail_msg("%s", err.text);
    ts_clip_logits(c, images, BATCH, texts, BATCH, by_image);
    ts_clip_logits(c, texts, BATCH, images, BATCH, by_text);
    double loss = 0;
    for (int i = 0; i < BATCH; i++) {
        double rows = 0, columns = 0;
        for (int k = 0; k < BATCH; k++) {
            rows += exp((double)by_image[i * BATCH + k]);
            columns += exp((double)by_text[i * BATCH + k]);
        }
        loss += (log(rows) + log(columns) - 2 * (double)by_image[i * BATCH + i]) / (2 * BATCH);
    }
    return loss;
}

/* Learns, and what it saves is the model that it has: also as a start for another training. */
static void learns(ts_device *dev)
{
    pairs p;
    make_pairs(&p);
    ts_error err = {0};
    ts_clip_trainer *t = open_trainer(dev, NULL);
    double first, loss = 0, accuracy = 0, again, same;
    if (!ts_clip_trainer_evaluate(t, p.pixels, p.tokens, &first, &accuracy, &err)) fail_msg("%s", err.text);
    check_near("the first scale", ts_clip_trainer_scale(t), 1 / 0.07, 1e-4);
    for (int i = 0; i < 100; i++) {
        step(t, &p, &loss, &accuracy);
        if (i == 0) check_near("the first loss", loss, first, 1e-5);
    }
    if (!(first > 0.5 && loss < 0.05) || accuracy < 1) fail_msg("loss %g, then %g with accuracy %g", first, loss, accuracy);
    assert_int_equal(ts_clip_trainer_steps(t), 100);
    if (!ts_clip_trainer_evaluate(t, p.pixels, p.tokens, &loss, &accuracy, &err)) fail_msg("%s", err.text);
    ts_weights *w = save(t, "model.safetensors", false);
    ts_clip *c = ts_clip_new(dev, w, &err);
    if (!c) fail_msg("%s", err.text);
    assert_int_equal(ts_clip_about(c)->heads, 2);
    assert_int_equal(ts_clip_about(c)->text_heads, 3);
    assert_int_equal(ts_weights_find(w, "logit_scale")->ndim, 0);
    check_near("the scale", ts_clip_logit_scale(c), ts_clip_trainer_scale(t), 1e-4);
    check_near("the opened model's loss", loss_of(c, &p), loss, 1e-4);
    ts_clip_trainer *other = open_trainer(dev, w);
    if (!ts_clip_trainer_evaluate(other, p.pixels, p.tokens, &again, &same, &err)) fail_msg("%s", err.text);
    check_near("the loss to start from", again, loss, 1e-6);
    ts_clip_trainer_free(other);
    ts_clip_trainer_free(t);
    ts_clip_free(c);
    ts_weights_free(w);
}

static void learns_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    learns(dev);
    ts_device_free(dev);
}

static void learns_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    learns(dev);
}

/* Three steps, saved, resumed elsewhere: the next steps are those of a training that was never stopped. */
static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    pairs p;
    make_pairs(&p);
    ts_device *dev = host();
    ts_error err = {0};
    ts_clip_trainer *whole = open_trainer(dev, NULL);
    double loss[4], accuracy;
    for (int i = 0; i < 3; i++) step(whole, &p, &loss[0], &accuracy);
    ts_weights *checkpoint = save(whole, "checkpoint.safetensors", true), *model = save(whole, "model.safetensors", false);
    ts_clip_trainer *second = open_trainer(dev, NULL);
    if (!ts_clip_trainer_resume(second, checkpoint, &err)) fail_msg("%s", err.text);
    assert_int_equal(ts_clip_trainer_steps(second), 3);
    for (int i = 0; i < 2; i++) {
        step(whole, &p, &loss[i], &accuracy);
        step(second, &p, &loss[2 + i], &accuracy);
    }
    assert_memory_equal(loss, loss + 2, 2 * sizeof *loss);
    /* A file without the optimizer is no checkpoint, and says so. */
    assert_false(ts_clip_trainer_resume(second, model, &err));
    assert_non_null(strstr(err.text, "no step"));
    ts_clip_trainer_free(second);
    ts_clip_trainer_free(whole);
    ts_weights_free(checkpoint);
    ts_weights_free(model);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns_on_host), cmocka_unit_test(learns_on_vulkan),
                                       cmocka_unit_test(resumes_to_the_same_bits), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("clip train", tests, NULL, NULL);
}
