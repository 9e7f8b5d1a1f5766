/* pool.c - see pool.h. The index is a hidden file in the folder of the pairs' inputs, one for each way to compare; where the
 * folder cannot be written, one in the user's cache. */
#include "cli/run/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/pool_index.h"

struct run_pool {
    run_pool_desc desc;
    ts_lists lists;
    ts_weights *opened, *opened_retriever; /* here */
    const ts_weights *weights, *retriever; /* what compares; the second NULL: nothing learned */
    ts_clip_told told;
    ts_embed_level level;
    const char *how; /* "clip", "mae", "pixels", ...: the index's name */
    const char *backbone, *backbone_file;
    ts_embedder *embedder;
    pool_rows rows;
    double *likeness; /* (count) */
};

/* ---- options ----------------------------------------------------------------------------------------------------- */

int run_look_options(run_look *look, ts_option list[RUN_LOOK_OPTIONS])
{
    const ts_option options[RUN_LOOK_OPTIONS] = {
        {0, "top", "K", TS_OPT_INT, &look->top, 1, 64, "of a folder of examples the K pairs most like each query; 1"},
        {0, "by", "clip|mae|pixels|FILE", TS_OPT_TEXT, &look->by, 0, 0,
         "what they are compared by: a CLIP's feature of the whole picture (--clip FILE), the features of the MAE-VQGAN that "
         "runs, "
         "the features place by place (of --clip FILE, else of the model that runs), or a file that says it itself: a CLIP, a "
         "DINO, "
         "a retriever of tessera tune retriever. Unless said, by the CLIP where one is named, else by the model that runs"},
        {0, "clip", "FILE", TS_OPT_TEXT, &look->clip, 0, 0, "the CLIP that pictures are compared by"},
        {0, "lists", "FILE", TS_OPT_TEXT, &look->lists, 0, 0,
         "instead: lists of neighbours as papers publish them, {\"query\": [\"the most like\", ...], ...}, names without ending"},
    };
    memcpy(list, options, sizeof options);
    return RUN_LOOK_OPTIONS;
}

int run_check_look(const run_look *look, const char *command)
{
    if (look->lists && (look->by || look->clip))
        return ts_usage_error(command, "--lists says which examples each query has: not with --%s", look->by ? "by" : "clip");
    return -1;
}

/* ---- what compares ----------------------------------------------------------------------------------------------- */

static bool take(run_pool *p, const ts_weights *w, const char *file, ts_error *err)
{
    const ts_kind kind = ts_kind_of(w);
    p->weights = w;
    p->told = w == p->desc.weights ? p->desc.told : (ts_clip_told){0};
    p->backbone = kind == TS_KIND_CLIP ? "clip" : kind == TS_KIND_DINOV2 ? "dino" : "mae";
    p->backbone_file = file;
    if (kind == TS_KIND_CLIP || kind == TS_KIND_DINOV2 || kind == TS_KIND_MAE || kind == TS_KIND_MAE_VQGAN) return true;
    return ts_fail(
        err, TS_ERR_ARGUMENT,
        "%s is %s, which gives pictures no features to compare: --by clip with --clip FILE, or a FILE after --by, says "
        "what they are compared by",
        file ? file : p->desc.model, ts_kind_name(kind));
}

static bool use_running(run_pool *p, ts_error *err)
{
    return take(p, p->desc.weights, NULL, err);
}

static bool open_file(run_pool *p, const char *path, ts_error *err)
{
    return ts_check_model(path, "model", TS_KIND_UNKNOWN, err) &&
           (p->opened = ts_open_weights(path, p->desc.common->quiet, err)) && take(p, p->opened, path, err);
}

static bool use_clip(run_pool *p, ts_error *err)
{
    const char *path = p->desc.look->clip;
    if (!path && ts_kind_of(p->desc.weights) == TS_KIND_CLIP) return use_running(p, err);
    if (!path) return ts_fail(err, TS_ERR_ARGUMENT, "a CLIP is missing, by whose features examples are looked for: --clip FILE");
    return ts_check_model(path, "CLIP", TS_KIND_CLIP, err) && (p->opened = ts_open_weights(path, p->desc.common->quiet, err)) &&
           ts_kind_expect(p->opened, TS_KIND_CLIP, err) && take(p, p->opened, path, err);
}

static bool use_mae(run_pool *p, ts_error *err)
{
    const ts_kind kind = ts_kind_of(p->desc.weights);
    if (kind == TS_KIND_MAE || kind == TS_KIND_MAE_VQGAN) return use_running(p, err);
    return ts_fail(err, TS_ERR_ARGUMENT, "--by mae takes the features of the MAE-VQGAN that runs, and %s is %s", p->desc.model,
                   ts_kind_name(kind));
}

