/* synthetic.c - `tessera eval synthetic`: a model measured on the paper's six synthetic tasks and on three tasks over scenes that
 * training never draws. Beside each figure stands what two copiers would get, because some tasks are half solved by copying, and
 * what is left of the right answer after the model's VQGAN has coded it: no answer of one code a place is better. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/eval.h"
#include "mae/mae.h"
#include "vqgan/vqgan.h"

static const char name[] = "eval synthetic";

enum { METRICS = 6, WHO = 4 };
static const char *const metric_names[METRICS] = {"iou", "iou_blind", "accuracy", "shape", "mse", "mse_cover"};
static const char *const who_names[WHO] = {"model", "copy_query", "copy_example", "right_codes"};

typedef struct {
    ts_common common;
    const char *model, *vqgan, *sheet;
    char default_model[4096];
    int heads, decoder_heads, trials, examples, per_canvas, fused, batch, shown, views;
    int steps;
    double guide;
    double blend; /* below zero until the model is open: what its file says */
    bool keep_codes;
    /* the work */
    ts_device *dev;
    ts_weights *weights, *vqgan_weights;
    ts_inpainter *inpainter;
    ts_vqgan_coder *coder;
    int coded;       /* pixels a side of what the VQGAN paints: it may differ from the canvas */
    int32_t *codes;  /* of a batch of canvases, (batch, side^2) */
    uint8_t *pixels; /* (batch, canvas, canvas, 3), with the right answers */
    float *painted;  /* (batch, coded, coded, 3), what the VQGAN makes of them */
    ts_grid grid;
    double sum[TS_TRIALS][WHO][METRICS];
    ts_image contact;
} eval;

static const char NOTE[] =
    "The six tasks of figures and their metrics are the published ones, but for this: shape is the share of answers whose blob "
    "the published\n"
    "test takes for the shape that the task asks for, where the published code prints the share that it takes for squares.\n";

