/* test_graph.c - describing and planning: what a wrong description says, who shares memory with whom, what is folded and what is
 * dropped. Each planned graph runs on the host, and on Vulkan where there is a driver. */
#include "../support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The test of a size that no machine has needs malloc to return NULL, which AddressSanitizer must be told. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static ts_device *host(void)
{
    static ts_device *dev;
    ts_error err = {0};
    if (!dev) dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static int free_host(void **state)
{
    (void)state;
    ts_device_free(host());
    return 0;
}

/* The devices to run on; NULL where there is none. */
static ts_device *device(int k)
{
    return k == 0 ? host() : test_vulkan(TS_F32);
}

static ts_tensor *real(ts_graph *g, int ndim, const int64_t *shape)
{
    return ts_input(g, "x", TS_REAL, ndim, shape);
}

static ts_exec *plan(ts_graph *g, ts_device *dev)
{
    ts_error err = {0};
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    return e;
}

static void run(ts_exec *e)
{
    ts_error err = {0};
    if (!ts_run(e, &err)) fail_msg("%s", err.text);
}

static void put(ts_exec *e, ts_tensor *t, float value)
{
    ts_error err = {0};
    float *data = malloc((size_t)ts_count(t) * sizeof *data);
    for (int64_t i = 0; i < ts_count(t); i++) data[i] = value;
    if (!ts_write(e, t, data, &err)) fail_msg("%s", err.text);
    free(data);
}

/* Fails unless all of `t` is `value`. */
static void expect(ts_exec *e, ts_tensor *t, float value)
{
    ts_error err = {0};
    float *data = malloc((size_t)ts_count(t) * sizeof *data);
    if (!ts_read(e, t, data, &err)) fail_msg("%s", err.text);
    for (int64_t i = 0; i < ts_count(t); i++)
        if (data[i] < value - 1e-4F || data[i] > value + 1e-4F)
            fail_msg("element %lld is %g, wanted %g", (long long)i, (double)data[i], (double)value);
    free(data);
}

/* ---- errors of a description ---- */

enum { MATRIX, IMAGE, VECTOR, INTS };

static ts_tensor *leaf(ts_graph *g, int kind)
{
    if (kind == MATRIX) return real(g, 2, (int64_t[]){4, 6});
    if (kind == IMAGE) return real(g, 4, (int64_t[]){1, 5, 3, 10});
    if (kind == VECTOR) return real(g, 1, (int64_t[]){7});
    return ts_input(g, "i", TS_I32, 2, (int64_t[]){2, 3});
}

static ts_tensor *wrong(ts_graph *g, int which)
{
    ts_tensor *m = leaf(g, MATRIX), *image = leaf(g, IMAGE), *v = leaf(g, VECTOR), *i = leaf(g, INTS);
    switch (which) {
    case 0:
        return ts_add(g, m, v);
    case 1:
        return ts_mul(g, v, m);
    case 2:
        return ts_layernorm(g, m, v, v, 1e-5F);
    case 3:
        return ts_groupnorm(g, image, v, v, 5, 1e-5F);
    case 4:
        return ts_groupnorm(g, image, v, v, 3, 1e-5F);
    case 5:
        return ts_upsample2x(g, m);
    case 6:
        return ts_gather(g, image, i, NULL);
    case 7:
        return ts_gather(g, m, m, NULL);
    case 8:
        return ts_gather(g, m, i, v);
    case 9:
        return ts_nearest_code(g, m, image);
    case 10:
        return ts_softmax(g, i);
    case 11:
        return ts_gelu(g, i);
    case 12:
        return ts_reshape(g, m, 1, (int64_t[]){25});
    case 13:
        return ts_add(g, m, i);
    default:
        return NULL;
    }
}

static void wrong_shapes_are_named(void **state)
{
    (void)state;
    const char *words[][3] = {
        {"add", "(4, 6)", "(7)"},
        {"mul", "(7)", "(4, 6)"},
        {"layernorm", "(4, 6)", "(7)"},
        {"groupnorm", "(1, 5, 3, 10)", "(7)"},
        {"groupnorm", "(1, 5, 3, 10)", "3 groups"},
        {"upsample2x", "(4, 6)", "(N, H, W, C)"},
        {"gather", "(1, 5, 3, 10)", "(2, 3)"},
        {"gather", "(4, 6)", "of reals"},
        {"gather", "(4, 6)", "(7)"},
        {"nearest_code", "(4, 6)", "(1, 5, 3, 10)"},
        {"softmax", "(2, 3)", "real"},
        {"gelu", "(2, 3)", "real"},
        {"reshape", "(4, 6)", "(25)"},
        {"add", "(4, 6)", "(2, 3)"},
    };
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        ts_graph *g = ts_graph_new();
        ts_scope(g, "blocks.%d", 3);
        assert_null(wrong(g, (int)k));
        const ts_error *err = ts_graph_error(g);
        assert_non_null(err);
        for (int w = 0; w < 3; w++)
            if (!strstr(err->text, words[k][w])) fail_msg("case %zu: \"%s\" does not say \"%s\"", k, err->text, words[k][w]);
        if (strncmp(err->text, "blocks.3.", 9) != 0) fail_msg("case %zu: \"%s\" does not say where", k, err->text);
        ts_graph_free(g);
    }
}