/* A retriever stands on another model: the one that runs, the CLIP that is named, or the file that it was trained with. */
static bool use_retriever(run_pool *p, ts_error *err)
{
    const ts_weights *w = p->retriever = p->opened_retriever;
    const char *backbone = ts_weights_meta(w, TS_RETRIEVER_BACKBONE), *file = ts_weights_meta(w, TS_RETRIEVER_FILE);
    ts_retriever_config config;
    if (!ts_retriever_read(w, &config, err)) return false;
    p->how = "retriever";
    if (backbone && strcmp(backbone, "mae") == 0 && !file) return use_mae(p, err);
    if (p->desc.look->clip) return use_clip(p, err);
    if (backbone && strcmp(backbone, "clip") == 0 && ts_kind_of(p->desc.weights) == TS_KIND_CLIP) return use_running(p, err);
    if (!file || !ts_check_readable(file, "model", NULL))
        return ts_fail(err, TS_ERR_ARGUMENT, "retriever %s stands on a CLIP's features, and %s%s: --clip FILE names the CLIP",
                       ts_weights_path(w), file ? file : "that", file ? " is not there" : " is not named in it");
    return open_file(p, file, err);
}

static bool use_file(run_pool *p, const char *path, ts_error *err)
{
    if (!ts_check_model(path, "--by", TS_KIND_UNKNOWN, err)) return false;
    ts_weights *w = ts_open_weights(path, p->desc.common->quiet, err);
    if (!w) return false;
    if (ts_kind_of(w) == TS_KIND_RETRIEVER) {
        p->opened_retriever = w;
        return use_retriever(p, err);
    }
    p->opened = w;
    if (!take(p, w, path, err)) return false;
    p->how = p->backbone;
    return true;
}

