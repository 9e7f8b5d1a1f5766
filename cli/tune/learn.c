/* learn.c - `tessera tune border` and `tessera tune fusion`, from the command line to the configuration of a run. With --resume
 * the run's own configuration comes first, and what the command line says beside it goes over it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/run.h"
#include "cli/tune/learn.h"

typedef struct {
    ts_learn_run run;
    ts_learn_config config, was; /* was: what the run that goes on was begun with */
    ts_common common;
    ts_words folders;
    const char *out, *background;
    int cells; /* the option's choice */
    bool resume, resumed;
    char default_model[4096];
    ts_weights *model, *vqgan;
    ts_whole_paths paths;
    ts_run_lock lock;
} learn;

enum { MOST_OPTIONS = 40, MOST_EXAMPLES = 64 };

static const char BORDER_EXAMPLE[] =
    "  tessera tune border pairs/ --model checkpoint-1000.pth --background white --filter bicubic --out border\n"
    "  tessera run --model checkpoint-1000.pth --border border/border.safetensors -e photo1.jpg mask1.png \\\n"
    "      -q photo2.jpg -o answer.png\n"
    "  tessera eval pairs others/ --model checkpoint-1000.pth --border border/border.safetensors\n";
static const char FUSION_EXAMPLE[] =
    "  tessera tune fusion photos/ masks/ --model checkpoint-1000.pth --examples 4 --out fusion\n"
    "  tessera run --model checkpoint-1000.pth --fusion fusion/fusion.safetensors -e photo1.jpg mask1.png \\\n"
    "      -e photo2.jpg mask2.png -q photo3.jpg -o answer.png\n";

static const int CELLS[] = {TS_BORDER_EXAMPLES, TS_BORDER_INPUTS, TS_BORDER_OUTPUTS, TS_BORDER_EXAMPLES | TS_BORDER_QUERY};

