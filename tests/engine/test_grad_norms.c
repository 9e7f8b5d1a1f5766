/* test_grad_norms.c - the gradients of the normalising ops. */
#include "../support/support.h"

#include <stdio.h>

static ts_tensor *build_layernorm(op_case *c, ts_graph *g)
{
    const int64_t *shape = case_args(c);
    ts_tensor *x = case_real(c, g, 3, shape);
    ts_tensor *gamma = case_real(c, g, 1, shape + 2), *beta = case_real(c, g, 1, shape + 2);
    return ts_layernorm(g, x, gamma, beta, 1e-6F);
}

static void layernorm(void **state)
{
    (void)state;
    const int64_t shapes[][3] = {{1, 1, 3}, {2, 3, 17}, {1, 97, 64}, {3, 5, 257}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char label[64];
        snprintf(label, sizeof label, "layernorm %lldx%lldx%lld", (long long)shapes[i][0], (long long)shapes[i][1],
                 (long long)shapes[i][2]);
        check_grad(label, build_layernorm, shapes[i], i, 1e-5);
    }
}

typedef struct {
    int64_t shape[4];
    int groups;
    bool swish;
} groupnorm_case;

static ts_tensor *build_groupnorm(op_case *c, ts_graph *g)
{
    const groupnorm_case *a = case_args(c);
    ts_tensor *x = case_real(c, g, 4, a->shape);
    ts_tensor *gamma = case_real(c, g, 1, a->shape + 3), *beta = case_real(c, g, 1, a->shape + 3);
    ts_tensor *y = ts_groupnorm(g, x, gamma, beta, a->groups, 1e-6F);
    return a->swish ? ts_swish(g, y) : y;
}

static void groupnorm(void **state)
{
    (void)state;
    const groupnorm_case cases[] = {
        {{1, 2, 3, 4}, 2, false}, {{2, 9, 7, 12}, 3, true}, {{1, 13, 11, 96}, 32, true}, {{3, 1, 5, 6}, 1, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_grad("groupnorm", build_groupnorm, &cases[i], i, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layernorm), cmocka_unit_test(groupnorm),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("grad norms", tests, NULL, NULL);
}
