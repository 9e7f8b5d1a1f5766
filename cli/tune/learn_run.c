/* learn_run.c - the run itself: queries of a step, their canvases and labels, a line in the log; from time to time a checkpoint
 * and a validation. As in cli/train/run.c all is decided by the configuration, however often the run was stopped: first the
 * checkpoint, then the validation, the best so far, and only then the validation's line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tune/learn.h"

static const char GONE_WRONG[] = "the tuning has gone wrong (a lower --lr may help)";

typedef struct {
    ts_learn_run *run;
    ts_learn_config *config;
    ts_learn_data data;
    ts_device *dev;
    ts_weights *checkpoint;
    ts_vqgan_coder *coder;
    ts_mae_tuner *tuner;
    ts_train_log log;
    ts_training_console console;
    int batch, canvases;                       /* queries of a step; canvases of each */
    int64_t places, steps, done, first, saved; /* codes of a canvas; steps: in all, done, before this process, in a checkpoint */
    size_t bytes;                              /* of a canvas */
    int *queries, *examples;                   /* (batch), (batch, examples) */
    uint8_t *pictures;                         /* (batch, canvases, H, W, 3) */
    int32_t *codes;                            /* (batch, places) */
    int32_t *known;                            /* of a fusion, (pairs, places): the labels of each pair */
    double step_ms;
} state;

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const char *file_name(const ts_learn_config *c)
{
    return c->is_fusion ? "fusion.safetensors" : "border.safetensors";
}

static bool save_as(state *s, const char *path, bool checkpoint, ts_error *err)
{
    ts_weights_writer *w = ts_weights_writer_new();
    if (!w) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", path);
    const bool ok = ts_mae_tuner_save(s->tuner, w, checkpoint, err) && ts_weights_writer_check_finite(w, err) &&
                    ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    return ok;
}

static bool save_best(state *s, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", s->run->folder, file_name(s->config)) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = save_as(s, path, false, err);
    free(path);
    return ok;
}

static bool write_checkpoint(state *s, ts_error *err)
{
    char *path = ts_train_path(s->run->folder, "checkpoint-", s->done, ".safetensors", err);
    const bool ok = path && save_as(s, path, true, err);
    free(path);
    if (!ok) return false;
    s->saved = s->done;
    ts_train_prune(s->run->folder, s->config->keep);
    return true;
}

