/* task_search.c - the search of `tessera tune task --search`: steps of REINFORCE, from time to time one mask drawn and tried on
 * the pairs that check, the best kept. The file beside the task's, OUT.search, has all that the search goes on from, its vectors
 * too, and is written with each try: a search that was stopped comes to the same bits as one that was not. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tune/task.h"
#include "engine/number.h"

enum { EVERY = 50 };

static char *path_of(const tune_task *t, ts_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s.search", t->out) >= 0) return path;
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}

bool tune_search_check(const tune_task *t, ts_error *err)
{
    char *path = path_of(t, err);
    if (!path) return false;
    const bool there = access(path, F_OK) == 0;
    bool ok = true;
    if (t->resume && !there) ok = ts_fail(err, TS_ERR_IO, "%s is not there: without --resume a search begins", path);
    if (!t->resume && there)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s holds a search already: --resume goes on with it, or remove it", path);
    free(path);
    return ok;
}

/* What decides a search, beside the model: another's file is not gone on with. */
static void describe(const tune_task *t, char *out, size_t room)
{
    snprintf(
        out, room,
        "grain %d, part %d, start %.17g, samples %d, rate %.17g, regular %.17g, training %d, check %d, canvases %d, best %d, "
        "seed %" PRIu64 ", files %.0f, bytes %.0f, names %" PRIu64,
        t->grain, t->part, t->start, t->samples, t->lr, t->regular, t->training, t->check, t->canvases, t->best, t->common.seed,
        t->own.seen.files, t->own.seen.bytes, t->own.seen.names);
}

/* ---- the file ---- */

/* The figures that it has beside tensors. */
static const struct {
    const char *key;
    size_t offset;
} figures[] = {{"plain_loss", offsetof(tune_task, plain)},
               {"bare_loss", offsetof(tune_task, bare)},
               {"one_pass_loss", offsetof(tune_task, one_pass)},
               {"one_pass_share", offsetof(tune_task, used)},
               {"best_loss", offsetof(tune_task, best_loss)}};
enum { FIGURES = sizeof figures / sizeof *figures };

static double *figure_of(tune_task *t, int i)
{
    void *at = (char *)t + figures[i].offset;
    return at;
}

