/* train_run.c - the run itself: batches of pairs, a step, a line in the log; from time to time a checkpoint and a
 * validation. As in cli/train/run.c all is decided by the configuration, however often the run was stopped: first the checkpoint,
 * then the validation, the best model, and only then the validation's line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/clip/train.h"

static const char name[] = "clip train";
static const char GONE_WRONG[] = "the training has gone wrong (a lower --lr or --clip may help)";

typedef struct {
    ts_clip_train_run *run;
    ts_clip_train_config *config;
    ts_clip_pairs pairs, val; /* val: without a list where there is none */
    ts_tokenizer *tokenizer;
    ts_device *dev;
    ts_weights *checkpoint, *init; /* where the run went on, and where it began */
    ts_clip_trainer *trainer;
    ts_train_log log;
    ts_training_console console;
    float *pixels;              /* (batch, side, side, 3) */
    int32_t *tokens;            /* (batch, context) */
    int64_t done, first, saved; /* steps: all, those before this process, those in a checkpoint */
    double step_ms, waited_ms;
    ts_left_out left_out;
} state;

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

static bool save_as(state *s, const char *path, bool checkpoint, ts_error *err)
{
    ts_weights_writer *w = ts_weights_writer_new();
    if (!w) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    bool ok = ts_clip_trainer_save(s->trainer, w, checkpoint, err) && ts_weights_writer_check_finite(w, err);
    if (ok && !checkpoint && s->config->fp16) ts_weights_writer_narrow(w, TS_DT_F16);
    ok = ok && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    return ok;
}

static bool save_model(state *s, const char *file, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", s->run->folder, file) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = save_as(s, path, false, err);
    free(path);
    return ok;
}

static bool due(const state *s, int every)
{
    return s->done > 0 && (s->done % every == 0 || s->done == s->config->steps);
}

static bool validate(state *s, ts_error *err)
{
    const int batch = s->config->batch;
    const int64_t batches = s->val.count / batch;
    ts_train_entry entry = ts_train_entry_of(s->done, true);
    entry.loss = entry.accuracy = 0;
    ts_line_wipe();
    for (int64_t i = 0; i < batches; i++) {
        double loss, accuracy;
        if (ts_training_stopping()) return true; /* the run does it when it goes on */
        if (!ts_clip_pairs_batch(&s->val, i, batch, true, s->pixels, s->tokens, err) ||
            !ts_clip_trainer_evaluate(s->trainer, s->pixels, s->tokens, &loss, &accuracy, err))
            return false;
        entry.loss += loss / (double)batches;
        entry.accuracy += accuracy / (double)batches;
    }
    const ts_train_entry *best = ts_train_log_best(&s->log);
    const bool better = !best || entry.loss < best->loss;
    if ((better && !save_model(s, "best.safetensors", err)) || !ts_train_log_add(&s->log, &entry, err)) return false;
    ts_training_say(&s->console, "step %lld: validation loss %.4f, accuracy %.4f, scale %.1f%s", (long long)s->done, entry.loss,
                    entry.accuracy, ts_clip_trainer_scale(s->trainer), better ? ", the best so far" : "");
    return true;
}

static bool write_checkpoint(state *s, const char *path, ts_error *err)
{
    if (!save_as(s, path, true, err)) return false;
    s->saved = s->done;
    ts_train_prune(s->run->folder, s->config->keep);
    return true;
}

static bool draw_curve(const state *s, ts_error *err)
{
    char title[128], guess[64];
    snprintf(title, sizeof title, "tessera clip train: %lld of %d steps", (long long)s->done, s->config->steps);
    snprintf(guess, sizeof guess, "guessing (log %d)", s->config->batch);
    const ts_curve_desc desc = {.title = title, .guess = log(s->config->batch), .guess_name = guess};
    return ts_training_curve(&s->log, s->run->folder, &desc, err);
}

