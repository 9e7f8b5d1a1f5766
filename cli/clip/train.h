/* train.h - what the files of `tessera clip train` share. Its run is a folder as that of `tessera train` (train.h), with the
 * vocabulary beside the model under the name that CLIP's has, so that the model's file is found with it. */
#ifndef TESSERA_CLI_CLIP_TRAIN_H
#define TESSERA_CLI_CLIP_TRAIN_H

#include "cli/train/training.h"
#include "clip/clip.h"

/* ---- train_config.c ---------------------------------------------------------------------------------------- */

typedef struct {
    const char *data, *val, *vocab, *init, *device; /* NULL: none, auto */
    ts_clip_config model;                           /* vocabulary: as the file of it has */
    ts_clip_told told;                              /* of --init */
    int merges;                                     /* of a vocabulary that is learned */
    int batch, steps, warmup, margin, save_every, eval_every, keep, workers, threads, memory;
    double lr, weight_decay, clip;
    uint64_t seed;
    ts_data_seen seen; /* of the pictures, with their captions */
    bool fp16, cut;    /* fp16: the model's file at the end, and the best's */
    cJSON *file;       /* owns the texts of a configuration that was read */
} ts_clip_train_config;

/* Writes config.json, whole or not at all. */
bool ts_clip_train_config_write(const ts_clip_train_config *c, const char *path, ts_error *err);
/* Reads it over `c`. Free with ts_clip_train_config_free. */
bool ts_clip_train_config_read(ts_clip_train_config *c, const char *path, ts_error *err);
void ts_clip_train_config_free(ts_clip_train_config *c);

/* ---- pairs.c ----------------------------------------------------------------------------------------------- */

/* Pictures and their captions, out of a captions.jsonl: a line {"file": ..., "text": ...} for each pair, files from the list's
 * folder on. */
typedef struct {
    char *path, *text;
    int64_t line; /* in the list, from 1 */
    int caption;  /* number of the text: equal ones have the same */
} ts_clip_pair;

typedef struct {
    const char *list; /* for complaints; owned */
    ts_clip_pair *pair;
    int64_t count;
    int side, margin;    /* of the model's pictures; they are kept (side + margin) square */
    int context, length; /* places of the model's texts, and of the longest one */
    int32_t *tokens;     /* (count, context) */
    uint8_t *pixels;     /* (count, side + margin, side + margin, 3); NULL: too many, they are read when they are wanted */
    int64_t *order;      /* (count): an epoch's pairs, batch by batch */
    int64_t epoch;       /* that `order` is of; -1: none yet */
    int workers;
    uint64_t seed;
    ts_left_out *left_out; /* where pictures that cannot be read are counted; owned by the caller */
} ts_clip_pairs;

/* Reads the list: `path` is it, or the folder that holds captions.jsonl. */
bool ts_clip_pairs_open(const char *path, ts_clip_pairs *p, ts_error *err);
void ts_clip_pairs_clear(ts_clip_pairs *p);
/* The texts' tokens; `cut` as in ts_tokenizer_tokens. */
bool ts_clip_pairs_tokens(ts_clip_pairs *p, const ts_tokenizer *t, int context, bool cut, ts_error *err);
/* The pictures, where they fit into `most` bytes: pairs whose picture cannot be read are left out of the list. Else only the
 * first is tried, and later such a pair is replaced by the next. side, margin, workers, seed and left_out are set. */
bool ts_clip_pairs_load(ts_clip_pairs *p, uint64_t most, bool quiet, ts_error *err);
/* Batch `number` of all, the same whenever it is asked for: pixels (batch, side, side, 3), normalised, tokens (batch, context).
 * Each pair comes once an epoch, but for a rest that is no batch, and equal captions in one batch only where nothing else is
 * left. Where pictures are kept larger a random square of each is taken, and with `plain` the middle. */
bool ts_clip_pairs_batch(ts_clip_pairs *p, int64_t number, int batch, bool plain, float *pixels, int32_t *tokens, ts_error *err);

/* ---- train_vocabulary.c ------------------------------------------------------------------------------------- */

/* The run's vocabulary, in its folder: the one that is there, else the one that the configuration names or that stands beside the
 * model to start from, copied, else one learned from the captions. NULL on failure. */
ts_tokenizer *ts_clip_train_vocabulary(const ts_clip_train_config *c, const char *folder, bool resumed, const ts_clip_pairs *p,
                                       ts_error *err);

/* ---- train_run.c ------------------------------------------------------------------------------------------- */

typedef struct {
    ts_clip_train_config config;
    const ts_common *common;
    const char *folder;
    double epochs; /* where config.steps is 0 */
    bool resume;   /* the folder's configuration has been read */
    bool strict;   /* a picture that cannot be read ends the run */
} ts_clip_train_run;

int ts_clip_train_go(ts_clip_train_run *run);

#endif
