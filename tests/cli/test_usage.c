/* test_usage.c - wrong usage of the command line, which is exit status 2 and one line. */
#include "../support/program.h"

static void wrong_command(void **state)
{
    (void)state;
    assert_refused(program_run(NULL), 2, "a command is missing");
    assert_refused(program_run("paint", NULL), 2, "there is no command paint");
    assert_refused(program_run("model", NULL), 2, "info, convert, check or random");
    assert_refused(program_run("model", "burn", NULL), 2, "burn");
    assert_refused(program_run("model", "convert", "a.pth", "b.PTH", NULL), 2, ".safetensors");
    assert_refused(program_run("eval", temp_dir(), NULL), 2, "is a folder");
    assert_refused(program_run("bench", "--only", "nonsense", NULL), 1, "conv2d");
}

static void wrong_options(void **state)
{
    (void)state;
    assert_refused(program_run("run", "--nonsense", NULL), 2, "--nonsense");
    assert_refused(program_run("run", "-x", NULL), 2, "-x");
    assert_refused(program_run("run", "-e", "a.png", NULL), 2, "IN OUT");
    assert_refused(program_run("run", "-q", "c.png", "-o", "d.png", NULL), 2, "example pair is missing");
    assert_refused(program_run("run", "-e", "a.png", "b.png", "-o", "d.png", NULL), 2, "query is missing");
    assert_refused(program_run("run", "-e", "a.png", "b.png", "-q", "c.png", NULL), 2, "output is missing");
    assert_refused(program_run("run", "--side", "middle", NULL), 2, "right|left");
    assert_refused(program_run("run", "--side=right", "--json=yes", NULL), 2, "takes no value");
    assert_refused(program_run("run", "--precision", "fp8", NULL), 2, "fp32|fp16");
    assert_refused(program_run("run", "--batch", "0", NULL), 2, "1 to 256");
    assert_refused(program_run("run", "--batch", "two", NULL), 2, "whole number");
    assert_refused(program_run("run", "--batch", "1.5", NULL), 2, "whole number");
    assert_refused(program_run("run", "--temperature", "nan", NULL), 2, "number");
    assert_refused(program_run("run", "--temperature=-1", NULL), 2, "0 to 100");
    assert_refused(program_run("run", "--threads", "99999999999999999999", NULL), 2, "1 to 4096");
    assert_refused(program_run("model", "info", NULL), 2, "FILE is missing");
    assert_refused(program_run("model", "info", "a", "b", NULL), 2, "too many");
    assert_refused(program_run("model", "random", "a", "--seed", "-3", NULL), 2, "--seed");
    assert_refused(program_run("bench", "what", NULL), 2, "what");
}

static void wrong_values(void **state)
{
    (void)state;
    const char *in = temp_path("in.png");
    write_picture(in, 8, 8, 1);
    assert_refused(program_run("run", "-e", in, in, "-q", in, "-o", "answer.png", "--background", "#12345", NULL), 2, "#12345");
    assert_refused(program_run("run", "-e", in, in, "-q", in, "-o", "answer.png", "--background", "grue", NULL), 2, "grue");
    const char *model = temp_path("usage.safetensors");
    write_text(model, "");
    assert_refused(program_run("run", "--model", model, "-e", in, in, "-q", in, "-o", "answer.txt", NULL), 2, "answer.txt");
    assert_refused(program_run("run", "--model", model, "-e", in, in, "-q", in, in, "-o", "x.png", NULL), 2, "name a folder");
    const char *args[256] = {"run", "-q", in, "-o", "answer.png"};
    int count = 5;
    for (int i = 0; i < 65; i++) {
        args[count++] = "-e";
        args[count++] = in;
        args[count++] = in;
    }
    assert_refused(program_run_list(args, count), 2, "65 example pairs are too many");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_command), cmocka_unit_test(wrong_options),
                                       cmocka_unit_test(wrong_values)};
    return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