/* Writes the checkpoint, and validates where it is time. `last`: at the end of the process, whatever the step. */
static bool save(state *s, bool last, ts_error *err)
{
    ts_error why = {0};
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->done, ".safetensors", err);
    if (!path) return false;
    const bool evaluate =
        s->val.count > 0 && due(s, s->config->eval_every) && !ts_train_log_validated(&s->log, s->done) && !ts_training_stopping();
    const bool write = s->done > s->saved && (last || evaluate || due(s, s->config->save_every));
    bool ok = (!write || write_checkpoint(s, path, &why)) && (!evaluate || validate(s, &why));
    if (ok && write) ok = draw_curve(s, &why);
    free(path);
    return ok || ts_training_fail(s->run->folder, &why, err);
}

/* A step that fails leaves the model as the one before it did: what is in no checkpoint yet is saved, where that can be. */
static bool fail_step(state *s, const ts_error *why, ts_error *err)
{
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->done, ".safetensors", NULL);
    if (path && s->done > s->saved && ts_clip_trainer_steps(s->trainer) == s->done) write_checkpoint(s, path, NULL);
    free(path);
    return ts_training_fail(s->run->folder, why, err);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void show_progress(state *s, const ts_train_entry *e)
{
    char left[32];
    const double seconds = s->step_ms * 1e-3 * (double)(s->config->steps - s->done);
    ts_training_show(&s->console, "step %lld/%d, loss %.4f, accuracy %.3f, scale %.1f, %.3g pairs/s, %s left ",
                     (long long)s->done, s->config->steps, e->loss, e->accuracy, ts_clip_trainer_scale(s->trainer),
                     s->config->batch * 1e3 / s->step_ms, ts_time_text(seconds, left));
}

