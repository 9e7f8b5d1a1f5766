/* retriever.c - `tessera tune retriever`: from the command line to a head that says which examples go with a query. A tuning that
 * goes on begins with the command line that it was begun with, as config.json keeps it, and what is said beside it. */
#include "cli/tune/retriever.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/tune/tune.h"

static const char name[] = "tune retriever";

static const char EXAMPLE[] =
    "  tessera tune retriever pairs/ --model checkpoint-1000.pth --clip ViT-L-14.pt --out retriever\n"
    "  tessera tune retriever photos/ masks/ --model checkpoint-1000.pth --by mae --candidates 20 --out retriever\n"
    "  tessera tune retriever --out retriever --resume\n"
    "  tessera run --model checkpoint-1000.pth --examples pairs/ --by retriever/retriever.safetensors "
    "-q photo.jpg -o answer.png\n";

static const char NOTE[] =
    "Every pair is asked with each of its neighbours as the example; a small head over frozen features then learns to tell\n"
    "the five that did best from the five that did worst. A tenth of the pairs is held out to measure the head on.\n";

static void set_defaults(tune_retriever *t)
{
    t->candidates = 50;
    t->best = 5;
    t->epochs = 200;
    t->batch = 64;
    t->width = 128;
    t->lr = 0.005;
    t->temperature = 0.1;
    t->weight_decay = 1e-4;
    t->save_every = 200;
    t->keep = 2;
}

