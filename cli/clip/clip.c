/* clip.c - `tessera clip`: finds the subcommand and hands over to it. */
#include <stdio.h>
#include <string.h>

#include "cli/clip/clip.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"classify", "which of the classes that you name is on a picture", ts_clip_cmd_classify},
    {"search", "the pictures of a folder most like a text or a picture", ts_clip_cmd_search},
    {"embed", "features of pictures or texts, to a file", ts_clip_cmd_embed},
    {"tune", "learn a prompt for your classes from a few pictures", ts_clip_cmd_tune},
    {"eval", "measure prompts, and the zero-shot classifier, on test pictures", ts_clip_cmd_eval},
    {"train", "a small CLIP from nothing, out of pictures with captions", ts_clip_cmd_train},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

/* "classify, search or embed" */
static const char *names(char *out, size_t room)
{
    size_t used = 0;
    for (int i = 0; i < COMMAND_COUNT && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s",
                                 i == 0                   ? ""
                                 : i + 1 == COMMAND_COUNT ? " or "
                                                          : ", ",
                                 commands[i].name);
    return out;
}

int ts_cmd_clip(int argc, char **argv)
{
    char list[256];
    if (argc < 2) return ts_usage_error("clip", "what to do is missing: %s", names(list, sizeof list));
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0)
        return ts_usage_error("clip", "there is no clip %s: %s", argv[1], names(list, sizeof list));
    printf("tessera clip - what a CLIP model can do with pictures and words\n\nUsage: tessera clip COMMAND "
           "[options]\n\nCommands:\n");
    for (int i = 0; i < COMMAND_COUNT; i++) printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\ntessera clip COMMAND --help tells of a command.\n\nExample:\n"
           "  tessera clip classify --model ViT-B-32.pt --classes \"cat,dog,bird\" photo.jpg\n"
           "  tessera clip search --model ViT-B-32.pt --text \"a dog on a beach\" photos/\n");
    ts_error err = {0};
    return ts_flush_output(&err) ? TS_EXIT_DONE : ts_report("clip", &err);
}
