/* test_dropout.c - dropout: the same elements fall on every backend and in the gradient, as many as were asked for, others for
 * another seed or another call, and none without a seed. */
#include "../support/support.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int64_t shape[3];
    double rate;
    int32_t low; /* of the seed; -1: none falls */
} dropout_case;

static const dropout_case cases[] = {
    {{1, 1, 1}, 0.25, 3}, {{2, 5, 7}, 0.25, 17}, {{3, 4, 64}, 0.9, 0}, {{40, 3, 33}, 0.5, INT32_MAX - 1}, {{2, 5, 7}, 0.25, -1}};

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const dropout_case *a = case_args(c);
    ts_tensor *x = case_real(c, g, 3, a->shape), *seed = case_int(c, g, 1, (int64_t[]){1}, a->low, a->low);
    return ts_dropout(g, x, seed, 7, a->rate);
}

static void yardstick(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_op("dropout", build, &cases[i], i, 1e-6);
        check_grad("dropout", build, &cases[i], i, 1e-6);
    }
}

enum { COUNT = 100003 };

/* Ones through dropout. */
static void drop(ts_device *dev, int32_t seed, uint32_t number, double rate, float *out)
{
    ts_error err = {0};
    ts_graph *g = ts_graph_new();
    ts_tensor *from = ts_input(g, "seed", TS_I32, 1, (int64_t[]){1});
    ts_tensor *y = ts_output(g, ts_dropout(g, ts_fill(g, 1, (int64_t[]){COUNT}, 1), from, number, rate));
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e || !ts_write(e, from, &seed, &err) || !ts_run(e, &err) || !ts_read(e, y, out, &err)) fail_msg("%s", err.text);
    ts_exec_free(e);
    ts_graph_free(g);
}

static double alike(const float *a, const float *b)
{
    int64_t same = 0;
    for (int64_t i = 0; i < COUNT; i++) same += (a[i] == 0) == (b[i] == 0);
    return (double)same / COUNT;
}

static void shares(void **state)
{
    (void)state;
    float *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    assert_true(a && b && host);
    drop(host, 5, 1, 0.25, a);
    int64_t fallen = 0, pairs = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        assert_true(a[i] == 0 || fabsf(a[i] - 4.0F / 3) < 1e-6F);
        fallen += a[i] == 0;
        pairs += i > 0 && a[i] == 0 && a[i - 1] == 0;
    }
    /* Five deviations of a binomial; and neighbours fall together no more often than by chance. */
    assert_true(fabs((double)fallen / COUNT - 0.25) < 0.007 && fabs((double)pairs / COUNT - 0.0625) < 0.005);
    drop(host, 6, 1, 0.25, b);
    assert_true(fabs(alike(a, b) - 0.625) < 0.01);
    drop(host, 5, 2, 0.25, b);
    assert_true(fabs(alike(a, b) - 0.625) < 0.01);
    drop(host, 5, 1, 0.25, b);
    assert_true(alike(a, b) == 1);
    if (test_vulkan(TS_F32)) drop(test_vulkan(TS_F32), 5, 1, 0.25, b);
    assert_true(alike(a, b) == 1);
    drop(host, -1, 1, 0.25, b);
    for (int64_t i = 0; i < COUNT; i++) assert_true(b[i] == 1);
    ts_device_free(host);
    free(a);
    free(b);
}

static void refused(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 1, (int64_t[]){4}), *seed = ts_input(g, "s", TS_I32, 1, (int64_t[]){1});
    assert_ptr_equal(ts_dropout(g, x, seed, 0, 0), x);
    assert_null(ts_dropout(g, x, seed, 0, 1));
    assert_non_null(ts_graph_error(g));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(yardstick), cmocka_unit_test(shares), cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("dropout", tests, NULL, NULL);
}
