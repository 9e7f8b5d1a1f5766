/* train.c - `tessera clip train`: a small CLIP from nothing, out of pictures with captions. What the command line says, and
 * what a run that goes on has in its folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/clip.h"
#include "cli/clip/train.h"

static const char name[] = "clip train";

typedef struct {
    ts_common common;
    ts_clip_train_run run;
    const char *vision, *text;
    bool sized; /* sizes were named */
    int image, patch, embed, context;
    ts_whole_paths paths;
    ts_run_lock lock;
    ts_clip_train_config was; /* what the run that goes on was begun with */
} train;

static int parse(train *t, int argc, char **argv)
{
    ts_clip_train_config *c = &t->run.config;
    const ts_option options[] = {
        {'d', "data", "DIR", TS_OPT_TEXT, &c->data, 0, 0,
         "a folder with captions.jsonl, or such a list: a line {\"file\": ..., \"text\": ...} for each picture"},
        {0, "val", "DIR", TS_OPT_TEXT, &c->val, 0, 0, "the same, to validate on"},
        {'o', "out", "DIR", TS_OPT_TEXT, &t->run.folder, 0, 0, "the run's folder, made where absent"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->run.resume, 0, 0, "go on where the run in --out stopped, with its configuration"},
        {0, "init", "FILE", TS_OPT_TEXT, &c->init, 0, 0, "a CLIP to start from; its sizes hold"},
        {0, "heads", "N", TS_OPT_INT, &c->told.heads, 1, 4096, "of --init: heads of its image tower, where nothing tells them"},
        {0, "text-heads", "N", TS_OPT_INT, &c->told.text_heads, 1, 4096, "of --init: heads of its text tower, likewise"},
        {0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &c->told.activation, 0, 0,
         "of a new model; quick_gelu. Of --init: its activation, where nothing tells it"},
        {0, "vocab", "FILE", TS_OPT_TEXT, &c->vocab, 0, 0,
         "the vocabulary, copied beside the model; else one is learned from the captions (--init: the one beside it)"},
        {0, "merges", "N", TS_OPT_INT, &c->merges, 1, 48894, "pairs of symbols that a learned vocabulary merges, at most; 1000"},
        {0, "image", "PX", TS_OPT_INT, &t->image, 1, 4096, "pixels a side of what the model sees; 64"},
        {0, "patch", "PX", TS_OPT_INT, &t->patch, 1, 4096, "pixels a side of a patch; 8"},
        {0, "vision", "WIDTHxLAYERS", TS_OPT_TEXT, &t->vision, 0, 0,
         "image tower; 128x4. Heads are a 64th of the width, or a third number: 96x4x3"},
        {0, "text", "WIDTHxLAYERS", TS_OPT_TEXT, &t->text, 0, 0, "text tower; 128x2"},
        {0, "embed", "N", TS_OPT_INT, &t->embed, 1, 65536, "numbers of a feature; 128"},
        {0, "context", "N", TS_OPT_INT, &t->context, 3, 4096, "tokens of a text at most, start and end included; 77"},
        {0, "cut", NULL, TS_OPT_FLAG, &c->cut, 0, 0, "cut captions that are longer"},
        {0, "steps", "N", TS_OPT_INT, &c->steps, 1, 1e9, "batches in all"},
        {0, "epochs", "X", TS_OPT_REAL, &t->run.epochs, 1e-6, 1e6, "the same in passes over the pictures"},
        {0, "batch", "N", TS_OPT_INT, &c->batch, 2, 65536,
         "pairs in a step, each text of which is wrong for all other pictures; 64"},
        {0, "lr", "X", TS_OPT_REAL, &c->lr, 0, 1e3, "peak learning rate; 5e-4"},
        {0, "warmup", "N", TS_OPT_INT, &c->warmup, 0, 1e9, "steps in which the rate rises; 5 % of all. Then half a cosine to 0"},
        {0, "weight-decay", "X", TS_OPT_REAL, &c->weight_decay, 0, 10, "of matrices; 0.2"},
        {0, "clip", "X", TS_OPT_REAL, &c->clip, 0, 1e9, "greatest norm of all gradients together; 0, the default: any"},
        {0, "margin", "PX", TS_OPT_INT, &c->margin, 0, 4096,
         "keep pictures that much larger, and see a random square of each; 0: always the whole"},
        {0, "memory", "MIB", TS_OPT_INT, &c->memory, 0, 1 << 20, "pictures are kept in memory up to that, else read again; 2048"},
        {0, "save-every", "N", TS_OPT_INT, &c->save_every, 1, 1e9, "steps from checkpoint to checkpoint; 500"},
        {0, "eval-every", "N", TS_OPT_INT, &c->eval_every, 1, 1e9, "steps from validation to validation; 500"},
        {0, "keep", "N", TS_OPT_INT, &c->keep, 1, 1e6, "checkpoints kept; 3"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->run.strict, 0, 0, TS_STRICT_HELP},
        {0, "workers", "N", TS_OPT_INT, &c->workers, 1, 64, "threads that read pictures; half the cores"},
        {0, "fp16", NULL, TS_OPT_FLAG, &c->fp16, 0, 0, "half precision in the model's file at the end, and in the best's"},
    };
    const int status = ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "--data DIR --out DIR --steps N [options]",
                      .summary = "trains a CLIP, both towers and their vocabulary, on pictures with captions",
                      .example =
                          "  tessera figures --captions scenes --count 20000\n"
                          "  tessera clip train --data scenes --out run --steps 2000 --lr 1e-3 --fp16\n"
                          "  tessera clip classify --model run/model.safetensors --classes \"red circle,blue star\" a.png\n",
                      .options = options,
                      .count = sizeof options / sizeof *options,
                      .common = &t->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
    t->sized = t->vision || t->text || t->image || t->patch || t->embed || t->context;
    return status;
}

