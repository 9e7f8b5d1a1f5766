/* eval.h - what the measurements share: pairs of pictures in folders, scores, and the journal of trials, a line each, from which
 * an evaluation goes on, or several that ran side by side become one. */
#ifndef TESSERA_EVAL_H
#define TESSERA_EVAL_H

#include "cli/cli.h"
#include "cli/pair_list.h"
#include "masks/masks.h"

int ts_eval_synthetic(int argc, char **argv);
int ts_eval_pairs(int argc, char **argv);
int ts_eval_merge(int argc, char **argv);

/* ---- trials.c ----------------------------------------------------------------------------------------------------- */

/* Which pairs are asked, and which are their examples. */
typedef struct {
    int count, each;      /* trials; examples of each */
    int *query, *example; /* (count), (count, each) */
} eval_trials;

/* `count` queries in order; their examples are the caller's to fill in. */
bool eval_trials_new(int count, int each, eval_trials *out, ts_error *err);
/* All pairs in order, each with `each` others at random; the same for the same seed, whatever the parts. */
bool eval_trials_draw(const eval_pairs *p, int each, uint64_t seed, eval_trials *out, ts_error *err);
/* Lines of a file: a pair's name and those of its examples, all as many. Empty lines and those that begin with # are none. */
bool eval_trials_read(const eval_pairs *p, const char *path, eval_trials *out, ts_error *err);
void eval_trials_clear(eval_trials *t);

/* ---- score.c ------------------------------------------------------------------------------------------------------ */

enum { EVAL_PALETTE = 8, EVAL_METRICS = 6 };
typedef enum { EVAL_IOU, EVAL_IOU_ALL, EVAL_ACCURACY, EVAL_MSE, EVAL_PSNR, EVAL_SSIM } eval_metric;
extern const char *const eval_metric_names[EVAL_METRICS];

/* Adds the main colours of a target: those of at least 0.5 % of its pixels. False: it is no picture of few colours (or now there
 * are more than 8), and `p` is empty. */
bool eval_palette_add(ts_palette *p, const ts_image *target);

/* Values that are not measured are NaN. With a palette: the mean of the IoUs of the colours but the background that are in the
 * target, the IoU of all that is not background, the share of right pixels. Without: the mean squared error of values in
 * [0, 1], its PSNR in dB (100 where nothing differs), and SSIM (Wang et al. 2004, of luma, windows of 11 x 11 Gaussian weights
 * of deviation 1.5). */
bool eval_score(const ts_image *truth, const ts_image *answer, const ts_palette *palette, double out[EVAL_METRICS],
                ts_error *err);

/* ---- journal.c ---------------------------------------------------------------------------------------------------- */

enum { EVAL_WHO = 4 };
extern const char *const eval_who_names[EVAL_WHO]; /* model, copy_query, copy_example, right_codes */

typedef struct {
    int trial;
    cJSON *line; /* owned by the journal */
} eval_line;

typedef struct {
    cJSON *head;      /* what was measured, and how */
    eval_line *lines; /* by trial */
    int count, room;
    FILE *file; /* where new lines go; NULL: nowhere */
} eval_journal;

/* Takes `head`. Reads a journal that is there, whose head must be equal but for "part", cuts off a line that was not finished,
 * and opens it to be continued; makes it where it is absent. NULL path: lines are kept in memory alone. */
bool eval_journal_open(eval_journal *j, const char *path, cJSON *head, ts_error *err);
/* Reads one more, of which the first may have been none. */
bool eval_journal_read(eval_journal *j, const char *path, ts_error *err);
/* The line of a trial, or NULL. */
const cJSON *eval_journal_find(const eval_journal *j, int trial);
/* Takes a line, and writes it. */
bool eval_journal_add(eval_journal *j, int trial, cJSON *line, ts_error *err);
void eval_journal_close(eval_journal *j);

/* Means of all trials, with the bounds that 95 of 100 samples of as many trials would lie in (1000 bootstrap samples), and how
 * many were measured: as a table, or as JSON with `json`. `all`: trials that there should be. */
bool eval_journal_summarise(const eval_journal *j, int all, bool json, const char *csv, ts_error *err);

#endif