static bool add_text(ts_weights_writer *w, const char *key, ts_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static bool add_text(ts_weights_writer *w, const char *key, ts_error *err, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ts_weights_writer_meta(w, key, text, err);
}

static bool save(tune_task *t, const ts_task_search *s, ts_error *err)
{
    const int64_t units = s->units, places = ts_task_places(t->task);
    char config[1024], *path = path_of(t, err);
    ts_weights_writer *w = ts_weights_writer_new();
    describe(t, config, sizeof config);
    ts_task_set_mask(t->task, t->score_mask);
    bool ok = path && (w || ts_fail(err, TS_ERR_MEMORY, "out of memory")) && ts_task_add(t->task, t->weights, w, err) &&
              ts_weights_writer_add(w, "search.logit", TS_DT_F64, 1, &units, s->logit, err) &&
              ts_weights_writer_add(w, "search.m", TS_DT_F64, 1, &units, s->m, err) &&
              ts_weights_writer_add(w, "search.v", TS_DT_F64, 1, &units, s->v, err) &&
              ts_weights_writer_add(w, "search.best", TS_DT_U8, 1, &places, t->best_mask, err) &&
              ts_weights_writer_meta(w, "search", config, err) && add_text(w, "step", err, "%" PRId64, s->step) &&
              add_text(w, "best_step", err, "%" PRId64, t->best_step);
    for (int i = 0; ok && i < FIGURES; i++) ok = add_text(w, figures[i].key, err, "%.17g", *figure_of(t, i));
    ok = ok && ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(path);
    return ok;
}

static bool bad(const ts_weights *w, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing, or not what a search writes there", ts_weights_path(w), what);
}

static bool read_numbers(const ts_weights *w, const char *name, int units, double *out, ts_error *err)
{
    const ts_weight *t = ts_weights_find(w, name);
    return t && t->dtype == TS_DT_F64 && t->count == units ? ts_weight_to_f64(t, out, err) : bad(w, name, err);
}

static bool read_best(tune_task *t, const ts_weights *w, ts_error *err)
{
    const int64_t places = ts_task_places(t->task);
    const ts_weight *best = ts_weights_find(w, "search.best");
    if (!best || best->count != places) return bad(w, "search.best", err);
    int64_t *bits = malloc((size_t)places * sizeof *bits);
    if (!bits) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = ts_weight_to_i64(best, bits, err);
    for (int64_t i = 0; ok && i < places; i++) {
        ok = bits[i] == 0 || bits[i] == 1 || bad(w, "search.best", err);
        t->best_mask[i] = (uint8_t)bits[i];
    }
    free(bits);
    return ok;
}

static ts_weights *open_file(const tune_task *t, ts_error *err)
{
    char *path = path_of(t, err);
    ts_weights *w = path ? ts_weights_open(path, err) : NULL;
    free(path);
    return w;
}

bool tune_search_open(tune_task *t, ts_error *err)
{
    char config[1024];
    ts_weights *w = open_file(t, err);
    if (!w) return false;
    const char *said = ts_weights_meta(w, "search");
    describe(t, config, sizeof config);
    bool ok = said != NULL;
    if (!said) bad(w, "\"search\"", err);
    else if (strcmp(said, config) != 0)
        ok = ts_fail(err, TS_ERR_ARGUMENT, "%s was begun with other pictures or options (%s): those of now are %s",
                     ts_weights_path(w), said, config);
    ts_task_free(t->task);
    t->task = ok ? ts_task_open(w, t->weights, &t->config, err) : NULL;
    ok = t->task && read_best(t, w, err) &&
         (ts_whole_read(ts_weights_meta(w, "step"), 0, INT32_MAX, &t->done) || bad(w, "\"step\"", err)) &&
         (ts_whole_read(ts_weights_meta(w, "best_step"), 0, INT32_MAX, &t->best_step) || bad(w, "\"best_step\"", err));
    for (int i = 0; ok && i < FIGURES; i++)
        ok = (ts_weights_meta(w, figures[i].key) && ts_real_read(ts_weights_meta(w, figures[i].key), figure_of(t, i))) ||
             bad(w, figures[i].key, err);
    ts_weights_free(w);
    return ok;
}

static bool go_on(const tune_task *t, ts_task_search *s, ts_error *err)
{
    ts_weights *w = open_file(t, err);
    const bool ok = w && read_numbers(w, "search.logit", s->units, s->logit, err) &&
                    read_numbers(w, "search.m", s->units, s->m, err) && read_numbers(w, "search.v", s->units, s->v, err);
    s->step = t->done;
    ts_weights_free(w);
    return ok;
}

/* ---- steps ---- */

typedef struct {
    tune_task *t;
    ts_task_search s;
    ts_training_console console;
    int64_t first;            /* steps before this process */
    uint8_t *bits, *masks;    /* (samples, units), (samples, places) */
    ts_image *canvas, *truth; /* (samples), of the pairs that search, turn by turn */
    double *loss;             /* (samples) */
} walk;

/* The mean loss of the samples. */
static bool step(walk *w, double *mean, ts_error *err)
{
    const tune_task *t = w->t;
    const int64_t places = ts_task_places(t->task);
    for (int i = 0; i < t->samples; i++) {
        uint8_t *bits = w->bits + (int64_t)i * w->s.units;
        ts_task_search_draw(&w->s, t->common.seed, i, bits);
        ts_task_spread(t->task, (ts_task_grain)t->grain, bits, w->masks + i * places);
    }
    if (!ts_task_losses(t->runner, w->canvas, w->truth, t->samples, w->masks, w->loss, err)) return false;
    *mean = 0;
    for (int i = 0; i < t->samples; i++) *mean += w->loss[i] / t->samples;
    return ts_task_search_update(&w->s, w->bits, w->loss, t->samples, t->lr, t->regular, err);
}

/* One more sample, on the pairs that check. */
static bool try_one(walk *w, ts_error *err)
{
    tune_task *t = w->t;
    double loss;
    ts_task_search_draw(&w->s, t->common.seed, t->samples, w->bits);
    ts_task_spread(t->task, (ts_task_grain)t->grain, w->bits, w->masks);
    if (!tune_mask_loss(t, w->masks, &loss, err)) return false;
    const bool better = t->best_step == 0 || loss < t->best_loss;
    if (better) {
        memcpy(t->best_mask, w->masks, (size_t)ts_task_places(t->task));
        t->best_loss = loss;
        t->best_step = w->s.step;
    }
    ts_line_wipe();
    ts_training_say(&w->console, "step %lld: %s %.4f%s", (long long)w->s.step, t->own.masks ? "IoU" : "error",
                    t->own.masks ? -loss : loss, better ? ", the best so far" : "");
    return true;
}

static void show(walk *w, double mean, double step_ms)
{
    char left[32];
    const double seconds = step_ms * 1e-3 * (double)(w->t->steps - w->s.step);
    ts_training_show(&w->console, "step %lld/%d, %s %.4f, %.3g answers/s, %s left ", (long long)w->s.step, w->t->steps,
                     w->t->own.masks ? "IoU" : "error", w->t->own.masks ? -mean : mean, w->t->samples * 1e3 / step_ms,
                     ts_time_text(seconds, left));
}

static bool search(walk *w, ts_error *err)
{
    tune_task *t = w->t;
    bool ok = true;
    int64_t saved = w->s.step;
    while (ok && w->s.step < t->steps && !ts_training_stopping()) {
        double mean;
        const double start = ts_now_ms();
        ok = step(w, &mean, err);
        t->sampled = ok ? mean : t->sampled;
        if (ok) show(w, mean, ts_now_ms() - start);
        if (!ok || (w->s.step % EVERY != 0 && w->s.step != t->steps)) continue;
        ok = try_one(w, err) && save(t, &w->s, err);
        saved = w->s.step;
    }
    ts_line_wipe();
    if (ok && w->s.step > saved) ok = save(t, &w->s, err);
    t->done = w->s.step;
    t->stopped = w->s.step < t->steps ? ts_training_stopping() : 0;
    return ok;
}

static bool begin(walk *w, ts_error *err)
{
    const tune_task *t = w->t;
    const size_t samples = (size_t)t->samples, places = (size_t)ts_task_places(t->task);
    const int units = ts_task_units(t->task, (ts_task_grain)t->grain);
    if (!ts_task_search_new(&w->s, units, t->start, err)) return false;
    /* What is not of the part that is searched is never patched. */
    for (int i = 0; i < units; i++)
        if (!ts_task_in_part(t->task, (ts_task_grain)t->grain, i, (ts_task_part)t->part)) w->s.logit[i] = -1000;
    w->bits = calloc(samples, (size_t)units);
    w->masks = calloc(samples, places);
    w->canvas = calloc(samples, sizeof *w->canvas);
    w->truth = calloc(samples, sizeof *w->truth);
    w->loss = calloc(samples, sizeof *w->loss);
    if (!w->bits || !w->masks || !w->canvas || !w->truth || !w->loss)
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d samples", t->samples);
    for (int i = 0; i < t->samples; i++) { /* they stay the job's */
        w->canvas[i] = t->query[i % t->searched];
        w->truth[i] = t->own.output[t->order[i % t->searched]];
    }
    return !t->resume || go_on(t, &w->s, err);
}

bool tune_search(tune_task *t, ts_error *err)
{
    walk w = {.t = t};
    ts_training_console_begin(&w.console, t->common.quiet);
    bool ok = begin(&w, err);
    if (ok && t->resume) ts_training_say(&w.console, "going on after step %lld of %d", (long long)w.s.step, t->steps);
    if (ok) {
        ts_training_watch(&w.console);
        ok = search(&w, err);
        ts_training_unwatch();
    }
    ts_task_search_free(&w.s);
    free(w.bits);
    free(w.masks);
    free(w.canvas);
    free(w.truth);
    free(w.loss);
    return ok;
}
