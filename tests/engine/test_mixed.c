/* test_mixed.c - training on a device that stores fp16: parameters, moments and sums of gradients stay in fp32, the loss is
 * scaled, an overflow leaves an update out and halves the scale, good steps double it, and a checkpoint goes on to the same bits.
 */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 32, IN = 12, HIDDEN = 40, OUT = 6 };

typedef struct {
    ts_params *ps;
    ts_graph *g;
    ts_exec *e;
    ts_optimizer *o;
    ts_tensor *x, *y, *loss;
    int64_t step;
    int parts;
} net;

static bool fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx, (void)err;
    int64_t count = 1;
    uint64_t seed = 3 + strlen(name);
    for (int i = 0; i < ndim; i++) count *= shape[i];
    for (int64_t i = 0; i < count; i++) out[i] = ndim == 2 ? 0.3F * (float)test_normal(&seed) : 0;
    return true;
}

/* y' = v gelu(w x + b); loss = mean (y' - y)^2 times `steep`. */
static net open_net(ts_device *dev, ts_optimizer_desc desc, float steep)
{
    ts_error err = {0};
    net n = {.ps = ts_params_new_trainable(dev, NULL, "", fresh, NULL, &err), .g = ts_graph_new()};
    if (!n.ps) fail_msg("%s", err.text);
    ts_graph *g = n.g;
    n.parts = desc.accumulate > 0 ? desc.accumulate : 1;
    const int64_t rows = ROWS / n.parts;
    n.x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){rows, IN});
    n.y = ts_input(g, "y", TS_REAL, 2, (int64_t[]){rows, OUT});
    ts_tensor *w = ts_param(g, n.ps, "fc1.weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){HIDDEN, IN});
    ts_tensor *h = ts_linear(g, n.x, w, ts_param(g, n.ps, "bias", TS_LAYOUT_PLAIN, 1, (int64_t[]){HIDDEN}));
    h = ts_linear(g, ts_gelu(g, h), ts_param(g, n.ps, "fc2x.weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){OUT, HIDDEN}), NULL);
    n.loss = ts_output(g, ts_mean(g, ts_square(g, ts_sub(g, h, n.y))));
    n.o = ts_optimizer_new(g, n.ps, steep == 1 ? n.loss : ts_scale(g, n.loss, steep, 0), &desc, &err);
    if (!n.o || !(n.e = ts_exec_new(g, dev, &err))) fail_msg("%s", err.text);
    return n;
}

static void close_net(net *n)
{
    ts_exec_free(n->e);
    ts_graph_free(n->g);
    ts_optimizer_free(n->o);
    ts_params_free(n->ps);
}

/* One step on the same data each time; returns the loss before it. */
static double train(net *n)
{
    ts_error err = {0};
    float x[ROWS * IN], y[ROWS * OUT], loss;
    uint64_t seed = 9;
    double sum = 0;
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)test_normal(&seed);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < OUT; k++) y[r * OUT + k] = x[r * IN + k] * x[r * IN + k + 1];
    n->step++;
    for (int i = 0; i < n->parts; i++) {
        if (!ts_write(n->e, n->x, x + i * ROWS / n->parts * IN, &err) ||
            !ts_write(n->e, n->y, y + i * ROWS / n->parts * OUT, &err) || !ts_optimizer_set(n->o, n->e, n->step, 0.01, &err) ||
            !ts_run(n->e, &err) || !ts_read(n->e, n->loss, &loss, &err))
            fail_msg("%s", err.text);
        sum += (double)loss / n->parts;
    }
    if (!ts_optimizer_update(n->o, n->e, &err)) fail_msg("%s", err.text);
    return sum;
}

static double train_many(net *n, int steps)
{
    double loss = 0;
    for (int i = 0; i < steps; i++) loss = train(n);
    return loss;
}

static void read_weight(const net *n, float out[HIDDEN * IN])
{
    ts_error err = {0};
    assert_string_equal(ts_params_name(n->ps, 0), "fc1.weight");
    if (!ts_params_read(n->ps, 0, out, &err)) fail_msg("%s", err.text);
}

static ts_device *devices(int k)
{
    return test_vulkan(k == 0 ? TS_F32 : TS_F16);
}

static void learns_as_in_fp32(void **state)
{
    (void)state;
    if (!devices(1)) skip();
    for (int how = 0; how < 3; how++) { /* plain, clipped, in two parts and clipped */
        const ts_optimizer_desc desc = {.clip_norm = how ? 0.5 : 0, .accumulate = how == 2 ? 2 : 1, .weight_decay = 0.01};
        double losses[2];
        for (int k = 0; k < 2; k++) {
            net n = open_net(devices(k), desc, 1);
            const double first = train(&n);
            losses[k] = train_many(&n, 80);
            assert_true(losses[k] < 0.2 * first);
            assert_int_equal(ts_optimizer_skipped(n.o), 0);
            assert_true(ts_optimizer_scale(n.o) == (k ? 32768 : 0));
            close_net(&n);
        }
        if (!(fabs(losses[1] - losses[0]) < 0.05 * losses[0]))
            fail_msg("way %d: a loss of %g in fp16, of %g in fp32", how, losses[1], losses[0]);
    }
}

