/* test_tune.c - the tuner: schedules by the papers' numbers, the same pictures whatever the threads, every method learns, a step
 * in chunks is the step in one, a resumed run ends in the same bits, prompt files come back as they went, and what is refused. */
#include "../support/models.h"
#include "../support/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clip/prompt/tune.h"

enum { CLASSES = 5, EACH = 4, PICTURES = CLASSES * EACH, SIDE = 64, EMBED = 64 };

static ts_device *host;
static char *names[CLASSES] = {"red square", "golden retriever", "sunflower", "forklift truck", "sea or lake"};

/* ---- what the tests stand on ---- */

static ts_tokenizer *tokenizer(void)
{
    static ts_tokenizer *t; /* reading it takes longer than a step */
    ts_error err = {0};
    if (!t) t = ts_tokenizer_open(TS_DATA_DIR "/bpe_simple_vocab_16e6.txt.gz", &err);
    if (!t && err.code == TS_ERR_IO) skip();
    if (!t) fail_msg("%s", err.text);
    return t;
}

/* Pictures in one file each: a class is a colour with some noise. */
static ts_clip_data make_data(void)
{
    static ts_clip_item items[PICTURES];
    if (!items[0].path)
        for (int i = 0; i < PICTURES; i++) {
            const int label = i % CLASSES;
            ts_image img;
            ts_error err = {0};
            uint64_t seed = (uint64_t)i;
            assert_true(ts_image_new(70 + i, 66, &img, &err));
            for (int k = 0; k < img.width * img.height * 3; k++)
                img.data[k] = (uint8_t)((label * 50 + k % 3 * 40 * label) % 200 + (int)(50 * test_uniform(&seed)));
            items[i] = (ts_clip_item){.path = strdup(temp_path("%d.png", i)), .label = label};
            assert_true(ts_image_save(items[i].path, &img, &err));
            ts_image_clear(&img);
        }
    const ts_clip_split all = {items, PICTURES};
    return (ts_clip_data){.classes = CLASSES, .name = names, .train = all, .val = all, .test = all};
}

typedef struct {
    ts_weights *model;
    ts_clip *clip;
    ts_clip_data data;
} bench;

static bench bench_on(ts_device *dev)
{
    ts_error err = {0};
    bench b = {.model = open_golden("clip_tiny.pt"), .data = make_data()};
    tokenizer();
    b.clip = ts_clip_new(dev, b.model, NULL, &err);
    if (!b.clip) fail_msg("%s", err.text);
    return b;
}

static void bench_free(bench *b)
{
    ts_clip_free(b->clip);
    ts_weights_free(b->model);
}

static ts_clip_tuner_desc desc_of(bench *b, const char *method)
{
    return (ts_clip_tuner_desc){.method = method,
                                .recipe = {.batch = 10, .epochs = 4, .warmup = -1},
                                .clip = b->clip,
                                .tokenizer = tokenizer(),
                                .data = &b->data,
                                .shots = EACH,
                                .seed = 7,
                                .threads = 2};
}

static ts_clip_tuner *tuner(const ts_clip_tuner_desc *desc)
{
    ts_error err = {0};
    ts_clip_tuner *t = ts_clip_tuner_new(desc, &err);
    if (!t) fail_msg("%s: %s", desc->method, err.text);
    return t;
}

static ts_clip_tuned step(ts_clip_tuner *t)
{
    ts_error err = {0};
    ts_clip_tuned out;
    if (!ts_clip_tuner_step(t, &out, &err)) fail_msg("%s", err.text);
    return out;
}

static ts_weights *saved(ts_clip_tuner *t, const char *path, bool checkpoint)
{
    ts_error err = {0};
    if (!ts_clip_tuner_save(t, path, checkpoint, &err)) fail_msg("%s", err.text);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

/* All parameters, one after the other; the caller frees them. */
static float *parameters(ts_clip_tuner *t, int64_t *count)
{
    ts_error err = {0};
    ts_params *ps = ts_clip_prompt_inner(ts_clip_tuner_prompt(t))->params;
    float *all = NULL;
    *count = 0;
    for (int64_t i = 0; i < ts_params_count(ps); i++) {
        int64_t shape[TS_MAX_DIMS], n = 1;
        const int ndim = ts_params_shape(ps, i, shape);
        for (int d = 0; d < ndim; d++) n *= shape[d];
        float *grown = realloc(all, (size_t)(*count + n) * sizeof *all);
        assert_non_null(grown);
        all = grown;
        assert_true(ts_params_read(ps, i, all + *count, &err));
        *count += n;
    }
    return all;
}

static void refuse(const ts_clip_tuner_desc *desc, const char *word)
{
    ts_error err = {0};
    assert_null(ts_clip_tuner_new(desc, &err));
    if (!strstr(err.text, word)) fail_msg("%s", err.text);
}

/* ---- schedules ---- */

static const ts_recipe *recipe_of(const char *method)
{
    ts_error err = {0};
    const ts_method *m = ts_method_find(method, &err);
    if (!m) fail_msg("%s", err.text);
    return &m->recipe;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fabs(want))) fail_msg("%.17g, wanted %.17g", got, want);
}

