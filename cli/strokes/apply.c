/* apply.c - `tessera strokes apply`: the classes of every pixel of pictures, as masks in the colours of the strokes, with what is
 * to be seen or read beside them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/strokes/strokes.h"

static const char name[] = "strokes apply";

typedef struct {
    ts_common common;
    ts_words words; /* MODEL PICTURE ... */
    strokes_model model;
    const char *out, *overlay;
    bool mask, probabilities;
    int smooth;
    ts_left_out left_out;
    ts_jobs jobs;
    ts_image kept; /* the one picture, or that of standard input */
    cJSON *report, *skipped;
    struct {
        double classify, write;
    } ms;
} job;

static int parse(job *j, int argc, char **argv)
{
    ts_option options[STROKES_FEATURE_OPTIONS + 6] = {
        {'o', "output", "PATH", TS_OPT_TEXT, &j->out, 0, 0,
         "the mask's file (.png keeps its colours), or -, standard output; of several pictures a folder"},
        {0, "mask", NULL, TS_OPT_FLAG, &j->mask, 0, 0, "a PNG of one channel: 255 where it is not the background, else 0"},
        {0, "overlay", "PATH", TS_OPT_TEXT, &j->overlay, 0, 0,
         "the picture with the classes laid over it, the background left as it is: a file or a folder, as for -o"},
        {0, "probabilities", NULL, TS_OPT_FLAG, &j->probabilities, 0, 0,
         "beside each mask NAME.probabilities.safetensors: of each class at each pixel, (classes, height, width)"},
        {0, "smooth", "R", TS_OPT_INT, &j->smooth, 0, STROKES_MOST_SMOOTH, STROKES_SMOOTH_HELP},
        {0, "strict", NULL, TS_OPT_FLAG, &j->left_out.strict, 0, 0, TS_STRICT_HELP},
    };
    strokes_feature_options(&j->model.features, options + 6);
    return ts_options_parse(&(ts_command){.name = name,
                                          .usage = "MODEL PICTURE|FOLDER ... -o PATH [options]",
                                          .summary = "tells of every pixel what a model from strokes takes it for",
                                          .example = "  tessera strokes apply cells.strokes photos/ -o masks/ --overlay looks/\n"
                                                     "  tessera strokes apply cells.strokes a.jpg -o a.png --mask --smooth 6\n",
                                          .options = options,
                                          .count = STROKES_FEATURE_OPTIONS + 6,
                                          .rest = &j->words,
                                          .least = 2,
                                          .most = 1 << 20,
                                          .rest_name = "MODEL or PICTURE",
                                          .common = &j->common,
                                          .takes = TS_TAKES_DEVICE | TS_TAKES_JSON},
                            argc, argv);
}

/* -1, or the exit status. */
static int check(const job *j)
{
    if (!j->out) return ts_usage_error(name, "an output is missing: -o PATH");
    if (ts_count_standard(&j->words) > 1)
        return ts_usage_error(name, "standard input (-) is one picture, but is named more than once");
    if (ts_is_standard(j->words.items[0])) return ts_usage_error(name, "the model cannot be standard input: name its file");
    if (ts_is_standard(j->out) && (j->common.json || j->probabilities))
        return ts_usage_error(name, "--%s and -o -: name a file for the mask", j->common.json ? "json" : "probabilities");
    if (j->overlay && ts_is_standard(j->overlay))
        return ts_usage_error(name, "--overlay - is not possible: standard output takes the mask alone");
    return -1;
}

/* Names the outputs; -1, or the exit status. */
static int plan(job *j)
{
    const ts_words queries = {j->words.items + 1, j->words.count - 1}, none = {0};
    const char *files[2] = {j->words.items[0], j->model.features.path};
    const ts_words inputs = {files, files[1] && !ts_is_folder(files[1]) ? 2 : 1};
    const ts_job_outputs outputs = {.answer = j->out, .overlay = j->overlay};
    const int status = ts_jobs_plan(name, &queries, &none, &outputs, &inputs, &j->left_out, &j->jobs);
    if (status >= 0) return status;
    for (int i = 0; j->mask && i < j->jobs.count; i++)
        if (!ts_is_standard(j->jobs.answer[i]) && !ts_png_named(j->jobs.answer[i]))
            return ts_usage_error(name, "--mask writes a PNG of one channel: %s does not end in .png", j->jobs.answer[i]);
    return -1;
}

/* ---- before anything is written ---- */

