/* test_grad_elementwise.c - gradients of sums, differences and products with every broadcast, of functions of one element, and of
 * the sums over a tensor. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    ts_tensor *(*op)(ts_graph *g, ts_tensor *a, ts_tensor *b);
    const char *name;
    int64_t a[4];
    int ndim, from; /* b is a[from .. ndim), with `ones` in front */
    int ones;
} binary_case;

static ts_tensor *build_binary(op_case *c, ts_graph *g)
{
    const binary_case *args = case_args(c);
    int64_t b[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int i = args->from; i < args->ndim; i++) b[args->ones + i - args->from] = args->a[i];
    ts_tensor *x = case_real(c, g, args->ndim, args->a);
    return args->op(g, x, case_real(c, g, args->ones + args->ndim - args->from, b));
}

static void binary(void **state)
{
    (void)state;
    const binary_case cases[] = {
        {ts_add, "add", {2, 3, 5, 7}, 4, 0, 0},   {ts_sub, "sub", {2, 3, 5, 7}, 4, 0, 0}, {ts_mul, "mul", {2, 3, 5, 7}, 4, 0, 0},
        {ts_add, "add", {2, 9, 8}, 3, 2, 0},      {ts_sub, "sub", {2, 9, 8}, 3, 2, 1},    {ts_mul, "mul", {2, 9, 8}, 3, 2, 2},
        {ts_add, "add", {3, 50, 12}, 3, 1, 0},    {ts_sub, "sub", {3, 50, 13}, 3, 1, 1},  {ts_mul, "mul", {9, 1}, 2, 1, 0},
        {ts_add, "add", {70, 9, 10, 3}, 4, 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "%s, case %zu", cases[i].name, i);
        check_op(label, build_binary, &cases[i], i, 1e-6);
        check_grad(label, build_binary, &cases[i], i, 1e-5);
    }
}

static ts_tensor *scale(ts_graph *g, ts_tensor *x)
{
    return ts_scale(g, x, -1.5F, 0.25F);
}

static ts_tensor *clamp(ts_graph *g, ts_tensor *x)
{
    return ts_clamp(g, x, -0.5F, 1);
}

static ts_tensor *leaky_relu(ts_graph *g, ts_tensor *x)
{
    return ts_leaky_relu(g, x, 0.2F);
}

/* Of what does not overflow, and has no corner within the reach of a test's differences. */
static ts_tensor *exponential(ts_graph *g, ts_tensor *x)
{
    return ts_exp(g, ts_scale(g, x, 0.05F, 0.5F));
}

/* Of few turns: a rounded argument of many says little. */
static ts_tensor *sine(ts_graph *g, ts_tensor *x)
{
    return ts_sin(g, ts_scale(g, x, 0.1F, 0.5F));
}

static ts_tensor *cosine(ts_graph *g, ts_tensor *x)
{
    return ts_cos(g, ts_scale(g, x, 0.1F, 0.5F));
}

typedef struct {
    ts_tensor *(*op)(ts_graph *g, ts_tensor *x);
    const char *name;
    float spread; /* of the inputs */
    int64_t shape[2];
} unary_case;

static ts_tensor *build_unary(op_case *c, ts_graph *g)
{
    const unary_case *args = case_args(c);
    return args->op(g, ts_scale(g, case_real(c, g, 2, args->shape), args->spread, 0));
}

static ts_tensor *build_weight(op_case *c, ts_graph *g)
{
    const unary_case *args = case_args(c);
    ts_tensor *w = args->op(g, case_weight(c, g, TS_LAYOUT_LINEAR, 2, args->shape));
    ts_tensor *v = ts_sub(g, w, case_weight(c, g, TS_LAYOUT_LINEAR, 2, args->shape));
    return ts_add(g, ts_sum(g, v), ts_mean(g, ts_mul(g, v, w)));
}

static void unary(void **state)
{
    (void)state;
    const struct {
        const char *name;
        ts_tensor *(*op)(ts_graph *g, ts_tensor *x);
    } ops[] = {{"scale", scale},    {"clamp", clamp},     {"gelu", ts_gelu},          {"quick_gelu", ts_quick_gelu},
               {"swish", ts_swish}, {"abs", ts_abs},      {"square", ts_square},      {"relu", ts_relu},
               {"tanh", ts_tanh},   {"exp", exponential}, {"leaky_relu", leaky_relu}, {"sin", sine},
               {"cos", cosine}};
    const int64_t shapes[][2] = {{1, 1}, {3, 5}, {7, 143}, {64, 80}};
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const unary_case args = {ops[k].op, ops[k].name, i == 1 ? 20 : 1, {shapes[i][0], shapes[i][1]}};
            check_op(ops[k].name, build_unary, &args, i, 2e-6);
            check_grad(ops[k].name, build_unary, &args, i, 1e-5);
        }
        /* Weights in the device's layout, elementwise: their gradients have it too. */
        const unary_case args = {ops[k].op, ops[k].name, 1, {70, 33}};
        check_grad(ops[k].name, build_weight, &args, k, 1e-5);
    }
}

