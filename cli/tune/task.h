/* task.h - what the files of `tessera tune task` share. task.c leads; task_cells.c has the pictures and what is seen on them;
 * task_search.c has the search, and the file that it goes on from. */
#ifndef TESSERA_CLI_TUNE_TASK_H
#define TESSERA_CLI_TUNE_TASK_H

#include "cli/train/training.h"
#include "mae/prompt/prompt.h"

/* Pairs of one task, at cell size. */
typedef struct {
    int count;
    ts_image *input, *output; /* (count), owned */
    bool masks;               /* the outputs have two colours: */
    uint8_t colours[2][3];    /* the background and what is not */
    ts_data_seen seen;        /* of the pictures */
} tune_cells;

/* What is made of a picture, where a task is made and not given, as the paper made its tasks of one set of pictures: the target
 * is the picture, the input what is done to it. */
typedef enum { TUNE_IDENTITY, TUNE_LOW_LIGHT, TUNE_FILL_IN, TUNE_COLOURISE, TUNE_MADE, TUNE_GIVEN } tune_made;

typedef struct {
    ts_common common;
    ts_words folders, against;
    const char *out, *model, *vqgan, *background;
    char default_model[4096];
    int heads, decoder_heads, filter, canvases, best, grain, part, batch, training, check;
    double share; /* below zero: tried out */
    bool search, resume;
    int steps, samples;
    double lr, start, regular;
    ts_left_out left_out;
    /* the work */
    ts_device *dev;
    ts_weights *weights, *vqgan_weights;
    ts_mae_config config;
    ts_grid grid;
    ts_inpainter *inpainter;
    ts_task *task;
    ts_task_runner *runner;
    tune_cells own;
    ts_image *query;              /* (own.count): canvases without an example, in the order of the next */
    int *order;                   /* (own.count): pairs, those of the search first */
    int searched, checked;        /* how many of them search, and how many that follow check */
    double plain, bare, one_pass; /* losses on those that check: with an example, with nothing patched, by the score */
    double used;                  /* share of the units that the score took */
    uint8_t *score_mask;          /* which it took */
    /* of the search */
    int64_t done;   /* steps */
    double sampled; /* the mean loss of the last step's samples; NaN: no step was made */
    double best_loss;
    int64_t best_step; /* 0: none yet */
    uint8_t *best_mask;
    int stopped; /* by a signal */
} tune_task;

/* ---- task_cells.c ---- */

/* Reads a folder's pairs (with `targets` two folders'). */
bool tune_cells_read(const char *inputs, const char *targets, const ts_grid *grid, ts_left_out *left_out, bool quiet,
                     tune_cells *out, ts_error *err);
void tune_cells_clear(tune_cells *c);
/* Canvases of all tasks, the best of each, into a collector: the task's vectors, and in `score` (units) what ts_task_scores says.
 */
bool tune_collect(tune_task *t, double *score, ts_error *err);
/* The canvases without example of all pairs, in a random order. */
bool tune_queries(tune_task *t, ts_error *err);
/* The mean loss on the pairs that check, with another pair of the folder as the example. */
bool tune_plain_loss(tune_task *t, double *loss, ts_error *err);
/* The same by task vectors, with this mask. */
bool tune_mask_loss(tune_task *t, const uint8_t *mask, double *loss, ts_error *err);

/* ---- task_search.c ---- */

/* Begins the search, or goes on, to its end or a signal. */
bool tune_search(tune_task *t, ts_error *err);
/* Opens the file of a search that goes on: its vectors and figures. */
bool tune_search_open(tune_task *t, ts_error *err);
/* Fails where a search would overwrite another's file, or has none to go on from. */
bool tune_search_check(const tune_task *t, ts_error *err);

#endif
