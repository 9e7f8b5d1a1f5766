/* test_rows.c - the row-wise ops against the yardstick: layernorm, softmax, unit rows, argmax, the nearest code. */
#include "../support/support.h"

#include <stdio.h>

static const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 17}, {1, 197, 64}, {3, 5, 257}, {1, 2, 1024}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Runs `build` over all the shapes. */
static void check_shapes(const char *op, op_build build, double tolerance)
{
    for (int i = 0; i < SHAPES; i++) {
        char label[96];
        snprintf(label, sizeof label, "%s %lldx%lldx%lld", op, (long long)shapes[i][0], (long long)shapes[i][1],
                 (long long)shapes[i][2]);
        check_op(label, build, shapes[i], (uint64_t)i + 1, tolerance);
    }
}

static ts_tensor *build_layernorm(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *x = case_real(c, g, 3, shape);
    ts_tensor *gamma = case_real(c, g, 1, shape + 2), *beta = case_real(c, g, 1, shape + 2);
    return ts_layernorm(g, x, gamma, beta, 1e-6F);
}

static ts_tensor *build_softmax(op_case *c, ts_graph *g)
{
    return ts_softmax(g, ts_scale(g, case_real(c, g, 3, case_args(c)), 5, 0));
}

/* Small numbers, whose squares are smaller still, and rows of zeros. */
static ts_tensor *build_unit(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *x = ts_scale(g, case_real(c, g, 3, shape), 1e-4F, 0);
    return ts_unit(g, ts_concat(g, x, ts_fill(g, 2, (int64_t[]){2, shape[2]}, 0)));
}

static ts_tensor *build_argmax(op_case *c, ts_graph *g)
{
    return ts_argmax(g, case_real(c, g, 3, case_args(c)));
}

static ts_tensor *build_nearest(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    return ts_nearest_code(g, case_real(c, g, 3, shape), case_real(c, g, 2, (int64_t[]){7 + shape[1], shape[2]}));
}

static void layernorm(void **state)
{
    (void)state;
    check_shapes("layernorm", build_layernorm, 1e-5);
}

static void softmax(void **state)
{
    (void)state;
    check_shapes("softmax", build_softmax, 1e-6);
}

static void unit(void **state)
{
    (void)state;
    check_shapes("unit", build_unit, 1e-6);
}

static void argmax(void **state)
{
    (void)state;
    check_shapes("argmax", build_argmax, 0);
}

static void nearest_code(void **state)
{
    (void)state;
    check_shapes("nearest_code", build_nearest, 0);
}

/* Integers below 3, so that nearly every row has ties. Gathering rows of an identity makes reals of integers. */
static ts_tensor *build_ties(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *table = ts_clamp(g, ts_scale(g, case_real(c, g, 2, (int64_t[]){3, 1}), 1000, 0), -1, 1);
    ts_tensor *pick = case_int(c, g, 2, (int64_t[]){shape[0] * shape[1], shape[2]}, 0, 3);
    return ts_reshape(g, ts_gather(g, table, pick, NULL), 3, shape);
}

static ts_tensor *build_argmax_ties(op_case *c, ts_graph *g)
{
    return ts_argmax(g, build_ties(c, g));
}

static ts_tensor *build_nearest_ties(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *codes = build_ties(c, g), *z = case_real(c, g, 2, (int64_t[]){9, shape[2]});
    return ts_nearest_code(g, z, ts_reshape(g, codes, 2, (int64_t[]){shape[0] * shape[1], shape[2]}));
}

static void first_of_equals(void **state)
{
    (void)state;
    check_shapes("argmax with ties", build_argmax_ties, 0);
    check_op("nearest_code with ties", build_nearest_ties, (int64_t[]){5, 80, 2}, 3, 0);
    check_op("nearest_code with ties", build_nearest_ties, (int64_t[]){1, 33, 1}, 4, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layernorm),
                                       cmocka_unit_test(softmax),
                                       cmocka_unit_test(unit),
                                       cmocka_unit_test(argmax),
                                       cmocka_unit_test(nearest_code),
                                       cmocka_unit_test(first_of_equals),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