/* Sine and cosine of arguments that are exact in single precision, over thousands of turns. */
static void turns(void **state)
{
    (void)state;
    enum { COUNT = 4001 };
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    static float in[COUNT], got[2][COUNT];
    for (int i = 0; i < COUNT; i++) in[i] = 5 * (float)(i - COUNT / 2) + (float)(i % 8) / 8;
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){COUNT});
        ts_tensor *y[] = {ts_output(g, ts_sin(g, x)), ts_output(g, ts_cos(g, x))};
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        assert_true(ts_write(e, x, in, &err) && ts_run(e, &err) && ts_read(e, y[0], got[0], &err) &&
                    ts_read(e, y[1], got[1], &err));
        for (int i = 0; i < COUNT; i++) {
            assert_true(fabs((double)got[0][i] - sin((double)in[i])) < 1e-6);
            assert_true(fabs((double)got[1][i] - cos((double)in[i])) < 1e-6);
        }
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

/* Where differences say nothing: at the corners of clamp, the absolute value and leaky relu. */
static void corners(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){5}), *grad[3];
        assert_true(ts_grad(g, ts_sum(g, ts_clamp(g, x, -0.5F, 1)), 1, &x, &grad[0]));
        assert_true(ts_grad(g, ts_sum(g, ts_abs(g, x)), 1, &x, &grad[1]));
        assert_true(ts_grad(g, ts_sum(g, ts_leaky_relu(g, x, 0.25F)), 1, &x, &grad[2]));
        for (int i = 0; i < 3; i++) ts_output(g, grad[i]);
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float in[] = {-0.5F, 1, 0, -0.75F, 1.25F}, clamped[] = {1, 1, 1, 0, 0}, sign[] = {-1, 1, 0, -1, 1};
        const float slope[] = {0.25F, 1, 0.25F, 0.25F, 1};
        float got[5];
        assert_true(ts_write(e, x, in, &err) && ts_run(e, &err) && ts_read(e, grad[0], got, &err));
        assert_memory_equal(got, clamped, sizeof got);
        assert_true(ts_read(e, grad[1], got, &err));
        assert_memory_equal(got, sign, sizeof got);
        assert_true(ts_read(e, grad[2], got, &err));
        assert_memory_equal(got, slope, sizeof got);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

/* x x + stop(x) x. Central differences do not know of the stop, so against the formula: 3 x r. */
static void used_twice(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){3}), *grad;
    ts_tensor *y = ts_add(g, ts_mul(g, x, x), ts_mul(g, ts_stop_gradient(g, x), x));
    assert_true(ts_grad(g, ts_sum(g, y), 1, &x, &grad));
    ts_output(g, grad);
    ts_exec *e = ts_exec_new(g, host, &err);
    if (!e) fail_msg("%s", err.text);
    const float in[] = {1, -2, 0.5F}, want[] = {3, -6, 1.5F};
    float got[3];
    assert_true(ts_write(e, x, in, &err) && ts_run(e, &err) && ts_read(e, grad, got, &err));
    assert_memory_equal(got, want, sizeof want);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(host);
}

typedef struct {
    ts_tensor *(*op)(ts_graph *g, ts_tensor *x);
    int leading; /* dimensions that ts_sum_leading leaves; 0: `op` */
    int ndim;
    int64_t shape[4];
} sum_case;

static ts_tensor *build_sum(op_case *c, ts_graph *g)
{
    const sum_case *args = case_args(c);
    ts_tensor *x = case_real(c, g, args->ndim, args->shape);
    return args->op ? args->op(g, x) : ts_sum_leading(g, x, args->leading);
}

static void sums(void **state)
{
    (void)state;
    const sum_case cases[] = {
        {ts_sum, 0, 1, {1}},     {ts_sum, 0, 2, {3, 5}},  {ts_mean, 0, 3, {3, 41, 100}}, {ts_mean, 0, 2, {7, 1001}},
        {NULL, 1, 3, {2, 3, 5}}, {NULL, 2, 3, {2, 3, 8}}, {NULL, 1, 2, {300, 12}},       {NULL, 3, 3, {2, 3, 8}},
        {NULL, 1, 2, {5000, 1}}, {NULL, 1, 3, {1, 1, 9}}, {NULL, 1, 2, {4200, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "sum, case %zu", i);
        check_op(label, build_sum, &cases[i], i, 1e-5);
        check_grad(label, build_sum, &cases[i], i, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(binary),
                                       cmocka_unit_test(unary),
                                       cmocka_unit_test(turns),
                                       cmocka_unit_test(corners),
                                       cmocka_unit_test(used_twice),
                                       cmocka_unit_test(sums),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("gradients, elementwise", tests, NULL, NULL);
}
