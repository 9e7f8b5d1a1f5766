/* test_params.c - parameters from a safetensors file of our own writing: used where they lie, converted, laid out for the device,
 * and, where the file does not fit the model, listed by name. */
#include "../support/support.h"
#include "engine/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ts_device *host;

/* enc.a (2, 3) F32, enc.half (5) F16, enc.double (4) F64, enc.linear (3, 2) F32, enc.conv (2, 3, 2, 1) F32. Element i of each is
 * i + 0.5. */
static ts_weights *open_file(void)
{
    static char path[256];
    static const struct {
        const char *name;
        ts_dtype type;
        int ndim;
        int64_t shape[4];
    } list[] = {{"enc.a", TS_DT_F32, 2, {2, 3}},
                {"enc.half", TS_DT_F16, 1, {5}},
                {"enc.double", TS_DT_F64, 1, {4}},
                {"enc.linear", TS_DT_F32, 2, {3, 2}},
                {"enc.conv", TS_DT_F32, 4, {2, 3, 2, 1}}};
    float f32[12];
    double f64[12];
    uint16_t f16[12];
    for (int i = 0; i < 12; i++) f64[i] = i + 0.5, f32[i] = (float)f64[i], f16[i] = ts_f32_to_f16(f32[i]);
    ts_error err = {0};
    ts_weights_writer *out = ts_weights_writer_new();
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        const void *data = list[k].type == TS_DT_F32 ? (void *)f32 : list[k].type == TS_DT_F16 ? (void *)f16 : (void *)f64;
        assert_true(ts_weights_writer_add(out, list[k].name, list[k].type, list[k].ndim, list[k].shape, data, &err));
    }
    snprintf(path, sizeof path, "%s/params.safetensors", temp_dir());
    if (!ts_weights_writer_save(out, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static ts_params *params_of(ts_device *dev, const ts_weights *w)
{
    ts_error err = {0};
    ts_params *ps = ts_params_new(dev, w, "enc.", &err);
    if (!ps) fail_msg("%s", err.text);
    return ps;
}

static ts_tensor *plain(ts_graph *g, ts_params *ps, const char *name, int64_t a, int64_t b)
{
    return ts_param(g, ps, name, TS_LAYOUT_PLAIN, b ? 2 : 1, (int64_t[]){a, b});
}

/* Reads what a graph makes of parameter `name`: itself plus zero. */
static void check_values(ts_device *dev, const ts_weights *w, const char *name, int64_t count)
{
    ts_error err = {0};
    ts_params *ps = params_of(dev, w);
    ts_graph *g = ts_graph_new();
    ts_tensor *y = ts_output(g, ts_scale(g, plain(g, ps, name, count, 0), 1, 0));
    if (!ts_params_check(ps, &err)) fail_msg("%s", err.text);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    double got[8] = {0};
    assert_true(ts_run(e, &err) && ts_read_f64(e, y, got, &err));
    for (int i = 0; i < count; i++)
        if (got[i] != i + 0.5) fail_msg("%s[%d] is %g", name, i, got[i]);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_params_free(ps);
}

static void every_type(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_file();
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *devices[] = {host, yardstick, test_vulkan(TS_F32), test_vulkan(TS_F16)};
    for (int k = 0; k < 4; k++) {
        if (!devices[k]) continue;
        check_values(devices[k], w, "half", 5);
        check_values(devices[k], w, "double", 4);
    }
    ts_device_free(yardstick);
    ts_weights_free(w);
}

/* On the host a plain fp32 tensor is used in the mapped file, and only what must be converted is copied. */
static void zero_copy(void **state)
{
    (void)state;
    ts_weights *w = open_file();
    ts_params *ps = params_of(host, w);
    ts_graph *g = ts_graph_new();
    const ts_tensor *a = plain(g, ps, "a", 2, 3), *half = plain(g, ps, "half", 5, 0);
    assert_ptr_equal(a->state->param->host, ts_weights_find(w, "enc.a")->data);
    assert_false(a->state->param->owned);
    assert_true(half->state->param->owned);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_weights_free(w);
}

/* Two graphs share one ts_params: the tensor is loaded once. In memory it counts as the elements that it has. */
static void shared_by_graphs(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_file();
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_params *ps = params_of(devices[k], w);
        for (int round = 0; round < 2; round++) {
            ts_graph *g = ts_graph_new();
            ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){2, 3});
            ts_tensor *y = ts_output(g, ts_add(g, x, plain(g, ps, "a", 2, 3)));
            ts_exec *e = ts_exec_new(g, devices[k], &err);
            if (!e) fail_msg("%s", err.text);
            const float from[6] = {10, 20, 30, 40, 50, 60};
            float got[6] = {0};
            assert_true(ts_write(e, x, from, &err) && ts_run(e, &err) && ts_read(e, y, got, &err));
            for (int i = 0; i < 6; i++) assert_true(got[i] == from[i] + (float)i + 0.5F);
            assert_int_equal(ts_params_bytes(ps), 6 * sizeof(float));
            ts_exec_free(e);
            ts_graph_free(g);
        }
        ts_params_free(ps);
    }
    ts_weights_free(w);
}

