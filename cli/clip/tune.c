/* tune.c - `tessera clip tune METHOD`: learns a prompt for a frozen CLIP, by any of the methods, from a few or all of a data
 * set's pictures, and measures it beside the zero-shot classifier. With several seeds, a run for each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/tune.h"

enum { SETTINGS = 8, WORDS_SHOWN = 3, VECTORS_SHOWN = 64, POSITIONS = 3 };

typedef struct {
    ts_tune_config config;
    ts_clip_use use;
    ts_clip_method method;
    char command[64]; /* "clip tune coop" */
    const char *out, *seeds, *template, *picture;
    int position, attention;
    bool resume, no_eval;
    int stopped; /* the signal that ended it, or 0 */
    char *config_path;
    ts_whole_paths paths;
    ts_run_lock lock;
    bool resumed;
    ts_tune_config was; /* what the run that goes on was begun with */
} tune;

static const char EXAMPLE[] =
    "  tessera clip tune coop --model ViT-B-16.pt --data flowers/ --shots 16 --seeds 1,2,3 --out flowers-coop\n"
    "  tessera clip tune cocoop --model ViT-B-16.pt --data split_zhou_DTD.json --root dtd/images --shots 16 \\\n"
    "      --base-to-new --out dtd-cocoop\n"
    "  tessera clip tune vp-padding --model ViT-B-32.pt --data eurosat/ --epochs 50 --picture frame.png --out eurosat-vp\n";

