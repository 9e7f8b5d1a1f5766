/* measure.h - how well prompts, and the zero-shot classifier beside them, tell a data set's test pictures. */
#ifndef TESSERA_CLI_CLIP_MEASURE_H
#define TESSERA_CLI_CLIP_MEASURE_H

#include "cli/clip/clip.h"

/* Part of a data set to measure on; its pictures' plain features are computed once, when first wanted. */
typedef struct {
    const char *label; /* "all", "base", "new" */
    ts_clip_data data;
    float *plain;   /* (test.count, embed) */
    int64_t *total; /* test pictures of each class */
} ts_measure_set;

typedef struct {
    int64_t *right;                 /* of each class */
    double accuracy, mean_by_class; /* share of all pictures; mean over the classes that have pictures */
} ts_measured;

bool ts_measure_open(const ts_clip_data *all, ts_clip_half half, ts_measure_set *out, ts_error *err);
void ts_measure_close(ts_measure_set *s);
/* The features (count, embed) of a split's pictures, in `features`; those that cannot be read are left out of the split. `bar`:
 * shows the progress, or NULL. Fails where none can be read. */
bool ts_known_features(ts_clip_use *u, ts_clip_prompt *p, ts_clip_split *split, int workers, ts_progress *bar, float *features,
                       ts_error *err);
/* templates: NULL: "a photo of a {}." */
bool ts_measure_zero_shot(ts_clip_use *u, ts_measure_set *s, int workers, const char *const *templates, int template_count,
                          ts_measured *out, ts_error *err);
bool ts_measure_prompt(ts_clip_use *u, ts_measure_set *s, int workers, const ts_weights *prompt, ts_measured *out, ts_error *err);
void ts_measured_clear(ts_measured *m);
/* 2 a b / (a + b); 0 where both are. */
double ts_harmonic_mean(double a, double b);
/* Mean and deviation of values as they come (Welford 1962); zero-initialised. */
typedef struct {
    int count;
    double mean, squares;
} ts_running_mean;
void ts_running_mean_add(ts_running_mean *m, double value);
double ts_running_mean_deviation(const ts_running_mean *m); /* of the values (n - 1); 0 for one */

/* ---- words.c ---- */

/* The `each` words nearest to the prompt's first `most` vectors, as a table on standard output, or as "words" in a report.
 * Nothing for a prompt that has no vectors among words. */
bool ts_print_prompt_words(ts_clip_prompt *p, const ts_tokenizer *t, int each, int most, ts_error *err);
bool ts_report_prompt_words(ts_clip_prompt *p, const ts_tokenizer *t, int each, int most, cJSON *to, ts_error *err);
/* What a prompt of pixels adds, as a picture file. */
bool ts_save_prompt_picture(ts_clip_prompt *p, const char *path, ts_error *err);

#endif