static void schedules(void **state)
{
    (void)state;
    const double pi = acos(-1);
    const ts_recipe *coop = recipe_of("coop"); /* as traced through Dassl: one epoch at 1e-5, then a cosine over all of them */
    assert_int_equal(ts_recipe_epochs(coop, 1), 50);
    assert_int_equal(ts_recipe_epochs(coop, 4), 100);
    assert_int_equal(ts_recipe_epochs(coop, 16), 200);
    near(ts_clip_rate(coop, 0.002, 0, 200), 1e-5);
    near(ts_clip_rate(coop, 0.002, 1, 200), 0.002);
    near(ts_clip_rate(coop, 0.002, 101, 200), 0.001);
    near(ts_clip_rate(coop, 0.002, 199, 200), 0.001 * (1 + cos(pi * 198 / 200)));
    const ts_recipe *vp = recipe_of("vp-padding"); /* a thousand steps up, then a cosine to the end */
    assert_true(vp->by_step);
    near(ts_clip_rate(vp, 40, 0, 5000), 0.04);
    near(ts_clip_rate(vp, 40, 999, 5000), 40);
    near(ts_clip_rate(vp, 40, 3000, 5000), 20);
    assert_true(ts_clip_rate(vp, 40, 5000, 5000) == 0);
    const ts_recipe *vpt = recipe_of("vpt-deep");
    assert_false(vpt->by_step);
    assert_true(ts_clip_rate(vpt, 1, 0, 100) == 0); /* epoch e of ten has e/10 */
    near(ts_clip_rate(vpt, 1, 1, 100), 0.1);
    near(ts_clip_rate(vpt, 1, 9, 100), 0.9);
    near(ts_clip_rate(vpt, 1, 10, 100), 1);
    near(ts_clip_rate(vpt, 1, 55, 100), 0.5);
    assert_int_equal(vpt->batch, 128);
    const ts_recipe *reprogram = recipe_of("reprogram");
    near(ts_clip_rate(reprogram, 0.05, 5, 100), 0.05 * 0.96 * 0.96);
    /* Published runs are long enough to leave the epochs of a warm-up as they are; a short one is no warm-up from end to end. */
    assert_int_equal(ts_clip_warm(coop, 50), 1);
    assert_int_equal(ts_clip_warm(coop, 3), 1);
    assert_int_equal(ts_clip_warm(vp, 100000), 1000);
    assert_int_equal(ts_clip_warm(vp, 200), 1000); /* steps are as published */
    near(ts_clip_rate(vp, 40, 199, 200), 8);
    assert_int_equal(ts_clip_warm(vpt, 100), 10);
    assert_int_equal(ts_clip_warm(vpt, 30), 3);
    assert_int_equal(ts_clip_warm(vpt, 9), 0);
}

/* ---- pictures ---- */

static void read_all(int threads, int64_t first, uint64_t cache, float *pixels, int64_t *items)
{
    const ts_clip_data data = make_data();
    ts_error err = {0};
    ts_clip_reader *r = ts_clip_reader_new(&(ts_clip_reader_desc){.item = data.train.item,
                                                                  .count = PICTURES,
                                                                  .side = 16,
                                                                  .batch = 6,
                                                                  .shuffle = true,
                                                                  .epoch_batches = 3,
                                                                  .crop = true,
                                                                  .seed = 5,
                                                                  .first = first,
                                                                  .threads = threads,
                                                                  .cache_bytes = cache},
                                           &err);
    if (!r) fail_msg("%s", err.text);
    for (int64_t b = first; b < 9; b++) {
        ts_clip_pictures_read read;
        if (!ts_clip_reader_next(r, &read, &err)) fail_msg("%s", err.text);
        assert_int_equal(read.count, 6);
        memcpy(pixels + b * 6 * 16 * 16 * 3, read.pixels, 6 * 16 * 16 * 3 * sizeof *pixels);
        memcpy(items + b * 6, read.item, 6 * sizeof *items);
    }
    ts_clip_reader_free(r);
}

