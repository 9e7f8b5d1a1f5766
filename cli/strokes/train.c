/* train.c - `tessera strokes train`: a model from pictures and the strokes on them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/strokes/strokes.h"

static const char name[] = "strokes train";

typedef struct {
    ts_common common;
    ts_words words; /* PICTURE STROKES PICTURE STROKES ... */
    const char *out, *ground;
    int hidden, steps;
    strokes_features features;
    const char **paths; /* of the strokes */
    ts_labels *labels;
    int pictures;
    ts_strokes_colours colours;
    ts_device *dev;
    ts_strokes *model;
    ts_strokes_fit fit;
    struct {
        double features, train;
    } ms;
} job;

static const char NOTE[] =
    "A picture of strokes has the size of its picture. What is transparent or black in it says nothing, every other colour is a\n"
    "class; a PNG keeps colours as they are. Where all pictures have one colour beside black, and nothing transparent, they are\n"
    "masks, and black is a class. The same colours on several pictures are the same classes.\n";

static int parse(job *j, int argc, char **argv)
{
    ts_option options[STROKES_FEATURE_OPTIONS + 5] = {
        {'p', "picture", "PICTURE STROKES", TS_OPT_WORDS, &j->words, 0, 0,
         "a picture and the strokes on it, or its mask; repeated"},
        {'o', "output", "MODEL", TS_OPT_TEXT, &j->out, 0, 0, "the model's file, say cells.strokes"},
        {0, "ground", "COLOUR", TS_OPT_TEXT, &j->ground, 0, 0,
         "the class that is the background, #rrggbb; black of masks, else that which is painted most"},
        {0, "hidden", "N", TS_OPT_INT, &j->hidden, 0, TS_STROKES_HIDDEN,
         "units of the network; 0: none, a logistic regression; 32"},
        {0, "steps", "N", TS_OPT_INT, &j->steps, 1, 100000, "of the training; 200"},
    };
    strokes_feature_options(&j->features, options + 5);
    j->hidden = -1;
    return ts_options_parse(
        &(ts_command){.name = name,
                      .usage = "--picture PICTURE STROKES [--picture ...] -o MODEL [options]",
                      .summary = "learns from strokes painted on pictures what each pixel is",
                      .example = "  tessera strokes train --picture cells.jpg strokes.png -o cells.strokes\n"
                                 "  tessera strokes train -p a.jpg a-strokes.png -p b.jpg b-strokes.png -o both.strokes\n",
                      .note = NOTE,
                      .options = options,
                      .count = STROKES_FEATURE_OPTIONS + 5,
                      .common = &j->common,
                      .takes = TS_TAKES_DEVICE | TS_TAKES_SEED | TS_TAKES_JSON},
        argc, argv);
}

/* -1, or the exit status. */
static int check(const job *j)
{
    if (j->words.count == 0) return ts_usage_error(name, "a picture and its strokes are missing: --picture PICTURE STROKES");
    if (!j->out) return ts_usage_error(name, "an output is missing: -o MODEL");
    if (ts_count_standard(&j->words) || ts_is_standard(j->out))
        return ts_usage_error(name, "standard input and output (-) are not possible: name files");
    return -1;
}

static bool check_files(const job *j, ts_error *err)
{
    for (int i = 0; i < j->words.count; i++) {
        if (!ts_check_readable(j->words.items[i], i % 2 ? "strokes" : "picture", err)) return false;
        if (ts_same_file(j->words.items[i], j->out))
            return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite the input %s", j->out, j->words.items[i]);
    }
    if (j->features.path && ts_same_file(j->features.path, j->out))
        return ts_fail(err, TS_ERR_ARGUMENT, "output %s would overwrite the input %s", j->out, j->features.path);
    return ts_check_writable(j->out, err);
}

static bool read_strokes(job *j, ts_error *err)
{
    j->pictures = j->words.count / 2;
    j->paths = calloc((size_t)j->pictures, sizeof *j->paths);
    j->labels = calloc((size_t)j->pictures, sizeof *j->labels);
    if (!j->paths || !j->labels) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < j->pictures; i++) j->paths[i] = j->words.items[2 * i + 1];
    if (!ts_strokes_read(j->paths, j->pictures, &j->colours, j->labels, err)) return false;
    if (!j->ground) return true;
    char text[8];
    for (int i = 0; i < j->colours.classes; i++)
        if (strcasecmp(strokes_colour_text(j->colours.colour[i], text), j->ground) == 0) {
            j->colours.ground = i;
            return true;
        }
    return ts_fail(err, TS_ERR_ARGUMENT, "--ground %s is no colour of the strokes: the first is %s", j->ground,
                   strokes_colour_text(j->colours.colour[0], text));
}

static bool look(job *j, int i, ts_error *err)
{
    ts_image picture;
    const char *path = j->words.items[2 * i];
    if (!ts_image_load(path, &picture, err)) return false;
    const ts_labels *l = &j->labels[i];
    bool ok = picture.width == l->width && picture.height == l->height;
    if (!ok)
        ts_fail(err, TS_ERR_ARGUMENT, "%s has %d x %d pixels and its strokes %s %d x %d: they must be alike", path, picture.width,
                picture.height, j->paths[i], l->width, l->height);
    ok = ok && ts_strokes_picture(j->model, &picture, err) && ts_strokes_label(j->model, l, err);
    ts_image_clear(&picture);
    return ok;
}