static bool skip(job *j, int at, const ts_error *why, ts_error *err)
{
    if (!ts_leave_out(&j->left_out, why, err)) return false;
    bool ok = true;
    if (j->common.json) {
        cJSON *item = cJSON_CreateObject();
        if (!j->skipped) j->skipped = cJSON_CreateArray();
        ok = cJSON_AddItemToArray(j->skipped, item) && cJSON_AddStringToObject(item, "picture", j->jobs.query[at]) &&
             cJSON_AddStringToObject(item, "problem", why->text);
    }
    ts_jobs_drop(&j->jobs, at);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

/* Reads every picture once, so that what is wrong with one is told first; keeps the one that cannot be read again, or is alone.
 */
static bool read_all(job *j, ts_error *err)
{
    const int all = j->jobs.count;
    ts_progress progress;
    ts_progress_begin(&progress, "reading", all, j->common.quiet);
    bool ok = true;
    for (int i = 0, read = 1; ok && i < j->jobs.count; read++) {
        ts_image picture = {0};
        ts_error why = {0};
        const bool loaded = ts_load_picture(j->jobs.query[i], &picture, &why);
        if (!loaded) ok = all == 1 ? ts_fail(err, why.code, "%s", why.text) : skip(j, i, &why, err);
        else if (all == 1 || ts_is_standard(j->jobs.query[i])) j->kept = picture;
        else ts_image_clear(&picture);
        i += loaded;
        ts_progress_step(&progress, read);
    }
    ts_progress_end(&progress);
    if (ok && j->jobs.count == 0)
        return ts_fail(err, TS_ERR_FORMAT, "none of the %d pictures can be read; the first: %s", all, j->left_out.first.text);
    return ok;
}

static bool start(job *j, ts_error *err)
{
    return strokes_model_start(&j->model, &j->common, err) &&
           (!j->jobs.answer_folder || ts_make_folder(j->jobs.answer_folder, err)) &&
           (!j->jobs.overlay_folder || ts_make_folder(j->jobs.overlay_folder, err)) &&
           (!j->common.json || (j->report = cJSON_CreateArray()) || ts_fail(err, TS_ERR_MEMORY, "out of memory"));
}

/* ---- a picture ---- */

static bool write_mask(const job *j, const char *path, const ts_labels *labels, const ts_image *answer, ts_error *err)
{
    if (!j->mask) return ts_save_picture(path, answer, err);
    ts_mask m;
    if (!ts_mask_new(labels->width, labels->height, &m, err)) return false;
    for (int64_t i = 0; i < (int64_t)m.width * m.height; i++) m.data[i] = labels->data[i] != j->model.info.colours.ground;
    const bool ok = ts_save_mask(path, &m, err);
    ts_mask_clear(&m);
    return ok;
}

static bool write_overlay(const job *j, const char *path, const ts_image *picture, const ts_image *answer, ts_error *err)
{
    ts_image laid;
    const ts_palette palette = ts_strokes_palette(&j->model.info.colours);
    if (!ts_image_copy(picture, &laid, err)) return false;
    const bool ok = ts_overlay_answer(&laid, answer, &palette, err) && ts_save_picture(path, &laid, err);
    ts_image_clear(&laid);
    return ok;
}

/* "masks/a.probabilities.safetensors" of "masks/a.png"; to be freed. */
static char *probabilities_path(const char *answer, ts_error *err)
{
    const char *slash = strrchr(answer, '/');
    char *folder = slash ? strndup(answer, (size_t)(slash - answer)) : strdup(".");
    char *path = folder ? ts_path_in(folder, answer, ".probabilities.safetensors", err) : NULL;
    if (!folder) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    free(folder);
    return path;
}

/* p (height, width, classes). */
static bool write_probabilities(const job *j, const char *path, const ts_labels *labels, const float *p, ts_error *err)
{
    const ts_strokes_colours *c = &j->model.info.colours;
    const int64_t pixels = (int64_t)labels->width * labels->height;
    float *planes = malloc((size_t)pixels * (size_t)c->classes * sizeof *planes);
    ts_weights_writer *w = ts_weights_writer_new();
    char colours[TS_STROKES_CLASSES * 8] = "", text[8];
    bool ok = planes && w;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for probabilities");
    size_t used = 0;
    for (int i = 0; i < c->classes; i++)
        used += (size_t)snprintf(colours + used, sizeof colours - used, "%s%s", i ? " " : "",
                                 strokes_colour_text(c->colour[i], text));
    for (int k = 0; ok && k < c->classes; k++)
        for (int64_t i = 0; i < pixels; i++) planes[k * pixels + i] = p[i * c->classes + k];
    ok = ok && ts_weights_writer_meta(w, "colours", colours, err) &&
         ts_weights_writer_add(w, "probabilities", TS_DT_F32, 3, (int64_t[]){c->classes, labels->height, labels->width}, planes,
                               err) &&
         ts_weights_writer_save(w, path, err);
    ts_weights_writer_free(w);
    free(planes);
    return ok;
}

static bool add_report(job *j, int at, const ts_labels *labels, const char *probabilities, ts_error *err)
{
    const ts_strokes_colours *c = &j->model.info.colours;
    int64_t pixels[TS_STROKES_CLASSES] = {0};
    for (int64_t i = 0; i < (int64_t)labels->width * labels->height; i++) pixels[labels->data[i]]++;
    cJSON *item = cJSON_CreateObject(), *classes = cJSON_CreateArray(), *ms = cJSON_CreateObject();
    bool ok = cJSON_AddItemToArray(j->report, item) && cJSON_AddStringToObject(item, "picture", j->jobs.query[at]) &&
              cJSON_AddStringToObject(item, "mask", j->jobs.answer[at]) &&
              cJSON_AddNumberToObject(item, "width", labels->width) && cJSON_AddNumberToObject(item, "height", labels->height);
    if (ok && j->jobs.overlay) ok = cJSON_AddStringToObject(item, "overlay", j->jobs.overlay[at]);
    if (ok && probabilities) ok = cJSON_AddStringToObject(item, "probabilities", probabilities);
    for (int i = 0; ok && i < c->classes; i++) {
        char text[8];
        cJSON *o = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(classes, o) && cJSON_AddStringToObject(o, "colour", strokes_colour_text(c->colour[i], text)) &&
             cJSON_AddNumberToObject(o, "pixels", (double)pixels[i]);
    }
    ok = cJSON_AddItemToObject(item, "classes", classes) && cJSON_AddItemToObject(item, "ms", ms) && ok &&
         cJSON_AddNumberToObject(ms, "classify", round(j->ms.classify * 1e3) * 1e-3) &&
         cJSON_AddNumberToObject(ms, "write", round(j->ms.write * 1e3) * 1e-3) &&
         cJSON_AddStringToObject(item, "device", ts_device_about(j->model.dev)->name);
    return ok || ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

static bool write_all(job *j, int at, const ts_image *picture, const ts_labels *labels, const float *p, ts_error *err)
{
    ts_image answer = {0};
    char *path = p ? probabilities_path(j->jobs.answer[at], err) : NULL;
    const double began = ts_now_ms();
    bool ok = (!p || path) && ts_labels_image(labels, &j->model.info.colours, &answer, err) &&
              (!path || write_probabilities(j, path, labels, p, err)) &&
              (!j->jobs.overlay || write_overlay(j, j->jobs.overlay[at], picture, &answer, err)) &&
              write_mask(j, j->jobs.answer[at], labels, &answer, err);
    j->ms.write = ts_now_ms() - began;
    if (ok && j->report) ok = add_report(j, at, labels, path, err);
    else if (ok && !ts_is_standard(j->jobs.answer[at])) ts_put_line(j->jobs.answer[at]);
    ts_image_clear(&answer);
    free(path);
    return ok;
}

static bool do_picture(job *j, int at, ts_error *err)
{
    ts_image read = {0};
    ts_labels labels = {0};
    float *p = NULL;
    const bool kept = j->kept.data && (j->jobs.count == 1 || ts_is_standard(j->jobs.query[at]));
    bool ok = kept || ts_load_picture(j->jobs.query[at], &read, err);
    const ts_image *picture = kept ? &j->kept : &read;
    const size_t numbers = ok ? (size_t)picture->width * (size_t)picture->height * (size_t)j->model.info.colours.classes : 0;
    if (ok && j->probabilities && !(p = malloc(numbers * sizeof *p)))
        ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for the probabilities of %s", j->jobs.query[at]);
    const double began = ts_now_ms();
    ok =
        ok && ts_strokes_picture(j->model.model, picture, err) && ts_strokes_classify(j->model.model, j->smooth, &labels, p, err);
    j->ms.classify = ts_now_ms() - began;
    if (ok) ts_say_stage(&j->common, "%s: classified", j->jobs.query[at]);
    ok = ok && write_all(j, at, picture, &labels, p, err);
    ts_labels_clear(&labels);
    ts_image_clear(&read);
    free(p);
    return ok;
}

static bool do_all(job *j, ts_error *err)
{
    ts_progress progress;
    ts_progress_begin(&progress, "masking", j->jobs.count, j->common.quiet);
    bool ok = true;
    for (int i = 0; ok && i < j->jobs.count; i++) {
        ok = do_picture(j, i, err);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    if (!ok || !j->report) return ok && ts_flush_output(err);
    while (j->skipped && j->skipped->child) cJSON_AddItemToArray(j->report, cJSON_DetachItemFromArray(j->skipped, 0));
    cJSON *report = j->report;
    j->report = NULL;
    return ts_print_json(report, err);
}

/* ---- the command ---- */

static void clear(job *j)
{
    cJSON_Delete(j->report);
    cJSON_Delete(j->skipped);
    strokes_model_close(&j->model);
    ts_image_clear(&j->kept);
    ts_jobs_free(&j->jobs);
    ts_words_free(&j->words);
}

static int work(job *j, int argc, char **argv)
{
    ts_error err = {0};
    int status = parse(j, argc, argv);
    if (status < 0) status = check(j);
    if (status >= 0) return status;
    j->left_out.quiet = j->common.quiet;
    j->model.path = j->words.items[0];
    if (!strokes_model_open(&j->model, &j->common, &err)) return ts_report(name, &err);
    status = plan(j);
    if (status >= 0) return status;
    const bool ok = read_all(j, &err) && start(j, &err);
    if (ok) ts_say_passed(&j->left_out);
    return ok && do_all(j, &err) ? ts_left_out_status(name, &j->left_out) : ts_report(name, &err);
}

int ts_strokes_apply_command(int argc, char **argv)
{
    job *j = calloc(1, sizeof *j);
    if (!j) return ts_report(name, &(ts_error){TS_ERR_MEMORY, "out of memory"});
    const int status = work(j, argc, argv);
    clear(j);
    free(j);
    return status;
}
