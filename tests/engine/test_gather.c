/* test_gather.c - rows by index against the yardstick: a table of each batch entry and a shared one, with a fill and without,
 * over indices that leave the table on both sides; and the values themselves once by hand. */
#include "../support/support.h"

#include <stdio.h>

typedef struct {
    int64_t batch, rows, width, tokens;
    bool shared;
    int fill; /* dimensions of the fill; 0: none */
} gather_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const gather_case *a = case_args(c);
    const int64_t table[] = {a->batch, a->rows, a->width}, fill[] = {1, 1, a->width};
    ts_tensor *x = a->shared ? case_real(c, g, 2, table + 1) : case_real(c, g, 3, table);
    ts_tensor *index = case_int(c, g, 2, (int64_t[]){a->batch, a->tokens}, -2, (int32_t)a->rows + 2);
    return ts_gather(g, x, index, a->fill ? case_real(c, g, a->fill, fill + 3 - a->fill) : NULL);
}

static void gather(void **state)
{
    (void)state;
    const gather_case cases[] = {
        {1, 1, 1, 1, false, 0},   {2, 5, 7, 11, false, 1}, {2, 5, 8, 11, false, 3},
        {3, 6, 64, 197, true, 1}, {1, 9, 513, 4, true, 0}, {4, 50, 12, 49, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "gather, case %zu", i);
        check_op(label, build, &cases[i], i, 1e-9);
    }
}

static void by_hand(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32), test_vulkan(TS_F16)};
    const float x[] = {10, 11, 20, 21, 30, 31, 40, 41}, fill[] = {-1, -2};
    const int32_t index[] = {1, 0, -1, 0, 2, 1};
    const float want[] = {20, 21, 10, 11, -1, -2, 30, 31, -1, -2, 40, 41};
    for (int k = 0; k < 3; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *tx = ts_input(g, "x", TS_REAL, 3, (int64_t[]){2, 2, 2}), *tf = ts_input(g, "fill", TS_REAL, 1, (int64_t[]){2});
        ts_tensor *ti = ts_input(g, "index", TS_I32, 2, (int64_t[]){2, 3}), *y = ts_output(g, ts_gather(g, tx, ti, tf));
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        float got[12];
        assert_true(ts_write(e, tx, x, &err) && ts_write(e, tf, fill, &err) && ts_write(e, ti, index, &err));
        assert_true(ts_run(e, &err) && ts_read(e, y, got, &err));
        assert_memory_equal(got, want, sizeof want);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gather), cmocka_unit_test(by_hand),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
