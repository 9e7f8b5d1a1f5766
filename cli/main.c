/* main.c - the program `tessera`: finds the subcommand and hands over to it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", "do to a picture what example pairs show", ts_cmd_run},
    {"train", "train the inpainting model, or its VQGAN", ts_cmd_train},
    {"model", "look into a weights file, convert it, check it, make one with random weights", ts_cmd_model},
    {"devices", "which devices there are, and what they can do", ts_cmd_devices},
    {"eval", "measure a model on tasks with known answers", ts_cmd_eval},
    {"figures", "draw pages of example pairs to train on", ts_cmd_figures},
    {"sheet", "lay pictures out in rows, to look at many at once", ts_cmd_sheet},
    {"clip", "name what is on pictures and find them by words, with a CLIP", ts_cmd_clip},
    {"bench", "speed of every kernel and of every model", ts_cmd_bench},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_usage(void)
{
    printf("tessera fills in the missing tile: it shows a model example pairs and a query, and the model paints the answer.\n\n"
           "Usage: tessera COMMAND [options]\n\nCommands:\n");
    for (int i = 0; i < COMMAND_COUNT; i++) printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\nOptions:\n  --help     this page; tessera COMMAND --help tells of a command\n  --version  the program's version\n"
           "\nExit status:\n  0  done\n  1  failed\n  2  wrong usage\n"
           "  3  done, but some inputs were left out, each named (with --strict they are a failure)\n"
           "\nExample:\n  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -q photo2.jpg -o answer.png\n");
}

static int finish(void)
{
    ts_error err = {0};
    return ts_flush_output(&err) ? TS_EXIT_DONE : ts_report("", &err);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr,
                "tessera: a command is missing: run, train, eval, model, devices, figures, sheet, clip or bench (tessera --help "
                "shows how)\n");
        return TS_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_usage();
        return finish();
    }
    if (strcmp(word, "--version") == 0) {
        puts("tessera " TESSERA_VERSION);
        return finish();
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(word, commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr,
            "tessera: there is no command %s: run, train, eval, model, devices, figures, sheet, clip or bench (tessera --help "
            "shows how)\n",
            word);
    return TS_EXIT_USAGE;
}
