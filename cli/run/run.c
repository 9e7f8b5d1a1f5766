/* run.c - `tessera run`: does to each query what the example pairs show. run.h tells how its parts meet. */
#include "cli/run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool list_inputs(run_job *r, ts_error *err)
{
    const char *const files[] = {run_is_pixels(r) ? NULL : r->model,
                                 r->mae.vqgan,
                                 r->mae.border,
                                 r->mae.fusion,
                                 r->mae.task,
                                 r->matching.features,
                                 r->lookup.look.clip,
                                 r->lookup.look.lists};
    const int most = (int)(sizeof files / sizeof *files);
    r->inputs.items = malloc((size_t)(r->examples.count + most) * sizeof *r->inputs.items);
    if (!r->inputs.items) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < r->examples.count; i++) r->inputs.items[r->inputs.count++] = r->examples.items[i];
    /* A folder may stand for the weights file in it. */
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && !ts_is_folder(files[i])) r->inputs.items[r->inputs.count++] = files[i];
    return true;
}

static bool open_model(run_job *r, ts_error *err)
{
    return run_open_weights(r, err) && (!r->lookup.folder || run_lookup_open(r, err)) && r->engine->open(r, err) &&
           (!r->lookup.folder || run_lookup_start(r, err));
}

/* ---- what goes in ---- */

bool run_take_example(void *ctx, int at, const ts_image *picture, ts_error *err)
{
    run_job *r = ctx;
    if (at % 2) run_see_output(r, at / 2, picture);
    return r->engine->example(r, at / 2, at % 2, picture, err);
}

static bool take_query(run_job *r, int at, ts_error *err)
{
    ts_image query = {0};
    const bool ok = ts_load_picture(r->jobs.query[at], &query, err) &&
                    (!r->lookup.folder || run_lookup_find(r, at, &query, err)) && r->engine->query(r, at, &query, err);
    r->sizes[at].width = query.width;
    r->sizes[at].height = query.height;
    if (ok && r->looks.swapped && ts_looks_like_mask(&query)) r->looks.mask_queries = true;
    if (ok && r->overlay && ts_is_standard(r->jobs.query[at])) r->standard = query;
    else ts_image_clear(&query);
    return ok;
}

/* A query that cannot be read is left out, and the others go on; a report tells of it. */
static bool skip_query(run_job *r, int at, const ts_error *why, ts_error *err)
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

/* Every picture, before the model is loaded: what is wrong with one is told before anything is written. */
static bool take_pictures(run_job *r, ts_error *err)
{
    const int queries = r->jobs.count;
    /* What has learned its task wants none. */
    if (!r->lookup.folder && ((r->examples.count > 0 && !ts_examples_load(&r->examples, run_take_example, r, &r->looks, err)) ||
                              !run_plan_output(r, err)))
        return false;
    r->sizes = calloc((size_t)queries, sizeof *r->sizes);
    if (!r->sizes) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_progress progress;
    ts_progress_begin(&progress, "reading", queries, r->common.quiet);
    bool ok = true;
    for (int i = 0, read = 1; ok && i < r->jobs.count; read++) {
        ts_error why = {0};
        if (take_query(r, i, &why)) i++;
        else if (queries == 1) ok = ts_fail(err, why.code, "%s", why.text);
        else ok = skip_query(r, i, &why, err);
        ts_progress_step(&progress, read);
    }
    ts_progress_end(&progress);
    if (ok && r->jobs.count == 0)
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d queries can be read; the first: %s", queries, r->left_out.first.text);
    return ok;
}

/* ---- what comes out ---- */

