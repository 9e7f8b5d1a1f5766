/* options.c - the command line, read from a table: a subcommand says which options it has and where their values go, and gets
 * parsing, --help and complaints. Long options take "--name value" and "--name=value", short ones "-n value" and "-nvalue" for a
 * single value; flags may be joined (-Qh); "--" ends the options. Words are kept as pointers into argv. */
#include "cli/cli.h"
#include "engine/number.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMON_COUNT = 8 };

/* The seed goes through a double's place only where it fits: it is read on its own below. */
typedef struct {
    const char *seed;
    int precision;
    bool help;
} extra;

static int word_count(const char *values)
{
    int n = 1;
    for (const char *c = values; *c; c++) n += *c == ' ';
    return n;
}

/* A subcommand's own options and those of the common ones that mean something to it. NULL: no memory. */
static ts_option *all_options(const ts_command *cmd, extra *more, int *count)
{
    const struct {
        unsigned of; /* 0: every command's */
        ts_option option;
    } common[COMMON_COUNT] = {
        {TS_TAKES_DEVICE,
         {0, "device", "NAME", TS_OPT_TEXT, &cmd->common->device, 0, 0,
          "auto (a GPU, else the processor), cpu, vulkan, vulkan:N, or part of a name (see tessera devices)"}},
        {TS_TAKES_PRECISION,
         {0, "precision", "fp32|fp16", TS_OPT_CHOICE, &more->precision, 0, 0, "how numbers are stored on the device; fp32"}},
        {TS_TAKES_DEVICE,
         {0, "threads", "N", TS_OPT_INT, &cmd->common->threads, 1, 4096, "threads on the processor; one for each core"}},
        {TS_TAKES_SEED, {0, "seed", "N", TS_OPT_TEXT, &more->seed, 0, 0, "of what is random; 0"}},
        {TS_TAKES_JSON, {0, "json", NULL, TS_OPT_FLAG, &cmd->common->json, 0, 0, "results for machines, on standard output"}},
        {TS_TAKES_DEVICE,
         {0, "verbose", NULL, TS_OPT_FLAG, &cmd->common->verbose, 0, 0,
          "versions, the device's limits and the time of each stage, on standard error"}},
        {0, {'Q', "quiet", NULL, TS_OPT_FLAG, &cmd->common->quiet, 0, 0, "nothing on standard error but failures"}},
        {0, {'h', "help", NULL, TS_OPT_FLAG, &more->help, 0, 0, "this page"}},
    };
    ts_option *out = malloc((size_t)(cmd->count + COMMON_COUNT) * sizeof *out);
    int n = 0;
    for (int i = 0; out && i < cmd->count; i++) out[n++] = cmd->options[i];
    for (int i = 0; out && i < COMMON_COUNT; i++)
        if (common[i].of == 0 || (common[i].of & cmd->takes)) out[n++] = common[i].option;
    *count = n;
    return out;
}

static void print_help(const ts_command *cmd, const ts_option *list, int count)
{
    printf("tessera %s - %s\n\nUsage: tessera %s %s\n\nOptions:\n", cmd->name, cmd->summary, cmd->name, cmd->usage);
    for (int i = 0; i < count; i++) {
        if (i == cmd->count && i > 0) printf("\n");
        char left[64];
        int used = list[i].letter ? snprintf(left, sizeof left, "-%c, ", list[i].letter) : snprintf(left, sizeof left, "    ");
        snprintf(left + used, sizeof left - (size_t)used, "--%s %s", list[i].name, list[i].values ? list[i].values : "");
        printf("  %-30s %s\n", left, list[i].help);
    }
    if (cmd->note) printf("\n%s", cmd->note);
    printf("\nExample:\n%s", cmd->example);
}

int ts_usage_error(const char *command, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *space = command[0] ? " " : "";
    ts_say("tessera%s%s: %s (tessera%s%s --help shows how)", space, command, text, space, command);
    return TS_EXIT_USAGE;
}

static bool push_word(ts_words *w, const char *word)
{
    const char **grown = realloc(w->items, (size_t)(w->count + 1) * sizeof *grown);
    if (!grown) return false;
    w->items = grown;
    w->items[w->count++] = word;
    return true;
}

void ts_words_free(ts_words *w)
{
    free(w->items);
    *w = (ts_words){0};
}