static bool learn(job *j, ts_error *err)
{
    ts_strokes_desc desc = {.classes = j->colours.classes,
                            .ground = j->colours.ground,
                            .hidden = j->hidden == 0  ? -1
                                      : j->hidden < 0 ? 0
                                                      : j->hidden,
                            .steps = j->steps,
                            .seed = j->common.seed,
                            .features = j->features.weights,
                            .told = j->features.told};
    memcpy(desc.colour, j->colours.colour, sizeof desc.colour);
    j->dev = ts_open_device(&j->common, false, err);
    j->model = j->dev ? ts_strokes_new(j->dev, &desc, err) : NULL;
    if (!j->model) return false;
    ts_announce_device(&j->common, j->dev);
    double began = ts_now_ms();
    ts_progress progress;
    ts_progress_begin(&progress, "looking", j->pictures, j->common.quiet);
    bool ok = true;
    for (int i = 0; ok && i < j->pictures; i++) {
        ok = look(j, i, err);
        ts_progress_step(&progress, i + 1);
    }
    ts_progress_end(&progress);
    j->ms.features = ts_now_ms() - began;
    if (ok) ts_say_stage(&j->common, "features of %d pictures", j->pictures);
    began = ts_now_ms();
    ok = ok && ts_strokes_train(j->model, &j->fit, err);
    j->ms.train = ts_now_ms() - began;
    if (ok) ts_say_stage(&j->common, "trained");
    return ok && ts_strokes_save(j->model, j->out, err);
}

/* ---- what is told ---- */

static double rounded(double x)
{
    return round(x * 1e3) * 1e-3;
}

static bool report(const job *j, ts_error *err)
{
    cJSON *o = cJSON_CreateObject(), *classes = cJSON_CreateArray();
    bool ok = cJSON_AddStringToObject(o, "model", j->out) && cJSON_AddNumberToObject(o, "pictures", j->pictures);
    for (int i = 0; i < j->colours.classes; i++) {
        char text[8];
        cJSON *c = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(classes, c) && ok &&
             cJSON_AddStringToObject(c, "colour", strokes_colour_text(j->colours.colour[i], text)) &&
             cJSON_AddBoolToObject(c, "ground", i == j->colours.ground) &&
             cJSON_AddNumberToObject(c, "painted", (double)j->colours.pixels[i]) &&
             cJSON_AddNumberToObject(c, "samples", j->fit.samples[i]);
    }
    cJSON *ms = cJSON_CreateObject();
    ok = cJSON_AddItemToObject(o, "classes", classes) && cJSON_AddNumberToObject(o, "steps", j->fit.steps) &&
         cJSON_AddNumberToObject(o, "loss", j->fit.loss) && cJSON_AddNumberToObject(o, "accuracy", j->fit.accuracy) &&
         cJSON_AddStringToObject(o, "device", ts_device_about(j->dev)->name) &&
         cJSON_AddNumberToObject(ms, "features", rounded(j->ms.features)) &&
         cJSON_AddNumberToObject(ms, "train", rounded(j->ms.train)) && cJSON_AddItemToObject(o, "ms", ms) && ok;
    if (ok) return ts_print_json(o, err);
    cJSON_Delete(o);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for the report");
}

static void say(const job *j)
{
    if (j->common.quiet) return;
    for (int i = 0; i < j->colours.classes; i++) {
        char text[8];
        ts_say("class %s%s: %lld pixels", strokes_colour_text(j->colours.colour[i], text),
               i == j->colours.ground ? " (background)" : "", (long long)j->colours.pixels[i]);
    }
    ts_say("%.1f %% of what it learned from is told right", 100 * j->fit.accuracy);
}

static void clear(job *j)
{
    ts_strokes_free(j->model);
    ts_device_free(j->dev);
    ts_weights_free(j->features.weights);
    for (int i = 0; j->labels && i < j->pictures; i++) ts_labels_clear(&j->labels[i]);
    free(j->labels);
    free(j->paths);
    ts_words_free(&j->words);
}

static int work(job *j, int argc, char **argv)
{
    ts_error err = {0};
    int status = parse(j, argc, argv);
    if (status < 0) status = check(j);
    if (status >= 0) return status;
    bool ok = check_files(j, &err) && strokes_features_open(&j->features, j->common.quiet, &err) && read_strokes(j, &err) &&
              learn(j, &err);
    if (!ok) return ts_report(name, &err);
    say(j);
    if (!j->common.json) ts_put_line(j->out);
    ok = j->common.json ? report(j, &err) : ts_flush_output(&err);
    return ok ? TS_EXIT_DONE : ts_report(name, &err);
}

int ts_strokes_train_command(int argc, char **argv)
{
    job j = {0};
    const int status = work(&j, argc, argv);
    clear(&j);
    return status;
}
