/* protocol.c - an authors' evaluation from its lists to its table: everything that can be refused is refused first, lists, model
 * and every name; then pictures are made ready in threads while the model answers those before, a batch at a time, and each trial
 * is a line of the journal as soon as it is scored. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"

static const char *const COMMON_NOTE =
    "A model of another kind than an MAE-VQGAN is shown the pictures as they are, and its answers are brought to 111 x 111 "
    "before they\n"
    "are scored. Beside a figure stands what copying the query or the first example's output would get.\n";

enum { OWN_OPTIONS = 8, QUERIES = 8, MOST_QUERIES = 256 }; /* the last as --batch has it */

/* ---- the command line ---- */

static int parse(eval_task *t, int argc, char **argv)
{
    const eval_protocol *p = t->protocol;
    char name[48], *note = NULL;
    snprintf(name, sizeof name, "eval %s", p->name);
    const ts_option shared[] = {
        {0, "examples", "N", TS_OPT_INT, &t->each, 1, RUN_PAIRS, "example pairs of a trial; 1 as published"},
        {0, "lists", "FILE", TS_OPT_TEXT, &t->lists, 0, 0,
         "in place of drawn examples: neighbours as papers publish them, {\"query\": [\"the most like\", ...], ...}; a # in the "
         "name "
         "stands for the fold"},
        {'n', "limit", "N", TS_OPT_INT, &t->limit, 1, 1e9, "the first N trials only, of each fold or run"},
        {0, "log", "FILE", TS_OPT_TEXT, &t->log, 0, 0,
         "a line of JSON a trial, as soon as it is done; an evaluation that was stopped goes on from it"},
        {0, "part", "K/N", TS_OPT_TEXT, &t->part, 0, 0,
         "every N-th trial from the K-th on: N processes share the work, tessera eval merge puts their logs together"},
        {0, "csv", "FILE", TS_OPT_TEXT, &t->csv, 0, 0, "a line of numbers a trial, for a spreadsheet"},
        {0, "sheet", "FILE", TS_OPT_TEXT, &t->sheet, 0, 0,
         "a contact sheet (.png): a trial a row, the example, its output, the query, the answer, the target"},
        {0, "shown", "N", TS_OPT_INT, &t->shown, 1, 64, "trials on the sheet; 8"},
        {0, "keep", "DIR", TS_OPT_TEXT, &t->keep, 0, 0,
         "keeps every trial's cells, as the model saw them, and its answer as PNG"},
        {0, "right-codes", NULL, TS_OPT_FLAG, &t->right_codes, 0, 0,
         "also what is left of the right answer in the model's own codes: nearly twice the work"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->job.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    enum { SHARED = sizeof shared / sizeof *shared };
    ts_option options[OWN_OPTIONS + RUN_MODEL_OPTIONS + SHARED];
    int count = p->options(t, options);
    count += run_model_options(&t->job, options + count);
    memcpy(options + count, shared, sizeof shared);
    if (asprintf(&note, "%s%s", p->note, COMMON_NOTE) < 0) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status =
        ts_options_parse(&(ts_command){.name = name,
                                       .usage = p->usage,
                                       .summary = p->summary,
                                       .note = note,
                                       .example = p->example,
                                       .options = options,
                                       .count = count + SHARED,
                                       .rest = &t->folders,
                                       .least = 1,
                                       .most = 1,
                                       .rest_name = "a folder",
                                       .given = &t->job.given,
                                       .values = &t->job.values,
                                       .common = &t->job.common,
                                       .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
                         argc, argv);
    free(note);
    return status;
}

static bool is_given(const eval_task *t, const char *option)
{
    for (int i = 0; i < t->job.given.count; i++)
        if (strcmp(t->job.given.items[i], option) == 0) return true;
    return false;
}

/* -1, or the exit status. */
static int check_usage(eval_task *t, const char *name)
{
    static const char *const not_here[] = {"canvas", "follow", "filter"};
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++)
        if (is_given(t, not_here[i])) return ts_usage_error(name, "--%s is not the protocol's", not_here[i]);
    if (!eval_part_read(t->part, &t->part_number, &t->parts))
        return ts_usage_error(name, "--part %s is not K/N with K from 1 to N", t->part);
    if (t->sheet && !ts_image_writable(t->sheet))
        return ts_usage_error(name, "--sheet %s: the name must end in %s", t->sheet, ts_image_endings());
    if (!ts_is_folder(t->folders.items[0])) return ts_usage_error(name, "%s is no folder", t->folders.items[0]);
    if (!is_given(t, "seed")) t->job.common.seed = t->protocol->seed;
    if (t->job.common.seed > UINT32_MAX - EVAL_FOLDS)
        return ts_usage_error(name, "--seed %llu is too large: numpy's, by which examples are drawn, have 32 bits",
                              (unsigned long long)t->job.common.seed);
    if (t->vgg_file && !t->lpips_file) return ts_usage_error(name, "--vgg goes with --lpips");
    const int status = run_check_model_options(&t->job, name);
    if (!t->job.mae.background) memset(t->job.mae.background_rgb, 255, sizeof t->job.mae.background_rgb);
    t->job.mae.filter = t->protocol->filter;
    return status;
}

/* ---- which trials ---- */

const eval_pictures *eval_pool(const eval_task *t, int fold)
{
    /* The runs of a protocol without folds have their pictures in the first. */
    const int at = t->asked[fold].count > 0 ? fold : 0;
    return t->pool[at].count > 0 ? &t->pool[at] : &t->asked[at];
}

static bool choose_trials(eval_task *t, ts_error *err)
{
    if (!t->protocol->list(t, err)) return false;
    int64_t all = 0;
    for (int f = t->fold; f < t->fold + t->folds; f++) {
        const int trials = t->protocol->trials(t, f);
        t->of_fold[f] = t->limit > 0 && t->limit < trials ? t->limit : trials;
        all += t->of_fold[f];
    }
    if (all > 1 << 24) return ts_fail(err, TS_ERR_ARGUMENT, "%lld trials are more than can be kept", (long long)all);
    t->count = (int)all;
    t->trial = calloc((size_t)all + 1, sizeof *t->trial);
    t->supports = calloc((size_t)all * (size_t)t->each + 1, sizeof(eval_picture *));
    if (!t->trial || !t->supports) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d trials", t->count);
    for (int f = t->fold, at = 0; f < t->fold + t->folds; at += t->of_fold[f++]) {
        for (int i = at; i < at + t->of_fold[f]; i++) {
            t->trial[i].fold = f;
            t->trial[i].support = t->supports + (size_t)i * (size_t)t->each;
        }
        if (!t->protocol->draw(t, f, t->trial + at, t->of_fold[f], err)) return false;
    }
    return !t->lists || eval_supports_read(t, t->lists, err);
}

/* ---- the journal ---- */

static bool add_folds(const eval_task *t, cJSON *h)
{
    cJSON *folds = cJSON_AddArrayToObject(h, "folds");
    for (int f = t->fold; f < t->fold + t->folds; f++) {
        cJSON *fold = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(folds, fold) || !cJSON_AddNumberToObject(fold, "fold", f) ||
            !cJSON_AddNumberToObject(fold, "trials", t->of_fold[f]))
            return false;
    }
    return folds != NULL;
}

static bool add_differs(const eval_task *t, cJSON *h)
{
    cJSON *of_protocol = cJSON_AddArrayToObject(h, "differs"), *of_model = cJSON_AddArrayToObject(h, "model_differs");
    bool ok = of_protocol && of_model && t->protocol->differs(t, of_protocol) && eval_model_differs(t, of_model);
    if (ok && t->each != 1) ok = eval_differ(of_protocol, "%d examples and not one", t->each);
    if (ok && t->lists) ok = eval_differ(of_protocol, "examples are those of %s", t->lists);
    if (ok && t->job.common.seed != t->protocol->seed)
        ok = eval_differ(of_protocol, "seed %llu and not %llu", (unsigned long long)t->job.common.seed,
                         (unsigned long long)t->protocol->seed);
    return ok;
}

static cJSON *head(const eval_task *t)
{
    const ts_common *c = &t->job.common;
    cJSON *h = cJSON_CreateObject();
    const bool ok =
        cJSON_AddStringToObject(h, "measured", t->protocol->name) && cJSON_AddStringToObject(h, "protocol", t->protocol->of) &&
        cJSON_AddStringToObject(h, "folder", t->root) && (!t->splits[0] || cJSON_AddStringToObject(h, "splits", t->splits)) &&
        cJSON_AddStringToObject(h, "model", t->job.model) &&
        cJSON_AddStringToObject(h, "device", c->device ? c->device : "auto") && cJSON_AddNumberToObject(h, "trials", t->count) &&
        cJSON_AddStringToObject(h, "fold_is", t->protocol->fold) && add_folds(t, h) &&
        cJSON_AddNumberToObject(h, "examples", t->each) && cJSON_AddNumberToObject(h, "cell", t->side) &&
        cJSON_AddNumberToObject(h, "seed", (double)c->seed) && (!t->part || cJSON_AddStringToObject(h, "part", t->part)) &&
        eval_head_options(h, &t->job.given, &t->job.values) && add_differs(t, h);
    if (ok) return h;
    cJSON_Delete(h);
    return NULL;
}

static bool is_same(const eval_task *t, const cJSON *line, int trial)
{
    const char *query = cJSON_GetStringValue(cJSON_GetObjectItem(line, "query"));
    bool same = query && strcmp(query, t->trial[trial].query->name) == 0;
    for (int k = 0; k < t->each; k++) {
        const char *example = cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(line, "examples"), k));
        same = same && example && strcmp(example, t->trial[trial].support[k]->name) == 0;
    }
    return same;
}

