/* test_maps.c - maps cut into windows and pasted, their places shuffled, repeated and resampled, and products with a weight an
 * item: against the yardstick and by differences, and the yardstick against values drawn by hand or printed by PyTorch. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Runs a graph of one input in double precision. */
static void run_f64(ts_graph *g, ts_tensor *x, const double *from, ts_tensor *y, double *got)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_output(g, y);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    assert_true(ts_write_f64(e, x, from, &err) && ts_run(e, &err) && ts_read_f64(e, y, got, &err));
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

typedef struct {
    int64_t shape[4];
    int64_t a, b; /* window; factor; the new size */
    bool cubic;
} map_case;

static ts_tensor *cut(op_case *c, ts_graph *g)
{
    const map_case *m = case_args(c);
    return ts_window_cut(g, case_real(c, g, 4, m->shape), m->a);
}

/* Cut, changed, pasted, as attention in windows does. */
static ts_tensor *paste(op_case *c, ts_graph *g)
{
    const map_case *m = case_args(c);
    ts_tensor *x = ts_window_cut(g, case_real(c, g, 4, m->shape), m->a);
    return ts_window_paste(g, ts_square(g, x), m->shape[1], m->shape[2]);
}

static ts_tensor *shuffle(op_case *c, ts_graph *g)
{
    const map_case *m = case_args(c);
    return ts_pixel_shuffle(g, case_real(c, g, 4, m->shape), m->a);
}

static ts_tensor *swap(op_case *c, ts_graph *g)
{
    return ts_swap(g, case_real(c, g, 4, ((const map_case *)case_args(c))->shape));
}

static ts_tensor *repeat(op_case *c, ts_graph *g)
{
    const map_case *m = case_args(c);
    return ts_repeat(g, case_real(c, g, 3, m->shape), m->a);
}

static ts_tensor *resample(op_case *c, ts_graph *g)
{
    const map_case *m = case_args(c);
    return ts_resample(g, case_real(c, g, 4, m->shape), m->a, m->b, m->cubic);
}

static ts_tensor *each(op_case *c, ts_graph *g)
{
    const int64_t *s = ((const map_case *)case_args(c))->shape;
    ts_tensor *x = case_real(c, g, 3, (int64_t[]){s[0], s[1], s[3]});
    return ts_linear_each(g, x, case_real(c, g, 3, (int64_t[]){s[0], s[2], s[3]}));
}

static void check(const char *what, op_build build, const map_case *cases, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        char label[64];
        snprintf(label, sizeof label, "%s, case %zu", what, i);
        check_op(label, build, &cases[i], i, tolerance);
        check_grad(label, build, &cases[i], i, 10 * tolerance);
    }
}
#define CHECK(what, build, cases, tolerance) check(what, build, cases, sizeof(cases) / sizeof *(cases), tolerance)

static void windows(void **state)
{
    (void)state;
    const map_case cases[] = {{{1, 1, 1, 1}, 3, 0, false},
                              {{2, 8, 8, 12}, 5, 0, false},
                              {{1, 6, 4, 8}, 2, 0, false},
                              {{2, 7, 9, 5}, 4, 0, false},
                              {{1, 3, 10, 7}, 14, 0, false}};
    CHECK("window_cut", cut, cases, 1e-7);
    CHECK("window_paste", paste, cases, 1e-6);
}

static void shuffles(void **state)
{
    (void)state;
    const map_case shuffled[] = {{{1, 1, 1, 4}, 2, 0, false}, {{2, 3, 5, 12}, 2, 0, false}, {{1, 2, 3, 144}, 4, 0, false}};
    CHECK("pixel_shuffle", shuffle, shuffled, 1e-7);
    const map_case swapped[] = {
        {{1, 1, 1, 1}, 0, 0, false}, {{2, 3, 5, 7}, 0, 0, false}, {{3, 17, 6, 8}, 0, 0, false}, {{1, 65, 33, 1}, 0, 0, false}};
    CHECK("swap", swap, swapped, 1e-7);
    const map_case repeated[] = {{{2, 3, 5}, 1, 0, false}, {{2, 3, 5}, 4, 0, false}, {{1, 9, 8}, 3, 0, false}};
    CHECK("repeat", repeat, repeated, 1e-6);
}