static void impossible_shapes(void **state)
{
    (void)state;
    const int64_t shapes[][2] = {{0, 4}, {-1, 4}, {4, INT64_MAX}, {INT64_C(1) << 40, INT64_C(1) << 40}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        ts_graph *g = ts_graph_new();
        assert_null(real(g, 2, shapes[k]));
        assert_int_equal(ts_graph_error(g)->code, TS_ERR_SHAPE);
        ts_graph_free(g);
    }
    ts_graph *g = ts_graph_new();
    assert_null(real(g, 5, (int64_t[]){1, 1, 1, 1, 1}));
    assert_int_equal(ts_graph_error(g)->code, TS_ERR_SHAPE);
    ts_graph_free(g);
}

/* After an error every call gives NULL and takes NULL, and the first error is the one that ts_exec_new tells. */
static void first_error_wins(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *m = leaf(g, MATRIX), *bad = ts_add(g, m, leaf(g, VECTOR));
    assert_null(bad);
    assert_null(ts_gelu(g, bad));
    assert_null(ts_softmax(g, m));
    assert_null(ts_groupnorm(g, bad, bad, bad, 1, 0));
    assert_null(ts_gather(g, m, bad, bad));
    assert_null(ts_reshape(g, bad, 1, (int64_t[]){1}));
    assert_null(ts_nearest_code(g, bad, m));
    assert_null(ts_upsample2x(g, m));
    assert_null(ts_output(g, bad));
    assert_int_equal(ts_count(bad), 0);
    ts_error err = {0};
    assert_null(ts_exec_new(g, host(), &err));
    assert_int_equal(err.code, TS_ERR_SHAPE);
    assert_non_null(strstr(err.text, "add: "));
    ts_graph_free(g);
}

/* ---- plans ---- */

