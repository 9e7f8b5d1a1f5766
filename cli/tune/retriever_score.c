/* retriever_score.c - how well each pair's neighbours do as its example (Zhang et al. 2023, section 3.2): the frozen model is
 * asked with every one of them, and its answer scored against what is wanted. A line of a journal each, as soon as it is known:
 * this is nearly all of a tuning's work. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tune/retriever.h"

static bool see_targets(tune_retriever *t, ts_error *err)
{
    const eval_pairs *pairs = &t->job.lookup.pairs;
    bool ok = true, few = true;
    for (int i = 0; ok && few && i < pairs->count; i++) {
        ts_image target = {0};
        ts_error why = {0};
        if (ts_image_load(pairs->pair[i].target, &target, &why)) few = eval_palette_add(&t->palette, &target);
        else ok = why.code != TS_ERR_MEMORY || ts_fail(err, why.code, "%s", why.text);
        ts_image_clear(&target);
    }
    if (!few) t->palette = (ts_palette){0};
    return ok;
}

/* ---- candidates -------------------------------------------------------------------------------------------------- */

bool tune_retriever_candidates(tune_retriever *t, ts_error *err)
{
    run_job *r = &t->job;
    const int count = r->lookup.pairs.count;
    int known = 0;
    if (!see_targets(t, err)) return false;
    for (int i = 0; i < count; i++) known += run_pool_knows(r->lookup.pool, i);
    t->each = t->candidates < known - 1 ? t->candidates : known - 1;
    if (t->each < 2)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s holds %d pair%s that can be read: three at least are wanted", r->lookup.folder,
                       known, known == 1 ? "" : "s");
    t->queries = t->limit > 0 && t->limit < count ? t->limit : count;
    const size_t all = (size_t)t->queries * (size_t)t->each;
    t->candidate = malloc(all * sizeof *t->candidate);
    t->score = malloc(all * sizeof *t->score);
    if (!t->candidate || !t->score) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < all; i++) t->score[i] = (double)NAN;
    for (int i = 0; i < t->queries; i++)
        if (run_pool_knows(r->lookup.pool, i) &&
            !run_pool_find_own(r->lookup.pool, i, t->each, t->candidate + (size_t)i * (size_t)t->each, NULL, err))
            return false;
    return true;
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

static cJSON *head(const tune_retriever *t)
{
    cJSON *h = cJSON_CreateObject();
    const bool ok = cJSON_AddStringToObject(h, "measured", "candidates") && cJSON_AddNumberToObject(h, "pairs", t->queries) &&
                    cJSON_AddNumberToObject(h, "candidates", t->each) &&
                    cJSON_AddBoolToObject(h, "by_colours", t->palette.count > 1) &&
                    cJSON_AddStringToObject(h, "features", run_pool_about(t->job.lookup.pool)->identity);
    if (ok) return h;
    cJSON_Delete(h);
    return NULL;
}

/* The number of a pair's candidate among all of them, which is its line's. */
static int number_of(const tune_retriever *t, int query, int k)
{
    return query * t->each + k;
}

/* The score that a line says, of the same two pictures as now. */
static bool read_line(tune_retriever *t, const eval_journal *j, int query, int k, bool *known, ts_error *err)
{
    const eval_pair *pair = t->job.lookup.pairs.pair;
    const int number = number_of(t, query, k);
    const cJSON *line = eval_journal_find(j, number), *score = cJSON_GetObjectItem(line, "score");
    *known = line != NULL;
    if (!line) return true;
    const char *asked = cJSON_GetStringValue(cJSON_GetObjectItem(line, "query"));
    const char *shown = cJSON_GetStringValue(cJSON_GetObjectItem(line, "example"));
    if (!asked || !shown || strcmp(asked, pair[query].name) != 0 || strcmp(shown, pair[t->candidate[number]].name) != 0)
        return ts_fail(
            err, TS_ERR_ARGUMENT,
            "%s/scores.jsonl has other pictures for line %d: the folder of pairs has changed since; begin a new tuning", t->out,
            number);
    t->score[number] = cJSON_IsNumber(score) ? score->valuedouble : (double)NAN;
    return true;
}

