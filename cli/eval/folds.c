/* folds.c - the table of an authors' evaluation: each figure by folds, the mean of the folds, and beside it what was published,
 * where that was measured in the same way. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"

enum { SAMPLES = 1000, CLASS_IOU = EVAL_METRICS, FIGURES };

typedef struct {
    int count[EVAL_FOLDS];   /* trials that have it */
    double fold[EVAL_FOLDS]; /* NaN: none has */
    double mean, low, high;  /* of the folds; the bounds NaN where they are not known */
} figure;

typedef struct {
    const eval_journal *j;
    const char *measured, *word; /* "segmentation", "fold" */
    int all, folds, number[EVAL_FOLDS], trials[EVAL_FOLDS];
    bool whole; /* every trial was measured */
    figure of[EVAL_WHO][FIGURES];
} table;

static const char *name_of(int metric)
{
    return metric == CLASS_IOU ? "iou_class" : eval_metric_names[metric];
}

/* ---- sums ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void mean_of_folds(const table *t, figure *f)
{
    int folds = 0;
    double sum = 0;
    for (int k = 0; k < t->folds; k++) {
        if (isnan(f->fold[k])) continue;
        sum += f->fold[k];
        folds++;
    }
    f->mean = folds ? sum / folds : (double)NAN;
}

/* Bounds by bootstrap: as many trials of each fold, drawn with repetition. */
static void bound(const table *t, figure *f, double *const value[EVAL_FOLDS])
{
    double mean[SAMPLES];
    uint64_t state = 1;
    for (int s = 0; s < SAMPLES; s++) {
        double sum = 0;
        int folds = 0;
        for (int k = 0; k < t->folds; k++) {
            double of_fold = 0;
            for (int i = 0; i < f->count[k]; i++) of_fold += value[k][(int)(ts_uniform(&state) * f->count[k])];
            if (f->count[k] > 0) sum += of_fold / f->count[k];
            folds += f->count[k] > 0;
        }
        mean[s] = folds ? sum / folds : 0;
    }
    qsort(mean, SAMPLES, sizeof *mean, by_size);
    f->low = mean[SAMPLES / 40];
    f->high = mean[SAMPLES - 1 - SAMPLES / 40];
}

static bool figure_of(const table *t, const char *who, const char *metric, figure *f, ts_error *err)
{
    double *value[EVAL_FOLDS] = {NULL};
    bool ok = true;
    *f = (figure){.low = (double)NAN, .high = (double)NAN};
    for (int k = 0; ok && k < t->folds; k++) {
        double sum = 0;
        value[k] = malloc((size_t)(t->j->count + 1) * sizeof **value);
        if (!value[k]) {
            ok = ts_fail(err, TS_ERR_MEMORY, "out of memory");
            break;
        }
        f->count[k] = eval_journal_values(t->j, who, metric, t->number[k], value[k]);
        for (int i = 0; i < f->count[k]; i++) sum += value[k][i];
        f->fold[k] = f->count[k] > 0 ? sum / f->count[k] : (double)NAN;
    }
    mean_of_folds(t, f);
    if (ok && !isnan(f->mean)) bound(t, f, value);
    for (int k = 0; k < t->folds; k++) free(value[k]);
    return ok;
}

/* The IoU of whole classes: pixels are summed over a fold's trials of a class, before dividing, as few-shot papers do. */
static void classes_of(const table *t, figure *f)
{
    *f = (figure){.low = (double)NAN, .high = (double)NAN};
    for (int k = 0; k < t->folds; k++) {
        double both[EVAL_CLASSES + 1] = {0}, either[EVAL_CLASSES + 1] = {0}, sum = 0;
        for (int i = 0; i < t->j->count; i++) {
            const cJSON *line = t->j->lines[i].line, *fold = cJSON_GetObjectItem(line, "fold"),
                        *pixels = cJSON_GetObjectItem(line, "pixels"), *class = cJSON_GetObjectItem(line, "class"),
                        *b = cJSON_GetArrayItem(pixels, 0), *e = cJSON_GetArrayItem(pixels, 1);
            if (!cJSON_IsNumber(fold) || fold->valueint != t->number[k] || !cJSON_IsNumber(class) || class->valueint < 1 ||
                class->valueint > EVAL_CLASSES || !cJSON_IsNumber(b) || !cJSON_IsNumber(e))
                continue;
            both[class->valueint] += b->valuedouble;
            either[class->valueint] += e->valuedouble;
        }
        for (int c = 1; c <= EVAL_CLASSES; c++) {
            if (!(either[c] > 0)) continue;
            sum += both[c] / either[c];
            f->count[k]++;
        }
        f->fold[k] = f->count[k] > 0 ? sum / f->count[k] : (double)NAN;
    }
    mean_of_folds(t, f);
}

