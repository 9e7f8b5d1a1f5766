/* test_number.c - numbers out of texts and files: what is one, what is none, and the edges between. */
#include "../support/support.h"

#include "engine/number.h"

#include <limits.h>
#include <math.h>

static void of_doubles(void **state)
{
    (void)state;
    int64_t whole = 7;
    int small = 7;
    assert_true(ts_whole_of(0, 0, 10, &whole) && whole == 0);
    assert_true(ts_whole_of(0x1p53, 0, INT64_MAX, &whole) && whole == INT64_C(1) << 53);
    assert_true(ts_whole_of(-3, -5, 5, &whole) && whole == -3);
    assert_true(ts_int_of(INT_MAX, INT_MIN, INT_MAX, &small) && small == INT_MAX);
    assert_true(ts_int_of(INT_MIN, INT_MIN, INT_MAX, &small) && small == INT_MIN);
    const double none[] = {2e60, -2e60, 1e300, NAN, INFINITY, -INFINITY, 0.5, 11, -1, 0x1p53 + 2, 0x1p63, -0x1p63};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        whole = small = 7;
        if (ts_whole_of(none[i], 0, 10, &whole) || whole != 7) fail_msg("%g is taken for a whole number", none[i]);
        if (ts_int_of(none[i], 0, 10, &small) || small != 7) fail_msg("%g is taken for a whole number", none[i]);
    }
    assert_false(ts_whole_of(0x1p63, INT64_MIN, INT64_MAX, &whole));
    assert_false(ts_int_of((double)INT_MAX + 1, INT_MIN, INT_MAX, &small));
}

static void of_texts(void **state)
{
    (void)state;
    int64_t whole;
    int small;
    uint64_t seed;
    double real;
    assert_true(ts_whole_read("9223372036854775807", 0, INT64_MAX, &whole) && whole == INT64_MAX);
    assert_true(ts_whole_read("-12", -12, 0, &whole) && whole == -12);
    assert_true(ts_int_read("0012", 1, 12, &small) && small == 12);
    assert_true(ts_seed_read("18446744073709551615", &seed) && seed == UINT64_MAX);
    assert_true(ts_real_read("-1e-3", &real) && real == -1e-3);
    static const char *const none[] = {"",
                                       " 1",
                                       "1 ",
                                       "+1",
                                       "-",
                                       "--1",
                                       "1.0",
                                       "1e3",
                                       "0x10",
                                       "one",
                                       "1\n",
                                       "9223372036854775808",
                                       "99999999999999999999999999999999",
                                       "-9223372036854775809"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        if (ts_whole_read(none[i], INT64_MIN, INT64_MAX, &whole)) fail_msg("\"%s\" is taken for a whole number", none[i]);
        if (ts_int_read(none[i], INT_MIN, INT_MAX, &small)) fail_msg("\"%s\" is taken for an int", none[i]);
    }
    static const char *const no_seed[] = {"", "-1", " 1", "+1", "1x", "18446744073709551616"};
    for (size_t i = 0; i < sizeof no_seed / sizeof *no_seed; i++)
        if (ts_seed_read(no_seed[i], &seed)) fail_msg("\"%s\" is taken for a seed", no_seed[i]);
    static const char *const no_real[] = {"", "x", "1x", "inf", "nan", "1e999"};
    for (size_t i = 0; i < sizeof no_real / sizeof *no_real; i++)
        if (ts_real_read(no_real[i], &real)) fail_msg("\"%s\" is taken for a number", no_real[i]);
    assert_false(ts_int_read("2147483648", 0, INT_MAX, &small));
    assert_false(ts_int_read("-1", 0, INT_MAX, &small));
    assert_false(ts_whole_read(NULL, 0, 1, &whole) || ts_seed_read(NULL, &seed) || ts_real_read(NULL, &real));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_doubles), cmocka_unit_test(of_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
