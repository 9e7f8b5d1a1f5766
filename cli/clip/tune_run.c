/* tune_run.c - the run of one seed: steps of the tuner, a line in the log for each, from time to time a checkpoint and a
 * validation. As in cli/train/run.c all is decided by the configuration, however often the run was stopped: first the checkpoint,
 * then the validation and its line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/tune.h"

static const char GONE_WRONG[] = "the tuning has gone wrong (a lower --lr may help)";

typedef struct {
    ts_tune_run *run;
    const ts_tune_config *config;
    ts_clip_data data; /* what is trained on: few, or half of the classes */
    ts_weights *checkpoint;
    ts_clip_tuner *tuner;
    ts_clip_tuner_info info;
    ts_train_log log;
    ts_training_console console;
    ts_progress bar;
    float *val;              /* features of the validation's pictures, where they are plain */
    int64_t saved, pictures; /* steps in a checkpoint; pictures of the steps here */
    double step_ms, waited_ms;
} state;

/* ---- data -------------------------------------------------------------------------------------------------------- */

bool ts_tune_open_data(const ts_tune_config *c, ts_clip_data *out, ts_error *err)
{
    return ts_clip_data_open(c->data, c->root, 0, out, err);
}

static bool open_data(state *s, ts_error *err)
{
    ts_clip_data all = {0};
    bool ok = ts_tune_open_data(s->config, &all, err) &&
              (s->config->shots == 0 || ts_clip_data_few(&all, s->config->shots, s->run->seed, err)) &&
              ts_clip_data_half(&all, s->config->base_to_new ? TS_CLIP_BASE : TS_CLIP_ALL, &s->data, err);
    ts_clip_data_clear(&all);
    return ok;
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

/* Cross entropy of a picture's logits, and whether the largest is the label's. */
static double entropy(const float *logits, int classes, int label, bool *right)
{
    int best = 0;
    double sum = 1; /* of the best, whose logit is taken off */
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    for (int k = 0; k < classes; k++)
        if (k != best) sum += exp((double)(logits[k] - logits[best]));
    *right = best == label;
    return log(sum) + (double)(logits[best] - logits[label]);
}

static bool validate(state *s, ts_error *err)
{
    ts_clip_split *val = &s->data.val;
    ts_clip_prompt *p = ts_clip_tuner_prompt(s->tuner);
    const ts_clip_prompt_info about = ts_clip_prompt_about(p);
    const int64_t embed = s->run->use->config.embed;
    const bool keep = s->val != NULL; /* plain features stay what they are */
    if (!s->val) s->val = malloc((size_t)val->count * (size_t)embed * sizeof *s->val);
    float *logits = malloc((size_t)about.classes * sizeof *logits);
    bool ok = (s->val && logits) || ts_fail(err, TS_ERR_MEMORY, "out of memory to validate");
    ts_line_wipe();
    if (ok && !keep) ok = ts_known_features(s->run->use, p, val, s->config->workers, NULL, s->val, err);
    ts_train_entry entry = ts_train_entry_of(s->info.step, true);
    entry.loss = entry.accuracy = 0;
    const bool stopped = ts_training_stopping(); /* the run does it when it goes on */
    for (int64_t i = 0; ok && !stopped && i < val->count; i++) {
        bool right = false;
        ok = ts_clip_prompt_logits(p, s->val + i * embed, 1, logits, err);
        if (!ok) break;
        entry.loss += entropy(logits, about.classes, val->item[i].label, &right) / (double)val->count;
        entry.accuracy += right ? 1 / (double)val->count : 0;
    }
    free(logits);
    if (!about.plain) {
        free(s->val);
        s->val = NULL;
    }
    if (ok && stopped) return true;
    if (!ok || !ts_train_log_add(&s->log, &entry, err)) return false;
    ts_training_say(&s->console, "step %lld: validation loss %.4f, accuracy %.4f", (long long)entry.step, entry.loss,
                    entry.accuracy);
    return true;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static bool write_checkpoint(state *s, ts_error *err)
{
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->info.step, ".safetensors", err);
    const bool ok = path && ts_clip_tuner_save(s->tuner, path, true, err);
    free(path);
    if (!ok) return false;
    s->saved = s->info.step;
    ts_train_prune(s->run->folder, s->config->keep);
    return true;
}

/* Writes the checkpoint where it is time, and validates. `last`: at the end of the process, whatever the step. */
static bool save(state *s, bool last, ts_error *err)
{
    const ts_tune_config *c = s->config;
    const int64_t step = s->info.step, every = c->eval_every * s->info.epoch_steps;
    const bool evaluate = every > 0 && s->data.val.count > 0 && step > 0 && (step % every == 0 || step == s->info.steps) &&
                          !ts_train_log_validated(&s->log, step) && !ts_training_stopping();
    const bool write = step > s->saved && (last || evaluate || step % c->save_every == 0 || step == s->info.steps);
    ts_error why = {0};
    const bool ok = (!write || write_checkpoint(s, &why)) && (!evaluate || validate(s, &why));
    return ok || ts_training_fail(s->run->folder, &why, err);
}

/* A step that fails leaves the prompt as the one before it did: what is in no checkpoint yet is saved, where that can be. */
static bool fail_step(state *s, const ts_error *why, ts_error *err)
{
    if (s->info.step > s->saved && ts_clip_tuner_about(s->tuner).step == s->info.step) write_checkpoint(s, NULL);
    return ts_training_fail(s->run->folder, why, err);
}

static void show_progress(state *s, const ts_train_entry *e)
{
    char left[32], seed[32] = "";
    if (s->config->seeds > 1) snprintf(seed, sizeof seed, "seed %llu, ", (unsigned long long)s->run->seed);
    const double seconds = s->step_ms * 1e-3 * (double)(s->info.steps - e->step);
    const int64_t epoch = (e->step - 1) / s->info.epoch_steps + 1;
    ts_training_show(&s->console,
                     "%sepoch %lld/%d, step %lld/%lld, loss %.4f, accuracy %.3f, %.3g images/s, %.0f %% waiting, %s left ", seed,
                     (long long)epoch, s->info.recipe.epochs, (long long)e->step, (long long)s->info.steps, e->loss, e->accuracy,
                     s->info.recipe.batch * 1e3 / s->step_ms, 100 * s->waited_ms / (ts_now_ms() - s->console.start_ms),
                     ts_time_text(seconds, left));
}

static bool step(state *s, ts_error *err)
{
    ts_clip_tuned done;
    ts_error why = {0};
    const double start = ts_now_ms();
    if (!ts_clip_tuner_step(s->tuner, &done, &why)) return fail_step(s, &why, err);
    if (!ts_training_check_loss(s->run->folder, done.step, done.loss, GONE_WRONG, err)) return false;
    const double ms = ts_now_ms() - start;
    s->info = ts_clip_tuner_about(s->tuner);
    s->waited_ms += done.waited_ms;
    s->step_ms = s->step_ms > 0 ? 0.95 * s->step_ms + 0.05 * ms : ms;
    ts_train_entry entry = ts_train_entry_of(done.step, false);
    entry.loss = done.loss;
    entry.accuracy = done.accuracy;
    entry.lr = done.lr;
    entry.images_per_s = done.pictures * 1e3 / ms;
    s->pictures += done.pictures;
    entry.waiting = done.waited_ms / ms;
    s->run->loss = done.loss;
    show_progress(s, &entry);
    return ts_train_log_add(&s->log, &entry, &why) || ts_training_fail(s->run->folder, &why, err);
}

static bool train(state *s, ts_error *err)
{
    s->console.start_ms = ts_now_ms();
    if (!save(s, false, err)) return false; /* what a killed run had left to do at its last checkpoint */
    while (s->info.step < s->info.steps && !ts_training_stopping())
        if (!step(s, err) || !save(s, false, err)) return false;
    ts_line_wipe();
    if (!save(s, true, err)) return false;
    s->run->seconds = (ts_now_ms() - s->console.start_ms) * 1e-3;
    s->run->images_per_s = (double)s->pictures / s->run->seconds;
    return true;
}

static bool train_watched(state *s, ts_error *err)
{
    ts_training_watch(&s->console);
    const bool ok = train(s, err);
    ts_training_unwatch();
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void advance(void *ctx, int64_t done, int64_t total)
{
    state *s = ctx;
    ts_clip_use_announce(s->run->use); /* nothing is refused any more */
    if (!s->bar.total) ts_progress_begin(&s->bar, "features", total, s->run->use->common.quiet);
    ts_progress_step(&s->bar, done);
}

static void leave_out(void *ctx, int64_t picture, const ts_error *why)
{
    state *s = ctx;
    (void)picture;
    ts_leave_out(&s->run->use->left_out, why, NULL);
}

/* Zero is the method's own, and less is zero; on the command line zero is zero and less is not said. */
static double said(double value)
{
    return value < 0 ? 0 : value == 0 ? -1 : value;
}

static bool make_tuner(state *s, ts_error *err)
{
    const ts_tune_config *c = s->config;
    ts_clip_setting settings[8];
    char numbers[4][16];
    ts_clip_tuner_desc desc = {.method = c->method,
                               .settings = settings,
                               .setting_count = ts_tune_config_settings(c, settings, numbers),
                               .recipe = {.lr = c->lr > 0 ? c->lr : 0,
                                          .momentum = said(c->momentum),
                                          .weight_decay = said(c->weight_decay),
                                          .batch = c->batch,
                                          .epochs = c->epochs,
                                          .warmup = (int)said(c->warmup),
                                          .crop = c->no_augment ? -1 : 0},
                               .clip = s->run->use->clip,
                               .tokenizer = s->run->use->tokenizer,
                               .data = &s->data,
                               .shots = c->shots,
                               .seed = s->run->seed,
                               .cut = c->cut,
                               .threads = c->workers,
                               .memory = (uint64_t)c->memory << 20,
                               .progress = advance,
                               .left_out = s->run->use->left_out.strict ? NULL : leave_out,
                               .ctx = s};
    s->tuner = ts_clip_tuner_new(&desc, err);
    ts_progress_end(&s->bar);
    return s->tuner && (!s->checkpoint || ts_clip_tuner_resume(s->tuner, s->checkpoint, err));
}

static void tell(state *s)
{
    const ts_clip_prompt_info about = ts_clip_prompt_about(ts_clip_tuner_prompt(s->tuner));
    const ts_clip_recipe *r = &s->info.recipe;
    char count[32];
    ts_training_say(&s->console, "%s: %s numbers, %d classes, %lld pictures%s; %s, rate %g, batch %d, %d epochs, %lld steps",
                    s->config->method, ts_count_text(about.trained, count), about.classes, (long long)s->data.train.count,
                    s->info.features ? " (features computed once)"
                    : r->crop        ? " (random crops)"
                                     : "",
                    s->info.optimizer, r->lr, r->batch, r->epochs, (long long)s->info.steps);
    if (r->warmup >= s->info.steps && s->info.by_step)
        ts_training_say(
            &s->console,
            "the warm-up of %d steps is not over when the run ends: --warmup N makes it shorter, --epochs N the run longer",
            r->warmup);
    if (s->info.chunks > 1 || s->info.micro_batches > 1)
        ts_training_say(&s->console, "to fit in memory a step goes in %d chunks of classes and %d of pictures", s->info.chunks,
                        s->info.micro_batches);
    if (s->info.step > 0)
        ts_training_say(&s->console, "going on after step %lld of %lld", (long long)s->info.step, (long long)s->info.steps);
}

static bool start(state *s, ts_error *err)
{
    const char *folder = s->run->folder;
    if (!ts_check_folder(folder, err) || !ts_make_folder(folder, err) || !open_data(s, err)) return false;
    ts_train_sweep(folder);
    if (!ts_training_find_checkpoint(folder, &s->console, &s->checkpoint, err)) return false;
    if (!make_tuner(s, err)) return false;
    ts_clip_use_announce(s->run->use);
    s->info = ts_clip_tuner_about(s->tuner);
    s->saved = s->info.step;
    tell(s);
    return ts_tune_config_write(s->config, s->run->config_path, err) && ts_train_log_open(&s->log, folder, s->saved, err);
}

static bool draw_curve(const state *s, ts_error *err)
{
    const int classes = ts_clip_prompt_about(ts_clip_tuner_prompt(s->tuner)).classes;
    char title[128], guess[64];
    snprintf(title, sizeof title, "tessera clip tune %s: %lld of %lld steps", s->config->method, (long long)s->info.step,
             (long long)s->info.steps);
    snprintf(guess, sizeof guess, "guessing (log %d)", classes);
    const ts_curve_desc desc = {.title = title, .guess = log(classes), .guess_name = guess};
    return ts_training_curve(&s->log, s->run->folder, &desc, err);
}

static bool finish(state *s, ts_error *err)
{
    ts_tune_run *r = s->run;
    char *path = NULL;
    r->step = s->info.step;
    r->steps = s->info.steps;
    r->complete = r->step == r->steps;
    if (s->log.count > 0 && !draw_curve(s, err)) return false;
    if (!r->complete) return true;
    if (asprintf(&path, "%s/prompt.safetensors", r->folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = ts_clip_tuner_save(s->tuner, path, false, err);
    free(path);
    return ok;
}

bool ts_tune_go(ts_tune_run *run, ts_error *err)
{
    state s = {.run = run, .config = run->config};
    ts_training_console_begin(&s.console, run->use->common.quiet);
    run->loss = (double)NAN;
    const bool ok = start(&s, err) && train_watched(&s, err) && finish(&s, err);
    ts_line_wipe();
    ts_clip_tuner_free(s.tuner);
    ts_weights_free(s.checkpoint);
    ts_train_log_close(&s.log);
    ts_clip_data_clear(&s.data);
    free(s.val);
    return ok;
}
