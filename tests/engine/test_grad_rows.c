/* test_grad_rows.c - gradients of what works on rows: softmax, unit rows, cross entropy, gathering by index (with repeated
 * indices and with ones outside of the table), and of upsampling and max-pooling. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ts_tensor *build_softmax(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    return ts_softmax(g, ts_scale(g, case_real(c, g, 3, shape), 3, 0));
}

static void softmax(void **state)
{
    (void)state;
    const int64_t shapes[][3] = {{1, 1, 1}, {2, 5, 7}, {3, 2, 1024}, {40, 3, 33}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_grad("softmax", build_softmax, shapes[i], i, 1e-5);
}

static ts_tensor *build_unit(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *x = ts_scale(g, case_real(c, g, 3, shape), 3, 0.5F);
    return ts_unit(g, ts_concat(g, ts_fill(g, 2, (int64_t[]){1, shape[2]}, 0), x));
}

static void unit(void **state)
{
    (void)state;
    const int64_t shapes[][3] = {{2, 5, 7}, {3, 2, 1024}, {40, 3, 33}, {1, 1, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_grad("unit", build_unit, shapes[i], i, 1e-5);
}

typedef struct {
    int64_t rows, width;
    int32_t low, high; /* of the targets */
    float spread;
} entropy_case;

static ts_tensor *build_entropy(op_case *c, ts_graph *g)
{
    const entropy_case *a = case_args(c);
    ts_tensor *x = case_real(c, g, 3, (int64_t[]){a->rows, 2, a->width});
    return ts_cross_entropy(g, ts_scale(g, x, a->spread, 0), case_int(c, g, 2, (int64_t[]){a->rows, 2}, a->low, a->high));
}

static void cross_entropy(void **state)
{
    (void)state;
    const entropy_case cases[] = {{1, 1, 0, 1, 1},        {3, 7, 0, 7, 1},      {49, 64, -40, 64, 3},
                                  {5, 1024, 0, 1024, 30}, {700, 33, -5, 40, 2}, {4, 9, -3, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "cross_entropy, case %zu", i);
        check_op(label, build_entropy, &cases[i], i, 1e-5);
        check_grad(label, build_entropy, &cases[i], i, 1e-5);
    }
}

/* Two rows by hand, one of them with logits whose exponential overflows. */
static void cross_entropy_by_hand(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){3, 2}), *t = ts_input(g, "t", TS_I32, 1, (int64_t[]){3}), *grad;
        ts_tensor *loss = ts_output(g, ts_cross_entropy(g, x, t));
        assert_true(ts_grad(g, loss, 1, &x, &grad));
        ts_output(g, grad);
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float in[] = {logf(3), 0, 9, 9, 900, 1000};
        const int32_t target[] = {0, -1, 0};
        const double want[] = {-0.125, 0.125, 0, 0, -0.5, 0.5};
        float got[6], value;
        assert_true(ts_write(e, x, in, &err) && ts_write(e, t, target, &err) && ts_run(e, &err));
        assert_true(ts_read(e, loss, &value, &err) && ts_read(e, grad, got, &err));
        assert_true(fabs((double)value - (log(4.0 / 3) + 100) / 2) < 1e-5);
        for (int i = 0; i < 6; i++) assert_true(fabs((double)got[i] - want[i]) < 1e-6);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

typedef struct {
    int64_t batch, rows, width, tokens;
    bool shared;
    int fill; /* dimensions of the fill; 0: none */
} gather_case;

static ts_tensor *build_gather(op_case *c, ts_graph *g)
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
        {1, 1, 1, 1, false, 0},  {2, 5, 7, 11, false, 1},   {2, 5, 8, 11, false, 3},   {3, 6, 64, 197, true, 1},
        {1, 9, 513, 4, true, 0}, {4, 50, 12, 49, false, 0}, {2, 300, 16, 40, true, 0}, {8, 2, 33, 70, false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "gather, case %zu", i);
        check_grad(label, build_gather, &cases[i], i, 1e-5);
    }
}

static ts_tensor *build_upsample(op_case *c, ts_graph *g)
{
    return ts_upsample2x(g, case_real(c, g, 4, case_args(c)));
}

static void upsample(void **state)
{
    (void)state;
    const int64_t shapes[][4] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {2, 4, 3, 8}, {1, 16, 16, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_grad("upsample2x", build_upsample, shapes[i], i, 1e-5);
}

static ts_tensor *build_maxpool(op_case *c, ts_graph *g)
{
    return ts_maxpool2x(g, case_real(c, g, 4, case_args(c)));
}

static void maxpool(void **state)
{
    (void)state;
    const int64_t shapes[][4] = {{1, 2, 2, 1}, {2, 3, 5, 7}, {2, 4, 3, 8}, {3, 7, 9, 12}, {1, 16, 16, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_grad("maxpool2x", build_maxpool, shapes[i], i, 1e-5);
}

/* The same graph twice, on devices with other numbers of threads: the same bits. */
static void same_bits(void **state)
{
    (void)state;
    ts_error err = {0};
    enum { ROWS = 1500, WIDTH = 36 };
    static float in[ROWS * WIDTH], first[ROWS * WIDTH], got[ROWS * WIDTH];
    static int32_t target[ROWS];
    uint64_t seed = 3;
    for (int i = 0; i < ROWS * WIDTH; i++) in[i] = (float)test_normal(&seed);
    for (int i = 0; i < ROWS; i++) target[i] = (int32_t)(test_uniform(&seed) * WIDTH);
    ts_device *devices[] = {ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err),
                            ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 3}, &err), test_vulkan(TS_F32),
                            test_vulkan(TS_F32)};
    for (int k = 0; k < 4; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){ROWS, WIDTH}),
                  *t = ts_input(g, "t", TS_I32, 1, (int64_t[]){ROWS});
        ts_tensor *bias = ts_input(g, "b", TS_REAL, 1, (int64_t[]){WIDTH}), *grad[2];
        ts_tensor *loss = ts_output(g, ts_cross_entropy(g, ts_add(g, x, bias), t));
        assert_true(ts_grad(g, ts_add(g, loss, ts_mean(g, ts_square(g, x))), 2, (ts_tensor *[]){x, bias}, grad));
        ts_output(g, grad[0]);
        ts_output(g, grad[1]);
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        assert_true(ts_write(e, x, in, &err) && ts_write(e, bias, in, &err) && ts_write(e, t, target, &err) && ts_run(e, &err));
        assert_true(ts_read(e, grad[0], got, &err) && ts_read(e, grad[1], got, &err) && ts_read(e, loss, got + WIDTH, &err));
        if (k % 2 == 0) memcpy(first, got, sizeof got);
        else assert_memory_equal(first, got, sizeof got);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(devices[0]);
    ts_device_free(devices[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(softmax),
                                       cmocka_unit_test(unit),
                                       cmocka_unit_test(cross_entropy),
                                       cmocka_unit_test(cross_entropy_by_hand),
                                       cmocka_unit_test(gather),
                                       cmocka_unit_test(upsample),
                                       cmocka_unit_test(maxpool),
                                       cmocka_unit_test(same_bits),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("gradients, rows", tests, NULL, NULL);
}
