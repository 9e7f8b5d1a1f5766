/* painter.c - the engine of Painter and SegGPT: every example in one batch, and the query's answer painted in pixels. Queries may
 * be the frames of a film, each answered by those before it as well. */
#include "painter/painter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/run.h"

typedef struct {
    ts_painter_config config;
    ts_painter_options options;
    ts_image examples[2 * RUN_PAIRS]; /* at the size that they have on a canvas; and so are the queries */
    ts_image *queries;
    int count; /* of those */
    ts_painter *painter;
    ts_painter_film *film;
    double paint_ms;
} painter_run;

static bool given(const run_job *r, const char *option)
{
    bool is = false;
    for (int i = 0; i < r->given.count; i++) is = is || strcmp(r->given.items[i], option) == 0;
    return is;
}

static bool open(run_job *r, ts_error *err)
{
    painter_run *m = r->own = calloc(1, sizeof *m);
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!ts_painter_config_read(r->weights, &m->config, err)) return false;
    m->options = (ts_painter_options){(ts_painter_kind)r->painter.kind, r->painter.size ? r->painter.size : m->config.side};
    if (!m->config.segments && given(r, "kind"))
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "--kind is for a SegGPT, and %s is a Painter, which sees what to do from the example", r->model);
    const int pairs = r->examples.count / 2;
    if (pairs + r->painter.follow > TS_PAINTER_MAX_EXAMPLES)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d example pairs and %d frames to follow are too many: up to %d together", pairs,
                       r->painter.follow, TS_PAINTER_MAX_EXAMPLES);
    return ts_painter_check_side(&m->config, m->options.side, err);
}

static bool example(run_job *r, int pair, bool output, const ts_image *picture, ts_error *err)
{
    painter_run *m = r->own;
    ts_image *sized = &m->examples[2 * pair + output];
    const int side = m->options.side;
    ts_image_clear(sized);
    return ts_image_resize(picture, side, side, output ? TS_RESIZE_NEAREST : TS_RESIZE_BICUBIC, sized, err);
}

static bool query(run_job *r, int at, const ts_image *picture, ts_error *err)
{
    painter_run *m = r->own;
    if (!m->queries) {
        m->queries = calloc((size_t)r->jobs.count, sizeof *m->queries);
        if (!m->queries) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        m->count = r->jobs.count;
    }
    ts_image_clear(&m->queries[at]); /* of a query before this one */
    return ts_image_resize(picture, m->options.side, m->options.side, TS_RESIZE_BICUBIC, &m->queries[at], err);
}

static bool start(run_job *r, ts_error *err)
{
    painter_run *m = r->own;
    ts_painter_ms ms = {0};
    m->painter = ts_painter_new(r->dev, r->weights, err);
    m->film = m->painter ? ts_painter_film_new(m->painter, r->painter.follow, err) : NULL;
    if (!m->film || !ts_painter_prepare(m->painter, r->examples.count / 2, &m->options, &ms, err)) return false;
    r->load_ms += ms.load;
    return true;
}

static bool answer(run_job *r, int first, int count, ts_image *answers, ts_error *err)
{
    painter_run *m = r->own;
    ts_painter_pair pairs[RUN_PAIRS];
    for (int i = 0; i < r->examples.count / 2; i++) pairs[i] = (ts_painter_pair){&m->examples[2 * i], &m->examples[2 * i + 1]};
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        ts_painted painted = {0};
        ts_painter_ms ms = {0};
        const int side = m->options.side, at = first + i;
        ok = ts_painter_film_next(m->film, pairs, r->examples.count / 2, &m->queries[at], &m->options, &painted, &ms, err);
        ok = ok && ts_painted_picture(&painted, r->cell ? side : r->sizes[at].width, r->cell ? side : r->sizes[at].height,
                                      (ts_painted_filter)r->painter.fit, &answers[i], err);
        ts_painted_clear(&painted);
        ts_image_clear(&m->queries[at]);
        r->load_ms += ms.load; /* a film's first frames have fewer before them, and plans of their own */
        m->paint_ms = ms.paint;
        if (ok) ts_say_stage(&r->common, "painted: %.1f ms", ms.paint);
    }
    return ok;
}

static bool report(const run_job *r, int at, cJSON *item, cJSON *ms)
{
    const painter_run *m = r->own;
    const int followed = at < r->painter.follow ? at : r->painter.follow;
    if (m->config.segments)
        cJSON_AddStringToObject(item, "kind", m->options.kind == TS_PAINTER_SEMANTIC ? "semantic" : "instance");
    cJSON_AddNumberToObject(item, "size", m->options.side);
    const int examples = r->examples.count / 2 + followed;
    cJSON_AddNumberToObject(item, "examples", examples);
    return cJSON_AddNumberToObject(ms, "paint", round(m->paint_ms * 1e3) * 1e-3) != NULL;
}

static void clear(run_job *r)
{
    painter_run *m = r->own;
    ts_painter_film_free(m->film);
    ts_painter_free(m->painter);
    for (int i = 0; i < 2 * RUN_PAIRS; i++) ts_image_clear(&m->examples[i]);
    for (int i = 0; m->queries && i < m->count; i++) ts_image_clear(&m->queries[i]);
    free(m->queries);
    free(m);
}

const run_engine run_engine_painter = {
    .snaps = true,
    .options = " kind follow size fit cell ",
    .open = open,
    .example = example,
    .query = query,
    .start = start,
    .answer = answer,
    .report = report,
    .clear = clear,
};
