/* train.c - `tessera train mae|vqgan`: from the command line to the configuration of a run. With --resume the run's own
 * configuration comes first, and what the command line says beside it goes over it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/train/training.h"
#include "engine/number.h"

typedef struct {
    ts_train_run run;
    ts_common common;
    ts_words data, mix;
    int preset; /* -1: none said */
    const char *encoder, *decoder, *widths;
    int patch, blocks, latent, codes, groups;
    double base_lr;
    ts_whole_paths paths;
    ts_run_lock lock;
    bool resumed;
    ts_train_config was; /* what the run that goes on was begun with */
} train;

static const char MAE_EXAMPLE[] = "  tessera train mae --data figures: --vqgan vqgan/model.safetensors --out mae --preset tiny "
                                  "--steps 20000 --lr 1e-3 --clip 1\n"
                                  "  tessera train mae --mix figures: 1 --mix photos 1 --vqgan vqgan/model.safetensors --out mae "
                                  "--steps 20000 --lr 1e-3 --clip 1 \\\n"
                                  "      --cell-share 0.5\n"
                                  "  tessera train mae --out mae --resume\n";
static const char VQGAN_EXAMPLE[] = "  tessera train vqgan --data figures: --out vqgan --preset tiny --steps 5000 --lr 5e-4\n"
                                    "  tessera train vqgan --data photos/ --out vqgan --steps 50000 --discriminator-start 20000\n"
                                    "  tessera train vqgan --out vqgan --resume\n";

/* As published, and a small one for a model that ships. */
static const ts_mae_config MAE_PRESET[] = {
    {.patch = 16, .dim = 256, .depth = 6, .heads = 8, .decoder_dim = 192, .decoder_depth = 4, .decoder_heads = 6},
    {.patch = 16, .dim = 384, .depth = 12, .heads = 12, .decoder_dim = 512, .decoder_depth = 8, .decoder_heads = 16},
    {.patch = 16, .dim = 768, .depth = 12, .heads = 12, .decoder_dim = 512, .decoder_depth = 8, .decoder_heads = 16},
    {.patch = 16, .dim = 1024, .depth = 24, .heads = 16, .decoder_dim = 512, .decoder_depth = 8, .decoder_heads = 16},
    {.patch = 14, .dim = 1280, .depth = 32, .heads = 16, .decoder_dim = 512, .decoder_depth = 8, .decoder_heads = 16},
};
/* The last is the published one. */
static const ts_vqgan_config VQGAN_PRESET[] = {
    {.levels = 5, .width = {32, 32, 64, 64, 128}, .blocks = 1, .latent = 64, .embed = 64, .codes = 512},
    {.levels = 5, .width = {64, 64, 128, 128, 256}, .blocks = 1, .latent = 128, .embed = 128, .codes = 1024},
    {.levels = 5, .width = {128, 128, 256, 256, 512}, .blocks = 2, .latent = 256, .embed = 256, .codes = 1024},
};

/* ---- options --------------------------------------------------------------------------------------------------- */

static int add(ts_option *list, int n, ts_option o)
{
    list[n] = o;
    return n + 1;
}