/* What holds where neither the command line nor a configuration says otherwise. */
static void set_defaults(train *t)
{
    t->run.config = (ts_clip_train_config){.merges = 1000,
                                           .batch = 64,
                                           .warmup = -1,
                                           .lr = 5e-4,
                                           .weight_decay = 0.2,
                                           .save_every = 500,
                                           .eval_every = 500,
                                           .keep = 3,
                                           .memory = 2048,
                                           .workers = ts_default_workers()};
}

/* "128x4" or "96x4x3". */
static bool read_tower(const char *text, int *width, int *layers, int *heads)
{
    int used = 0;
    *heads = 0;
    if (sscanf(text, "%5dx%3d%n", width, layers, &used) != 2) return false;
    if (text[used] != '\0' && sscanf(text, "%5dx%3dx%4d%n", width, layers, heads, &used) != 3) return false;
    if (text[used] != '\0' || *width < 1 || *layers < 1 || *heads < 0) return false;
    if (*heads == 0 && *width % 64 == 0) *heads = *width / 64;
    return *heads > 0 && *width % *heads == 0;
}

/* -1, or the exit status. */
static int choose_sizes(train *t)
{
    ts_clip_config *m = &t->run.config.model;
    const char *vision = t->vision ? t->vision : "128x4", *text = t->text ? t->text : "128x2";
    static const char wanted[] = "is not a size such as 128x4 or 96x4x3: a width, layers, and heads that divide the width where "
                                 "64 does not";
    *m = (ts_clip_config){.image = t->image ? t->image : 64,
                          .patch = t->patch ? t->patch : 8,
                          .embed = t->embed ? t->embed : 128,
                          .context = t->context ? t->context : 77};
    m->erf_gelu = t->run.config.told.activation == TS_CLIP_GELU;
    if (!read_tower(vision, &m->width, &m->layers, &m->heads)) return ts_usage_error(name, "--vision %s %s", vision, wanted);
    if (!read_tower(text, &m->text_width, &m->text_layers, &m->text_heads))
        return ts_usage_error(name, "--text %s %s", text, wanted);
    if (m->image % m->patch != 0)
        return ts_usage_error(name, "patches of %d pixels do not divide pictures of %d", m->patch, m->image);
    return -1;
}

