/* group.c - commands that hold others: the program itself, `train`, `model`, `clip`. Each is a table; from it come the dispatch,
 * the help, `tessera help --all` and the complaint about a word that is in none. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

bool ts_asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

const ts_entry *ts_group_find(const ts_group *g, const char *word)
{
    for (int i = 0; i < g->count; i++)
        if (strcmp(g->entries[i].name, word) == 0) return &g->entries[i];
    return NULL;
}

/* "info, convert, check or random" */
static const char *names(const ts_group *g, char *out, size_t room)
{
    size_t used = 0;
    for (int i = 0; i < g->count && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s",
                                 i == 0              ? ""
                                 : i + 1 == g->count ? " or "
                                                     : ", ",
                                 g->entries[i].name);
    return out;
}

static int complain(const ts_group *g, const char *word)
{
    char list[512];
    names(g, list, sizeof list);
    if (!word) return ts_usage_error(g->name, "%s is missing: %s", g->wanted, list);
    if (g->of_folder && ts_is_folder(word)) return ts_usage_error(g->name, "%s is a folder: %s", word, g->of_folder);
    const char *near = NULL;
    for (int i = 0; i < g->count; i++) near = ts_nearer(word, g->entries[i].name, near);
    const char *kind = g->name[0] ? g->name : "command";
    if (near) return ts_usage_error(g->name, "there is no %s %s: did you mean %s? There are %s", kind, word, near, list);
    return ts_usage_error(g->name, "there is no %s %s: %s", kind, word, list);
}

static void print_help(const ts_group *g)
{
    const char *space = g->name[0] ? " " : "";
    printf("tessera%s%s - %s\n\nUsage: tessera%s%s COMMAND [options]\n\nCommands:\n", space, g->name, g->summary, space, g->name);
    for (int i = 0; i < g->count; i++)
        printf("  %-9s %-8s %s\n", g->entries[i].name, g->entries[i].usage ? g->entries[i].usage : "", g->entries[i].summary);
    printf("\n%s\nExample:\n%s", g->note, g->example);
}

int ts_group_run(const ts_group *g, int argc, char **argv)
{
    if (argc < 2) return complain(g, NULL);
    if (ts_asks_help(argv[1])) {
        print_help(g);
        return ts_finish_output(g->name);
    }
    const ts_entry *e = ts_group_find(g, argv[1]);
    if (!e) return complain(g, argv[1]);
    return e->group ? ts_group_run(e->group, argc - 1, argv + 1) : e->run(argc - 1, argv + 1);
}

void ts_group_list(const ts_group *g)
{
    for (int i = 0; i < g->count; i++) {
        const ts_entry *e = &g->entries[i];
        char name[64];
        const char *word, *about;
        snprintf(name, sizeof name, "%s%s%s", g->name, g->name[0] ? " " : "", e->name);
        printf("%-18s  %s\n", name, e->summary);
        if (e->group) ts_group_list(e->group);
        for (int k = 0; e->below && e->below(k, &word, &about); k++) {
            char whole[128];
            snprintf(whole, sizeof whole, "%s %s", name, word);
            printf("%-18s  %s\n", whole, about);
        }
    }
}