/* Steps far below what fp16 can add to a weight still add up. */
static void keeps_small_updates(void **state)
{
    (void)state;
    ts_device *dev = devices(1);
    if (!dev) skip();
    ts_error err = {0};
    net n = open_net(dev, (ts_optimizer_desc){0}, 1);
    float before[HIDDEN * IN], after[HIDDEN * IN], rounded = 0;
    read_weight(&n, before);
    for (int i = 0; i < HIDDEN * IN; i++) rounded += ts_f16_to_f32(ts_f32_to_f16(before[i])) != before[i];
    assert_true(rounded > HIDDEN); /* the first values are not rounded either */
    train(&n);
    if (!ts_optimizer_set(n.o, n.e, 2, 1e-7, &err) || !ts_run(n.e, &err) || !ts_optimizer_update(n.o, n.e, &err))
        fail_msg("%s", err.text);
    read_weight(&n, before);
    for (int i = 0; i < 10; i++)
        if (!ts_run(n.e, &err)) fail_msg("%s", err.text);
    read_weight(&n, after);
    int moved = 0;
    for (int i = 0; i < HIDDEN * IN; i++) moved += fabs((double)(after[i] - before[i])) > 2e-7;
    assert_true(moved > HIDDEN * IN / 2);
    close_net(&n);
}

static void survives_overflow(void **state)
{
    (void)state;
    ts_device *dev = devices(1);
    if (!dev) skip();
    ts_error err = {0};
    for (int parts = 1; parts <= 2; parts++) {
        net n = open_net(dev, (ts_optimizer_desc){.accumulate = parts, .scale_steps = 50}, 64);
        float before[HIDDEN * IN], after[HIDDEN * IN];
        read_weight(&n, before);
        const double first = train(&n); /* 64 x 2^15 is more than fp16 holds */
        read_weight(&n, after);
        assert_memory_equal(before, after, sizeof before);
        assert_int_equal(ts_optimizer_skipped(n.o), 1);
        assert_true(ts_optimizer_scale(n.o) == 16384);
        train_many(&n, 20);
        assert_true(ts_optimizer_skipped(n.o) < 20);
        const double last = train_many(&n, 80);
        assert_true(isfinite(last) && last < 0.2 * first);
        close_net(&n);
    }
    /* What no scale can help ends the training. */
    net n = open_net(dev, (ts_optimizer_desc){.loss_scale = 2}, 1);
    float x[ROWS * IN];
    for (int i = 0; i < ROWS * IN; i++) x[i] = i == 0 ? INFINITY : 1;
    bool ok = true;
    for (int i = 1; ok && i < 5; i++)
        ok = ts_write(n.e, n.x, x, &err) && ts_optimizer_set(n.o, n.e, i, 0.01, &err) && ts_run(n.e, &err) &&
             ts_optimizer_update(n.o, n.e, &err);
    assert_false(ok);
    assert_non_null(strstr(err.text, "not finite"));
    close_net(&n);
}

static void doubles_the_scale(void **state)
{
    (void)state;
    ts_device *dev = devices(1);
    if (!dev) skip();
    net n = open_net(dev, (ts_optimizer_desc){.loss_scale = 4096, .scale_steps = 3}, 1);
    static const double scales[] = {4096, 4096, 8192, 8192, 8192, 16384, 16384, 16384, 32768, 32768, 32768, 32768};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        train(&n);
        assert_true(ts_optimizer_scale(n.o) == scales[i]);
    }
    close_net(&n);
}

static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    ts_device *dev = devices(1);
    if (!dev) skip();
    ts_error err = {0};
    const ts_optimizer_desc desc = {.scale_steps = 4, .clip_norm = 1};
    net whole = open_net(dev, desc, 64), second = open_net(dev, desc, 64);
    train_many(&whole, 14);
    assert_true(ts_optimizer_skipped(whole.o) > 0);
    char path[256];
    float *buffer;
    snprintf(path, sizeof path, "%s/mixed.safetensors", temp_dir());
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_params_save(whole.ps, w, &buffer, &err) || !ts_optimizer_save(whole.o, whole.e, w, &err) ||
        !ts_weights_writer_save(w, path, &err))
        fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    free(buffer);
    ts_weights *saved = ts_weights_open(path, &err);
    if (!saved || !ts_params_load(second.ps, saved, &err) || !ts_optimizer_load(second.o, second.e, saved, &err))
        fail_msg("%s", err.text);
    /* Steps that the file says were left out cannot be more than there were. */
    assert_false(ts_optimizer_set(second.o, second.e, ts_optimizer_skipped(second.o), 0.01, &err));
    second.step = whole.step;
    float a[HIDDEN * IN], b[HIDDEN * IN];
    for (int i = 0; i < 10; i++) {
        assert_true(train(&whole) == train(&second));
        assert_true(ts_optimizer_scale(whole.o) == ts_optimizer_scale(second.o));
    }
    read_weight(&whole, a);
    read_weight(&second, b);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(ts_optimizer_skipped(whole.o), ts_optimizer_skipped(second.o));
    close_net(&whole);
    close_net(&second);
    /* The same checkpoint in fp32. */
    net plain = open_net(devices(0), desc, 64);
    if (!ts_params_load(plain.ps, saved, &err) || !ts_optimizer_load(plain.o, plain.e, saved, &err)) fail_msg("%s", err.text);
    plain.step = 14;
    assert_true(isfinite(train_many(&plain, 3)));
    close_net(&plain);
    ts_weights_free(saved);
}

/* What is kept in fp32 cannot go where fp16 is read. */
static void refused(void **state)
{
    (void)state;
    ts_device *dev = devices(1);
    if (!dev) skip();
    ts_error err = {0};
    ts_graph *g = ts_graph_new();
    ts_output(g, ts_gelu(g, ts_state(g, "s", TS_LAYOUT_PLAIN, 1, (int64_t[]){8})));
    assert_null(ts_exec_new(g, dev, &err));
    assert_non_null(strstr(err.text, "kept in fp32"));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns_as_in_fp32),        cmocka_unit_test(keeps_small_updates),
                                       cmocka_unit_test(survives_overflow),        cmocka_unit_test(doubles_the_scale),
                                       cmocka_unit_test(resumes_to_the_same_bits), cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("mixed", tests, NULL, NULL);
}
