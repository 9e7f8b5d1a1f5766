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
    {.name = "segmentation",
     .usage = "VOC2012",
     .summary = "on Pascal-5i by the protocol of the paper and those after it",
     .run = ts_eval_segmentation,
     .computes = true},
    {.name = "detection",
     .usage = "VOC2012",
     .summary = "on the boxes of single things, by the paper's protocol",
     .run = ts_eval_detection,
     .computes = true},
    {.name = "colorization",
     .usage = "IMAGENET",
     .summary = "on grey pictures of ImageNet, by the paper's protocol",
     .run = ts_eval_colorization,
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
               "  tessera eval segmentation VOC2012 --trials 1000 --model checkpoint-1000.pth\n"
               "  tessera eval pairs photos/ masks/ --model checkpoint-3400.pth --log pairs.jsonl\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};
