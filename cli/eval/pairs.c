/* pairs.c - `tessera eval pairs`: each pair of a folder is asked, with others of it as examples, of whatever model `tessera run`
 * takes, and the answer is scored against what was wanted. Beside each figure stands what copying the query or the example's
 * output would get, and where the model paints codes, what is left of the right answer in those. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"
#include "cli/run/run.h"
#include "engine/number.h"

static const char name[] = "eval pairs";

typedef struct {
    run_job job;
    ts_words folders;
    const char *log, *csv, *list, *part, *sheet, *examples_word, *lpips_file, *vgg_file;
    int examples, limit, shown, part_number, parts;
    bool looked_up;  /* each pair's examples are those most like it */
    bool leaves_one; /* of the pairs themselves, but for its own */
    bool started;    /* the model is there */
    eval_pairs pairs;
    const eval_pairs *from; /* which the examples are of */
    eval_trials trials;
    ts_palette palette;
    eval_journal journal;
    eval_lpips *lpips;
    ts_image contact;
    int rows; /* of the sheet that are filled */
} eval;

static const char NOTE[] = "Targets of up to 8 colours (others that make up less than 0.5 % do not count) are scored by "
                           "intersection over union: answers "
                           "are brought\nto the nearest colour; iou is the mean over the colours but the background, iou_all of "
                           "all that is not background. "
                           "Others are scored by mse\n(values in 0 to 1), psnr (dB) and ssim, and all by lpips where its weights "
                           "are given. At the targets' own size, where "
                           "papers' figures are often of "
                           "111 x 111 pixels: not to be compared.\n";

