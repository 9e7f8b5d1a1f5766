/* tune.c - `tessera tune`: its subcommands. */
#include "cli/tune/tune.h"
#include "cli/cli.h"

static const ts_entry commands[] = {
    {.name = "border",
     .summary = "a border of pixels around the examples, the same for all",
     .run = ts_tune_border,
     .computes = true},
    {.name = "fusion", .summary = "a small network that makes one example of several", .run = ts_tune_fusion, .computes = true},
    {.name = "retriever",
     .usage = "FOLDER",
     .summary = "a small head that says which examples go with a query",
     .run = ts_tune_retriever,
     .computes = true},
    {.name = "task",
     .usage = "FOLDER",
     .summary = "task vectors: what heads say on a task's examples, to answer without any",
     .run = ts_tune_task,
     .computes = true},
};
const ts_group ts_group_tune = {
    .name = "tune",
    .summary = "fits the inpainting model to a task by pairs of pictures, its weights as they are",
    .wanted = "what to tune",
    .note = "tessera tune COMMAND --help tells of a command.\n",
    .example =
        "  tessera tune border pairs/ --model checkpoint-1000.pth --out border\n"
        "  tessera run --model checkpoint-1000.pth --border border/border.safetensors -e photo1.jpg mask1.png \\\n"
        "      -q photo2.jpg -o answer.png\n"
        "  tessera tune retriever pairs/ --model checkpoint-1000.pth --clip ViT-L-14.pt --out retriever\n"
        "  tessera run --model checkpoint-1000.pth --examples pairs/ --by retriever/retriever.safetensors -q photo2.jpg \\\n"
        "      -o answer.png\n"
        "  tessera tune task pairs/ --model checkpoint-3400.pth -o task.safetensors\n"
        "  tessera run --model checkpoint-3400.pth --task task.safetensors -q photo.jpg -o answer.png\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};
