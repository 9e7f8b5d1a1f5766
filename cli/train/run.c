/* run.c - the run itself: batches from the loader, a step, a line in the log; from time to time a checkpoint, a validation
 * and pictures.
 *
 * What a run comes to is decided by its configuration alone, however often it was stopped: a checkpoint holds all of the model's
 * and the optimizer's state, batch N of the loader is the same whenever it is asked for, and the log, cut back to the checkpoint,
 * tells the best validation so far. So the order at a checkpoint is: write it, validate, write the best model, and only then the
 * validation's line: a run killed in between does the rest when it is resumed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/train/training.h"

static const char GONE_WRONG[] = "the training has gone wrong (a lower --lr or --clip may help)";

typedef struct {
    ts_train_run *run;
    ts_train_config *config;
    const char *name; /* "train mae" */
    ts_device *dev;
    ts_weights *checkpoint; /* where the run went on */
    ts_train_model *model;
    ts_loader *loader;
    ts_train_log log;
    int64_t done, first, saved; /* steps: all, those before this process, those in a checkpoint */
    ts_training_console console;
    double step_ms, waited_ms;
    ts_left_out left_out;
} state;

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static double pictures_of_step(const ts_train_config *c)
{
    return (double)c->batch * c->accumulate;
}

static void show_progress(state *s, const ts_train_entry *e)
{
    char left[32], accuracy[32] = "";
    if (isfinite(e->accuracy)) snprintf(accuracy, sizeof accuracy, ", accuracy %.3f", e->accuracy);
    else snprintf(accuracy, sizeof accuracy, ", %.0f codes", e->codes_used);
    double seconds = s->step_ms * 1e-3 * (double)(s->config->steps - s->done);
    ts_training_show(&s->console, "step %lld/%d, loss %.4f%s, %.3g images/s, %.0f %% waiting, %s left ", (long long)s->done,
                     s->config->steps, e->loss, accuracy, pictures_of_step(s->config) * 1e3 / s->step_ms,
                     100 * s->waited_ms / (ts_now_ms() - s->console.start_ms), ts_time_text(seconds, left));
}

static void say_skipped(state *s)
{
    ts_error complaint;
    while (ts_loader_skipped(s->loader, &complaint)) ts_leave_out(&s->left_out, &complaint, NULL);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

static bool save_model(state *s, const char *file, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", s->run->folder, file) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = ts_train_model_save(s->model, path, false, err);
    free(path);
    return ok;
}

static bool due(const state *s, int every)
{
    return s->done > 0 && (s->done % every == 0 || s->done == s->config->steps);
}

static bool draw_curve(const state *s, ts_error *err)
{
    const ts_train_config *c = s->config;
    /* With other terms in the loss, guessing codes has no one level. */
    const bool plain = c->kind == TS_TRAIN_MAE && c->visible_loss == 0;
    char title[128], guess[64];
    snprintf(title, sizeof title, "tessera %s: %lld of %d steps", s->name, (long long)s->done, c->steps);
    snprintf(guess, sizeof guess, "guessing (log %d)", c->mae.codes);
    const ts_curve_desc desc = {
        .title = title, .reconstruction = c->kind == TS_TRAIN_VQGAN, .guess = plain ? log(c->mae.codes) : 0, .guess_name = guess};
    return ts_training_curve(&s->log, s->run->folder, &desc, err);
}

static bool validate(state *s, const char *checkpoint, ts_error *err)
{
    ts_train_entry entry;
    ts_line_wipe();
    if (!ts_train_model_validate(s->model, checkpoint, &entry, err)) return false;
    if (ts_training_stopping()) return true; /* cut short: the run does it when it goes on */
    const ts_train_entry *best = ts_train_log_best(&s->log);
    bool better = !best || entry.loss < best->loss;
    char *path = ts_train_path(s->run->folder, "step-", s->done, ".png", err);
    bool ok = path && (!better || save_model(s, "best.safetensors", err)) &&
              ts_train_model_picture(s->model, checkpoint, path, err) && ts_train_log_add(&s->log, &entry, err) &&
              draw_curve(s, err);
    free(path);
    if (ok && isfinite(entry.accuracy))
        ts_training_say(&s->console, "step %lld: validation loss %.4f, accuracy %.4f%s", (long long)s->done, entry.loss,
                        entry.accuracy, better ? ", the best so far" : "");
    else if (ok)
        ts_training_say(&s->console, "step %lld: validation |x - y| %.4f, %.0f codes used%s", (long long)s->done, entry.loss,
                        entry.codes_used, better ? ", the best so far" : "");
    return ok;
}

static bool write_checkpoint(state *s, const char *path, ts_error *err)
{
    if (!ts_train_model_save(s->model, path, true, err)) return false;
    s->saved = s->done;
    ts_train_prune(s->run->folder, s->config->keep);
    return true;
}

/* Writes the checkpoint, and validates where it is time. `last`: at the end of the process, whatever the step. */
static bool save(state *s, bool last, ts_error *err)
{
    ts_error why = {0};
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->done, ".safetensors", err);
    if (!path) return false;
    bool evaluate = due(s, s->config->eval_every) && !ts_train_log_validated(&s->log, s->done) && !ts_training_stopping();
    bool write = s->done > s->saved && (last || evaluate || due(s, s->config->save_every));
    bool ok = (!write || write_checkpoint(s, path, &why)) && (!evaluate || validate(s, path, &why));
    free(path);
    return ok || ts_training_fail(s->run->folder, &why, err);
}

