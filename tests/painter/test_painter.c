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

static void test_yardstick(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    assert_non_null(dev);
    check_device(dev, TOLERANCE);
    ts_device_free(dev);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    check_device(test_vulkan(TS_F32), TOLERANCE);
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

int main(void)
{
    ts_error err = {0};
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_yardstick),
        cmocka_unit_test(test_on_vulkan),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_film),
        cmocka_unit_test(check_validation_silent),
    };
    const int failed = cmocka_run_group_tests_name("painter", tests, NULL, NULL);
    ts_device_free(host);
    return failed;
}
