/* mae.c - the engine of MAE-VQGANs: the pairs and the query go on a canvas with one cell empty, or on several, and the model
 * paints that cell. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/run.h"
#include "mae/prompt/prompt.h"

enum { BATCH_GPU = 8, BATCH_CPU = 1 };

typedef struct {
    ts_weights *vqgan;
    ts_mae_config config;
    ts_weights *prompt_file; /* a border or a fusion; NULL: neither */
    ts_mae_prompt_info about_prompt;
    ts_mae_prompt *prompt;
    ts_weights *task_file; /* of a task, which answers without examples; NULL: there is none */
    ts_task *task;
    ts_task_runner *task_runner;
    ts_predictor by_task;
    ts_grid grids[TS_GRID_ARRANGEMENTS]; /* one, but for an ensemble */
    int arrangements;
    int fused;                     /* canvases of a query in an arrangement */
    ts_image cells[2 * RUN_PAIRS]; /* the examples, at cell size */
    ts_image *canvases;            /* `fused` for each arrangement, of each query */
    int queries;                   /* for which there are canvases */
    ts_inpainter *inpainter;
    ts_inpaint_options options;
    ts_inpainted *results; /* of the last batch, which began with query `first` */
    int first, count;
    ts_inpaint_ms ms; /* of one query of it */
} mae_run;

/* Canvases of a query. */
static int each(const mae_run *m)
{
    return m->arrangements * m->fused;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static bool was_given(const run_job *r, const char *option)
{
    for (int i = 0; i < r->given.count; i++)
        if (strcmp(r->given.items[i], option) == 0) return true;
    return false;
}

static bool open_prompt(run_job *r, ts_error *err)
{
    mae_run *m = r->own;
    const bool fusion = r->mae.fusion != NULL;
    const char *path = fusion ? r->mae.fusion : r->mae.border;
    if (!path) return true;
    if (!(m->prompt_file = ts_open_weights(path, r->common.quiet, err)) ||
        !ts_mae_prompt_about(m->prompt_file, &m->about_prompt, err))
        return false;
    if (m->about_prompt.is_fusion != fusion)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is a %s: it is given with --%s", path, fusion ? "border" : "fusion",
                       fusion ? "border" : "fusion");
    return ts_mae_prompt_fits(&m->about_prompt, path, &m->config, err);
}

/* What was learned on canvases of one look wants that again, unless another is asked for. */
static void choose_look(run_job *r, ts_grid_desc *desc)
{
    const mae_run *m = r->own;
    if (!m->prompt_file || !m->about_prompt.has_look) return;
    if (!r->mae.background) memcpy(desc->background, m->about_prompt.background, 3);
    if (!was_given(r, "filter")) desc->filter = m->about_prompt.filter;
}

/* Pairs on a canvas. */
static int pairs_of(const run_job *r)
{
    const mae_run *m = r->own;
    if (r->mae.per_canvas) return r->mae.per_canvas;
    return r->mae.fusion ? 1 : ts_mae_pairs_on_canvas(&m->config, r->examples.count / 2);
}

/* The task's file says how its canvases looked, and which colours its answers have. */
static bool open_task(run_job *r, ts_error *err)
{
    mae_run *m = r->own;
    if (!ts_check_readable(r->mae.task, "task", err) || !(m->task_file = ts_weights_open(r->mae.task, err)) ||
        !(m->task = ts_task_open(m->task_file, r->weights, &m->config, err)))
        return false;
    const uint8_t(*colours)[3] = ts_task_colours(m->task);
    if (!colours && (r->mask || r->palette))
        return ts_fail(err, TS_ERR_ARGUMENT, "--%s wants a task whose answers are masks: %s was learned from others",
                       r->mask ? "mask" : "palette", r->mae.task);
    if (colours && r->examples.count == 0) {
        r->colours.count = 2;
        memcpy(r->colours.colour, colours, 2 * sizeof *colours);
        r->colours.border[0] = 1; /* the first is the background */
    }
    return true;
}

