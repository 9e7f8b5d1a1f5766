/* train.h - what the files of `tessera train` share. A run is a folder:
 *
 *   config.json                       everything that decides the run; --resume reads it
 *   log.jsonl                         a line a step, and a line with "validation_loss" for each validation
 *   log.csv                           the same as a table
 *   checkpoint-00001000.safetensors   model and optimizer after that many steps; the last --keep of them
 *   best.safetensors                  the model of the lowest validation loss
 *   model.safetensors                 the model at the end
 *   step-00001000.png                 what the model makes of fixed validation canvases
 *   loss.png                          the curve */
#ifndef TESSERA_CLI_TRAIN_H
#define TESSERA_CLI_TRAIN_H

#include <stdio.h>

#include "cli/cli.h"
#include "mae/mae.h"

typedef enum { TS_TRAIN_MAE, TS_TRAIN_VQGAN } ts_train_kind;

/* ---- config.c ------------------------------------------------------------------------------------------- */

enum { TS_TRAIN_SOURCES = 32 };

/* What a source's pictures are: how many files, of how many bytes, and a hash of their names and sizes. No files: not known. */
typedef struct {
    double files, bytes;
    uint64_t names;
} ts_data_seen;

typedef struct {
    ts_train_kind kind;
    ts_loader_source sources[TS_TRAIN_SOURCES];
    ts_data_seen seen[TS_TRAIN_SOURCES]; /* of each source */
    int source_count;
    const char *device, *vqgan, *init, *lpips, *vgg; /* NULL: auto, and none of the others */
    int heads, decoder_heads;                        /* of --init, where nothing tells them */
    ts_mae_config mae;
    ts_vqgan_config vq;
    int canvas, batch, accumulate, steps, warmup, save_every, eval_every, eval_batches, keep, revive, continuous, workers,
        threads;
    int discriminator_start, discriminator_width; /* the first below zero: no discriminator */
    double lr, weight_decay, clip, merge, visible_loss, mask, cell_share, scale;
    uint64_t seed;
    bool fp16, half; /* the final model's file; the device's precision */
    bool recompute, decoder_only;
    bool quiet;  /* of this call, and not in the file: no notes */
    cJSON *file; /* owns the texts of a configuration that was read */
} ts_train_config;

/* Writes config.json, whole or not at all. */
bool ts_train_config_write(const ts_train_config *c, const char *path, ts_error *err);
/* Reads it over `c`. Free with ts_train_config_free. */
bool ts_train_config_read(ts_train_config *c, const char *path, ts_error *err);
void ts_train_config_free(ts_train_config *c);

/* ---- files.c -------------------------------------------------------------------------------------------- */

/* "DIR/checkpoint-00001000.safetensors" and "DIR/step-00001000.png"; owned by the caller. */
char *ts_train_path(const char *folder, const char *stem, int64_t step, const char *ending, ts_error *err);
/* The steps of the folder's checkpoints, rising; owned by the caller: free(). NULL with *count 0: there is none. */
int64_t *ts_train_checkpoints(const char *folder, int *count);
/* Removes all but the last `keep` checkpoints. */
void ts_train_prune(const char *folder, int keep);
/* Removes what a killed run left half written. */
void ts_train_sweep(const char *folder);

/* A line of the log. NaN: not in it. */
typedef struct {
    int64_t step;
    double loss, accuracy, lr, images_per_s, waiting;
    double reconstruction, perceptual, codebook, codes_used; /* vqgan */
    double generator, discriminator, adaptive_weight;        /* once a discriminator has joined in */
    double loss_scale;                                       /* fp16 */
    bool validation;                                         /* loss, accuracy and codes_used are those of the validation */
} ts_train_entry;

typedef struct {
    ts_train_entry *list;
    int64_t count, capacity;
    FILE *file, *table; /* log.jsonl, log.csv */
} ts_train_log;

/* Reads the lines up to `step` into the list, and writes them to `kept`; `cut` is set where there are others. */
bool ts_train_log_read(ts_train_log *log, FILE *f, int64_t step, FILE *kept, bool *cut, ts_error *err);
/* Opens the folder's log to go on after `step`: what is beyond it, and a line cut short, are removed. */
bool ts_train_log_open(ts_train_log *log, const char *folder, int64_t step, ts_error *err);
bool ts_train_log_add(ts_train_log *log, const ts_train_entry *entry, ts_error *err);
void ts_train_log_close(ts_train_log *log);
/* An entry of which only the step is known. */
ts_train_entry ts_train_entry_of(int64_t step, bool validation);
/* Whether the validation of a step is in the log. */
bool ts_train_log_validated(const ts_train_log *log, int64_t step);
/* The lowest validation so far, or NULL. */
const ts_train_entry *ts_train_log_best(const ts_train_log *log);

/* ---- model.c -------------------------------------------------------------------------------------------- */

/* The model in training, and what it is trained with: a frozen VQGAN, the fixed canvases of the validation. */
typedef struct ts_train_model ts_train_model;

/* `checkpoint`: where to go on, or NULL. Sets config->mae or config->vq and canvas to what the model is. */
ts_train_model *ts_train_model_new(ts_train_config *config, ts_device *dev, const ts_weights *checkpoint, ts_error *err);
void ts_train_model_free(ts_train_model *m);
int64_t ts_train_model_steps(const ts_train_model *m);
int ts_train_model_visible(const ts_train_config *config); /* patches; 0 for a VQGAN */
/* One step, or one of the `accumulate` parts of it; the entry's losses are set. */
bool ts_train_model_step(ts_train_model *m, const ts_batch *batch, double lr, ts_train_entry *entry, ts_error *err);
/* With the optimizer as a checkpoint, else as a model that `tessera run` takes. Refuses what is not finite. */
bool ts_train_model_save(ts_train_model *m, const char *path, bool checkpoint, ts_error *err);
/* Draws the validation's canvases: before the first of the next two. */
bool ts_train_model_prepare(ts_train_model *m, ts_left_out *left_out, ts_error *err);
/* `checkpoint` is the model's file of this moment. */
bool ts_train_model_validate(ts_train_model *m, const char *checkpoint, ts_train_entry *entry, ts_error *err);
bool ts_train_model_picture(ts_train_model *m, const char *checkpoint, const char *path, ts_error *err);

/* ---- run.c ---------------------------------------------------------------------------------------------- */

typedef struct {
    ts_train_config config;
    const ts_common *common;
    const char *folder;
    double epochs;       /* where config.steps is 0 */
    bool resume, strict; /* strict: a picture that cannot be read ends the run */
} ts_train_run;

int ts_train_go(ts_train_run *run);

#endif
