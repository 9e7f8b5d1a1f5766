/* test_rows.c - the row-wise ops against the yardstick. */
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
    const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 17}, {1, 197, 64}, {3, 5, 257}, {1, 2, 1024}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char label[64];
        snprintf(label, sizeof label, "layernorm %lldx%lldx%lld", (long long)shapes[i][0], (long long)shapes[i][1],
                 (long long)shapes[i][2]);
        check_op(label, build_layernorm, shapes[i], i, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layernorm), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
