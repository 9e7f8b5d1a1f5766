/* test_prompts.c - class prompts: where the words stand, names that are too long, words as context; and what a method draws anew
 * at each step. */
#include "../support/small_tuner.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- class prompts ---- */

/* With the words' own embeddings as context a prompt is the plain text: the same features as the text tower gives. */
static void words_are_text(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    float *want = golden_f32(b.golden, "text_features");
    unit_rows(want, CLASSES);
    for (int own = 1; own <= 2; own++) {
        ts_prompt *p = prompt(&b, "coop", (ts_method_settings){.words = "a photo of a", .per_class = own});
        assert_int_equal(p->settings.context, 4);
        piece s = chunk_piece(p, dev, CLASSES, false);
        float got[CLASSES * EMBED];
        if (!ts_prompt_chunk_write(&s.pg, s.e, &s.chunk, 0, &err) || !ts_run(s.e, &err) || !ts_read(s.e, s.out, got, &err))
            fail_msg("%s", err.text);
        assert_true(relative_error(got, want, CLASSES * EMBED) < 1e-4);
        piece_free(&s);
        ts_prompt_free(p);
    }
    /* the same for constant classes */
    ts_prompt *p = prompt(&b, "vpt-deep", (ts_method_settings){0});
    float got[CLASSES * EMBED];
    if (!ts_prompt_constant_classes(p, got, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(got, want, CLASSES * EMBED) < 1e-4);
    ts_prompt_free(p);
    free(want);
    bench_free(&b);
    ts_device_free(dev);
}

static void check_slots(const bench *b, ts_class_position position, bool per_class, int k, const char *want)
{
    ts_error err = {0};
    ts_prompt_text text;
    const ts_prompt_text_desc desc = {.context = 3, .per_class = per_class, .position = position};
    if (!ts_prompt_text_new(b->clip, b->tokenizer, class_names, CLASSES, &desc, &text, &err)) fail_msg("%s", err.text);
    assert_int_equal(text.length, 8); /* start, 3, two tokens, ".", end */
    char got[128] = "";
    for (int i = 0; i < text.length; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", text.slot[k * text.length + i]);
    assert_string_equal(got, want);
    for (int i = 0; i < text.length; i++) {
        bool zeros = true;
        for (int c = 0; c < text.width; c++) zeros = zeros && text.fixed[((int64_t)k * text.length + i) * text.width + c] == 0;
        assert_int_equal(zeros, text.slot[k * text.length + i] >= 0 || i > text.end[k]);
    }
    ts_prompt_text_clear(&text);
}

static void class_positions(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    check_slots(&b, TS_CLASS_END, false, 1, "-1 0 1 2 -1 -1 -1 -1");
    check_slots(&b, TS_CLASS_MIDDLE, false, 1, "-1 0 -1 -1 1 2 -1 -1");
    check_slots(&b, TS_CLASS_FRONT, false, 1, "-1 -1 -1 0 1 2 -1 -1");
    check_slots(&b, TS_CLASS_MIDDLE, true, 2, "-1 6 -1 7 8 -1 -1 -1");
    bench_free(&b);
    ts_device_free(dev);
}

static void long_names(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    char name[1000] = "";
    for (size_t i = 0; i < 100; i++) memcpy(name + 4 * i, "dog ", 5);
    ts_error err = {0};
    ts_prompt_text text;
    ts_prompt_text_desc desc = {.context = 16, .position = TS_CLASS_END};
    assert_false(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_non_null(strstr(err.text, "101 tokens"));
    err = (ts_error){0};
    desc.cut = true;
    assert_true(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_int_equal(text.length, 77);
    assert_int_equal(text.end[0], 76);
    ts_prompt_text_clear(&text);
    desc.context = 75;
    assert_false(ts_prompt_text_new(b.clip, b.tokenizer, (const char *[]){name}, 1, &desc, &text, &err));
    assert_non_null(strstr(err.text, "room for 74"));
    bench_free(&b);
    ts_device_free(dev);
}

/* ---- what changes at each step ---- */

/* Where a random patch stands: at `seed`, all of it inside, and elsewhere at other seeds. */
static void random_places(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    ts_prompt *p = prompt(&b, "vp-random", (ts_method_settings){.pixels = 10});
    ts_prompt_graph pg = {.prompt = p, .g = ts_graph_new()};
    ts_prompt_images(&pg, ts_input(pg.g, "pixels", TS_REAL, 4, (int64_t[]){1, SIDE, SIDE, 3}));
    assert_int_equal(pg.inputs, 1);
    assert_true(pg.input[0].each_step);
    int32_t index[SIDE * SIDE];
    int tops[2] = {SIDE, 0}, places = 0, last = -1;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        pg.input[0].fill(p, pg.input[0].t, seed, index);
        int count = 0, first = -1;
        for (int i = 0; i < SIDE * SIDE; i++) {
            if (index[i] < 0) continue;
            if (first < 0) first = i;
            assert_int_equal(index[i], (i / SIDE - first / SIDE) * 10 + i % SIDE - first % SIDE);
            count++;
        }
        assert_int_equal(count, 100);
        places += first != last;
        last = first;
        if (first / SIDE < tops[0]) tops[0] = first / SIDE;
        if (first / SIDE > tops[1]) tops[1] = first / SIDE;
    }
    assert_true(places > 190);
    assert_true(tops[0] < 3 && tops[1] > SIDE - 10 - 4);
    ts_graph_free(pg.g);
    ts_prompt_free(p);
    bench_free(&b);
    ts_device_free(dev);
}

/* Dropout is there in training only: on the attention's weights, after it, within and after the feed-forward part, and each side
 * of UPT draws masks of its own. */
static void masks(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    for (int attention = 1; attention <= 2; attention++) {
        ts_prompt *p = prompt(&b, "upt", (ts_method_settings){.attention = attention});
        for (int training = 0; training < 2; training++) {
            ts_prompt_graph images = {.prompt = p, .g = ts_graph_new(), .training = training},
                            classes = {.prompt = p, .g = ts_graph_new(), .training = training};
            ts_prompt_images(&images, ts_input(images.g, "pixels", TS_REAL, 4, (int64_t[]){1, SIDE, SIDE, 3}));
            const ts_prompt_chunk chunk = ts_prompt_chunk_new(&classes, 2);
            ts_prompt_classes(&classes, &chunk, NULL);
            assert_int_equal(classes.inputs, images.inputs);
            int drawn = 0;
            for (int i = 0; i < images.inputs; i++) {
                float one[8 * 64], other[8 * 64];
                if (!images.input[i].each_step) continue;
                drawn++;
                const bool weights = strstr(images.input[i].t->name, "weights") != NULL;
                const int64_t count = ts_count(images.input[i].t);
                const size_t bytes = (size_t)count * sizeof(float);
                assert_int_equal(count, weights && attention == 1 ? 8 * 8 : 8 * 64);
                images.input[i].fill(p, images.input[i].t, 5, one);
                classes.input[i].fill(p, classes.input[i].t, 5, other);
                assert_memory_not_equal(one, other, bytes);
                images.input[i].fill(p, images.input[i].t, 5, other); /* a chunk that is computed again */
                assert_memory_equal(one, other, bytes);
                double kept = 0;
                for (int seed = 0; seed < 40; seed++) {
                    images.input[i].fill(p, images.input[i].t, (uint64_t)seed, other);
                    for (int k = 0; k < count; k++) {
                        assert_true(other[k] == 0 || fabsf(other[k] - 1 / 0.9F) < 1e-6F);
                        if (weights && attention == 2) assert_true(other[k] == other[k / 64 * 64]); /* one for each row */
                        kept += other[k] > 0;
                    }
                }
                assert_true(fabs(kept / (40.0 * (double)count) - 0.9) < 0.06);
            }
            assert_int_equal(drawn, training ? 4 : 0);
            ts_graph_free(images.g);
            ts_graph_free(classes.g);
        }
        ts_prompt_free(p);
    }
    bench_free(&b);
    ts_device_free(dev);
}

/* Class features in training, the masks on the attention's weights being `weights` and all others 1. */
static void features_with(ts_prompt *p, ts_device *dev, float weights, float *out)
{
    ts_error err = {0};
    ts_prompt_graph pg = {.prompt = p, .g = ts_graph_new(), .training = true};
    const ts_prompt_chunk chunk = ts_prompt_chunk_new(&pg, CLASSES);
    ts_tensor *features = ts_output(pg.g, ts_prompt_classes(&pg, &chunk, NULL));
    ts_exec *e = ts_exec_new(pg.g, dev, &err);
    if (!e || !ts_prompt_write(&pg, e, true, 1, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < pg.inputs; i++) {
        float mask[8 * 64];
        if (!pg.input[i].each_step) continue;
        for (int k = 0; k < 8 * 64; k++) mask[k] = strstr(pg.input[i].t->name, "weights") ? weights : 1;
        assert_true(ts_write(e, pg.input[i].t, mask, &err));
    }
    if (!ts_prompt_chunk_write(&pg, e, &chunk, 0, &err) || !ts_run(e, &err) || !ts_read(e, features, out, &err))
        fail_msg("%s", err.text);
    ts_exec_free(e);
    ts_graph_free(pg.g);
}

/* UPT's attention with its weights in memory is the attention without: masks of 1 change nothing; those of 0 leave no values, and
 * those of 2 twice the values, which is what the values' share of the layer in front says. */
static void dropped_weights(void **state)
{
    (void)state;
    enum { T = 64, VALUES = 2 * T * T };
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    for (int attention = 1; attention <= 2; attention++) {
        ts_prompt *p = prompt(&b, "upt", (ts_method_settings){.attention = attention});
        float plain[CLASSES * EMBED], got[CLASSES * EMBED], kept[3 * T * T], changed[3 * T * T];
        int64_t at = -1;
        for (int64_t i = 0; i < ts_params_count(p->params); i++)
            if (strcmp(ts_params_name(p->params, i), "self_attn.in_proj_weight") == 0) at = i;
        assert_true(ts_params_read(p->params, at, kept, &err));
        for (int k = 0; k < VALUES; k++) kept[k] *= 20; /* attention that prefers some */
        for (int factor = 0; factor < 3; factor++) {
            memcpy(changed, kept, sizeof kept);
            for (int k = VALUES; k < 3 * T * T; k++) changed[k] *= (float)factor;
            assert_true(ts_params_write(p->params, at, changed, &err));
            piece s = chunk_piece(p, dev, CLASSES, false);
            if (!ts_prompt_chunk_write(&s.pg, s.e, &s.chunk, 0, &err) || !ts_run(s.e, &err) || !ts_read(s.e, s.out, plain, &err))
                fail_msg("%s", err.text);
            piece_free(&s);
            assert_true(ts_params_write(p->params, at, kept, &err));
            features_with(p, dev, (float)factor, got);
            const double error = relative_error(got, plain, CLASSES * EMBED);
            if (error > 1e-5) fail_msg("attention %d, masks of %d: relative error %g", attention, factor, error);
        }
        ts_prompt_free(p);
    }
    bench_free(&b);
    ts_device_free(dev);
}

/* "an xylophone" is two words of more than two tokens: two vectors start as the first two, the others stand before the name. */
static void long_words(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    int32_t *ids;
    const int count = ts_tokenizer_encode(b.tokenizer, "photographing xylophonists", &ids, &err);
    assert_true(count > 2);
    ts_prompt *p = prompt(&b, "coop", (ts_method_settings){.words = "photographing_xylophonists"});
    assert_int_equal(p->settings.context, 2);
    const ts_prompt_text *text = &p->text;
    const int width = text->width;
    float *ctx = malloc((size_t)(2 * width) * sizeof *ctx), *want = malloc((size_t)(count * width) * sizeof *want);
    if (!ts_prompt_read(p, "ctx", ctx, &err) || !ts_clip_embedding(b.clip, ids, count, want, &err)) fail_msg("%s", err.text);
    assert_memory_equal(ctx, want, (size_t)(2 * width) * sizeof *ctx);
    assert_true(text->slot[0] == -1 && text->slot[1] == 0 && text->slot[2] == 1 && text->slot[3] == -1);
    assert_memory_equal(text->fixed + 3 * width, want + 2 * width, (size_t)((count - 2) * width) * sizeof *want);
    /* So the prompts are the plain texts. */
    piece s = chunk_piece(p, dev, CLASSES, false);
    float got[CLASSES * EMBED], plain[CLASSES * EMBED];
    const char *const template = "photographing xylophonists {}.";
    if (!ts_prompt_chunk_write(&s.pg, s.e, &s.chunk, 0, &err) || !ts_run(s.e, &err) || !ts_read(s.e, s.out, got, &err) ||
        !ts_clip_classifier(b.clip, b.tokenizer, class_names, CLASSES, &template, 1, false, plain, &err))
        fail_msg("%s", err.text);
    assert_true(relative_error(got, plain, CLASSES * EMBED) < 1e-4);
    piece_free(&s);
    ts_prompt_free(p);
    free(ctx);
    free(want);
    free(ids);
    bench_free(&b);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(class_positions), cmocka_unit_test(long_names),
                                       cmocka_unit_test(words_are_text),  cmocka_unit_test(random_places),
                                       cmocka_unit_test(masks),           cmocka_unit_test(dropped_weights),
                                       cmocka_unit_test(long_words)};
    return cmocka_run_group_tests_name("prompts", tests, NULL, NULL);
}
