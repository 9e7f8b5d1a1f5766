/* retriever_train.c - the head learns from the scores: each query's five best candidates draw it, its five worst push it off
 * (Zhang et al. 2023, section 3.2). What a step sees is a function of the seed and of its number, so that a tuning that was
 * stopped comes to the same bits. A tenth of the pairs is held out, on which the head's first choice is measured by the scores
 * that are known already. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tune/retriever.h"

static const char GONE_WRONG[] = "the tuning has gone wrong (a lower --lr may help)";
static const float OUT = -1e4F; /* of what is divided by the temperature: it does not count */
enum { HELD_OUT = 10, ENOUGH = 20, ROWS = 64 };

typedef struct {
    tune_retriever *t;
    int *teacher, teachers; /* pairs whose candidates differ: those that are learned from, and behind them those held out */
    int train;              /* of them, the first */
    int best;               /* candidates at each end */
    int *order;             /* (queries, each): candidates by falling score */
    int batch;
    int64_t per_epoch, saved;
    int *epoch_order; /* (train) */
    int *pair;        /* of a step's rows, (3 batch) */
    int64_t epoch;
    float *rows, *apart; /* (3 batch, width), (batch, 2 batch) */
    ts_retriever_trainer *trainer;
    ts_weights *checkpoint;
    ts_train_log log;
    double step_ms;
} state;

/* ---- who teaches ------------------------------------------------------------------------------------------------- */

static double score_of(const state *s, int query, int place)
{
    const int64_t at = (int64_t)query * s->t->each;
    return s->t->score[at + s->order[at + place]];
}

/* Candidates by falling score; of equal ones that which is more like the query first (a stable insertion sort: they are few). */
static bool sort_candidates(state *s, int query)
{
    const int64_t at = (int64_t)query * s->t->each;
    const double *score = s->t->score + at;
    int *order = s->order + at;
    for (int k = 0; k < s->t->each; k++) {
        if (isnan(score[k])) return false;
        int to = k;
        for (; to > 0 && score[order[to - 1]] < score[k]; to--) order[to] = order[to - 1];
        order[to] = k;
    }
    return score_of(s, query, 0) > score_of(s, query, s->t->each - 1);
}

static void shuffle(int *list, int count, uint64_t random)
{
    for (int i = count - 1; i > 0; i--) {
        const int k = (int)(ts_uniform(&random) * (i + 1)), other = list[k];
        list[k] = list[i];
        list[i] = other;
    }
}

static bool choose_teachers(state *s, ts_error *err)
{
    tune_retriever *t = s->t;
    s->order = calloc((size_t)t->queries * (size_t)t->each, sizeof *s->order);
    s->teacher = calloc((size_t)t->queries, sizeof *s->teacher);
    s->epoch_order = malloc((size_t)t->queries * sizeof *s->epoch_order);
    if (!s->order || !s->teacher || !s->epoch_order) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < t->queries; i++)
        if (sort_candidates(s, i)) s->teacher[s->teachers++] = i;
    if (s->teachers == 0)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "whatever the example, the model answers each pair of %s equally well: there is nothing to "
                       "learn",
                       t->job.lookup.folder);
    shuffle(s->teacher, s->teachers, t->job.common.seed);
    s->train = s->teachers >= ENOUGH ? s->teachers - s->teachers / HELD_OUT : s->teachers;
    s->best = t->best < t->each / 2 ? t->best : t->each / 2;
    s->batch = t->batch < s->train ? t->batch : s->train;
    s->per_epoch = s->train / s->batch;
    t->steps = s->per_epoch * t->epochs;
    s->epoch = -1;
    return true;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

/* Where the random numbers of an epoch or a step begin. */
static uint64_t random_of(const state *s, int64_t number, uint64_t salt)
{
    uint64_t random = s->t->job.common.seed + salt + (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15);
    ts_splitmix(&random);
    return random;
}

static void begin_epoch(state *s, int64_t epoch)
{
    if (s->epoch == epoch) return;
    memcpy(s->epoch_order, s->teacher, (size_t)s->train * sizeof *s->epoch_order);
    shuffle(s->epoch_order, s->train, random_of(s, epoch, 1));
    s->epoch = epoch;
}

static int candidate_of(const state *s, int query, int place)
{
    const int64_t at = (int64_t)query * s->t->each;
    return s->t->candidate[at + s->order[at + place]];
}

/* Whether a picture is the query itself, or one of those that did best for it: such ones are no reproach. */
static bool is_good(const state *s, int query, int pair)
{
    bool is = pair == query;
    for (int k = 0; k < s->best; k++) is = is || candidate_of(s, query, k) == pair;
    return is;
}

