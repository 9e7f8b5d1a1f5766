/* test_elementwise.c - unary and binary ops against the yardstick, over odd counts, wide values and every broadcast. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    ts_tensor *(*op)(ts_graph *g, ts_tensor *x);
    float spread; /* of the inputs */
    int64_t shape[3];
} unary_case;

static ts_tensor *scale(ts_graph *g, ts_tensor *x)
{
    return ts_scale(g, x, -1.5F, 0.25F);
}

static ts_tensor *clamp(ts_graph *g, ts_tensor *x)
{
    return ts_clamp(g, x, -0.5F, 1);
}

/* Of what does not overflow, however wide the inputs. */
static ts_tensor *exponential(ts_graph *g, ts_tensor *x)
{
    return ts_exp(g, ts_clamp(g, x, -80, 3));
}

static ts_tensor *build_unary(op_case *c, ts_graph *g)
{
    const unary_case *args = case_args(c);
    return args->op(g, ts_scale(g, case_real(c, g, 3, args->shape), args->spread, 0));
}

static void unary(void **state)
{
    (void)state;
    const struct {
        const char *name;
        ts_tensor *(*op)(ts_graph *g, ts_tensor *x);
    } ops[] = {
        {"scale", scale},    {"clamp", clamp},  {"gelu", ts_gelu}, {"quick_gelu", ts_quick_gelu},
        {"swish", ts_swish}, {"relu", ts_relu}, {"tanh", ts_tanh}, {"exp", exponential},
    };
    const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 5}, {3, 7, 64}, {1, 50, 1001}};
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int wide = 0; wide < 2; wide++) {
                unary_case args = {ops[k].op, wide ? 40 : 1, {shapes[i][0], shapes[i][1], shapes[i][2]}};
                char label[64];
                snprintf(label, sizeof label, "%s of %lld elements", ops[k].name,
                         (long long)shapes[i][0] * shapes[i][1] * shapes[i][2]);
                check_op(label, build_unary, &args, i, 1e-6);
            }
}

typedef struct {
    ts_tensor *(*op)(ts_graph *g, ts_tensor *a, ts_tensor *b);
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
        {ts_add, {1, 1, 1, 1}, 4, 0, 0},  {ts_mul, {2, 3, 5, 7}, 4, 0, 0}, {ts_add, {2, 3, 5, 7}, 4, 3, 0},
        {ts_mul, {2, 9, 8}, 3, 2, 0},     {ts_add, {3, 50, 64}, 3, 1, 0},  {ts_mul, {3, 50, 64}, 3, 1, 1},
        {ts_add, {4, 33, 257}, 3, 2, 2},  {ts_mul, {9, 1}, 2, 1, 0},       {ts_add, {2, 16, 16, 12}, 4, 2, 0},
        {ts_add, {3, 41, 1000}, 3, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "%s, case %zu", cases[i].op == ts_add ? "add" : "mul", i);
        check_op(label, build_binary, &cases[i], i, 1e-6);
    }
}

static ts_tensor *build_square(op_case *c, ts_graph *g)
{
    ts_tensor *x = case_real(c, g, 1, (int64_t[]){100});
    return ts_mul(g, x, x);
}

static void same_tensor_twice(void **state)
{
    (void)state;
    check_op("x * x", build_square, NULL, 5, 1e-6);
}

/* What no random number reaches: signed zero, infinities, the ends of the range. */
static void extremes(void **state)
{
    (void)state;
    const float x[] = {0, -0.0F, 1e-30F, -1e-30F, 88, -88, 200, -200, 1e30F, -1e30F, INFINITY};
    enum { N = sizeof x / sizeof *x };
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *in = ts_input(g, "x", TS_REAL, 1, (int64_t[]){N});
    ts_tensor *out[] = {ts_output(g, ts_gelu(g, in)), ts_output(g, ts_quick_gelu(g, in)), ts_output(g, ts_swish(g, in))};
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    assert_true(ts_write(e, in, x, &err));
    assert_true(ts_run(e, &err));
    for (int k = 0; k < 3; k++) {
        float y[N];
        assert_true(ts_read(e, out[k], y, &err));
        for (int i = 0; i < N; i++) {
            double want = x[i] > 0 ? (double)x[i] : 0;
            if (fabs((double)x[i]) < 1e-20) want = (double)x[i] / 2;
            if (isinf(want)) assert_true(isinf(y[i]));
            else if (fabs((double)y[i] - want) > 1e-6 * fabs(want) + 1e-30)
                fail_msg("op %d of %g is %g", k, (double)x[i], (double)y[i]);
        }
    }
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(unary), cmocka_unit_test(binary), cmocka_unit_test(same_tensor_twice),
                                       cmocka_unit_test(extremes), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("elementwise", tests, NULL, NULL);
}
