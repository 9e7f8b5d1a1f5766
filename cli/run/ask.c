/* ask.c - a model asked again and again, each time another query with other examples: the engine takes it for a run of one query.
 */
#include <stdlib.h>

#include "cli/run/run.h"

bool run_ask_open(run_job *r, int each, ts_error *err)
{
    r->examples.items = calloc((size_t)each * 2, sizeof *r->examples.items);
    r->sizes = calloc(1, sizeof *r->sizes);
    r->jobs.query = calloc(1, sizeof *r->jobs.query);
    r->jobs.answer = calloc(1, sizeof *r->jobs.answer);
    if (!r->examples.items || !r->sizes || !r->jobs.query || !r->jobs.answer) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    r->examples.count = 2 * each;
    r->jobs.answer[0] = r->nobody;
    r->jobs.count = 1;
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
    r->jobs.query[0] = (char *)(uintptr_t)path; /* looked at alone */
    r->sizes[0].width = picture->width;
    r->sizes[0].height = picture->height;
    return r->engine->query(r, 0, picture, err);
}

void run_ask_close(run_job *r)
{
    r->jobs.count = 0; /* the one that the engine was told of has no names to free */
}
