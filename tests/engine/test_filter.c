/* test_filter.c - filters along rows and columns with mirrored edges, eigenvalues of 2 x 2 matrices, and columns joined, cut and
 * put: against the yardstick and by differences, and the yardstick against values worked out by hand. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t shape[4];
    int64_t taps;
    bool down;
} filter_case;

static ts_tensor *filter(op_case *c, ts_graph *g)
{
    const filter_case *f = case_args(c);
    ts_tensor *x = case_real(c, g, 4, f->shape);
    return ts_filter(g, x, case_real(c, g, 1, &f->taps), f->down);
}

/* A kernel of constants that is neither even nor odd, for it has no gradient: 0.5, -0.25, then 0.75 to its end. */
static ts_tensor *filter_constant(op_case *c, ts_graph *g)
{
    const filter_case *f = case_args(c);
    ts_tensor *x = case_real(c, g, 4, f->shape);
    ts_tensor *k = ts_fill(g, 2, (int64_t[]){1, 1}, 0.5F);
    if (f->taps > 1) {
        k = ts_concat(g, k, ts_fill(g, 2, (int64_t[]){1, 1}, -0.25F));
        k = ts_concat(g, k, ts_fill(g, 2, (int64_t[]){f->taps - 2, 1}, 0.75F));
    }
    return ts_filter(g, x, ts_reshape(g, k, 1, &f->taps), f->down);
}

static void filters(void **state)
{
    (void)state;
    const filter_case cases[] = {
        {{1, 1, 1, 1}, 1, false},  {{1, 1, 1, 1}, 5, true},   {{1, 9, 7, 3}, 3, false},   {{1, 9, 7, 3}, 3, true},
        {{2, 6, 11, 3}, 9, false}, {{2, 6, 11, 3}, 9, true},  {{1, 5, 4, 4}, 71, false},  {{1, 5, 4, 4}, 71, true},
        {{2, 2, 2, 1}, 7, false},  {{3, 70, 33, 5}, 5, true}, {{1, 3, 90, 8}, 13, false}, {{1, 40, 700, 2}, 5, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "filter, case %zu", i);
        check_op(label, filter, &cases[i], i, 1e-5);
        if (cases[i].shape[1] * cases[i].shape[2] < 2000) check_grad(label, filter_constant, &cases[i], i, 1e-5);
    }
}

static void run(ts_graph *g, ts_tensor *x, const float *in, ts_tensor *k, const float *kernel, ts_tensor *y, float *out)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_output(g, y);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    assert_true(ts_write(e, x, in, &err) && ts_write(e, k, kernel, &err) && ts_run(e, &err) && ts_read(e, y, out, &err));
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

/* 1 2 3 mirrored is ... 3 2 | 1 2 3 | 2 1 ...; the kernel's first number goes with what stands before. */
static void values(void **state)
{
    (void)state;
    const float row[3] = {1, 2, 3}, shift[3] = {1, 0, 0}, far[7] = {1, 0, 0, 0, 0, 0, 0};
    const float before[3] = {2, 1, 2}, three[3] = {2, 3, 2};
    float got[3];
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 1, 3, 1}), *k = ts_input(g, "k", TS_REAL, 1, (int64_t[]){3});
    run(g, x, row, k, shift, ts_filter(g, x, k, false), got);
    assert_memory_equal(got, before, sizeof got);
    g = ts_graph_new();
    x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 3, 1, 1}), k = ts_input(g, "k", TS_REAL, 1, (int64_t[]){7});
    run(g, x, row, k, far, ts_filter(g, x, k, true), got); /* places -3, -2, -1 */
    assert_memory_equal(got, three, sizeof got);
}

static void refusals(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 2, 2, 1});
    assert_null(ts_filter(g, x, ts_input(g, "k", TS_REAL, 1, (int64_t[]){4}), false));
    assert_non_null(strstr(ts_graph_error(g)->text, "an odd number"));
    ts_graph_free(g);
    g = ts_graph_new();
    x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){2, 3});
    assert_null(ts_columns(g, x, 2, 2));
    assert_non_null(strstr(ts_graph_error(g)->text, "no columns 2 to 3"));
    ts_graph_free(g);
    g = ts_graph_new();
    x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){2, 3});
    assert_null(ts_join(g, 2, (ts_tensor *[]){x, ts_input(g, "z", TS_REAL, 2, (int64_t[]){3, 3})}));
    assert_non_null(strstr(ts_graph_error(g)->text, "side by side"));
    ts_graph_free(g);
}

