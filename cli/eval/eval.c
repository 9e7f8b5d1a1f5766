/* eval.c - `tessera eval`: its subcommands. */
#include "cli/eval/eval.h"

static const ts_entry commands[] = {
    {.name = "synthetic",
     .summary = "on the paper's six tasks of discs and squares, and on three of drawn scenes",
     .run = ts_eval_synthetic,
     .computes = true},
    {.name = "pairs",
     .usage = "FOLDER",
     .summary = "on your own pairs of pictures and what is wanted of them",
     .run = ts_eval_pairs,
     .computes = true},
    {.name = "merge", .usage = "FILE...", .summary = "make one result of the parts of an evaluation", .run = ts_eval_merge},
};
const ts_group ts_group_eval = {
    .name = "eval",
    .summary = "measures a model on tasks with known answers",
    .wanted = "what to measure on",
    .of_folder = "its pairs by tessera eval pairs FOLDER, pictures in a folder a class by tessera clip eval --data FOLDER",
    .note = "tessera eval COMMAND --help tells of a command.\n",
    .example = "  tessera eval synthetic --model model.safetensors --sheet sheet.png\n"
               "  tessera eval pairs photos/ masks/ --model checkpoint-3400.pth --log pairs.jsonl\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};
