/* Painter and SegGPT against the published code's numbers on a small model, on every backend: one example and two, other sizes,
 * the loss, a film; gradients with respect to a canvas; both layouts of files, and what is said of a broken one. */
#include "painter/painter.h"

#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, TOKENS = 32, WIDTH = 32, CANVAS = 2 * SIDE * SIDE * 3 };
static const double TOLERANCE = 1e-4;

static ts_device *host;

/* ---- golden numbers ---- */

/* (N, 3, H, W) -> (N, H, W, 3) */
static float *golden_maps(const ts_weights *want, const char *name)
{
    const ts_weight *t = ts_weights_find(want, name);
    float *planes = golden_f32(want, name), *out = malloc((size_t)t->count * sizeof *out);
    const int64_t each = t->count / t->shape[0];
    for (int64_t i = 0; i < t->shape[0]; i++) {
        float *one = to_nhwc(planes + i * each, 3, t->shape[2], t->shape[3]);
        memcpy(out + i * each, one, (size_t)each * sizeof *out);
        free(one);
    }
    free(planes);
    return out;
}

/* Picture `at` of a golden (H, W, 3), or (N, H, W, 3), of bytes. */
static ts_image golden_image(const ts_weights *want, const char *name, int at)
{
    const ts_weight *t = ts_weights_find(want, name);
    assert_non_null(t);
    const int64_t *shape = t->shape + (t->ndim - 3);
    ts_image img;
    ts_error err = {0};
    assert_true(ts_image_new((int)shape[1], (int)shape[0], &img, &err));
    const size_t size = (size_t)(shape[0] * shape[1] * 3);
    memcpy(img.data, (const uint8_t *)t->data + (size_t)at * size, size);
    return img;
}

/* Frees `want`. */
static void expect_near(const char *what, const float *got, float *want, int64_t count, double tolerance)
{
    assert_non_null(got);
    const double error = relative_error(got, want, count);
    free(want);
    if (!(error <= tolerance)) fail_msg("%s: relative error %g, wanted %g", what, error, tolerance);
}

static void expect_close_bytes(const char *what, const uint8_t *got, const uint8_t *want, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (abs(got[i] - want[i]) > 1) fail_msg("%s: byte %d is %d, wanted %d", what, (int)i, got[i], want[i]);
}

static ts_painter *open_painter(ts_device *dev, const ts_weights *w)
{
    ts_error err = {0};
    ts_painter *p = ts_painter_new(dev, w, &err);
    if (!p) fail_msg("%s", err.text);
    return p;
}

/* A copy of the golden model under other names: `rename` gives the new one, or NULL for what is left out. */
static ts_weights *renamed_copy(const ts_weights *w, const char *file, const char *(*rename)(const char *name, char out[128]))
{
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    assert_non_null(out);
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        char room[128];
        const ts_weight *t = ts_weights_at(w, i);
        const char *name = rename(t->name, room);
        if (name && !ts_weights_writer_add_weight_as(out, name, t, t->dtype, &err)) fail_msg("%s", err.text);
    }
    return write_and_open(out, file);
}

static const char *without_types(const char *name, char out[128])
{
    snprintf(out, 128, "%s", name);
    return strncmp(name, "type_token", 10) == 0 ? NULL : out;
}

/* ---- whole canvases ---- */