typedef struct {
    int64_t shape[3];
    bool trace;
} eigen_case;

static ts_tensor *eigen(op_case *c, ts_graph *g)
{
    const eigen_case *e = case_args(c);
    ts_tensor *x = case_real(c, g, 3, e->shape), *y = case_real(c, g, 3, e->shape);
    return ts_eigen2(g, x, y, case_real(c, g, 3, e->shape), e->trace);
}

static void eigenvalues(void **state)
{
    (void)state;
    const eigen_case cases[] = {{{1, 1, 1}, false}, {{2, 5, 3}, true}, {{1, 300, 7}, false}, {{1, 9, 600}, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "eigen2, case %zu", i);
        check_op(label, eigen, &cases[i], i, 1e-6);
        check_grad(label, eigen, &cases[i], i, 1e-4);
    }
}

static ts_tensor *join(op_case *c, ts_graph *g)
{
    const int64_t *s = case_args(c);
    ts_tensor *part[3];
    for (int i = 0; i < 3; i++) part[i] = case_real(c, g, 3, (int64_t[]){s[0], s[1], s[2] + i});
    return ts_join(g, 3, part);
}

static ts_tensor *cut(op_case *c, ts_graph *g)
{
    const int64_t *s = case_args(c);
    ts_tensor *x = case_real(c, g, 3, s);
    return ts_square(g, ts_columns(g, x, s[2] / 3, s[2] - s[2] / 3 - (s[2] > 4)));
}

static ts_tensor *root(op_case *c, ts_graph *g)
{
    return ts_sqrt(g, ts_scale(g, ts_square(g, case_real(c, g, 3, case_args(c))), 1, 0.5F));
}

static void columns(void **state)
{
    (void)state;
    const int64_t cases[][3] = {{1, 1, 1}, {2, 5, 3}, {1, 700, 6}, {3, 4, 12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "columns, case %zu", i);
        check_op(label, join, cases[i], i, 1e-7);
        check_grad(label, join, cases[i], i, 1e-6);
        check_op(label, cut, cases[i], i, 1e-6);
        check_grad(label, cut, cases[i], i, 1e-5);
        check_op(label, root, cases[i], i, 1e-6);
        check_grad(label, root, cases[i], i, 1e-5);
    }
}

/* Into a state, beside what stands there, on either backend. */
static void check_put(ts_device *dev)
{
    ts_error err = {0};
    ts_graph *g = ts_graph_new();
    ts_tensor *state = ts_state(g, "kept", TS_LAYOUT_PLAIN, 2, (int64_t[]){2, 5});
    ts_tensor *a = ts_input(g, "a", TS_REAL, 2, (int64_t[]){2, 1}), *b = ts_input(g, "b", TS_REAL, 2, (int64_t[]){2, 2});
    assert_true(ts_put_columns(g, state, 1, 2, (ts_tensor *[]){a, b}));
    ts_tensor *y = ts_output(g, ts_scale(g, state, 1, 0)); /* read behind it */
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    const float first[2] = {1, 2}, second[4] = {3, 4, 5, 6}, want[10] = {0, 1, 3, 4, 0, 0, 2, 5, 6, 0};
    float got[10];
    assert_true(ts_write(e, a, first, &err) && ts_write(e, b, second, &err) && ts_run(e, &err) && ts_read(e, y, got, &err));
    assert_memory_equal(got, want, sizeof got);
    ts_exec_free(e);
    ts_graph_free(g);
}

static void put(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    check_put(host);
    ts_device_free(host);
    if (test_vulkan(TS_F32)) check_put(test_vulkan(TS_F32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(filters),
                                       cmocka_unit_test(values),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(eigenvalues),
                                       cmocka_unit_test(columns),
                                       cmocka_unit_test(put),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
