/* test_concat.c - joining rows and cutting them out, against the yardstick, forward and backward: of a batch and shared by it,
 * widths that go in fours and others; and shapes that do not fit. */
#include "../support/support.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int64_t batch, first_rows, second_rows, width;
    int first_dims, second_dims; /* 2: shared */
} concat_case;

static const concat_case concats[] = {
    {1, 1, 1, 1, 3, 3},   {3, 1, 49, 64, 2, 3}, {5, 4, 3, 7, 3, 3},   {2, 6, 1, 33, 3, 2},
    {300, 2, 3, 5, 2, 3}, {1, 3, 4, 6, 2, 2},   {4, 70, 9, 12, 3, 3}, {2, 1, 1, 513, 2, 2},
};

static ts_tensor *build_concat(op_case *c, ts_graph *g)
{
    const concat_case *a = case_args(c);
    const int64_t first[] = {a->batch, a->first_rows, a->width}, second[] = {a->batch, a->second_rows, a->width};
    ts_tensor *x = case_real(c, g, a->first_dims, first + 3 - a->first_dims);
    return ts_concat(g, x, case_real(c, g, a->second_dims, second + 3 - a->second_dims));
}

static void concat(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof concats / sizeof *concats; i++) {
        char label[64];
        snprintf(label, sizeof label, "concat, case %zu", i);
        check_op(label, build_concat, &concats[i], i, 1e-9);
        check_grad(label, build_concat, &concats[i], i, 1e-5);
    }
}

typedef struct {
    int dims;
    int64_t shape[3], first, count;
} slice_case;

static const slice_case slices[] = {
    {3, {1, 1, 1}, 0, 1},   {3, {3, 50, 64}, 0, 1}, {3, {3, 50, 64}, 1, 49}, {3, {2, 7, 5}, 2, 3},
    {3, {130, 4, 9}, 3, 1}, {2, {8, 12}, 5, 2},     {2, {5, 7}, 0, 5},
};

static ts_tensor *build_slice(op_case *c, ts_graph *g)
{
    const slice_case *a = case_args(c);
    return ts_slice(g, ts_scale(g, case_real(c, g, a->dims, a->shape), 2, 0), a->first, a->count);
}

static void slice(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        char label[64];
        snprintf(label, sizeof label, "slice, case %zu", i);
        check_op(label, build_slice, &slices[i], i, 1e-6);
        check_grad(label, build_slice, &slices[i], i, 1e-5);
    }
}

/* A tensor that stands on both sides gets the sum of both gradients. */
static ts_tensor *build_twice(op_case *c, ts_graph *g)
{
    ts_tensor *x = case_real(c, g, 3, case_args(c)), *shared = case_real(c, g, 2, (const int64_t *)case_args(c) + 1);
    return ts_concat(g, ts_concat(g, x, shared), ts_concat(g, shared, ts_square(g, x)));
}

static void twice(void **state)
{
    (void)state;
    check_grad("concat of a tensor with itself", build_twice, (int64_t[]){3, 4, 5}, 1, 1e-5);
}

static void refuse(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *a = ts_input(g, "a", TS_REAL, 3, (int64_t[]){2, 3, 4}), *b = ts_input(g, "b", TS_REAL, 3, (int64_t[]){3, 3, 4});
    assert_null(ts_concat(g, a, b));
    assert_non_null(strstr(ts_graph_error(g)->text, "a is (2, 3, 4) and b (3, 3, 4)"));
    ts_graph_free(g);
    g = ts_graph_new();
    a = ts_input(g, "a", TS_REAL, 3, (int64_t[]){2, 3, 4});
    assert_null(ts_slice(g, a, 2, 2));
    assert_non_null(strstr(ts_graph_error(g)->text, "rows 2 to 3"));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(concat), cmocka_unit_test(slice), cmocka_unit_test(twice),
                                       cmocka_unit_test(refuse), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("concat", tests, NULL, NULL);
}