/* One graph of ts_painter_predict. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_painter_canvases in;
    ts_tensor *out, *answer, *features[TS_PAINTER_TAPS];
} canvases;

static canvases canvases_new(ts_painter *p, int n, int side, bool ensemble)
{
    ts_error err = {0};
    canvases c = {.g = ts_graph_new()};
    c.in = ts_painter_canvases_new(c.g, p, n, side);
    c.in.ensemble = ensemble;
    c.out = ts_output(c.g, ts_painter_predict(c.g, p, &c.in, c.features));
    c.answer = ts_output(c.g, ts_painter_answer(c.g, p, &c.in));
    for (int i = 0; i < TS_PAINTER_TAPS; i++) ts_output(c.g, c.features[i]);
    c.e = ts_exec_new(c.g, ts_painter_device(p), &err);
    if (!c.e) fail_msg("%s", err.text);
    return c;
}

static void canvases_free(canvases *c)
{
    ts_exec_free(c->e);
    ts_graph_free(c->g);
}

static void canvases_run(const canvases *c, const ts_weights *want, const char *inputs, const uint8_t *hidden,
                         const ts_painter_kind *kinds)
{
    ts_error err = {0};
    char name[64];
    snprintf(name, sizeof name, "%s.input", inputs);
    float *pictures = golden_maps(want, name);
    snprintf(name, sizeof name, "%s.target", inputs);
    float *targets = golden_maps(want, name);
    if (!ts_write(c->e, c->in.pictures, pictures, &err) || !ts_write(c->e, c->in.targets, targets, &err) ||
        !ts_painter_canvases_write(c->e, &c->in, hidden, kinds, &err) || !ts_run(c->e, &err))
        fail_msg("%s", err.text);
    free(pictures);
    free(targets);
}

static void expect_tensor(const canvases *c, ts_tensor *t, const char *what, float *want, double tolerance)
{
    ts_error err = {0};
    float *got = malloc((size_t)ts_count(t) * sizeof *got);
    if (!ts_read(c->e, t, got, &err)) fail_msg("%s", err.text);
    expect_near(what, got, want, ts_count(t), tolerance);
    free(got);
}

static void check_canvases(ts_painter *p, const ts_weights *want, const char *inputs, ts_painter_kind kind, double tolerance)
{
    const bool two = strcmp(inputs, "two") == 0, big = strcmp(inputs, "big") == 0;
    const int side = big ? 96 : SIDE, n = two ? 2 : 1;
    const ts_painter_kind kinds[] = {kind, kind};
    const char *word = kind == TS_PAINTER_SEMANTIC ? "semantic" : "instance";
    char name[64], what[400];
    canvases c = canvases_new(p, n, side, true);
    canvases_run(&c, want, inputs, NULL, kinds);
    if (big) snprintf(name, sizeof name, "big.pred");
    else snprintf(name, sizeof name, "%s.%s.pred", inputs, word);
    if (!ts_painter_about(p)->segments) snprintf(name, sizeof name, "painter.pred");
    snprintf(what, sizeof what, "%s on %s", name, ts_device_about(ts_painter_device(p))->name);
    expect_tensor(&c, c.out, what, golden_maps(want, name), tolerance);

    /* The head over the answer alone gives the same as over everything. */
    float *all = malloc((size_t)ts_count(c.out) * sizeof *all);
    ts_error err = {0};
    if (!ts_read(c.e, c.out, all, &err)) fail_msg("%s", err.text);
    memmove(all, all + ts_count(c.answer), (size_t)ts_count(c.answer) * sizeof *all);
    expect_tensor(&c, c.answer, "the answer alone", all, tolerance / 20);

    for (int i = 0; !big && i < TS_PAINTER_TAPS; i++) {
        snprintf(name, sizeof name, "%s.%s.feature%d", inputs, word, 5 + 6 * i);
        if (ts_weights_find(want, name) && ts_painter_about(p)->segments)
            expect_tensor(&c, c.features[i], name, golden_f32(want, name), tolerance);
    }
    canvases_free(&c);
}

static void check_device(ts_device *dev, double tolerance)
{
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_painter *p = open_painter(dev, w);
    check_canvases(p, want, "one", TS_PAINTER_INSTANCE, tolerance);
    check_canvases(p, want, "one", TS_PAINTER_SEMANTIC, tolerance);
    check_canvases(p, want, "two", TS_PAINTER_INSTANCE, tolerance);
    check_canvases(p, want, "two", TS_PAINTER_SEMANTIC, tolerance);
    check_canvases(p, want, "big", TS_PAINTER_INSTANCE, tolerance);
    ts_painter_free(p);
    ts_weights *plain = renamed_copy(w, "painter", without_types);
    p = open_painter(dev, plain);
    assert_false(ts_painter_about(p)->segments);
    check_canvases(p, want, "one", TS_PAINTER_INSTANCE, tolerance);
    ts_painter_free(p);
    ts_weights_free(plain);
    ts_weights_free(w);
    ts_weights_free(want);
}

