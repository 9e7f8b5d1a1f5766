/* strokes.c - the engine of models of pixels (strokes/): one from a file, which has learned already and wants no examples, or
 * with
 * --model pixels one that is learned from the examples, whose outputs are masks or pictures of segments. */
#include <math.h>
#include <stdlib.h>

#include "cli/run/run.h"
#include "strokes/strokes.h"

typedef struct {
    ts_image picture[RUN_PAIRS], output[RUN_PAIRS]; /* the examples, until they are learned from */
    ts_image standard;                              /* the query that was standard input */
    ts_weights *features;
    ts_strokes *model;
    ts_strokes_fit fit;
    double ms; /* of the last answer */
} strokes_run;

static bool replace(const ts_image *from, ts_image *to, ts_error *err)
{
    ts_image_clear(to);
    return ts_image_copy(from, to, err);
}

static bool open(run_job *r, ts_error *err)
{
    r->own = calloc(1, sizeof(strokes_run));
    strokes_run *m = r->own;
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (r->weights) {
        ts_strokes_info info;
        if (!ts_strokes_about(r->weights, &info, err)) return false;
        if (r->examples.count || r->lookup.folder)
            return ts_fail(err, TS_ERR_ARGUMENT,
                           "%s has learned what to do from strokes, and takes no examples (tessera strokes "
                           "eval measures it)",
                           r->model);
        if (r->strokes.hidden >= 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "--units is of what is learned, and %s has learned already", r->model);
        r->colours = ts_strokes_palette(&info.colours);
    }
    return !r->matching.features || (m->features = ts_open_weights(r->matching.features, r->common.quiet, err));
}

static bool example(run_job *r, int pair, bool output, const ts_image *picture, ts_error *err)
{
    strokes_run *m = r->own;
    ts_strokes_free(m->model); /* these take the place of those before */
    m->model = NULL;
    return replace(picture, output ? &m->output[pair] : &m->picture[pair], err);
}

/* Queries are read again when it is their turn: as they are, many are more than memory holds. */
static bool query(run_job *r, int at, const ts_image *picture, ts_error *err)
{
    strokes_run *m = r->own;
    return !ts_is_standard(r->jobs.query[at]) || replace(picture, &m->standard, err);
}

/* ---- learning ---- */

static bool describe(const run_job *r, ts_strokes_desc *desc, ts_error *err)
{
    const strokes_run *m = r->own;
    const ts_palette *p = &r->colours;
    *desc = (ts_strokes_desc){
        .classes = p->count,
        .ground = ts_palette_background(p),
        .hidden = r->strokes.hidden == 0  ? -1
                  : r->strokes.hidden < 0 ? 0
                                          : r->strokes.hidden,
        .seed = r->common.seed,
        .features = m->features,
        .told = {.heads = r->mae.heads, .text_heads = r->matching.text_heads, .activation = r->matching.activation}};
    if (r->many_colours || p->count < 2 || p->count > TS_STROKES_CLASSES)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "--model pixels learns from masks and pictures of segments: the examples' outputs must have 2 to %d "
                       "colours together, these have %s",
                       TS_STROKES_CLASSES, p->count == 1 ? "one" : "more");
    for (int i = 0; i < p->count; i++)
        for (int c = 0; c < 3; c++) desc->colour[i][c] = p->colour[i][c];
    return true;
}

static bool show(strokes_run *m, int pair, ts_error *err)
{
    const ts_image *picture = &m->picture[pair];
    ts_image output = {0};
    ts_labels labels = {0};
    const bool ok = ts_image_resize(&m->output[pair], picture->width, picture->height, TS_RESIZE_NEAREST, &output, err) &&
                    ts_labels_of_image(&output, ts_strokes_colours_of(m->model), &labels, err) &&
                    ts_strokes_picture(m->model, picture, err) && ts_strokes_label(m->model, &labels, err);
    ts_image_clear(&output);
    ts_labels_clear(&labels);
    return ok;
}

static bool learn(run_job *r, ts_error *err)
{
    strokes_run *m = r->own;
    ts_strokes_desc desc;
    if (!describe(r, &desc, err) || !(m->model = ts_strokes_new(r->dev, &desc, err))) return false;
    bool ok = true;
    for (int i = 0; ok && i < r->examples.count / 2; i++) ok = show(m, i, err);
    return ok && ts_strokes_train(m->model, &m->fit, err);
}

static bool make(run_job *r, ts_error *err)
{
    strokes_run *m = r->own;
    const ts_clip_told told = {.heads = r->mae.heads, .text_heads = r->matching.text_heads, .activation = r->matching.activation};
    const double began = ts_now_ms();
    if (r->weights) m->model = ts_strokes_open(r->dev, r->weights, m->features, &told, err);
    const bool ok = r->weights ? m->model != NULL : learn(r, err);
    r->load_ms += ts_now_ms() - began;
    return ok;
}

/* ---- answers ---- */

static bool answer(run_job *r, int first, int count, ts_image *answers, ts_error *err)
{
    strokes_run *m = r->own;
    const char *path = r->jobs.query[first];
    (void)count;
    ts_image again = {0};
    ts_labels labels = {0};
    const bool standard = ts_is_standard(path);
    bool ok = (standard || ts_load_picture(path, &again, err)) && (m->model || make(r, err));
    const double began = ts_now_ms();
    const ts_image *picture = standard ? &m->standard : &again;
    if (ok && (picture->width != r->sizes[first].width || picture->height != r->sizes[first].height))
        ok = ts_fail(err, TS_ERR_IO, "%s has changed since it was read", path);
    ok = ok && ts_strokes_picture(m->model, picture, err) &&
         ts_strokes_classify(m->model, r->strokes.smooth, &labels, NULL, err) &&
         ts_labels_image(&labels, ts_strokes_colours_of(m->model), answers, err);
    m->ms = ts_now_ms() - began;
    ts_labels_clear(&labels);
    ts_image_clear(&again);
    return ok;
}

static bool report(const run_job *r, int at, cJSON *item, cJSON *ms)
{
    const strokes_run *m = r->own;
    (void)at;
    return cJSON_AddStringToObject(item, "method", "pixels") &&
           cJSON_AddNumberToObject(item, "classes", ts_strokes_colours_of(m->model)->classes) &&
           (r->weights || cJSON_AddNumberToObject(item, "learned", m->fit.accuracy)) &&
           cJSON_AddNumberToObject(ms, "classify", round(m->ms * 1e3) * 1e-3);
}

static void clear(run_job *r)
{
    strokes_run *m = r->own;
    for (int i = 0; i < RUN_PAIRS; i++) {
        ts_image_clear(&m->picture[i]);
        ts_image_clear(&m->output[i]);
    }
    ts_image_clear(&m->standard);
    ts_strokes_free(m->model);
    ts_weights_free(m->features);
    free(m);
}

const run_engine run_engine_strokes = {
    .snaps = true,
    .options = " units smooth features heads text-heads activation ",
    .open = open,
    .example = example,
    .query = query,
    .start = make,
    .answer = answer,
    .report = report,
    .clear = clear,
};