static bool sum_up(table *t, const eval_journal *j, ts_error *err)
{
    const cJSON *folds = cJSON_GetObjectItem(j->head, "folds"), *fold;
    *t = (table){.j = j, .whole = true};
    t->measured = cJSON_GetStringValue(cJSON_GetObjectItem(j->head, "measured"));
    t->word = cJSON_GetStringValue(cJSON_GetObjectItem(j->head, "fold_is"));
    cJSON_ArrayForEach(fold, folds)
    {
        const cJSON *number = cJSON_GetObjectItem(fold, "fold"), *trials = cJSON_GetObjectItem(fold, "trials");
        if (t->folds == EVAL_FOLDS || !cJSON_IsNumber(number) || !cJSON_IsNumber(trials)) break;
        t->number[t->folds] = number->valueint;
        t->trials[t->folds++] = trials->valueint;
        t->all += trials->valueint;
    }
    if (!t->measured || !t->word || t->folds == 0)
        return ts_fail(err, TS_ERR_FORMAT, "the first line of the journal does not say what was measured");
    t->whole = j->count == t->all;
    for (int who = 0; who < EVAL_WHO; who++) {
        for (int m = 0; m < EVAL_METRICS; m++)
            if (!figure_of(t, eval_who_names[who], eval_metric_names[m], &t->of[who][m], err)) return false;
        t->of[who][CLASS_IOU].mean = (double)NAN;
    }
    classes_of(t, &t->of[0][CLASS_IOU]);
    return true;
}

/* ---- beside what was published ---- */

/* Copies do not depend on the model. */
static bool is_comparable(const table *t, int who)
{
    const cJSON *head = t->j->head;
    return t->whole && cJSON_GetArraySize(cJSON_GetObjectItem(head, "differs")) == 0 &&
           (who > 0 || cJSON_GetArraySize(cJSON_GetObjectItem(head, "model_differs")) == 0);
}

/* Published of every fold that was asked; NaN: it was not, or in another way. */
static double published(const table *t, int who, int metric, double fold[EVAL_FOLDS])
{
    double sum = 0;
    for (int k = 0; k < t->folds; k++)
        sum += fold[k] = eval_published(t->measured, eval_who_names[who], name_of(metric), t->number[k]);
    return is_comparable(t, who) ? sum / t->folds : (double)NAN;
}

static void say_what_differs(const table *t)
{
    static const char *const lists[] = {"differs", "model_differs"};
    bool first = true;
    if (is_comparable(t, 0)) return;
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(t->j->head, lists[l]))
        {
            printf("%s%s", first ? "not beside the published figures: " : "; ", cJSON_GetStringValue(item));
            first = false;
        }
    }
    if (first) printf("not beside the published figures: %d of %d trials are measured", t->j->count, t->all);
    printf("\n");
}

/* ---- printing ---- */

static bool is_share(int metric)
{
    return metric == EVAL_IOU || metric == EVAL_IOU_ALL || metric == EVAL_IOU_BLIND || metric == EVAL_ACCURACY ||
           metric == CLASS_IOU;
}

/* Shares in percent, as papers have them. */
static void print_value(int metric, double value)
{
    if (isnan(value)) printf(" %8s", "-");
    else if (is_share(metric)) printf(" %8.2f", 100 * value);
    else printf(" %8.4f", value);
}

static void print_row(const table *t, int who, int metric, bool first)
{
    const figure *f = &t->of[who][metric];
    printf("%-9s %-13s", first ? name_of(metric) : "", eval_who_names[who]);
    int missing = 0;
    for (int k = 0; k < t->folds; k++) {
        print_value(metric, f->fold[k]);
        missing += metric == CLASS_IOU ? 0 : t->trials[k] - f->count[k];
    }
    if (t->folds > 1) print_value(metric, f->mean);
    const double scale = is_share(metric) ? 100 : 1;
    if (!isnan(f->low)) printf(is_share(metric) ? "  (%.2f to %.2f)" : "  (%.4f to %.4f)", scale * f->low, scale * f->high);
    if (missing > 0) printf("  of %d trials", t->all - missing);
    printf("\n");
    double fold[EVAL_FOLDS];
    const double mean = published(t, who, metric, fold);
    if (isnan(mean)) return;
    printf("%-9s %-13s", "", "  published");
    for (int k = 0; k < t->folds; k++) print_value(metric, fold[k]);
    if (t->folds > 1) print_value(metric, mean);
    printf("\n");
}