static void test_host(void **state)
{
    (void)state;
    check_device(host, TOLERANCE);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    check_device(test_vulkan(TS_F32), TOLERANCE);
    if (test_vulkan(TS_F16)) check_device(test_vulkan(TS_F16), 5e-2);
}

/* ---- pictures ---- */

/* 8 bits within 1, floats within the tolerance. */
static void check_pictures(ts_painter *p, const ts_weights *want, int count, ts_painter_kind kind)
{
    ts_error err = {0};
    ts_image p1 = golden_image(want, "p1", 0), t1 = golden_image(want, "t1", 0), p2 = golden_image(want, "p2", 0),
             t2 = golden_image(want, "t2", 0), q = golden_image(want, "q", 0), blend = {0};
    const ts_painter_pair pairs[] = {{&p1, &t1}, {&p2, &t2}};
    ts_painted painted;
    ts_painter_ms ms;
    char name[64];
    if (!ts_painter_run(p, pairs, count, &q, &(ts_painter_options){.kind = kind}, &painted, &ms, &err)) fail_msg("%s", err.text);
    assert_int_equal(painted.side, SIDE);
    float same[SIDE * SIDE * 3];
    assert_true(ts_painted_fit(&painted, SIDE, SIDE, TS_PAINTED_NEAREST, same, &err));
    const char *word = kind == TS_PAINTER_SEMANTIC ? "semantic" : "instance";
    snprintf(name, sizeof name, "%s.%s.output", count == 1 ? "one" : "two", word);
    expect_near(name, same, golden_f32(want, name), SIDE * SIDE * 3, TOLERANCE);
    snprintf(name, sizeof name, "%s.%s.blend", count == 1 ? "one" : "two", word);
    assert_true(ts_painted_blend(&painted, &q, &blend, &err));
    ts_image wanted = golden_image(want, name, 0);
    expect_close_bytes(name, blend.data, wanted.data, (int64_t)q.width * q.height * 3);
    ts_painted_clear(&painted);
    for (int i = 0; i < 7; i++) ts_image_clear((ts_image *[]){&p1, &t1, &p2, &t2, &q, &blend, &wanted}[i]);
}