/* What a run that goes on cannot change, which may be said again. -1, or the exit status. */
static int check_unchanged(train *t)
{
    const ts_clip_train_config *a = &t->was;
    ts_clip_train_config *b = &t->run.config;
    if (ts_texts_differ(a->init, b->init))
        return ts_usage_error(name, "--init %s: a run that goes on has its weights", b->init ? b->init : "");
    if (ts_texts_differ(a->vocab, b->vocab) || a->merges != b->merges)
        return ts_usage_error(name, "a run that goes on has its vocabulary: --vocab and --merges cannot change");
    if (!t->sized) return -1;
    if (a->init) return ts_usage_error(name, "--init has sizes of its own");
    const int status = choose_sizes(t);
    const ts_clip_config *m = &a->model, *n = &b->model;
    if (status < 0 && (m->image != n->image || m->patch != n->patch || m->embed != n->embed || m->context != n->context ||
                       m->width != n->width || m->layers != n->layers || m->heads != n->heads || m->text_width != n->text_width ||
                       m->text_layers != n->text_layers || m->text_heads != n->text_heads))
        return ts_usage_error(name, "the sizes of a run that goes on cannot change");
    b->model = a->model;
    return status;
}

/* -1, or the exit status. */
static int complete(train *t)
{
    ts_clip_train_config *c = &t->run.config;
    const bool resumed = t->run.resume;
    if (!c->data) return ts_usage_error(name, "pictures to learn from are missing: --data DIR");
    if (c->steps == 0 && t->run.epochs == 0)
        return ts_usage_error(name, "the length of the training is missing: --steps N or --epochs X");
    if (!c->init && (c->told.heads || c->told.text_heads))
        return ts_usage_error(name,
                              "--heads and --text-heads are of --init: a new model's stand in --vision and --text (96x4x3)");
    c->vocab = ts_whole_path(&t->paths, c->vocab);
    c->init = ts_whole_path(&t->paths, c->init);
    if (!resumed && t->sized && c->init) return ts_usage_error(name, "--init has sizes of its own");
    const int status = resumed ? check_unchanged(t) : c->init ? -1 : choose_sizes(t);
    if (status >= 0) return status;
    c->data = ts_whole_path(&t->paths, c->data);
    c->val = ts_whole_path(&t->paths, c->val);
    c->seed = t->common.seed;
    c->device = t->common.device;
    c->threads = t->common.threads;
    return -1;
}

/* The command line again, over what the folder's configuration says. */
static int load_resumed(train *t, const char *path, int argc, char **argv)
{
    ts_error err = {0};
    ts_clip_train_config *c = &t->run.config;
    set_defaults(t);
    if (!ts_clip_train_config_read(c, path, &err)) return ts_report(name, &err);
    t->was = *c;
    if (t->run.epochs > 0) c->steps = 0; /* said anew, unless --steps is too */
    t->common = (ts_common){.device = c->device, .threads = c->threads, .seed = c->seed};
    return parse(t, argc, argv);
}

static int work(train *t, int argc, char **argv)
{
    char *config = NULL;
    set_defaults(t);
    int status = parse(t, argc, argv);
    if (status >= 0) return status;
    if (!t->run.folder) return ts_usage_error(name, "the run's folder is missing: --out DIR");
    if (asprintf(&config, "%s/config.json", t->run.folder) < 0)
        return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    status = ts_run_open(&t->lock, name, t->run.folder, "run", t->run.resume, t->common.quiet);
    if (status < 0 && t->run.resume) status = load_resumed(t, config, argc, argv);
    free(config);
    if (status < 0) status = complete(t);
    if (status >= 0) return status;
    t->run.common = &t->common;
    return ts_clip_train_go(&t->run);
}

int ts_clip_cmd_train(int argc, char **argv)
{
    train *t = calloc(1, sizeof *t);
    if (!t) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(t, argc, argv);
    ts_run_lock_release(&t->lock);
    ts_whole_paths_free(&t->paths);
    ts_clip_train_config_free(&t->run.config);
    free(t);
    return status;
}
