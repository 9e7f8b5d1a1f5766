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

static void step(ts_clip_trainer *t, const pairs *p, double lr, double *loss, double *accuracy)
{
    ts_error err = {0};
    if (!ts_clip_trainer_step(t, p->pixels, p->tokens, lr, loss, accuracy, &err)) fail_msg("%s", err.text);
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

/* ---- against PyTorch --------------------------------------------------------------------------------------------- */

static void compare(const ts_weights *golden, const char *prefix, const char *name, const ts_weights *got, const char *got_name,
                    bool turned, double scale, double tolerance)
{
    char key[96];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    const ts_weight *w = ts_weights_find(got, got_name), *shape = ts_weights_find(golden, key);
    if (!w || !shape || w->count != shape->count) {
        fail_msg("%s is missing or of another size", got_name);
        return;
    }
    float *want = golden_f32(golden, key), *have = golden_f32(got, got_name);
    for (int64_t i = 0; i < w->count; i++) have[i] = (float)(scale * (double)have[i]);
    if (turned) { /* ours is (out, in) */
        float *copy = malloc((size_t)w->count * sizeof *copy);
        assert_non_null(copy);
        memcpy(copy, have, (size_t)w->count * sizeof *copy);
        for (int64_t i = 0; i < w->count; i++) have[i % w->shape[1] * w->shape[0] + i / w->shape[1]] = copy[i];
        free(copy);
    }
    const double error = relative_error(have, want, w->count);
    if (!(error < tolerance)) fail_msg("%s: relative error %g", key, error);
    free(want);
    free(have);
}

/* Of the first step AdamW's first moment is the gradient, times 1 - beta1, and a checkpoint holds it. */
static void check_gradients(const ts_weights *golden, const ts_weights *checkpoint)
{
    int count = 0;
    for (int64_t i = 0; i < ts_weights_count(golden); i++) {
        const char *name = ts_weights_at(golden, i)->name;
        if (strncmp(name, "grad.", 5) != 0) continue;
        char moment[96];
        const bool turned = strcmp(name + 5, "visual.proj") == 0 || strcmp(name + 5, "text_projection") == 0;
        snprintf(moment, sizeof moment, "optimizer.m.%s%s", name + 5, turned ? ".weight" : "");
        compare(golden, "grad.", name + 5, checkpoint, moment, turned, 10, 1e-3);
        count++;
    }
    assert_int_equal(count, 4 + 2 * 2 + 3 * 12 + 2 + 2 + 2); /* embeddings and convolution, norms, blocks, and so on */
}

static void as_pytorch(ts_device *dev)
{
    ts_error err = {0};
    ts_weights *golden = ts_weights_open(TS_TESTS_DIR "/golden/clip_train.safetensors", &err);
    if (!golden) fail_msg("%s", err.text);
    float *pixels = golden_f32(golden, "train.pixels"), *losses = golden_f32(golden, "train.losses");
    const int32_t *tokens = ts_weights_find(golden, "train.tokens")->data;
    ts_clip_trainer *t = open_trainer(dev, golden);
    for (int i = 0; i < 6; i++) {
        double loss, accuracy;
        if (!ts_clip_trainer_step(t, pixels, tokens, 2e-3, &loss, &accuracy, &err)) fail_msg("%s", err.text);
        check_near("a loss", loss, (double)losses[i], 1e-4);
        if (i > 0) continue;
        ts_weights *checkpoint = save(t, "first.safetensors", true);
        check_gradients(golden, checkpoint);
        ts_weights_free(checkpoint);
    }
    /* The bias of the keys has no gradient but rounding, of which AdamW makes steps as of any other. */
    ts_weights *after = save(t, "after.safetensors", false);
    for (int64_t i = 0; i < ts_weights_count(after); i++) {
        const char *name = ts_weights_at(after, i)->name;
        compare(golden, "after.", name, after, name, false, 1, 5e-3);
    }
    ts_weights_free(after);
    ts_clip_trainer_free(t);
    free(losses);
    free(pixels);
    ts_weights_free(golden);
}

static void as_pytorch_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    as_pytorch(dev);
    ts_device_free(dev);
}

static void as_pytorch_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    as_pytorch(dev);
}

/* ---- by itself --------------------------------------------------------------------------------------------------- */

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
        step(t, &p, 1e-2, &loss, &accuracy);
        if (i == 0) check_near("the first loss", loss, first, 1e-5);
    }
    if (!(first > 0.5 && loss < 0.05) || accuracy < 1) fail_msg("loss %g, then %g with accuracy %g", first, loss, accuracy);
    assert_int_equal(ts_clip_trainer_steps(t), 100);
    if (!ts_clip_trainer_evaluate(t, p.pixels, p.tokens, &loss, &accuracy, &err)) fail_msg("%s", err.text);
    ts_weights *w = save(t, "model.safetensors", false);
    ts_clip *c = ts_clip_new(dev, w, NULL, &err);
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