static void pictures(void **state)
{
    (void)state;
    enum { ALL = 9 * 6 * 16 * 16 * 3, FROM = 4 };
    float *one = malloc(ALL * sizeof *one), *two = malloc(ALL * sizeof *two);
    int64_t items[54], again[54];
    read_all(1, 0, 0, one, items);
    for (int epoch = 0; epoch < 3; epoch++) { /* no picture twice in an epoch, and another order in each */
        int seen[PICTURES] = {0};
        for (int i = 0; i < 18; i++) assert_int_equal(seen[items[epoch * 18 + i]]++, 0);
        assert_true(epoch == 0 || memcmp(items, items + epoch * 18L, 18 * sizeof *items) != 0);
    }
    read_all(3, 0, 1 << 20, two, again);
    assert_memory_equal(items, again, sizeof items);
    assert_memory_equal(one, two, ALL * sizeof *one);
    read_all(2, FROM, 20000, two, again); /* one picture fits */
    assert_memory_equal(items + FROM * 6, again + FROM * 6, (9 - FROM) * 6 * sizeof *items);
    assert_memory_equal(one + FROM * 6 * 768, two + FROM * 6 * 768, (9 - FROM) * 6 * 768 * sizeof *one);
    free(one);
    free(two);
    /* Once, in order; the rest is a smaller batch; a broken picture is named. */
    ts_clip_item few[5];
    memcpy(few, make_data().train.item, sizeof few);
    ts_error err = {0};
    ts_clip_reader_desc desc = {.item = few, .count = 5, .side = 16, .batch = 3, .threads = 2};
    ts_clip_reader *r = ts_clip_reader_new(&desc, &err);
    ts_clip_pictures_read read;
    for (int b = 0, at = 0; b < 3; b++, at += 3) {
        assert_true(ts_clip_reader_next(r, &read, &err));
        assert_int_equal(read.count, b == 0 ? 3 : b == 1 ? 2 : 0);
        for (int i = 0; i < read.count; i++) assert_int_equal(read.item[i], at + i);
    }
    ts_clip_reader_free(r);
    few[4].path = (char *)temp_path("broken.png");
    write_text(few[4].path, "x");
    r = ts_clip_reader_new(&desc, &err);
    while (ts_clip_reader_next(r, &read, &err)) assert_true(read.count > 0); /* told with the first batch, or with its own */
    assert_non_null(strstr(err.text, "broken.png"));
    ts_clip_reader_free(r);
}

/* Batches of 6 of 20 pictures with what is left over: 6, 6, 6, 2, all of them in every epoch, from any batch on. */
static void last_batches(void **state)
{
    (void)state;
    const ts_clip_data data = make_data();
    ts_error err = {0};
    for (int first = 0; first < 8; first += 3) {
        ts_clip_reader *r = ts_clip_reader_new(&(ts_clip_reader_desc){.item = data.train.item,
                                                                      .count = PICTURES,
                                                                      .side = 16,
                                                                      .batch = 6,
                                                                      .shuffle = true,
                                                                      .epoch_batches = 4,
                                                                      .seed = 5,
                                                                      .first = first,
                                                                      .threads = 3},
                                               &err);
        if (!r) fail_msg("%s", err.text);
        int seen[PICTURES] = {0};
        for (int b = first; b < 12; b++) {
            ts_clip_pictures_read read;
            if (!ts_clip_reader_next(r, &read, &err)) fail_msg("%s", err.text);
            assert_int_equal(read.count, b % 4 == 3 ? 2 : 6);
            for (int i = 0; i < read.count; i++) seen[read.item[i]] += b >= 8;
        }
        for (int i = 0; i < PICTURES; i++) assert_int_equal(seen[i], 1);
        ts_clip_reader_free(r);
    }
}

/* ---- learning ---- */

/* Logits of the test pictures by a prompt; the caller frees them. */
static float *logits_of(ts_clip_prompt *p, bench *b)
{
    ts_error err = {0};
    float *features = malloc(PICTURES * EMBED * sizeof *features), *logits = malloc(PICTURES * CLASSES * sizeof *logits);
    if (!ts_clip_split_features(b->clip, p, &b->data.test, 2, NULL, NULL, NULL, features, &err) ||
        !ts_clip_prompt_logits(p, features, PICTURES, logits, &err))
        fail_msg("%s", err.text);
    free(features);
    return logits;
}

