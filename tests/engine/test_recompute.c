/* test_recompute.c - segments whose activations are computed again for the gradient: the same gradients in less memory, on every
 * backend, whatever crosses a segment's border; and what is refused. */
#include "../support/support.h"

#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, ROWS = 24, WIDTH = 20, HIDDEN = 36, PARAMS = 2 * LAYERS + 1 };

typedef enum { KEPT, EACH, ALL } segments; /* none, each layer, all layers in one */

typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *x, *w[PARAMS], *loss, *grads[PARAMS];
} net;

/* x += linear(gelu(linear(x))) by layers, a part of which looks through a reshape and a stopped gradient; the last parameter
 * scales every layer, so that it is used in all segments. */
static net describe(segments how)
{
    net n = {.g = ts_graph_new()};
    ts_graph *g = n.g;
    n.x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){ROWS, WIDTH});
    ts_tensor *x = n.x, *shared = n.w[PARAMS - 1] = ts_input(g, "shared", TS_REAL, 1, (int64_t[]){WIDTH});
    if (how == ALL) ts_recompute_begin(g);
    for (int i = 0; i < LAYERS; i++) {
        n.w[2 * i] = ts_input_weight(g, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){HIDDEN, WIDTH});
        n.w[2 * i + 1] = ts_input_weight(g, "v", TS_LAYOUT_LINEAR, 2, (int64_t[]){WIDTH, HIDDEN});
        if (how == EACH) ts_recompute_begin(g);
        ts_tensor *h = ts_gelu(g, ts_linear(g, x, n.w[2 * i], NULL));
        h = ts_reshape(g, ts_square(g, ts_reshape(g, h, 3, (int64_t[]){2, ROWS / 2, HIDDEN})), 2, (int64_t[]){ROWS, HIDDEN});
        h = ts_add(g, h, ts_stop_gradient(g, ts_swish(g, h)));
        h = ts_linear(g, h, n.w[2 * i + 1], NULL);
        x = ts_add(g, ts_mul(g, h, shared), x);
        if (how == EACH) ts_recompute_end(g);
    }
    if (how == ALL) ts_recompute_end(g);
    n.loss = ts_output(g, ts_mean(g, ts_square(g, x)));
    assert_true(ts_grad(g, n.loss, PARAMS, n.w, n.grads));
    for (int i = 0; i < PARAMS; i++) {
        assert_non_null(n.grads[i]);
        ts_output(g, n.grads[i]);
    }
    return n;
}

static void fill_net(net *n, ts_device *dev)
{
    ts_error err = {0};
    n->e = ts_exec_new(n->g, dev, &err);
    if (!n->e) fail_msg("%s", err.text);
    uint64_t seed = 5;
    float data[HIDDEN * ROWS];
    for (int i = 0; i <= PARAMS; i++) {
        ts_tensor *t = i < PARAMS ? n->w[i] : n->x;
        for (int64_t k = 0; k < ts_count(t); k++) data[k] = 0.3F * (float)test_normal(&seed);
        if (!ts_write(n->e, t, data, &err)) fail_msg("%s", err.text);
    }
    if (!ts_run(n->e, &err)) fail_msg("%s", err.text);
}

static void close_net(net *n)
{
    ts_exec_free(n->e);
    ts_graph_free(n->g);
}

static void compare(ts_device *dev, segments how)
{
    ts_error err = {0};
    net kept = describe(KEPT), again = describe(how);
    fill_net(&kept, dev);
    fill_net(&again, dev);
    for (int i = 0; i <= PARAMS; i++) {
        ts_tensor *a = i < PARAMS ? kept.grads[i] : kept.loss, *b = i < PARAMS ? again.grads[i] : again.loss;
        float want[HIDDEN * WIDTH], got[HIDDEN * WIDTH];
        assert_true(a->layout == b->layout);
        if (!ts_read(kept.e, a, want, &err) || !ts_read(again.e, b, got, &err)) fail_msg("%s", err.text);
        const double error = relative_error(got, want, ts_count(a));
        if (!(error < 1e-5)) fail_msg("gradient %d: relative error %g", i, error);
    }
    close_net(&kept);
    close_net(&again);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void same_gradients(void **state)
{
    (void)state;
    ts_device *dev = host();
    compare(dev, EACH);
    compare(dev, ALL);
    ts_device_free(dev);
}

static void same_gradients_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    compare(dev, EACH);
    compare(dev, ALL);
}

static void less_memory(void **state)
{
    (void)state;
    ts_device *dev = host();
    net kept = describe(KEPT), again = describe(EACH);
    fill_net(&kept, dev);
    fill_net(&again, dev);
    const ts_exec_info a = ts_exec_about(kept.e), b = ts_exec_about(again.e);
    assert_true(b.arena_bytes < a.arena_bytes);
    assert_true(b.nodes > a.nodes);
    close_net(&kept);
    close_net(&again);
    /* A segment that no gradient goes through is not described again. */
    for (int segment = 0; segment < 2; segment++) {
        ts_error err = {0};
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){8}), *y = ts_input(g, "y", TS_REAL, 1, (int64_t[]){8}), *dy;
        if (segment) ts_recompute_begin(g);
        ts_tensor *z = ts_gelu(g, ts_gelu(g, x));
        if (segment) ts_recompute_end(g);
        ts_tensor *loss = ts_output(g, ts_sum(g, ts_mul(g, y, z)));
        assert_true(ts_grad(g, loss, 1, &y, &dy));
        ts_output(g, dy);
        ts_exec *e = ts_exec_new(g, dev, &err);
        if (!e) fail_msg("%s", err.text);
        static int nodes;
        if (!segment) nodes = ts_exec_about(e).nodes;
        else assert_int_equal(ts_exec_about(e).nodes, nodes);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(dev);
}

static void expect_error(ts_graph *g, const char *words)
{
    const ts_error *err = ts_graph_error(g);
    assert_non_null(err);
    if (!strstr(err->text, words)) fail_msg("%s", err->text);
    ts_graph_free(g);
}

static void refused(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_recompute_begin(g);
    ts_recompute_begin(g);
    expect_error(g, "inside another");
    g = ts_graph_new();
    ts_recompute_end(g);
    expect_error(g, "did not begin");
    g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){4}), *dx;
    ts_recompute_begin(g);
    ts_tensor *loss = ts_sum(g, ts_gelu(g, x));
    assert_false(ts_grad(g, loss, 1, &x, &dx));
    expect_error(g, "inside a segment");
    g = ts_graph_new();
    x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){4});
    ts_tensor *s = ts_state(g, "s", TS_LAYOUT_PLAIN, 1, (int64_t[]){4});
    ts_recompute_begin(g);
    ts_tensor *y = ts_gelu(g, x);
    assert_true(ts_accumulate(g, s, y));
    ts_recompute_end(g);
    assert_false(ts_grad(g, ts_sum(g, y), 1, &x, &dx));
    expect_error(g, "twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_gradients), cmocka_unit_test(same_gradients_on_vulkan),
                                       cmocka_unit_test(less_memory), cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("recompute", tests, NULL, NULL);
}