static void test_pictures(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_painter *p = open_painter(host, w);
    for (int count = 1; count <= 2; count++) {
        check_pictures(p, want, count, TS_PAINTER_INSTANCE);
        check_pictures(p, want, count, TS_PAINTER_SEMANTIC);
    }
    ts_painter_free(p);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* What goes onto a canvas is what the published preprocessing puts there. */
static void test_compose(void **state)
{
    (void)state;
    ts_weights *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_image pictures[] = {golden_image(want, "p1", 0), golden_image(want, "p2", 0)};
    ts_image targets[] = {golden_image(want, "t1", 0), golden_image(want, "t2", 0)}, q = golden_image(want, "q", 0);
    float *picture = malloc(2 * CANVAS * sizeof *picture), *target = malloc(2 * CANVAS * sizeof *target);
    ts_error err = {0};
    for (int i = 0; i < 2; i++)
        if (!ts_painter_compose(&(ts_painter_pair){&pictures[i], &targets[i]}, &q, SIDE, picture + (ptrdiff_t)i * CANVAS,
                                target + (ptrdiff_t)i * CANVAS, &err))
            fail_msg("%s", err.text);
    expect_near("pictures", picture, golden_maps(want, "two.input"), 2 * (int64_t)CANVAS, 1e-6);
    expect_near("targets", target, golden_maps(want, "two.target"), 2 * (int64_t)CANVAS, 1e-6);
    free(picture);
    free(target);
    for (int i = 0; i < 2; i++) {
        ts_image_clear(&pictures[i]);
        ts_image_clear(&targets[i]);
    }
    ts_image_clear(&q);
    ts_weights_free(want);
}

static void test_film(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_painter *p = open_painter(host, w);
    ts_error err = {0};
    ts_image first = golden_image(want, "video.frames", 0), t1 = golden_image(want, "t1", 0);
    const ts_painter_pair example = {&first, &t1};
    ts_painter_film *film = ts_painter_film_new(p, 2, &err);
    assert_non_null(film);
    for (int i = 1; i < 4; i++) {
        ts_image frame = golden_image(want, "video.frames", i), wanted = golden_image(want, "video.written", i - 1), blend = {0};
        ts_painted painted;
        if (!ts_painter_film_next(film, &example, 1, &frame, NULL, &painted, NULL, &err) ||
            !ts_painted_blend(&painted, &frame, &blend, &err))
            fail_msg("%s", err.text);
        expect_close_bytes("frame", blend.data, wanted.data, (int64_t)frame.width * frame.height * 3);
        ts_painted_clear(&painted);
        ts_image_clear(&frame);
        ts_image_clear(&wanted);
        ts_image_clear(&blend);
    }
    ts_painter_film_free(film);
    ts_image_clear(&first);
    ts_image_clear(&t1);
    ts_painter_free(p);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* ---- the loss, and gradients ---- */

/* The loss of `train` as graph, and its gradients with respect to both canvases. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_painter_canvases in;
    ts_tensor *truth, *weight, *predicted, *loss, *grads[2];
} training;

static training training_new(ts_painter *p, bool ensemble, bool recompute)
{
    const int64_t shape[] = {2, 2 * SIDE, SIDE, 3};
    ts_error err = {0};
    training t = {.g = ts_graph_new()};
    t.in = ts_painter_canvases_new(t.g, p, 2, SIDE);
    t.in.ensemble = ensemble;
    t.in.recompute = recompute;
    t.truth = ts_input(t.g, "truth", TS_REAL, 4, shape);
    t.weight = ts_input(t.g, "weight", TS_REAL, 4, shape);
    t.predicted = ts_output(t.g, ts_painter_predict(t.g, p, &t.in, NULL));
    t.loss = ts_output(t.g, ts_painter_loss(t.g, t.predicted, t.truth, t.weight));
    ts_grad(t.g, t.loss, 2, (ts_tensor *[]){t.in.pictures, t.in.targets}, t.grads);
    for (int i = 0; i < 2; i++) ts_output(t.g, t.grads[i]);
    t.e = ts_exec_new(t.g, ts_painter_device(p), &err);
    if (!t.e) fail_msg("%s", err.text);
    return t;
}

static void training_free(training *t)
{
    ts_exec_free(t->e);
    ts_graph_free(t->g);
}

/* The golden inputs; the truth is the targets. `pictures` and `targets` are the caller's. */
static void training_write(const training *t, const ts_painter *p, const ts_weights *want, float **pictures, float **targets)
{
    ts_error err = {0};
    float *mask = golden_f32(want, "train.mask"), *valid = golden_maps(want, "train.valid");
    float *weight = malloc(2 * CANVAS * sizeof *weight);
    uint8_t hidden[2 * TOKENS];
    for (int i = 0; i < 2 * TOKENS; i++) hidden[i] = mask[i] > 0;
    *pictures = golden_maps(want, "two.input");
    *targets = golden_maps(want, "two.target");
    const ts_painter_kind kinds[] = {TS_PAINTER_INSTANCE, TS_PAINTER_SEMANTIC};
    if (!ts_painter_loss_weight(p, 2, SIDE, hidden, valid, *targets, weight, &err) ||
        !ts_painter_canvases_write(t->e, &t->in, hidden, kinds, &err) || !ts_write(t->e, t->in.pictures, *pictures, &err) ||
        !ts_write(t->e, t->in.targets, *targets, &err) || !ts_write(t->e, t->truth, *targets, &err) ||
        !ts_write(t->e, t->weight, weight, &err))
        fail_msg("%s", err.text);
    free(mask);
    free(valid);
    free(weight);
}

static void check_loss(ts_device *dev, double tolerance)
{
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_painter *p = open_painter(dev, w);
    training t = training_new(p, false, false);
    float *pictures, *targets, loss = 0, *predicted = malloc(2 * CANVAS * sizeof *predicted);
    training_write(&t, p, want, &pictures, &targets);
    ts_error err = {0};
    if (!ts_run(t.e, &err) || !ts_read(t.e, t.loss, &loss, &err) || !ts_read(t.e, t.predicted, predicted, &err))
        fail_msg("%s", err.text);
    expect_near("train.pred", predicted, golden_maps(want, "train.pred"), 2 * (int64_t)CANVAS, tolerance);
    expect_near("train.loss", &loss, golden_f32(want, "train.loss"), 1, tolerance);
    free(predicted);
    free(pictures);
    free(targets);
    training_free(&t);
    ts_painter_free(p);
    ts_weights_free(w);
    ts_weights_free(want);
}

static void test_loss(void **state)
{
    (void)state;
    check_loss(host, TOLERANCE);
    if (test_vulkan(TS_F32)) check_loss(test_vulkan(TS_F32), TOLERANCE);
}

static double loss_at(const training *t, ts_tensor *moved, const double *base, const double *step, double by)
{
    ts_error err = {0};
    double loss = 0, *values = malloc(2 * CANVAS * sizeof *values);
    for (int i = 0; i < 2 * CANVAS; i++) values[i] = base[i] + by * step[i];
    if (!ts_write_f64(t->e, moved, values, &err) || !ts_run(t->e, &err) || !ts_read_f64(t->e, t->loss, &loss, &err))
        fail_msg("%s", err.text);
    free(values);
    return loss;
}

/* Of the pictures (0) and the targets (1), in double precision, along a random direction: the gradient's share in it is what the
 * loss changes by. */
static void check_differences(ts_painter *p, const ts_weights *want, bool ensemble, int first)
{
    ts_error err = {0};
    training t = training_new(p, ensemble, false);
    float *inputs[2];
    training_write(&t, p, want, &inputs[0], &inputs[1]);
    ts_tensor *const moved[] = {t.in.pictures, t.in.targets};
    uint64_t seed = 11;
    for (int k = first; k < 2; k++) {
        double *base = malloc(2 * CANVAS * sizeof *base), *step = malloc(2 * CANVAS * sizeof *step);
        double *grad = malloc(2 * CANVAS * sizeof *grad), along = 0, length = 0;
        for (int i = 0; i < 2 * CANVAS; i++) base[i] = (double)inputs[k][i];
        for (int i = 0; i < 2 * CANVAS; i++) step[i] = test_normal(&seed);
        if (!ts_run(t.e, &err) || !ts_read_f64(t.e, t.grads[k], grad, &err)) fail_msg("%s", err.text);
        for (int i = 0; i < 2 * CANVAS; i++) {
            along += grad[i] * step[i];
            length += grad[i] * grad[i];
        }
        const double by = 1e-6;
        const double change = (loss_at(&t, moved[k], base, step, by) - loss_at(&t, moved[k], base, step, -by)) / (2 * by);
        assert_true(length > 0);
        if (!(fabs(change - along) <= 1e-4 * sqrt(length)))
            fail_msg("%s%s: the loss changes by %g, the gradient says %g (its length is %g)", k ? "targets" : "pictures",
                     ensemble ? ", ensemble" : "", change, along, sqrt(length));
        assert_true(ts_write(t.e, moved[k], inputs[k], &err));
        free(base);
        free(step);
        free(grad);
    }
    free(inputs[0]);
    free(inputs[1]);
    training_free(&t);
}

static void read_grads(ts_painter *p, const ts_weights *want, bool recompute, float *out)
{
    ts_error err = {0};
    training t = training_new(p, true, recompute);
    float *pictures, *targets;
    training_write(&t, p, want, &pictures, &targets);
    if (!ts_run(t.e, &err) || !ts_read(t.e, t.grads[0], out, &err) ||
        !ts_read(t.e, t.grads[1], out + (ptrdiff_t)2 * CANVAS, &err))
        fail_msg("%s", err.text);
    free(pictures);
    free(targets);
    training_free(&t);
}

static void test_gradients(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_painter *exact = open_painter(yardstick, w), *p = open_painter(host, w);
    check_differences(exact, want, false, 1);
    check_differences(exact, want, true, 0);
    float *sure = malloc(4 * CANVAS * sizeof *sure), *got = malloc(4 * CANVAS * sizeof *got);
    read_grads(exact, want, false, sure);
    for (int again = 0; again < 2; again++) {
        read_grads(p, want, again, got);
        assert_true(relative_error(got, sure, 4 * (int64_t)CANVAS) < 1e-3);
    }
    ts_painter_free(p);
    if (test_vulkan(TS_F32)) {
        p = open_painter(test_vulkan(TS_F32), w);
        read_grads(p, want, false, got);
        assert_true(relative_error(got, sure, 4 * (int64_t)CANVAS) < 1e-3);
        ts_painter_free(p);
    }
    free(sure);
    free(got);
    ts_painter_free(exact);
    ts_device_free(yardstick);
    ts_weights_free(w);
    ts_weights_free(want);
}

/* A Painter does not learn from a canvas that shows next to nothing. */
static void test_blank(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth"), *plain = renamed_copy(w, "painter", without_types);
    ts_painter *p = open_painter(host, plain);
    ts_error err = {0};
    float *targets = malloc(2 * CANVAS * sizeof *targets), *weight = malloc(2 * CANVAS * sizeof *weight);
    uint8_t *bytes = calloc(2, CANVAS), hidden[2 * TOKENS];
    memset(bytes + CANVAS, 255, 320); /* of the second: 106 white pixels show, and more than 300 are counted in all */
    ts_painter_normalise(bytes, 2 * CANVAS / 3, targets);
    for (int i = 0; i < 2 * TOKENS; i++) hidden[i] = i % TOKENS >= TOKENS / 2;
    assert_true(ts_painter_loss_weight(p, 2, SIDE, hidden, NULL, targets, weight, &err));
    double first = 0, second = 0;
    for (int i = 0; i < CANVAS; i++) first += (double)weight[i], second += (double)weight[CANVAS + i];
    assert_true(first == 0 && fabs(second - 1) < 1e-5);
    assert_false(ts_painter_loss_weight(p, 1, SIDE, hidden, NULL, NULL, weight, &err));
    err = (ts_error){0};
    assert_false(ts_painter_loss_weight(p, 1, SIDE + 1, hidden, NULL, targets, weight, &err));
    free(targets);
    free(weight);
    free(bytes);
    ts_painter_free(p);
    ts_weights_free(plain);
    ts_weights_free(w);
}

/* ---- files ---- */

static const char *const LAYERS[][2] = {{"patch_embed.proj", "embeddings.patch_embeddings.projection"},
                                        {"pos_embed", "embeddings.position_embeddings"},
                                        {"mask_token", "embeddings.mask_token"},
                                        {"segment_token_x", "embeddings.segment_token_input"},
                                        {"segment_token_y", "embeddings.segment_token_prompt"},
                                        {"type_token_cls", "embeddings.type_token_semantic"},
                                        {"type_token_ins", "embeddings.type_token_instance"},
                                        {"norm.", "encoder.layernorm."},
                                        {"decoder_embed", "decoder.decoder_embed"},
                                        {"decoder_pred.0", "decoder.decoder_pred.conv"},
                                        {"decoder_pred.1", "decoder.decoder_pred.layernorm"},
                                        {"decoder_pred.3", "decoder.decoder_pred.head"}};
static const char *const PARTS[][2] = {
    {"norm1", "layernorm_before"}, {"norm2", "layernorm_after"}, {"attn", "attention"}, {"mlp", "mlp"}};
static bool inside, lin; /* which of Hugging Face's ways */

static const char *hugging_face(const char *name, char out[128])
{
    int block, used = 0;
    const char *front = inside ? "model." : "";
    if (sscanf(name, "blocks.%d.%n", &block, &used) == 1 && used > 0) {
        for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
            const size_t length = strlen(PARTS[i][0]);
            if (strncmp(name + used, PARTS[i][0], length) != 0) continue;
            const char *rest = name + used + length;
            const bool fc = strncmp(rest, ".fc", 3) == 0;
            snprintf(out, 128, "%sencoder.layers.%d.%s%s%s", front, block, PARTS[i][1], fc && lin ? ".lin" : "",
                     rest + (fc && lin ? 3 : 0));
            return out;
        }
    }
    for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) {
        const size_t length = strlen(LAYERS[i][0]);
        if (strncmp(name, LAYERS[i][0], length) != 0) continue;
        snprintf(out, 128, "%s%s%s", strncmp(name, "decoder", 7) == 0 ? "" : front, LAYERS[i][1], name + length);
        return out;
    }
    fail_msg("no name for %s", name);
    return NULL;
}