static int parse(eval *v, int argc, char **argv)
{
    const ts_option options[] = {
        {'m', "model", "FILE", TS_OPT_TEXT, &v->model, 0, 0,
         "an MAE-VQGAN: safetensors or a PyTorch checkpoint; the default model"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &v->vqgan, 0, 0, "the VQGAN, where the model's file holds none"},
        {0, "heads", "N", TS_OPT_INT, &v->heads, 1, 65536, "attention heads of the encoder, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &v->decoder_heads, 1, 65536, "attention heads of the decoder, likewise"},
        {'n', "trials", "N", TS_OPT_INT, &v->trials, 1, 1000000, "trials of each task; 100"},
        {0, "examples", "N", TS_OPT_INT, &v->examples, 1, TS_GRID_MAX_EXAMPLES, "example pairs of a trial; 2"},
        {0, "per-canvas", "N", TS_OPT_INT, &v->per_canvas, 1, TS_GRID_MAX_EXAMPLES,
         "pairs on a canvas: more go on further canvases, as in run; as the model's file says, or all"},
        {0, "batch", "N", TS_OPT_INT, &v->batch, 1, 4096, "canvases in one run of the model; 8"},
        {0, "blend", "T", TS_OPT_REAL, &v->blend, 0, TS_MAE_MAX_BLEND,
         "paint the mean of all codes by softmax(logits / T); 0: one code a place; what the model's file says, else 0"},
        {0, "views", "N", TS_OPT_INT, &v->views, 1, TS_GRID_VIEWS,
         "turned and recoloured canvases of each, of whose answers the median is taken; what the model's file says, else 1"},
        {0, "guide", "W", TS_OPT_REAL, &v->guide, 0.001, TS_INPAINT_GUIDE,
         "guidance by the examples, as in run; 1, the default: none"},
        {0, "steps", "T", TS_OPT_INT, &v->steps, 1, TS_INPAINT_STEPS, "steps that an answer is painted in, as in run; 1"},
        {0, "keep-codes", NULL, TS_OPT_FLAG, &v->keep_codes, 0, 0, "visible places keep the canvas's own codes"},
        {0, "sheet", "FILE", TS_OPT_TEXT, &v->sheet, 0, 0,
         "a contact sheet (.png): canvases with the model's answers, a task a row"},
        {0, "shown", "N", TS_OPT_INT, &v->shown, 1, 64, "canvases of a task on the sheet; 6"},
    };
    return ts_options_parse(&(ts_command){.name = name,
                                          .usage = "[--model FILE] [options]",
                                          .summary = "measures a model on tasks with known answers",
                                          .note = NOTE,
                                          .example = "  tessera eval synthetic --model model.safetensors --sheet sheet.png\n"
                                                     "  tessera eval synthetic --model model.safetensors --trials 20 --json\n",
                                          .options = options,
                                          .count = sizeof options / sizeof *options,
                                          .common = &v->common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
                            argc, argv);
}

static size_t canvas_bytes(const eval *v)
{
    return (size_t)v->grid.desc.canvas * (size_t)v->grid.desc.canvas * 3;
}

static bool open_coder(eval *v, ts_error *err)
{
    const int side = ts_inpainter_mae(v->inpainter)->side;
    v->coder = ts_vqgan_coder_new(v->dev, v->vqgan_weights ? v->vqgan_weights : v->weights, v->batch, side, err);
    if (!v->coder) return false;
    v->coded = side * ts_vqgan_coder_config(v->coder)->factor;
    const size_t batch = (size_t)v->batch;
    v->codes = malloc(batch * (size_t)side * (size_t)side * sizeof *v->codes);
    v->pixels = calloc(batch, canvas_bytes(v));
    v->painted = malloc(batch * (size_t)v->coded * (size_t)v->coded * 3 * sizeof *v->painted);
    return (v->codes && v->pixels && v->painted) || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d canvases", v->batch);
}

static bool open_model(eval *v, ts_error *err)
{
    if (!v->model && !ts_default_model(v->default_model, sizeof v->default_model, err)) return false;
    if (!v->model) v->model = v->default_model;
    if (!ts_check_model(v->model, "model", TS_KIND_MAE_VQGAN, err) ||
        (v->vqgan && !ts_check_model(v->vqgan, "VQGAN", TS_KIND_VQGAN, err)))
        return false;
    if (!(v->weights = ts_open_weights(v->model, v->common.quiet, err))) return false;
    if (v->vqgan && !(v->vqgan_weights = ts_open_weights(v->vqgan, v->common.quiet, err))) return false;
    if (!(v->dev = ts_open_device(&v->common, false, err))) return false;
    v->inpainter = ts_inpainter_new(v->dev,
                                    &(ts_inpainter_desc){.weights = v->weights,
                                                         .vqgan_weights = v->vqgan_weights,
                                                         .heads = v->heads,
                                                         .decoder_heads = v->decoder_heads,
                                                         .batch = v->batch},
                                    err);
    if (!v->inpainter) return false;
    const ts_mae_config *c = ts_inpainter_mae(v->inpainter);
    if (v->blend < 0) v->blend = c->blend;
    if (!v->views) v->views = c->views ? c->views : 1;
    if (!v->per_canvas) v->per_canvas = ts_mae_pairs_on_canvas(c, v->examples);
    const ts_grid_desc desc = {.canvas = c->side * c->patch, .patch = c->patch, .examples = v->per_canvas};
    if (!ts_grid_plan(&desc, &v->grid, err)) return false;
    if (v->model == v->default_model) ts_note_default(&v->common, v->model, v->grid.hole.width, v->grid.hole.height);
    v->fused = ts_grid_canvases(&v->grid, v->examples);
    return open_coder(v, err) && (!v->sheet || ts_check_writable(v->sheet, err));
}

static void add_score(double sum[METRICS], const ts_score *s)
{
    const double values[METRICS] = {s->iou, s->iou_blind, s->accuracy, s->shape, s->mse, s->mse_cover};
    for (int i = 0; i < METRICS; i++) sum[i] += values[i];
}

/* The canvas with the right answer in its hole. */
static bool complete(const eval *v, const ts_trial *trial, const ts_image *canvas, uint8_t *out, ts_error *err)
{
    const ts_cell *hole = &v->grid.hole;
    ts_image answer = {0}, whole = {.width = canvas->width, .height = canvas->height, .data = out};
    if (!ts_image_resize(&trial->answer, hole->width, hole->height, v->grid.desc.filter, &answer, err)) return false;
    memcpy(out, canvas->data, canvas_bytes(v));
    ts_sheet_put(&whole, &answer, hole->x, hole->y);
    ts_image_clear(&answer);
    return true;
}

/* Codes the batch's canvases with their right answers, and paints them again. */
static bool paint_right_codes(eval *v, const ts_trial *trials, const ts_image *canvases, int count, ts_error *err)
{
    for (int i = 0; i < count; i++)
        if (!complete(v, &trials[i], &canvases[(size_t)i * (size_t)v->fused], v->pixels + (size_t)i * canvas_bytes(v), err))
            return false;
    return ts_vqgan_coder_encode(v->coder, v->pixels, v->grid.desc.canvas, v->codes, err) &&
           ts_vqgan_coder_decode(v->coder, v->codes, v->painted, err);
}

static bool score_right_codes(const eval *v, int at, const ts_trial *trial, ts_score *out, ts_error *err)
{
    const int canvas = v->grid.desc.canvas;
    ts_image painted, resized = {0}, answer = {0};
    if (!ts_image_new(v->coded, v->coded, &painted, err)) return false;
    const size_t values = (size_t)v->coded * (size_t)v->coded * 3;
    for (size_t i = 0; i < values; i++) painted.data[i] = (uint8_t)(v->painted[(size_t)at * values + i] * 255);
    const bool ok = ts_image_resize(&painted, canvas, canvas, v->grid.desc.filter, &resized, err) &&
                    ts_grid_answer(&v->grid, &resized, 0, 0, &answer, err) &&
                    ts_trial_score(trial, &answer, v->grid.desc.filter, out, err);
    ts_image_clear(&painted);
    ts_image_clear(&resized);
    ts_image_clear(&answer);
    return ok;
}

/* The answer of one trial, `place` in its batch, scored, and its place on the sheet. */
static bool take(eval *v, ts_trial_kind kind, int at, int place, const ts_trial *trial, const ts_inpainted *result, ts_error *err)
{
    const ts_resize_filter filter = v->grid.desc.filter;
    const ts_cell *hole = &v->grid.hole;
    ts_image answer = {0};
    ts_score score[WHO];
    bool ok = ts_grid_answer(&v->grid, &result->pasted, 0, 0, &answer, err) &&
              ts_trial_score(trial, &answer, filter, &score[0], err) &&
              ts_trial_baseline(trial, TS_BASELINE_QUERY, hole->width, hole->height, filter, &score[1], err) &&
              ts_trial_baseline(trial, TS_BASELINE_EXAMPLE, hole->width, hole->height, filter, &score[2], err) &&
              score_right_codes(v, place, trial, &score[3], err);
    for (int who = 0; ok && who < WHO; who++) add_score(v->sum[kind][who], &score[who]);
    const int step = v->grid.desc.canvas + 4;
    if (ok && v->contact.data && at < v->shown) ts_sheet_put(&v->contact, &result->pasted, at * step + 2, (int)kind * step + 2);
    ts_image_clear(&answer);
    return ok;
}

static bool run_batch(eval *v, ts_trial_kind kind, int first, int count, ts_error *err)
{
    ts_trial *trials = calloc((size_t)count, sizeof *trials);
    ts_image *canvases = calloc((size_t)count * (size_t)v->fused, sizeof *canvases);
    ts_inpainted *results = calloc((size_t)count, sizeof *results);
    bool ok = (trials && canvases && results) || ts_fail(err, TS_ERR_MEMORY, "out of memory for %d trials", count);
    for (int i = 0; ok && i < count; i++) {
        ts_example examples[TS_GRID_MAX_EXAMPLES];
        ok = ts_trial_draw(kind, v->common.seed, first + i, v->examples, &trials[i], err);
        for (int k = 0; ok && k < v->examples; k++) examples[k] = (ts_example){&trials[i].input[k], &trials[i].output[k]};
        ok = ok &&
             ts_grid_compose_all(&v->grid, examples, v->examples, &trials[i].query, canvases + (size_t)i * (size_t)v->fused, err);
    }
    const ts_inpaint_options how = {.blend = v->blend,
                                    .keep_visible_codes = v->keep_codes,
                                    .fused = v->fused,
                                    .views = v->views,
                                    .seed = v->common.seed,
                                    .guide = v->guide,
                                    .steps = v->steps};
    ok = ok && ts_inpainter_run(v->inpainter, &v->grid, canvases, count, &how, results, NULL, err) &&
         paint_right_codes(v, trials, canvases, count, err);
    for (int i = 0; ok && i < count; i++) ok = take(v, kind, first + i, i, &trials[i], &results[i], err);
    for (int i = 0; i < count; i++) {
        if (trials) ts_trial_clear(&trials[i]);
        if (results) ts_inpainted_clear(&results[i]);
    }
    for (int64_t i = 0; canvases && i < (int64_t)count * v->fused; i++) ts_image_clear(&canvases[i]);
    free(trials);
    free(canvases);
    free(results);
    return ok;
}

static bool measure(eval *v, ts_error *err)
{
    ts_progress progress;
    bool ok = true;
    if (v->sheet) {
        const int step = v->grid.desc.canvas + 4;
        ok = ts_image_new(v->shown * step, TS_TRIALS * step, &v->contact, err);
    }
    ts_progress_begin(&progress, "trials", (int64_t)TS_TRIALS * v->trials, v->common.quiet);
    for (int kind = 0; ok && kind < TS_TRIALS; kind++)
        for (int at = 0; ok && at < v->trials; at += v->batch) {
            const int count = v->trials - at < v->batch ? v->trials - at : v->batch;
            ok = run_batch(v, (ts_trial_kind)kind, at, count, err);
            ts_progress_step(&progress, (int64_t)kind * v->trials + at + count);
        }
    ts_progress_end(&progress);
    for (int kind = 0; kind < TS_TRIALS; kind++)
        for (int who = 0; who < WHO; who++)
            for (int m = 0; m < METRICS; m++) v->sum[kind][who][m] /= v->trials;
    return ok && (!v->sheet || ts_image_save(v->sheet, &v->contact, err));
}

/* Which metrics a kind has: pictures are compared by error, the others by palette, and shape where a circle becomes a square or
 * not. */
static bool has_metric(ts_trial_kind kind, int metric)
{
    const bool picture = kind == TS_TRIAL_COLOURISE || kind == TS_TRIAL_FILL_IN;
    if (metric == 5) return kind == TS_TRIAL_FILL_IN;
    if (metric == 4) return picture;
    if (metric == 3) return kind <= TS_TRIAL_SIZE_SHAPE;
    return !picture;
}

static bool print_table(const eval *v, ts_error *err)
{
    printf("%d trials a task, %d examples, %d on a canvas, seed %llu, canvas %d, blend %g, %d views, guidance %g, %d step%s\n",
           v->trials, v->examples, v->per_canvas, (unsigned long long)v->common.seed, v->grid.desc.canvas, v->blend, v->views,
           v->guide, v->steps, v->steps == 1 ? "" : "s");
    printf("%-13s %-13s", "task", "");
    for (int m = 0; m < METRICS; m++) printf(" %9s", metric_names[m]);
    printf("\n");
    for (int kind = 0; kind < TS_TRIALS; kind++)
        for (int who = 0; who < WHO; who++) {
            printf("%-13s %-13s", who ? "" : ts_trial_name((ts_trial_kind)kind), who_names[who]);
            for (int m = 0; m < METRICS; m++) {
                if (has_metric((ts_trial_kind)kind, m)) printf(" %9.3f", v->sum[kind][who][m]);
                else printf(" %9s", "-");
            }
            printf("\n");
        }
    return ts_flush_output(err);
}

static bool add_kind(const eval *v, ts_trial_kind kind, cJSON *tasks)
{
    cJSON *task = cJSON_AddObjectToObject(tasks, ts_trial_name(kind));
    for (int who = 0; task && who < WHO; who++) {
        cJSON *scores = cJSON_AddObjectToObject(task, who_names[who]);
        if (!scores) return false;
        for (int m = 0; m < METRICS; m++)
            if (has_metric(kind, m) && !cJSON_AddNumberToObject(scores, metric_names[m], v->sum[kind][who][m])) return false;
    }
    return task != NULL;
}

static bool print_report(const eval *v, ts_error *err)
{
    cJSON *all = cJSON_CreateObject();
    cJSON *tasks = all && cJSON_AddStringToObject(all, "model", v->model) && cJSON_AddNumberToObject(all, "trials", v->trials) &&
                           cJSON_AddNumberToObject(all, "examples", v->examples) &&
                           cJSON_AddNumberToObject(all, "per_canvas", v->per_canvas) &&
                           cJSON_AddNumberToObject(all, "seed", (double)v->common.seed) &&
                           cJSON_AddNumberToObject(all, "canvas", v->grid.desc.canvas) &&
                           cJSON_AddNumberToObject(all, "blend", v->blend) && cJSON_AddNumberToObject(all, "views", v->views) &&
                           cJSON_AddNumberToObject(all, "guide", v->guide) && cJSON_AddNumberToObject(all, "steps", v->steps) &&
                           cJSON_AddStringToObject(all, "device", ts_device_about(v->dev)->name)
                       ? cJSON_AddObjectToObject(all, "tasks")
                       : NULL;
    bool ok = tasks != NULL;
    for (int kind = 0; ok && kind < TS_TRIALS; kind++) ok = add_kind(v, (ts_trial_kind)kind, tasks);
    if (!ok) {
        cJSON_Delete(all);
        all = NULL;
    }
    return ts_print_json(all, err);
}

static void eval_clear(eval *v)
{
    ts_inpainter_free(v->inpainter);
    ts_vqgan_coder_free(v->coder);
    free(v->codes);
    free(v->pixels);
    free(v->painted);
    ts_device_free(v->dev);
    ts_weights_free(v->vqgan_weights);
    ts_weights_free(v->weights);
    ts_image_clear(&v->contact);
}

static int run(eval *v)
{
    ts_error err = {0};
    if (!open_model(v, &err)) return ts_report(name, &err);
    ts_announce_device(&v->common, v->dev);
    ts_say_stage(&v->common, "model loaded");
    if (!measure(v, &err)) return ts_report(name, &err);
    ts_say_stage(&v->common, "measured");
    if (!(v->common.json ? print_report(v, &err) : print_table(v, &err))) return ts_report(name, &err);
    return TS_EXIT_DONE;
}

int ts_eval_synthetic(int argc, char **argv)
{
    eval v = {.trials = 100, .examples = 2, .batch = 8, .shown = 6, .blend = -1, .guide = 1, .steps = 1};
    int status = parse(&v, argc, argv);
    if (status < 0 && v.sheet && !ts_image_writable(v.sheet))
        status = ts_usage_error(name, "--sheet %s: the name must end in %s", v.sheet, ts_image_endings());
    if (status < 0) status = run(&v);
    eval_clear(&v);
    return status;
}