/* Every method, as it comes: the loss falls, and its file gives the same logits. */
static void learns(ts_device *dev)
{
    bench b = bench_on(dev);
    ts_clip_method m;
    for (int i = 0; ts_clip_method_at(i, &m); i++) {
        ts_error err = {0};
        ts_clip_tuner_desc desc = desc_of(&b, m.name);
        desc.recipe.epochs = 6;
        desc.recipe.crop = -1;
        ts_clip_tuner *t = tuner(&desc);
        const ts_clip_tuner_info info = ts_clip_tuner_about(t);
        assert_int_equal(info.steps, 12);
        double first = 0, last = 0; /* of an epoch */
        for (int s = 0; s < 12; s++) {
            const ts_clip_tuned done = step(t);
            assert_int_equal(done.step, s + 1);
            if (s < 2) first += done.loss;
            if (s >= 10) last += done.loss;
        }
        /* Where a random patch stands tells more of the loss than what a dozen steps teach it. */
        if (strcmp(m.name, "vp-random") == 0 ? !isfinite(last) : !(last < first))
            fail_msg("%s: %g, and after an epoch %g", m.name, last, first);
        ts_weights *w = saved(t, temp_path("prompt.safetensors"), false);
        assert_null(ts_weights_find(w, "optimizer.m.ctx"));
        ts_clip_prompt *p = ts_clip_prompt_open(b.clip, tokenizer(), w, NULL, 0, false, &err);
        if (!p) fail_msg("%s: %s", m.name, err.text);
        assert_string_equal(ts_clip_prompt_about(p).method, m.name);
        for (int k = 0; k < CLASSES; k++) assert_string_equal(ts_clip_prompt_about(p).names[k], names[k]);
        float *before = logits_of(ts_clip_tuner_prompt(t), &b), *after = logits_of(p, &b);
        if (relative_error(after, before, PICTURES * CLASSES) > 1e-6) fail_msg("%s: its file gives other logits", m.name);
        free(before);
        free(after);
        ts_clip_prompt_free(p);
        ts_weights_free(w);
        ts_clip_tuner_free(t);
    }
    bench_free(&b);
}

static void learns_on_the_host(void **state)
{
    (void)state;
    learns(host);
}

static void learns_on_vulkan(void **state)
{
    (void)state;
    if (test_vulkan(TS_F32)) learns(test_vulkan(TS_F32));
}

/* In chunks of classes and pictures the same comes out as at once, rounding apart. */
static void chunks(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        uint64_t memory;
    } cases[] = {{"coop", 1 << 20}, {"cocoop", 1 << 19}, {"vp-padding", 3 << 20}, {"vpt-deep", 3 << 20}, {"upt", 1 << 20}};
    bench b = bench_on(host);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *out[2];
        int64_t count = 0;
        double loss[2];
        for (int k = 0; k < 2; k++) {
            ts_clip_tuner_desc desc = desc_of(&b, cases[i].method);
            if (k) desc.memory = cases[i].memory;
            if (strncmp(cases[i].method, "vp-", 3) == 0) desc.recipe.lr = 1; /* lest a chaotic run tell more of rounding */
            ts_clip_tuner *t = tuner(&desc);
            const ts_clip_tuner_info info = ts_clip_tuner_about(t);
            if (k && (info.chunks < 2 && info.micro_batches < 2)) fail_msg("%s goes in one piece", cases[i].method);
            if (!k) assert_true(info.chunks == 1 && info.micro_batches == 1);
            for (int s = 0; s < 3; s++) loss[k] = step(t).loss;
            out[k] = parameters(t, &count);
            ts_clip_tuner_free(t);
        }
        const double error = relative_error(out[1], out[0], count);
        if (error > 1e-4 || fabs(loss[0] - loss[1]) > 1e-4 * loss[0])
            fail_msg("%s: relative error %g, losses %g and %g", cases[i].method, error, loss[0], loss[1]);
        free(out[0]);
        free(out[1]);
    }
    bench_free(&b);
}