static bool add_report(run_job *r, int at, double write_ms, ts_error *err)
{
    cJSON *item = cJSON_CreateObject(), *ms = cJSON_CreateObject();
    cJSON_AddItemToArray(r->report, item);
    cJSON_AddStringToObject(item, "query", r->jobs.query[at]);
    cJSON_AddStringToObject(item, "answer", r->jobs.answer[at]);
    if (r->jobs.overlay) cJSON_AddStringToObject(item, "overlay", r->jobs.overlay[at]);
    cJSON_AddNumberToObject(ms, "load", round(r->load_ms * 1e3) * 1e-3);
    const bool whole = r->engine->report(r, at, item, ms) && (!r->lookup.folder || run_lookup_report(r, at, item));
    cJSON_AddStringToObject(item, "device", ts_device_about(r->dev)->name);
    cJSON_AddStringToObject(item, "precision", ts_precision_name(ts_device_precision(r->dev)));
    cJSON *written = cJSON_AddNumberToObject(ms, "write", round(write_ms * 1e3) * 1e-3);
    return (cJSON_AddItemToObject(item, "ms", ms) && whole && written) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

static bool write_answer(run_job *r, int at, ts_image *answer, ts_error *err)
{
    const double start = ts_now_ms();
    if (r->lookup.folder) run_lookup_recall(r, at);
    if (!run_write_output(r, at, answer, err) || (r->engine->keep && !r->engine->keep(r, at, err))) return false;
    if (r->report) return add_report(r, at, ts_now_ms() - start, err);
    if (!ts_is_standard(r->jobs.answer[at])) ts_put_line(r->jobs.answer[at]);
    return true;
}

static bool run_batch(run_job *r, int first, int count, ts_error *err)
{
    ts_image *answers = calloc((size_t)count, sizeof *answers);
    if (!answers) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    /* An engine without batches goes by the examples that were shown last. */
    bool ok = !r->lookup.folder || r->engine->batch || run_lookup_show(r, first, err);
    ok = ok && r->engine->answer(r, first, count, answers, err);
    for (int i = 0; ok && i < count; i++) ok = write_answer(r, first + i, &answers[i], err);
    ts_say_stage(&r->common, "%d of %d written", first + count, r->jobs.count);
    for (int i = 0; i < count; i++) ts_image_clear(&answers[i]);
    free(answers);
    return ok;
}

bool run_on_gpu(const run_job *r)
{
    const ts_device_info *about = ts_device_about(r->dev);
    return about->kind == TS_DEVICE_VULKAN && strcmp(about->type, "cpu") != 0;
}

static bool start(run_job *r, ts_error *err)
{
    if (!r->dev) r->dev = ts_open_device(&r->common, false, err);
    if (!r->dev || (r->lookup.folder && !run_lookup_show(r, 0, err)) || !r->engine->start(r, err)) return false;
    if (r->jobs.answer_folder && !ts_make_folder(r->jobs.answer_folder, err)) return false;
    if (r->jobs.canvas_folder && !ts_make_folder(r->jobs.canvas_folder, err)) return false;
    if (r->jobs.overlay_folder && !ts_make_folder(r->jobs.overlay_folder, err)) return false;
    if (r->common.json && !(r->report = cJSON_CreateArray())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_announce_device(&r->common, r->dev);
    ts_say_passed(&r->left_out);
    if (!r->common.quiet) ts_examples_say(&r->looks);
    return true;
}

static bool run_all(run_job *r, ts_error *err)
{
    const int batch = r->engine->batch ? r->engine->batch(r) : 1;
    ts_progress progress;
    ts_progress_begin(&progress, "painting", r->jobs.count, r->common.quiet);
    bool ok = true;
    for (int i = 0; ok && i < r->jobs.count; i += batch) {
        const int left = r->jobs.count - i, count = batch < left ? batch : left;
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

/* ---- the command ---- */

void run_clear(run_job *r)
{
    cJSON_Delete(r->report);
    cJSON_Delete(r->skipped);
    if (r->engine && r->own) r->engine->clear(r);
    run_lookup_clear(r);
    ts_device_free(r->dev);
    ts_weights_free(r->weights);
    free(r->sizes);
    ts_image_clear(&r->standard);
    ts_jobs_free(&r->jobs);
    ts_words_free(&r->inputs);
    ts_words_free(&r->examples);
    ts_words_free(&r->queries);
    ts_words_free(&r->more);
    ts_words_free(&r->given);
    ts_words_free(&r->values);
}

static int work(run_job *r, int argc, char **argv)
{
    ts_error err = {0};
    int status = run_options(r, argc, argv);
    if (status >= 0) return status;
    if (!r->model && !ts_default_model(r->default_model, sizeof r->default_model, &err)) return ts_report("run", &err);
    if (!r->model) r->model = r->default_model;
    r->left_out.quiet = r->common.quiet;
    if ((!run_is_pixels(r) && !ts_check_model(r->model, "model", TS_KIND_MAE_VQGAN, &err)) ||
        (r->mae.vqgan && !ts_check_model(r->mae.vqgan, "VQGAN", TS_KIND_VQGAN, &err)) ||
        (r->matching.features && !ts_check_model(r->matching.features, "features", TS_KIND_DINOV2, &err)) ||
        !list_inputs(r, &err))
        return ts_report("run", &err);
    const ts_job_outputs outputs = {r->out, r->mae.canvas, r->overlay};
    status = ts_jobs_plan("run", &r->queries, &r->more, &outputs, &r->inputs, &r->left_out, &r->jobs);
    if (status >= 0) return status;
    bool ok = open_model(r, &err);
    if (ok) ts_say_stage(&r->common, "model opened");
    ok = ok && take_pictures(r, &err);
    if (ok) ts_say_stage(&r->common, "%d queries read", r->jobs.count);
    ok = ok && start(r, &err);
    if (ok) ts_say_stage(&r->common, "weights loaded and planned");
    ok = ok && run_all(r, &err);
    return ok ? ts_left_out_status("run", &r->left_out) : ts_report("run", &err);
}

int ts_cmd_run(int argc, char **argv)
{
    run_job *r = calloc(1, sizeof *r);
    if (!r) return ts_report("run", &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(r, argc, argv);
    run_clear(r);
    free(r);
    return status;
}