/* A step that fails leaves the model as the one before it did: what is in no checkpoint yet is saved, where that can be. */
static bool fail_step(state *s, const ts_error *why, ts_error *err)
{
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->done, ".safetensors", NULL);
    if (path && s->done > s->saved && ts_train_model_steps(s->model) == s->done) write_checkpoint(s, path, NULL);
    free(path);
    return ts_training_fail(s->run->folder, why, err);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* The parts of a step; the entry gets their means, and of the codes used the number in all. */
static bool take_parts(state *s, ts_train_entry *entry, ts_error *err)
{
    const int parts = s->config->accumulate;
    entry->loss = entry->accuracy = entry->reconstruction = entry->perceptual = entry->codebook = 0;
    entry->generator = entry->discriminator = entry->adaptive_weight = 0;
    for (int i = 0; i < parts; i++) {
        ts_batch batch;
        ts_train_entry part = *entry;
        if (!ts_loader_next(s->loader, &batch, err) || !ts_train_model_step(s->model, &batch, entry->lr, &part, err))
            return false;
        entry->loss += part.loss / parts;
        entry->accuracy += part.accuracy / parts;
        entry->reconstruction += part.reconstruction / parts;
        entry->perceptual += part.perceptual / parts;
        entry->codebook += part.codebook / parts;
        entry->generator += part.generator / parts;
        entry->discriminator += part.discriminator / parts;
        entry->adaptive_weight += part.adaptive_weight / parts;
        entry->codes_used = part.codes_used;
        entry->loss_scale = part.loss_scale;
    }
    return true;
}

static bool step(state *s, ts_error *err)
{
    const ts_train_config *c = s->config;
    ts_train_entry entry = ts_train_entry_of(s->done + 1, false);
    entry.lr = ts_cosine_rate(s->done, c->steps, c->warmup, c->lr);
    ts_error why = {0};
    double start = ts_now_ms(), waited = ts_loader_waited_ms(s->loader);
    if (!take_parts(s, &entry, &why)) return fail_step(s, &why, err);
    double ms = ts_now_ms() - start;
    waited = ts_loader_waited_ms(s->loader) - waited;
    if (!ts_training_check_loss(s->run->folder, entry.step, entry.loss, GONE_WRONG, err)) return false;
    s->done++;
    s->waited_ms += waited;
    s->step_ms = s->step_ms > 0 ? 0.95 * s->step_ms + 0.05 * ms : ms;
    entry.images_per_s = pictures_of_step(c) * 1e3 / ms;
    entry.waiting = waited / ms;
    say_skipped(s);
    show_progress(s, &entry);
    return ts_train_log_add(&s->log, &entry, &why) || ts_training_fail(s->run->folder, &why, err);
}

static bool train(state *s, ts_error *err)
{
    s->console.start_ms = ts_now_ms();
    /* What a killed run had left to do at its last checkpoint. */
    if (!save(s, false, err)) return false;
    while (s->done < s->config->steps && !ts_training_stopping())
        if (!step(s, err) || !save(s, false, err)) return false;
    ts_line_wipe();
    return save(s, true, err);
}

/* With the signals watched, but only as long as there are steps to finish: before and after, they end the process as they do any
 * other, which harms no file. */
