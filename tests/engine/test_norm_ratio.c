/* test_norm_ratio.c - the ratio of two norms against the yardstick, and against numbers done by hand. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    int64_t a[3], b[3];
    float scale, eps, most;
} ratio_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const ratio_case *args = case_args(c);
    ts_tensor *a = ts_scale(g, case_real(c, g, 3, args->a), args->scale, 0);
    return ts_norm_ratio(g, a, case_real(c, g, 3, args->b), args->eps, args->most);
}

static void yardstick(void **state)
{
    (void)state;
    const ratio_case cases[] = {
        {{1, 1, 1}, {1, 1, 1}, 1, 1e-4F, 1e4F},     {{2, 3, 5}, {7, 11, 13}, 1, 1e-4F, 1e4F},
        {{64, 9, 17}, {3, 3, 3}, 30, 1, 1e4F},      {{4, 4, 4}, {40, 40, 4}, 100, 1e-4F, 2},
        {{1, 300, 200}, {1, 2, 2}, 0, 1e-4F, 1e4F},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "norm_ratio, case %zu", i);
        check_op(label, build, &cases[i], i, 1e-5);
    }
}

/* |a| = 5, |b| = 2; then b = 0, where eps and the bound hold; then b that are not finite. */
static void by_hand(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *a = ts_input(g, "a", TS_REAL, 1, (int64_t[]){2}), *b = ts_input(g, "b", TS_REAL, 1, (int64_t[]){4});
        ts_tensor *ratio = ts_output(g, ts_norm_ratio(g, a, b, 0.5F, 8));
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float first[] = {3, -4}, second[4][4] = {{1, -1, 1, 1}, {0}, {0, NAN, 0, 0}, {1, INFINITY, 0, 0}}, want[] = {2, 8};
        float got;
        assert_true(ts_write(e, a, first, &err));
        for (int i = 0; i < 4; i++) {
            if (!ts_write(e, b, second[i], &err) || !ts_run(e, &err) || !ts_read(e, ratio, &got, &err)) fail_msg("%s", err.text);
            if (i < 2) assert_true(fabsf(got - want[i]) < 1e-6F);
            else assert_true(isnan(got));
        }
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(yardstick), cmocka_unit_test(by_hand),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("norm ratio", tests, NULL, NULL);
}
