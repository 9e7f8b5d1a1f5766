/* strokes.h - what `tessera strokes train`, `apply` and `eval` share: the options of a transformer's features, and opening a
 * model with them. */
#ifndef TESSERA_CLI_STROKES_H
#define TESSERA_CLI_STROKES_H

#include "cli/cli.h"
#include "strokes/strokes.h"

int ts_strokes_train_command(int argc, char **argv);
int ts_strokes_apply_command(int argc, char **argv);
int ts_strokes_eval_command(int argc, char **argv);

/* A transformer whose features are taken, where one is named. */
typedef struct {
    const char *path;
    ts_clip_told told;
    ts_weights *weights;
} strokes_features;

enum { STROKES_FEATURE_OPTIONS = 4, STROKES_MOST_SMOOTH = 256 };
void strokes_feature_options(strokes_features *f, ts_option list[STROKES_FEATURE_OPTIONS]);
bool strokes_features_open(strokes_features *f, bool quiet, ts_error *err);

#define STROKES_SMOOTH_HELP "smooth the probabilities over squares of 2 R + 1 pixels, the picture's edges kept; 0: not"

/* A model's file, and what is made of it on a device. */
typedef struct {
    const char *path;
    strokes_features features;
    ts_weights *weights;
    ts_strokes_info info;
    ts_device *dev;
    ts_strokes *model;
} strokes_model;

/* Opens the files and reads what the model is; then makes it on the device, which is announced. */
bool strokes_model_open(strokes_model *m, const ts_common *common, ts_error *err);
bool strokes_model_start(strokes_model *m, const ts_common *common, ts_error *err);
void strokes_model_close(strokes_model *m);

/* "#ff0000"; `out` is returned. */
const char *strokes_colour_text(const uint8_t colour[3], char out[8]);

#endif
