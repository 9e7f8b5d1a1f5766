/* test_depthwise.c - convolution of each channel by itself against the yardstick and by differences: kernels, strides, paddings
 * of each side alone, odd sizes, many channels, and what is folded into it; and the yardstick against the same as a whole
 * convolution, whose weights from other channels are zeros. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t images, height, width, channels, kernel_h, kernel_w;
    ts_conv_desc desc;
    bool bias;
    char act; /* g: gelu, q: quick gelu, s: swish */
    bool residual;
} depthwise_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const depthwise_case *v = case_args(c);
    ts_tensor *x = case_real(c, g, 4, (int64_t[]){v->images, v->height, v->width, v->channels});
    ts_tensor *w = case_real(c, g, 3, (int64_t[]){v->kernel_h, v->kernel_w, v->channels});
    ts_tensor *b = v->bias ? case_real(c, g, 1, &v->channels) : NULL;
    ts_tensor *y = ts_depthwise(g, x, w, b, &v->desc);
    if (y && v->act == 'g') y = ts_gelu(g, y);
    if (y && v->act == 'q') y = ts_quick_gelu(g, y);
    if (y && v->act == 's') y = ts_swish(g, y);
    if (y && v->residual) y = ts_add(g, case_real(c, g, 4, y->shape), y);
    return y;
}

static const ts_conv_desc same = {1, 1, 1, 1, 1}, halved = {2, 1, 1, 1, 1};

static const depthwise_case cases[] = {
    {1, 1, 1, 1, 1, 1, {0}, true, 0, false},
    {1, 5, 7, 3, 3, 3, same, true, 0, false},
    {2, 9, 6, 68, 3, 3, same, true, 0, false},
    {2, 9, 6, 17, 3, 3, halved, true, 0, false},
    {1, 8, 12, 8, 3, 3, halved, false, 0, false},
    {1, 14, 3, 130, 3, 3, same, false, 0, false},
    {2, 8, 8, 16, 1, 1, {0}, true, 0, false},
    {1, 7, 9, 5, 2, 3, {.stride = 2, .bottom = 1, .right = 1}, true, 0, false},
    {1, 6, 5, 4, 2, 5, {.stride = 1, .top = 2, .left = 1, .bottom = 0, .right = 3}, true, 0, false},
    {1, 11, 13, 8, 5, 3, {.stride = 3, .top = 0, .left = 4, .bottom = 1, .right = 0}, false, 0, false},
    {3, 20, 21, 12, 7, 7, {.stride = 1, .top = 3, .left = 3, .bottom = 3, .right = 3}, true, 0, false},
};
enum { CASES = sizeof cases / sizeof *cases };

static void shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        char label[64];
        snprintf(label, sizeof label, "depthwise %d", (int)i);
        check_op(label, build, &cases[i], i, 1e-5);
        check_grad(label, build, &cases[i], i, 1e-5);
    }
}

static void folded(void **state)
{
    (void)state;
    const char acts[] = {0, 'g', 'q', 's'};
    for (int i = 0; i < 16; i++) {
        const depthwise_case v = {2, 6, 7, i & 1 ? 66 : 9, 3, 3, same, true, acts[i >> 2], i & 2};
        char label[64];
        snprintf(label, sizeof label, "depthwise of %d, act %d residual %d", (int)v.channels, i >> 2, v.residual);
        check_op(label, build, &v, (uint64_t)i, 1e-5);
    }
}

/* (kh, kw, C) -> (C, C, kh, kw), zeros between different channels */
static float *spread(const float *w, int64_t channels, int64_t taps)
{
    float *out = calloc((size_t)(channels * channels * taps), sizeof *out);
    assert_non_null(out);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t k = 0; k < taps; k++) out[(c * channels + c) * taps + k] = w[k * channels + c];
    return out;
}

static float *numbers(int64_t count, uint64_t *seed)
{
    float *out = malloc((size_t)count * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++) out[i] = (float)test_normal(seed);
    return out;
}

static void as_a_whole_convolution(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    for (size_t i = 0; i < CASES; i++) {
        const depthwise_case *v = &cases[i];
        const int64_t taps = v->kernel_h * v->kernel_w;
        uint64_t seed = i;
        float *images = numbers(v->images * v->height * v->width * v->channels, &seed);
        float *weights = numbers(taps * v->channels, &seed), *whole = spread(weights, v->channels, taps);
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){v->images, v->height, v->width, v->channels});
        ts_tensor *w = ts_input(g, "w", TS_REAL, 3, (int64_t[]){v->kernel_h, v->kernel_w, v->channels});
        ts_tensor *all =
            ts_input_weight(g, "all", TS_LAYOUT_CONV, 4, (int64_t[]){v->channels, v->channels, v->kernel_h, v->kernel_w});
        ts_tensor *y = ts_depthwise(g, x, w, NULL, &v->desc), *want = ts_conv2d(g, x, all, NULL, &v->desc);
        ts_tensor *apart = ts_output(g, ts_sub(g, y, want));
        ts_exec *e = ts_exec_new(g, dev, &err);
        if (!e) fail_msg("case %d: %s", (int)i, err.text);
        double *difference = malloc((size_t)ts_count(apart) * sizeof *difference);
        assert_non_null(difference);
        assert_true(ts_write(e, x, images, &err) && ts_write(e, w, weights, &err) && ts_write(e, all, whole, &err) &&
                    ts_run(e, &err) && ts_read_f64(e, apart, difference, &err));
        for (int64_t k = 0; k < ts_count(apart); k++) assert_true(fabs(difference[k]) < 1e-12);
        free(difference);
        free(images);
        free(weights);
        free(whole);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(dev);
}

static void wrong_shapes(void **state)
{
    (void)state;
    const struct {
        int64_t channels, kernel, bias;
        ts_conv_desc desc;
        const char *word;
    } wrong[] = {{5, 3, 4, {0}, "(3, 3, 5)"},
                 {4, 3, 5, {0}, "bias (C)"},
                 {4, 9, 4, {.top = 1}, "smaller than the kernel"},
                 {4, 3, 4, {.left = -1}, "negative"},
                 {4, 3, 4, {.stride = -2}, "stride is -2"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 6, 6, 4});
        ts_tensor *w = ts_input(g, "w", TS_REAL, 3, (int64_t[]){wrong[i].kernel, wrong[i].kernel, wrong[i].channels});
        ts_tensor *b = ts_input(g, "b", TS_REAL, 1, &wrong[i].bias);
        assert_null(ts_depthwise(g, x, w, b, &wrong[i].desc));
        if (!strstr(ts_graph_error(g)->text, wrong[i].word)) fail_msg("case %d: %s", (int)i, ts_graph_error(g)->text);
        ts_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(folded),
                                       cmocka_unit_test(as_a_whole_convolution), cmocka_unit_test(wrong_shapes),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("depthwise", tests, NULL, NULL);
}
