/* test_groupnorm.c - groupnorm, with and without swish after it, against the yardstick: odd counts of places and channels, more
 * than one image, and a mean far larger than the deviation. */
#include "../support/support.h"

#include <stdio.h>

typedef struct {
    int64_t shape[4];
    int groups;
    float offset; /* added to x */
    bool swish, split;
} groupnorm_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const groupnorm_case *args = case_args(c);
    ts_tensor *x = case_real(c, g, 4, args->shape);
    if (args->offset != 0) x = ts_scale(g, x, 1, args->offset);
    ts_tensor *y =
        ts_groupnorm(g, x, case_real(c, g, 1, args->shape + 3), case_real(c, g, 1, args->shape + 3), args->groups, 1e-6F);
    if (args->split) ts_output(g, y); /* another reader: the swish stands alone */
    return args->swish ? ts_swish(g, y) : y;
}

static void groupnorm(void **state)
{
    (void)state;
    const groupnorm_case cases[] = {
        {{1, 1, 1, 1}, 1, 0, false, false},     {{1, 1, 1, 32}, 4, 0, true, false},    {{2, 3, 5, 6}, 3, 0, false, false},
        {{1, 16, 16, 128}, 32, 0, true, false}, {{2, 7, 9, 96}, 32, 0, true, false},   {{1, 13, 11, 70}, 7, 0, false, false},
        {{3, 8, 8, 3}, 1, 0, true, false},      {{1, 33, 31, 64}, 32, 0, true, false}, {{1, 8, 8, 64}, 32, 0, true, true},
        {{1, 65, 1, 260}, 20, 0, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "groupnorm, case %zu", i);
        check_op(label, build, &cases[i], i, 1e-5);
    }
}

/* fp32 storage of x is exact here up to the scale by 1, so what is lost is lost by the kernel. fp16 cannot store such an x. */
static void large_mean(void **state)
{
    (void)state;
    ts_error err = {0};
    const groupnorm_case args = {{2, 17, 19, 32}, 8, 0, false, false};
    enum { COUNT = 2 * 17 * 19 * 32 };
    static float x[COUNT], gamma[32], beta[32];
    uint64_t seed = 1;
    for (int i = 0; i < COUNT; i++) x[i] = 3000 + (float)test_normal(&seed);
    for (int i = 0; i < 32; i++) gamma[i] = 1, beta[i] = (float)test_normal(&seed);
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {yardstick, host, test_vulkan(TS_F32)};
    static float y[3][COUNT];
    for (int k = 0; k < 3; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *in[] = {ts_input(g, "x", TS_REAL, 4, args.shape), ts_input(g, "gamma", TS_REAL, 1, args.shape + 3),
                           ts_input(g, "beta", TS_REAL, 1, args.shape + 3)};
        ts_tensor *out = ts_output(g, ts_groupnorm(g, in[0], in[1], in[2], args.groups, 1e-6F));
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float *data[] = {x, gamma, beta};
        for (int i = 0; i < 3; i++) assert_true(ts_write(e, in[i], data[i], &err));
        assert_true(ts_run(e, &err) && ts_read(e, out, y[k], &err));
        if (relative_error(y[k], y[0], COUNT) > 1e-5)
            fail_msg("device %d: relative error %g", k, relative_error(y[k], y[0], COUNT));
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(yardstick);
    ts_device_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(groupnorm), cmocka_unit_test(large_mean),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("groupnorm", tests, NULL, NULL);
}