/* Where the cells are, and on how many canvases, for the examples and options that there are. */
static bool plan(run_job *r, ts_error *err)
{
    mae_run *m = r->own;
    if (m->task) {
        m->grids[0] = *ts_task_grid(m->task);
        m->arrangements = m->fused = 1;
        return true;
    }
    const int pairs = pairs_of(r);
    const uint8_t *background = r->mae.background_rgb;
    ts_grid_desc desc = {.canvas = m->config.side * m->config.patch,
                         .patch = m->config.patch,
                         .examples = pairs,
                         .side = (ts_side)r->mae.side,
                         .transposed = r->mae.transposed,
                         .background = {background[0], background[1], background[2]},
                         .filter = (ts_resize_filter)r->mae.filter};
    choose_look(r, &desc);
    m->arrangements = r->mae.ensemble >= 0 ? TS_GRID_ARRANGEMENTS : 1;
    for (int i = 0; i < m->arrangements; i++) {
        if (r->mae.arrange || m->arrangements > 1) ts_grid_arrange(&desc, r->mae.arrange ? r->mae.arrange : i + 1);
        if (!ts_grid_plan(&desc, &m->grids[i], err)) return false;
        if (m->prompt_file && !ts_mae_prompt_suits(&m->about_prompt, &m->grids[i], err)) return false;
    }
    m->fused = ts_grid_canvases(&m->grids[0], r->examples.count / 2);
    return true;
}

static bool open(run_job *r, ts_error *err)
{
    r->own = calloc(1, sizeof(mae_run));
    mae_run *m = r->own;
    if (!m) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (r->mae.vqgan && !(m->vqgan = ts_open_weights(r->mae.vqgan, r->common.quiet, err))) return false;
    if (!ts_mae_config_read(r->weights, r->mae.heads, r->mae.decoder_heads, false, &m->config, err) || !open_prompt(r, err) ||
        (r->mae.task && !open_task(r, err)) || !plan(r, err))
        return false;
    const int most = m->config.most_examples, pairs = m->grids[0].desc.examples;
    if (most > 0 && pairs > most && !r->common.quiet)
        ts_say("note: the model has learned canvases of at most %d example pair%s, not of %d", most, most == 1 ? "" : "s", pairs);
    const ts_cell *hole = &m->grids[0].hole;
    if (r->model == r->default_model) ts_note_default(&r->common, r->model, hole->width, hole->height);
    return ts_jobs_canvases(&r->jobs, each(m), &r->inputs, err);
}

static int cell_side(const run_job *r)
{
    const mae_run *m = r->own;
    return m->grids[0].hole.width;
}

/* Brought to the size of a cell once, and not again for every query: composing then takes it as it is. */
static bool example(run_job *r, int pair, bool output, const ts_image *picture, ts_error *err)
{
    mae_run *m = r->own;
    ts_image *cell = &m->cells[2 * pair + output];
    const ts_grid *grid = &m->grids[0];
    ts_image_clear(cell);
    if (m->task) return true;
    return ts_image_resize(picture, grid->hole.width, grid->hole.height, grid->desc.filter, cell, err);
}

static bool query(run_job *r, int at, const ts_image *picture, ts_error *err)
{
    mae_run *m = r->own;
    ts_example examples[RUN_PAIRS];
    const int pairs = r->examples.count / 2;
    for (int i = 0; i < pairs; i++) examples[i] = (ts_example){&m->cells[2 * i], &m->cells[2 * i + 1]};
    if (!m->canvases) {
        m->canvases = calloc((size_t)r->jobs.count * (size_t)each(m), sizeof *m->canvases);
        if (!m->canvases) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        m->queries = r->jobs.count;
    }
    ts_image *canvas = &m->canvases[(size_t)at * (size_t)each(m)];
    bool ok = true;
    for (int i = 0; i < each(m); i++) ts_image_clear(&canvas[i]); /* of a query before this one */
    if (m->task) return ts_grid_compose(&m->grids[0], NULL, picture, canvas, err);
    for (int i = 0; ok && i < m->arrangements; i++, canvas += m->fused)
        ok = ts_grid_compose_all(&m->grids[i], examples, pairs, picture, canvas, err);
    return ok;
}