static void assert_same_files(const char *a, const char *b)
{
    size_t size[2];
    unsigned char *x = read_bytes(a, &size[0]), *y = read_bytes(b, &size[1]);
    if (size[0] != size[1] || memcmp(x, y, size[0]) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

/* VP's epoch ends with a smaller batch, whose loss is the mean over its own pictures; the others leave that out. */
static void short_batches(void **state)
{
    (void)state;
    bench b = bench_on(host);
    ts_clip_tuner_desc desc = desc_of(&b, "vpt-shallow");
    desc.recipe.batch = 12;
    ts_clip_tuner *t = tuner(&desc);
    assert_int_equal(ts_clip_tuner_about(t).epoch_steps, 1);
    ts_clip_tuner_free(t);
    double loss[3][2];
    float *out[2];
    int64_t count = 0;
    for (int k = 0; k < 2; k++) {
        desc = desc_of(&b, "vp-padding");
        desc.recipe.batch = 12;
        desc.recipe.lr = 1;
        desc.recipe.crop = -1;
        if (k) desc.memory = 3 << 20; /* in micro-batches, of which the last is filled up */
        t = tuner(&desc);
        assert_int_equal(ts_clip_tuner_about(t).epoch_steps, 2);
        for (int s = 0; s < 3; s++) {
            const ts_clip_tuned done = step(t);
            assert_int_equal(done.pictures, s == 1 ? 8 : 12);
            assert_true(done.accuracy >= 0 && done.accuracy <= 1);
            loss[s][k] = done.loss;
        }
        out[k] = parameters(t, &count);
        ts_clip_tuner_free(t);
    }
    for (int s = 0; s < 3; s++) assert_true(fabs(loss[s][0] - loss[s][1]) < 1e-4 * loss[s][0]);
    assert_true(relative_error(out[1], out[0], count) < 1e-4);
    free(out[0]);
    free(out[1]);
    bench_free(&b);
}

/* MaPLe's layers beyond the first start as copies of one, which the first is not. */
static void copies(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    ts_clip_tuner_desc desc = desc_of(&b, "maple");
    desc.settings = &(ts_clip_setting){"depth", "3"};
    desc.setting_count = 1;
    ts_clip_tuner *t = tuner(&desc);
    ts_prompt *p = ts_clip_prompt_inner(ts_clip_tuner_prompt(t));
    static const char *const ends[] = {"weight", "bias"};
    for (int e = 0; e < 2; e++) {
        float *values[3];
        int64_t count = 0;
        for (int i = 0; i < 3; i++) {
            char name[64];
            if (i) snprintf(name, sizeof name, "compound_prompt_projections.%d.%s", i - 1, ends[e]);
            else snprintf(name, sizeof name, "proj.%s", ends[e]);
            for (int64_t k = 0; k < ts_params_count(p->params); k++) {
                int64_t shape[TS_MAX_DIMS];
                if (strcmp(ts_params_name(p->params, k), name) != 0) continue;
                count = 1;
                const int ndim = ts_params_shape(p->params, k, shape);
                for (int d = 0; d < ndim; d++) count *= shape[d];
            }
            values[i] = malloc((size_t)count * sizeof *values[i]);
            if (!ts_prompt_read(p, name, values[i], &err)) fail_msg("%s", err.text);
        }
        assert_memory_equal(values[1], values[2], (size_t)count * sizeof(float));
        assert_memory_not_equal(values[0], values[1], (size_t)count * sizeof(float));
        for (int i = 0; i < 3; i++) free(values[i]);
    }
    ts_clip_tuner_free(t);
    bench_free(&b);
}

/* Stopped within an epoch and resumed by another tuner: the same bits, with and without random crops. */
static void resumed(void **state)
{
    (void)state;
    static const char *const methods[] = {"coop", "upt", "reprogram", "vp-random"};
    bench b = bench_on(host);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        ts_error err = {0};
        ts_clip_tuner_desc desc = desc_of(&b, methods[i]);
        ts_clip_tuner *whole = tuner(&desc), *part = tuner(&desc);
        for (int s = 0; s < 3; s++) step(part);
        ts_weights *w = saved(part, temp_path("part.safetensors"), true);
        ts_clip_tuner_free(part);
        part = tuner(&desc);
        step(part); /* what it did before is forgotten */
        if (!ts_clip_tuner_resume(part, w, &err)) fail_msg("%s", err.text);
        assert_int_equal(ts_clip_tuner_about(part).step, 3);
        for (int s = 0; s < 7; s++) step(whole);
        for (int s = 3; s < 7; s++) step(part);
        ts_weights_free(saved(whole, temp_path("a.safetensors"), true));
        ts_weights_free(saved(part, temp_path("b.safetensors"), true));
        assert_same_files(temp_path("a.safetensors"), temp_path("b.safetensors"));
        ts_clip_tuner_free(whole);
        ts_clip_tuner_free(part);
        /* Not a checkpoint, or another seed's. */
        part = tuner(&desc);
        ts_weights *prompt = saved(part, temp_path("prompt.safetensors"), false);
        assert_false(ts_clip_tuner_resume(part, prompt, &err));
        assert_non_null(strstr(err.text, "says no step"));
        ts_clip_tuner_free(part);
        desc.seed++;
        part = tuner(&desc);
        err = (ts_error){0};
        assert_false(ts_clip_tuner_resume(part, w, &err));
        assert_non_null(strstr(err.text, "another tuning"));
        ts_clip_tuner_free(part);
        ts_weights_free(prompt);
        ts_weights_free(w);
    }
    bench_free(&b);
}

/* ---- what is told of it ---- */

static void recipes(void **state)
{
    (void)state;
    bench b = bench_on(host);
    ts_clip_tuner_desc desc = desc_of(&b, "coop");
    desc.recipe = (ts_clip_recipe){0};
    desc.shots = 1;
    ts_clip_tuner *t = tuner(&desc);
    ts_clip_tuner_info info = ts_clip_tuner_about(t);
    assert_int_equal(info.recipe.batch, PICTURES); /* 32 are not there */
    assert_int_equal(info.recipe.epochs, 50);
    assert_int_equal(info.recipe.warmup, 1);
    assert_int_equal(info.recipe.crop, 1);
    assert_false(info.features);
    assert_true(info.recipe.lr == 0.002 && info.recipe.momentum == 0.9 && info.recipe.weight_decay == 5e-4);
    assert_string_equal(info.optimizer, "sgd");
    near(step(t).lr, 1e-5);
    near(step(t).lr, 0.002);
    ts_clip_tuner_free(t);
    desc = desc_of(&b, "cocoop");
    desc.recipe = (ts_clip_recipe){.momentum = -1, .weight_decay = -1, .warmup = -1, .crop = -1, .epochs = 1};
    t = tuner(&desc);
    info = ts_clip_tuner_about(t);
    assert_int_equal(info.recipe.batch, 1);
    assert_true(info.recipe.momentum == 0 && info.recipe.weight_decay == 0 && info.recipe.warmup == 0);
    assert_true(info.features);
    near(step(t).lr, 0.002);
    ts_clip_tuner_free(t);
    bench_free(&b);
}

/* Context that starts as words resembles them. */
static void words(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    ts_clip_tuner_desc desc = desc_of(&b, "coop");
    desc.settings = &(ts_clip_setting){"words", "a photo of a"};
    desc.setting_count = 1;
    ts_clip_tuner *t = tuner(&desc);
    ts_clip_prompt *p = ts_clip_tuner_prompt(t);
    ts_clip_word found[4][2];
    int32_t *ids;
    assert_int_equal(ts_clip_prompt_about(p).vectors, 4);
    assert_int_equal(ts_clip_prompt_about(p).trained, 4 * 64);
    if (!ts_clip_prompt_words(p, 0, 4, 2, &found[0][0], &err)) fail_msg("%s", err.text);
    assert_int_equal(ts_tokenizer_encode(tokenizer(), "a photo of a", &ids, &err), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(found[i][0].symbol, ids[i]);
        assert_true(found[i][0].distance == 0 && found[i][1].distance > 0);
    }
    free(ids);
    assert_false(ts_clip_prompt_words(p, 3, 2, 2, &found[0][0], &err));
    ts_image img;
    err = (ts_error){0};
    assert_false(ts_clip_prompt_picture(p, &img, &err));
    assert_non_null(strstr(err.text, "no picture"));
    ts_clip_tuner_free(t);
    desc = desc_of(&b, "vp-padding");
    t = tuner(&desc);
    assert_true(ts_clip_prompt_picture(ts_clip_tuner_prompt(t), &img, &err));
    assert_int_equal(img.width, SIDE);
    ts_image_clear(&img);
    ts_clip_tuner_free(t);
    bench_free(&b);
}

/* ---- files ---- */

/* The same model, whatever the file; another one is told. */
static void identity(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    ts_weights *hf = open_golden("clip_tiny_hf.safetensors");
    ts_clip *same = ts_clip_new(host, hf, NULL, &err);
    char one[17], two[17];
    assert_true(ts_clip_identity(b.clip, one, &err) && ts_clip_identity(same, two, &err));
    assert_string_equal(one, two);
    ts_clip_tuner_desc desc = desc_of(&b, "vpt-shallow");
    ts_clip_tuner *t = tuner(&desc);
    ts_weights *w = saved(t, temp_path("prompt.safetensors"), false);
    ts_clip_prompt *p = ts_clip_prompt_open(same, tokenizer(), w, NULL, 0, false, &err);
    if (!p) fail_msg("%s", err.text);
    ts_clip_prompt_free(p);
    ts_clip_free(same);
    /* One tensor scaled: another model. */
    ts_weights_writer *writer = ts_weights_writer_new();
    const ts_weight *ln = ts_weights_find(hf, "text_model.final_layer_norm.weight");
    float *values = golden_f32(hf, ln->name);
    for (int64_t i = 0; i < ln->count; i++) values[i] *= 1.5F;
    for (int64_t i = 0; i < ts_weights_count(hf); i++) {
        const ts_weight *one_of = ts_weights_at(hf, i);
        if (one_of == ln) assert_true(ts_weights_writer_add(writer, ln->name, TS_DT_F32, ln->ndim, ln->shape, values, &err));
        else assert_true(ts_weights_writer_add_weight(writer, one_of, TS_DT_F32, &err));
    }
    for (int64_t i = 0; i < ts_weights_meta_count(hf); i++) {
        const char *key, *value;
        ts_weights_meta_at(hf, i, &key, &value);
        assert_true(ts_weights_writer_meta(writer, key, value, &err));
    }
    assert_true(ts_weights_writer_save(writer, temp_path("other.safetensors"), &err));
    ts_weights_writer_free(writer);
    free(values);
    ts_weights *other = ts_weights_open(temp_path("other.safetensors"), &err);
    ts_clip *another = ts_clip_new(host, other, &(ts_clip_told){.activation = TS_CLIP_QUICK_GELU}, &err);
    if (!another) fail_msg("%s", err.text);
    assert_null(ts_clip_prompt_open(another, tokenizer(), w, NULL, 0, false, &err));
    if (!strstr(err.text, "another model")) fail_msg("%s", err.text);
    ts_clip_free(another);
    ts_weights_free(other);
    ts_weights_free(w);
    ts_weights_free(hf);
    ts_clip_tuner_free(t);
    bench_free(&b);
}

/* Shared context serves other classes; context per class its own alone. */
static void other_classes(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    const char *const more[] = {"cat", "dog", "horse", "cow", "pig", "hen", "duck"};
    ts_clip_tuner_desc desc = desc_of(&b, "coop");
    ts_clip_tuner *t = tuner(&desc);
    ts_weights *w = saved(t, temp_path("prompt.safetensors"), false);
    ts_clip_prompt *p = ts_clip_prompt_open(b.clip, tokenizer(), w, more, 7, false, &err);
    if (!p) fail_msg("%s", err.text);
    assert_int_equal(ts_clip_prompt_about(p).classes, 7);
    ts_clip_prompt_free(p);
    ts_weights_free(w);
    ts_clip_tuner_free(t);
    desc.settings = &(ts_clip_setting){"per-class", "yes"};
    desc.setting_count = 1;
    t = tuner(&desc);
    w = saved(t, temp_path("prompt.safetensors"), false);
    assert_null(ts_clip_prompt_open(b.clip, tokenizer(), w, more, 7, false, &err));
    if (!strstr(err.text, "cannot serve 7")) fail_msg("%s", err.text);
    err = (ts_error){0};
    assert_null(ts_clip_prompt_open(b.clip, tokenizer(), w, more, CLASSES, false, &err));
    if (!strstr(err.text, "\"red square\" there and \"cat\" here")) fail_msg("%s", err.text);
    err = (ts_error){0};
    const char *const twice[] = {"cat", "dog", "cat"};
    assert_null(ts_clip_prompt_open(b.clip, tokenizer(), w, twice, 3, false, &err));
    ts_weights_free(w);
    ts_clip_tuner_free(t);
    bench_free(&b);
}

/* As CoOp's code saves it: ctx, and what it recomputes on loading; no word of classes. */
static void published(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    float ctx[4 * 64], rest[CLASSES * 64];
    uint64_t seed = 3;
    for (int i = 0; i < 4 * 64; i++) ctx[i] = (float)(0.02 * test_normal(&seed));
    memset(rest, 0, sizeof rest);
    ts_weights_writer *writer = ts_weights_writer_new();
    assert_true(ts_weights_writer_add(writer, "ctx", TS_DT_F32, 2, (int64_t[]){4, 64}, ctx, &err) &&
                ts_weights_writer_add(writer, "token_prefix", TS_DT_F32, 3, (int64_t[]){CLASSES, 1, 64}, rest, &err) &&
                ts_weights_writer_save(writer, temp_path("published.safetensors"), &err));
    ts_weights_writer_free(writer);
    ts_weights *w = ts_weights_open(temp_path("published.safetensors"), &err);
    assert_null(ts_clip_prompt_open(b.clip, tokenizer(), w, NULL, 0, false, &err));
    assert_non_null(strstr(err.text, "must be named"));
    err = (ts_error){0};
    ts_clip_prompt *p = ts_clip_prompt_open(b.clip, tokenizer(), w, (const char *const *)names, CLASSES, false, &err);
    if (!p) fail_msg("%s", err.text);
    assert_string_equal(ts_clip_prompt_about(p).method, "coop");
    assert_true(ts_clip_prompt_about(p).plain);
    free(logits_of(p, &b));
    ts_clip_prompt_free(p);
    ts_weights_free(w);
    bench_free(&b);
}

/* ---- what is refused ---- */

static void refused(void **state)
{
    (void)state;
    bench b = bench_on(host);
    ts_clip_tuner_desc good = desc_of(&b, "coop"), desc = good;
    desc.method = "coup";
    refuse(&desc, "coop");
    desc = good;
    desc.settings = &(ts_clip_setting){"pixels", "30"};
    desc.setting_count = 1;
    refuse(&desc, "pixels");
    desc = good;
    desc.recipe.lr = 1e9;
    refuse(&desc, "1e+09");
    ts_clip_data data = b.data;
    desc = good;
    desc.data = &data;
    data.train.count = 0;
    refuse(&desc, "no pictures");
    data = b.data;
    data.classes = 3;
    refuse(&desc, "beside 3 classes");
    char *long_names[CLASSES];
    memcpy(long_names, names, sizeof long_names);
    char word[400] = "";
    for (int i = 0; i < 66; i++) strcat(word, "cat ");
    data = b.data;
    data.name = long_names;
    long_names[2] = word;
    refuse(&desc, "too long");
    long_names[2] = names[1];
    refuse(&desc, names[1]);
    long_names[2] = "";
    refuse(&desc, "empty");
    bench_free(&b);
    ts_device *half = test_vulkan(TS_F16);
    if (!half) return;
    b = bench_on(half);
    desc = desc_of(&b, "coop");
    refuse(&desc, "fp16");
    bench_free(&b);
}

/* A rate that ends in numbers that are none leaves the prompt as it was. */
static void gone_wrong(void **state)
{
    (void)state;
    ts_error err = {0};
    bench b = bench_on(host);
    ts_clip_tuner_desc desc = desc_of(&b, "vpt-shallow");
    desc.recipe.lr = 9e5;
    desc.recipe.weight_decay = 900;
    desc.recipe.epochs = 100;
    ts_clip_tuner *t = tuner(&desc);
    ts_clip_tuned done = {0};
    for (int i = 0; i < 150 && isfinite(done.loss); i++) {
        if (!ts_clip_tuner_step(t, &done, &err)) fail_msg("%s", err.text);
    }
    assert_false(isfinite(done.loss));
    ts_clip_tuner_free(t);
    bench_free(&b);
}

int main(void)
{
    ts_error err = {0};
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    const struct CMUnitTest tests[] = {cmocka_unit_test(schedules),
                                       cmocka_unit_test(pictures),
                                       cmocka_unit_test(last_batches),
                                       cmocka_unit_test(learns_on_the_host),
                                       cmocka_unit_test(learns_on_vulkan),
                                       cmocka_unit_test(chunks),
                                       cmocka_unit_test(short_batches),
                                       cmocka_unit_test(copies),
                                       cmocka_unit_test(resumed),
                                       cmocka_unit_test(recipes),
                                       cmocka_unit_test(words),
                                       cmocka_unit_test(identity),
                                       cmocka_unit_test(other_classes),
                                       cmocka_unit_test(published),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(gone_wrong),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("prompt tuner", tests, NULL, NULL);
}
