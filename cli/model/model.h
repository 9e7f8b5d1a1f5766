/* model.h - what the files of `tessera model` share: what a weights file turned out to be, and the commands. */
#ifndef TESSERA_CLI_MODEL_MODEL_H
#define TESSERA_CLI_MODEL_MODEL_H

#include "cli/cli.h"
#include "clip/clip.h"
#include "dino/dino.h"
#include "mae/mae.h"
#include "painter/painter.h"
#include "sam/sam.h"
#include "strokes/strokes.h"

/* What the file says and, of a CLIP or a DINO, its sizes, or why it cannot be run. */
typedef struct {
    ts_model_info model;
    bool has_clip, has_dino, has_painter, has_sam, has_strokes;
    ts_clip_config clip;
    ts_dino_config dino;
    ts_painter_config painter;
    ts_sam_config sam;
    ts_strokes_info strokes;
    ts_error problem;
} ts_about;

bool ts_about_read(const ts_weights *w, ts_about *out, ts_error *err);
/* Objects "mae", "vqgan", "clip", ... with the sizes of what is in the file. False: no memory. */
bool ts_about_add_sizes(cJSON *to, const ts_about *a);

int ts_model_info_command(int argc, char **argv);
int ts_model_check_command(int argc, char **argv);
int ts_model_convert_command(int argc, char **argv);

#endif
