/* retrieval.c - examples of its own for each query of a run: out of a folder of pairs, those most like it (pool.h). The engine
 * sees them before the query, as it sees those of the command line; one that goes by whatever was shown last sees them again
 * before it answers. */
#include <stdlib.h>

#include "cli/run/run.h"

struct run_found {
    int pair[RUN_PAIRS];
    double likeness[RUN_PAIRS];
    ts_palette colours; /* of its examples' outputs, and what follows from them */
    bool many_colours, snap, mask;
};

/* ---- before the device ------------------------------------------------------------------------------------------- */

bool run_lookup_count(run_job *r, const char *const *query, int count, ts_error *err)
{
    const int wanted = r->lookup.look.top ? r->lookup.look.top : 1;
    int each = wanted;
    for (int i = 0; i < count; i++) {
        const int room = run_pool_room(r->lookup.pool, query[i], err);
        if (room < 0) return false;
        if (room == 0) return ts_fail(err, TS_ERR_ARGUMENT, "%s holds no example for %s but itself", r->lookup.folder, query[i]);
        if (room < each) each = room;
    }
    if (each < wanted && !r->common.quiet)
        ts_say("note: --top %d is more than there are: %d example%s %s taken", wanted, each, each == 1 ? "" : "s",
               each == 1 ? "is" : "are");
    r->lookup.each = each;
    return true;
}

static bool make_room(run_job *r, ts_error *err)
{
    const int each = r->lookup.each;
    r->examples.items = calloc((size_t)each * 2, sizeof *r->examples.items);
    r->lookup.found = calloc((size_t)r->jobs.count, sizeof *r->lookup.found);
    if (!r->examples.items || !r->lookup.found) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    r->examples.count = 2 * each;
    return true;
}

/* No answer over a picture of the folder. Most answers are new, and a file that is not there is nobody's picture. */
static bool check_outputs(const run_job *r, ts_error *err)
{
    const ts_jobs *jobs = &r->jobs;
    char *const *const lists[] = {jobs->answer, jobs->canvas, jobs->overlay};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        for (int i = 0; lists[k] && i < jobs->count; i++) {
            const char *out = lists[k][i];
            if (!ts_same_file(out, out)) continue;
            for (int j = 0; j < r->lookup.pairs.count; j++) {
                const eval_pair *pair = &r->lookup.pairs.pair[j];
                const char *hit = ts_same_file(out, pair->input) ? pair->input : pair->target;
                if (ts_same_file(out, hit))
                    return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite the example %s", out, hit);
            }
        }
    return true;
}

bool run_pool_of(run_job *r, ts_error *err)
{
    const run_pool_desc desc = {
        .look = &r->lookup.look,
        .folder = r->lookup.folder,
        .pairs = &r->lookup.pairs,
        .model = r->model,
        .weights = r->weights,
        .told = {.heads = r->mae.heads, .text_heads = r->matching.text_heads, .activation = r->matching.activation},
        .common = &r->common,
        .left_out = &r->left_out};
    return (r->lookup.pool = run_pool_new(&desc, err)) != NULL;
}

bool run_lookup_open(run_job *r, ts_error *err)
{
    r->lookup.shown = -1;
    return eval_pairs_list(r->lookup.folder, r->lookup.targets, &r->left_out, &r->lookup.pairs, err) && check_outputs(r, err) &&
           run_pool_of(r, err) && run_lookup_count(r, (const char *const *)r->jobs.query, r->jobs.count, err) &&
           make_room(r, err);
}

bool run_lookup_start(run_job *r, ts_error *err)
{
    r->dev = ts_open_device(&r->common, false, err);
    return r->dev && run_pool_start(r->lookup.pool, r->dev, err);
}

void run_lookup_clear(run_job *r)
{
    run_pool_free(r->lookup.pool);
    eval_pairs_clear(&r->lookup.pairs);
    free(r->lookup.found);
}

/* ---- of a query -------------------------------------------------------------------------------------------------- */

bool run_lookup_show(run_job *r, int at, ts_error *err)
{
    run_found *f = &r->lookup.found[at];
    if (r->lookup.shown == at) return true;
    r->lookup.shown = -1;
    for (int k = 0; k < r->lookup.each; k++) {
        const eval_pair *pair = &r->lookup.pairs.pair[f->pair[k]];
        r->examples.items[2 * k] = pair->input;
        r->examples.items[2 * k + 1] = pair->target;
    }
    if (!ts_examples_load(&r->examples, run_take_example, r, &r->looks, err) || !run_plan_output(r, err)) return false;
    f->colours = r->colours;
    f->many_colours = r->many_colours;
    f->snap = r->snap;
    f->mask = r->mask;
    r->lookup.shown = at;
    return true;
}

bool run_lookup_find(run_job *r, int at, const ts_image *picture, ts_error *err)
{
    run_found *f = &r->lookup.found[at];
    r->lookup.shown = -1; /* `at` may have been another query, which was left out */
    return run_pool_find(r->lookup.pool, r->jobs.query[at], picture, r->lookup.each, f->pair, f->likeness, err) &&
           run_lookup_show(r, at, err);
}

void run_lookup_recall(run_job *r, int at)
{
    const run_found *f = &r->lookup.found[at];
    r->colours = f->colours;
    r->many_colours = f->many_colours;
    r->snap = f->snap;
    r->mask = f->mask;
}

bool run_lookup_report(const run_job *r, int at, cJSON *item)
{
    const run_found *f = &r->lookup.found[at];
    cJSON *list = cJSON_AddArrayToObject(item, "examples_found");
    bool ok = list != NULL;
    for (int k = 0; ok && k < r->lookup.each; k++) {
        const eval_pair *pair = &r->lookup.pairs.pair[f->pair[k]];
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(list, one) && cJSON_AddStringToObject(one, "input", pair->input) &&
             cJSON_AddStringToObject(one, "output", pair->target) &&
             (r->lookup.look.lists || cJSON_AddNumberToObject(one, "likeness", f->likeness[k]));
    }
    return ok;
}