static void planned_once(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *x = leaf(g, MATRIX);
    ts_output(g, ts_gelu(g, x));
    ts_exec *e = plan(g, host());
    ts_error err = {0};
    assert_null(ts_exec_new(g, host(), &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    assert_null(ts_gelu(g, x));
    ts_exec_free(e);
    ts_graph_free(g);
}

static void reshape_shares_memory(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = real(g, 2, (int64_t[]){6, 4}), *flat = ts_reshape(g, x, 1, (int64_t[]){24});
        ts_tensor *y = ts_scale(g, flat, 2, 0), *back = ts_reshape(g, ts_reshape(g, y, 3, (int64_t[]){2, 3, 4}), 2, x->shape);
        ts_output(g, back);
        ts_exec *e = plan(g, device(k));
        assert_int_equal(ts_exec_about(e).nodes, 1);
        put(e, flat, 3); /* an input under another name */
        run(e);
        expect(e, back, 6);
        expect(e, y, 6);
        expect(e, x, 3);
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

/* A long chain needs the input, the output, and two places between. */
static void arena_is_the_peak(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        enum { LENGTH = 30, COUNT = 5000 };
        ts_graph *g = ts_graph_new();
        ts_tensor *x = real(g, 1, (int64_t[]){COUNT}), *y = x;
        for (int i = 0; i < LENGTH; i++) y = ts_scale(g, y, 1, 1);
        ts_output(g, y);
        ts_exec *e = plan(g, device(k));
        const ts_exec_info info = ts_exec_about(e);
        assert_int_equal(info.nodes, LENGTH);
        assert_true(info.sum_bytes >= (uint64_t)LENGTH * COUNT * 4);
        assert_true(info.arena_bytes < (uint64_t)5 * COUNT * 4);
        put(e, x, 1);
        run(e);
        expect(e, y, 1 + LENGTH);
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

/* Outputs in the middle of a graph that goes on, and values that are read long after they were made. */
static void outputs_survive(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        enum { LENGTH = 12 };
        ts_graph *g = ts_graph_new();
        ts_tensor *x = real(g, 2, (int64_t[]){33, 77}), *step[LENGTH], *y = x;
        for (int i = 0; i < LENGTH; i++) y = step[i] = ts_scale(g, y, 1, 1);
        for (int i = 0; i < LENGTH; i += 3) ts_output(g, step[i]);
        ts_tensor *sum = ts_output(g, ts_add(g, ts_add(g, step[1], step[LENGTH - 1]), x));
        ts_exec *e = plan(g, device(k));
        put(e, x, 10);
        run(e);
        run(e);
        for (int i = 0; i < LENGTH; i += 3) expect(e, step[i], 11 + (float)i);
        expect(e, sum, 12 + 10 + LENGTH + 10);
        ts_error err = {0};
        float data[33 * 77];
        assert_false(ts_read(e, step[4], data, &err)); /* its place is another's by now */
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

static void unneeded_nodes_are_dropped(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = leaf(g, MATRIX), *y = ts_output(g, ts_scale(g, x, 3, 0));
        ts_softmax(g, ts_gelu(g, x));
        ts_clamp(g, y, 0, 1);
        ts_exec *e = plan(g, device(k));
        assert_int_equal(ts_exec_about(e).nodes, 1);
        put(e, x, 2);
        run(e);
        expect(e, y, 6);
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

static void inputs_keep_their_values(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *a = leaf(g, MATRIX), *b = leaf(g, MATRIX), *y = ts_add(g, a, b);
        for (int i = 0; i < 6; i++) y = ts_scale(g, y, 1, 1); /* would take the inputs' places, were they free */
        ts_output(g, y);
        ts_exec *e = plan(g, device(k));
        put(e, a, 100);
        for (int i = 0; i < 3; i++) {
            put(e, b, (float)i);
            run(e);
            expect(e, y, 106 + (float)i);
            expect(e, a, 100);
        }
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

/* swish goes into the groupnorm before it, unless somebody else reads what is between. */
static void folding(void **state)
{
    (void)state;
    for (int reader = 0; reader < 3; reader++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *x = leaf(g, IMAGE), *gamma = real(g, 1, (int64_t[]){10}), *beta = real(g, 1, (int64_t[]){10});
        ts_tensor *norm = ts_groupnorm(g, x, gamma, beta, 5, 1e-6F), *y = ts_output(g, ts_swish(g, norm));
        if (reader == 1) ts_output(g, norm);
        if (reader == 2) y = ts_output(g, ts_add(g, y, norm));
        ts_exec *e = plan(g, host());
        assert_int_equal(ts_exec_about(e).nodes, 1 + reader);
        put(e, x, 5);
        put(e, gamma, 1);
        put(e, beta, 2);
        run(e);
        expect(e, y, (reader == 2 ? 2.F : 0) + 1.761594F); /* 2 sigmoid(2) */
        if (reader == 1) expect(e, norm, 2);
        ts_exec_free(e);
        ts_graph_free(g);
    }
}

static void absurd_sizes(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        if (!device(k)) continue;
        ts_graph *g = ts_graph_new();
        ts_output(g, ts_gelu(g, real(g, 2, (int64_t[]){INT64_C(1) << 28, INT64_C(1) << 29})));
        ts_error err = {0};
        assert_null(ts_exec_new(g, device(k), &err));
        assert_int_equal(err.code, TS_ERR_MEMORY);
        assert_non_null(strstr(err.text, "bytes"));
        ts_graph_free(g);
    }
}

/* Tensors of another graph, and tensors that are nobody's input, are refused. */
static void strangers(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new(), *other = ts_graph_new();
    ts_tensor *x = leaf(g, VECTOR), *mid = ts_gelu(g, x), *y = ts_output(g, ts_scale(g, mid, 1, 0));
    ts_tensor *stranger = leaf(other, VECTOR);
    ts_exec *e = plan(g, host());
    float data[7] = {0};
    ts_tensor *list[] = {stranger, mid, NULL};
    for (int k = 0; k < 3; k++) {
        ts_error err = {0};
        assert_false(ts_write(e, list[k], data, &err));
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
    }
    put(e, x, 0);
    run(e);
    expect(e, y, 0);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_graph_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_shapes_are_named),
        cmocka_unit_test(impossible_shapes),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(planned_once),
        cmocka_unit_test(reshape_shares_memory),
        cmocka_unit_test(arena_is_the_peak),
        cmocka_unit_test(outputs_survive),
        cmocka_unit_test(unneeded_nodes_are_dropped),
        cmocka_unit_test(inputs_keep_their_values),
        cmocka_unit_test(folding),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(strangers),
        cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, free_host);
}
