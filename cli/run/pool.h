/* pool.h - a folder of example pairs, of which those most like a query become its examples: what says how they are compared, the
 * features of its pictures, kept in an index that outlives the run, and the choice. */
#ifndef TESSERA_RUN_POOL_H
#define TESSERA_RUN_POOL_H

#include "cli/cli.h"
#include "cli/pair_list.h"
#include "retrieval/retrieval.h"

/* What the command line says. */
typedef struct {
    const char *by;    /* "clip", "mae", "pixels", or a file; NULL: what is at hand */
    const char *clip;  /* a CLIP's file, or NULL */
    const char *lists; /* published lists, instead; or NULL */
    int top;           /* examples of a query; 0: not said, 1 */
} run_look;

/* The options for it. Returns their number. */
enum { RUN_LOOK_OPTIONS = 4 };
int run_look_options(run_look *look, ts_option list[RUN_LOOK_OPTIONS]);
/* What they say together; -1, or the exit status. */
int run_check_look(const run_look *look, const char *command);

typedef struct run_pool run_pool;

/* All of these must outlive the pool. */
typedef struct {
    const run_look *look;
    const char *folder; /* of the pairs' inputs, for the index and for sentences */
    const char *part;   /* "trn0": they are a part of the folder, of which the index is one of its own; NULL: all of it */
    const eval_pairs *pairs;
    const char *model; /* the model that runs, and what the user says of it */
    const ts_weights *weights;
    ts_clip_told told;
    const ts_common *common;
    ts_left_out *left_out;
} run_pool_desc;

/* Opens what the pictures are compared by, or reads the lists; no picture is read yet. */
run_pool *run_pool_new(const run_pool_desc *desc, ts_error *err);
void run_pool_free(run_pool *p);
/* Examples that there are for a query, itself left out; -1: a list names none for it, or is missing. */
int run_pool_room(const run_pool *p, const char *query, ts_error *err);
/* Features of all inputs: those that the index knows, and the others made on `dev`. A picture that cannot be read is left out, or
 * a failure where that is strict. */
bool run_pool_start(run_pool *p, ts_device *dev, ts_error *err);
/* The `most` pairs that are most like a query, the most like first, itself never. likeness (most): their cosines, or zeros where
 * a list said it; may be NULL. Fails where there are fewer. */
bool run_pool_find(run_pool *p, const char *query, const ts_image *picture, int most, int *out, double *likeness, ts_error *err);
/* The same for pair `own` of the pool, whose features are known. */
bool run_pool_find_own(run_pool *p, int own, int most, int *out, double *likeness, ts_error *err);
/* Rows of all pairs (count, width), those that could not be read being zeros, and what made them; NULL where lists are read. */
const float *run_pool_rows(const run_pool *p, int64_t *width);
bool run_pool_knows(const run_pool *p, int pair);
const ts_embedder_info *run_pool_about(const run_pool *p);
/* "clip", "mae" or "dino", and the file that it was read from; NULL where it is the model that runs. */
const char *run_pool_backbone(const run_pool *p, const char **file);

#endif
