/* test_grad_product.c - the gradients of linear layers and convolutions: against the yardstick and central differences, and as
 * adjoints of one another, <y, conv(x, w)> = <dx, x> = <dw, w>, at sizes where the fast kernels split their work. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    int64_t batch, rows, in, out;
    bool bias, kernel_1x1;
} linear_case;

static ts_tensor *build_linear(op_case *c, ts_graph *g)
{
    const linear_case *l = case_args(c);
    ts_tensor *x = case_real(c, g, 3, (int64_t[]){l->batch, l->rows, l->in});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_LINEAR, l->kernel_1x1 ? 4 : 2, (int64_t[]){l->out, l->in, 1, 1});
    return ts_linear(g, x, w, l->bias ? case_real(c, g, 1, &l->out) : NULL);
}

static void linear(void **state)
{
    (void)state;
    const linear_case cases[] = {
        {1, 1, 1, 1, false, false},     {1, 3, 5, 7, true, false},   {2, 17, 33, 65, true, false},  {1, 64, 64, 192, true, false},
        {3, 31, 97, 129, false, false}, {1, 40, 16, 17, true, true}, {1, 6, 100, 16, false, false}, {2, 70, 68, 36, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "linear %d: %d x %d x %d", (int)i, (int)cases[i].rows, (int)cases[i].in, (int)cases[i].out);
        check_grad(label, build_linear, &cases[i], i, 1e-5);
    }
}

/* Both sides computed: y = a x^T, as contrast multiplies features with features. */
static ts_tensor *build_computed(op_case *c, ts_graph *g)
{
    const linear_case *l = case_args(c);
    ts_tensor *a = case_real(c, g, 2, (int64_t[]){l->rows, l->in}), *x = case_real(c, g, 2, (int64_t[]){l->out, l->in});
    return ts_linear(g, ts_square(g, a), ts_as_weight(g, ts_square(g, x)), NULL);
}

static void computed(void **state)
{
    (void)state;
    const linear_case cases[] = {
        {1, 1, 1, 1, false, false}, {1, 3, 5, 7, false, false}, {1, 33, 64, 33, false, false}, {1, 17, 20, 130, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "as_weight %d", (int)i);
        check_op(label, build_computed, &cases[i], i, 1e-5);
        check_grad(label, build_computed, &cases[i], i, 1e-5);
    }
    ts_graph *g = ts_graph_new();
    assert_null(ts_as_weight(g, ts_input(g, "x", TS_REAL, 1, (int64_t[]){3})));
    assert_non_null(ts_graph_error(g));
    ts_graph_free(g);
}

typedef struct {
    int64_t images, height, width, in, out, kernel_h, kernel_w;
    ts_conv_desc desc;
    bool bias;
} conv_case;

static ts_tensor *build_conv(op_case *c, ts_graph *g)
{
    const conv_case *v = case_args(c);
    ts_tensor *x = case_real(c, g, 4, (int64_t[]){v->images, v->height, v->width, v->in});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_CONV, 4, (int64_t[]){v->out, v->in, v->kernel_h, v->kernel_w});
    return ts_conv2d(g, x, w, v->bias ? case_real(c, g, 1, &v->out) : NULL, &v->desc);
}

static const ts_conv_desc same = {1, 1, 1, 1, 1};

static void conv(void **state)
{
    (void)state;
    const conv_case cases[] = {
        {1, 1, 1, 1, 1, 1, 1, {0}, true},
        {1, 5, 7, 3, 4, 3, 3, same, true},
        {2, 9, 6, 17, 33, 3, 3, same, true},
        {1, 8, 8, 32, 64, 3, 3, same, false},
        {2, 8, 8, 16, 24, 1, 1, {0}, true},
        {1, 9, 9, 16, 8, 1, 1, {.stride = 2}, true},
        {1, 8, 10, 16, 16, 3, 3, {.stride = 2, .bottom = 1, .right = 1}, true}, /* the VQGAN's downsampling */
        {1, 7, 9, 5, 6, 3, 3, {.stride = 2, .bottom = 1, .right = 1}, true},
        {2, 16, 24, 3, 20, 8, 8, {.stride = 8}, true}, /* patches */
        {1, 6, 5, 4, 3, 2, 5, {.stride = 1, .top = 2, .left = 1, .bottom = 0, .right = 3}, true},
        {1, 11, 13, 8, 1, 5, 3, {.stride = 3, .top = 0, .left = 4, .bottom = 1, .right = 0}, false},
        {1, 12, 10, 12, 8, 4, 4, {.stride = 2, .top = 1, .left = 1, .bottom = 1, .right = 1}, true}, /* the discriminator's */
        {1, 20, 20, 16, 3, 3, 3, same, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "conv2d %d", (int)i);
        check_grad(label, build_conv, &cases[i], i, 1e-5);
    }
}

