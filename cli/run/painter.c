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
    ts_image examples[2 * RUN_PAIRS]; /* at the size that they have on a canvas */
    ts_image standard;                /* the query that came by standard input; the others are read again, a film may be long */
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

static bool settle(run_job *r, ts_error *err)
{
    painter_run *m = r->own;
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

static bool open(run_job *r, ts_error *err)
{
    painter_run *m = r->own = calloc(1, sizeof *m);
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!ts_painter_config_read(r->weights, &m->config, err)) return false;
    return settle(r, err);
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
    if (!ts_is_standard(r->jobs.query[at])) return true;
    return ts_image_resize(picture, m->options.side, m->options.side, TS_RESIZE_BICUBIC, &m->standard, err);
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

static bool paint(run_job *r, int at, const ts_image *picture, ts_image *out, ts_error *err)
{
    painter_run *m = r->own;
    const int count = r->examples.count / 2, side = m->options.side;
    ts_painter_pair pairs[RUN_PAIRS];
    for (int i = 0; i < count; i++) pairs[i] = (ts_painter_pair){&m->examples[2 * i], &m->examples[2 * i + 1]};
    ts_painted painted = {0};
    ts_painter_ms ms = {0};
    bool ok = ts_painter_film_next(m->film, pairs, count, picture, &m->options, &painted, &ms, err) &&
              ts_painted_picture(&painted, r->cell ? side : r->sizes[at].width, r->cell ? side : r->sizes[at].height,
                                 (ts_painted_filter)r->painter.fit, out, err);
    ts_painted_clear(&painted);
    r->load_ms += ms.load; /* a film's first frames have fewer before them, and plans of their own */
    m->paint_ms = ms.paint;
    if (ok) ts_say_stage(&r->common, "painted: %.1f ms", ms.paint);
    return ok;
}

static bool answer(run_job *r, int first, int count, ts_image *answers, ts_error *err)
{
    painter_run *m = r->own;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        const char *path = r->jobs.query[first + i];
        ts_image picture = {0};
        if (ts_is_standard(path)) ok = paint(r, first + i, &m->standard, &answers[i], err);
        else ok = ts_load_picture(path, &picture, err) && paint(r, first + i, &picture, &answers[i], err);
        ts_image_clear(&picture);
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
    ts_image_clear(&m->standard);
    free(m);
}

const run_engine run_engine_painter = {
    .snaps = true,
    .options = " kind follow size fit cell ",
    .open = open,
    .example = example,
    .query = query,
    .start = start,
    .again = settle,
    .answer = answer,
    .report = report,
    .clear = clear,
};
