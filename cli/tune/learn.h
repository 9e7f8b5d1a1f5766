/* learn.h - what `tessera tune border` and `tessera tune fusion` share. A tuning is a folder:
 *
 *   config.json                       everything that decides it; --resume reads it
 *   border.safetensors                (or fusion.safetensors) the one of the lowest validation loss, for run and eval
 *   log.jsonl, log.csv                a line a step, and one for each validation
 *   checkpoint-00001000.safetensors   the learned numbers and the optimizer after that many steps; the last of them
 *   loss.png                          the curve */
#ifndef TESSERA_CLI_TUNE_LEARN_H
#define TESSERA_CLI_TUNE_LEARN_H

#include "cli/eval/eval.h"
#include "cli/train/training.h"
#include "mae/prompt/prompt.h"

typedef struct {
    bool is_fusion;
    const char *model, *vqgan, *inputs, *targets, *list, *device; /* NULL: the default, in the model, in one folder, at random */
    int heads, decoder_heads;
    int examples; /* shown with a query: of a border on its canvas, of a fusion on one each */
    int pixels, cells;
    bool condenser;
    int fusion_heads;
    double sigma, dropout, top, align, embed, own_share, random_share;
    int batch, epochs, restart, save_every, eval_every, keep, threads;
    double lr;
    int filter, background; /* 0xrrggbb */
    bool recompute;
    uint64_t seed;
    ts_data_seen seen;
    cJSON *file; /* owns the texts of a configuration that was read */
} ts_learn_config;

/* ---- learn.c ---- */

/* The command: `config` holds the defaults of one of the two. */
int ts_learn(const ts_learn_config *defaults, int argc, char **argv);
const char *ts_learn_name(const ts_learn_config *c); /* "tune border" */

/* ---- learn_config.c ---- */

bool ts_learn_config_write(const ts_learn_config *c, const char *path, ts_error *err);
/* Reads it over `c`, whose kind it must be. Free with ts_learn_config_free. */
bool ts_learn_config_read(ts_learn_config *c, const char *path, ts_error *err);
void ts_learn_config_free(ts_learn_config *c);

/* ---- learn_data.c ---- */

/* All pairs at the size of a cell, a tenth of them held out. */
typedef struct {
    const ts_learn_config *config;
    ts_grid grid;
    eval_pairs pairs;
    uint8_t *cells;    /* (pairs, 2, cell, cell, 3): input, then target */
    int *train, *held; /* pairs */
    int trains, helds;
    int *near, nears; /* (pairs, nears): of the list, what may be shown with each, -1 for none */
} ts_learn_data;

/* Reads the pairs; those that cannot be read are left out. */
bool ts_learn_data_open(ts_learn_data *d, const ts_learn_config *c, const ts_grid *grid, ts_left_out *left_out, ts_error *err);
void ts_learn_data_clear(ts_learn_data *d);
/* The pairs of a step's queries, `batch` of them, by the seed alone. */
bool ts_learn_data_batch(const ts_learn_data *d, int64_t step, int *queries, ts_error *err);
int64_t ts_learn_data_steps(const ts_learn_data *d); /* of an epoch */
/* What is shown with a query, `examples` pairs. `step` below zero: of a validation, always the same. */
void ts_learn_data_examples(const ts_learn_data *d, int query, int64_t step, int *examples);
/* Canvases of a query, with its answer in the hole: one with all examples, or of a fusion one for each. */
void ts_learn_data_draw(const ts_learn_data *d, int query, const int *examples, uint8_t *canvases);
/* The canvas that a fusion's labels are of: the pair in both rows. */
void ts_learn_data_draw_labels(const ts_learn_data *d, int pair, uint8_t *canvas);

/* ---- learn_run.c ---- */

typedef struct {
    ts_learn_config *config;
    const ts_common *common;
    const char *folder;
    const ts_weights *model;
    const ts_weights *vqgan;
    ts_left_out left_out;
} ts_learn_run;

/* Learns, or goes on where the folder's last checkpoint stands. The exit status. */
int ts_learn_go(ts_learn_run *run);

#endif