static void test_hugging_face(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth"), *want = open_golden("seggpt_tiny.expected.safetensors");
    for (int way = 0; way < 3; way++) {
        ts_error err = {0};
        inside = way > 0;
        lin = way > 1;
        ts_weights *other = renamed_copy(w, "hugging_face", hugging_face);
        assert_int_equal(ts_kind_of(other), TS_KIND_SEGGPT);
        if (!ts_painter_check(other, &err)) fail_msg("%s", err.text);
        ts_painter *p = open_painter(host, other);
        check_canvases(p, want, "two", TS_PAINTER_SEMANTIC, TOLERANCE);
        ts_painter_free(p);
        ts_weights_free(other);
    }
    ts_weights_free(w);
    ts_weights_free(want);
}

static void test_config(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth");
    ts_painter_config c;
    ts_error err = {0};
    char title[64], architecture[128];
    if (!ts_painter_config_read(w, &c, &err) || !ts_painter_check(w, &err)) fail_msg("%s", err.text);
    const int got[] = {c.patch, c.side, c.dim, c.depth, c.heads, c.mlp, c.decoder_dim, c.positions, c.segments};
    const int sizes[] = {16, 64, 32, 24, 2, 128, 4, 3, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) assert_int_equal(got[i], sizes[i]);
    ts_painter_words(&c, title, sizeof title, architecture, sizeof architecture);
    assert_string_equal(title, "SegGPT");
    c.dim = 1024;
    ts_painter_words(&c, title, sizeof title, architecture, sizeof architecture);
    assert_string_equal(title, "SegGPT ViT-L");
    assert_string_equal(architecture, "1024 wide, 24 blocks, 2 heads, patch 16, pictures of 64");
    ts_weights_free(w);
}

