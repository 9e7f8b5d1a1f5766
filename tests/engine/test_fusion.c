/* test_fusion.c - what a plan folds into products, by the number of nodes left, and that folding changes no result: the same
 * graph with every value between kept as an output has nothing to fold. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 5, WIDTH = 24, SIDE = 4 };

typedef struct {
    ts_graph *g;
    bool keep; /* every value between is an output */
    ts_tensor *in[8];
    int count;
} fusion_case;

static ts_tensor *add_input(fusion_case *f, ts_tensor *t)
{
    assert_non_null(t);
    f->in[f->count++] = t;
    return t;
}

static ts_tensor *kept(fusion_case *f, ts_tensor *t)
{
    return f->keep ? ts_output(f->g, t) : t;
}

static ts_tensor *rows(fusion_case *f)
{
    return add_input(f, ts_input(f->g, "x", TS_REAL, 2, (int64_t[]){ROWS, WIDTH}));
}

static ts_tensor *vector(fusion_case *f)
{
    return add_input(f, ts_input(f->g, "b", TS_REAL, 1, (int64_t[]){WIDTH}));
}

static ts_tensor *linear(fusion_case *f, ts_tensor *x)
{
    ts_tensor *w = add_input(f, ts_input_weight(f->g, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){WIDTH, WIDTH}));
    return kept(f, ts_linear(f->g, x, w, vector(f)));
}

static ts_tensor *conv(fusion_case *f)
{
    ts_tensor *x = add_input(f, ts_input(f->g, "x", TS_REAL, 4, (int64_t[]){1, SIDE, SIDE, WIDTH}));
    ts_tensor *w = add_input(f, ts_input_weight(f->g, "w", TS_LAYOUT_CONV, 4, (int64_t[]){WIDTH, WIDTH, 3, 3}));
    return kept(f, ts_conv2d(f->g, x, w, vector(f), &(ts_conv_desc){1, 1, 1, 1, 1}));
}

static ts_tensor *gelu_then_residual(fusion_case *f)
{
    ts_tensor *x = rows(f);
    return ts_add(f->g, kept(f, ts_gelu(f->g, linear(f, x))), x);
}

static ts_tensor *residual_on_the_left(fusion_case *f)
{
    ts_tensor *x = rows(f);
    return ts_add(f->g, x, linear(f, x));
}

static ts_tensor *act_after_residual(fusion_case *f)
{
    ts_tensor *x = rows(f);
    return ts_gelu(f->g, kept(f, ts_add(f->g, linear(f, x), x)));
}

static ts_tensor *second_act(fusion_case *f)
{
    return ts_swish(f->g, kept(f, ts_quick_gelu(f->g, linear(f, rows(f)))));
}

static ts_tensor *second_residual(fusion_case *f)
{
    ts_tensor *x = rows(f);
    return ts_add(f->g, kept(f, ts_add(f->g, linear(f, x), x)), x);
}

static ts_tensor *broadcast_add(fusion_case *f)
{
    return ts_add(f->g, linear(f, rows(f)), vector(f));
}

static ts_tensor *sum_of_itself(fusion_case *f)
{
    ts_tensor *y = linear(f, rows(f));
    return ts_add(f->g, y, y);
}

static ts_tensor *read_twice(fusion_case *f)
{
    ts_tensor *x = rows(f), *y = linear(f, x);
    return ts_mul(f->g, kept(f, ts_gelu(f->g, y)), y);
}

/* The second product takes the first as its residual; the first stays. */
static ts_tensor *sum_of_two(fusion_case *f)
{
    ts_tensor *x = rows(f), *a = linear(f, x);
    return ts_add(f->g, a, linear(f, x));
}

static ts_tensor *swish_of_conv(fusion_case *f)
{
    return ts_swish(f->g, conv(f));
}

static ts_tensor *residual_of_conv(fusion_case *f)
{
    ts_tensor *y = conv(f);
    return ts_add(f->g, y, f->in[0]);
}

static float *run(ts_device *dev, ts_tensor *(*build)(fusion_case *), bool keep, const char *name, int *nodes)
{
    ts_error err = {0};
    fusion_case f = {.g = ts_graph_new(), .keep = keep};
    ts_tensor *y = ts_output(f.g, build(&f));
    ts_exec *e = ts_exec_new(f.g, dev, &err);
    if (!e) fail_msg("%s: %s", name, err.text);
    *nodes = ts_exec_about(e).nodes;
    uint64_t seed = 7;
    for (int i = 0; i < f.count; i++) {
        const int64_t n = ts_count(f.in[i]);
        float *data = malloc((size_t)n * sizeof *data);
        for (int64_t k = 0; k < n; k++) data[k] = (float)(test_normal(&seed) * 0.3);
        if (!ts_write(e, f.in[i], data, &err)) fail_msg("%s: %s", name, err.text);
        free(data);
    }
    float *out = malloc((size_t)ts_count(y) * sizeof *out);
    if (!ts_run(e, &err) || !ts_read(e, y, out, &err)) fail_msg("%s: %s", name, err.text);
    ts_exec_free(e);
    ts_graph_free(f.g);
    return out;
}

static void check_on(ts_device *dev)
{
    const struct {
        const char *name;
        ts_tensor *(*build)(fusion_case *);
        int nodes, unfused, count;
    } cases[] = {
        {"gelu, then a residual", gelu_then_residual, 1, 3, ROWS * WIDTH},
        {"residual on the left", residual_on_the_left, 1, 2, ROWS * WIDTH},
        {"activation after a residual", act_after_residual, 2, 3, ROWS * WIDTH},
        {"second activation", second_act, 2, 3, ROWS * WIDTH},
        {"second residual", second_residual, 2, 3, ROWS * WIDTH},
        {"broadcast add", broadcast_add, 2, 2, ROWS * WIDTH},
        {"sum of itself", sum_of_itself, 2, 2, ROWS * WIDTH},
        {"value read twice", read_twice, 3, 3, ROWS * WIDTH},
        {"sum of two products", sum_of_two, 2, 3, ROWS * WIDTH},
        {"swish of a convolution", swish_of_conv, 1, 2, SIDE * SIDE * WIDTH},
        {"residual of a convolution", residual_of_conv, 1, 2, SIDE * SIDE * WIDTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int nodes = 0, unfused_nodes = 0;
        float *fused = run(dev, cases[i].build, false, cases[i].name, &nodes);
        float *unfused = run(dev, cases[i].build, true, cases[i].name, &unfused_nodes);
        if (nodes != cases[i].nodes || unfused_nodes != cases[i].unfused)
            fail_msg("%s: %d nodes and %d unfused, wanted %d and %d", cases[i].name, nodes, unfused_nodes, cases[i].nodes,
                     cases[i].unfused);
        const double error = relative_error(fused, unfused, cases[i].count);
        if (!(error < 2e-6)) fail_msg("%s: folding changes the result by %.3g", cases[i].name, error);
        free(fused);
        free(unfused);
    }
}

static void on_host(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    check_on(dev);
    ts_device_free(dev);
}

static void on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_on(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_host), cmocka_unit_test(on_vulkan),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("fusion", tests, NULL, NULL);
}