/* ---- adjoints ---- */

static float *normal(int64_t count, uint64_t *seed)
{
    float *v = malloc((size_t)count * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < count; i++) v[i] = (float)test_normal(seed);
    return v;
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static float *fetch(ts_exec *e, ts_tensor *t)
{
    ts_error err = {0};
    float *v = malloc((size_t)ts_count(t) * sizeof *v);
    assert_non_null(v);
    if (!ts_read(e, t, v, &err)) fail_msg("%s", err.text);
    return v;
}

/* y = A(x, w) is linear in each: the loss is <r, y>, and the gradients dx and dw give it back from x and from w. */
static void check_adjoint(const char *label, ts_device *dev, const conv_case *v)
{
    if (!dev) return;
    ts_error err = {0};
    uint64_t seed = 9;
    ts_graph *g = ts_graph_new();
    const bool flat = v->height == 1 && v->kernel_h == 1 && v->kernel_w == 1;
    ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){v->images, v->height, v->width, v->in});
    ts_tensor *w = ts_input_weight(g, "w", flat ? TS_LAYOUT_LINEAR : TS_LAYOUT_CONV, 4,
                                   (int64_t[]){v->out, v->in, v->kernel_h, v->kernel_w});
    ts_tensor *y = ts_output(g, flat ? ts_linear(g, x, w, NULL) : ts_conv2d(g, x, w, NULL, &v->desc));
    if (!y) fail_msg("%s: %s", label, ts_graph_error(g)->text);
    ts_tensor *r = ts_input(g, "r", TS_REAL, 4, y->shape), *grads[2];
    assert_true(ts_grad(g, ts_sum(g, ts_mul(g, y, r)), 2, (ts_tensor *[]){x, w}, grads));
    ts_output(g, grads[0]);
    ts_output(g, grads[1]);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s: %s", label, err.text);
    float *xs = normal(ts_count(x), &seed), *ws = normal(ts_count(w), &seed), *rs = normal(ts_count(r), &seed);
    if (!ts_write(e, x, xs, &err) || !ts_write(e, w, ws, &err) || !ts_write(e, r, rs, &err) || !ts_run(e, &err))
        fail_msg("%s: %s", label, err.text);
    float *ys = fetch(e, y), *dx = fetch(e, grads[0]), *dw = fetch(e, grads[1]);
    const double want = dot(rs, ys, ts_count(y)), scale = sqrt(dot(rs, rs, ts_count(y)) * dot(ys, ys, ts_count(y)));
    const double by_x = dot(xs, dx, ts_count(x)), by_w = dot(ws, dw, ts_count(w));
    if (fabs(by_x - want) > 1e-5 * scale || fabs(by_w - want) > 1e-5 * scale)
        fail_msg("%s: <r, y> = %.9g, <x, dx> = %.9g, <w, dw> = %.9g of %.3g", label, want, by_x, by_w, scale);
    float *all[] = {xs, ws, rs, ys, dx, dw};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    ts_exec_free(e);
    ts_graph_free(g);
}

static void adjoint(void **state)
{
    (void)state;
    const conv_case cases[] = {
        {1, 1, 1570, 96, 132, 1, 1, {0}, false}, {1, 1, 1001, 63, 257, 1, 1, {0}, false},
        {2, 40, 36, 24, 40, 3, 3, same, false},  {3, 33, 31, 9, 70, 3, 3, {.stride = 2, .bottom = 1, .right = 1}, false},
        {2, 64, 64, 3, 32, 3, 3, same, false},   {2, 64, 80, 3, 64, 16, 16, {.stride = 16}, false},
        {1, 64, 64, 32, 3, 3, 3, same, false},
    };
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    assert_non_null(host);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "adjoint %d on the host", (int)i);
        check_adjoint(label, host, &cases[i]);
        snprintf(label, sizeof label, "adjoint %d on Vulkan", (int)i);
        check_adjoint(label, test_vulkan(TS_F32), &cases[i]);
    }
    ts_device_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(linear), cmocka_unit_test(computed), cmocka_unit_test(conv),
                                       cmocka_unit_test(adjoint), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("grad_product", tests, NULL, NULL);
}