static bool print_table(const table *t, ts_error *err)
{
    const char *of = cJSON_GetStringValue(cJSON_GetObjectItem(t->j->head, "protocol"));
    if (of) printf("%s\n", of);
    if (t->j->count < t->all) printf("%d of ", t->j->count);
    printf("%d trials; means, shares in percent, and what 95 of 100 samples of as many would have\n%-23s", t->all, "");
    for (int k = 0; k < t->folds; k++) printf("   %4s %d", t->word, t->number[k]);
    printf(t->folds > 1 ? "     mean\n" : "\n");
    for (int m = 0; m < FIGURES; m++) {
        bool first = true;
        for (int who = 0; who < EVAL_WHO; who++) {
            if (isnan(t->of[who][m].mean)) continue;
            print_row(t, who, m, first);
            first = false;
        }
    }
    say_what_differs(t);
    return ts_flush_output(err);
}

/* Numbers, null where there is none. */
static bool add_numbers(cJSON *to, const char *key, const double *value, int count)
{
    cJSON *list = cJSON_AddArrayToObject(to, key);
    for (int i = 0; list && i < count; i++)
        if (!cJSON_AddItemToArray(list, isnan(value[i]) ? cJSON_CreateNull() : cJSON_CreateNumber(value[i]))) return false;
    return list != NULL;
}

static bool add_figure(const table *t, int who, int metric, cJSON *to)
{
    const figure *f = &t->of[who][metric];
    if (isnan(f->mean)) return true;
    double fold[EVAL_FOLDS];
    int count = 0;
    cJSON *item = cJSON_AddObjectToObject(to, name_of(metric));
    for (int k = 0; k < t->folds; k++) count += f->count[k];
    bool ok = item && cJSON_AddNumberToObject(item, "mean", f->mean) && add_numbers(item, "folds", f->fold, t->folds) &&
              (metric == CLASS_IOU || cJSON_AddNumberToObject(item, "count", count));
    if (ok && !isnan(f->low)) ok = cJSON_AddNumberToObject(item, "low", f->low) && cJSON_AddNumberToObject(item, "high", f->high);
    const double mean = published(t, who, metric, fold);
    return ok && (isnan(mean) ||
                  (cJSON_AddNumberToObject(item, "published", mean) && add_numbers(item, "published_folds", fold, t->folds)));
}

/* Takes `ms`. */
static bool print_json(const table *t, cJSON *ms, ts_error *err)
{
    cJSON *out = cJSON_Duplicate(t->j->head, true), *scores = cJSON_CreateObject();
    bool ok = out && scores && cJSON_AddNumberToObject(out, "measured_trials", t->j->count);
    for (int who = 0; ok && who < EVAL_WHO; who++) {
        cJSON *of = cJSON_AddObjectToObject(scores, eval_who_names[who]);
        for (int m = 0; ok && m < FIGURES; m++) ok = of && add_figure(t, who, m, of);
    }
    if (ok && ms) {
        ok = cJSON_AddItemToObject(out, "ms", ms);
        if (ok) ms = NULL;
    }
    if (!ok || !cJSON_AddItemToObject(out, "scores", scores)) {
        cJSON_Delete(scores);
        cJSON_Delete(out);
        out = NULL;
    }
    cJSON_Delete(ms);
    return ts_print_json(out, err);
}

bool eval_folds_summarise(const eval_journal *j, bool json, const char *csv, cJSON *ms, ts_error *err)
{
    table *t = malloc(sizeof *t);
    if (!t) {
        cJSON_Delete(ms);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    bool ok = sum_up(t, j, err) && (!csv || eval_journal_csv(j, csv, err));
    if (ok && json) ok = print_json(t, ms, err);
    else cJSON_Delete(ms);
    if (ok && !json) ok = print_table(t, err);
    free(t);
    return ok;
}