static void resampled(void **state)
{
    (void)state;
    const map_case cases[] = {{{1, 1, 1, 1}, 3, 2, false},    {{2, 3, 5, 4}, 7, 4, false},  {{1, 8, 8, 3}, 3, 5, false},
                              {{1, 16, 16, 1}, 33, 64, true}, {{2, 5, 4, 8}, 3, 9, true},   {{1, 27, 1, 6}, 127, 1, false},
                              {{1, 12, 9, 5}, 1, 2, true},    {{1, 2, 2, 4}, 11, 11, true}, {{1, 6, 7, 2}, 6, 3, false}};
    CHECK("resample", resample, cases, 1e-5);
}

static void products(void **state)
{
    (void)state;
    const map_case cases[] = {{{1, 1, 1, 1}, 0, 0, false},
                              {{3, 7, 4, 32}, 0, 0, false},
                              {{2, 33, 5, 13}, 0, 0, false},
                              {{1, 2, 3, 700}, 0, 0, false},
                              {{2, 3, 2, 513}, 0, 0, false}};
    CHECK("linear_each", each, cases, 1e-5);
}

static void by_hand(void **state)
{
    (void)state;
    double got[64];
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 3, 3, 1});
    const double nine[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    run_f64(g, x, nine, ts_window_cut(g, x, 2), got);
    const double cut_by_hand[] = {1, 2, 4, 5, 3, 0, 6, 0, 7, 8, 0, 0, 9, 0, 0, 0};
    assert_memory_equal(got, cut_by_hand, sizeof cut_by_hand);

    g = ts_graph_new();
    x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 1, 2, 4});
    const double eight[] = {1, 2, 3, 4, 5, 6, 7, 8};
    run_f64(g, x, eight, ts_pixel_shuffle(g, x, 2), got);
    const double shuffled[] = {1, 2, 5, 6, 3, 4, 7, 8};
    assert_memory_equal(got, shuffled, sizeof shuffled);

    /* torch.nn.functional.interpolate(x, (3, 5), mode=..., align_corners=False) of 4 x 3 numbers i^2 / 7 */
    const double bilinear[15] = {0.214285714,  0.328571429,  0.500000000,  0.842857143,  1.071428571,
                                 3.214285714,  3.785714286,  4.642857143,  5.671428571,  6.357142857,
                                 10.500000000, 11.528571429, 13.071428571, 14.785714286, 15.928571429};
    const double bicubic[15] = {0.093464286,  0.176301587,  0.368551587,  0.715087302,  0.956781746,
                                2.595000000,  3.163000000,  4.160714286,  5.312714286,  6.039571429,
                                10.465583333, 11.518746032, 13.321924603, 15.279388889, 16.491408730};
    double twelve[12];
    for (int i = 0; i < 12; i++) twelve[i] = i * i / 7.0;
    for (int cubic = 0; cubic < 2; cubic++) {
        g = ts_graph_new();
        x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 4, 3, 1});
        run_f64(g, x, twelve, ts_resample(g, x, 3, 5, cubic), got);
        for (int i = 0; i < 15; i++) assert_true(fabs(got[i] - (cubic ? bicubic : bilinear)[i]) < 1e-6);
    }
}

static void refused(void **state)
{
    (void)state;
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){3, 2, 2, 6});
    assert_null(ts_window_paste(g, x, 4, 4)); /* four windows are wanted */
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    assert_null(ts_exec_new(g, dev, &err));
    assert_non_null(strstr(err.text, "(3, 2, 2, 6)"));
    ts_graph_free(g);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows),
                                       cmocka_unit_test(shuffles),
                                       cmocka_unit_test(resampled),
                                       cmocka_unit_test(products),
                                       cmocka_unit_test(by_hand),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
