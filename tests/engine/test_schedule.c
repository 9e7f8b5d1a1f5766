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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
