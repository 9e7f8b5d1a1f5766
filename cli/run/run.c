/* run.c - `tessera run`: does to each query what the example pairs show. Everything that can be refused is refused first: the
 * names, the model, every picture, the device. Then the canvases go through the model in batches, and each answer is written as
 * soon as it is there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run/examples.h"
#include "mae/mae.h"

enum { BATCH_GPU = 8, BATCH_CPU = 1, MAX_PAIRS = 64 };

typedef struct {
    ts_common common;
    ts_words examples, queries, more;
    const char *out, *canvas, *model, *vqgan, *background;
    int heads, decoder_heads, side, filter, batch, per_canvas, views;
    bool transposed, keep_codes, cell;
    ts_left_out left_out;
    double temperature, blend; /* the latter below zero: what the model's file says */

    char default_model[4096];
    ts_words inputs; /* every file but the queries */
    ts_jobs jobs;
    ts_weights *weights, *vqgan_weights;
    ts_mae_config config;
    ts_grid grid;
    int fused;                        /* canvases of a query */
    ts_image pictures[2 * MAX_PAIRS]; /* the examples, at cell size */
    ts_example_looks looks;
    ts_image *canvases; /* `fused` of each query */
    struct {
        int width, height;
    } * sizes; /* of the queries */
    ts_device *dev;
    ts_inpainter *inpainter;
    ts_inpaint_options options;
    ts_inpaint_ms load;      /* of the weights and the plan, once a run */
    cJSON *report, *skipped; /* of the queries that were left out */
} run;

static const char EXAMPLE[] =
    "  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -q photo2.jpg -o answer.png\n"
    "  tessera run --model checkpoint-1000.pth -e photo1.jpg mask1.png -e photo3.jpg mask3.png -q photos/ -o answers/\n";