/* What every method says where the command line does not. */
static void set_defaults(tune *t)
{
    t->position = t->attention = -1;
    const char *method = t->config.method;
    cJSON *file = t->config.file;
    t->config = (ts_tune_config){.method = method,
                                 .file = file,
                                 .warmup = -1,
                                 .momentum = -1,
                                 .weight_decay = -1,
                                 .save_every = 200,
                                 .keep = 2,
                                 .workers = ts_default_workers(),
                                 .memory = 1024};
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool takes(const tune *t, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = t->method.settings; (at = strstr(at, key)); at += length)
        if ((at == t->method.settings || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

static int add(ts_option *list, int n, ts_option o)
{
    list[n] = o;
    return n + 1;
}

/* The options of the method's own settings. */
static int add_settings(tune *t, ts_option *list, int n)
{
    ts_tune_config *c = &t->config;
    const struct {
        const char *key;
        ts_option option;
    } all[SETTINGS] = {
        {"context", {0, "ctx", "M", TS_OPT_INT, &c->context, 1, 70, "context vectors beside the class name"}},
        {"per-class", {0, "csc", NULL, TS_OPT_FLAG, &c->per_class, 0, 0, "context of its own for each class"}},
        {"position", {0, "position", "end|middle|front", TS_OPT_CHOICE, &t->position, 0, 0, "of the class name"}},
        {"words",
         {0, "init", "TEXT", TS_OPT_TEXT, &c->words, 0, 0,
          "words that the context starts as, a vector for each; what they have of further tokens stands fixed before the name"}},
        {"tokens", {0, "tokens", "P", TS_OPT_INT, &c->tokens, 1, 1000, "prompt tokens among the picture's"}},
        {"pixels",
         {0, "pixels", "N", TS_OPT_INT, &c->pixels, 1, 8192, "of the frame's width, the patch's or the picture's side"}},
        {"depth", {0, "depth", "N", TS_OPT_INT, &c->depth, 1, 1000, "blocks of the vision tower that get tokens of their own"}},
        {"attention",
         {0, "attention", "true|degenerate", TS_OPT_CHOICE, &t->attention, 0, 0,
          "as published, or as the released code has it by mistake"}},
    };
    for (int i = 0; i < SETTINGS; i++)
        if (takes(t, all[i].key)) n = add(list, n, all[i].option);
    return n;
}

static int parse(tune *t, int argc, char **argv)
{
    ts_tune_config *c = &t->config;
    char summary[256], lr[128], batch[64], epochs[64], warmup[160];
    snprintf(summary, sizeof summary, "tunes a prompt for a frozen CLIP: %s", t->method.about);
    snprintf(lr, sizeof lr, "highest learning rate (%s); %g%s", t->method.optimizer, t->method.lr,
             t->method.lr_of_256 ? " times batch / 256" : "");
    if (t->method.warmup == 0) snprintf(warmup, sizeof warmup, "epochs of the warm-up; none");
    else if (t->method.by_step) snprintf(warmup, sizeof warmup, "steps of the warm-up; %d", t->method.warmup);
    else
        snprintf(warmup, sizeof warmup, "epochs of the warm-up; %d%s", t->method.warmup,
                 t->method.warmup > 1 ? ", a tenth of the epochs at most" : "");
    snprintf(batch, sizeof batch, "pictures in a step; %d", t->method.batch);
    snprintf(epochs, sizeof epochs, "passes over the pictures; %d with 16 a class", t->method.epochs);
    const ts_option first[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &c->model, 0, 0, TS_CLIP_MODEL_HELP},
        {0, "vocab", "FILE", TS_OPT_TEXT, &c->vocab, 0, 0, TS_CLIP_VOCAB_HELP},
        TS_CLIP_TOLD_OPTIONS(&c->told),
        {'d', "data", "PATH", TS_OPT_TEXT, &c->data, 0, 0,
         "a folder with a folder a class, or with train/ and test/ of such folders, or a split_*.json as CoOp's"},
        {0, "root", "DIR", TS_OPT_TEXT, &c->root, 0, 0, "folder of the pictures that a split_*.json names; its own"},
        {'o', "out", "DIR", TS_OPT_TEXT, &t->out, 0, 0, "the tuning's folder: configuration, log, checkpoints, prompt"},
        {0, "resume", NULL, TS_OPT_FLAG, &t->resume, 0, 0, "go on where the tuning in --out stopped, with its configuration"},
        {0, "shots", "N", TS_OPT_INT, &c->shots, 1, 1000000, "training pictures a class, drawn by the seed; all"},
        {0, "seeds", "LIST", TS_OPT_TEXT, &t->seeds, 0, 0, "several seeds, such as 1,2,3: a run each, and their mean"},
        {0, "base-to-new", NULL, TS_OPT_FLAG, &c->base_to_new, 0, 0, "train on the first half of the classes, measure on both"},
        {0, "epochs", "N", TS_OPT_INT, &c->epochs, 1, 1000000, epochs},
        {0, "batch", "N", TS_OPT_INT, &c->batch, 1, 65536, batch},
        {0, "lr", "X", TS_OPT_REAL, &c->lr, 1e-12, 1e5, lr},
        {0, "momentum", "X", TS_OPT_REAL, &c->momentum, 0, 0.9999, "of SGD, or Adam's first beta"},
        {0, "weight-decay", "X", TS_OPT_REAL, &c->weight_decay, 0, 1e3, "added to the gradient"},
        {0, "warmup", "N", TS_OPT_INT, &c->warmup, 0, 1e9, warmup},
        {0, "no-augment", NULL, TS_OPT_FLAG, &c->no_augment, 0, 0,
         "no random crops and flips: pictures as at test, and what is frozen computed once (much faster for coop and cocoop)"},
        {0, "strict", NULL, TS_OPT_FLAG, &t->use.left_out.strict, 0, 0, TS_STRICT_HELP},
        {0, "cut", NULL, TS_OPT_FLAG, &c->cut, 0, 0, "cut class names that are too long for the model"},
        {0, "eval-every", "N", TS_OPT_INT, &c->eval_every, 1, 1000000, "epochs from validation to validation; none"},
        {0, "save-every", "N", TS_OPT_INT, &c->save_every, 1, 1e9, "steps from checkpoint to checkpoint; 200"},
        {0, "keep", "N", TS_OPT_INT, &c->keep, 1, 1e6, "checkpoints kept; 2"},
        {0, "workers", "N", TS_OPT_INT, &c->workers, 1, 256, "threads that read pictures; half the cores"},
        {0, "memory", "MB", TS_OPT_INT, &c->memory, 1, 1 << 20, "for what a step keeps; what does not fit goes in chunks; 1024"},
        {'t', "template", "TEXT", TS_OPT_TEXT, &t->template, 0, 0, "of the zero-shot classifier beside it; \"a photo of a {}.\""},
        {0, "no-eval", NULL, TS_OPT_FLAG, &t->no_eval, 0, 0, "do not measure at the end"},
    };
    ts_option list[sizeof first / sizeof *first + SETTINGS + 1];
    int n = 0;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) n = add(list, n, first[i]);
    n = add_settings(t, list, n);
    if (takes(t, "pixels"))
        n = add(list, n,
                (ts_option){0, "picture", "FILE", TS_OPT_TEXT, &t->picture, 0, 0, "write what was learned as a picture"});
    int status = ts_options_parse(&(ts_command){.name = t->command,
                                                .usage = "--model FILE --data PATH --out DIR [options]",
                                                .summary = summary,
                                                .note = t->method.note,
                                                .example = EXAMPLE,
                                                .options = list,
                                                .count = n,
                                                .common = &t->use.common,
                                                .takes = TS_TAKES_DEVICE | TS_TAKES_SEED | TS_TAKES_JSON},
                                  argc, argv);
    static const char *const positions[POSITIONS] = {"end", "middle", "front"};
    if (t->position >= 0) c->position = positions[t->position];
    if (t->attention >= 0) c->attention = t->attention ? "degenerate" : "true";
    return status;
}

/* ---- the configuration ------------------------------------------------------------------------------------------- */

/* What is other than it was in a tuning that goes on, of all that its numbers depend on; NULL: nothing. */
static const char *changed(const tune *t)
{
    const ts_tune_config *a = &t->was, *b = &t->config;
    if (a->context != b->context) return "--ctx";
    if (a->tokens != b->tokens) return "--tokens";
    if (a->pixels != b->pixels) return "--pixels";
    if (a->depth != b->depth) return "--depth";
    if (a->per_class != b->per_class) return "--csc";
    if (ts_texts_differ(a->position, b->position)) return "--position";
    if (ts_texts_differ(a->words, b->words)) return "--init";
    if (ts_texts_differ(a->attention, b->attention)) return "--attention";
    if (a->shots != b->shots) return "--shots";
    if (a->base_to_new != b->base_to_new) return "--base-to-new";
    /* One seed's run is the folder itself, several are folders in it. */
    return (a->seeds > 1) != (b->seeds > 1) || (a->seeds == 1 && a->seed[0] != b->seed[0]) ? "--seeds" : NULL;
}

static int complete(tune *t)
{
    ts_tune_config *c = &t->config;
    if (!c->model) return ts_usage_error(t->command, "--model FILE is missing: a CLIP");
    if (!c->data) return ts_usage_error(t->command, "--data PATH is missing: pictures in a folder a class, or a split_*.json");
    if (t->seeds && !ts_tune_config_seeds(c, t->seeds))
        return ts_usage_error(t->command, "--seeds %s is not a list of up to %d different numbers, such as 1,2,3", t->seeds,
                              TS_TUNE_SEEDS);
    if (c->seeds == 0) c->seed[c->seeds++] = t->use.common.seed;
    if (t->resumed && changed(t)) return ts_usage_error(t->command, "%s of a tuning that goes on cannot change", changed(t));
    if (t->template && !strstr(t->template, "{}"))
        return ts_usage_error(t->command, "--template \"%s\" has no {} where the class's name goes", t->template);
    if (t->picture && (!ts_image_writable(t->picture) || c->seeds > 1))
        return ts_usage_error(t->command, "--picture %s: wanted one picture (%s), of one seed", t->picture, ts_image_endings());
    c->model = ts_whole_path(&t->paths, c->model);
    c->vocab = ts_whole_path(&t->paths, c->vocab);
    c->data = ts_whole_path(&t->paths, c->data);
    c->root = ts_whole_path(&t->paths, c->root);
    c->device = t->use.common.device;
    c->threads = t->use.common.threads;
    t->use.model = c->model;
    t->use.left_out.quiet = t->use.common.quiet;
    t->use.vocab = c->vocab;
    t->use.cut = c->cut;
    t->use.told = c->told;
    return -1;
}

/* The command line once to find the folder, and again over what the folder's configuration says. */
static int load_resumed(tune *t, const char *path, int argc, char **argv)
{
    ts_error err = {0};
    set_defaults(t);
    if (!ts_tune_config_read(&t->config, path, &err)) return ts_report(t->command, &err);
    t->was = t->config;
    t->resumed = true;
    t->use.common = (ts_common){.device = t->config.device, .threads = t->config.threads};
    return parse(t, argc, argv);
}

/* -1, or the exit status. */
static int configure(tune *t, int argc, char **argv)
{
    set_defaults(t);
    int status = parse(t, argc, argv);
    if (status >= 0) return status;
    if (!t->out) return ts_usage_error(t->command, "the tuning's folder is missing: --out DIR");
    if (asprintf(&t->config_path, "%s/config.json", t->out) < 0)
        return ts_report(t->command, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    status = ts_run_open(&t->lock, t->command, t->out, "tuning", t->resume, t->use.common.quiet);
    if (status < 0 && t->resume) status = load_resumed(t, t->config_path, argc, argv);
    return status < 0 ? complete(t) : status;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* Accuracies of one seed, or of the zero-shot classifier: of all classes, or of base and new. */
typedef struct {
    double value[2];
} score;

typedef struct {
    ts_tune_run run[TS_TUNE_SEEDS];
    char *folder[TS_TUNE_SEEDS];
    score zero, tuned[TS_TUNE_SEEDS];
    bool measured;
} results;

static char *prompt_path(const results *r, int i, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/prompt.safetensors", r->folder[i]) >= 0) return path;
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}

static ts_weights *open_prompt(const results *r, int i, ts_error *err)
{
    char *path = prompt_path(r, i, err);
    ts_weights *w = path ? ts_weights_open(path, err) : NULL;
    free(path);
    return w;
}

static bool measure_half(tune *t, const ts_clip_data *all, ts_clip_half half, int column, results *r, ts_error *err)
{
    ts_measure_set set;
    ts_measured m = {0};
    bool ok =
        ts_measure_open(all, half, &set, err) &&
        ts_measure_zero_shot(&t->use, &set, t->config.workers, t->template ? &t->template : NULL, t->template != NULL, &m, err);
    r->zero.value[column] = m.accuracy;
    ts_measured_clear(&m);
    for (int i = 0; ok && i < t->config.seeds; i++) {
        ts_weights *w = open_prompt(r, i, err);
        ok = w && ts_measure_prompt(&t->use, &set, t->config.workers, w, &m, err);
        r->tuned[i].value[column] = m.accuracy;
        ts_measured_clear(&m);
        ts_weights_free(w);
    }
    ts_measure_close(&set);
    return ok;
}

static bool measure(tune *t, results *r, ts_error *err)
{
    ts_clip_data all = {0};
    bool ok = ts_tune_open_data(&t->config, &all, err);
    if (ok && all.test.count == 0) { /* nothing to measure with is no failure of a tuning */
        ts_clip_data_clear(&all);
        return true;
    }
    if (ok && t->config.base_to_new)
        ok =
            measure_half(t, &all, TS_CLIP_BASE, 0, r, err) &&
            (t->config.per_class || measure_half(t, &all, TS_CLIP_NEW, 1, r, err)); /* new classes have no context of their own */
    else if (ok) ok = measure_half(t, &all, TS_CLIP_ALL, 0, r, err);
    r->measured = ok;
    ts_clip_data_clear(&all);
    return ok;
}

static bool both_halves(const tune *t)
{
    return t->config.base_to_new && !t->config.per_class;
}

static void print_row(const tune *t, const char *label, const score *s)
{
    printf("%-14s %6.2f", label, 100 * s->value[0]);
    if (both_halves(t)) printf(" %6.2f %6.2f", 100 * s->value[1], 100 * ts_harmonic_mean(s->value[0], s->value[1]));
    printf("\n");
}

static void print_scores(const tune *t, const results *r)
{
    printf("%-14s %6s", "accuracy, %", t->config.base_to_new ? "base" : "test");
    if (both_halves(t)) printf(" %6s %6s", "new", "H");
    printf("\n");
    print_row(t, "zero-shot", &r->zero);
    ts_running_mean m[2] = {0};
    for (int i = 0; i < t->config.seeds; i++) {
        char label[48] = "tuned";
        if (t->config.seeds > 1) snprintf(label, sizeof label, "seed %" PRIu64, t->config.seed[i]);
        print_row(t, label, &r->tuned[i]);
        for (int k = 0; k < 2; k++) ts_running_mean_add(&m[k], r->tuned[i].value[k]);
    }
    if (t->config.seeds < 2) return;
    print_row(t, "mean", &(score){{m[0].mean, m[1].mean}});
    printf("%-14s %6.2f", "deviation", 100 * ts_running_mean_deviation(&m[0]));
    if (both_halves(t)) printf(" %6.2f", 100 * ts_running_mean_deviation(&m[1]));
    printf("\n");
}

/* The nearest words of each vector that the first seed learned, and what it adds to a picture. */
static bool show_prompt(tune *t, const results *r, ts_error *err)
{
    ts_weights *w = open_prompt(r, 0, err);
    ts_clip_prompt *p = w ? ts_clip_prompt_open(t->use.clip, t->use.tokenizer, w, NULL, 0, t->use.cut, err) : NULL;
    const bool ok = p && (t->use.common.json || ts_print_prompt_words(p, t->use.tokenizer, WORDS_SHOWN, VECTORS_SHOWN, err)) &&
                    (!t->picture || ts_save_prompt_picture(p, t->picture, err));
    ts_clip_prompt_free(p);
    ts_weights_free(w);
    return ok;
}

static bool add_score(const tune *t, cJSON *o, const score *s)
{
    return cJSON_AddNumberToObject(o, t->config.base_to_new ? "base" : "accuracy", s->value[0]) &&
           (!both_halves(t) || (cJSON_AddNumberToObject(o, "new", s->value[1]) &&
                                cJSON_AddNumberToObject(o, "harmonic_mean", ts_harmonic_mean(s->value[0], s->value[1]))));
}

static bool add_run(const tune *t, const results *r, int i, cJSON *list)
{
    cJSON *o = cJSON_CreateObject();
    const ts_tune_run *run = &r->run[i];
    char *path = prompt_path(r, i, NULL);
    const bool ok =
        o && path && cJSON_AddItemToArray(list, o) && cJSON_AddNumberToObject(o, "seed", (double)run->seed) &&
        cJSON_AddStringToObject(o, "out", run->complete ? path : r->folder[i]) &&
        cJSON_AddBoolToObject(o, "complete", run->complete) && cJSON_AddNumberToObject(o, "step", (double)run->step) &&
        cJSON_AddNumberToObject(o, "steps", (double)run->steps) && cJSON_AddNumberToObject(o, "loss", run->loss) &&
        cJSON_AddNumberToObject(o, "seconds", run->seconds) && cJSON_AddNumberToObject(o, "images_per_s", run->images_per_s) &&
        (!r->measured || add_score(t, o, &r->tuned[i]));
    free(path);
    return ok;
}

static bool print_json(const tune *t, const results *r, int ran, ts_error *err)
{
    cJSON *o = cJSON_CreateObject(), *zero = NULL, *runs = NULL;
    bool ok = o && cJSON_AddStringToObject(o, "method", t->config.method) &&
              cJSON_AddStringToObject(o, "model", t->config.model) &&
              cJSON_AddStringToObject(o, "device", ts_device_about(t->use.dev)->name) &&
              (!r->measured || ((zero = cJSON_AddObjectToObject(o, "zero_shot")) && add_score(t, zero, &r->zero))) &&
              (runs = cJSON_AddArrayToObject(o, "runs"));
    for (int i = 0; ok && i < ran; i++) ok = add_run(t, r, i, runs);
    if (!ok) {
        cJSON_Delete(o);
        o = NULL;
    }
    return ts_print_json(o, err);
}

static bool report(tune *t, results *r, int ran, bool complete, ts_error *err)
{
    if (complete && !t->no_eval && !measure(t, r, err)) return false;
    if (t->use.common.json) return (!complete || show_prompt(t, r, err)) && print_json(t, r, ran, err);
    for (int i = 0; i < ran; i++) {
        char *path = prompt_path(r, i, err);
        if (!path) return false;
        ts_put_line(r->run[i].complete ? path : r->folder[i]);
        free(path);
    }
    if (r->measured) print_scores(t, r);
    return (!complete || show_prompt(t, r, err)) && ts_flush_output(err);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* What the data set holds, said where it is not what it was when the tuning was last at work. */
static void see_data(tune *t, const ts_clip_data *data)
{
    const ts_clip_split *const splits[] = {&data->train, &data->val, &data->test};
    ts_data_seen now = {0};
    ts_training_console console;
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < splits[k]->count; i++) ts_data_seen_add(&now, splits[k]->item[i].path, splits[k]->item[i].path);
    ts_training_console_begin(&console, t->use.common.quiet);
    ts_data_seen_tell(&t->config.seen, &now, t->config.data, &console);
    t->config.seen = now;
}

static bool check_paths(tune *t, ts_error *err)
{
    ts_clip_data data = {0};
    if ((t->picture && !ts_check_writable(t->picture, err)) || !ts_tune_open_data(&t->config, &data, err)) return false;
    const bool ok = ts_clip_use_note_data(&t->use, t->config.data, &data, err);
    if (ok) see_data(t, &data);
    ts_clip_data_clear(&data); /* what is wrong with them is told before the model is opened */
    return ok;
}

static bool work(tune *t, results *r, ts_error *err)
{
    if (!check_paths(t, err) || !ts_clip_use_open(&t->use, true, err) || !ts_clip_use_start(&t->use, err)) return false;
    int ran = 0;
    bool complete = true;
    for (; ran < t->config.seeds && !ts_training_stopping(); ran++) {
        ts_tune_run *run = &r->run[ran];
        *run = (ts_tune_run){.use = &t->use, .config = &t->config, .seed = t->config.seed[ran]};
        if ((t->config.seeds > 1 ? asprintf(&r->folder[ran], "%s/seed-%" PRIu64, t->out, run->seed)
                                 : asprintf(&r->folder[ran], "%s", t->out)) < 0)
            return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        run->folder = r->folder[ran];
        run->config_path = t->config_path;
        if (!ts_tune_go(run, err)) return false;
        complete = complete && run->complete;
    }
    complete = complete && ran == t->config.seeds;
    if (!complete && !t->use.common.quiet) ts_say("stopped before the end: --resume goes on");
    t->stopped = complete ? 0 : ts_training_stopping();
    return report(t, r, ran, complete, err);
}

static int tune_by(const ts_clip_method *method, int argc, char **argv)
{
    ts_error err = {0};
    tune *t = calloc(1, sizeof *t);
    results *r = calloc(1, sizeof *r);
    int status = TS_EXIT_FAILED;
    if (t && r) {
        t->method = *method;
        t->config.method = method->name;
        snprintf(t->command, sizeof t->command, "clip tune %s", method->name);
        status = configure(t, argc, argv);
        if (status < 0)
            status = work(t, r, &err) ? ts_left_out_status(t->command, &t->use.left_out) : ts_report(t->command, &err);
        if (t->stopped) status = ts_training_ended(t->stopped);
        ts_run_lock_release(&t->lock);
        for (int i = 0; i < TS_TUNE_SEEDS; i++) free(r->folder[i]);
        ts_whole_paths_free(&t->paths);
        free(t->config_path);
        ts_clip_use_close(&t->use);
        ts_tune_config_free(&t->config);
    } else {
        ts_report("clip tune", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    }
    free(t);
    free(r);
    return status;
}

int ts_clip_cmd_tune(int argc, char **argv)
{
    ts_clip_method m;
    char names[256] = "";
    const char *word = argc > 1 ? argv[1] : "";
    for (int i = 0; ts_clip_method_at(i, &m); i++) {
        if (strcmp(word, m.name) == 0) return tune_by(&m, argc - 1, argv + 1);
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", m.name);
    }
    if (!ts_asks_help(word)) {
        const char *near = NULL;
        for (int i = 0; ts_clip_method_at(i, &m); i++) near = ts_nearer(word, m.name, near);
        if (near) return ts_usage_error("clip tune", "there is no method %s: did you mean %s? There are %s", word, near, names);
        if (*word && *word != '-') return ts_usage_error("clip tune", "there is no method %s: %s", word, names);
        return ts_usage_error("clip tune", "the method is missing: %s", names);
    }
    printf("tessera clip tune - learns a prompt for a frozen CLIP\n\nUsage: tessera clip tune METHOD [options]\n\nMethods:\n");
    for (int i = 0; ts_clip_method_at(i, &m); i++) printf("  %-12s %s\n", m.name, m.about);
    printf("\ntessera clip tune METHOD --help tells its options.\n\nExample:\n%s", EXAMPLE);
    return ts_finish_output("clip tune");
}