static int parse(eval *v, int argc, char **argv)
{
    const ts_option own[] = {
        {0, "examples", "N|DIR", TS_OPT_TEXT, &v->examples_word, 0, 0,
         "example pairs of a trial, drawn at random; 1. Or a folder of other pairs, of which those most like the query are taken "
         "(--top, --by), where else they are taken of the pairs themselves, never the query's own"},
        {0, "targets", "DIR", TS_OPT_TEXT, &v->job.lookup.targets, 0, 0,
         "the outputs of that folder's pairs, where they stand apart under like names"},
        {0, "list", "FILE", TS_OPT_TEXT, &v->list, 0, 0,
         "instead: a line a trial, the name of a pair and those of its examples (without ending)"},
        {'n', "limit", "N", TS_OPT_INT, &v->limit, 1, 1e9, "the first N trials only"},
        {0, "log", "FILE", TS_OPT_TEXT, &v->log, 0, 0,
         "a line of JSON a trial, as soon as it is done; an evaluation that was stopped goes on from it"},
        {0, "part", "K/N", TS_OPT_TEXT, &v->part, 0, 0,
         "every N-th trial from the K-th on: N processes share the work, tessera eval merge puts their logs together"},
        {0, "csv", "FILE", TS_OPT_TEXT, &v->csv, 0, 0, "a line of numbers a trial, for a spreadsheet"},
        {0, "sheet", "FILE", TS_OPT_TEXT, &v->sheet, 0, 0,
         "a contact sheet (.png): a trial a row, the example, its output, the query, the answer, the target"},
        {0, "shown", "N", TS_OPT_INT, &v->shown, 1, 64, "trials on the sheet; 8"},
        {0, "lpips", "FILE", TS_OPT_TEXT, &v->lpips_file, 0, 0, EVAL_LPIPS_HELP},
        {0, "vgg", "FILE", TS_OPT_TEXT, &v->vgg_file, 0, 0, EVAL_VGG_HELP},
        {0, "strict", NULL, TS_OPT_FLAG, &v->job.left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    enum { OWN = sizeof own / sizeof *own };
    ts_option options[OWN + RUN_LOOK_OPTIONS + RUN_MODEL_OPTIONS];
    int count = run_model_options(&v->job, options);
    count += run_look_options(&v->job.lookup.look, options + count);
    memcpy(options + count, own, sizeof own);
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "FOLDER [TARGETS] --model FILE [options]",
                      .summary = "measures a model on your own pairs: NAME.* with NAME_target.* in a folder, or "
                                 "pictures of like names in two",
                      .note = NOTE,
                      .example = "  tessera eval pairs pairs/ --model checkpoint-3400.pth\n"
                                 "  tessera eval pairs photos/ masks/ --model seggpt_vit_large.pth --examples 4\n"
                                 "  tessera eval pairs photos/ masks/ --model checkpoint-3400.pth --by clip --clip ViT-L-14.pt\n",
                      .options = options,
                      .count = count + OWN,
                      .rest = &v->folders,
                      .least = 1,
                      .most = 2,
                      .rest_name = "a folder",
                      .given = &v->job.given,
                      .values = &v->job.values,
                      .common = &v->job.common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

/* How the examples are come by. -1, or the exit status. */
static int check_examples(eval *v)
{
    static const char *const look[] = {"top", "by", "clip", "lists"};
    const char *word = v->examples_word;
    run_job *r = &v->job;
    const char *said = NULL;
    for (int i = 0; i < r->given.count; i++)
        for (size_t k = 0; k < sizeof look / sizeof *look; k++)
            if (strcmp(r->given.items[i], look[k]) == 0) said = look[k];
    if (word && !ts_int_read(word, 1, RUN_PAIRS, &v->examples)) {
        if (!ts_is_folder(word))
            return ts_usage_error(name, "--examples %s is neither a number from 1 to %d nor a folder of pairs", word, RUN_PAIRS);
        r->lookup.folder = word;
        said = "examples";
    } else if (word && said) {
        return ts_usage_error(name, "--examples %s draws examples at random, --%s looks for those most like: not both (--top %s)",
                              word, said, word);
    }
    v->looked_up = said != NULL;
    if (v->looked_up && v->list) return ts_usage_error(name, "--list says which examples a pair has: not with --%s", said);
    if (r->lookup.targets && !r->lookup.folder)
        return ts_usage_error(name, "--targets is for a folder of examples: --examples DIR");
    if (r->lookup.targets && !ts_is_folder(r->lookup.targets))
        return ts_usage_error(name, "--targets %s is no folder", r->lookup.targets);
    v->leaves_one = v->looked_up && !r->lookup.folder;
    if (v->leaves_one) {
        r->lookup.folder = v->folders.items[0];
        r->lookup.targets = v->folders.count > 1 ? v->folders.items[1] : NULL;
    }
    return run_check_look(&r->lookup.look, name);
}

/* -1, or the exit status. */
static int check_usage(eval *v)
{
    if (!eval_part_read(v->part, &v->part_number, &v->parts))
        return ts_usage_error(name, "--part %s is not K/N with K from 1 to N", v->part);
    if (v->sheet && !ts_image_writable(v->sheet))
        return ts_usage_error(name, "--sheet %s: the name must end in %s", v->sheet, ts_image_endings());
    for (int i = 0; i < v->folders.count; i++)
        if (!ts_is_folder(v->folders.items[i])) return ts_usage_error(name, "%s is no folder", v->folders.items[i]);
    for (int i = 0; i < v->job.given.count; i++)
        if (strcmp(v->job.given.items[i], "canvas") == 0 || strcmp(v->job.given.items[i], "follow") == 0)
            return ts_usage_error(name, "--%s is for tessera run", v->job.given.items[i]);
    if (v->vgg_file && !v->lpips_file) return ts_usage_error(name, "--vgg goes with --lpips");
    const int status = check_examples(v);
    return status >= 0 ? status : run_check_model_options(&v->job, name);
}

/* ---- before the model runs ---- */

static bool list_trials(eval *v, ts_error *err)
{
    const char *targets = v->folders.count > 1 ? v->folders.items[1] : NULL;
    const int least = v->looked_up && !v->leaves_one ? 1 : 2;
    v->from = v->looked_up ? &v->job.lookup.pairs : &v->pairs;
    if (!eval_pairs_list(v->folders.items[0], targets, &v->job.left_out, &v->pairs, err)) return false;
    if (v->pairs.count < least)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s holds %d pair%s: two at least are wanted, one to show and one to ask",
                       v->folders.items[0], v->pairs.count, v->pairs.count == 1 ? "" : "s");
    if (v->looked_up) return true; /* once it is known what they are compared by */
    if (v->list ? !eval_trials_read(&v->pairs, v->list, &v->trials, err)
                : !eval_trials_draw(&v->pairs, v->examples, v->job.common.seed, &v->trials, err))
        return false;
    if (v->trials.each > RUN_PAIRS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s names %d examples for a pair, up to %d are possible", v->list, v->trials.each,
                       RUN_PAIRS);
    return true;
}

/* Opens what the pairs are compared by, and leaves room for what will be found. */
static bool open_lookup(eval *v, ts_error *err)
{
    run_job *r = &v->job;
    const char **query = calloc((size_t)v->pairs.count, sizeof *query);
    if (!query) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int count = v->limit > 0 && v->limit < v->pairs.count ? v->limit : v->pairs.count;
    for (int i = 0; i < count; i++) query[i] = v->pairs.pair[i].input;
    if (v->leaves_one) r->lookup.pairs = v->pairs; /* lent */
    const bool ok =
        (v->leaves_one || eval_pairs_list(r->lookup.folder, r->lookup.targets, &r->left_out, &r->lookup.pairs, err)) &&
        run_pool_of(r, err) && run_lookup_count(r, query, count, err) &&
        eval_trials_new(v->pairs.count, r->lookup.each, &v->trials, err);
    free(query);
    return ok;
}

/* The colours of all targets, where they are few: they decide how all trials are scored. */
static bool see_targets(eval *v, ts_error *err)
{
    ts_progress progress;
    ts_progress_begin(&progress, "reading", v->pairs.count, v->job.common.quiet);
    bool ok = true, few = true;
    for (int i = 0; ok && few && i < v->pairs.count; i++) {
        ts_image target = {0};
        ts_error why = {0};
        /* One that is broken is left out when its turn comes. */
        if (ts_image_load(v->pairs.pair[i].target, &target, &why)) few = eval_palette_add(&v->palette, &target);
        else ok = why.code != TS_ERR_MEMORY || ts_fail(err, why.code, "%s", why.text);
        ts_image_clear(&target);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    if (!few) v->palette = (ts_palette){0};
    return ok;
}

static cJSON *head(const eval *v)
{
    const ts_common *c = &v->job.common;
    cJSON *h = cJSON_CreateObject(), *folders = cJSON_CreateStringArray(v->folders.items, v->folders.count);
    cJSON_AddStringToObject(h, "measured", "pairs");
    cJSON_AddItemToObject(h, "folders", folders);
    cJSON_AddStringToObject(h, "model", v->job.model);
    cJSON_AddStringToObject(h, "device", c->device ? c->device : "auto");
    cJSON_AddNumberToObject(h, "trials", v->trials.count);
    cJSON_AddNumberToObject(h, "examples", v->trials.each);
    cJSON_AddNumberToObject(h, "seed", (double)c->seed);
    cJSON_AddBoolToObject(h, "by_colours", v->palette.count > 1);
    if (v->part) cJSON_AddStringToObject(h, "part", v->part);
    if (eval_head_options(h, &v->job.given, &v->job.values) && folders) return h;
    cJSON_Delete(h);
    return NULL;
}

/* The engine sees the trials one by one, as a run of one query whose examples change. */
static bool open_model(eval *v, ts_error *err)
{
    run_job *r = &v->job;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, err)) return false;
    if (!r->model) r->model = r->default_model;
    if ((!run_is_pixels(r) && !ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, err)) ||
        (r->mae.vqgan && !ts_check_model(r->mae.vqgan, "VQGAN", TS_KIND_VQGAN, err)) ||
        !eval_lpips_check(v->lpips_file, v->vgg_file, err))
        return false;
    if (!run_open_weights(r, err) || (v->looked_up && !open_lookup(v, err))) return false;
    if (v->limit > 0 && v->limit < v->trials.count) v->trials.count = v->limit;
    return run_ask_open(r, v->trials.each, err);
}

