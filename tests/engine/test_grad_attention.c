/* test_grad_attention.c - the gradient of attention: head dimensions and lengths that divide nothing, packed and separate,
 * causal, fewer keys than queries and the reverse, more rows than a block of any kernel, one wide head, one tensor as q, k and v,
 * scores so large that a softmax without its maximum would overflow, the places of a map with relative positions, and a bias that
 * the batch shares. */
#include "../support/support.h"

#include <math.h>
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

/* ---- relative positions ---- */

typedef struct {
    int64_t batch, height, width, heads, dim;
} map_case;

static ts_tensor *build_map(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, a->height * a->width, 3 * a->heads * a->dim});
    ts_tensor *rel_h = case_real(c, g, 2, (int64_t[]){2 * a->height - 1, a->dim});
    ts_tensor *rel_w = case_real(c, g, 2, (int64_t[]){2 * a->width - 1, a->dim});
    const float small = 1 / sqrtf((float)a->dim);
    rel_h = ts_mul(g, rel_h, ts_fill(g, 1, (int64_t[]){a->dim}, small));
    rel_w = ts_mul(g, rel_w, ts_fill(g, 1, (int64_t[]){a->dim}, small));
    return ts_attention_relative(g, qkv, rel_h, rel_w, (int)a->heads, (int)a->height, (int)a->width);
}

static void relative_positions(void **state)
{
    (void)state;
    const map_case cases[] = {{1, 1, 1, 1, 1},   {2, 3, 5, 2, 16},  {1, 14, 14, 2, 20}, {2, 7, 11, 3, 20},
                              {1, 7, 11, 2, 80}, {1, 5, 1, 2, 7},   {1, 1, 9, 1, 33},   {1, 13, 10, 1, 64},
                              {2, 2, 2, 2, 4},   {1, 4, 6, 1, 100}, {3, 5, 17, 1, 12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const map_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention on a map of %d x %d, %d heads of %d", (int)a->height, (int)a->width,
                 (int)a->heads, (int)a->dim);
        check_grad(label, build_map, a, i, 1e-5);
    }
}

/* No gradient flows to the tables. */
static ts_tensor *build_frozen(op_case *c, ts_graph *g)
{
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){2, 12, 24});
    return ts_attention_relative(g, qkv, ts_fill(g, 2, (int64_t[]){5, 4}, 0.3F), ts_fill(g, 2, (int64_t[]){7, 4}, -0.2F), 2, 3,
                                 4);
}

static void frozen_tables(void **state)
{
    (void)state;
    check_grad("attention with constant tables", build_frozen, NULL, 3, 1e-5);
}

/* ---- a bias ---- */

static ts_tensor *build_biased(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    const int64_t tokens = a->height * a->width;
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, tokens, 3 * a->heads * a->dim});
    return ts_attention_biased(g, qkv, case_real(c, g, 3, (int64_t[]){a->heads, tokens, tokens}), (int)a->heads);
}

/* By a table, which two attentions share. */
static ts_tensor *build_distance(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    const int64_t tokens = a->height * a->width;
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, tokens, 3 * a->heads * a->dim});
    ts_tensor *more = case_real(c, g, 3, (int64_t[]){a->batch, tokens, 3 * a->heads * a->dim});
    ts_tensor *table = case_real(c, g, 2, (int64_t[]){a->heads, tokens});
    ts_tensor *bias = ts_distance_bias(g, table, (int)a->height, (int)a->width);
    ts_tensor *first = ts_attention_biased(g, qkv, bias, (int)a->heads);
    return ts_add(g, first, ts_attention_biased(g, more, bias, (int)a->heads));
}

/* Only the inputs of the batch want a gradient. */
static ts_tensor *build_frozen_bias(op_case *c, ts_graph *g)
{
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){2, 6, 24});
    return ts_attention_biased(g, qkv, ts_distance_bias(g, ts_fill(g, 2, (int64_t[]){2, 6}, 0.3F), 2, 3), 2);
}

static void biases(void **state)
{
    (void)state;
    const map_case cases[] = {{1, 1, 1, 1, 1}, {2, 3, 5, 2, 16}, {3, 7, 7, 2, 32},   {1, 14, 14, 2, 20}, {5, 2, 3, 3, 7},
                              {2, 5, 1, 2, 8}, {1, 1, 9, 1, 33}, {2, 10, 11, 1, 64}, {1, 4, 6, 1, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const map_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention with a bias, %d x %d, %d heads of %d", (int)a->height, (int)a->width,
                 (int)a->heads, (int)a->dim);
        check_grad(label, build_biased, a, i, 1e-5);
        check_grad(label, build_distance, a, i, 1e-5);
    }
    check_grad("attention with a constant bias", build_frozen_bias, NULL, 3, 1e-5);
}

/* The gradients as the result of an op under test: with respect to qkv, or to the table of rows. */
static ts_tensor *build_map_gradient(op_case *c, ts_graph *g, bool of_table)
{
    enum { H = 7, W = 11, HEADS = 2, DIM = 16 };
    ts_tensor *x[] = {case_real(c, g, 3, (int64_t[]){2, H * W, 3 * HEADS * DIM}), NULL}, *grad;
    x[1] = case_weight(c, g, TS_LAYOUT_PLAIN, 2, (int64_t[]){2 * H - 1, DIM});
    ts_tensor *rel_w = case_weight(c, g, TS_LAYOUT_PLAIN, 2, (int64_t[]){2 * W - 1, DIM});
    ts_tensor *weights = case_real(c, g, 3, (int64_t[]){2, H * W, HEADS * DIM});
    ts_tensor *y = ts_attention_relative(g, x[0], x[1], rel_w, HEADS, H, W);
    return ts_grad(g, ts_sum(g, ts_mul(g, y, weights)), 1, &x[of_table], &grad) ? grad : NULL;
}

static ts_tensor *build_qkv_gradient(op_case *c, ts_graph *g)
{
    return build_map_gradient(c, g, false);
}

static ts_tensor *build_table_gradient(op_case *c, ts_graph *g)
{
    return build_map_gradient(c, g, true);
}

static ts_tensor *build_bias_gradient(op_case *c, ts_graph *g)
{
    enum { H = 7, W = 5, HEADS = 2, DIM = 16 };
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){3, H * W, 3 * HEADS * DIM}), *grad;
    ts_tensor *table = case_real(c, g, 2, (int64_t[]){HEADS, H * W});
    ts_tensor *weights = case_real(c, g, 3, (int64_t[]){3, H * W, HEADS * DIM});
    ts_tensor *y = ts_attention_biased(g, qkv, ts_distance_bias(g, table, H, W), HEADS);
    return ts_grad(g, ts_sum(g, ts_mul(g, y, weights)), 1, &table, &grad) ? grad : NULL;
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
    check_op("gradient of attention on a map, qkv", build_qkv_gradient, NULL, 5, 1e-5);
    check_op("gradient of attention on a map, rel_h", build_table_gradient, NULL, 6, 1e-5);
    check_op("gradient of attention with a bias, its table", build_bias_gradient, NULL, 7, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes),
                                       cmocka_unit_test(shared_inputs),
                                       cmocka_unit_test(relative_positions),
                                       cmocka_unit_test(frozen_tables),
                                       cmocka_unit_test(biases),
                                       cmocka_unit_test(half_precision),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("grad attention", tests, NULL, NULL);
}
