/* test_grad_attention.c - the gradient of attention: head dimensions and lengths that divide nothing, packed and separate,
 * causal, fewer keys than queries and the reverse, more rows than a block of any kernel, one wide head, one tensor as q, k and v,
 * and scores so large that a softmax without its maximum would overflow. */
#include "../support/support.h"

#include <stdio.h>

typedef struct {
    int64_t batch, tq, tk, heads, dim;
    bool packed, causal;
    float gain; /* on the queries; 0: 1 */
} attention_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const attention_case *a = case_args(c);
    const int64_t channels = a->heads * a->dim;
    if (a->packed) {
        ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, 3 * channels});
        return ts_attention_qkv(g, qkv, (int)a->heads, a->causal);
    }
    ts_tensor *q = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, channels});
    ts_tensor *k = case_real(c, g, 3, (int64_t[]){a->batch, a->tk, channels});
    ts_tensor *v = case_real(c, g, 3, (int64_t[]){a->batch, a->tk, channels});
    if (a->gain != 0) q = ts_mul(g, q, ts_fill(g, 3, (int64_t[]){a->batch, a->tq, channels}, a->gain));
    return ts_attention(g, q, k, v, (int)a->heads, a->causal);
}

static void shapes(void **state)
{
    (void)state;
    const attention_case cases[] = {
        {1, 1, 1, 1, 1, false, false, 0},    {1, 5, 5, 2, 3, true, false, 0},     {2, 17, 17, 3, 32, true, false, 0},
        {1, 50, 50, 2, 64, true, false, 0},  {2, 33, 33, 2, 33, true, true, 0},   {1, 77, 77, 4, 16, true, true, 0},
        {1, 7, 23, 2, 40, false, false, 0},  {2, 29, 3, 1, 64, false, false, 0},  {1, 40, 40, 1, 200, false, false, 0},
        {3, 19, 19, 2, 24, false, true, 0},  {1, 21, 130, 1, 8, false, false, 0}, {1, 6, 6, 1, 100, true, true, 0},
        {1, 101, 101, 2, 7, true, false, 0}, {1, 31, 31, 2, 16, false, false, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attention_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention %d: %d of %d, %d heads of %d%s%s", (int)i, (int)a->tq, (int)a->tk, (int)a->heads,
                 (int)a->dim, a->packed ? ", packed" : "", a->causal ? ", causal" : "");
        check_grad(label, build, a, i, a->gain != 0 ? 1e-4 : 1e-5);
    }
}

/* q, k and v are one tensor, so that three gradients are added. */
static ts_tensor *build_shared(op_case *c, ts_graph *g)
{
    ts_tensor *x = case_real(c, g, 3, (int64_t[]){2, 9, 12});
    return ts_attention(g, x, x, x, 3, false);
}

/* No gradient flows to k. */
static ts_tensor *build_stopped(op_case *c, ts_graph *g)
{
    ts_tensor *q = case_real(c, g, 3, (int64_t[]){2, 9, 12}), *v = case_real(c, g, 3, (int64_t[]){2, 9, 12});
    ts_tensor *k = ts_fill(g, 3, (int64_t[]){2, 9, 12}, 0.5F);
    return ts_attention(g, q, k, v, 3, true);
}

static void shared_inputs(void **state)
{
    (void)state;
    check_grad("attention of a tensor with itself", build_shared, NULL, 1, 1e-5);
    check_grad("attention to constant keys", build_stopped, NULL, 2, 1e-5);
}

/* The gradient as the result of an op under test, which compares it in fp16 too. */
static ts_tensor *build_gradient(op_case *c, ts_graph *g)
{
    const attention_case *a = case_args(c);
    const int64_t channels = a->heads * a->dim;
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, 3 * channels}), *grad;
    ts_tensor *weights = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, channels});
    ts_tensor *y = ts_attention_qkv(g, qkv, (int)a->heads, a->causal);
    return ts_grad(g, ts_sum(g, ts_mul(g, y, weights)), 1, &qkv, &grad) ? grad : NULL;
}

static void half_precision(void **state)
{
    (void)state;
    const attention_case cases[] = {{2, 21, 21, 2, 32, true, false, 0}, {1, 70, 70, 2, 6, true, true, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_op("gradient of attention", build_gradient, &cases[i], i, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(shared_inputs),
                                       cmocka_unit_test(half_precision), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("grad attention", tests, NULL, NULL);
}
