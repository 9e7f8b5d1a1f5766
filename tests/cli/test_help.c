/* test_help.c - help of every command there is, from the program's own list of them: each tells its use and an example, fails
 * where it cannot be printed, and offers no option that means nothing to it. */
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 100, WORDS = 3 };

typedef struct {
    char text[64];
    const char *word[WORDS + 2];
    int count;
} command;

static command commands[MOST];
static int command_count;

/* "clip tune coop      context of words ...": the name ends where two blanks stand. */
static int list_commands(void **state)
{
    (void)state;
    program_result r = program_run("help", "--all", NULL);
    if (r.status != 0) return 1;
    char *rest = r.out, *line;
    while ((line = strsep(&rest, "\n")) && *line && command_count < MOST) {
        command *c = &commands[command_count++];
        char *end = strstr(line, "  ");
        if (!end) return 1;
        snprintf(c->text, sizeof c->text, "%.*s", (int)(end - line), line);
        for (char *at = strtok(c->text, " "); at && c->count < WORDS; at = strtok(NULL, " ")) c->word[c->count++] = at;
    }
    program_free(&r);
    return 0;
}

static program_result help_of(const command *c, const char *option)
{
    const char *args[WORDS + 1];
    for (int i = 0; i < c->count; i++) args[i] = c->word[i];
    args[c->count] = option;
    return program_run_list(args, c->count + 1);
}

static void name_of(const command *c, char *out, size_t room)
{
    snprintf(out, room, "%s%s%s%s%s", c->word[0], c->count > 1 ? " " : "", c->count > 1 ? c->word[1] : "",
             c->count > 2 ? " " : "", c->count > 2 ? c->word[2] : "");
}

static void every_command(void **state)
{
    (void)state;
    assert_true(command_count > 25);
    for (int i = 0; i < command_count; i++) {
        char name[80], start[100];
        name_of(&commands[i], name, sizeof name);
        snprintf(start, sizeof start, "tessera %s - ", name);
        program_result r = help_of(&commands[i], "--help"), brief = help_of(&commands[i], "-h");
        if (r.status != 0 || r.err[0] || strstr(r.out, start) != r.out || !strstr(r.out, "Usage: tessera ") ||
            !strstr(r.out, "\nExample:\n  tessera "))
            fail_msg("%s --help: status %d, \"%s\" \"%s\"", name, r.status, r.out, r.err);
        assert_int_equal(brief.status, 0);
        assert_string_equal(r.out, brief.out);
        /* The same by the word `help` before it. */
        const char *args[WORDS + 1] = {"help"};
        for (int k = 0; k < commands[i].count; k++) args[k + 1] = commands[i].word[k];
        program_result said = program_run_list(args, commands[i].count + 1);
        assert_string_equal(r.out, said.out);
        program_free(&r);
        program_free(&brief);
        program_free(&said);
    }
    program_result r = program_run("--help", NULL), said = program_run("help", NULL);
    assert_string_equal(r.out, said.out);
    for (int i = 0; i < command_count; i++)
        if (commands[i].count == 1 && !strstr(r.out, commands[i].word[0])) fail_msg("--help names no %s", commands[i].word[0]);
    program_free(&r);
    program_free(&said);
}

/* No option stands twice, and none that the text is cut before. */
static void every_option_once(void **state)
{
    (void)state;
    for (int i = 0; i < command_count; i++) {
        char name[80];
        name_of(&commands[i], name, sizeof name);
        program_result r = help_of(&commands[i], "--help");
        const bool leaf = strstr(r.out, "\nOptions:\n") != NULL;
        if (leaf && (!strstr(r.out, "-h, --help") || !strstr(r.out, "-Q, --quiet"))) fail_msg("%s: options are missing", name);
        if (leaf) *strstr(r.out, "-h, --help") = '\0'; /* what follows are notes and examples */
        for (char *at = r.out; (at = strstr(at, "\n  ")); at++) {
            char *option = strstr(at, "--"), word[64];
            if (!option || option - at > 8) continue;
            const size_t length = strcspn(option, " \n");
            snprintf(word, sizeof word, "    %.*s ", (int)length, option);
            char *first = strstr(r.out, word);
            if (first && strstr(first + 1, word)) fail_msg("%s: %s stands twice", name, word);
        }
        program_free(&r);
    }
}