static bool draw_curve(const state *s, ts_error *err)
{
    const int codes = ts_mae_tuner_mae(s->tuner)->codes;
    char title[128], guess[64];
    snprintf(title, sizeof title, "tessera %s: %lld of %lld steps", ts_learn_name(s->config), (long long)s->done,
             (long long)s->steps);
    snprintf(guess, sizeof guess, "guessing (log %d)", codes);
    const ts_curve_desc desc = {.title = title, .guess = log(codes), .guess_name = guess};
    return ts_training_curve(&s->log, s->run->folder, &desc, err);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/* Canvases and labels of s->queries. `step` below zero: of a validation. */
static bool draw_batch(state *s, int64_t step, ts_error *err)
{
    const size_t row = (size_t)s->places * sizeof *s->codes;
    for (int i = 0; i < s->batch; i++) {
        int *examples = s->examples + i * s->config->examples;
        ts_learn_data_examples(&s->data, s->queries[i], step, examples);
        ts_learn_data_draw(&s->data, s->queries[i], examples, s->pictures + (size_t)(i * s->canvases) * s->bytes);
        if (s->known) memcpy(s->codes + i * s->places, s->known + s->queries[i] * s->places, row);
    }
    return s->known || ts_vqgan_coder_encode(s->coder, s->pictures, s->data.grid.desc.canvas, s->codes, err);
}

/* The labels of every pair, which do not depend on what is shown with it. */
static bool know_labels(state *s, ts_error *err)
{
    const int count = s->data.pairs.count;
    if (!s->config->is_fusion) return true;
    s->known = malloc((size_t)count * (size_t)s->places * sizeof *s->known);
    if (!s->known) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the labels of %d pairs", count);
    ts_progress progress;
    ts_progress_begin(&progress, "labels", count, s->run->common->quiet);
    bool ok = true;
    for (int at = 0; ok && at < count; at += s->batch) {
        const int n = count - at < s->batch ? count - at : s->batch;
        for (int i = 0; i < n; i++) ts_learn_data_draw_labels(&s->data, at + i, s->pictures + (size_t)i * s->bytes);
        ok = ts_vqgan_coder_encode(s->coder, s->pictures, s->data.grid.desc.canvas, s->codes, err);
        if (ok) memcpy(s->known + at * s->places, s->codes, (size_t)n * (size_t)s->places * sizeof *s->codes);
        ts_progress_step(&progress, at + n);
    }
    ts_progress_end(&progress);
    return ok;
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

static bool validate(state *s, ts_error *err)
{
    ts_train_entry entry = ts_train_entry_of(s->done, true);
    const int all = s->data.helds;
    entry.loss = entry.accuracy = 0;
    ts_line_wipe();
    for (int at = 0; at < all; at += s->batch) {
        const int n = all - at < s->batch ? all - at : s->batch;
        ts_mae_tuned part;
        if (ts_training_stopping()) return true; /* the run does it when it goes on */
        for (int i = 0; i < s->batch; i++) s->queries[i] = s->data.held[i < n ? at + i : at];
        if (!draw_batch(s, -1, err) || !ts_mae_tuner_evaluate(s->tuner, s->pictures, s->codes, n, &part, err)) return false;
        entry.loss += part.loss * n / all;
        entry.accuracy += part.accuracy * n / all;
    }
    const ts_train_entry *best = ts_train_log_best(&s->log);
    const bool better = !best || entry.loss < best->loss;
    if ((better && !save_best(s, err)) || !ts_train_log_add(&s->log, &entry, err)) return false;
    ts_training_say(&s->console, "step %lld: validation loss %.4f, accuracy %.4f%s", (long long)s->done, entry.loss,
                    entry.accuracy, better ? ", the best so far" : "");
    return true;
}

/* Writes the checkpoint, and validates where it is time: before the first step too, so that it is seen what was gained. `last`:
 * at the end of the process, whatever the step. */
static bool save(state *s, bool last, ts_error *err)
{
    const int64_t every = s->config->eval_every * ts_learn_data_steps(&s->data);
    const bool evaluate =
        (s->done % every == 0 || s->done == s->steps) && !ts_train_log_validated(&s->log, s->done) && !ts_training_stopping();
    const bool write = s->done > s->saved && (last || evaluate || s->done % s->config->save_every == 0);
    ts_error why = {0};
    bool ok = (!write || write_checkpoint(s, &why)) && (!evaluate || validate(s, &why));
    if (ok && write) ok = draw_curve(s, &why);
    return ok || ts_training_fail(s->run->folder, &why, err);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void show_progress(state *s, const ts_train_entry *e)
{
    char left[32];
    const double seconds = s->step_ms * 1e-3 * (double)(s->steps - s->done);
    const int64_t epoch = (s->done - 1) / ts_learn_data_steps(&s->data) + 1;
    ts_training_show(&s->console, "epoch %lld/%d, step %lld/%lld, loss %.4f, accuracy %.3f, %.3g queries/s, %s left ",
                     (long long)epoch, s->config->epochs, (long long)s->done, (long long)s->steps, e->loss, e->accuracy,
                     s->batch * 1e3 / s->step_ms, ts_time_text(seconds, left));
}

/* A step that fails leaves what is learned as the one before it did: what is in no checkpoint yet is saved, where that can be. */
static bool fail_step(state *s, const ts_error *why, ts_error *err)
{
    if (s->done > s->saved && ts_mae_tuner_steps(s->tuner) == s->done) write_checkpoint(s, NULL);
    return ts_training_fail(s->run->folder, why, err);
}

static bool step(state *s, ts_error *err)
{
    const ts_learn_config *c = s->config;
    ts_error why = {0};
    ts_mae_tuned part;
    const double start = ts_now_ms();
    ts_train_entry entry = ts_train_entry_of(s->done + 1, false);
    entry.lr = ts_restart_rate(s->done / ts_learn_data_steps(&s->data), c->restart, c->lr);
    if (!ts_learn_data_batch(&s->data, s->done, s->queries, &why) || !draw_batch(s, s->done, &why) ||
        !ts_mae_tuner_step(s->tuner, s->pictures, s->codes, entry.lr, &part, &why))
        return fail_step(s, &why, err);
    if (!ts_training_check_loss(s->run->folder, entry.step, part.objective, GONE_WRONG, err)) return false;
    const double ms = ts_now_ms() - start;
    entry.loss = part.loss;
    entry.accuracy = part.accuracy;
    entry.images_per_s = s->batch * 1e3 / ms;
    s->done++;
    s->step_ms = s->step_ms > 0 ? 0.95 * s->step_ms + 0.05 * ms : ms;
    show_progress(s, &entry);
    return ts_train_log_add(&s->log, &entry, &why) || ts_training_fail(s->run->folder, &why, err);
}

static bool learn(state *s, ts_error *err)
{
    s->console.start_ms = ts_now_ms();
    if (!save(s, false, err)) return false; /* what a killed run had left to do at its last checkpoint */
    while (s->done < s->steps && !ts_training_stopping())
        if (!step(s, err) || !save(s, false, err)) return false;
    ts_line_wipe();
    return save(s, true, err);
}

static bool learn_watched(state *s, ts_error *err)
{
    ts_training_watch(&s->console);
    const bool ok = learn(s, err);
    ts_training_unwatch();
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool plan_grid(const ts_learn_config *c, const ts_mae_config *mae, ts_grid *out, ts_error *err)
{
    const ts_grid_desc desc = {
        .canvas = mae->side * mae->patch,
        .patch = mae->patch,
        .examples = c->is_fusion ? 1 : c->examples,
        .background = {(uint8_t)(c->background >> 16), (uint8_t)(c->background >> 8), (uint8_t)c->background},
        .filter = (ts_resize_filter)c->filter};
    return ts_grid_plan(&desc, out, err);
}

static bool open_data(state *s, ts_error *err)
{
    ts_learn_config *c = s->config;
    ts_mae_config mae;
    ts_grid grid;
    if (!ts_mae_config_read(s->run->model, c->heads, c->decoder_heads, false, &mae, err)) return false;
    if (!c->is_fusion) c->examples = ts_mae_pairs_on_canvas(&mae, c->examples);
    if (!plan_grid(c, &mae, &grid, err) || !ts_learn_data_open(&s->data, c, &grid, &s->run->left_out, err)) return false;
    s->batch = c->batch < s->data.trains ? c->batch : s->data.trains;
    s->canvases = c->is_fusion ? c->examples : 1;
    s->places = (int64_t)mae.side * mae.side;
    s->bytes = (size_t)grid.desc.canvas * (size_t)grid.desc.canvas * 3;
    s->steps = c->epochs * ts_learn_data_steps(&s->data);
    ts_data_seen now = {0};
    for (int i = 0; i < s->data.pairs.count; i++) {
        ts_data_seen_add(&now, s->data.pairs.pair[i].name, s->data.pairs.pair[i].input);
        ts_data_seen_add(&now, s->data.pairs.pair[i].name, s->data.pairs.pair[i].target);
    }
    ts_data_seen_tell(&c->seen, &now, c->inputs, &s->console);
    c->seen = now;
    return true;
}

static bool make_room(state *s, ts_error *err)
{
    const size_t n = (size_t)s->batch;
    s->queries = calloc(n, sizeof *s->queries);
    s->examples = calloc(n, (size_t)s->config->examples * sizeof *s->examples);
    s->pictures = calloc(n * (size_t)s->canvases, s->bytes);
    s->codes = calloc(n, (size_t)s->places * sizeof *s->codes);
    return (s->queries && s->examples && s->pictures && s->codes) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory for a batch of %d", s->batch);
}

static bool make_tuner(state *s, ts_error *err)
{
    const ts_learn_config *c = s->config;
    const ts_mae_tuner_desc desc = {
        .weights = s->run->model,
        .heads = c->heads,
        .decoder_heads = c->decoder_heads,
        .grid = s->data.grid,
        .is_fusion = c->is_fusion,
        .border = {.pixels = c->pixels, .cells = c->cells},
        .fusion = {.heads = c->fusion_heads, .condenser = c->condenser, .sigma = c->sigma},
        .batch = s->batch,
        .fused = s->canvases,
        .dropout = c->dropout,
        .top = c->top,
        .align = c->align,
        .embed = c->embed,
        .recompute = c->recompute,
        .seed = c->seed,
    };
    s->dev = ts_open_device(s->run->common, false, err);
    s->tuner = s->dev ? ts_mae_tuner_new(s->dev, &desc, err) : NULL;
    if (!s->tuner || (s->checkpoint && !ts_mae_tuner_resume(s->tuner, s->checkpoint, err))) return false;
    s->done = s->first = s->saved = ts_mae_tuner_steps(s->tuner);
    if (s->steps < s->done)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d epochs are %lld steps, fewer than the %lld that the tuning in %s has done",
                       c->epochs, (long long)s->steps, (long long)s->done, s->run->folder);
    s->coder = ts_vqgan_coder_new(s->dev, s->run->vqgan, s->batch, ts_mae_tuner_mae(s->tuner)->side, err);
    return s->coder != NULL;
}

static void tell(state *s)
{
    char count[32];
    ts_training_say(&s->console, "%s numbers; %d pairs to learn from, %d held out; batches of %d, %d epochs, %lld steps",
                    ts_count_text((double)ts_mae_tuner_parameters(s->tuner), count), s->data.trains, s->data.helds, s->batch,
                    s->config->epochs, (long long)s->steps);
    if (s->done > 0) ts_training_say(&s->console, "going on after step %lld of %lld", (long long)s->done, (long long)s->steps);
}

static bool start(state *s, ts_error *err)
{
    const char *folder = s->run->folder;
    char *config = NULL;
    if (!open_data(s, err)) return false;
    ts_train_sweep(folder);
    if (!ts_training_find_checkpoint(folder, &s->console, &s->checkpoint, err) || !make_tuner(s, err) || !make_room(s, err) ||
        !know_labels(s, err))
        return false;
    if (asprintf(&config, "%s/config.json", folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = ts_learn_config_write(s->config, config, err) && ts_train_log_open(&s->log, folder, s->done, err);
    free(config);
    if (!ok) return false;
    ts_announce_device(s->run->common, s->dev);
    ts_say_passed(&s->run->left_out);
    tell(s);
    return true;
}

static bool report(state *s, ts_error *err)
{
    const ts_training_end end = {.folder = s->run->folder,
                                 .file = file_name(s->config),
                                 .done = s->done,
                                 .first = s->first,
                                 .steps = (int)s->steps,
                                 .pictures = s->batch,
                                 .device = ts_device_about(s->dev)->name};
    cJSON *more = NULL;
    if (s->run->common->json) {
        const ts_train_entry *before = s->log.count > 0 && s->log.list[0].validation ? &s->log.list[0] : NULL;
        more = cJSON_CreateObject();
        if (!more || !cJSON_AddNumberToObject(more, "parameters", (double)ts_mae_tuner_parameters(s->tuner)) ||
            (before && !cJSON_AddNumberToObject(more, "first_validation_loss", before->loss))) {
            cJSON_Delete(more);
            return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        }
    }
    return ts_training_report(&s->console, &s->log, &end, s->run->common->json, more, err);
}

int ts_learn_go(ts_learn_run *run)
{
    state s = {.run = run, .config = run->config};
    const char *name = ts_learn_name(run->config);
    ts_error err = {0};
    ts_training_console_begin(&s.console, run->common->quiet);
    bool ok = start(&s, &err) && learn_watched(&s, &err);
    const int stopped = ok && s.done < s.steps ? ts_training_stopping() : 0;
    ok = ok && report(&s, &err);
    ts_line_wipe();
    ts_mae_tuner_free(s.tuner);
    ts_vqgan_coder_free(s.coder);
    ts_learn_data_clear(&s.data);
    ts_train_log_close(&s.log);
    ts_weights_free(s.checkpoint);
    ts_device_free(s.dev);
    free(s.queries);
    free(s.examples);
    free(s.pictures);
    free(s.codes);
    free(s.known);
    const int status = ok ? ts_left_out_status(name, &run->left_out) : ts_report(name, &err);
    return stopped ? ts_training_ended(stopped) : status;
}