/* The place of `word` among "a|b|c", or -1. */
static int choice_index(const char *choices, const char *word)
{
    size_t length = strlen(word);
    int at = 0;
    for (const char *c = choices;; at++) {
        size_t n = strcspn(c, "|");
        if (n == length && strncmp(c, word, n) == 0) return at;
        if (c[n] == '\0') return -1;
        c += n + 1;
    }
}

static int no_choice(const ts_command *cmd, const ts_option *o, const char *word)
{
    char names[256], *rest = names, *name;
    const char *near = NULL;
    snprintf(names, sizeof names, "%s", o->values);
    while ((name = strsep(&rest, "|"))) near = ts_nearer(word, name, near);
    if (near) return ts_usage_error(cmd->name, "--%s %s is not one of %s: did you mean %s?", o->name, word, o->values, near);
    return ts_usage_error(cmd->name, "--%s %s is not one of %s", o->name, word, o->values);
}

/* Puts the words of one use of an option where they belong. -1, or the exit status. */
static int take(const ts_command *cmd, const ts_option *o, const char *const *words)
{
    double number;
    int at;
    switch (o->kind) {
    case TS_OPT_FLAG:
        *(bool *)o->target = true;
        return -1;
    case TS_OPT_TEXT:
        *(const char **)o->target = words[0];
        return -1;
    case TS_OPT_CHOICE:
        at = choice_index(o->values, words[0]);
        if (at < 0) return no_choice(cmd, o, words[0]);
        *(int *)o->target = at;
        return -1;
    case TS_OPT_INT:
    case TS_OPT_REAL:
        if (!ts_real_read(words[0], &number) || (o->kind == TS_OPT_INT && number != floor(number)))
            return ts_usage_error(cmd->name, "--%s %s is not a %snumber", o->name, words[0],
                                  o->kind == TS_OPT_INT ? "whole " : "");
        if (number < o->low || number > o->high)
            return ts_usage_error(cmd->name, "--%s %s is outside %.10g to %.10g", o->name, words[0], o->low, o->high);
        if (o->kind == TS_OPT_INT) *(int *)o->target = (int)number;
        else *(double *)o->target = number;
        return -1;
    case TS_OPT_WORDS:
        for (int i = 0; i < word_count(o->values); i++)
            if (!push_word(o->target, words[i])) return ts_report(cmd->name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
        return -1;
    }
    return -1;
}

static const ts_option *find_long(const ts_option *list, int count, const char *name, size_t length)
{
    for (int i = 0; i < count; i++)
        if (strlen(list[i].name) == length && strncmp(list[i].name, name, length) == 0) return &list[i];
    return NULL;
}

static const ts_option *find_short(const ts_option *list, int count, char letter)
{
    for (int i = 0; i < count; i++)
        if (list[i].letter == letter && letter != '\0') return &list[i];
    return NULL;
}

/* `word` is "--name" or "--name=value". */
static int no_option(const ts_command *cmd, const ts_option *list, int count, const char *word, size_t length)
{
    char name[64];
    const char *near = NULL;
    snprintf(name, sizeof name, "%.*s", (int)length, word + 2);
    for (int i = 0; i < count; i++) near = ts_nearer(name, list[i].name, near);
    if (near) return ts_usage_error(cmd->name, "there is no option %.*s: did you mean --%s?", (int)length + 2, word, near);
    return ts_usage_error(cmd->name, "there is no option %.*s", (int)length + 2, word);
}

/* The option at argv[at] and its words; `next` is set to the place after them. `joined` is a value in the same word. */
static int take_option(const ts_command *cmd, const ts_option *o, const char *joined, int argc, char **argv, int at, int *next)
{
    *next = at + 1;
    const char *value = o->kind == TS_OPT_FLAG ? "" : joined ? joined : at + 1 < argc ? argv[at + 1] : "";
    if ((cmd->given && !push_word(cmd->given, o->name)) || (cmd->values && !push_word(cmd->values, value)))
        return ts_report(cmd->name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    if (o->kind == TS_OPT_FLAG) {
        if (joined) return ts_usage_error(cmd->name, "--%s takes no value", o->name);
        return take(cmd, o, NULL);
    }
    int need = o->kind == TS_OPT_WORDS ? word_count(o->values) : 1;
    if (joined) {
        if (need != 1) return ts_usage_error(cmd->name, "--%s wants %d words after it: %s", o->name, need, o->values);
        return take(cmd, o, &joined);
    }
    if (at + need >= argc) return ts_usage_error(cmd->name, "--%s wants %s after it", o->name, o->values);
    for (int i = 0; need > 1 && i < need; i++)
        if (argv[at + 1 + i][0] == '-' && argv[at + 1 + i][1])
            return ts_usage_error(cmd->name, "--%s wants %s after it, and %s is an option (a file of that name is ./%s)", o->name,
                                  o->values, argv[at + 1 + i], argv[at + 1 + i]);
    *next = at + 1 + need;
    return take(cmd, o, (const char *const *)argv + at + 1);
}

/* A word that starts with a single dash: flags joined, the last of which may take a value. */
static int take_letters(const ts_command *cmd, const ts_option *list, int count, int argc, char **argv, int at, int *next)
{
    for (const char *c = argv[at] + 1; *c; c++) {
        const ts_option *o = find_short(list, count, *c);
        if (!o) return ts_usage_error(cmd->name, "there is no option -%c", *c);
        const char *joined = o->kind != TS_OPT_FLAG && c[1] ? c + 1 : NULL;
        int status = take_option(cmd, o, joined, argc, argv, at, next);
        if (status >= 0 || o->kind != TS_OPT_FLAG) return status;
    }
    return -1;
}

static int take_word(const ts_command *cmd, const char *word)
{
    if (!cmd->rest) return ts_usage_error(cmd->name, "what is %s for?", word);
    if (cmd->rest->count >= cmd->most) return ts_usage_error(cmd->name, "%s is one %s too many", word, cmd->rest_name);
    if (!push_word(cmd->rest, word)) return ts_report(cmd->name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    return -1;
}

static int parse_seed(const ts_command *cmd, const char *word)
{
    if (!word) return -1;
    if (ts_seed_read(word, &cmd->common->seed)) return -1;
    return ts_usage_error(cmd->name, "--seed %s is not a whole number of 64 bits", word);
}

/* -1: all words are read. */
static int take_words(const ts_command *cmd, const ts_option *list, int count, const extra *more, int argc, char **argv)
{
    bool only_words = false;
    for (int at = 1, next; at < argc; at = next) {
        const char *word = argv[at];
        int status;
        next = at + 1;
        if (only_words || word[0] != '-' || word[1] == '\0') {
            status = take_word(cmd, word);
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        } else if (word[1] == '-') {
            size_t length = strcspn(word + 2, "=");
            const ts_option *o = find_long(list, count, word + 2, length);
            if (!o) return no_option(cmd, list, count, word, length);
            const char *joined = word[2 + length] ? word + 3 + length : NULL;
            status = take_option(cmd, o, joined, argc, argv, at, &next);
        } else {
            status = take_letters(cmd, list, count, argc, argv, at, &next);
        }
        if (status >= 0) return status;
        if (more->help) {
            print_help(cmd, list, count);
            return ts_finish_output(cmd->name);
        }
    }
    return -1;
}

/* More threads than cores only take turns on them. */
static void cap_threads(ts_common *c)
{
    const int cores = ts_core_count();
    if (c->threads <= cores) return;
    if (!c->quiet) fprintf(stderr, "note: --threads %d is more than there are cores: %d are used\n", c->threads, cores);
    c->threads = cores;
}

int ts_options_parse(const ts_command *cmd, int argc, char **argv)
{
    extra more = {0};
    int count;
    ts_option *list = all_options(cmd, &more, &count);
    if (!list) return ts_report(cmd->name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    int status = take_words(cmd, list, count, &more, argc, argv);
    free(list);
    if (status >= 0) return status;
    cmd->common->started = ts_now_ms();
    cap_threads(cmd->common);
    cmd->common->precision = more.precision ? TS_F16 : TS_F32;
    if (cmd->rest && cmd->rest->count < cmd->least) return ts_usage_error(cmd->name, "%s is missing", cmd->rest_name);
    return parse_seed(cmd, more.seed);
}

int ts_default_workers(void)
{
    const int cores = ts_core_count();
    return cores > 16 ? 8 : cores > 3 ? cores / 2 : 1;
}
