/* eval.h - what the measurements share: pairs of pictures in folders, scores, and the journal of trials, a line each, from which
 * an evaluation goes on, or several that ran side by side become one. */
#ifndef TESSERA_EVAL_H
#define TESSERA_EVAL_H

#include "cli/cli.h"
#include "cli/pair_list.h"
#include "masks/masks.h"

int ts_eval_synthetic(int argc, char **argv);
int ts_eval_pairs(int argc, char **argv);
int ts_eval_segmentation(int argc, char **argv);
int ts_eval_detection(int argc, char **argv);
int ts_eval_colorization(int argc, char **argv);
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

enum { EVAL_PALETTE = 8, EVAL_METRICS = 8 };
typedef enum { EVAL_IOU, EVAL_IOU_ALL, EVAL_IOU_BLIND, EVAL_ACCURACY, EVAL_MSE, EVAL_PSNR, EVAL_SSIM, EVAL_LPIPS } eval_metric;
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

/* ---- lpips.c ------------------------------------------------------------------------------------------------------ */

#define EVAL_LPIPS_HELP                                                                                                          \
    "also how unlike answer and target look: LPIPS by these weights, its own vgg.pth or a VQGAN's checkpoint with its loss"
#define EVAL_VGG_HELP "torchvision's VGG-16, where the file of --lpips does not hold it"

typedef struct eval_lpips eval_lpips;
/* Whether the files are there; NULL ones are not wanted. */
bool eval_lpips_check(const char *file, const char *vgg, ts_error *err);
/* The device must outlive it. */
eval_lpips *eval_lpips_open(ts_device *dev, const char *file, const char *vgg, bool quiet, ts_error *err);
/* Of two pictures of one size, values as they are shown; nothing is written where they have less than 16 pixels a side. */
bool eval_lpips_measure(eval_lpips *l, const ts_image *truth, const ts_image *answer, double *out, ts_error *err);
void eval_lpips_free(eval_lpips *l);

/* ---- sheet_rows.c ------------------------------------------------------------------------------------------------- */

/* A contact sheet of trials, one a row: the example, its output, the query, the answer, the target. */
enum { EVAL_COLUMNS = 5 };
bool eval_sheet_new(ts_image *sheet, int rows, ts_error *err);
bool eval_sheet_add(ts_image *sheet, int row, const ts_image *const pictures[EVAL_COLUMNS], ts_error *err);

/* ---- journal.c ---------------------------------------------------------------------------------------------------- */

/* "K/N", K from 1 to N; NULL is 1/1. False: it is no such text. */
bool eval_part_read(const char *text, int *part, int *parts);
/* Adds to the head of a journal the options that were given, but for those that change no figure. */
bool eval_head_options(cJSON *head, const ts_words *given, const ts_words *values);

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
/* The numbers of all trials that have one under `who` and `metric`, of one fold or of all (-1), into `out`, which has j->count
 * places; returns how many. */
int eval_journal_values(const eval_journal *j, const char *who, const char *metric, int fold, double *out);
bool eval_journal_csv(const eval_journal *j, const char *path, ts_error *err); /* a line a trial */
bool eval_journal_summarise(const eval_journal *j, int all, bool json, const char *csv, ts_error *err);

#endif