/* This part's trials that the journal does not have yet, into `todo`; how many, or -1. */
static int list_work(const eval_task *t, int *todo, ts_error *err)
{
    int count = 0;
    for (int i = t->part_number - 1; i < t->count; i += t->parts) {
        const cJSON *line = eval_journal_find(&t->journal, i);
        if (!line) todo[count++] = i;
        if (!line || is_same(t, line, i)) continue;
        ts_fail(err, TS_ERR_ARGUMENT, "%s has other pictures for trial %d: the folder or its lists have changed since", t->log,
                i);
        return -1;
    }
    return count;
}

/* ---- pictures, in threads ---- */

/* A trial's pictures: pairs of the examples, then the query and its target. */
typedef struct {
    ts_image *cell;  /* 2 (each + 1) of them */
    ts_image *whole; /* the same of their own size, where the model is not shown cells; else NULL */
} ready;

typedef struct {
    const eval_task *task;
    const int *todo;
} work_list;

static int pictures_of(const eval_task *t)
{
    return 2 * (t->each + 1);
}

static void clear_ready(const void *ctx, void *item)
{
    const eval_task *t = ((const work_list *)ctx)->task;
    const ready *r = item;
    for (int i = 0; i < pictures_of(t); i++) {
        if (r->cell) ts_image_clear(&r->cell[i]);
        if (r->whole) ts_image_clear(&r->whole[i]);
    }
    free(r->cell);
    free(r->whole);
}

