/* test_maxpool.c - max-pooling against the yardstick, and the yardstick and its gradient against numbers by hand: equal pixels,
 * odd sides, on every backend. */
#include "../support/support.h"

#include <stdio.h>
#include <string.h>

static ts_tensor *build(op_case *c, ts_graph *g)
{
    return ts_maxpool2x(g, case_real(c, g, 4, case_args(c)));
}

static void maxpool(void **state)
{
    (void)state;
    const int64_t shapes[][4] = {{1, 2, 2, 1}, {2, 3, 5, 7}, {1, 4, 3, 64}, {3, 9, 2, 12}, {1, 2, 65, 6}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char label[64];
        snprintf(label, sizeof label, "maxpool2x, case %zu", i);
        check_op(label, build, shapes[i], i, 1e-9);
    }
}

/* `channels` copies of one 3 x 5 picture, so that units of one and of four are tried. */
static void check_by_hand(ts_device *dev, int64_t channels)
{
    enum { MOST = 4 };
    static const float picture[15] = {1, 1, 2, 5, 9, /**/ 1, 1, 7, -3, 9, /**/ 9, 9, 9, 9, 9};
    static const float want[2] = {1, 7}, slope[15] = {3, 0, 0, 0, 0, /**/ 0, 0, 3, 0, 0, /**/ 0, 0, 0, 0, 0};
    ts_error err = {0};
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 3, 5, channels}), *dx = NULL;
    ts_tensor *y = ts_output(g, ts_maxpool2x(g, x));
    assert_true(ts_grad(g, ts_scale(g, ts_sum(g, y), 3, 0), 1, &x, &dx));
    ts_output(g, dx);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    float from[15 * MOST], got[2 * MOST], grad[15 * MOST];
    for (int64_t i = 0; i < 15 * channels; i++) from[i] = picture[i / channels];
    memset(grad, 1, sizeof grad);
    assert_true(ts_write(e, x, from, &err) && ts_run(e, &err) && ts_read(e, y, got, &err) && ts_read(e, dx, grad, &err));
    for (int64_t i = 0; i < 2 * channels; i++) assert_true(got[i] == want[i / channels]);
    for (int64_t i = 0; i < 15 * channels; i++) assert_true(grad[i] == slope[i / channels]);
    ts_exec_free(e);
    ts_graph_free(g);
}

static void by_hand(void **state)
{
    (void)state;
    ts_error err = {0};
    const ts_precision precisions[] = {TS_F32, TS_F64};
    for (int i = 0; i < 2; i++) {
        ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = precisions[i]}, &err);
        for (int64_t channels = 1; channels <= 4; channels++) check_by_hand(dev, channels);
        ts_device_free(dev);
    }
    ts_device *dev = test_vulkan(TS_F32);
    for (int64_t channels = 1; dev && channels <= 4; channels++) check_by_hand(dev, channels);
}

static void refused(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    assert_null(ts_maxpool2x(g, ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 1, 8, 3})));
    assert_non_null(strstr(ts_graph_error(g)->text, "(1, 1, 8, 3), wanted (N, H, W, C)"));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(maxpool), cmocka_unit_test(by_hand), cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("maxpool", tests, NULL, NULL);
}