static int parse(run *r, int argc, char **argv)
{
    const ts_option options[] = {
        {'e', "example", "IN OUT", TS_OPT_WORDS, &r->examples, 0, 0, "an example pair; up to 64 times"},
        {'q', "query", "QUERY", TS_OPT_WORDS, &r->queries, 0, 0,
         "a picture to do it to, -, which is standard input, or a folder of pictures; more may follow"},
        {'o', "output", "PATH", TS_OPT_TEXT, &r->out, 0, 0,
         "the answer's file (.png, .jpg, or .webp without loss), or -, standard output; with several queries a folder"},
        {'m', "model", "FILE", TS_OPT_TEXT, &r->model, 0, 0, "an MAE-VQGAN: safetensors or a PyTorch checkpoint"},
        {0, "vqgan", "FILE", TS_OPT_TEXT, &r->vqgan, 0, 0, "the VQGAN, where the model's file holds none"},
        {0, "heads", "N", TS_OPT_INT, &r->heads, 1, 1024, "attention heads of the encoder, where nothing tells them"},
        {0, "decoder-heads", "N", TS_OPT_INT, &r->decoder_heads, 1, 1024, "attention heads of the decoder, likewise"},
        {0, "canvas", "PATH", TS_OPT_TEXT, &r->canvas, 0, 0,
         "keep the whole canvas too: a file or a folder, as for -o; of several the others are NAME-2.png and so on"},
        {0, "per-canvas", "N", TS_OPT_INT, &r->per_canvas, 1, TS_GRID_MAX_EXAMPLES,
         "pairs on a canvas: more go on further canvases, and what each makes of the query is averaged; as the model's file "
         "says, or 7"},
        {0, "side", "right|left", TS_OPT_CHOICE, &r->side, 0, 0, "where the examples' outputs stand; right"},
        {0, "transposed", NULL, TS_OPT_FLAG, &r->transposed, 0, 0, "examples in columns instead of rows"},
        {0, "background", "COLOUR", TS_OPT_TEXT, &r->background, 0, 0, "between the cells: black, white or #rrggbb; black"},
        {0, "filter", "bilinear|bicubic", TS_OPT_CHOICE, &r->filter, 0, 0, "resizes pictures to cells; bilinear"},
        {0, "temperature", "T", TS_OPT_REAL, &r->temperature, 0, 100, "sample the codes; 0, the default: the most likely"},
        {0, "blend", "T", TS_OPT_REAL, &r->blend, 0, TS_MAE_MAX_BLEND,
         "paint the mean of all codes by softmax(logits / T); 0: one code a place; what the model's file says, else 0"},
        {0, "views", "N", TS_OPT_INT, &r->views, 1, TS_GRID_VIEWS,
         "do it to the pictures as they are, mirrored, turned and recoloured, and answer with the median of all N: steadier, N "
         "times the work; what the model's file says, else 1"},
        {0, "keep-codes", NULL, TS_OPT_FLAG, &r->keep_codes, 0, 0, "visible places keep the canvas's own codes"},
        {0, "batch", "N", TS_OPT_INT, &r->batch, 1, 256, "canvases in one run of the model; 8 on a GPU, else 1"},
        {0, "cell", NULL, TS_OPT_FLAG, &r->cell, 0, 0, "the answer at its size on the canvas, not at the query's own"},
        {0, "strict", NULL, TS_OPT_FLAG, &r->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    return ts_options_parse(&(ts_command){.name = "run",
                                          .usage = "-e IN OUT [-e IN OUT ...] -q QUERY [QUERY ...] -o PATH [options]",
                                          .summary = "does to each query what the example pairs show",
                                          .example = EXAMPLE,
                                          .options = options,
                                          .count = sizeof options / sizeof *options,
                                          .rest = &r->more,
                                          .most = 1 << 20,
                                          .rest_name = "query",
                                          .common = &r->common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_PRECISION | TS_TAKES_SEED | TS_TAKES_JSON},
                            argc, argv);
}

static bool parse_colour(const char *text, uint8_t out[3])
{
    unsigned rgb;
    int used = 0;
    if (strcmp(text, "black") == 0) rgb = 0;
    else if (strcmp(text, "white") == 0) rgb = 0xffffff;
    else if (strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6 || sscanf(text, "#%6x%n", &rgb, &used) != 1 ||
             used != 7)
        return false;
    for (int c = 0; c < 3; c++) out[c] = (uint8_t)(rgb >> (16 - 8 * c));
    return true;
}

/* What the options say together. -1, or the exit status. */
static int check_usage(const run *r, uint8_t background[3])
{
    if (r->examples.count == 0) return ts_usage_error("run", "an example pair is missing: -e IN OUT");
    if (r->examples.count > 2 * MAX_PAIRS)
        return ts_usage_error("run", "%d example pairs are too many: up to %d", r->examples.count / 2, MAX_PAIRS);
    if (r->queries.count + r->more.count == 0) return ts_usage_error("run", "a query is missing: -q QUERY");
    if (!r->out) return ts_usage_error("run", "an output is missing: -o PATH");
    if (ts_count_standard(&r->examples) + ts_count_standard(&r->queries) + ts_count_standard(&r->more) > 1)
        return ts_usage_error("run", "standard input (-) is one picture, but is named more than once");
    if (ts_is_standard(r->out) && r->common.json)
        return ts_usage_error("run", "--json and -o - would both go to standard output: name a file for one of them");
    if (r->canvas && ts_is_standard(r->canvas))
        return ts_usage_error("run", "--canvas - is not possible: standard output takes the answer alone");
    if (r->blend > 0 && r->temperature > 0)
        return ts_usage_error("run", "--blend paints the mean of the codes, --temperature draws one: not both");
    if (r->background && !parse_colour(r->background, background))
        return ts_usage_error("run", "--background %s is not black, white or #rrggbb", r->background);
    return -1;
}

static bool list_inputs(run *r, ts_error *err)
{
    r->inputs.items = malloc((size_t)(r->examples.count + 2) * sizeof *r->inputs.items);
    if (!r->inputs.items) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < r->examples.count; i++) r->inputs.items[r->inputs.count++] = r->examples.items[i];
    /* A folder may stand for the weights file in it. */
    if (!ts_is_folder(r->model)) r->inputs.items[r->inputs.count++] = r->model;
    if (r->vqgan && !ts_is_folder(r->vqgan)) r->inputs.items[r->inputs.count++] = r->vqgan;
    return true;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* The file's header and the shapes in it; no weight is read yet. */
static bool open_model(run *r, const uint8_t background[3], ts_error *err)
{
    r->weights = ts_open_weights(r->model, r->common.quiet, err);
    if (!r->weights) return false;
    if (r->vqgan && !(r->vqgan_weights = ts_open_weights(r->vqgan, r->common.quiet, err))) return false;
    if (!ts_mae_config_read(r->weights, r->heads, r->decoder_heads, false, &r->config, err)) return false;
    const int most = r->config.most_examples;
    const int pairs = r->per_canvas ? r->per_canvas : ts_mae_pairs_on_canvas(&r->config, r->examples.count / 2);
    if (most > 0 && pairs > most && !r->common.quiet)
        ts_say("note: the model has learned canvases of at most %d example pair%s, not of %d", most, most == 1 ? "" : "s", pairs);
    ts_grid_desc desc = {.canvas = r->config.side * r->config.patch,
                         .patch = r->config.patch,
                         .examples = pairs,
                         .side = (ts_side)r->side,
                         .transposed = r->transposed,
                         .background = {background[0], background[1], background[2]},
                         .filter = (ts_resize_filter)r->filter};
    if (!ts_grid_plan(&desc, &r->grid, err)) return false;
    if (r->model == r->default_model) ts_note_default(&r->common, r->model, r->grid.hole.width, r->grid.hole.height);
    r->fused = ts_grid_canvases(&r->grid, r->examples.count / 2);
    return ts_jobs_canvases(&r->jobs, r->fused, &r->inputs, err);
}

static bool compose_query(run *r, const ts_example *examples, int pairs, int at, ts_error *err)
{
    ts_image query = {0};
    const bool ok = ts_load_picture(r->jobs.query[at], &query, err) &&
                    ts_grid_compose_all(&r->grid, examples, pairs, &query, &r->canvases[(size_t)at * (size_t)r->fused], err);
    r->sizes[at].width = query.width;
    r->sizes[at].height = query.height;
    if (ok && r->looks.swapped && ts_looks_like_mask(&query)) r->looks.mask_queries = true;
    ts_image_clear(&query);
    return ok;
}

/* A query that cannot be read is left out, and the others go on; a report tells of it. */
static bool skip_query(run *r, int at, const ts_error *why, ts_error *err)
{
    if (!ts_leave_out(&r->left_out, why, err)) return false;
    cJSON *item = r->common.json ? cJSON_CreateObject() : NULL;
    if (item && !r->skipped) r->skipped = cJSON_CreateArray();
    bool ok =
        !r->common.json || (cJSON_AddItemToArray(r->skipped, item) && cJSON_AddStringToObject(item, "query", r->jobs.query[at]) &&
                            cJSON_AddStringToObject(item, "problem", why->text));
    ts_jobs_drop(&r->jobs, at);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

/* Every canvas, before the model is loaded: what is wrong with a picture is told before anything is written. */
static bool compose(run *r, ts_error *err)
{
    ts_example examples[MAX_PAIRS];
    const int pairs = r->examples.count / 2, queries = r->jobs.count;
    if (!ts_examples_load(&r->examples, &r->grid, r->pictures, &r->looks, err)) return false;
    for (int i = 0; i < pairs; i++) examples[i] = (ts_example){&r->pictures[2 * i], &r->pictures[2 * i + 1]};
    r->canvases = calloc((size_t)queries * (size_t)r->fused, sizeof *r->canvases);
    r->sizes = calloc((size_t)queries, sizeof *r->sizes);
    if (!r->canvases || !r->sizes) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_progress progress;
    ts_progress_begin(&progress, "reading", queries, r->common.quiet);
    bool ok = true;
    for (int i = 0, read = 1; ok && i < r->jobs.count; read++) {
        ts_error why = {0};
        if (compose_query(r, examples, pairs, i, &why)) i++;
        else if (queries == 1) ok = ts_fail(err, why.code, "%s", why.text);
        else ok = skip_query(r, i, &why, err);
        ts_progress_step(&progress, read);
    }
    ts_progress_end(&progress);
    if (ok && r->jobs.count == 0)
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d queries can be read; the first: %s", queries, r->left_out.first.text);
    return ok;
}

static int views_of(const run *r)
{
    if (r->views) return r->views;
    return r->config.views && r->temperature == 0 ? r->config.views : 1;
}

static int batch_size(const run *r)
{
    const ts_device_info *about = ts_device_about(r->dev);
    bool gpu = about->kind == TS_DEVICE_VULKAN && strcmp(about->type, "cpu") != 0;
    int batch = r->batch ? r->batch : gpu ? BATCH_GPU : BATCH_CPU;
    const int each = views_of(r) * r->fused; /* canvases of a query, which go through the model as those of several do */
    return r->jobs.count > batch / each ? batch : r->jobs.count * each;
}

static bool add_report(run *r, int at, const ts_inpainted *result, const ts_inpaint_ms *ms, double write_ms, ts_error *err)
{
    const ts_cell *hole = &r->grid.hole;
    cJSON *item = cJSON_CreateObject(), *codes = cJSON_CreateIntArray(result->codes, result->places);
    cJSON_AddItemToArray(r->report, item);
    cJSON_AddStringToObject(item, "query", r->jobs.query[at]);
    cJSON_AddStringToObject(item, "answer", r->jobs.answer[at]);
    char *const *canvas = r->jobs.canvas ? r->jobs.canvas + (size_t)at * (size_t)r->jobs.each : NULL;
    if (canvas) {
        cJSON_AddStringToObject(item, "canvas_file", canvas[0]);
        cJSON_AddItemToObject(item, "canvas_files", cJSON_CreateStringArray((const char *const *)canvas, r->jobs.each));
    }
    cJSON_AddNumberToObject(item, "canvas", r->grid.desc.canvas);
    cJSON *box = cJSON_AddObjectToObject(item, "hole");
    cJSON_AddNumberToObject(box, "x", hole->x);
    cJSON_AddNumberToObject(box, "y", hole->y);
    cJSON_AddNumberToObject(box, "width", hole->width);
    cJSON_AddNumberToObject(box, "height", hole->height);
    cJSON_AddNumberToObject(item, "fused", r->fused);
    cJSON_AddItemToObject(item, "codes", codes);
    cJSON_AddNumberToObject(item, "blend", r->options.blend);
    cJSON_AddNumberToObject(item, "views", r->options.views);
    cJSON_AddStringToObject(item, "device", ts_device_about(r->dev)->name);
    cJSON_AddStringToObject(item, "precision", ts_precision_name(ts_device_precision(r->dev)));
    cJSON *stages = cJSON_AddObjectToObject(item, "ms");
    cJSON_AddNumberToObject(stages, "load", round(ms->load * 1e3) * 1e-3);
    cJSON_AddNumberToObject(stages, "encode", round(ms->encode * 1e3) * 1e-3);
    cJSON_AddNumberToObject(stages, "mae", round(ms->mae * 1e3) * 1e-3);
    cJSON_AddNumberToObject(stages, "decode", round(ms->decode * 1e3) * 1e-3);
    return cJSON_AddNumberToObject(stages, "write", round(write_ms * 1e3) * 1e-3) && codes
               ? true
               : ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

/* The canvases of a query, the answer, which is one, in the hole of each. */
static bool write_canvases(run *r, int at, const ts_image *pasted, ts_error *err)
{
    char *const *path = r->jobs.canvas + (size_t)at * (size_t)r->jobs.each;
    ts_image *canvas = &r->canvases[(size_t)at * (size_t)r->fused], answer = {0};
    bool ok = ts_image_save(path[0], pasted, err) && (r->jobs.each == 1 || ts_grid_answer(&r->grid, pasted, 0, 0, &answer, err));
    for (int k = 1; ok && k < r->jobs.each; k++) {
        ts_sheet_put(&canvas[k], &answer, r->grid.hole.x, r->grid.hole.y);
        ok = ts_image_save(path[k], &canvas[k], err);
    }
    ts_image_clear(&answer);
    return ok;
}

/* Cuts the answer out and writes it, and the canvases where they are kept. */
static bool write_result(run *r, int at, const ts_inpainted *result, const ts_inpaint_ms *ms, ts_error *err)
{
    double start = ts_now_ms();
    ts_image answer = {0};
    bool ok = ts_grid_answer(&r->grid, &result->pasted, r->cell ? 0 : r->sizes[at].width, r->cell ? 0 : r->sizes[at].height,
                             &answer, err) &&
              ts_save_picture(r->jobs.answer[at], &answer, err) &&
              (!r->jobs.canvas || write_canvases(r, at, &result->pasted, err));
    ts_image_clear(&answer);
    if (!ok) return false;
    if (r->report) return add_report(r, at, result, ms, ts_now_ms() - start, err);
    if (!ts_is_standard(r->jobs.answer[at])) ts_put_line(r->jobs.answer[at]);
    return true;
}

static bool run_batch(run *r, int first, int count, ts_error *err)
{
    ts_inpainted *results = calloc((size_t)count, sizeof *results);
    if (!results) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_inpaint_ms ms = {0};
    bool ok = ts_inpainter_run(r->inpainter, &r->grid, r->canvases + (size_t)first * (size_t)r->fused, count, &r->options,
                               results, &ms, err);
    ts_say_stage(&r->common, "painted: encoder %.1f ms, autoencoder %.1f ms, decoder %.1f ms", ms.encode, ms.mae, ms.decode);
    /* A batch is one piece of work: each of its queries is told its share, and the whole of the loading. */
    r->load.load += ms.load;
    ms = (ts_inpaint_ms){r->load.load, ms.encode / count, ms.mae / count, ms.decode / count};
    for (int i = 0; ok && i < count; i++) ok = write_result(r, first + i, &results[i], &ms, err);
    ts_say_stage(&r->common, "%d of %d written", first + count, r->jobs.count);
    for (int i = 0; i < count; i++) ts_inpainted_clear(&results[i]);
    free(results);
    return ok;
}

static bool start(run *r, ts_error *err)
{
    r->dev = ts_open_device(&r->common, false, err);
    if (!r->dev) return false;
    ts_inpainter_desc desc = {.weights = r->weights,
                              .vqgan_weights = r->vqgan_weights,
                              .heads = r->heads,
                              .decoder_heads = r->decoder_heads,
                              .batch = batch_size(r)};
    r->inpainter = ts_inpainter_new(r->dev, &desc, err);
    r->options = (ts_inpaint_options){.temperature = r->temperature,
                                      .seed = r->common.seed,
                                      .blend = r->blend >= 0        ? r->blend
                                               : r->temperature > 0 ? 0
                                                                    : r->config.blend,
                                      .keep_visible_codes = r->keep_codes,
                                      .fused = r->fused,
                                      .views = views_of(r)};
    if (!r->inpainter ||
        !ts_inpainter_prepare(r->inpainter, &r->grid, smaller(batch_size(r), r->jobs.count), &r->options, &r->load, err))
        return false;
    if (r->jobs.answer_folder && !ts_make_folder(r->jobs.answer_folder, err)) return false;
    if (r->jobs.canvas_folder && !ts_make_folder(r->jobs.canvas_folder, err)) return false;
    if (r->common.json && !(r->report = cJSON_CreateArray())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_announce_device(&r->common, r->dev);
    ts_say_passed(&r->left_out);
    if (!r->common.quiet) ts_examples_say(&r->looks);
    return true;
}

static bool run_all(run *r, ts_error *err)
{
    int batch = batch_size(r);
    ts_progress progress;
    ts_progress_begin(&progress, "painting", r->jobs.count, r->common.quiet);
    bool ok = true;
    for (int i = 0; ok && i < r->jobs.count; i += batch) {
        const int count = smaller(batch, r->jobs.count - i);
        ok = run_batch(r, i, count, err);
        ts_progress_step(&progress, i + count);
    }
    ts_progress_end(&progress);
    if (!ok) return false;
    while (r->skipped && r->skipped->child) cJSON_AddItemToArray(r->report, cJSON_DetachItemFromArray(r->skipped, 0));
    cJSON *report = r->report;
    r->report = NULL;
    return report ? ts_print_json(report, err) : ts_flush_output(err);
}

static void clear(run *r)
{
    cJSON_Delete(r->report);
    cJSON_Delete(r->skipped);
    ts_inpainter_free(r->inpainter);
    ts_device_free(r->dev);
    ts_weights_free(r->weights);
    ts_weights_free(r->vqgan_weights);
    for (int i = 0; i < 2 * MAX_PAIRS; i++) ts_image_clear(&r->pictures[i]);
    for (int64_t i = 0; r->canvases && i < (int64_t)r->jobs.count * r->fused; i++) ts_image_clear(&r->canvases[i]);
    free(r->canvases);
    free(r->sizes);
    ts_jobs_free(&r->jobs);
    ts_words_free(&r->inputs);
    ts_words_free(&r->examples);
    ts_words_free(&r->queries);
    ts_words_free(&r->more);
}

static int work(run *r, int argc, char **argv)
{
    ts_error err = {0};
    uint8_t background[3] = {0};
    int status = parse(r, argc, argv);
    if (status < 0) status = check_usage(r, background);
    if (status >= 0) return status;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, &err)) return ts_report("run", &err);
    if (!r->model) r->model = r->default_model;
    r->left_out.quiet = r->common.quiet;
    if (!ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, &err) ||
        (r->vqgan && !ts_check_model(r->vqgan, "VQGAN", TS_KIND_VQGAN, &err)))
        return ts_report("run", &err);
    if (!list_inputs(r, &err)) return ts_report("run", &err);
    status = ts_jobs_plan("run", &r->queries, &r->more, r->out, r->canvas, &r->inputs, &r->left_out, &r->jobs);
    if (status >= 0) return status;
    bool ok = open_model(r, background, &err);
    if (ok) ts_say_stage(&r->common, "model opened");
    ok = ok && compose(r, &err);
    if (ok) ts_say_stage(&r->common, "%d canvases composed", r->jobs.count * r->fused);
    ok = ok && start(r, &err);
    if (ok) ts_say_stage(&r->common, "weights loaded and planned");
    ok = ok && run_all(r, &err);
    return ok ? ts_left_out_status("run", &r->left_out) : ts_report("run", &err);
}

int ts_cmd_run(int argc, char **argv)
{
    run *r = calloc(1, sizeof *r);
    if (!r) return ts_report("run", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    r->blend = -1;
    int status = work(r, argc, argv);
    clear(r);
    free(r);
    return status;
}