static bool step(state *s, ts_error *err)
{
    const ts_clip_train_config *c = s->config;
    ts_error why = {0};
    const double start = ts_now_ms();
    ts_train_entry entry = ts_train_entry_of(s->done + 1, false);
    entry.lr = ts_cosine_rate(s->done, c->steps, c->warmup, c->lr);
    if (!ts_clip_pairs_batch(&s->pairs, s->done, c->batch, false, s->pixels, s->tokens, &why)) return fail_step(s, &why, err);
    const double waited = ts_now_ms() - start;
    if (!ts_clip_trainer_step(s->trainer, s->pixels, s->tokens, entry.lr, &entry.loss, &entry.accuracy, &why))
        return fail_step(s, &why, err);
    const double ms = ts_now_ms() - start;
    if (!ts_training_check_loss(s->run->folder, entry.step, entry.loss, GONE_WRONG, err)) return false;
    s->done++;
    s->waited_ms += waited;
    s->step_ms = s->step_ms > 0 ? 0.95 * s->step_ms + 0.05 * ms : ms;
    entry.images_per_s = c->batch * 1e3 / ms;
    entry.waiting = waited / ms;
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

static bool train_watched(state *s, ts_error *err)
{
    ts_training_watch(&s->console);
    const bool ok = train(s, err);
    ts_training_unwatch();
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool check_count(const state *s, const ts_clip_pairs *p, ts_error *err)
{
    return p->count >= s->config->batch ||
           ts_fail(err, TS_ERR_ARGUMENT, "%s lists %lld pictures, which make no batch of %d: lower --batch", p->list,
                   (long long)p->count, s->config->batch);
}

static bool open_data(state *s, ts_error *err)
{
    ts_clip_train_config *c = s->config;
    if (!ts_clip_pairs_open(c->data, &s->pairs, err) || (c->val && !ts_clip_pairs_open(c->val, &s->val, err))) return false;
    if (!check_count(s, &s->pairs, err) || (c->val && !check_count(s, &s->val, err))) return false;
    if (c->steps == 0) {
        const int64_t epoch = s->pairs.count / c->batch;
        const double steps = ceil(s->run->epochs * (double)epoch);
        if (steps > 1e9)
            return ts_fail(err, TS_ERR_ARGUMENT, "%g epochs of %lld pictures are too many", s->run->epochs,
                           (long long)s->pairs.count);
        c->steps = (int)fmax(steps, 1);
    }
    if (c->warmup < 0) c->warmup = (int)(0.05 * c->steps);
    if (c->warmup >= c->steps) c->warmup = c->steps - 1;
    return true;
}

/* Where the model comes from, and the texts as it will read them. */
static bool open_texts(state *s, ts_error *err)
{
    ts_clip_train_config *c = s->config;
    if (!ts_training_find_checkpoint(s->run->folder, &s->console, &s->checkpoint, err)) return false;
    if (c->init && !s->checkpoint && !(s->init = ts_open_weights(c->init, s->run->common->quiet, err))) return false;
    if (s->init && !ts_weights_check_finite(s->init, err)) return false;
    const ts_weights *from = s->checkpoint ? s->checkpoint : s->init;
    if (from && !ts_clip_config_read(from, s->checkpoint ? NULL : &c->told, &c->model, err)) return false;
    s->tokenizer = ts_clip_train_vocabulary(c, s->run->folder, s->run->resume, &s->pairs, err);
    if (!s->tokenizer) return false;
    if (from && ts_tokenizer_count(s->tokenizer) != c->model.vocabulary)
        return ts_fail(err, TS_ERR_FORMAT, "the vocabulary has %d symbols, but model %s was made with %d",
                       ts_tokenizer_count(s->tokenizer), ts_weights_path(from), c->model.vocabulary);
    c->model.vocabulary = ts_tokenizer_count(s->tokenizer);
    return ts_clip_pairs_tokens(&s->pairs, s->tokenizer, c->model.context, c->cut, err) &&
           (!s->val.list || ts_clip_pairs_tokens(&s->val, s->tokenizer, c->model.context, c->cut, err));
}

static bool open_trainer(state *s, ts_error *err)
{
    const ts_clip_train_config *c = s->config;
    s->dev = ts_open_device(s->run->common, false, err);
    if (!s->dev) return false;
    const ts_clip_told nothing = {0}; /* a checkpoint says all itself */
    const ts_clip_trainer_desc desc = {.weights = s->checkpoint ? s->checkpoint : s->init,
                                       .told = s->checkpoint ? nothing : c->told,
                                       .config = c->model,
                                       .batch = c->batch,
                                       .length = s->val.length > s->pairs.length ? s->val.length : s->pairs.length,
                                       .weight_decay = c->weight_decay > 0 ? c->weight_decay : -1,
                                       .clip_norm = c->clip,
                                       .seed = c->seed};
    s->trainer = ts_clip_trainer_new(s->dev, &desc, err);
    if (!s->trainer || (s->checkpoint && !ts_clip_trainer_resume(s->trainer, s->checkpoint, err))) return false;
    s->done = s->first = s->saved = ts_clip_trainer_steps(s->trainer);
    if (c->steps < s->done)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d steps are fewer than the %lld that the run in %s has done", c->steps,
                       (long long)s->done, s->run->folder);
    const size_t batch = (size_t)c->batch, side = (size_t)c->model.image;
    s->pixels = malloc(batch * side * side * 3 * sizeof *s->pixels);
    s->tokens = malloc(batch * (size_t)c->model.context * sizeof *s->tokens);
    return (s->pixels && s->tokens) || ts_fail(err, TS_ERR_MEMORY, "out of memory for a batch of %d", c->batch);
}

/* Both lists' pictures; the validation's seed is its own, so that it is the same whatever the run's. */
static bool load_pictures(state *s, ts_error *err)
{
    const ts_clip_train_config *c = s->config;
    ts_clip_pairs *const both[] = {&s->pairs, &s->val};
    for (int i = 0; i < 2; i++) {
        if (!both[i]->list) continue;
        both[i]->side = c->model.image;
        both[i]->margin = c->margin;
        both[i]->workers = c->workers;
        both[i]->left_out = &s->left_out;
        both[i]->seed = i == 0 ? c->seed : 0;
        if (!ts_clip_pairs_load(both[i], (uint64_t)c->memory << 20, s->run->common->quiet, err) || !check_count(s, both[i], err))
            return false;
    }
    return true;
}

/* What the list holds, said where it is not what it was when the run was last at work. */
static void see_data(state *s)
{
    const size_t folder = (size_t)(strrchr(s->pairs.list, '/') ? strrchr(s->pairs.list, '/') - s->pairs.list : 0);
    ts_data_seen now = {0};
    for (int64_t i = 0; i < s->pairs.count; i++) {
        const ts_clip_pair *p = &s->pairs.pair[i];
        const bool below = strncmp(p->path, s->pairs.list, folder) == 0; /* wherever the folder lies */
        ts_data_seen_add(&now, below ? p->path + folder : p->path, p->path);
        ts_data_seen_words(&now, p->text);
    }
    ts_data_seen_tell(&s->config->seen, &now, s->pairs.list, &s->console);
    s->config->seen = now;
}

static bool start(state *s, ts_error *err)
{
    ts_clip_train_config *c = s->config;
    const char *folder = s->run->folder;
    char *config = NULL;
    if (c->init && !ts_check_model(c->init, "model", TS_KIND_CLIP, err)) return false;
    if (!open_data(s, err)) return false;
    see_data(s);
    ts_train_sweep(folder);
    if (!open_texts(s, err) || !open_trainer(s, err)) return false;
    if (asprintf(&config, "%s/config.json", folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok =
        load_pictures(s, err) && ts_clip_train_config_write(c, config, err) && ts_train_log_open(&s->log, folder, s->done, err);
    free(config);
    if (!ok) return false;
    ts_announce_device(s->run->common, s->dev);
    ts_say_stage(s->run->common, "ready to train");
    if (s->done > 0) ts_training_say(&s->console, "going on after step %lld of %d", (long long)s->done, c->steps);
    else
        ts_training_say(&s->console, "%lld pairs, a vocabulary of %d symbols, texts of up to %d", (long long)s->pairs.count,
                        c->model.vocabulary, s->pairs.length);
    if (!s->pairs.pixels)
        ts_training_say(&s->console, "the pictures do not fit into %d MiB: they are read anew in each step (--memory)",
                        c->memory);
    return true;
}

/* What is told of a contrast beside what every training tells; NULL: out of memory. */
static cJSON *told(const state *s)
{
    cJSON *o = cJSON_CreateObject();
    const ts_train_entry *last = NULL;
    for (int64_t i = s->log.count - 1; i >= 0 && !last; i--)
        if (!s->log.list[i].validation) last = &s->log.list[i];
    if (o && (!last || cJSON_AddNumberToObject(o, "accuracy", last->accuracy)) &&
        cJSON_AddNumberToObject(o, "scale", ts_clip_trainer_scale(s->trainer)) &&
        cJSON_AddNumberToObject(o, "vocabulary", s->config->model.vocabulary))
        return o;
    cJSON_Delete(o);
    return NULL;
}

static bool report(state *s, ts_error *err)
{
    const ts_training_end end = {.folder = s->run->folder,
                                 .done = s->done,
                                 .first = s->first,
                                 .steps = s->config->steps,
                                 .pictures = s->config->batch,
                                 .waited_ms = s->waited_ms,
                                 .device = ts_device_about(s->dev)->name};
    cJSON *more = s->run->common->json ? told(s) : NULL;
    if (s->run->common->json && !more) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_say_stage(s->run->common, "trained");
    return ts_training_report(&s->console, &s->log, &end, s->run->common->json, more, err);
}

int ts_clip_train_go(ts_clip_train_run *run)
{
    state s = {.run = run, .config = &run->config, .left_out = {.strict = run->strict, .quiet = run->common->quiet}};
    ts_error err = {0}, why = {0};
    ts_training_console_begin(&s.console, run->common->quiet);
    bool ok = start(&s, &err) && train_watched(&s, &err);
    const int stopped = ok && s.done < s.config->steps ? ts_training_stopping() : 0;
    if (ok && !stopped && !save_model(&s, "model.safetensors", &why)) ok = ts_training_fail(run->folder, &why, &err);
    ok = ok && report(&s, &err);
    ts_line_wipe();
    ts_clip_trainer_free(s.trainer);
    ts_tokenizer_free(s.tokenizer);
    ts_clip_pairs_clear(&s.pairs);
    ts_clip_pairs_clear(&s.val);
    ts_train_log_close(&s.log);
    ts_weights_free(s.checkpoint);
    ts_weights_free(s.init);
    ts_device_free(s.dev);
    free(s.pixels);
    free(s.tokens);
    const int status = ok ? ts_left_out_status(name, &s.left_out) : ts_report(name, &err);
    return stopped ? ts_training_ended(stopped) : status;
}
