/* clip.c - `tessera clip`: its subcommands. */
#include "cli/clip/clip.h"

static bool tune_method(int i, const char **name, const char **summary)
{
    ts_clip_method m;
    if (!ts_clip_method_at(i, &m)) return false;
    *name = m.name;
    *summary = m.about;
    return true;
}

static const ts_entry commands[] = {
    {.name = "classify",
     .summary = "which of the classes that you name is on a picture",
     .run = ts_clip_cmd_classify,
     .computes = true},
    {.name = "search",
     .summary = "the pictures of a folder most like a text or a picture",
     .run = ts_clip_cmd_search,
     .computes = true},
    {.name = "embed", .summary = "features of pictures or texts, to a file", .run = ts_clip_cmd_embed, .computes = true},
    {.name = "tune",
     .usage = "METHOD",
     .summary = "learn a prompt for your classes from a few pictures",
     .run = ts_clip_cmd_tune,
     .computes = true,
     .below = tune_method},
    {.name = "eval",
     .summary = "measure prompts, and the zero-shot classifier, on test pictures",
     .run = ts_clip_cmd_eval,
     .computes = true},
    {.name = "train",
     .summary = "a small CLIP from nothing, out of pictures with captions",
     .run = ts_clip_cmd_train,
     .computes = true},
};
const ts_group ts_group_clip = {
    .name = "clip",
    .summary = "what a CLIP model can do with pictures and words",
    .wanted = "what to do",
    .note = "tessera clip COMMAND --help tells of a command.\n",
    .example = "  tessera clip classify --model ViT-B-32.pt --classes \"cat,dog,bird\" photo.jpg\n"
               "  tessera clip search --model ViT-B-32.pt --text \"a dog on a beach\" photos/\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};
