/* test_schedule.c - the learning rate over a run. */
#include "../support/support.h"

#include <math.h>

static void values(void **state)
{
    (void)state;
    assert_true(ts_cosine_rate(0, 100, 10, 2) == 0.2);
    assert_true(ts_cosine_rate(4, 100, 10, 2) == 1);
    assert_true(ts_cosine_rate(9, 100, 10, 2) == 2);
    assert_true(ts_cosine_rate(10, 100, 10, 2) == 2);
    assert_true(fabs(ts_cosine_rate(55, 100, 10, 2) - 1) < 1e-12);
    assert_true(fabs(ts_cosine_rate(40, 100, 10, 2) - 1.5) < 1e-12);
    assert_true(ts_cosine_rate(99, 100, 10, 2) > 0);
    assert_true(ts_cosine_rate(100, 100, 10, 2) == 0);
    assert_true(ts_cosine_rate(0, 10, 0, 3) == 3);
    for (int64_t i = 10; i < 99; i++) assert_true(ts_cosine_rate(i + 1, 100, 10, 2) < ts_cosine_rate(i, 100, 10, 2));
}

static void restarts(void **state)
{
    (void)state;
    assert_true(ts_restart_rate(0, 10, 3) == 3 && ts_restart_rate(10, 10, 3) == 3 && ts_restart_rate(40, 10, 3) == 3);
    assert_true(fabs(ts_restart_rate(5, 10, 3) - 1.5) < 1e-12 && fabs(ts_restart_rate(25, 10, 3) - 1.5) < 1e-12);
    assert_true(ts_restart_rate(9, 10, 3) > 0 && ts_restart_rate(9, 10, 3) < 0.1);
    assert_true(ts_restart_rate(7, 1, 2) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(restarts)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