/* ---- a trial ---- */

/* The examples of a pair that are looked for. `found`: its picture can be read; else it is left out. */
static bool find_examples(eval *v, int trial, bool *found, ts_error *err)
{
    const run_job *r = &v->job;
    const int query = v->trials.query[trial], each = v->trials.each;
    int *out = v->trials.example + trial * each;
    *found = true;
    if (!v->looked_up) return true;
    if (v->leaves_one) { /* its features are known, unless it was left out */
        *found = r->lookup.look.lists || run_pool_knows(r->lookup.pool, query);
        return !*found || run_pool_find_own(r->lookup.pool, query, each, out, NULL, err);
    }
    const char *path = v->pairs.pair[query].input;
    ts_image picture = {0};
    ts_error why = {0};
    *found = r->lookup.look.lists || ts_image_load(path, &picture, &why);
    const bool ok =
        *found ? run_pool_find(r->lookup.pool, path, &picture, each, out, NULL, err) : ts_leave_out(&v->job.left_out, &why, err);
    ts_image_clear(&picture);
    return ok;
}

typedef struct {
    ts_image in, out, query, target, answer;
} pictures;

static void pictures_clear(pictures *p)
{
    ts_image *const all[] = {&p->in, &p->out, &p->query, &p->target, &p->answer};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ts_image_clear(all[i]);
}