/* What is missing, or of another shape, is named. */
static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *missing, *reshaped, *says;
    } cases[] = {{"blocks.7.attn.qkv.bias", NULL, "blocks.7.attn.qkv.bias"},
                 {"decoder_pred.1.weight", NULL, "decoder_pred.1.weight"},
                 {"patch_embed.proj.weight", NULL, "patch_embed.proj.weight is missing"},
                 {"type_token_cls", NULL, "type_token_cls"},
                 {"blocks.0.attn.rel_pos_w", NULL, "blocks.0.attn.rel_pos_w is missing"},
                 {NULL, "blocks.0.attn.rel_pos_h", "have 16 and 7 rows"},
                 {NULL, "blocks.3.attn.rel_pos_h", "blocks.3.attn.rel_pos_h"},
                 {NULL, "decoder_embed.weight", "has 1025 rows, wanted a multiple of the 256"},
                 {NULL, "pos_embed", "pos_embed"},
                 {NULL, "mask_token", "mask_token"}};
    ts_weights *w = open_golden("seggpt_tiny.pth");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_weights *broken = altered_copy(w, "broken.safetensors", cases[i].missing, cases[i].reshaped);
        assert_false(ts_painter_check(broken, &err));
        if (!strstr(err.text, cases[i].says)) fail_msg("\"%s\" does not say %s", err.text, cases[i].says);
        ts_weights_free(broken);
    }
    ts_error err = {0};
    ts_weights *other = open_golden("clip_tiny.pt");
    assert_null(ts_painter_new(host, other, &err));
    assert_non_null(strstr(err.text, "is a CLIP; a Painter or SegGPT is wanted"));
    ts_weights_free(other);
    ts_weights_free(w);
}

