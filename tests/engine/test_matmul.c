/* test_matmul.c - ts_linear and ts_conv2d against the yardstick: the products' kernels over odd shapes, with what is folded in.
 * Every combination of kernel, tile and constants is compiled when it is first met, which takes longer than running it here, so
 * the shapes are few and chosen. */
#include "../support/support.h"

#include <stdio.h>

typedef struct {
    int64_t m, k, n;
    char act; /* 0, or g(elu), q(uick gelu), s(wish) */
    bool bias, residual;
} linear_case;

static ts_tensor *activate(ts_graph *g, char act, ts_tensor *y)
{
    if (act == 'g') return ts_gelu(g, y);
    if (act == 'q') return ts_quick_gelu(g, y);
    if (act == 's') return ts_swish(g, y);
    return y;
}

static ts_tensor *build_linear(op_case *c, ts_graph *g)
{
    const linear_case *p = case_args(c);
    ts_tensor *x = case_real(c, g, 2, (int64_t[]){p->m, p->k});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_LINEAR, 2, (int64_t[]){p->n, p->k});
    ts_tensor *b = p->bias ? case_real(c, g, 1, (int64_t[]){p->n}) : NULL;
    ts_tensor *y = activate(g, p->act, ts_linear(g, x, w, b));
    return p->residual ? ts_add(g, y, case_real(c, g, 2, (int64_t[]){p->m, p->n})) : y;
}

static void linear(void **state)
{
    (void)state;
    const linear_case cases[] = {
        {1, 1, 1, 0, true, false},        {3, 17, 5, 0, true, true},      {5, 64, 64, 0, true, true},
        {33, 64, 67, 0, false, false},    {64, 68, 100, 'q', true, true}, {197, 96, 132, 'g', true, true},
        {257, 128, 64, 0, true, false},   {130, 12, 260, 0, false, true}, {37, 8, 4, 's', true, true},
        {770, 20, 520, 0, true, true},    /* 64x64 tiles */
        {1540, 18, 1030, 0, true, false}, /* 128x128 tiles */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const linear_case *p = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "linear %lldx%lldx%lld %c", (long long)p->m, (long long)p->k, (long long)p->n,
                 p->act ? p->act : '-');
        check_op(label, build_linear, p, i, 1e-5);
    }
}

typedef struct {
    int64_t images, height, width, channels, out_channels, kernel;
    ts_conv_desc desc;
    char act;
    bool bias, residual;
} conv_case;

static ts_tensor *build_conv(op_case *c, ts_graph *g)
{
    const conv_case *p = case_args(c);
    ts_tensor *x = case_real(c, g, 4, (int64_t[]){p->images, p->height, p->width, p->channels});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_CONV, 4, (int64_t[]){p->out_channels, p->channels, p->kernel, p->kernel});
    ts_tensor *b = p->bias ? case_real(c, g, 1, (int64_t[]){p->out_channels}) : NULL;
    ts_tensor *y = activate(g, p->act, ts_conv2d(g, x, w, b, &p->desc));
    return p->residual ? ts_add(g, y, case_real(c, g, 4, y->shape)) : y;
}

static void conv(void **state)
{
    (void)state;
    const ts_conv_desc same = {1, 1, 1, 1, 1}, down = {2, 0, 0, 1, 1}, patches = {16, 0, 0, 0, 0}, none = {0},
                       uneven = {1, 2, 1, 0, 3};
    const conv_case cases[] = {
        {2, 5, 7, 8, 12, 1, none, 0, true, true},        {1, 9, 7, 3, 68, 3, same, 0, true, false},
        {2, 64, 64, 3, 96, 16, patches, 0, true, false}, {2, 6, 5, 32, 3, 3, same, 0, true, true},
        {1, 7, 9, 36, 72, 3, same, 0, false, true},      {2, 9, 15, 20, 64, 3, down, 0, true, false},
        {3, 6, 4, 4, 68, 3, uneven, 's', true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const conv_case *p = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "conv %lldx%lldx%lldx%lld to %lld, kernel %lld", (long long)p->images, (long long)p->height,
                 (long long)p->width, (long long)p->channels, (long long)p->out_channels, (long long)p->kernel);
        check_op(label, build_conv, p, 100 + i, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(linear), cmocka_unit_test(conv),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