static int views_of(const run_job *r)
{
    const mae_run *m = r->own;
    if (r->mae.views) return r->mae.views;
    return m->config.views && r->mae.temperature == 0 ? m->config.views : 1;
}

static double guide_of(const run_job *r)
{
    return r->mae.guide > 0 ? r->mae.guide : 1;
}

/* The canvases of a query go through the model as those of several do, and so do its views. */
static int batch(const run_job *r)
{
    const mae_run *m = r->own;
    const int canvases = r->mae.batch ? r->mae.batch : run_on_gpu(r) ? BATCH_GPU : BATCH_CPU;
    const int of_query = views_of(r) * each(m) * (guide_of(r) != 1 ? 2 : 1);
    return r->jobs.count > canvases / of_query ? canvases : r->jobs.count * of_query;
}

static void settle(run_job *r)
{
    mae_run *m = r->own;
    m->options = (ts_inpaint_options){.temperature = r->mae.temperature,
                                      .seed = r->common.seed,
                                      .blend = r->mae.blend >= 0        ? r->mae.blend
                                               : r->mae.temperature > 0 ? 0
                                                                        : m->config.blend,
                                      .keep_visible_codes = r->mae.keep_codes,
                                      .fused = m->fused,
                                      .arrangements = m->arrangements,
                                      .ensemble = (ts_ensemble)(r->mae.ensemble < 0 ? 0 : r->mae.ensemble),
                                      .views = views_of(r),
                                      .guide = guide_of(r),
                                      .steps = r->mae.steps ? r->mae.steps : 1,
                                      .predictor = m->task ? &m->by_task : NULL};
}

static bool start(run_job *r, ts_error *err)
{
    mae_run *m = r->own;
    if (m->prompt_file && !(m->prompt = ts_mae_prompt_open(r->dev, m->prompt_file, &m->config, err))) return false;
    ts_inpainter_desc desc = {.weights = r->weights,
                              .vqgan_weights = m->vqgan,
                              .heads = r->mae.heads,
                              .decoder_heads = r->mae.decoder_heads,
                              .batch = batch(r),
                              .front = ts_mae_prompt_front(m->prompt)};
    m->inpainter = ts_inpainter_new(r->dev, &desc, err);
    if (m->task && m->inpainter) {
        if (!(m->task_runner = ts_task_runner_new(m->inpainter, m->task, false, err))) return false;
        m->by_task = ts_task_predictor(m->task_runner);
    }
    settle(r);
    ts_inpaint_ms ms = {0};
    if (!m->inpainter || !ts_inpainter_prepare(m->inpainter, m->grids, smaller(batch(r), r->jobs.count), &m->options, &ms, err))
        return false;
    r->load_ms += ms.load;
    return true;
}

static void clear_results(mae_run *m)
{
    for (int i = 0; m->results && i < m->count; i++) ts_inpainted_clear(&m->results[i]);
    free(m->results);
    m->results = NULL;
}

