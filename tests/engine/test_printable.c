/* test_printable.c - text from outside, as it is shown. */
#include "../support/support.h"

#include <string.h>

static void shows(const char *text, const char *wanted)
{
    char out[256];
    assert_string_equal(ts_printable(text, out, sizeof out), wanted);
    char again[256];
    assert_string_equal(ts_printable(out, again, sizeof again), wanted); /* nothing is shown twice over */
}

static void shown(void **state)
{
    (void)state;
    shows("", "");
    shows("blocks.0.norm1.weight", "blocks.0.norm1.weight");
    shows("caf\xc3\xa9 \xe7\x8c\xab \xf0\x9f\x90\x88", "caf\xc3\xa9 \xe7\x8c\xab \xf0\x9f\x90\x88");
    shows("\x1b[2J\x07", "\\x1b[2J\\x07");
    shows("a\nparameters 1\r\t\x7f", "a\\nparameters 1\\x0d\\x09\\x7f");
    shows("\xc2\x9b"
          "31m",
          "\\u009b31m");
    shows("\xe2\x80\xae"
          "gnp.exe",
          "\\u202egnp.exe");
    shows("\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf\xe2\x80\xa8", "\\u2066\\u200b\\ufeff\\u2028");
    shows("\xf3\xa0\x81\x81", "\\U000e0041");
    /* Bytes that are no UTF-8: alone, cut short, too long a form, a surrogate, beyond the last character. */
    shows("\xff|\xc3|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80", "\\xff|\\xc3|\\xc0\\xaf|\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80");
}

static void cut(void **state)
{
    (void)state;
    char out[6];
    assert_string_equal(ts_printable("abcdefgh", out, sizeof out), "abcde");
    assert_string_equal(ts_printable("abcd\xc3\xa9", out, sizeof out), "abcd");
    assert_string_equal(ts_printable("ab\x1b"
                                     "c",
                                     out, sizeof out),
                        "ab");
    assert_string_equal(ts_printable("a", out, 1), "");
}

static void errors(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_fail(&err, TS_ERR_FORMAT, "file %s has no tensor", "a\x1b[31m\nb");
    assert_string_equal(err.text, "file a\\x1b[31m\\nb has no tensor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shown), cmocka_unit_test(cut), cmocka_unit_test(errors)};
    return cmocka_run_group_tests_name("printable", tests, NULL, NULL);
}