/* (the paper, section 2.5) the scale never multiplies by more than 100. */
static void scale_is_clamped(void **state)
{
    (void)state;
    pairs p;
    make_pairs(&p);
    ts_device *dev = host();
    ts_error err = {0};
    ts_clip_trainer *t = open_trainer(dev, NULL);
    ts_weights *small = save(t, "small.safetensors", false);
    ts_clip_trainer_free(t);
    char path[256];
    const float above = 4.7F;
    snprintf(path, sizeof path, "%s/large.safetensors", temp_dir());
    ts_weights_writer *w = ts_weights_writer_new();
    bool ok = ts_weights_writer_meta(w, "vision_heads", "2", &err) && ts_weights_writer_meta(w, "text_heads", "3", &err);
    for (int64_t i = 0; i < ts_weights_count(small); i++) {
        const ts_weight *one = ts_weights_at(small, i);
        ok = ok && (strcmp(one->name, "logit_scale") == 0 ? ts_weights_writer_add(w, one->name, TS_DT_F32, 0, NULL, &above, &err)
                                                          : ts_weights_writer_add_weight(w, one, TS_DT_F32, &err));
    }
    if (!ok || !ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    ts_weights *large = ts_weights_open(path, &err);
    if (!large) fail_msg("%s", err.text);
    t = open_trainer(dev, large);
    double loss, accuracy;
    check_near("the scale of the file", ts_clip_trainer_scale(t), exp(4.7), 1e-3);
    step(t, &p, 1e-5, &loss, &accuracy);
    check_near("the scale after a step", ts_clip_trainer_scale(t), 100, 1e-3);
    ts_clip_trainer_free(t);
    ts_weights_free(small);
    ts_weights_free(large);
    ts_device_free(dev);
}

static void refused(void **state)
{
    (void)state;
    const struct {
        ts_clip_trainer_desc desc;
        const char *word;
    } cases[] = {
        {{.config = sizes, .batch = 1}, "batch of 1"},
        {{.config = sizes, .batch = 4, .length = 8}, "context of 7"},
        {{.config = {.image = 12, .patch = 5, .width = 64, .layers = 1, .text_width = 64, .text_layers = 1}, .batch = 4},
         "patches of 5"},
        {{.config = {.image = 12, .patch = 4, .width = 60, .layers = 1, .text_width = 64, .text_layers = 1}, .batch = 4},
         "heads"},
        {{.config = {.image = 12, .patch = 4, .width = 64, .layers = 0, .text_width = 64, .text_layers = 1}, .batch = 4},
         "0 layers"},
        {{.config = {.image = 12, .patch = 4, .width = 64, .layers = 1, .text_width = 64, .text_layers = 1}, .batch = 4},
         "vocabulary of 0"},
    };
    ts_device *dev = host();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        assert_null(ts_clip_trainer_new(dev, &cases[i].desc, &err));
        if (!strstr(err.text, cases[i].word)) fail_msg("'%s' does not say '%s'", err.text, cases[i].word);
    }
    pairs p;
    make_pairs(&p);
    ts_clip_trainer *t = open_trainer(dev, NULL);
    double loss, accuracy;
    ts_error err = {0};
    p.tokens[1] = VOCABULARY;
    assert_false(ts_clip_trainer_step(t, p.pixels, p.tokens, 1e-2, &loss, &accuracy, &err));
    assert_non_null(strstr(err.text, "no token 20"));
    make_pairs(&p);
    p.tokens[CONTEXT - 1] = VOCABULARY - 1;
    p.tokens[1] = p.tokens[2] = 0;
    err = (ts_error){0};
    assert_false(ts_clip_trainer_step(t, p.pixels, p.tokens, 1e-2, &loss, &accuracy, &err));
    assert_non_null(strstr(err.text, "ends at place 6"));
    assert_int_equal(ts_clip_trainer_steps(t), 0);
    ts_clip_trainer_free(t);
    ts_device_free(dev);
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
    for (int i = 0; i < 3; i++) step(whole, &p, 1e-2, &loss[0], &accuracy);
    ts_weights *checkpoint = save(whole, "checkpoint.safetensors", true), *model = save(whole, "model.safetensors", false);
    ts_clip_trainer *second = open_trainer(dev, NULL);
    if (!ts_clip_trainer_resume(second, checkpoint, &err)) fail_msg("%s", err.text);
    assert_int_equal(ts_clip_trainer_steps(second), 3);
    for (int i = 0; i < 2; i++) {
        step(whole, &p, 1e-2, &loss[i], &accuracy);
        step(second, &p, 1e-2, &loss[2 + i], &accuracy);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_pytorch_on_host),       cmocka_unit_test(as_pytorch_on_vulkan),
                                       cmocka_unit_test(learns_on_host),           cmocka_unit_test(learns_on_vulkan),
                                       cmocka_unit_test(scale_is_clamped),         cmocka_unit_test(refused),
                                       cmocka_unit_test(resumes_to_the_same_bits), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("clip train", tests, NULL, NULL);
}