static bool answer(run_job *r, int first, int count, ts_image *answers, ts_error *err)
{
    mae_run *m = r->own;
    ts_inpaint_ms ms = {0};
    clear_results(m);
    m->results = calloc((size_t)count, sizeof *m->results);
    if (!m->results) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    m->first = first;
    m->count = count;
    if (!ts_inpainter_run(m->inpainter, m->grids, m->canvases + (size_t)first * (size_t)each(m), count, &m->options, m->results,
                          &ms, err))
        return false;
    ts_say_stage(&r->common, "painted: encoder %.1f ms, autoencoder %.1f ms, decoder %.1f ms", ms.encode, ms.mae, ms.decode);
    /* A batch is one piece of work: each of its queries is told its share, and the whole of the loading. */
    r->load_ms += ms.load;
    m->ms = (ts_inpaint_ms){0, ms.encode / count, ms.mae / count, ms.decode / count};
    bool ok = true;
    for (int i = 0; ok && i < count; i++)
        ok = ts_grid_answer(&m->grids[0], &m->results[i].pasted, r->cell ? 0 : r->sizes[first + i].width,
                            r->cell ? 0 : r->sizes[first + i].height, &answers[i], err);
    return ok;
}

/* What comes of one view, at a fraction of the time; not where all views are one run of the model, which another number of
 * canvases would plan anew. */
static bool preview(run_job *r, int at, ts_image *out, ts_error *err)
{
    mae_run *m = r->own;
    const int views = m->options.views;
    if (views == 1 || batch(r) > 1) return true;
    m->options.views = 1;
    const bool ok = answer(r, at, 1, out, err);
    m->options.views = views;
    return ok;
}

static const ts_image *canvas(const run_job *r, int at, ts_cell *hole)
{
    const mae_run *m = r->own;
    *hole = m->grids[0].hole;
    return &m->canvases[(size_t)at * (size_t)each(m)];
}

/* The first canvas with the right answer in its hole, through the VQGAN. */
static bool ideal(run_job *r, int at, const ts_image *truth, ts_image *out, ts_error *err)
{
    mae_run *m = r->own;
    const ts_grid *grid = &m->grids[0];
    const ts_mae_config *c = ts_inpainter_mae(m->inpainter);
    const int side = c->side * ts_inpainter_vqgan(m->inpainter)->factor;
    ts_image canvas = {0}, cell = {0}, painted = {0};
    int32_t *codes = malloc((size_t)c->side * (size_t)c->side * sizeof *codes);
    float *picture = malloc((size_t)side * (size_t)side * 3 * sizeof *picture);
    bool ok = (codes && picture) || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_image_copy(&m->canvases[(size_t)at * (size_t)each(m)], &canvas, err) &&
         ts_image_resize(truth, grid->hole.width, grid->hole.height, grid->desc.filter, &cell, err);
    if (ok) ts_sheet_put(&canvas, &cell, grid->hole.x, grid->hole.y);
    ok = ok && ts_inpainter_encode(m->inpainter, &canvas, 1, codes, NULL, err) &&
         ts_inpainter_paint(m->inpainter, codes, 1, picture, NULL, err) &&
         ts_inpainter_picture(m->inpainter, picture, &painted, err) &&
         ts_grid_answer(grid, &painted, truth->width, truth->height, out, err);
    ts_image_clear(&canvas);
    ts_image_clear(&cell);
    ts_image_clear(&painted);
    free(codes);
    free(picture);
    return ok;
}

/* The canvases of a query, the answer, which is one, in the hole of each. */
static bool keep(run_job *r, int at, ts_error *err)
{
    mae_run *m = r->own;
    if (!r->jobs.canvas) return true;
    char *const *path = r->jobs.canvas + (size_t)at * (size_t)r->jobs.each;
    const ts_image *pasted = &m->results[at - m->first].pasted;
    ts_image *canvas = &m->canvases[(size_t)at * (size_t)each(m)], cell = {0};
    bool ok =
        ts_image_save(path[0], pasted, err) && (r->jobs.each == 1 || ts_grid_answer(&m->grids[0], pasted, 0, 0, &cell, err));
    for (int k = 1; ok && k < r->jobs.each; k++) {
        const ts_cell *hole = &m->grids[k / m->fused].hole;
        ts_sheet_put(&canvas[k], &cell, hole->x, hole->y);
        ok = ts_image_save(path[k], &canvas[k], err);
    }
    ts_image_clear(&cell);
    return ok;
}