static int parse(tune_retriever *t, int argc, char **argv)
{
    run_job *r = &t->job;
    ts_option look[RUN_LOOK_OPTIONS];
    const ts_option own[] = {
        {'o', "out", "DIR", TS_OPT_TEXT, &t->out, 0, 0,
         "the tuning's folder: configuration, scores, log, checkpoints, retriever"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->resume, 0, 0, "go on where the tuning in --out stopped, with its configuration"},
        {0, "candidates", "N", TS_OPT_INT, &t->candidates, 2, 1000, "neighbours of a pair that are tried as its example; 50"},
        {0, "best", "N", TS_OPT_INT, &t->best, 1, 500, "of those at each end of the scores, to be told apart; 5"},
        {'n', "limit", "N", TS_OPT_INT, &t->limit, 1, 1e9, "ask the first N pairs only; all are examples"},
        {0, "epochs", "N", TS_OPT_INT, &t->epochs, 1, 1000000, "passes over the pairs that are learned from; 200"},
        {0, "queries", "N", TS_OPT_INT, &t->batch, 1, 65536, "of a step; 64"},
        {0, "hidden", "N", TS_OPT_INT, &t->hidden, 1, 65536, "numbers between the head's two layers; the feature's"},
        {0, "width", "N", TS_OPT_INT, &t->width, 1, 65536, "numbers that the head makes of a picture; 128"},
        {0, "lr", "X", TS_OPT_REAL, &t->lr, 1e-12, 1e3, "first learning rate of SGD, which falls along half a cosine; 0.005"},
        {0, "tau", "X", TS_OPT_REAL, &t->temperature, 1e-4, 100, "temperature of the loss; 0.1"},
        {0, "weight-decay", "X", TS_OPT_REAL, &t->weight_decay, 0, 1e3, "added to the gradient; 1e-4"},
        {0, "save-every", "N", TS_OPT_INT, &t->save_every, 1, 1e9, "steps from checkpoint to checkpoint; 200"},
        {0, "keep", "N", TS_OPT_INT, &t->keep, 1, 1e6, "checkpoints kept; 2"},
        {0, "strict", NULL, TS_OPT_FLAG, &r->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    enum { OWN = sizeof own / sizeof *own };
    ts_option options[OWN + RUN_LOOK_OPTIONS + RUN_MODEL_OPTIONS];
    memcpy(options, own, sizeof own);
    int count = OWN;
    for (int i = 0, n = run_look_options(&r->lookup.look, look); i < n; i++)
        if (strcmp(look[i].name, "by") == 0 || strcmp(look[i].name, "clip") == 0) options[count++] = look[i];
    count += run_model_options(r, options + count);
    return ts_options_parse(&(ts_command){.name = name,
                                          .usage = "FOLDER [TARGETS] --out DIR [options]",
                                          .summary = "learns from a folder of pairs which examples go with a query",
                                          .note = NOTE,
                                          .example = EXAMPLE,
                                          .options = options,
                                          .count = count,
                                          .rest = &t->folders,
                                          .most = 2,
                                          .rest_name = "FOLDER",
                                          .given = &r->given,
                                          .values = &r->values,
                                          .common = &r->common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_SEED | TS_TAKES_JSON},
                            argc, argv);
}

/* ---- the configuration ------------------------------------------------------------------------------------------- */

static bool is_among(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0) return true;
    return false;
}

/* What is of this call alone; and what may be said otherwise when a tuning goes on. */
static bool is_of_call(const char *option)
{
    static const char *const list[] = {"out", "resume", "quiet", "verbose", "json", "strict"};
    return is_among(option, list, sizeof list / sizeof *list);
}

static bool may_change(const char *option)
{
    static const char *const list[] = {"device", "threads", "save-every", "keep"};
    return is_of_call(option) || is_among(option, list, sizeof list / sizeof *list);
}

/* A file's path from the root on, that it holds wherever the tuning is resumed from; another word as it is. */
static cJSON *word_of(const char *option, const char *value)
{
    static const char *const files[] = {"", "model", "vqgan", "features", "clip", "by"};
    char *whole = is_among(option, files, sizeof files / sizeof *files) && *value ? realpath(value, NULL) : NULL;
    cJSON *out = cJSON_CreateString(whole ? whole : value);
    free(whole);
    return out;
}

static bool add_option(cJSON *options, const char *option, const char *value)
{
    cJSON *pair = cJSON_CreateArray();
    return cJSON_AddItemToArray(options, pair) && cJSON_AddItemToArray(pair, cJSON_CreateString(option)) &&
           cJSON_AddItemToArray(pair, word_of(option, value));
}

static bool write_config(const tune_retriever *t, ts_error *err)
{
    const run_job *r = &t->job;
    char *path = NULL;
    if (asprintf(&path, "%s/config.json", t->out) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    cJSON *o = cJSON_CreateObject(), *folders = cJSON_AddArrayToObject(o, "folders"), *options = NULL;
    bool ok = folders && cJSON_AddStringToObject(o, "kind", name) && (options = cJSON_AddArrayToObject(o, "options"));
    for (int i = 0; ok && i < t->folders.count; i++) ok = cJSON_AddItemToArray(folders, word_of("", t->folders.items[i]));
    for (int i = 0; ok && i < r->given.count; i++)
        ok = is_of_call(r->given.items[i]) || add_option(options, r->given.items[i], r->values.items[i]);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    ok = ts_config_save(o, path, err);
    free(path);
    return ok;
}

static const char *text_at(const cJSON *list, int i)
{
    return cJSON_GetStringValue(cJSON_GetArrayItem(list, i));
}

/* The last value of an option in the configuration; NULL: it was not said. */
static const char *value_in(const cJSON *options, const char *option)
{
    const char *value = NULL;
    const cJSON *pair;
    cJSON_ArrayForEach(pair, options) if (strcmp(text_at(pair, 0), option) == 0) value = text_at(pair, 1);
    return value;
}

static bool is_config(const cJSON *o)
{
    const cJSON *folders = cJSON_GetObjectItem(o, "folders"), *options = cJSON_GetObjectItem(o, "options"), *item;
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(o, "kind"));
    bool ok = kind && strcmp(kind, name) == 0 && cJSON_IsArray(folders) && cJSON_IsArray(options);
    cJSON_ArrayForEach(item, folders) ok = ok && cJSON_IsString(item);
    cJSON_ArrayForEach(item, options) ok = ok && text_at(item, 0) && text_at(item, 1);
    return ok;
}

static bool read_config(tune_retriever *t, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/config.json", t->out) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->config = ts_config_load(path, err);
    const bool ok = t->config && (is_config(t->config) ||
                                  ts_fail(err, TS_ERR_FORMAT, "%s is not the configuration of a retriever's tuning", path));
    free(path);
    return ok;
}

/* Whether a tuning that goes on is told nothing else than it was begun with. -1, or the exit status. */
static int check_unchanged(const tune_retriever *t)
{
    const cJSON *options = cJSON_GetObjectItem(t->config, "options");
    const run_job *r = &t->job;
    if (t->folders.count > 0)
        return ts_usage_error(name, "%s: a tuning that goes on has its folder of pairs already", t->folders.items[0]);
    for (int i = 0; i < r->given.count; i++) {
        const char *option = r->given.items[i], *value = r->values.items[i], *was = value_in(options, option);
        if (may_change(option) || (was && (strcmp(was, value) == 0 || (*value && ts_same_file(was, value))))) continue;
        return ts_usage_error(name, "--%s of a tuning that goes on cannot change", option);
    }
    return -1;
}

/* "tune retriever", the configuration's words, those of this call. */
static bool join_words(tune_retriever *t, int argc, char **argv, ts_error *err)
{
    const cJSON *folders = cJSON_GetObjectItem(t->config, "folders"), *options = cJSON_GetObjectItem(t->config, "options"), *item;
    t->words =
        calloc((size_t)argc + (size_t)cJSON_GetArraySize(folders) + (size_t)cJSON_GetArraySize(options) + 1, sizeof *t->words);
    bool ok = t->words != NULL;
    if (ok) ok = (t->words[t->word_count++] = strdup(argv[0])) != NULL;
    cJSON_ArrayForEach(item, options)
    {
        const char *value = text_at(item, 1);
        char *word = NULL;
        if (ok && asprintf(&word, *value ? "--%s=%s" : "--%s", text_at(item, 0), value) < 0) ok = false;
        if (ok) t->words[t->word_count++] = word;
    }
    cJSON_ArrayForEach(item, folders) if (ok) ok = (t->words[t->word_count++] = strdup(item->valuestring)) != NULL;
    for (int i = 1; ok && i < argc; i++) ok = (t->words[t->word_count++] = strdup(argv[i])) != NULL;
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static void forget_line(tune_retriever *t)
{
    ts_words_free(&t->folders);
    ts_words_free(&t->job.given);
    ts_words_free(&t->job.values);
}

static int load_resumed(tune_retriever *t, int argc, char **argv)
{
    ts_error err = {0};
    if (!read_config(t, &err)) return ts_report(name, &err);
    const int status = check_unchanged(t);
    if (status >= 0) return status;
    forget_line(t);
    t->job = (run_job){0};
    set_defaults(t);
    return join_words(t, argc, argv, &err) ? parse(t, t->word_count, t->words) : ts_report(name, &err);
}

/* -1, or the exit status. */
static int configure(tune_retriever *t, int argc, char **argv)
{
    set_defaults(t);
    int status = parse(t, argc, argv);
    if (status >= 0) return status;
    if (!t->out) return ts_usage_error(name, "the tuning's folder is missing: --out DIR");
    if (!t->resume && t->folders.count == 0) return ts_usage_error(name, "a folder of pairs is missing");
    for (int i = 0; i < t->folders.count; i++)
        if (!ts_is_folder(t->folders.items[i])) return ts_usage_error(name, "%s is no folder", t->folders.items[i]);
    for (int i = 0; i < t->job.given.count; i++)
        if (strcmp(t->job.given.items[i], "canvas") == 0 || strcmp(t->job.given.items[i], "follow") == 0)
            return ts_usage_error(name, "--%s is for tessera run", t->job.given.items[i]);
    if (t->job.lookup.look.by && strcmp(t->job.lookup.look.by, "pixels") == 0)
        return ts_usage_error(name, "--by pixels compares place by place; the head learns from features of whole pictures");
    status = ts_run_open(&t->lock, name, t->out, "tuning", t->resume, t->job.common.quiet);
    if (status < 0 && t->resume) status = load_resumed(t, argc, argv);
    return status < 0 ? run_check_model_options(&t->job, name) : status;
}

/* ---- the work ---------------------------------------------------------------------------------------------------- */

static bool open_model(tune_retriever *t, ts_error *err)
{
    run_job *r = &t->job;
    r->left_out.quiet = r->common.quiet;
    r->lookup.folder = t->folders.items[0];
    r->lookup.targets = t->folders.count > 1 ? t->folders.items[1] : NULL;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, err)) return false;
    if (!r->model) r->model = r->default_model;
    if (!eval_pairs_list(r->lookup.folder, r->lookup.targets, &r->left_out, &r->lookup.pairs, err) ||
        !ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, err) ||
        (r->mae.vqgan && !ts_check_model(r->mae.vqgan, "VQGAN", TS_KIND_VQGAN, err)))
        return false;
    r->weights = ts_open_weights(r->model, r->common.quiet, err);
    return r->weights && run_choose(r, err) && run_pool_of(r, err) && run_ask_open(r, 1, err) && run_lookup_start(r, err);
}