static bool show(eval *v, int trial, pictures *p, ts_error *err)
{
    run_job *r = &v->job;
    for (int k = 0; k < v->trials.each; k++) {
        const eval_pair *e = &v->from->pair[v->trials.example[trial * v->trials.each + k]];
        ts_image in = {0}, out = {0};
        bool ok =
            ts_image_load(e->input, &in, err) && ts_image_load(e->target, &out, err) && run_ask_example(r, k, e, &in, &out, err);
        if (ok && k == 0) {
            p->in = in;
            p->out = out;
            continue;
        }
        ts_image_clear(&in);
        ts_image_clear(&out);
        if (!ok) return false;
    }
    const eval_pair *asked = &v->pairs.pair[v->trials.query[trial]];
    if (!ts_image_load(asked->input, &p->query, err) || !ts_image_load(asked->target, &p->target, err)) return false;
    if (p->query.width != p->target.width || p->query.height != p->target.height)
        return ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its target %d x %d: they must be alike", asked->input,
                       p->query.width, p->query.height, p->target.width, p->target.height);
    return run_ask_query(r, asked->input, &p->query, err);
}

static bool add_scores(const eval *v, cJSON *line, const char *who, const ts_image *truth, const ts_image *answer, ts_error *err)
{
    double score[EVAL_METRICS];
    if (!eval_score(truth, answer, &v->palette, score, err)) return false;
    if (v->lpips && !eval_lpips_measure(v->lpips, truth, answer, &score[EVAL_LPIPS], err)) return false;
    cJSON *item = cJSON_AddObjectToObject(line, who);
    bool ok = item != NULL;
    for (int m = 0; ok && m < EVAL_METRICS; m++)
        if (isfinite(score[m])) ok = cJSON_AddNumberToObject(item, eval_metric_names[m], score[m]) != NULL;
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static bool score(eval *v, int trial, const pictures *p, ts_error *err)
{
    run_job *r = &v->job;
    const int width = p->target.width, height = p->target.height;
    ts_image copied = {0}, coded = {0};
    cJSON *line = cJSON_CreateObject(), *examples = cJSON_CreateArray();
    cJSON_AddNumberToObject(line, "trial", trial);
    cJSON_AddStringToObject(line, "query", v->pairs.pair[v->trials.query[trial]].name);
    for (int k = 0; k < v->trials.each; k++)
        cJSON_AddItemToArray(examples, cJSON_CreateString(v->from->pair[v->trials.example[trial * v->trials.each + k]].name));
    bool ok = cJSON_AddItemToObject(line, "examples", examples) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && add_scores(v, line, eval_who_names[0], &p->target, &p->answer, err) &&
         add_scores(v, line, eval_who_names[1], &p->target, &p->query, err) &&
         ts_image_resize(&p->out, width, height, TS_RESIZE_NEAREST, &copied, err) &&
         add_scores(v, line, eval_who_names[2], &p->target, &copied, err);
    if (ok && r->engine->ideal)
        ok = r->engine->ideal(r, 0, &p->target, &coded, err) && add_scores(v, line, eval_who_names[3], &p->target, &coded, err);
    ts_image_clear(&copied);
    ts_image_clear(&coded);
    if (ok) return eval_journal_add(&v->journal, trial, line, err);
    cJSON_Delete(line);
    return false;
}

static bool add_row(eval *v, const pictures *p, ts_error *err)
{
    const ts_image *const columns[EVAL_COLUMNS] = {&p->in, &p->out, &p->query, &p->answer, &p->target};
    return !v->sheet || v->rows == v->shown || eval_sheet_add(&v->contact, v->rows++, columns, err);
}

/* Whether the trial was done before, with the same pictures. */
static bool is_done(const eval *v, int trial, bool *done, ts_error *err)
{
    const cJSON *line = eval_journal_find(&v->journal, trial);
    *done = line != NULL;
    if (!line) return true;
    const char *query = cJSON_GetStringValue(cJSON_GetObjectItem(line, "query"));
    bool same = query && strcmp(query, v->pairs.pair[v->trials.query[trial]].name) == 0;
    for (int k = 0; k < v->trials.each; k++) {
        const char *example = cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(line, "examples"), k));
        same = same && example && strcmp(example, v->from->pair[v->trials.example[trial * v->trials.each + k]].name) == 0;
    }
    return same ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s has other pictures for trial %d: the folder has changed since", v->log, trial);
}

