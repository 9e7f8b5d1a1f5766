/* test_conv2d.c - convolution against the yardstick: kernels, strides, paddings of each side alone, odd sizes, and what is folded
 * into it. */
#include "../support/support.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int64_t images, height, width, in, out, kernel_h, kernel_w;
    ts_conv_desc desc;
    bool bias;
    char act; /* g: gelu, q: quick gelu, s: swish */
    bool residual;
} conv_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const conv_case *v = case_args(c);
    ts_tensor *x = case_real(c, g, 4, (int64_t[]){v->images, v->height, v->width, v->in});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_CONV, 4, (int64_t[]){v->out, v->in, v->kernel_h, v->kernel_w});
    ts_tensor *b = v->bias ? case_real(c, g, 1, &v->out) : NULL;
    ts_tensor *y = ts_conv2d(g, x, w, b, &v->desc);
    if (y && v->act == 'g') y = ts_gelu(g, y);
    if (y && v->act == 'q') y = ts_quick_gelu(g, y);
    if (y && v->act == 's') y = ts_swish(g, y);
    if (y && v->residual) y = ts_add(g, case_real(c, g, 4, y->shape), y);
    return y;
}

static const ts_conv_desc same = {1, 1, 1, 1, 1};

static void shapes(void **state)
{
    (void)state;
    const conv_case cases[] = {
        {1, 1, 1, 1, 1, 1, 1, {0}, true, 0, false},
        {1, 5, 7, 3, 4, 3, 3, same, true, 0, false},
        {2, 9, 6, 17, 33, 3, 3, same, true, 0, false},
        {1, 14, 14, 32, 64, 3, 3, same, false, 0, false},
        {2, 8, 8, 16, 24, 1, 1, {0}, true, 0, false},
        {1, 9, 9, 16, 8, 1, 1, {.stride = 2}, true, 0, false},
        {1, 8, 10, 16, 16, 3, 3, {.stride = 2, .bottom = 1, .right = 1}, true, 0, false}, /* the VQGAN's downsampling */
        {1, 7, 9, 5, 6, 3, 3, {.stride = 2, .bottom = 1, .right = 1}, true, 0, false},
        {2, 32, 48, 3, 20, 16, 16, {.stride = 16}, true, 0, false}, /* patches */
        {1, 6, 5, 4, 3, 2, 5, {.stride = 1, .top = 2, .left = 1, .bottom = 0, .right = 3}, true, 0, false},
        {1, 11, 13, 8, 1, 5, 3, {.stride = 3, .top = 0, .left = 4, .bottom = 1, .right = 0}, false, 0, false},
        {1, 20, 20, 16, 3, 3, 3, same, true, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "conv2d %d", (int)i);
        check_op(label, build, &cases[i], i, 1e-5);
    }
}

static void folded(void **state)
{
    (void)state;
    const char acts[] = {0, 'g', 'q', 's'};
    for (int i = 0; i < 16; i++) {
        const int64_t kernel = i & 1 ? 3 : 1;
        const conv_case v = {2, 6, 7, 16, 19, kernel, kernel, kernel == 3 ? same : (ts_conv_desc){0}, true, acts[i >> 2], i & 2};
        char label[64];
        snprintf(label, sizeof label, "conv2d %dx%d, act %d residual %d", (int)kernel, (int)kernel, i >> 2, v.residual);
        check_op(label, build, &v, (uint64_t)i, 1e-5);
    }
}

static void wrong_shapes(void **state)
{
    (void)state;
    const struct {
        int64_t in, kernel;
        ts_conv_desc desc;
        const char *word;
    } cases[] = {{5, 3, {0}, "do not fit"}, {4, 9, {.top = 1}, "smaller than the kernel"}, {4, 3, {.left = -1}, "negative"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 6, 6, 4});
        ts_tensor *w = ts_input_weight(g, "w", TS_LAYOUT_CONV, 4, (int64_t[]){2, cases[i].in, cases[i].kernel, cases[i].kernel});
        assert_null(ts_conv2d(g, x, w, NULL, &cases[i].desc));
        assert_non_null(ts_graph_error(g));
        assert_non_null(strstr(ts_graph_error(g)->text, cases[i].word));
        ts_graph_free(g);
    }
}

/* The answer with the weights of a file, which the host packs once and then lets go of, by two plans that share them; and with
 * the same weights as an input. */
static void weights_of_a_file(void **state)
{
    (void)state;
    enum { SIDE = 6, IN = 8, OUT = 12, PLACES = SIDE * SIDE };
    const int64_t shape[] = {OUT, IN, 3, 3}, images[] = {1, SIDE, SIDE, IN};
    float x[PLACES * IN], w[OUT * IN * 9], out[3][PLACES * OUT];
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)test_normal(&seed);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = (float)test_normal(&seed);
    char path[256];
    snprintf(path, sizeof path, "%s/conv.safetensors", temp_dir());
    ts_error err = {0};
    ts_weights_writer *writer = ts_weights_writer_new();
    assert_true(ts_weights_writer_add(writer, "w", TS_DT_F32, 4, shape, w, &err));
    assert_true(ts_weights_writer_save(writer, path, &err));
    ts_weights_writer_free(writer);
    ts_weights *weights = ts_weights_open(path, &err);
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_params *params = ts_params_new(dev, weights, "", &err);
    assert_non_null(params);
    for (int k = 0; k < 3; k++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *image = ts_input(g, "x", TS_REAL, 4, images);
        ts_tensor *weight =
            k < 2 ? ts_param(g, params, "w", TS_LAYOUT_CONV, 4, shape) : ts_input_weight(g, "w", TS_LAYOUT_CONV, 4, shape);
        ts_tensor *y = ts_output(g, ts_conv2d(g, image, weight, NULL, &same));
        ts_exec *e = ts_exec_new(g, dev, &err);
        if (!e) fail_msg("%s", err.text);
        assert_true(ts_write(e, image, x, &err) && (k < 2 || ts_write(e, weight, w, &err)));
        assert_true(ts_run(e, &err) && ts_read(e, y, out[k], &err));
        ts_exec_free(e);
        ts_graph_free(g);
    }
    assert_memory_equal(out[0], out[2], sizeof out[0]);
    assert_memory_equal(out[1], out[2], sizeof out[0]);
    ts_params_free(params);
    ts_device_free(dev);
    ts_weights_free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(folded), cmocka_unit_test(wrong_shapes),
                                       cmocka_unit_test(weights_of_a_file), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("conv2d", tests, NULL, NULL);
}
