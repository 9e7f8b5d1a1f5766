/* test_linear.c - the product of a linear layer, alone and with what is folded into it, against the yardstick. */
#include "../support/support.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int64_t batch, rows, in, out;
    bool bias;
    char act; /* g: gelu, q: quick gelu, s: swish */
    bool residual, residual_first, kernel_1x1;
} linear_case;

static ts_tensor *activate(ts_graph *g, char act, ts_tensor *x)
{
    if (act == 'g') return ts_gelu(g, x);
    if (act == 'q') return ts_quick_gelu(g, x);
    return act == 's' ? ts_swish(g, x) : x;
}

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const linear_case *l = case_args(c);
    ts_tensor *x = case_real(c, g, 3, (int64_t[]){l->batch, l->rows, l->in});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_LINEAR, l->kernel_1x1 ? 4 : 2, (int64_t[]){l->out, l->in, 1, 1});
    ts_tensor *b = l->bias ? case_real(c, g, 1, &l->out) : NULL;
    ts_tensor *residual = l->residual ? case_real(c, g, 3, (int64_t[]){l->batch, l->rows, l->out}) : NULL;
    ts_tensor *y = activate(g, l->act, ts_linear(g, x, w, b));
    if (l->residual) y = l->residual_first ? ts_add(g, residual, y) : ts_add(g, y, residual);
    return y;
}

static void shapes(void **state)
{
    (void)state;
    const linear_case cases[] = {
        {1, 1, 1, 1, false, 0, false, false, false},      {1, 3, 5, 7, true, 0, false, false, false},
        {2, 17, 33, 65, true, 0, false, false, false},    {1, 197, 64, 192, true, 0, false, false, false},
        {3, 31, 257, 129, false, 0, false, false, false}, {1, 400, 16, 17, true, 0, false, false, true},
        {1, 6, 1024, 16, true, 0, false, false, false},   {1, 1, 768, 1000, true, 0, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char label[64];
        snprintf(label, sizeof label, "linear %d: %d x %d x %d", (int)i, (int)cases[i].rows, (int)cases[i].in, (int)cases[i].out);
        check_op(label, build, &cases[i], i, 1e-5);
    }
}

static void folded(void **state)
{
    (void)state;
    const char acts[] = {0, 'g', 'q', 's'};
    for (int i = 0; i < 16; i++) {
        const linear_case l = {2, 13, 48, 37, i & 4, acts[i & 3], i & 8, i & 4, false};
        char label[64];
        snprintf(label, sizeof label, "linear, bias %d act %d residual %d", l.bias, i & 3, l.residual);
        check_op(label, build, &l, (uint64_t)i, 1e-5);
    }
}

/* GELU as it is folded, on the whole range of its curve: within 1e-6 of the formula. */
static ts_tensor *build_gelu(op_case *c, ts_graph *g)
{
    ts_tensor *x = case_real(c, g, 2, (int64_t[]){4096, 1});
    ts_tensor *w = case_weight(c, g, TS_LAYOUT_LINEAR, 2, (int64_t[]){3, 1});
    return ts_gelu(g, ts_linear(g, x, w, NULL));
}

static void gelu_is_exact(void **state)
{
    (void)state;
    check_op("folded gelu", build_gelu, NULL, 5, 1e-6);
}

static void wrong_shapes(void **state)
{
    (void)state;
    const struct {
        int64_t in, bias;
        ts_layout layout;
        const char *word;
    } cases[] = {{6, 7, TS_LAYOUT_LINEAR, "does not fit"}, {5, 8, TS_LAYOUT_LINEAR, "bias"}, {5, 7, TS_LAYOUT_PLAIN, "weight"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){3, 5});
        ts_tensor *w = ts_input_weight(g, "w", cases[i].layout, 2, (int64_t[]){7, cases[i].in});
        assert_null(ts_linear(g, x, w, ts_input(g, "b", TS_REAL, 1, &cases[i].bias)));
        assert_non_null(ts_graph_error(g));
        assert_int_equal(ts_graph_error(g)->code, TS_ERR_SHAPE);
        assert_non_null(strstr(ts_graph_error(g)->text, cases[i].word));
        ts_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(folded), cmocka_unit_test(gelu_is_exact),
                                       cmocka_unit_test(wrong_shapes), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("linear", tests, NULL, NULL);
}
