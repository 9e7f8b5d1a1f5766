/* ask.c - a model asked again and again, each time another query with other examples: the engine takes it for a run of one query,
 * or of as many as it answers at a time. */
#include <stdlib.h>

#include "cli/run/run.h"

bool run_ask_open(run_job *r, int each, ts_error *err)
{
    return run_ask_open_batch(r, each, 1, err);
}

bool run_ask_open_batch(run_job *r, int each, int queries, ts_error *err)
{
    const size_t room = (size_t)queries;
    r->examples.items = calloc((size_t)each * 2, sizeof *r->examples.items);
    r->sizes = calloc(room, sizeof *r->sizes);
    r->jobs.query = calloc(room, sizeof *r->jobs.query);
    r->jobs.answer = calloc(room, sizeof *r->jobs.answer);
    if (!r->examples.items || !r->sizes || !r->jobs.query || !r->jobs.answer) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    r->examples.count = 2 * each;
    for (size_t i = 0; i < room; i++) r->jobs.answer[i] = r->nobody;
    r->jobs.count = r->engine->batch ? queries : 1;
    r->jobs.each = 1;
    return r->engine->open(r, err);
}

bool run_ask_example(run_job *r, int k, const eval_pair *pair, const ts_image *in, const ts_image *out, ts_error *err)
{
    r->examples.items[2 * k] = pair->input;
    r->examples.items[2 * k + 1] = pair->target;
    run_see_output(r, k, out);
    return r->engine->example(r, k, false, in, err) && r->engine->example(r, k, true, out, err);
}

bool run_ask_query(run_job *r, const char *path, const ts_image *picture, ts_error *err)
{
    return run_ask_query_at(r, 0, path, picture, err);
}

bool run_ask_query_at(run_job *r, int at, const char *path, const ts_image *picture, ts_error *err)
{
    r->jobs.query[at] = (char *)(uintptr_t)path; /* looked at alone */
    r->sizes[at].width = picture->width;
    r->sizes[at].height = picture->height;
    return r->engine->query(r, at, picture, err);
}

void run_ask_close(run_job *r)
{
    r->jobs.count = 0; /* those that the engine was told of have no names to free */
}