static bool print_report(const tune_retriever *t, const char *path, ts_error *err)
{
    if (!t->job.common.json) {
        ts_put_line(path);
        if (t->held.pairs > 0)
            printf("score of the first choice, over %d pairs held out:\n  any neighbour  %8.4f\n  plain features %8.4f\n"
                   "  the retriever  %8.4f\n  the best there %8.4f\n",
                   t->held.pairs, t->held.any, t->held.plain, t->held.learned, t->held.best);
        return ts_flush_output(err);
    }
    cJSON *o = cJSON_CreateObject(), *held = NULL;
    bool ok = o && cJSON_AddStringToObject(o, "out", path) && cJSON_AddBoolToObject(o, "complete", t->complete) &&
              cJSON_AddNumberToObject(o, "step", (double)t->step) && cJSON_AddNumberToObject(o, "steps", (double)t->steps) &&
              cJSON_AddNumberToObject(o, "pairs", t->queries) && cJSON_AddNumberToObject(o, "candidates", t->each) &&
              cJSON_AddNumberToObject(o, "loss", t->loss) &&
              cJSON_AddStringToObject(o, "device", ts_device_about(t->job.dev)->name);
    if (ok && t->held.pairs > 0)
        ok = (held = cJSON_AddObjectToObject(o, "held_out")) && cJSON_AddNumberToObject(held, "pairs", t->held.pairs) &&
             cJSON_AddNumberToObject(held, "any", t->held.any) && cJSON_AddNumberToObject(held, "plain", t->held.plain) &&
             cJSON_AddNumberToObject(held, "learned", t->held.learned) && cJSON_AddNumberToObject(held, "best", t->held.best);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_print_json(o, err);
}

