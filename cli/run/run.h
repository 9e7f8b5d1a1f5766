/* run.h - `tessera run` in its parts. run.c leads: everything that can be refused is refused first, the names, the model, every
 * picture, the device; then the queries go through the model in batches, and each answer is written as soon as it is there. What
 * differs between the kinds of models is an engine's, one file each: which one a run has is told by the content of its model. */
#ifndef TESSERA_RUN_H
#define TESSERA_RUN_H

#include "cli/cli.h"
#include "cli/run/examples.h"
#include "cli/run/pool.h"
#include "grid/grid.h"
#include "masks/masks.h"

enum { RUN_PAIRS = 64 };

typedef struct run_job run_job;
typedef struct run_found run_found;

typedef struct {
    bool snaps;          /* answers are brought to the examples' colours without being asked, where those are few */
    const char *options; /* its own ones, each with a space behind it: those of another kind are refused */
    /* The model's header and shapes, from r->weights; no weight is read yet. Refuses what does not go with it. */
    bool (*open)(run_job *r, ts_error *err);
    /* Takes from an example's picture what it needs. Pair `pair`, its input or its output; a second time with other values where
     * the first ones were stretched. After an answer others may be shown, as many, which take the place of these. */
    bool (*example)(run_job *r, int pair, bool output, const ts_image *picture, ts_error *err);
    /* The same of query `at`, after the examples. Where it fails, `at` is the next query. */
    bool (*query)(run_job *r, int at, const ts_image *picture, ts_error *err);
    /* Pixels a side of the cell that every picture is brought to; a picture of that size is taken as it is. NULL: there are no
     * cells. */
    int (*cell)(const run_job *r);
    int (*batch)(const run_job *r); /* queries in one run of the model, asked once the device is open; NULL: 1 */
    /* Makes the model on r->dev. */
    bool (*start)(run_job *r, ts_error *err);
    /* Gets ready for another number of examples and other options, with the model that was started; examples and queries follow
     * as after `open`. NULL: other examples need nothing. */
    bool (*again)(run_job *r, ts_error *err);
    /* The canvas of query `at`, before the answer is in its hole; the engine's. NULL: it has none. */
    const ts_image *(*canvas)(const run_job *r, int at, ts_cell *hole);
    /* A quick answer to be seen before the answer, where there is one: else `out` stays empty. NULL: there never is. */
    bool (*preview)(run_job *r, int at, ts_image *out, ts_error *err);
    /* Queries `first` on, at most as many as a batch: `answers` are zeroed, the caller's also on failure. An answer has the
     * query's size (r->sizes), unless --cell is given. */
    bool (*answer)(run_job *r, int first, int count, ts_image *answers, ts_error *err);
    /* What is left of the right answer to query `at`, of its size, in the model's own code: no answer of one code a place is
     * better. NULL: it has none. */
    bool (*ideal)(run_job *r, int at, const ts_image *truth, ts_image *out, ts_error *err);
    /* Writes what is kept beside the answer; NULL: nothing. */
    bool (*keep)(run_job *r, int at, ts_error *err);
    /* What it has to tell of a query; `ms` is the report's object of times. False: out of memory. */
    bool (*report)(const run_job *r, int at, cJSON *item, cJSON *ms);
    void (*clear)(run_job *r);
} run_engine;

struct run_job {
    ts_common common;
    ts_words examples, queries, more, given, values; /* the last two: options and their first words */
    const char *out, *overlay, *model;
    ts_left_out left_out;
    bool cell, mask, palette, no_palette;
    struct { /* of an MAE-VQGAN */
        const char *canvas, *vqgan, *background, *border, *fusion, *task;
        uint8_t background_rgb[3];
        int heads, decoder_heads, side, filter, batch, per_canvas, views, arrange, ensemble; /* the last below zero: none */
        bool transposed, keep_codes;
        double temperature, blend; /* the latter below zero: what the model's file says */
        double guide;              /* zero: none */
        int steps;
    } mae;
    struct { /* of a Painter or SegGPT */
        int kind, follow, size, fit;
    } painter;
    struct { /* of what segments by frozen features */
        int places, components, text_heads, activation;
        bool tune;
        const char *features;
    } matching;
    struct { /* of a model from strokes, or one that is learned from the examples */
        int hidden, smooth;
    } strokes;

    struct { /* examples that are looked for; no folder: they are named */
        run_look look;
        const char *folder, *targets; /* of pairs; or inputs here and outputs there */
        eval_pairs pairs;
        run_pool *pool;
        run_found *found; /* by query */
        int each, shown;  /* examples of a query; the query whose examples the engine has, -1: none's */
    } lookup;