static bool report(const run_job *r, int at, cJSON *item, cJSON *ms)
{
    const mae_run *m = r->own;
    const ts_cell *hole = &m->grids[0].hole;
    const ts_inpainted *result = &m->results[at - m->first];
    char *const *canvas = r->jobs.canvas ? r->jobs.canvas + (size_t)at * (size_t)r->jobs.each : NULL;
    if (canvas) {
        cJSON_AddStringToObject(item, "canvas_file", canvas[0]);
        cJSON_AddItemToObject(item, "canvas_files", cJSON_CreateStringArray((const char *const *)canvas, r->jobs.each));
    }
    cJSON_AddNumberToObject(item, "canvas", m->grids[0].desc.canvas);
    cJSON *box = cJSON_AddObjectToObject(item, "hole");
    cJSON_AddNumberToObject(box, "x", hole->x);
    cJSON_AddNumberToObject(box, "y", hole->y);
    cJSON_AddNumberToObject(box, "width", hole->width);
    cJSON_AddNumberToObject(box, "height", hole->height);
    if (r->mae.border) cJSON_AddStringToObject(item, "border", r->mae.border);
    if (r->mae.fusion) cJSON_AddStringToObject(item, "fusion", r->mae.fusion);
    cJSON_AddNumberToObject(item, "fused", m->fused);
    cJSON_AddNumberToObject(item, "arrangements", m->arrangements);
    cJSON *codes = cJSON_CreateIntArray(result->codes, result->places);
    cJSON_AddItemToObject(item, "codes", codes);
    cJSON_AddNumberToObject(item, "blend", m->options.blend);
    cJSON_AddNumberToObject(item, "views", m->options.views);
    cJSON_AddNumberToObject(item, "guide", m->options.guide);
    cJSON_AddNumberToObject(item, "steps", m->options.steps);
    if (r->mae.task) cJSON_AddStringToObject(item, "task", r->mae.task);
    cJSON_AddNumberToObject(ms, "encode", round(m->ms.encode * 1e3) * 1e-3);
    cJSON_AddNumberToObject(ms, "mae", round(m->ms.mae * 1e3) * 1e-3);
    return cJSON_AddNumberToObject(ms, "decode", round(m->ms.decode * 1e3) * 1e-3) && box && codes;
}

static void clear_pictures(mae_run *m)
{
    clear_results(m);
    for (int i = 0; i < 2 * RUN_PAIRS; i++) ts_image_clear(&m->cells[i]);
    for (int64_t i = 0; m->canvases && i < (int64_t)m->queries * each(m); i++) ts_image_clear(&m->canvases[i]);
    free(m->canvases);
    m->canvases = NULL;
}

static bool again(run_job *r, ts_error *err)
{
    clear_pictures(r->own);
    if (!plan(r, err)) return false;
    settle(r);
    return true;
}

static void clear(run_job *r)
{
    mae_run *m = r->own;
    clear_pictures(m);
    ts_task_runner_free(m->task_runner);
    ts_inpainter_free(m->inpainter);
    ts_mae_prompt_free(m->prompt);
    ts_weights_free(m->prompt_file);
    ts_task_free(m->task);
    ts_weights_free(m->task_file);
    ts_weights_free(m->vqgan);
    free(m);
}

const run_engine run_engine_mae = {
    .options = " vqgan heads decoder-heads canvas per-canvas side transposed arrange ensemble border fusion task guide steps "
               "background filter temperature blend views keep-codes batch cell ",
    .open = open,
    .example = example,
    .query = query,
    .cell = cell_side,
    .batch = batch,
    .start = start,
    .again = again,
    .canvas = canvas,
    .preview = preview,
    .answer = answer,
    .ideal = ideal,
    .keep = keep,
    .report = report,
    .clear = clear,
};