static void test_refusals(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth");
    ts_painter *p = open_painter(host, w);
    ts_image img;
    ts_error err = {0};
    ts_painted painted;
    assert_true(ts_image_new(20, 10, &img, &err));
    const ts_painter_pair pair = {&img, &img};
    static const int sides[] = {-16, 8, 65, 4096};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        err = (ts_error){0};
        assert_false(ts_painter_run(p, &pair, 1, &img, &(ts_painter_options){.side = sides[i]}, &painted, NULL, &err));
        assert_non_null(strstr(err.text, "wanted a multiple of 16"));
    }
    static const int counts[] = {0, -1, TS_PAINTER_MAX_EXAMPLES + 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        assert_false(ts_painter_run(p, &pair, counts[i], &img, NULL, &painted, NULL, NULL));
    assert_false(ts_painter_run(p, &pair, 1, &img, &(ts_painter_options){.kind = (ts_painter_kind)7}, &painted, NULL, NULL));
    assert_null(ts_painter_film_new(p, -1, NULL));
    assert_null(ts_painter_film_new(p, TS_PAINTER_MAX_EXAMPLES, NULL));
    ts_image_clear(&img);
    ts_painter_free(p);
    ts_weights_free(w);
}

/* One weight that is no number. */
static void test_no_numbers(void **state)
{
    (void)state;
    ts_weights *w = open_golden("seggpt_tiny.pth");
    ts_weights_writer *out = ts_weights_writer_new();
    ts_error err = {0};
    const float nan3[3] = {0, NAN, 0};
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        const bool last = strcmp(t->name, "decoder_pred.3.bias") == 0;
        assert_true(last ? ts_weights_writer_add(out, t->name, TS_DT_F32, t->ndim, t->shape, nan3, &err)
                         : ts_weights_writer_add_weight(out, t, t->dtype, &err));
    }
    ts_weights *broken = write_and_open(out, "nan");
    ts_painter *p = open_painter(host, broken);
    ts_image img;
    ts_painted painted;
    assert_true(ts_image_new(20, 10, &img, &err));
    assert_false(ts_painter_run(p, &(ts_painter_pair){&img, &img}, 1, &img, NULL, &painted, NULL, &err));
    assert_non_null(strstr(err.text, "no numbers"));
    assert_null(painted.values);
    ts_image_clear(&img);
    ts_painter_free(p);
    ts_weights_free(broken);
    ts_weights_free(w);
}

int main(void)
{
    ts_error err = {0};
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose),      cmocka_unit_test(test_host),
        cmocka_unit_test(test_on_vulkan),    cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_film),         cmocka_unit_test(test_loss),
        cmocka_unit_test(test_gradients),    cmocka_unit_test(test_blank),
        cmocka_unit_test(test_hugging_face), cmocka_unit_test(test_config),
        cmocka_unit_test(test_broken),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_numbers),   cmocka_unit_test(check_validation_silent),
    };
    const int failed = cmocka_run_group_tests_name("painter", tests, NULL, NULL);
    ts_device_free(host);
    return failed;
}