    const run_engine *engine;
    void *own;                           /* the engine's */
    char default_model[4096], nobody[8]; /* the last: the answer's name where it goes into no file */
    ts_words inputs;                     /* every file but the queries */
    ts_jobs jobs;
    ts_weights *weights;
    ts_example_looks looks;
    ts_palette colours;                  /* of the examples' outputs; empty: they are many */
    bool many_colours, snap, told_masks; /* the last: that they are taken for masks, which is said once */
    ts_image standard;                   /* the query that was standard input, for an overlay */
    struct {
        int width, height;
    } * sizes; /* of the queries */
    ts_device *dev;
    double load_ms;          /* of the weights and the plan, once a run */
    cJSON *report, *skipped; /* of the queries that were left out */
};

/* options.c: -1, or the exit status. */
int run_options(run_job *r, int argc, char **argv);
/* The options that a command has which uses the engines: --model and all of theirs. Returns their number; and what they say
 * together. */
enum { RUN_MODEL_OPTIONS = 48 };
int run_model_options(run_job *r, ts_option list[RUN_MODEL_OPTIONS]);
int run_check_model_options(run_job *r, const char *command);
bool run_settle_options(run_job *r, ts_error *err); /* the same, the complaint not said */
/* "black", "white" or "#rrggbb". */
bool run_colour_read(const char *text, uint8_t out[3]);
/* Refuses options that were given and are another engine's. */
bool run_check_options(const run_job *r, ts_error *err);

/* engines.c: sets r->engine by what r->weights are. */
bool run_choose(run_job *r, ts_error *err);
/* Whether --model is the word "pixels": no file, but a model of pixels learned from the examples. */
bool run_is_pixels(const run_job *r);
/* Whether the model's file needs no examples: it is one from strokes. */
bool run_has_learned(const run_job *r);
/* Opens the model's file, which was checked before, and chooses its engine. */
bool run_open_weights(run_job *r, ts_error *err);
extern const run_engine run_engine_mae, run_engine_painter, run_engine_insid3, run_engine_of_sam, run_engine_strokes;

/* output.c: looks at an example's output, before the queries; decides what is made of answers, or refuses it; writes an answer of
 * a query, and what is to be seen of it beside. */
void run_see_output(run_job *r, int pair, const ts_image *picture);
bool run_plan_output(run_job *r, ts_error *err);
bool run_write_output(run_job *r, int at, ts_image *answer, ts_error *err);

/* retrieval.c: opens what examples are looked for by, without reading a picture; the device, and the features of the folder's
 * pictures; finds a query's examples, and shows them to the engine; shows them again, where it has seen others since; brings back
 * what follows from their outputs' colours, for writing the answer; tells which they were. */
bool run_lookup_open(run_job *r, ts_error *err);
bool run_lookup_start(run_job *r, ts_error *err);
bool run_lookup_find(run_job *r, int at, const ts_image *picture, ts_error *err);
bool run_lookup_show(run_job *r, int at, ts_error *err);
void run_lookup_recall(run_job *r, int at);
bool run_lookup_report(const run_job *r, int at, cJSON *item);
void run_lookup_clear(run_job *r);
/* For those who go through their queries themselves: the pool of r->lookup's folder and pairs; how many examples each of the
 * queries gets, into r->lookup.each: as many as are wanted, or as there are, the same for all, because a canvas is laid out for
 * them. */
bool run_pool_of(run_job *r, ts_error *err);
bool run_lookup_count(run_job *r, const char *const *query, int count, ts_error *err);

/* ask.c: the engine as a run of one query, which is another each time with other examples. Opens it for so many examples, once it
 * is chosen; shows it pair `k`, and the query that it is then to answer as the first. */
bool run_ask_open(run_job *r, int each, ts_error *err);
bool run_ask_example(run_job *r, int k, const eval_pair *pair, const ts_image *in, const ts_image *out, ts_error *err);
bool run_ask_query(run_job *r, const char *path, const ts_image *picture, ts_error *err);
/* The same for up to so many queries that are answered together, where the engine does that: r->jobs.count tells how many it
 * takes. Each has the examples that were shown last before it. */
bool run_ask_open_batch(run_job *r, int each, int queries, ts_error *err);
bool run_ask_query_at(run_job *r, int at, const char *path, const ts_image *picture, ts_error *err);
void run_ask_close(run_job *r); /* before run_clear */

/* Shows a picture of an example pair to the engine, and its output to output.c; a ts_example_fn, ctx being the job. run.c */
bool run_take_example(void *ctx, int at, const ts_image *picture, ts_error *err);
/* Gives back what a job holds, but not the job. run.c */
void run_clear(run_job *r);
/* Whether the device is a GPU, on which several queries at a time are faster. */
bool run_on_gpu(const run_job *r);

#endif