/* On a full disk the help is not there, and nobody may think so. */
static void full_disk(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    const command others[] = {{.word = {"help"}, .count = 1}, {.word = {"--version"}, .count = 1}, {.count = 0}};
    for (int i = 0; i < command_count + 3; i++) {
        const command *c = i < command_count ? &commands[i] : &others[i - command_count];
        char line[512] = TS_PROGRAM, said[256] = "";
        for (int k = 0; k < c->count; k++) {
            strcat(line, " ");
            strcat(line, c->word[k]);
        }
        if (i < command_count || c->count == 0) strcat(line, " --help");
        strcat(line, " 2>&1 >/dev/full");
        FILE *f = popen(line, "r");
        assert_non_null(f);
        const bool spoke = fgets(said, sizeof said, f) != NULL;
        const int status = pclose(f);
        if (!spoke || !strstr(said, "standard output cannot be written") || !WIFEXITED(status) || WEXITSTATUS(status) != 1)
            fail_msg("%s: status %d, \"%s\"", line, status, said);
    }
}

static void offered(const char *a, const char *b, const char *option, bool wanted)
{
    program_result r = b ? program_run(a, b, "--help", NULL) : program_run(a, "--help", NULL);
    char word[64];
    snprintf(word, sizeof word, " --%s ", option);
    if ((strstr(r.out, word) != NULL) != wanted) fail_msg("%s %s: %s is %s", a, b ? b : "", option, wanted ? "missing" : "there");
    program_free(&r);
}

static void meaning(void **state)
{
    (void)state;
    static const char *const drawn[][2] = {{"figures", NULL}, {"sheet", NULL}, {"model", "info"}, {"model", "random"}};
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        offered(drawn[i][0], drawn[i][1], "device", false);
        offered(drawn[i][0], drawn[i][1], "precision", false);
        offered(drawn[i][0], drawn[i][1], "threads", false);
        offered(drawn[i][0], drawn[i][1], "verbose", false);
    }
    offered("sheet", NULL, "json", false);
    offered("sheet", NULL, "seed", false);
    offered("model", "info", "seed", false);
    offered("model", "random", "seed", true);
    offered("devices", NULL, "seed", false);
    offered("clip", "classify", "seed", false);
    offered("clip", "train", "seed", true);
    offered("clip", "train", "precision", false);
    offered("run", NULL, "device", true);
    offered("run", NULL, "verbose", true);
    assert_refused(program_run("sheet", "-o", "a.png", "b.png", "--device", "cpu", NULL), 2, "there is no option --device");
}

static void did_you_mean(void **state)
{
    (void)state;
    assert_refused(program_run("rum", NULL), 2, "did you mean run?");
    assert_refused(program_run("figure", NULL), 2, "did you mean figures?");
    assert_refused(program_run("paint", NULL), 2, "there is no command paint: run, segment, train, tune");
    assert_refused(program_run("help", "trian", NULL), 2, "did you mean train?");
    assert_refused(program_run("model", "inof", NULL), 2, "did you mean info?");
    assert_refused(program_run("train", "vgqan", NULL), 2, "did you mean vqgan?");
    assert_refused(program_run("clip", "tune", "cop", NULL), 2, "did you mean coop?");
    assert_refused(program_run("run", "--outptu=a.png", NULL), 2, "did you mean --output?");
    assert_refused(program_run("run", "--out", "a.png", NULL), 2, "did you mean --output?");
    assert_refused(program_run("run", "--zebra", NULL), 2, "there is no option --zebra (");
    assert_refused(program_run("run", "--side", "rigth", NULL), 2, "did you mean right?");
    assert_refused(program_run("run", "--side", "middle", NULL), 2, "is not one of right|left (");
}

static void versions(void **state)
{
    (void)state;
    program_result a = program_run("--version", NULL), b = program_run("-V", NULL);
    assert_int_equal(a.status, 0);
    assert_ptr_equal(strstr(a.out, "tessera "), a.out);
    assert_string_equal(a.out, b.out);
    program_free(&a);
    program_free(&b);
}

static void more_threads_than_cores(void **state)
{
    (void)state;
    const char *in = temp_path("in.png"), *model = random_model();
    write_picture(in, 16, 16, 1);
    program_result r = program_run("run", "-m", model, "-e", in, in, "-q", in, "-o", temp_path("answer.png"), "--device", "cpu",
                                   "--threads", "4096", "--verbose", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.err, "note: --threads 4096 is more than there are cores: "));
    assert_non_null(strstr(r.err, "versions: tessera "));
    assert_non_null(strstr(r.err, "limits: "));
    assert_non_null(strstr(r.err, " s  painted: "));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_command),
                                       cmocka_unit_test(every_option_once),
                                       cmocka_unit_test(full_disk),
                                       cmocka_unit_test(meaning),
                                       cmocka_unit_test(did_you_mean),
                                       cmocka_unit_test(versions),
                                       cmocka_unit_test(more_threads_than_cores)};
    return cmocka_run_group_tests_name("help", tests, list_commands, NULL);
}