static bool make_pairs(const eval_task *t, const eval_trial *trial, int side, ts_image *out, ts_error *err)
{
    bool ok = t->protocol->pair(t, trial->query, side, &out[(size_t)t->each * 2], &out[(size_t)t->each * 2 + 1], err);
    for (int k = 0; ok && k < t->each; k++)
        ok = t->protocol->pair(t, trial->support[k], side, &out[(size_t)k * 2], &out[(size_t)k * 2 + 1], err);
    return ok;
}

static void make_ready(const void *ctx, int at, void *out, ts_error *why)
{
    const work_list *work = ctx;
    const eval_task *t = work->task;
    const eval_trial *trial = &t->trial[work->todo[at]];
    ready *r = out;
    const size_t pictures = (size_t)pictures_of(t);
    r->cell = calloc(pictures, sizeof *r->cell);
    if (!t->cells) r->whole = calloc(pictures, sizeof *r->whole);
    if (!r->cell || (!t->cells && !r->whole)) ts_fail(why, TS_ERR_MEMORY, "out of memory for a trial's pictures");
    else if (make_pairs(t, trial, t->side, r->cell, why) && r->whole) make_pairs(t, trial, 0, r->whole, why);
}

/* ---- a batch of trials ---- */

/* Shows the engine the trial as its query number `place`. */
static bool show(eval_task *t, int trial, const ready *p, int place, ts_error *err)
{
    run_job *r = &t->job;
    const ts_image *pictures = p->whole ? p->whole : p->cell, *query = &pictures[(size_t)t->each * 2];
    for (int k = 0; k < t->each; k++) {
        const eval_picture *support = t->trial[trial].support[k];
        const eval_pair paths = {.input = support->path, .target = support->mask ? support->mask : support->path};
        if (!run_ask_example(r, k, &paths, &pictures[(size_t)k * 2], &pictures[(size_t)k * 2 + 1], err)) return false;
    }
    return run_ask_query_at(r, place, t->trial[trial].query->path, query, err);
}

