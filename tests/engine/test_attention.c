/* test_attention.c - attention against the yardstick: head dimensions and lengths that divide nothing, packed and separate,
 * causal, fewer keys than queries, one wide head, and scores so large that a softmax without its maximum would overflow. */
#include "../support/support.h"

#include <stdio.h>
#include <string.h>

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
    if (a->gain != 0) q = ts_scale(g, q, a->gain, 0);
    return ts_attention(g, q, k, v, (int)a->heads, a->causal);
}

static void shapes(void **state)
{
    (void)state;
    const attention_case cases[] = {
        {1, 1, 1, 1, 1, false, false, 0},    {1, 5, 5, 2, 3, true, false, 0},     {2, 17, 17, 3, 32, true, false, 0},
        {1, 50, 50, 2, 64, true, false, 0},  {2, 33, 33, 2, 33, true, true, 0},   {1, 77, 77, 4, 16, true, true, 0},
        {1, 7, 23, 2, 40, false, false, 0},  {2, 29, 3, 1, 64, false, false, 0},  {1, 40, 40, 1, 512, false, false, 0},
        {3, 19, 19, 2, 20, false, true, 0},  {1, 21, 130, 1, 8, false, false, 0}, {1, 6, 6, 1, 100, true, true, 0},
        {1, 31, 31, 2, 16, false, false, 30}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attention_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention %d: %d of %d, %d heads of %d%s%s", (int)i, (int)a->tq, (int)a->tk, (int)a->heads,
                 (int)a->dim, a->packed ? ", packed" : "", a->causal ? ", causal" : "");
        check_op(label, build, a, i, a->gain != 0 ? 1e-4 : 1e-5);
    }
}

static void wrong_shapes(void **state)
{
    (void)state;
    const struct {
        int64_t tk, channels;
        int heads;
        bool causal;
        const char *word;
    } cases[] = {{4, 8, 3, false, "heads"}, {4, 6, 2, false, "wants q"}, {5, 8, 2, true, "causal"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *q = ts_input(g, "q", TS_REAL, 3, (int64_t[]){1, 4, 8});
        ts_tensor *k = ts_input(g, "k", TS_REAL, 3, (int64_t[]){1, cases[i].tk, cases[i].channels});
        assert_null(ts_attention(g, q, k, k, cases[i].heads, cases[i].causal));
        assert_non_null(ts_graph_error(g));
        assert_non_null(strstr(ts_graph_error(g)->text, cases[i].word));
        ts_graph_free(g);
    }
    ts_graph *g = ts_graph_new();
    assert_null(ts_attention_qkv(g, ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 4, 12}), 3, false));
    assert_non_null(ts_graph_error(g));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(wrong_shapes),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