/* Fills in the step's rows, and what of the batch does not count against whom. */
static void draw(state *s, int64_t step)
{
    const tune_retriever *t = s->t;
    int64_t width;
    const float *rows = run_pool_rows(t->job.lookup.pool, &width);
    const int batch = s->batch, first = (int)(step % s->per_epoch) * batch;
    int *pair = s->pair;
    uint64_t random = random_of(s, step, 2);
    begin_epoch(s, step / s->per_epoch);
    for (int i = 0; i < batch; i++) {
        const int query = pair[i] = s->epoch_order[first + i];
        pair[batch + i] = candidate_of(s, query, (int)(ts_uniform(&random) * s->best));
        pair[2 * batch + i] = candidate_of(s, query, t->each - 1 - (int)(ts_uniform(&random) * s->best));
    }
    for (int i = 0; i < 3 * batch; i++) memcpy(s->rows + i * width, rows + pair[i] * width, (size_t)width * sizeof *rows);
    for (int i = 0; i < batch; i++)
        for (int k = 0; k < 2 * batch; k++)
            s->apart[i * 2 * batch + k] = k != i && is_good(s, pair[i], pair[batch + k]) ? OUT : 0;
}

static bool step(state *s, ts_error *err)
{
    tune_retriever *t = s->t;
    ts_error why = {0};
    ts_train_entry entry = ts_train_entry_of(t->step + 1, false);
    const double start = ts_now_ms();
    draw(s, t->step);
    entry.lr = ts_cosine_rate(t->step, t->steps, 0, t->lr);
    if (!ts_retriever_trainer_step(s->trainer, s->rows, s->apart, entry.lr, &entry.loss, &entry.accuracy, &why))
        return ts_training_fail(t->out, &why, err);
    if (!ts_training_check_loss(t->out, entry.step, entry.loss, GONE_WRONG, err)) return false;
    const double ms = ts_now_ms() - start;
    s->step_ms = s->step_ms > 0 ? 0.95 * s->step_ms + 0.05 * ms : ms;
    entry.images_per_s = s->batch * 1e3 / ms;
    t->loss = entry.loss;
    t->step++;
    char left[32];
    ts_training_show(&t->console, "step %lld/%lld, loss %.4f, accuracy %.3f, %s left ", (long long)t->step, (long long)t->steps,
                     entry.loss, entry.accuracy, ts_time_text(s->step_ms * 1e-3 * (double)(t->steps - t->step), left));
    return ts_train_log_add(&s->log, &entry, &why) || ts_training_fail(t->out, &why, err);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool save_file(state *s, const char *path, bool checkpoint, ts_error *err)
{
    const run_pool *pool = s->t->job.lookup.pool;
    const char *file, *backbone = run_pool_backbone(pool, &file);
    char *whole = file ? realpath(file, NULL) : NULL;
    ts_weights_writer *w = ts_weights_writer_new();
    bool ok = w || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_retriever_trainer_save(s->trainer, w, checkpoint, err) &&
         ts_weights_writer_meta(w, TS_RETRIEVER_OF, run_pool_about(pool)->model, err) &&
         ts_weights_writer_meta(w, TS_RETRIEVER_BACKBONE, backbone, err) &&
         (!file || ts_weights_writer_meta(w, TS_RETRIEVER_FILE, whole ? whole : file, err)) &&
         ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(whole);
    return ok;
}

static bool save(state *s, bool last, ts_error *err)
{
    tune_retriever *t = s->t;
    const bool due = last || t->step % t->save_every == 0 || t->step == t->steps;
    if (!due || t->step <= s->saved) return true;
    ts_error why = {0};
    char *path = ts_train_path(t->out, "checkpoint-", t->step, ".safetensors", err);
    const bool ok = path && save_file(s, path, true, &why);
    free(path);
    if (!path) return false;
    if (!ok) return ts_training_fail(t->out, &why, err);
    s->saved = t->step;
    ts_train_prune(t->out, t->keep);
    return true;
}

static bool draw_curve(const state *s, ts_error *err)
{
    char title[128], guess[64];
    snprintf(title, sizeof title, "tessera tune retriever: %lld of %lld steps", (long long)s->t->step, (long long)s->t->steps);
    snprintf(guess, sizeof guess, "guessing (log %d)", 2 * s->batch);
    const ts_curve_desc desc = {.title = title, .guess = log(2.0 * s->batch), .guess_name = guess};
    return s->log.count == 0 || ts_training_curve(&s->log, s->t->out, &desc, err);
}

/* ---- what it is worth -------------------------------------------------------------------------------------------- */

/* Scores of the first choices for a pair that was held out, over its candidates. rows: the head's, of all pairs. */
static void measure_pair(state *s, int query, const float *rows, int width)
{
    tune_retriever *t = s->t;
    const int64_t at = (int64_t)query * t->each;
    int first = 0;
    double most = -2, sum = 0;
    for (int k = 0; k < t->each; k++) {
        double likeness;
        ts_likeness(rows + (int64_t)t->candidate[at + k] * width, 1, width, rows + (int64_t)query * width, &likeness);
        if (likeness > most) first = k;
        if (likeness > most) most = likeness;
        sum += t->score[at + k];
    }
    t->held.pairs++;
    t->held.plain += t->score[at]; /* candidates stand in the order of the plain features */
    t->held.learned += t->score[at + first];
    t->held.best += score_of(s, query, 0);
    t->held.any += sum / t->each;
}

static bool measure(state *s, const char *path, ts_error *err)
{
    tune_retriever *t = s->t;
    int64_t width;
    const float *plain = run_pool_rows(t->job.lookup.pool, &width);
    const int count = t->job.lookup.pairs.count;
    if (s->train == s->teachers) return true;
    ts_weights *w = ts_weights_open(path, err);
    ts_retriever *r = w ? ts_retriever_new(t->job.dev, w, ROWS, err) : NULL;
    const int out = r ? ts_retriever_about(r)->out : 1;
    float *rows = malloc((size_t)count * (size_t)out * sizeof *rows);
    bool ok = r && (rows || ts_fail(err, TS_ERR_MEMORY, "out of memory")) && ts_retriever_apply(r, plain, count, rows, err);
    for (int i = s->train; ok && i < s->teachers; i++) measure_pair(s, s->teacher[i], rows, out);
    if (ok) {
        double *const means[] = {&t->held.plain, &t->held.learned, &t->held.best, &t->held.any};
        for (size_t i = 0; i < sizeof means / sizeof *means; i++) *means[i] /= t->held.pairs;
    }
    free(rows);
    ts_retriever_free(r);
    ts_weights_free(w);
    return ok;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static bool start(state *s, ts_error *err)
{
    tune_retriever *t = s->t;
    const ts_embedder_info *about = run_pool_about(t->job.lookup.pool);
    ts_train_sweep(t->out);
    if (!choose_teachers(s, err) || !ts_training_find_checkpoint(t->out, &t->console, &s->checkpoint, err)) return false;
    const ts_retriever_desc desc = {.config = {(int)about->width, t->hidden, t->width},
                                    .batch = s->batch,
                                    .temperature = t->temperature,
                                    .weight_decay = t->weight_decay > 0 ? t->weight_decay : -1,
                                    .seed = t->job.common.seed};
    s->trainer = ts_retriever_trainer_new(t->job.dev, &desc, err);
    if (!s->trainer || (s->checkpoint && !ts_retriever_trainer_resume(s->trainer, s->checkpoint, err))) return false;
    t->step = t->first = s->saved = ts_retriever_trainer_steps(s->trainer);
    if (t->step > t->steps)
        return ts_fail(err, TS_ERR_ARGUMENT, "the tuning in %s has done %lld steps, more than the %lld of %d epochs", t->out,
                       (long long)t->step, (long long)t->steps, t->epochs);
    const size_t pairs = 3 * (size_t)s->batch;
    s->pair = calloc(pairs, sizeof *s->pair);
    s->rows = malloc(pairs * (size_t)about->width * sizeof *s->rows);
    s->apart = malloc((size_t)s->batch * 2 * (size_t)s->batch * sizeof *s->apart);
    if (!s->pair || !s->rows || !s->apart) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_training_say(&t->console, "%d of %d pairs to learn from, %d held out; batch %d, %d epochs, %lld steps", s->train,
                    t->queries, s->teachers - s->train, s->batch, t->epochs, (long long)t->steps);
    if (t->step > 0) ts_training_say(&t->console, "going on after step %lld of %lld", (long long)t->step, (long long)t->steps);
    return ts_train_log_open(&s->log, t->out, t->step, err);
}

static bool train(state *s, ts_error *err)
{
    bool ok = true;
    ts_training_watch(&s->t->console);
    while (ok && s->t->step < s->t->steps && !ts_training_stopping()) ok = step(s, err) && save(s, false, err);
    ts_line_wipe();
    ok = ok && save(s, true, err);
    ts_training_unwatch();
    return ok;
}

static bool finish(state *s, ts_error *err)
{
    tune_retriever *t = s->t;
    char *path = NULL;
    t->complete = t->step == t->steps;
    if (!draw_curve(s, err)) return false;
    if (!t->complete) return true;
    if (asprintf(&path, "%s/retriever.safetensors", t->out) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = save_file(s, path, false, err) && measure(s, path, err);
    free(path);
    return ok;
}

bool tune_retriever_train(tune_retriever *t, ts_error *err)
{
    state s = {.t = t};
    const bool ok = start(&s, err) && train(&s, err) && finish(&s, err);
    ts_retriever_trainer_free(s.trainer);
    ts_weights_free(s.checkpoint);
    ts_train_log_close(&s.log);
    free(s.teacher);
    free(s.order);
    free(s.epoch_order);
    free(s.pair);
    free(s.rows);
    free(s.apart);
    return ok;
}