/* An answer of another size is brought to that of a cell. */
static bool to_cell(const eval_task *t, ts_image *answer, ts_error *err)
{
    ts_image cell = {0};
    if (answer->width == t->side && answer->height == t->side) return true;
    if (!ts_image_resize(answer, t->side, t->side, t->protocol->filter, &cell, err)) return false;
    ts_image_clear(answer);
    *answer = cell;
    return true;
}

static bool add_scores(const eval_task *t, cJSON *line, const char *who, const ts_image *truth, const ts_image *answer,
                       ts_error *err)
{
    eval_scores s = {.both = 0};
    for (int m = 0; m < EVAL_METRICS; m++) s.value[m] = (double)NAN;
    if (!t->protocol->score(t, truth, answer, &s, err)) return false;
    cJSON *item = cJSON_AddObjectToObject(line, who);
    bool ok = item != NULL;
    for (int m = 0; ok && m < EVAL_METRICS; m++)
        if (isfinite(s.value[m])) ok = cJSON_AddNumberToObject(item, eval_metric_names[m], s.value[m]) != NULL;
    if (ok && who == eval_who_names[0] && s.either > 0) {
        cJSON *pixels = cJSON_AddArrayToObject(line, "pixels");
        ok = pixels && cJSON_AddItemToArray(pixels, cJSON_CreateNumber((double)s.both)) &&
             cJSON_AddItemToArray(pixels, cJSON_CreateNumber((double)s.either));
    }
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static cJSON *line_of(const eval_task *t, int trial)
{
    const eval_trial *of = &t->trial[trial];
    cJSON *line = cJSON_CreateObject();
    bool ok = cJSON_AddNumberToObject(line, "trial", trial) && cJSON_AddNumberToObject(line, "fold", of->fold) &&
              (of->query->number == 0 || cJSON_AddNumberToObject(line, "class", of->query->number)) &&
              cJSON_AddStringToObject(line, "query", of->query->name);
    cJSON *examples = ok ? cJSON_AddArrayToObject(line, "examples") : NULL;
    for (int k = 0; examples && ok && k < t->each; k++)
        ok = cJSON_AddItemToArray(examples, cJSON_CreateString(of->support[k]->name));
    if (ok && examples) return line;
    cJSON_Delete(line);
    return NULL;
}

static bool score(eval_task *t, int trial, const ready *p, int place, const ts_image *answer, ts_error *err)
{
    const ts_image *query = &p->cell[(size_t)t->each * 2], *target = query + 1;
    run_job *r = &t->job;
    ts_image coded = {0};
    cJSON *line = line_of(t, trial);
    bool ok = line || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && add_scores(t, line, eval_who_names[0], target, answer, err) &&
         add_scores(t, line, eval_who_names[1], target, query, err) &&
         add_scores(t, line, eval_who_names[2], target, &p->cell[1], err);
    if (ok && t->right_codes && r->engine->ideal)
        ok = r->engine->ideal(r, place, target, &coded, err) && to_cell(t, &coded, err) &&
             add_scores(t, line, eval_who_names[3], target, &coded, err);
    ts_image_clear(&coded);
    if (ok) return eval_journal_add(&t->journal, trial, line, err);
    cJSON_Delete(line);
    return false;
}

static bool keep_picture(const eval_task *t, int trial, const char *what, const ts_image *picture, ts_error *err)
{
    char path[4200];
    if (snprintf(path, sizeof path, "%s/%05d-%s.png", t->keep, trial, what) >= (int)sizeof path)
        return ts_fail(err, TS_ERR_ARGUMENT, "the name of the folder is too long: %.60s...", t->keep);
    return ts_image_save(path, picture, err);
}

static bool keep(eval_task *t, int trial, const ready *p, const ts_image *answer, ts_error *err)
{
    const ts_image *query = &p->cell[(size_t)t->each * 2], *target = query + 1;
    const ts_image *const row[EVAL_COLUMNS] = {&p->cell[0], &p->cell[1], query, answer, target};
    if (t->sheet && t->rows < t->shown && !eval_sheet_add(&t->contact, t->rows++, row, err)) return false;
    bool ok = true;
    for (int k = 0; ok && t->keep && k < t->each; k++) {
        char in[32], out[32];
        snprintf(in, sizeof in, "example-%d", k + 1);
        snprintf(out, sizeof out, "output-%d", k + 1);
        ok = keep_picture(t, trial, in, &p->cell[(size_t)k * 2], err) &&
             keep_picture(t, trial, out, &p->cell[(size_t)k * 2 + 1], err);
    }
    return ok && (!t->keep || (keep_picture(t, trial, "query", query, err) && keep_picture(t, trial, "target", target, err) &&
                               keep_picture(t, trial, "answer", answer, err)));
}

/* Once the first examples are shown: some engines begin with those. */
static bool start(eval_task *t, ts_error *err)
{
    run_job *r = &t->job;
    if (t->started) return true;
    t->started = true;
    return r->engine->start(r, err) &&
           (!t->lpips_file || (t->lpips = eval_lpips_open(r->dev, t->lpips_file, t->vgg_file, r->common.quiet, err)));
}

/* `count` trials that are shown. */
static bool answer_batch(eval_task *t, const int *trial, const ready *p, int count, ts_error *err)
{
    if (!start(t, err)) return false;
    ts_image answers[MOST_QUERIES] = {{0}};
    double start = ts_now_ms();
    bool ok = t->job.engine->answer(&t->job, 0, count, answers, err);
    t->ms.model += ts_now_ms() - start;
    start = ts_now_ms();
    for (int i = 0; ok && i < count; i++)
        ok = to_cell(t, &answers[i], err) && score(t, trial[i], &p[i], i, &answers[i], err) &&
             keep(t, trial[i], &p[i], &answers[i], err);
    t->ms.scoring += ts_now_ms() - start;
    for (int i = 0; i < count; i++) ts_image_clear(&answers[i]);
    return ok;
}

/* Takes the next pictures until a batch is shown; those that cannot be read are left out. What has to do with the model ends the
 * work. Returns how many of the work's items were used, or -1. */
static int run_batch(eval_task *t, const work_list *work, eval_ahead *ahead, int at, int left, int batch, ts_error *err)
{
    ready p[MOST_QUERIES] = {{0}};
    int trial[MOST_QUERIES], count = 0, used = 0;
    bool ok = true;
    const double start = ts_now_ms();
    while (ok && count < batch && used < left) {
        ts_error why = {0};
        eval_ahead_take(ahead, &p[count], &why);
        trial[count] = work->todo[at + used++];
        if (!why.code && show(t, trial[count], &p[count], count, &why)) {
            count++;
            continue;
        }
        clear_ready(work, &p[count]);
        p[count] = (ready){0};
        ok = ts_leave_out(&t->job.left_out, &why, err);
    }
    t->ms.pictures += ts_now_ms() - start;
    ok = ok && (count == 0 || answer_batch(t, trial, p, count, err));
    for (int i = 0; i < count; i++) clear_ready(work, &p[i]);
    return ok ? used : -1;
}

/* ---- all of it ---- */

static bool run_work(eval_task *t, const int *todo, int count, ts_error *err)
{
    if (count == 0) return true;
    run_job *r = &t->job;
    if (!(r->dev = ts_open_device(&r->common, false, err))) return false;
    ts_announce_device(&r->common, r->dev);
    ts_say_passed(&r->left_out);
    const work_list work = {t, todo};
    const int wanted = r->engine->batch ? r->engine->batch(r) : 1, batch = wanted < r->jobs.count ? wanted : r->jobs.count;
    eval_ahead *ahead = eval_ahead_new(make_ready, &work, sizeof(ready), count, ts_default_workers(), err);
    if (!ahead) return false;
    ts_progress progress;
    ts_progress_begin(&progress, "trials", count, r->common.quiet);
    int used = 0;
    for (int at = 0; used >= 0 && at < count; at += used) {
        used = run_batch(t, &work, ahead, at, count - at, batch, err);
        ts_progress_step(&progress, at + used);
    }
    ts_progress_end(&progress);
    eval_ahead_free(ahead, clear_ready);
    return used >= 0;
}

static bool run_trials(eval_task *t, ts_error *err)
{
    int *todo = malloc(((size_t)t->count + 1) * sizeof *todo);
    if (!todo) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int count = list_work(t, todo, err);
    bool ok = count >= 0 && (!t->sheet || eval_sheet_new(&t->contact, t->shown, err)) && run_work(t, todo, count, err) &&
              (!t->sheet || ts_image_save(t->sheet, &t->contact, err));
    free(todo);
    return ok;
}

/* Where the time of this run went: how long the model was at work, was waited for pictures, and was scored. */
static bool tell_times(const eval_task *t, cJSON **ms, ts_error *err)
{
    const double all = t->ms.model + t->ms.pictures + t->ms.scoring;
    *ms = NULL;
    if (all <= 0) return true;
    if (!t->job.common.quiet && !t->job.common.json) {
        char text[32];
        ts_say("%s: the model %.1f %%, waiting for pictures %.1f %%, scoring %.1f %%", ts_time_text(all * 1e-3, text),
               100 * t->ms.model / all, 100 * t->ms.pictures / all, 100 * t->ms.scoring / all);
    }
    if (!t->job.common.json) return true;
    *ms = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(*ms, "model", round(t->ms.model)) &&
        cJSON_AddNumberToObject(*ms, "pictures", round(t->ms.pictures)) &&
        cJSON_AddNumberToObject(*ms, "scoring", round(t->ms.scoring)))
        return true;
    cJSON_Delete(*ms);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static bool check_outputs(const eval_task *t, ts_error *err)
{
    return (!t->sheet || ts_check_writable(t->sheet, err)) && (!t->csv || ts_check_writable(t->csv, err)) &&
           (!t->keep || (ts_check_folder(t->keep, err) && ts_make_folder(t->keep, err)));
}

/* The model sees cells of its own canvas, or the pictures as they are. */
static bool open_model(eval_task *t, ts_error *err)
{
    run_job *r = &t->job;
    const int queries = r->mae.batch > QUERIES ? r->mae.batch : QUERIES;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, err)) return false;
    if (!r->model) r->model = r->default_model;
    if ((!run_is_pixels(r) && !ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, err)) ||
        (r->mae.vqgan && !ts_check_model(r->mae.vqgan, "VQGAN", TS_KIND_VQGAN, err)) ||
        !eval_lpips_check(t->lpips_file, t->vgg_file, err))
        return false;
    if (!run_open_weights(r, err) || !run_ask_open_batch(r, t->each, queries, err)) return false;
    t->cells = r->cell = r->engine->cell != NULL;
    t->side = t->cells ? r->engine->cell(r) : EVAL_CELL;
    return true;
}

