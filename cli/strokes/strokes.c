/* strokes.c - `tessera strokes`: its commands, and what they share. */
#include "cli/strokes/strokes.h"

#include <stdio.h>

void strokes_feature_options(strokes_features *f, ts_option list[STROKES_FEATURE_OPTIONS])
{
    const ts_option options[STROKES_FEATURE_OPTIONS] = {
        {0, "features", "FILE", TS_OPT_TEXT, &f->path, 0, 0,
         "a MAE, CLIP, SAM, DINOv2 or DINOv3: what it sees at a place is looked at too (of a model, the file it learned with)"},
        {0, "heads", "N", TS_OPT_INT, &f->told.heads, 1, 1024,
         "attention heads of that MAE, or of that CLIP's image tower, where nothing tells them"},
        {0, "text-heads", "N", TS_OPT_INT, &f->told.text_heads, 1, 1024, "of its text tower, likewise"},
        {0, "activation", "auto|quick_gelu|gelu", TS_OPT_CHOICE, &f->told.activation, 0, 0, "its activation, likewise"},
    };
    for (int i = 0; i < STROKES_FEATURE_OPTIONS; i++) list[i] = options[i];
}

bool strokes_features_open(strokes_features *f, bool quiet, ts_error *err)
{
    return !f->path ||
           (ts_check_model(f->path, "features", TS_KIND_UNKNOWN, err) && (f->weights = ts_open_weights(f->path, quiet, err)));
}

bool strokes_model_open(strokes_model *m, const ts_common *common, ts_error *err)
{
    return ts_check_model(m->path, "model", TS_KIND_STROKES, err) &&
           (m->weights = ts_open_weights(m->path, common->quiet, err)) && ts_strokes_about(m->weights, &m->info, err) &&
           strokes_features_open(&m->features, common->quiet, err);
}

bool strokes_model_start(strokes_model *m, const ts_common *common, ts_error *err)
{
    m->dev = ts_open_device(common, false, err);
    m->model = m->dev ? ts_strokes_open(m->dev, m->weights, m->features.weights, &m->features.told, err) : NULL;
    if (m->model) ts_announce_device(common, m->dev);
    return m->model != NULL;
}

void strokes_model_close(strokes_model *m)
{
    ts_strokes_free(m->model);
    ts_device_free(m->dev);
    ts_weights_free(m->weights);
    ts_weights_free(m->features.weights);
}

const char *strokes_colour_text(const uint8_t colour[3], char out[8])
{
    snprintf(out, 8, "#%02x%02x%02x", colour[0], colour[1], colour[2]);
    return out;
}

static const ts_entry commands[] = {
    {.name = "train",
     .summary = "learn from strokes painted on one picture or a few",
     .run = ts_strokes_train_command,
     .computes = true},
    {.name = "apply",
     .usage = "MODEL",
     .summary = "masks of pictures by what was learned",
     .run = ts_strokes_apply_command,
     .computes = true},
    {.name = "eval",
     .usage = "MODEL",
     .summary = "measure a model on pictures whose masks are known",
     .run = ts_strokes_eval_command,
     .computes = true},
};
const ts_group ts_group_strokes = {
    .name = "strokes",
    .summary = "learns from a few strokes which pixel is what, and applies it to more pictures",
    .wanted = "what to do",
    .of_folder = "its pictures are masked by tessera strokes apply MODEL FOLDER -o MASKS",
    .note = "tessera strokes COMMAND --help tells of a command.\n",
    .example = "  tessera strokes train --picture cells.jpg strokes.png -o cells.strokes\n"
               "  tessera strokes apply cells.strokes photos/ -o masks/\n",
    .entries = commands,
    .count = sizeof commands / sizeof *commands,
};