static bool add_line(tune_retriever *t, eval_journal *j, int query, int k, ts_error *err)
{
    const eval_pair *pair = t->job.lookup.pairs.pair;
    const int number = number_of(t, query, k);
    cJSON *line = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(line, "trial", number) && cJSON_AddStringToObject(line, "query", pair[query].name) &&
        cJSON_AddStringToObject(line, "example", pair[t->candidate[number]].name) &&
        (isnan(t->score[number]) || cJSON_AddNumberToObject(line, "score", t->score[number])))
        return eval_journal_add(j, number, line, err);
    cJSON_Delete(line);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static bool load_pair(const eval_pair *pair, ts_image *in, ts_image *out, ts_error *err)
{
    if (!ts_image_load(pair->input, in, err) || !ts_image_load(pair->target, out, err)) return false;
    if (in->width == out->width && in->height == out->height) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s has %d x %d pixels and its target %d x %d: they must be alike", pair->input, in->width,
                   in->height, out->width, out->height);
}

/* By intersection over union where the targets have few colours (their right pixels, where one holds background alone), else by
 * the error: more is better. */
static bool score_answer(const tune_retriever *t, const ts_image *truth, const ts_image *answer, double *out, ts_error *err)
{
    double score[EVAL_METRICS];
    if (!eval_score(truth, answer, &t->palette, score, err)) return false;
    *out = t->palette.count > 1 ? score[isnan(score[EVAL_IOU]) ? EVAL_ACCURACY : EVAL_IOU] : -score[EVAL_MSE];
    return true;
}

/* A candidate that cannot be read is left out; what is wrong with the model ends the work. */
static bool ask(tune_retriever *t, int query, int k, const ts_image *picture, const ts_image *truth, ts_error *err)
{
    run_job *r = &t->job;
    const int number = number_of(t, query, k);
    const eval_pair *shown = &r->lookup.pairs.pair[t->candidate[number]], *asked = &r->lookup.pairs.pair[query];
    ts_image in = {0}, out = {0}, answer = {0};
    ts_error why = {0};
    bool ok = load_pair(shown, &in, &out, &why);
    if (ok) {
        ok = run_ask_example(r, 0, shown, &in, &out, err) && run_ask_query(r, asked->input, picture, err) &&
             (t->started || r->engine->start(r, err));
        t->started = t->started || ok;
        ok = ok && r->engine->answer(r, 0, 1, &answer, err) && score_answer(t, truth, &answer, &t->score[number], err);
    } else {
        ok = ts_leave_out(&r->left_out, &why, err);
    }
    ts_image_clear(&in);
    ts_image_clear(&out);
    ts_image_clear(&answer);
    return ok;
}

static bool ask_all_of(tune_retriever *t, eval_journal *j, int query, ts_error *err)
{
    ts_image picture = {0}, truth = {0};
    ts_error why = {0};
    bool ok = true, loaded = false;
    for (int k = 0; ok && k < t->each && !ts_training_stopping(); k++) {
        bool known;
        ok = read_line(t, j, query, k, &known, err);
        if (!ok || known) continue;
        if (!loaded && !load_pair(&t->job.lookup.pairs.pair[query], &picture, &truth, &why)) {
            ok = ts_leave_out(&t->job.left_out, &why, err);
            break;
        }
        loaded = true;
        ok = ask(t, query, k, &picture, &truth, err) && add_line(t, j, query, k, err);
    }
    ts_image_clear(&picture);
    ts_image_clear(&truth);
    return ok;
}

static bool ask_all(tune_retriever *t, eval_journal *j, ts_error *err)
{
    bool ok = true;
    char left[32];
    const double began = ts_now_ms();
    for (int i = 0; ok && i < t->queries && !ts_training_stopping(); i++) {
        if (run_pool_knows(t->job.lookup.pool, i)) ok = ask_all_of(t, j, i, err);
        ts_training_show(&t->console, "scoring pair %d of %d, %d candidates each, %s left ", i + 1, t->queries, t->each,
                         ts_time_text((ts_now_ms() - began) * 1e-3 * (t->queries - i - 1) / (i + 1), left));
    }
    ts_line_wipe();
    return ok;
}

bool tune_retriever_score(tune_retriever *t, ts_error *err)
{
    eval_journal journal = {0};
    char *path = NULL;
    if (asprintf(&path, "%s/scores.jsonl", t->out) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_training_watch(&t->console);
    const bool ok = eval_journal_open(&journal, path, head(t), err) && ask_all(t, &journal, err);
    ts_training_unwatch();
    eval_journal_close(&journal);
    free(path);
    return ok;
}