static bool evaluate(eval_task *t, ts_error *err)
{
    cJSON *ms;
    return choose_trials(t, err) && open_model(t, err) && check_outputs(t, err) &&
           eval_journal_open(&t->journal, t->log, head(t), err) && run_trials(t, err) && tell_times(t, &ms, err) &&
           eval_folds_summarise(&t->journal, t->job.common.json, t->csv, ms, err);
}

static void clear(eval_task *t)
{
    eval_lpips_free(t->lpips);
    run_ask_close(&t->job);
    run_clear(&t->job);
    eval_journal_close(&t->journal);
    for (int f = 0; f < EVAL_FOLDS; f++) {
        eval_pictures_clear(&t->asked[f]);
        eval_pictures_clear(&t->pool[f]);
    }
    free(t->trial);
    free(t->supports);
    ts_image_clear(&t->contact);
    ts_words_free(&t->folders);
}

int eval_protocol_run(const eval_protocol *protocol, int argc, char **argv)
{
    char name[48];
    ts_error err = {0};
    snprintf(name, sizeof name, "eval %s", protocol->name);
    eval_task *t = calloc(1, sizeof *t);
    if (!t) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    t->protocol = protocol;
    t->each = 1;
    t->shown = 8;
    t->fold = -1;
    t->folds = protocol->folds;
    int status = parse(t, argc, argv);
    if (t->fold >= 0) t->folds = 1;
    else t->fold = 0;
    if (status < 0) status = check_usage(t, name);
    if (status < 0) {
        t->job.left_out.quiet = t->job.common.quiet;
        status = evaluate(t, &err) ? ts_left_out_status(name, &t->job.left_out) : ts_report(name, &err);
    }
    clear(t);
    free(t);
    return status;
}
