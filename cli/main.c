/* main.c - the program `tessera`: finds the subcommand and hands over to it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const ts_entry commands[] = {
    {.name = "run", .summary = "do to a picture what example pairs show", .run = ts_cmd_run, .computes = true},
    {.name = "segment",
     .summary = "cut out what points, boxes or words say, with a Segment Anything model",
     .run = ts_cmd_segment,
     .computes = true},
    {.name = "train", .summary = "train the inpainting model, or its VQGAN", .group = &ts_group_train},
    {.name = "tune", .summary = "fit the inpainting model to a task, its weights as they are", .group = &ts_group_tune},
    {.name = "model",
     .summary = "look into a weights file, convert it, check it, make one with random weights",
     .group = &ts_group_model},
    {.name = "devices", .summary = "which devices there are, and what they can do", .run = ts_cmd_devices},
    {.name = "eval", .summary = "measure a model on tasks with known answers", .group = &ts_group_eval},
    {.name = "figures", .summary = "draw pages of example pairs to train on", .run = ts_cmd_figures},
    {.name = "sheet", .summary = "lay pictures out in rows, to look at many at once", .run = ts_cmd_sheet},
    {.name = "clip", .summary = "name what is on pictures and find them by words, with a CLIP", .group = &ts_group_clip},
    {.name = "strokes", .summary = "learn from a few strokes which pixel is what, and apply it", .group = &ts_group_strokes},
    {.name = "serve", .summary = "a page to work on in a browser, and a JSON interface", .run = ts_cmd_serve, .computes = true},
    {.name = "bench", .summary = "speed of every kernel and of every model", .run = ts_cmd_bench, .computes = true},
};
static const ts_group program = {
    .name = "",
    .summary = "fills in the missing tile: shows a model example pairs and a query, and the model paints the answer",
    .wanted = "a command",
    .note = "Options:\n"
            "  -h, --help     this page; tessera COMMAND --help, or tessera help COMMAND, tells of a command,\n"
            "                 tessera help --all lists those below the commands too\n"
            "  -V, --version  the program's version\n"
            "\nExit status:\n  0  done\n  1  failed\n  2  wrong usage\n"
            "  3  done, but some inputs were left out, each named (with --strict they are a failure)\n",
    .example = "  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -q photo2.jpg -o answer.png\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};

/* `tessera help [COMMAND [SUB]]`: the same as COMMAND SUB --help. */
static int help(int argc, char **argv)
{
    enum { DEEPEST = 4 };
    char *words[DEEPEST + 2] = {argv[0]};
    int count = 1;
    if (argc == 3 && strcmp(argv[2], "--all") == 0) {
        ts_group_list(&program);
        return ts_finish_output("");
    }
    for (int i = 2; i < argc && count <= DEEPEST; i++) words[count++] = argv[i];
    words[count++] = (char[]){"--help"};
    return ts_group_run(&program, count, words);
}

static bool computes(int argc, char **argv)
{
    const ts_group *g = &program;
    const ts_entry *e = NULL;
    for (int i = 1; i < argc && g && (e = ts_group_find(g, argv[i])); i++) g = e->group;
    for (int i = 1; i < argc; i++)
        if (ts_asks_help(argv[i])) return false;
    return e && e->computes;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "help") == 0) return help(argc, argv);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        char with[TS_BUILT_ROOM];
        ts_built_with(with);
        printf("tessera " TESSERA_VERSION "\nbuilt with %s\n", with);
        return ts_finish_output("");
    }
    if (computes(argc, argv)) ts_share_processor(argv);
    ts_weights_guard(NULL); /* without it a weights file that is cut short ends the process without a word */
    return ts_group_run(&program, argc, argv);
}