/* Once there is a trial to be done. */
static bool start(eval *v, ts_error *err)
{
    run_job *r = &v->job;
    if (v->started) return true;
    v->started = true;
    return (r->dev || (r->dev = ts_open_device(&r->common, false, err))) && r->engine->start(r, err) &&
           (!v->lpips_file || (v->lpips = eval_lpips_open(r->dev, v->lpips_file, v->vgg_file, r->common.quiet, err)));
}

/* What has to do with the pictures alone, and leaves a trial out; with the model it ends the work. */
static bool run_trial(eval *v, int trial, ts_error *err)
{
    run_job *r = &v->job;
    pictures p = {.in = {0}};
    ts_error why = {0};
    bool ok = show(v, trial, &p, &why);
    if (!ok) {
        pictures_clear(&p);
        return ts_leave_out(&r->left_out, &why, err);
    }
    ok = start(v, err) && r->engine->answer(r, 0, 1, &p.answer, err) && score(v, trial, &p, err) && add_row(v, &p, err);
    pictures_clear(&p);
    return ok;
}

static bool run_trials(eval *v, ts_error *err)
{
    const int first = v->part_number - 1, all = v->trials.count;
    const int mine = all > first ? (all - first + v->parts - 1) / v->parts : 0;
    ts_progress progress;
    if (v->looked_up && !run_lookup_start(&v->job, err)) return false;
    bool ok = !v->sheet || eval_sheet_new(&v->contact, v->shown, err);
    ts_progress_begin(&progress, "trials", mine, v->job.common.quiet);
    for (int trial = first, done = 0; ok && trial < all; trial += v->parts) {
        bool before, found;
        ok = find_examples(v, trial, &found, err) &&
             (!found || (is_done(v, trial, &before, err) && (before || run_trial(v, trial, err))));
        ts_progress_step(&progress, ++done);
    }
    ts_progress_end(&progress);
    return ok && (!v->sheet || ts_image_save(v->sheet, &v->contact, err));
}

/* ---- the command ---- */

static void clear(eval *v)
{
    if (v->leaves_one) v->job.lookup.pairs = (eval_pairs){0};
    eval_lpips_free(v->lpips);
    run_ask_close(&v->job);
    run_clear(&v->job);
    eval_journal_close(&v->journal);
    eval_trials_clear(&v->trials);
    eval_pairs_clear(&v->pairs);
    ts_image_clear(&v->contact);
    ts_words_free(&v->folders);
}

static int work(eval *v, int argc, char **argv)
{
    ts_error err = {0};
    int status = parse(v, argc, argv);
    if (status < 0) status = check_usage(v);
    if (status >= 0) return status;
    v->job.left_out.quiet = v->job.common.quiet;
    const bool ok = list_trials(v, &err) && open_model(v, &err) && (!v->sheet || ts_check_writable(v->sheet, &err)) &&
                    (!v->csv || ts_check_writable(v->csv, &err)) && see_targets(v, &err) &&
                    eval_journal_open(&v->journal, v->log, head(v), &err) && run_trials(v, &err) &&
                    eval_journal_summarise(&v->journal, v->trials.count, v->job.common.json, v->csv, &err);
    return ok ? ts_left_out_status(name, &v->job.left_out) : ts_report(name, &err);
}

int ts_eval_pairs(int argc, char **argv)
{
    eval *v = calloc(1, sizeof *v);
    if (!v) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    v->examples = 1;
    v->shown = 8;
    const int status = work(v, argc, argv);
    clear(v);
    free(v);
    return status;
}