static int parse(train *t, int argc, char **argv)
{
    ts_train_config *c = &t->run.config;
    bool mae = c->kind == TS_TRAIN_MAE;
    const ts_option first[] = {
        {'o', "out", "DIR", TS_OPT_TEXT, &t->run.folder, 0, 0,
         "the run's folder: configuration, log, checkpoints, model, pictures"},
        {0, "data", "PATH", TS_OPT_WORDS, &t->data, 0, 0,
         "a folder tree of pictures, or figures:[published,plain,N,TASK,...] for pages drawn on the fly"},
        {0, "mix", "PATH SHARE", TS_OPT_WORDS, &t->mix, 0, 0, "the same, and how often in proportion to others; repeated"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->run.resume, 0, 0, "go on where the run in --out stopped, with its configuration"},
        {0, "init", "FILE", TS_OPT_TEXT, &c->init, 0, 0, "weights to start from, as published or ours; its sizes hold"},
        {0, "steps", "N", TS_OPT_INT, &c->steps, 1, 1e9, "updates in all"},
        {0, "epochs", "X", TS_OPT_REAL, &t->run.epochs, 1e-6, 1e6, "the same in passes over the pictures"},
        {0, "batch", "N", TS_OPT_INT, &c->batch, 1, 65536, mae ? "canvases at a time; 32" : "pictures at a time; 16"},
        {0, "accumulate", "N", TS_OPT_INT, &c->accumulate, 1, 65536,
         "batches whose gradients are averaged for a step, as one N times larger would give; 1"},
        {0, "lr", "X", TS_OPT_REAL, &c->lr, 0, 1e3,
         mae ? "peak learning rate; 1e-4 x pictures of a step / 256, as published for large models: a small one wants about "
               "1e-3, and --clip 1"
             : "peak learning rate; 4.5e-6 x pictures of a step, as published for the base: a small one wants about 5e-4"},
        {0, "base-lr", "X", TS_OPT_REAL, &t->base_lr, 0, 1e3, "the same for a step of 256 pictures"},
        {0, "warmup", "N", TS_OPT_INT, &c->warmup, 0, 1e9,
         "steps in which the rate rises; 1.5 % of all. Then half a cosine to 0"},
        {0, "scale", "X", TS_OPT_REAL, &c->scale, 0.001, 1, "least share of a picture's area in a crop; 0.2"},
        {0, "save-every", "N", TS_OPT_INT, &c->save_every, 1, 1e9, "steps from checkpoint to checkpoint; 1000"},
        {0, "eval-every", "N", TS_OPT_INT, &c->eval_every, 1, 1e9, "steps from validation to validation; 1000"},
        {0, "eval-batches", "N", TS_OPT_INT, &c->eval_batches, 1, 10000, "batches of a validation; 4"},
        {0, "keep", "N", TS_OPT_INT, &c->keep, 1, 1e6, "checkpoints kept; 3"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->run.strict, 0, 0, TS_STRICT_HELP},
        {0, "workers", "N", TS_OPT_INT, &c->workers, 1, 256, "threads that read or draw pictures; half the cores"},
        {0, "fp16", NULL, TS_OPT_FLAG, &c->fp16, 0, 0, "half precision in the model's file at the end, and in the best's"},
    };
    const ts_option of_mae[] = {
        {0, "vqgan", "FILE", TS_OPT_TEXT, &c->vqgan, 0, 0, "the VQGAN that gives the labels; goes into the model's file"},
        {0, "preset", "tiny|small|base|large|huge", TS_OPT_CHOICE, &t->preset, 0, 0, "sizes; tiny"},
        {0, "encoder", "DIMxDEPTHxHEADS", TS_OPT_TEXT, &t->encoder, 0, 0, "other sizes, such as 256x6x8"},
        {0, "decoder", "DIMxDEPTHxHEADS", TS_OPT_TEXT, &t->decoder, 0, 0, "other sizes, such as 192x4x6"},
        {0, "canvas", "PX", TS_OPT_INT, &c->canvas, 16, 8192, "pixels a side; 224"},
        {0, "patch", "PX", TS_OPT_INT, &t->patch, 1, 1024, "pixels a side of a patch; 16, or 14 for huge"},
        {0, "heads", "N", TS_OPT_INT, &c->heads, 1, 1024, "attention heads of --init, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &c->decoder_heads, 1, 1024, "the same for its decoder"},
        {0, "recompute", NULL, TS_OPT_FLAG, &c->recompute, 0, 0,
         "compute the blocks' activations again for the gradient and do not keep them: less memory, more time"},
        {0, "mask", "X", TS_OPT_REAL, &c->mask, 0.01, 0.99, "share of the patches that are hidden; 0.75"},
        {0, "cell-share", "X", TS_OPT_REAL, &c->cell_share, 0, 1,
         "of the masks that hide all of a grid's cell, as run does; 0, as published: at random alone"},
        {0, "visible-loss", "X", TS_OPT_REAL, &c->visible_loss, 0, 100,
         "weight of the loss at visible patches, which teaches a new model sooner what codes stand for; 0, as published"},
        {0, "weight-decay", "X", TS_OPT_REAL, &c->weight_decay, 0, 10, "of matrices; 0.05"},
        {0, "clip", "X", TS_OPT_REAL, &c->clip, 0, 1e9, "greatest norm of all gradients together; 0, the default: any"},
    };
    const ts_option of_vqgan[] = {
        {0, "preset", "tiny|small|base", TS_OPT_CHOICE, &t->preset, 0, 0, "sizes; tiny. base is the published one"},
        {0, "widths", "A,B,...", TS_OPT_TEXT, &t->widths, 0, 0,
         "channels of each level, multiples of the groups; each but the first halves"},
        {0, "groups", "N", TS_OPT_INT, &t->groups, 1, 1024, "groups of the GroupNorms; 32 as published, fewer for narrow levels"},
        {0, "blocks", "N", TS_OPT_INT, &t->blocks, 1, TS_VQGAN_MAX_BLOCKS - 1, "residual blocks of a level"},
        {0, "latent", "N", TS_OPT_INT, &t->latent, 1, 65536, "numbers of a code"},
        {0, "codes", "N", TS_OPT_INT, &t->codes, 2, 65536, "rows of the codebook"},
        {0, "canvas", "PX", TS_OPT_INT, &c->canvas, 16, 8192, "pixels a side of a crop; 224"},
        {0, "continuous", "N", TS_OPT_INT, &c->continuous, 0, 1e9, "steps at the beginning that do not quantise; 0"},
        {0, "decoder-only", NULL, TS_OPT_FLAG, &c->decoder_only, 0, 0,
         "with --init: encoder and codes stay, so that a masked autoencoder trained for them stays right"},
        {0, "merge", "X", TS_OPT_REAL, &c->merge, 0, 1,
         "with --decoder-only: codes nearer than this share of the usual distance become one; 0"},
        {0, "revive", "N", TS_OPT_INT, &c->revive, 0, 1e9, "steps after which unused codes start anew; 100, 0: never"},
        {0, "lpips", "FILE", TS_OPT_TEXT, &c->lpips, 0, 0,
         "weights of LPIPS, which then counts beside |x - y|: a VQGAN's checkpoint with its loss, or LPIPS' own vgg.pth"},
        {0, "vgg", "FILE", TS_OPT_TEXT, &c->vgg, 0, 0, "torchvision's VGG-16, where the file of --lpips does not hold it"},
        {0, "discriminator-start", "N", TS_OPT_INT, &c->discriminator_start, 0, 1e9,
         "steps after which a patch discriminator joins in; without this, none does"},
        {0, "discriminator-width", "N", TS_OPT_INT, &c->discriminator_width, 1, TS_VQGAN_MAX_DISCRIMINATOR,
         "channels of its first layer; 64, as published"},
    };
    ts_option list[(sizeof first + sizeof of_mae + sizeof of_vqgan) / sizeof *first];
    int n = 0;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) n = add(list, n, first[i]);
    for (size_t i = 0; mae && i < sizeof of_mae / sizeof *of_mae; i++) n = add(list, n, of_mae[i]);
    for (size_t i = 0; !mae && i < sizeof of_vqgan / sizeof *of_vqgan; i++) n = add(list, n, of_vqgan[i]);
    return ts_options_parse(
        &(ts_command){.name = mae ? "train mae" : "train vqgan",
                      .usage = mae ? "--data PATH --vqgan FILE --out DIR --steps N [options]"
                                   : "--data PATH --out DIR --steps N [options]",
                      .summary = mae ? "trains the masked autoencoder to predict a VQGAN's codes" : "trains a VQGAN on pictures",
                      .example = mae ? MAE_EXAMPLE : VQGAN_EXAMPLE,
                      .options = list,
                      .count = n,
                      .common = &t->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

/* What holds where neither the command line nor a configuration says otherwise. */
static void set_defaults(train *t)
{
    bool mae = t->run.config.kind == TS_TRAIN_MAE;
    t->preset = -1;
    t->run.config = (ts_train_config){.kind = t->run.config.kind,
                                      .canvas = 224,
                                      .batch = mae ? 32 : 16,
                                      .accumulate = 1,
                                      .warmup = -1,
                                      .save_every = 1000,
                                      .eval_every = 1000,
                                      .eval_batches = 4,
                                      .keep = 3,
                                      .revive = 100,
                                      .discriminator_start = -1,
                                      .discriminator_width = 64,
                                      .workers = ts_default_workers(),
                                      .lr = -1,
                                      .weight_decay = 0.05,
                                      .mask = 0.75,
                                      .scale = 0.2};
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static bool read_size(const char *text, int *dim, int *depth, int *heads)
{
    int used = 0;
    return sscanf(text, "%5dx%3dx%4d%n", dim, depth, heads, &used) == 3 && text[used] == '\0' && *dim > 0 && *dim % 4 == 0 &&
           *depth > 0 && *depth <= TS_MAE_MAX_DEPTH && *heads > 0 && *dim % *heads == 0;
}

/* -1, or the exit status. */
static int choose_mae(train *t, const char *name)
{
    ts_train_config *c = &t->run.config;
    ts_mae_config *m = &c->mae;
    if (t->preset >= 0 || !t->resumed) *m = MAE_PRESET[t->preset < 0 ? 0 : t->preset];
    if (t->encoder && !read_size(t->encoder, &m->dim, &m->depth, &m->heads))
        return ts_usage_error(name, "--encoder %s is not a size such as 256x6x8: a width, a multiple of 4 and of the heads",
                              t->encoder);
    if (t->decoder && !read_size(t->decoder, &m->decoder_dim, &m->decoder_depth, &m->decoder_heads))
        return ts_usage_error(name, "--decoder %s is not a size such as 192x4x6: a width, a multiple of 4 and of the heads",
                              t->decoder);
    if (t->patch) m->patch = t->patch;
    if (c->canvas % m->patch != 0 || c->canvas / m->patch < 2)
        return ts_usage_error(name, "patches of %d pixels do not divide a canvas of %d into two or more a side", m->patch,
                              c->canvas);
    m->side = c->canvas / m->patch;
    m->mlp = 4 * m->dim;
    m->decoder_mlp = 4 * m->decoder_dim;
    return -1;
}

static bool read_widths(const char *text, ts_vqgan_config *v)
{
    v->levels = 0;
    for (const char *at = text; at; v->levels++) {
        int width, used = 0;
        if (v->levels == TS_VQGAN_MAX_LEVELS || sscanf(at, "%5d%n", &width, &used) != 1 || width < 1 || width % v->groups != 0)
            return false;
        if (at[used] != '\0' && at[used] != ',') return false;
        v->width[v->levels] = width;
        at = at[used] ? at + used + 1 : NULL;
    }
    return true;
}

static int choose_vqgan(train *t, const char *name)
{
    ts_train_config *c = &t->run.config;
    ts_vqgan_config *v = &c->vq;
    if (t->preset >= 0 || !t->resumed) *v = VQGAN_PRESET[t->preset < 0 ? 0 : t->preset];
    if (t->groups || !t->resumed) v->groups = t->groups ? t->groups : 32;
    if (t->widths && !read_widths(t->widths, v))
        return ts_usage_error(name, "--widths %s is not a list of up to %d multiples of the %d groups, such as %d,%d", t->widths,
                              TS_VQGAN_MAX_LEVELS, v->groups, v->groups, 2 * v->groups);
    if (t->blocks) v->blocks = t->blocks;
    if (t->latent) v->latent = v->embed = t->latent;
    if (t->codes) v->codes = t->codes;
    v->base = v->width[0];
    v->attention[v->levels - 1] = true;
    v->factor = 1 << (v->levels - 1);
    if (c->canvas % v->factor != 0)
        return ts_usage_error(name, "--canvas %d is not a multiple of the %d pixels a side of a code", c->canvas, v->factor);
    return -1;
}

/* ---- the configuration ------------------------------------------------------------------------------------------- */

/* "figures:" is no path. */
static const char *whole_source(train *t, const char *path)
{
    return strncmp(path, "figures:", 8) == 0 ? path : ts_whole_path(&t->paths, path);
}

static int choose_sources(train *t, const char *name)
{
    ts_train_config *c = &t->run.config;
    if (t->data.count + t->mix.count / 2 > TS_TRAIN_SOURCES)
        return ts_usage_error(name, "%d sources of pictures are too many: up to %d", t->data.count + t->mix.count / 2,
                              TS_TRAIN_SOURCES);
    if (t->data.count + t->mix.count > 0) c->source_count = 0;
    for (int i = 0; i < t->data.count; i++)
        c->sources[c->source_count++] = (ts_loader_source){whole_source(t, t->data.items[i]), 1};
    for (int i = 0; i < t->mix.count; i += 2) {
        double share;
        if (!ts_real_read(t->mix.items[i + 1], &share) || !(share > 0 && share < 1e9))
            return ts_usage_error(name, "--mix %s %s: the share is not a number above 0", t->mix.items[i], t->mix.items[i + 1]);
        c->sources[c->source_count++] = (ts_loader_source){whole_source(t, t->mix.items[i]), share};
    }
    for (int i = 0; i < c->source_count; i++) {
        c->seen[i] = (ts_data_seen){0};
        for (int k = 0; k < t->was.source_count; k++)
            if (strcmp(t->was.sources[k].path, c->sources[i].path) == 0) c->seen[i] = t->was.seen[k];
    }
    if (c->source_count == 0) return ts_usage_error(name, "pictures to learn from are missing: --data DIR or --data figures:");
    return -1;
}

static bool sizes_differ(const ts_train_config *a, const ts_train_config *b)
{
    const ts_mae_config *m = &a->mae, *n = &b->mae;
    const ts_vqgan_config *v = &a->vq, *w = &b->vq;
    if (a->kind == TS_TRAIN_MAE)
        return m->patch != n->patch || m->dim != n->dim || m->depth != n->depth || m->heads != n->heads ||
               m->decoder_dim != n->decoder_dim || m->decoder_depth != n->decoder_depth || m->decoder_heads != n->decoder_heads;
    return v->levels != w->levels || memcmp(v->width, w->width, (size_t)v->levels * sizeof *v->width) != 0 ||
           v->blocks != w->blocks || v->latent != w->latent || v->codes != w->codes || v->groups != w->groups;
}

/* What a run that goes on cannot change. It may be said again, as with all of the command line that it was begun with. -1, or the
 * exit status. */
static int check_unchanged(train *t, const char *name)
{
    const ts_train_config *a = &t->was;
    ts_train_config *b = &t->run.config;
    if (b->canvas != a->canvas)
        return ts_usage_error(name, "--canvas %d: the run that goes on has canvases of %d pixels, which cannot change", b->canvas,
                              a->canvas);
    if (ts_texts_differ(a->init, b->init))
        return ts_usage_error(name, "--init %s: a run that goes on has its weights", b->init ? b->init : "");
    if (b->heads != a->heads || b->decoder_heads != a->decoder_heads || b->decoder_only != a->decoder_only ||
        b->merge != a->merge)
        return ts_usage_error(name, "how a run took its --init (--heads, --decoder-heads, --decoder-only, --merge) cannot change "
                                    "when it goes on");
    const bool sized =
        t->preset >= 0 || t->encoder || t->decoder || t->patch || t->widths || t->blocks || t->latent || t->codes || t->groups;
    if (!sized) return -1;
    const int status = b->kind == TS_TRAIN_MAE ? choose_mae(t, name) : choose_vqgan(t, name);
    if (status < 0 && sizes_differ(a, b)) return ts_usage_error(name, "the sizes of a run that goes on cannot change");
    b->mae = a->mae;
    b->vq = a->vq;
    return status;
}

/* -1, or the exit status. */
static int complete(train *t, const char *name)
{
    ts_train_config *c = &t->run.config;
    int status = choose_sources(t, name);
    if (status < 0 && c->steps == 0 && t->run.epochs == 0)
        status = ts_usage_error(name, "the length of the training is missing: --steps N or --epochs X");
    if (status < 0 && c->kind == TS_TRAIN_MAE && !c->vqgan && !c->init)
        status = ts_usage_error(name, "a VQGAN for the labels is missing: --vqgan FILE (made by tessera train vqgan)");
    if (status < 0 && c->decoder_only && (!c->init || c->continuous > 0))
        status = ts_usage_error(name, "--decoder-only wants the codes of a trained VQGAN: --init FILE, and no --continuous");
    if (status < 0 && c->merge > 0 && !c->decoder_only) status = ts_usage_error(name, "--merge goes with --decoder-only");
    c->init = ts_whole_path(&t->paths, c->init);
    if (status < 0 && t->resumed) status = check_unchanged(t, name);
    else if (status < 0) status = c->kind == TS_TRAIN_MAE ? choose_mae(t, name) : choose_vqgan(t, name);
    if (status < 0 && c->kind == TS_TRAIN_VQGAN && c->discriminator_start >= 0 && c->canvas < 24)
        status = ts_usage_error(name, "--canvas %d is too small for a discriminator: 24 or more", c->canvas);
    if (status < 0 && c->lpips && c->canvas < 16)
        status = ts_usage_error(name, "--canvas %d is too small for LPIPS: 16 or more", c->canvas);
    if (status < 0 && c->vgg && !c->lpips) status = ts_usage_error(name, "--vgg goes with --lpips");
    if (status >= 0) return status;
    const double pictures = (double)c->batch * c->accumulate;
    if (t->base_lr > 0) c->lr = t->base_lr * pictures / 256;
    if (c->lr < 0) c->lr = c->kind == TS_TRAIN_MAE ? 1e-4 * pictures / 256 : 4.5e-6 * pictures;
    c->vqgan = ts_whole_path(&t->paths, c->vqgan);
    c->lpips = ts_whole_path(&t->paths, c->lpips);
    c->vgg = ts_whole_path(&t->paths, c->vgg);
    c->seed = t->common.seed;
    c->device = t->common.device;
    c->threads = t->common.threads;
    c->half = t->common.precision == TS_F16;
    return -1;
}

/* The command line once to find the folder, and again over what the folder's configuration says. */
static int load_resumed(train *t, const char *name, const char *path, int argc, char **argv)
{
    ts_error err = {0};
    ts_train_config *c = &t->run.config;
    bool half = t->common.precision == TS_F16;
    ts_words_free(&t->data);
    ts_words_free(&t->mix);
    set_defaults(t);
    if (!ts_train_config_read(c, path, &err)) return ts_report(name, &err);
    t->was = *c;
    t->resumed = true;
    if (t->run.epochs > 0) c->steps = 0; /* said anew, unless --steps is too */
    t->common = (ts_common){.device = c->device, .threads = c->threads, .seed = c->seed};
    int status = parse(t, argc, argv);
    if (half || c->half) t->common.precision = TS_F16;
    return status;
}

static bool check_files(const train *t, ts_error *err)
{
    const ts_train_config *c = &t->run.config;
    if ((c->vqgan && !ts_check_model(c->vqgan, "VQGAN", TS_KIND_VQGAN, err)) ||
        (c->init && !ts_check_model(c->init, "model", c->kind == TS_TRAIN_MAE ? TS_KIND_MAE_VQGAN : TS_KIND_VQGAN, err)) ||
        (c->lpips && !ts_check_model(c->lpips, "LPIPS", TS_KIND_LPIPS, err)) ||
        (c->vgg && !ts_check_model(c->vgg, "VGG", TS_KIND_VGG, err)))
        return false;
    for (int i = 0; i < c->source_count; i++) {
        const char *path = c->sources[i].path;
        if (strncmp(path, "figures:", 8) != 0 && !ts_is_folder(path))
            return ts_fail(err, TS_ERR_IO, "--data %s is no folder (figures: draws pages on the fly)", path);
    }
    return true;
}

static int work(train *t, const char *name, int argc, char **argv)
{
    ts_error err = {0};
    char *config = NULL;
    set_defaults(t);
    int status = parse(t, argc, argv);
    if (status >= 0) return status;
    if (!t->run.folder) return ts_usage_error(name, "the run's folder is missing: --out DIR");
    if (asprintf(&config, "%s/config.json", t->run.folder) < 0)
        return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    status = ts_run_open(&t->lock, name, t->run.folder, "run", t->run.resume, t->common.quiet);
    if (status < 0 && t->run.resume) status = load_resumed(t, name, config, argc, argv);
    free(config);
    if (status < 0) status = complete(t, name);
    if (status >= 0) return status;
    if (!check_files(t, &err)) return ts_report(name, &err);
    t->run.common = &t->common;
    return ts_train_go(&t->run);
}

static int train_kind(ts_train_kind kind, const char *name, int argc, char **argv)
{
    train *t = calloc(1, sizeof *t);
    if (!t) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    t->run.config.kind = kind;
    int status = work(t, name, argc, argv);
    ts_run_lock_release(&t->lock);
    ts_whole_paths_free(&t->paths);
    ts_words_free(&t->data);
    ts_words_free(&t->mix);
    ts_train_config_free(&t->run.config);
    free(t);
    return status;
}

static int train_mae(int argc, char **argv)
{
    return train_kind(TS_TRAIN_MAE, "train mae", argc, argv);
}

static int train_vqgan(int argc, char **argv)
{
    return train_kind(TS_TRAIN_VQGAN, "train vqgan", argc, argv);
}

static const ts_entry commands[] = {
    {.name = "vqgan",
     .summary = "a VQGAN on pictures: what turns pictures into codes and back, first",
     .run = train_vqgan,
     .computes = true},
    {.name = "mae",
     .summary = "the masked autoencoder on the same pictures, with the VQGAN's codes as labels",
     .run = train_mae,
     .computes = true},
};
const ts_group ts_group_train = {.name = "train",
                                 .summary = "trains the inpainting model",
                                 .wanted = "what to train",
                                 .note = "tessera train vqgan --help and tessera train mae --help tell the rest.\n",
                                 .example =
                                     "  tessera train vqgan --data photos/ --out vqgan --preset tiny --steps 20000 --lr 5e-4\n"
                                     "  tessera train mae --data figures: --vqgan vqgan/model.safetensors --out mae\n",
                                 .entries = commands,
                                 .count = sizeof commands / sizeof *commands};