static bool choose(run_pool *p, ts_error *err)
{
    const char *by = p->desc.look->by;
    if (!by) by = p->desc.look->clip ? "clip" : "model";
    if (strcmp(by, "clip") == 0 || strcmp(by, "mae") == 0) {
        p->how = by[0] == 'c' ? "clip" : "mae";
        return by[0] == 'c' ? use_clip(p, err) : use_mae(p, err);
    }
    if (strcmp(by, "pixels") == 0) {
        p->how = "pixels";
        p->level = TS_EMBED_PLACES;
        return p->desc.look->clip ? use_clip(p, err) : use_running(p, err);
    }
    if (p->desc.look->by) return use_file(p, by, err);
    if (!use_running(p, err)) return false;
    p->how = p->backbone;
    return true;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

run_pool *run_pool_new(const run_pool_desc *desc, ts_error *err)
{
    run_pool *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->desc = *desc;
    p->likeness = malloc((size_t)desc->pairs->count * sizeof *p->likeness);
    bool ok = p->likeness || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && pool_rows_open(&p->rows, desc, err);
    ok = ok && (desc->look->lists ? ts_lists_read(desc->look->lists, &p->lists, err) : choose(p, err));
    if (ok) return p;
    run_pool_free(p);
    return NULL;
}

void run_pool_free(run_pool *p)
{
    if (!p) return;
    ts_embedder_free(p->embedder);
    ts_weights_free(p->opened);
    ts_weights_free(p->opened_retriever);
    ts_lists_clear(&p->lists);
    pool_rows_close(&p->rows);
    free(p->likeness);
    free(p);
}

bool run_pool_start(run_pool *p, ts_device *dev, ts_error *err)
{
    if (p->desc.look->lists) return true;
    const ts_embedder_desc desc = {
        .weights = p->weights, .told = p->told, .level = p->level, .retriever = p->retriever, .batch = POOL_BATCH};
    p->embedder = ts_embedder_new(dev, &desc, err);
    return p->embedder && pool_rows_make(&p->rows, &p->desc, p->embedder, p->how, err);
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

/* What a list calls a picture: its name without folder and ending. */
static void name_of(const char *path, char out[512])
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    snprintf(out, 512, "%.*s", (int)(dot && dot > name ? dot - name : (long)strlen(name)), name);
}

static const ts_list *list_of(const run_pool *p, const char *query, ts_error *err)
{
    char name[512];
    name_of(query, name);
    const ts_list *list = ts_is_standard(query) ? NULL : ts_lists_find(&p->lists, name);
    if (!list)
        ts_fail(err, TS_ERR_ARGUMENT, "%s has no list for %s", p->desc.look->lists,
                ts_is_standard(query) ? "standard input, which has no name" : name);
    return list;
}

/* The pairs of a query's list, at most `most`; their number, or -1. */
static int take_list(const run_pool *p, const char *query, int own, int most, int *out, ts_error *err)
{
    const ts_list *list = list_of(p, query, err);
    int count = 0;
    for (int i = 0; list && i < list->count && count < most; i++) {
        const int at = eval_pairs_find(p->desc.pairs, list->picture[i]);
        if (at < 0) {
            ts_fail(err, TS_ERR_ARGUMENT, "%s names %s as an example for %s, and %s holds no such pair", p->desc.look->lists,
                    list->picture[i], list->name, p->desc.folder);
            return -1;
        }
        if (at != own) out[count++] = at;
    }
    return list ? count : -1;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

int run_pool_room(const run_pool *p, const char *query, ts_error *err)
{
    const int own = pool_rows_own(&p->rows, query);
    if (!p->desc.look->lists) return p->desc.pairs->count - (own >= 0);
    int *all = malloc((size_t)p->desc.pairs->count * sizeof *all);
    if (!all) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int most = p->desc.look->top ? p->desc.look->top : 1;
    const int count = all ? take_list(p, query, own, most < p->desc.pairs->count ? most : p->desc.pairs->count, all, err) : -1;
    free(all);
    return count;
}

/* Those most like `row`, of all that could be read. */
static int rank(run_pool *p, const float *row, int own, int most, int *out, ts_error *err)
{
    const pool_rows *rows = &p->rows;
    const int count = p->desc.pairs->count, broken = count - rows->known_count;
    const int wanted = most < count - broken ? most + broken : count;
    int *order = malloc((size_t)wanted * sizeof *order + 1);
    if (!order) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_likeness(rows->features, count, rows->width, row, p->likeness);
    const int found = order ? ts_most_alike(p->likeness, NULL, count, own, wanted, order, err) : -1;
    int taken = 0;
    for (int i = 0; i < found && taken < most; i++)
        if (rows->known[order[i]]) out[taken++] = order[i];
    free(order);
    return found < 0 ? -1 : taken;
}

static bool finish(const run_pool *p, const char *query, int found, int most, const int *out, double *likeness, ts_error *err)
{
    if (found < 0) return false;
    for (int i = 0; likeness && i < found; i++) likeness[i] = p->desc.look->lists ? 0 : p->likeness[out[i]];
    return found == most || ts_fail(err, TS_ERR_ARGUMENT, "%d examples are wanted for %s, and %s has %d that can be read", most,
                                    query, p->desc.folder, found);
}

bool run_pool_find_own(run_pool *p, int own, int most, int *out, double *likeness, ts_error *err)
{
    const char *query = p->desc.pairs->pair[own].input;
    int found;
    if (p->desc.look->lists) found = take_list(p, query, own, most, out, err);
    else if (!p->rows.known[own]) return ts_fail(err, TS_ERR_FORMAT, "%s cannot be read", query);
    else found = rank(p, p->rows.features + own * p->rows.width, own, most, out, err);
    return finish(p, query, found, most, out, likeness, err);
}

bool run_pool_find(run_pool *p, const char *query, const ts_image *picture, int most, int *out, double *likeness, ts_error *err)
{
    const int own = pool_rows_own(&p->rows, query);
    if (own >= 0 && (p->desc.look->lists || p->rows.known[own])) return run_pool_find_own(p, own, most, out, likeness, err);
    if (p->desc.look->lists) return finish(p, query, take_list(p, query, own, most, out, err), most, out, likeness, err);
    const ts_embedder_info *about = ts_embedder_about(p->embedder);
    float *pixels = malloc((size_t)about->side * (size_t)about->side * 3 * sizeof *pixels);
    float *row = malloc((size_t)about->width * sizeof *row);
    bool ok = (pixels && row) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_embedder_prepare(p->embedder, picture, pixels, err) && ts_embedder_encode(p->embedder, pixels, 1, row, err);
    const int found = ok ? rank(p, row, own, most, out, err) : -1;
    free(pixels);
    free(row);
    return finish(p, query, found, most, out, likeness, err);
}

/* ---- what others want of it -------------------------------------------------------------------------------------- */

const float *run_pool_rows(const run_pool *p, int64_t *width)
{
    *width = p->rows.width;
    return p->rows.features;
}

bool run_pool_knows(const run_pool *p, int pair)
{
    return p->rows.known && p->rows.known[pair];
}

const ts_embedder_info *run_pool_about(const run_pool *p)
{
    return p->embedder ? ts_embedder_about(p->embedder) : NULL;
}

const char *run_pool_backbone(const run_pool *p, const char **file)
{
    *file = p->backbone_file;
    return p->backbone;
}
