/* test_numpy.c - numpy's random numbers against numpy's own (tests/reference/make_eval_golden.py prints them), and the generator
 * against its authors' first numbers. */
#include "../support/support.h"

#include "grid/numpy.h"

/* Of init_genrand(5489), which is also C++'s std::mt19937: the first number, and the 10000th, which its standard names. */
static void generator(void **state)
{
    (void)state;
    ts_numpy r;
    ts_numpy_seed(&r, 5489);
    assert_int_equal(ts_numpy_next(&r), 3499211612u);
    for (int i = 1; i < 9999; i++) ts_numpy_next(&r);
    assert_int_equal(ts_numpy_next(&r), 4123659995u);
}

static void assert_drawn(ts_numpy *r, const int32_t *want, int count, int32_t below)
{
    for (int i = 0; i < count; i++) assert_int_equal(ts_numpy_below(r, below), want[i]);
}

/* numpy.random.seed(s); randint(n, size=...) */
static void below(void **state)
{
    (void)state;
    static const int32_t tens[] = {5, 0, 3, 3, 7, 9, 3, 5, 2, 4}, large[] = {867, 206, 701, 998, 118, 400};
    ts_numpy r;
    ts_numpy_seed(&r, 0);
    assert_drawn(&r, tens, 10, 10);
    ts_numpy_seed(&r, 5);
    assert_drawn(&r, large, 6, 999);
}

/* A choice among one is no draw: the next number is the first. */
static void one_place(void **state)
{
    (void)state;
    ts_numpy r, other;
    ts_numpy_seed(&r, 3);
    ts_numpy_seed(&other, 3);
    for (int i = 0; i < 5; i++) assert_int_equal(ts_numpy_below(&r, 1), 0);
    assert_int_equal(ts_numpy_next(&r), ts_numpy_next(&other));
}

static void permutation(void **state)
{
    (void)state;
    static const int32_t ten[] = {2, 8, 4, 9, 1, 6, 7, 3, 0, 5}, again[] = {3, 5, 1, 2, 9, 8, 0, 6, 7, 4},
                         begin[] = {24166, 42699, 15927, 7473, 5070, 33926};
    int32_t out[10], many[49999];
    ts_numpy r;
    ts_numpy_seed(&r, 0);
    ts_numpy_permutation(&r, 10, out);
    assert_memory_equal(out, ten, sizeof ten);
    ts_numpy_permutation(&r, 10, out);
    assert_memory_equal(out, again, sizeof again);
    /* The thousand of colourisation begin so. */
    ts_numpy_seed(&r, 5);
    ts_numpy_permutation(&r, 49999, many);
    assert_memory_equal(many, begin, sizeof begin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(generator), cmocka_unit_test(below), cmocka_unit_test(one_place),
                                       cmocka_unit_test(permutation)};
    return cmocka_run_group_tests_name("numpy", tests, NULL, NULL);
}