static bool report(const tune_retriever *t, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, t->complete ? "%s/retriever.safetensors" : "%s", t->out) < 0)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!t->complete && !t->job.common.quiet) ts_say("stopped before the end: --resume goes on");
    const bool ok = print_report(t, path, err);
    free(path);
    return ok;
}

static bool work(tune_retriever *t, ts_error *err)
{
    if (!open_model(t, err) || !tune_retriever_candidates(t, err) || !write_config(t, err)) return false;
    ts_announce_device(&t->job.common, t->job.dev);
    ts_say_passed(&t->job.left_out);
    return tune_retriever_score(t, err) && (ts_training_stopping() || tune_retriever_train(t, err)) && report(t, err);
}

static void clear(tune_retriever *t)
{
    run_ask_close(&t->job);
    run_clear(&t->job);
    ts_words_free(&t->folders);
    ts_run_lock_release(&t->lock);
    for (int i = 0; i < t->word_count; i++) free(t->words[i]);
    free(t->words);
    cJSON_Delete(t->config);
    free(t->candidate);
    free(t->score);
}

int ts_tune_retriever(int argc, char **argv)
{
    ts_error err = {0};
    tune_retriever *t = calloc(1, sizeof *t);
    if (!t) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    int status = configure(t, argc, argv);
    if (status < 0) {
        ts_training_console_begin(&t->console, t->job.common.quiet);
        status = work(t, &err) ? ts_left_out_status(name, &t->job.left_out) : ts_report(name, &err);
        if (!err.code && !t->complete && ts_training_stopping()) status = ts_training_ended(ts_training_stopping());
    }
    clear(t);
    free(t);
    return status;
}
