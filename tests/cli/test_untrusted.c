/* test_untrusted.c - names made to do harm: on whatever the program prints they are shown and not obeyed, and in JSON no two of
 * them become one. */
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of two tensors and a key of metadata, whose names clear the screen, forge a line and set a colour by C1. */
static const char *hostile_file(const char *path)
{
    static const char header[] = "{\"\\u001b]0;title\\u0007red\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                 "\"a\\nb\\u009b31m\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
                                 "\"__metadata__\":{\"key\\u001b[2J\":\"value\\nparameters    forged\\u202e\"}}";
    unsigned char bytes[8 + sizeof header - 1 + 8] = {0};
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((sizeof header - 1) >> (8 * i));
    memcpy(bytes + 8, header, sizeof header - 1);
    write_bytes(path, bytes, sizeof bytes);
    return path;
}

/* Nothing but letters and ends of lines, and no C1 control or mark of direction among them. */
static void assert_harmless(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if ((*at < 0x20 && *at != '\n') || *at == 0x7f) fail_msg("a control character %02x: %s", *at, text);
        if (*at == 0xc2 && at[1] < 0xa0) fail_msg("a C1 control: %s", text);
    }
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_null(strstr(text, "\nparameters    forged"));
}

static void names_in_a_file(void **state)
{
    (void)state;
    const char *file = hostile_file(temp_path("hostile.safetensors"));
    program_result r = program_run("model", "info", file, "--tensors", NULL);
    assert_int_equal(r.status, 0);
    assert_harmless(r.out);
    assert_non_null(strstr(r.out, "\\x1b]0;title\\x07red\n"));
    assert_non_null(strstr(r.out, "a\\nb\\u009b31m\n"));
    assert_non_null(strstr(r.out, "key\\x1b[2J = value\\nparameters    forged\\u202e\n"));
    program_free(&r);
    r = program_run("model", "check", file, NULL);
    assert_int_equal(r.status, 1);
    assert_harmless(r.err);
    program_free(&r);
    r = program_run("run", "-m", file, "-e", file, file, "-q", file, "-o", temp_path("a.png"), NULL);
    assert_int_equal(r.status, 1);
    assert_harmless(r.err);
    program_free(&r);
}

static void names_of_files(void **state)
{
    (void)state;
    const char *in = temp_path("in.png"), *model = random_model();
    const char *query = temp_path("q\x1b[31m\n\xff.png"), *out = temp_path("out\x1b[31m\xc2\x9b.png");
    write_picture(in, 16, 16, 1);
    write_picture(query, 16, 16, 2);
    program_result r = program_run("run", "-m", model, "-e", in, in, "-q", query, "-o", out, "--device", "cpu", NULL);
    assert_int_equal(r.status, 0);
    assert_true(file_exists(out));
    assert_harmless(r.out);
    assert_harmless(r.err);
    assert_non_null(strstr(r.out, "out\\x1b[31m\\u009b.png\n"));
    program_free(&r);
    assert_refused(program_run("run", "-m", model, "-e", in, in, "-q", temp_path("no\x1b[2J\nne.png"), "-o", out, NULL), 1,
                   "no\\x1b[2J\\nne.png");
    assert_refused(program_run("sheet", "a.png", "-o", "x\x1b.gif", NULL), 2, "x\\x1b.gif");
    assert_refused(program_run("\x1b[2J", NULL), 2, "\\x1b[2J");
    assert_refused(program_run("run", "--\x1b[2J", NULL), 2, "\\x1b[2J");
}

/* Two names that differ in a byte that is no UTF-8 stay two. */
static void names_in_json(void **state)
{
    (void)state;
    const char *in = temp_path("in.png"), *model = random_model();
    const char *one = temp_path("q\xff.png"), *two = temp_path("q\xfe\xc3\xa9.png");
    write_picture(in, 16, 16, 1);
    write_picture(one, 16, 16, 2);
    write_picture(two, 16, 16, 3);
    program_result r = program_run("run", "-m", model, "-e", in, in, "-q", one, two, "-o", temp_path("answers"), "--device",
                                   "cpu", "--json", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "/q\\udcff.png\""));
    assert_non_null(strstr(r.out, "/q\\udcfe\xc3\xa9.png\""));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_in_a_file), cmocka_unit_test(names_of_files),
                                       cmocka_unit_test(names_in_json)};
    return cmocka_run_group_tests_name("untrusted", tests, NULL, NULL);
}