const char *ts_learn_name(const ts_learn_config *c)
{
    return c->is_fusion ? "tune fusion" : "tune border";
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int add(ts_option *list, int n, const ts_option *more, size_t count)
{
    for (size_t i = 0; i < count; i++) list[n++] = more[i];
    return n;
}

static int add_own(learn *t, ts_option *list, int n)
{
    ts_learn_config *c = &t->config;
    const ts_option border[] = {
        {0, "examples", "N", TS_OPT_INT, &c->examples, 1, TS_GRID_MAX_EXAMPLES, "pairs on the canvas beside the query; 1"},
        {0, "pixels", "N", TS_OPT_INT, &c->pixels, 1, 4096, "width of the border at the canvas's size; 30 of 224, in proportion"},
        {0, "cells", "examples|inputs|outputs|all", TS_OPT_CHOICE, &t->cells, 0, 0,
         "which cells get it, `all` the query's too; examples"},
    };
    const ts_option fusion[] = {
        {0, "examples", "N", TS_OPT_INT, &c->examples, 1, MOST_EXAMPLES,
         "pairs that are fused for a query; 1. Others may be as many as one likes when it is used"},
        {0, "condenser", NULL, TS_OPT_FLAG, &c->condenser, 0, 0,
         "Condenser: a place of the query looks at the same place of each example alone (--top 0 --align 0 --embed 1)"},
        {0, "sigma", "X", TS_OPT_REAL, &c->sigma, 0.01, 100,
         "of the window that a place looks at, in patches; 0.65, as published for segmentation (detection 0.5, colourisation "
         "2.5)"},
        {0, "fusion-heads", "N", TS_OPT_INT, &c->fusion_heads, 1, 1024, "attention heads of the fusion; 8"},
        {0, "dropout", "P", TS_OPT_REAL, &c->dropout, 0, 0.99, "of the attentions' weights; 0.25"},
        {0, "top", "X", TS_OPT_REAL, &c->top, 0, 1e3, "weight of the loss at the example's cells; 0.5"},
        {0, "align", "X", TS_OPT_REAL, &c->align, 0, 1e3, "weight of the logits' distance between example and query; 0.2"},
        {0, "embed", "X", TS_OPT_REAL, &c->embed, 0, 1e3, "weight of the tokens' distance between example and query; 0"},
        {0, "own-share", "P", TS_OPT_REAL, &c->own_share, 0, 1, "of the examples that are replaced by the query's own pair; 0.1"},
        {0, "random-share", "P", TS_OPT_REAL, &c->random_share, 0, 1, "of those that are replaced by any other pair; 0.2"},
    };
    return c->is_fusion ? add(list, n, fusion, sizeof fusion / sizeof *fusion)
                        : add(list, n, border, sizeof border / sizeof *border);
}

static int parse(learn *t, int argc, char **argv)
{
    ts_learn_config *c = &t->config;
    const bool fusion = c->is_fusion;
    const ts_option first[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &c->model, 0, 0, "an MAE-VQGAN, which stays as it is; the default model"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &c->vqgan, 0, 0, "the VQGAN, where the model's file holds none"},
        {0, "heads", "N", TS_OPT_INT, &c->heads, 1, 1024, "attention heads of the encoder, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &c->decoder_heads, 1, 1024, "attention heads of the decoder, likewise"},
        {'o', "out", "DIR", TS_OPT_TEXT, &t->out, 0, 0, "the tuning's folder: configuration, log, checkpoints, what is learned"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->resume, 0, 0, "go on where the tuning in --out stopped, with its configuration"},
        {0, "list", "FILE", TS_OPT_TEXT, &c->list, 0, 0,
         "a line a pair, its name and those of the examples shown with it (without ending), as tessera eval pairs takes; others "
         "are drawn at random"},
    };
    const ts_option last[] = {
        {0, "background", "COLOUR", TS_OPT_TEXT, &t->background, 0, 0,
         "between the cells: black, white or #rrggbb; black. The file keeps it for its use"},
        {0, "filter", "bilinear|bicubic", TS_OPT_CHOICE, &c->filter, 0, 0,
         "resizes pictures to cells; bilinear. The file keeps it too"},
        {0, "batch", "N", TS_OPT_INT, &c->batch, 1, 65536, fusion ? "queries in a step; 16" : "queries in a step; 32"},
        {0, "epochs", "N", TS_OPT_INT, &c->epochs, 1, 1000000,
         fusion ? "passes over the pairs; 150" : "passes over the pairs; 100"},
        {0, "lr", "X", TS_OPT_REAL, &c->lr, 1e-12, 1e5,
         fusion ? "highest learning rate (SGD); 0.03" : "highest learning rate (Adam); 40"},
        {0, "restart", "N", TS_OPT_INT, &c->restart, 1, 1000000,
         "epochs over which the rate falls to 0 before it begins again; 10"},
        {0, "eval-every", "N", TS_OPT_INT, &c->eval_every, 1, 1000000, "epochs from validation to validation; 1"},
        {0, "save-every", "N", TS_OPT_INT, &c->save_every, 1, 1e9, "steps from checkpoint to checkpoint; 1000"},
        {0, "keep", "N", TS_OPT_INT, &c->keep, 1, 1e6, "checkpoints kept; 2"},
        {0, "recompute", NULL, TS_OPT_FLAG, &c->recompute, 0, 0,
         "compute the blocks again for the way back: less memory, more time"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->run.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    ts_option list[MOST_OPTIONS];
    int n = add(list, 0, first, sizeof first / sizeof *first);
    n = add_own(t, list, n);
    n = add(list, n, last, sizeof last / sizeof *last);
    return ts_options_parse(
        &(ts_command){.name = ts_learn_name(c),
                      .usage = "FOLDER [TARGETS] --out DIR [options]",
                      .summary = fusion
                                     ? "learns to make one example of several, for a frozen MAE-VQGAN, from pairs of a task: "
                                       "NAME.* with NAME_target.* in a folder, or pictures of like names in two"
                                     : "learns a border of pixels around the examples, for a frozen MAE-VQGAN, from pairs of a "
                                       "task: NAME.* with NAME_target.* in a folder, or pictures of like names in two",
                      .note = "A tenth of the pairs is held out; kept is what does best on those.\n",
                      .example = fusion ? FUSION_EXAMPLE : BORDER_EXAMPLE,
                      .options = list,
                      .count = n,
                      .rest = &t->folders,
                      .most = 2,
                      .rest_name = "a folder",
                      .common = &t->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

/* ---- the configuration ------------------------------------------------------------------------------------------- */

/* What is other than it was in a tuning that goes on, of all that its numbers depend on; NULL: nothing. */
static const char *changed(const learn *t)
{
    const ts_learn_config *a = &t->was, *b = &t->config;
    if (a->examples != b->examples) return "--examples";
    if (a->pixels != b->pixels) return "--pixels";
    if (a->cells != b->cells) return "--cells";
    if (a->condenser != b->condenser) return "--condenser";
    if (a->fusion_heads != b->fusion_heads) return "--fusion-heads";
    if (a->sigma != b->sigma) return "--sigma";
    if (a->background != b->background) return "--background";
    if (a->filter != b->filter) return "--filter";
    if (a->batch != b->batch) return "--batch";
    if (a->seed != b->seed) return "--seed";
    return ts_texts_differ(a->list, b->list) ? "--list" : NULL;
}

static int check_folders(learn *t, const char *name)
{
    ts_learn_config *c = &t->config;
    if (t->folders.count > 0) {
        c->inputs = t->folders.items[0];
        c->targets = t->folders.count > 1 ? t->folders.items[1] : NULL;
    }
    if (!c->inputs) return ts_usage_error(name, "a folder of pairs is missing");
    const char *const both[] = {c->inputs, c->targets};
    for (int i = 0; i < 2; i++)
        if (both[i] && !ts_is_folder(both[i])) return ts_usage_error(name, "%s is no folder", both[i]);
    return -1;
}

/* -1, or the exit status. */
static int complete(learn *t, const char *name)
{
    ts_learn_config *c = &t->config;
    uint8_t rgb[3] = {0};
    if (t->background && !run_colour_read(t->background, rgb))
        return ts_usage_error(name, "--background %s is not black, white or #rrggbb", t->background);
    if (t->background) c->background = rgb[0] << 16 | rgb[1] << 8 | rgb[2];
    if (t->cells >= 0) c->cells = CELLS[t->cells];
    /* The first is of PromptHub, the second of Condenser: see ts_mae_tuner. */
    if (c->top < 0) c->top = c->condenser ? 0 : 0.5;
    if (c->align < 0) c->align = c->condenser ? 0 : 0.2;
    if (c->embed < 0) c->embed = c->condenser ? 1 : 0;
    if (c->own_share + c->random_share > 1)
        return ts_usage_error(name, "--own-share and --random-share are more than all examples");
    const int status = check_folders(t, name);
    if (status >= 0) return status;
    c->inputs = ts_whole_path(&t->paths, c->inputs);
    c->targets = ts_whole_path(&t->paths, c->targets);
    c->list = ts_whole_path(&t->paths, c->list);
    c->model = ts_whole_path(&t->paths, c->model);
    c->vqgan = ts_whole_path(&t->paths, c->vqgan);
    c->seed = t->common.seed;
    c->device = t->common.device;
    c->threads = t->common.threads;
    if (t->resumed && changed(t)) return ts_usage_error(name, "%s of a tuning that goes on cannot change", changed(t));
    return -1;
}

/* The command line once to find the folder, and again over what the folder's configuration says. */
static int load_resumed(learn *t, const ts_learn_config *defaults, int argc, char **argv)
{
    ts_error err = {0};
    char *path = NULL;
    if (asprintf(&path, "%s/config.json", t->out) < 0)
        return ts_report(ts_learn_name(defaults), &(ts_error){TS_ERR_MEMORY, "out of memory"});
    ts_words_free(&t->folders);
    t->config = *defaults;
    t->cells = -1;
    t->background = NULL;
    const bool ok = ts_learn_config_read(&t->config, path, &err);
    free(path);
    if (!ok) return ts_report(ts_learn_name(defaults), &err);
    t->was = t->config;
    t->resumed = true;
    t->common = (ts_common){.device = t->config.device, .threads = t->config.threads, .seed = t->config.seed};
    return parse(t, argc, argv);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool open_files(learn *t, ts_error *err)
{
    ts_learn_config *c = &t->config;
    if (!c->model && !ts_default_model(t->default_model, sizeof t->default_model, err)) return false;
    const char *path = c->model ? c->model : t->default_model;
    if (!ts_check_model(path, "model", TS_KIND_MAE_VQGAN, err) ||
        (c->vqgan && !ts_check_model(c->vqgan, "VQGAN", TS_KIND_VQGAN, err)) ||
        !(t->model = ts_open_weights(path, t->common.quiet, err)) || !ts_kind_expect(t->model, TS_KIND_MAE_VQGAN, err) ||
        !ts_weights_check_finite(t->model, err))
        return false;
    if (c->vqgan && (!(t->vqgan = ts_open_weights(c->vqgan, t->common.quiet, err)) || !ts_weights_check_finite(t->vqgan, err)))
        return false;
    if (!c->vqgan && !ts_vqgan_prefix(t->model))
        return ts_fail(err, TS_ERR_FORMAT, "%s holds no VQGAN, which gives the labels: name one with --vqgan FILE", path);
    /* What happens to the files in the hours to come is of no matter. */
    ts_weights_detach(t->model);
    if (t->vqgan) ts_weights_detach(t->vqgan);
    ts_mae_config mae;
    ts_vqgan_config vqgan;
    const ts_weights *coder = t->vqgan ? t->vqgan : t->model;
    return ts_mae_config_read(t->model, c->heads, c->decoder_heads, false, &mae, err) && ts_vqgan_find(coder, &vqgan, err) &&
           ts_mae_check_codes(t->model, &mae, coder, &vqgan, err);
}

static int work(learn *t, const ts_learn_config *defaults, int argc, char **argv)
{
    const char *name = ts_learn_name(defaults);
    ts_error err = {0};
    t->config = *defaults;
    t->cells = -1;
    int status = parse(t, argc, argv);
    if (status >= 0) return status;
    if (!t->out) return ts_usage_error(name, "the tuning's folder is missing: --out DIR");
    status = ts_run_open(&t->lock, name, t->out, "tuning", t->resume, t->common.quiet);
    if (status < 0 && t->resume) status = load_resumed(t, defaults, argc, argv);
    if (status < 0) status = complete(t, name);
    if (status >= 0) return status;
    if (!open_files(t, &err)) return ts_report(name, &err);
    const bool strict = t->run.left_out.strict;
    t->run = (ts_learn_run){.config = &t->config,
                            .common = &t->common,
                            .folder = t->out,
                            .model = t->model,
                            .vqgan = t->vqgan ? t->vqgan : t->model,
                            .left_out = {.strict = strict, .quiet = t->common.quiet}};
    return ts_learn_go(&t->run);
}

int ts_learn(const ts_learn_config *defaults, int argc, char **argv)
{
    learn *t = calloc(1, sizeof *t);
    if (!t) return ts_report(ts_learn_name(defaults), &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(t, defaults, argc, argv);
    ts_run_lock_release(&t->lock);
    ts_whole_paths_free(&t->paths);
    ts_words_free(&t->folders);
    ts_learn_config_free(&t->config);
    ts_weights_free(t->model);
    ts_weights_free(t->vqgan);
    free(t);
    return status;
}