/* The device may keep these transposed; the products do not show it. */
static void layouts(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_file();
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_params *ps = params_of(devices[k], w);
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){1, 2}),
                  *image = ts_input(g, "i", TS_REAL, 4, (int64_t[]){1, 2, 1, 3});
        ts_tensor *y = ts_linear(g, x, ts_param(g, ps, "linear", TS_LAYOUT_LINEAR, 2, (int64_t[]){3, 2}), NULL);
        ts_tensor *kernel = ts_param(g, ps, "conv", TS_LAYOUT_CONV, 4, (int64_t[]){2, 3, 2, 1});
        ts_tensor *z = ts_conv2d(g, image, kernel, NULL, &(ts_conv_desc){.stride = 1});
        ts_output(g, y);
        ts_output(g, z);
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float xs[] = {1, 100}, pixels[] = {1, 0, 0, 0, 0, 100}; /* channel 0 of the first row, channel 2 of the second */
        float ys[3] = {0}, zs[2] = {0};
        assert_true(ts_write(e, x, xs, &err) && ts_write(e, image, pixels, &err) && ts_run(e, &err));
        assert_true(ts_read(e, y, ys, &err) && ts_read(e, z, zs, &err));
        for (int i = 0; i < 3; i++) assert_true(ys[i] == (2 * (float)i + 0.5F) + 100 * (2 * (float)i + 1.5F));
        for (int o = 0; o < 2; o++) assert_true(zs[o] == (6 * (float)o + 0.5F) + 100 * (6 * (float)o + 5.5F));
        ts_exec_free(e);
        ts_graph_free(g);
        ts_params_free(ps);
    }
    ts_weights_free(w);
}

/* Element i of what the file lacks is i + 0.5 too. */
static bool make_halves(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    for (int64_t i = 0; i < count; i++) out[i] = (float)i + 0.5F;
    ++*(int *)ctx;
    return strcmp(name, "impossible") != 0;
}

/* What is made of another layout is frozen as what lies in the file is, and made once. */
static void converted(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_file();
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        int calls = 0;
        ts_params *ps = ts_params_new_converted(devices[k], w, "enc.", make_halves, &calls, &err);
        if (!ps) fail_msg("%s", err.text);
        for (int round = 0; round < 2; round++) {
            ts_graph *g = ts_graph_new();
            ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){1, 2});
            ts_tensor *of_file = ts_linear(g, x, ts_param(g, ps, "linear", TS_LAYOUT_LINEAR, 2, (int64_t[]){3, 2}), NULL);
            ts_tensor *made = ts_linear(g, x, ts_param(g, ps, "made", TS_LAYOUT_LINEAR, 2, (int64_t[]){3, 2}), NULL);
            ts_tensor *difference = ts_output(g, ts_sub(g, made, of_file));
            ts_output(g, made);
            if (!ts_params_check(ps, &err)) fail_msg("%s", err.text);
            ts_exec *e = ts_exec_new(g, devices[k], &err);
            if (!e) fail_msg("%s", err.text);
            float got[3] = {0}, gap[3] = {0};
            assert_true(ts_write(e, x, (float[]){1, 100}, &err) && ts_run(e, &err));
            assert_true(ts_read(e, made, got, &err) && ts_read(e, difference, gap, &err));
            for (int i = 0; i < 3; i++) assert_true(gap[i] == 0 && got[i] == (2 * (float)i + 0.5F) + 100 * (2 * (float)i + 1.5F));
            ts_exec_free(e);
            ts_graph_free(g);
        }
        assert_int_equal(calls, 1);
        assert_false(ts_params_write(ps, 0, (float[6]){0}, NULL));
        ts_graph *g = ts_graph_new();
        assert_null(plain(g, ps, "impossible", 3, 0));
        assert_non_null(strstr(ts_graph_error(g)->text, "impossible"));
        ts_graph_free(g);
        ts_params_free(ps);
    }
    ts_weights_free(w);
}

static void all_that_is_wrong_is_listed(void **state)
{
    (void)state;
    ts_weights *w = open_file();
    ts_params *ps = params_of(host, w);
    ts_graph *g = ts_graph_new();
    ts_tensor *t = plain(g, ps, "absent.one", 3, 0);
    assert_non_null(t);
    assert_non_null(plain(g, ps, "absent.two", 3, 0));
    assert_non_null(plain(g, ps, "a", 3, 2));
    assert_null(ts_graph_error(g)); /* the description goes on */
    ts_error err = {0};
    assert_false(ts_params_check(ps, &err));
    const char *words[] = {"params.safetensors", "2 tensors", "enc.absent.one", "enc.absent.two",
                           "enc.a is (2, 3), wanted (3, 2)"};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (!strstr(err.text, words[k])) fail_msg("\"%s\" does not say \"%s\"", err.text, words[k]);
    /* And a graph that would read such a tensor is not planned. */
    ts_output(g, ts_gelu(g, t));
    err = (ts_error){0};
    assert_null(ts_exec_new(g, host, &err));
    if (!strstr(err.text, "absent.one")) fail_msg("\"%s\" does not name the tensor", err.text);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_weights_free(w);
}

static void one_shape_for_one_name(void **state)
{
    (void)state;
    ts_weights *w = open_file();
    ts_params *ps = params_of(host, w);
    ts_graph *g = ts_graph_new();
    assert_non_null(plain(g, ps, "a", 2, 3));
    assert_null(ts_param(g, ps, "a", TS_LAYOUT_LINEAR, 2, (int64_t[]){2, 3}));
    assert_int_equal(ts_graph_error(g)->code, TS_ERR_ARGUMENT);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_weights_free(w);
}

static int open_host(void **state)
{
    (void)state;
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    return host ? 0 : -1;
}

static int free_host(void **state)
{
    (void)state;
    ts_device_free(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_type),
                                       cmocka_unit_test(zero_copy),
                                       cmocka_unit_test(shared_by_graphs),
                                       cmocka_unit_test(layouts),
                                       cmocka_unit_test(converted),
                                       cmocka_unit_test(all_that_is_wrong_is_listed),
                                       cmocka_unit_test(one_shape_for_one_name),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("params", tests, open_host, free_host);
}