static bool train_watched(state *s, ts_error *err)
{
    ts_training_watch(&s->console);
    const bool ok = train(s, err);
    ts_training_unwatch();
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool resolve(state *s, ts_error *err)
{
    ts_train_config *c = s->config;
    int64_t pictures = ts_loader_pictures(s->loader);
    if (c->steps == 0) {
        double steps = ceil(s->run->epochs * (double)pictures / pictures_of_step(c));
        if (pictures == 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "pages drawn on the fly have no epochs: say how many steps with --steps N");
        if (steps > 1e9)
            return ts_fail(err, TS_ERR_ARGUMENT, "%g epochs of %lld pictures are too many", s->run->epochs, (long long)pictures);
        c->steps = (int)fmax(steps, 1);
    }
    if (c->warmup < 0) c->warmup = (int)(0.015 * c->steps); /* 15 of 1000 epochs, as published */
    if (c->warmup >= c->steps) c->warmup = c->steps - 1;
    return true;
}

/* What the folders hold, said where it is not what they held when the run was last at work. */
static bool see_data(state *s, ts_error *err)
{
    ts_train_config *c = s->config;
    for (int i = 0; i < c->source_count; i++) {
        const char *path = c->sources[i].path;
        ts_data_seen now;
        if (strncmp(path, "figures:", 8) == 0) continue;
        if (!ts_data_seen_folder(&now, path, err)) return false;
        ts_data_seen_tell(&c->seen[i], &now, path, &s->console);
        c->seen[i] = now;
    }
    return true;
}

static bool start(state *s, ts_error *err)
{
    ts_train_config *c = s->config;
    ts_train_run *r = s->run;
    ts_train_sweep(r->folder);
    if (!ts_training_find_checkpoint(r->folder, &s->console, &s->checkpoint, err) ||
        !(s->dev = ts_open_device(r->common, false, err)))
        return false;
    c->quiet = r->common->quiet;
    if (!(s->model = ts_train_model_new(c, s->dev, s->checkpoint, err))) return false;
    s->done = s->first = s->saved = ts_train_model_steps(s->model);
    if (c->steps > 0 && c->steps < s->done)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d steps are fewer than the %lld that the run in %s has done", c->steps,
                       (long long)s->done, r->folder);
    ts_loader_desc desc = {.sources = c->sources,
                           .count = c->source_count,
                           .canvas = c->canvas,
                           .patch = c->kind == TS_TRAIN_MAE ? c->mae.patch : c->vq.factor,
                           .batch = c->batch,
                           .visible = ts_train_model_visible(c),
                           .cell_share = c->cell_share,
                           .least_scale = c->scale,
                           .seed = c->seed,
                           .first = s->done * c->accumulate,
                           .threads = c->workers,
                           .strict = s->left_out.strict};
    char *config = NULL;
    if (!(s->loader = ts_loader_new(&desc, err)) || !resolve(s, err) || !see_data(s, err)) return false;
    if (asprintf(&config, "%s/config.json", r->folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = ts_train_config_write(c, config, err) && ts_train_log_open(&s->log, r->folder, s->done, err) &&
              ts_train_model_prepare(s->model, &s->left_out, err);
    free(config);
    if (!ok) return false;
    ts_announce_device(r->common, s->dev);
    ts_say_stage(r->common, "ready to train");
    for (int i = 0; i < c->source_count; i++)
        if (*ts_loader_passed(s->loader, i))
            ts_training_say(&s->console, "%s: %s", c->sources[i].path, ts_loader_passed(s->loader, i));
    if (s->done > 0) ts_training_say(&s->console, "going on after step %lld of %d", (long long)s->done, c->steps);
    return true;
}

static bool report(state *s, ts_error *err)
{
    const ts_training_end end = {.folder = s->run->folder,
                                 .done = s->done,
                                 .first = s->first,
                                 .steps = s->config->steps,
                                 .pictures = pictures_of_step(s->config),
                                 .waited_ms = s->waited_ms,
                                 .device = ts_device_about(s->dev)->name};
    ts_say_stage(s->run->common, "trained");
    return ts_training_report(&s->console, &s->log, &end, s->run->common->json, NULL, err);
}

int ts_train_go(ts_train_run *run)
{
    state s = {.run = run,
               .config = &run->config,
               .name = run->config.kind == TS_TRAIN_MAE ? "train mae" : "train vqgan",
               .left_out = {.strict = run->strict, .quiet = run->common->quiet}};
    ts_error err = {0}, why = {0};
    ts_training_console_begin(&s.console, run->common->quiet);
    bool ok = start(&s, &err) && train_watched(&s, &err);
    const int stopped = ok && s.done < s.config->steps ? ts_training_stopping() : 0;
    if (ok && !stopped && !save_model(&s, "model.safetensors", &why)) ok = ts_training_fail(run->folder, &why, &err);
    ok = ok && report(&s, &err);
    ts_line_wipe();
    ts_loader_free(s.loader);
    ts_train_model_free(s.model);
    ts_train_log_close(&s.log);
    ts_weights_free(s.checkpoint);
    ts_device_free(s.dev);
    const int status = ok ? ts_left_out_status(s.name, &s.left_out) : ts_report(s.name, &err);
    return stopped ? ts_training_ended(stopped) : status;
}
