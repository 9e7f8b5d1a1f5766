/* test_upsample.c - upsampling against the yardstick, and the yardstick against the picture drawn by hand. */
#include "../support/support.h"

#include <stdio.h>

static ts_tensor *build(op_case *c, ts_graph *g)
{
    return ts_upsample2x(g, case_real(c, g, 4, case_args(c)));
}

static void upsample(void **state)
{
    (void)state;
    const int64_t shapes[][4] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {1, 4, 3, 64}, {3, 9, 2, 12}, {1, 1, 65, 6}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char label[64];
        snprintf(label, sizeof label, "upsample2x, case %zu", i);
        check_op(label, build, shapes[i], i, 1e-9);
    }
}

static void by_hand(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 2, 2, 1}), *y = ts_output(g, ts_upsample2x(g, x));
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    const float from[] = {1, 2, 3, 4}, want[] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4};
    float got[16];
    assert_true(ts_write(e, x, from, &err) && ts_run(e, &err) && ts_read(e, y, got, &err));
    assert_memory_equal(got, want, sizeof want);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(upsample), cmocka_unit_test(by_hand),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("upsample", tests, NULL, NULL);
}
