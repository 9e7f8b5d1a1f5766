/* journal.c - the journal of an evaluation: a first line that says what is measured and how, then a line of JSON a trial, written
 * as soon as it is scored. An evaluation that was stopped goes on after the last whole line; parts that ran side by side are read
 * one after the other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/eval/eval.h"

const char *const eval_who_names[EVAL_WHO] = {"model", "copy_query", "copy_example", "right_codes"};

bool eval_part_read(const char *text, int *part, int *parts)
{
    int used = 0;
    *part = *parts = 1;
    return !text || (sscanf(text, "%9d/%9d%n", part, parts, &used) == 2 && !text[used] && *part >= 1 && *parts >= *part);
}

bool eval_head_options(cJSON *head, const ts_words *given, const ts_words *values)
{
    static const char apart[] = " log part csv json sheet shown keep quiet verbose threads ";
    cJSON *options = cJSON_AddArrayToObject(head, "options");
    bool ok = options != NULL;
    for (int i = 0; ok && i < given->count; i++) {
        char word[64];
        snprintf(word, sizeof word, " %s ", given->items[i]);
        if (!strstr(apart, word))
            ok = cJSON_AddItemToArray(options, cJSON_CreateString(given->items[i])) &&
                 cJSON_AddItemToArray(options, cJSON_CreateString(values->items[i]));
    }
    return ok;
}

static int place_of(const eval_journal *j, int trial)
{
    int low = 0, high = j->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (j->lines[middle].trial < trial) low = middle + 1;
        else high = middle;
    }
    return low;
}

const cJSON *eval_journal_find(const eval_journal *j, int trial)
{
    const int at = place_of(j, trial);
    return at < j->count && j->lines[at].trial == trial ? j->lines[at].line : NULL;
}

/* Takes the line, on failure too. */
static bool keep(eval_journal *j, int trial, cJSON *line, ts_error *err)
{
    if (j->count == j->room) {
        const int room = j->room ? 2 * j->room : 64;
        eval_line *grown = realloc(j->lines, (size_t)room * sizeof *grown);
        if (!grown) {
            cJSON_Delete(line);
            return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d trials", j->count);
        }
        j->lines = grown;
        j->room = room;
    }
    const int at = place_of(j, trial);
    memmove(j->lines + at + 1, j->lines + at, (size_t)(j->count - at) * sizeof *j->lines);
    j->lines[at] = (eval_line){trial, line};
    j->count++;
    return true;
}

/* ---- reading ---- */

/* Whether two heads say the same but for the part that each is. */
static bool same_head(const cJSON *a, const cJSON *b)
{
    cJSON *x = cJSON_Duplicate(a, true), *y = cJSON_Duplicate(b, true);
    cJSON_DeleteItemFromObject(x, "part");
    cJSON_DeleteItemFromObject(y, "part");
    const bool same = x && y && cJSON_Compare(x, y, true);
    cJSON_Delete(x);
    cJSON_Delete(y);
    return same;
}

/* Takes `json`. */
static bool take_line(eval_journal *j, const char *path, int number, cJSON *json, ts_error *err)
{
    const cJSON *trial = cJSON_GetObjectItem(json, "trial");
    if (number == 1 && cJSON_GetObjectItem(json, "measured")) {
        const bool first = !j->head, same = first || same_head(j->head, json);
        if (first) j->head = json;
        else cJSON_Delete(json);
        return same ||
               ts_fail(err, TS_ERR_ARGUMENT,
                       "%s is of another evaluation: other pictures, options, or another model (its first line says which)",
                       path);
    }
    if (number > 1 && cJSON_IsNumber(trial) && trial->valuedouble >= 0 && trial->valuedouble < 1e9 &&
        trial->valuedouble == floor(trial->valuedouble)) {
        if (!eval_journal_find(j, trial->valueint)) return keep(j, trial->valueint, json, err);
        ts_fail(err, TS_ERR_ARGUMENT, "%s, line %d: trial %d was there already", path, number, trial->valueint);
    } else {
        ts_fail(err, TS_ERR_FORMAT, "%s, line %d is no line of an evaluation", path, number);
    }
    cJSON_Delete(json);
    return false;
}

/* Reads the whole lines, and tells how many bytes they are. */
static bool read_lines(eval_journal *j, FILE *f, const char *path, int64_t *whole, ts_error *err)
{
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    *whole = 0;
    for (int number = 1; ok; number++) {
        const ssize_t length = getline(&line, &room, f);
        if (length <= 0 || line[length - 1] != '\n') break; /* the end, or a line that was not finished */
        cJSON *json = cJSON_ParseWithLength(line, (size_t)length);
        if (!json) ok = ts_fail(err, TS_ERR_FORMAT, "%s, line %d is no line of an evaluation", path, number);
        else ok = take_line(j, path, number, json, err);
        *whole += length;
    }
    free(line);
    return ok;
}

bool eval_journal_read(eval_journal *j, const char *path, ts_error *err)
{
    int64_t whole;
    FILE *f = fopen(path, "r");
    if (!f) return ts_fail(err, TS_ERR_IO, "%s cannot be opened", path);
    const bool ok =
        read_lines(j, f, path, &whole, err) && (whole > 0 || ts_fail(err, TS_ERR_FORMAT, "%s holds no evaluation", path));
    fclose(f);
    return ok;
}

/* ---- writing ---- */

static bool write_line(FILE *f, const cJSON *json, ts_error *err)
{
    char *text = ts_json_text(json, false);
    const bool ok = text && fprintf(f, "%s\n", text) > 0 && fflush(f) == 0;
    free(text);
    return ok || ts_fail(err, TS_ERR_IO, "the journal cannot be written");
}

bool eval_journal_open(eval_journal *j, const char *path, cJSON *head, ts_error *err)
{
    int64_t whole = 0;
    *j = (eval_journal){.head = head};
    if (!head) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!path) return true;
    FILE *f = fopen(path, "r");
    if (f) {
        const bool ok = read_lines(j, f, path, &whole, err);
        fclose(f);
        if (!ok) return false;
        if (truncate(path, whole) != 0) return ts_fail(err, TS_ERR_IO, "%s cannot be written", path);
    }
    if (!(j->file = fopen(path, "a"))) return ts_fail(err, TS_ERR_IO, "%s cannot be written", path);
    return whole > 0 || write_line(j->file, head, err);
}

bool eval_journal_add(eval_journal *j, int trial, cJSON *line, ts_error *err)
{
    if (!line) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return keep(j, trial, line, err) && (!j->file || write_line(j->file, line, err));
}

void eval_journal_close(eval_journal *j)
{
    for (int i = 0; i < j->count; i++) cJSON_Delete(j->lines[i].line);
    free(j->lines);
    cJSON_Delete(j->head);
    if (j->file) fclose(j->file);
    *j = (eval_journal){0};
}

/* ---- what came of it ---- */

enum { SAMPLES = 1000 };

typedef struct {
    int count;
    double mean, low, high;
} figure;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int eval_journal_values(const eval_journal *j, const char *who, const char *metric, int fold, double *out)
{
    int count = 0;
    for (int i = 0; i < j->count; i++) {
        const cJSON *line = j->lines[i].line, *of = cJSON_GetObjectItem(line, "fold");
        const cJSON *number = cJSON_GetObjectItem(cJSON_GetObjectItem(line, who), metric);
        if (cJSON_IsNumber(number) && (fold < 0 || (cJSON_IsNumber(of) && of->valueint == fold)))
            out[count++] = number->valuedouble;
    }
    return count;
}

static bool figure_of(const eval_journal *j, const char *who, const char *metric, figure *out, ts_error *err)
{
    double *value = malloc((size_t)(j->count + 1) * sizeof *value), mean[SAMPLES];
    *out = (figure){0};
    if (!value) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    out->count = eval_journal_values(j, who, metric, -1, value);
    for (int i = 0; i < out->count; i++) out->mean += value[i];
    uint64_t state = 1;
    if (out->count > 0) out->mean /= out->count;
    for (int s = 0; out->count > 0 && s < SAMPLES; s++) {
        mean[s] = 0;
        for (int i = 0; i < out->count; i++) mean[s] += value[(int)(ts_uniform(&state) * out->count)] / out->count;
    }
    if (out->count > 0) {
        qsort(mean, SAMPLES, sizeof *mean, by_size);
        out->low = mean[SAMPLES / 40];
        out->high = mean[SAMPLES - 1 - SAMPLES / 40];
    }
    free(value);
    return true;
}

typedef struct {
    figure all[EVAL_WHO][EVAL_METRICS];
} figures;

/* The number under `key`, or nothing, and a comma. */
static void put_number(FILE *f, const cJSON *line, const char *key)
{
    const cJSON *number = cJSON_GetObjectItem(line, key);
    if (cJSON_IsNumber(number)) fprintf(f, "%d", number->valueint);
    fputc(',', f);
}

bool eval_journal_csv(const eval_journal *j, const char *path, ts_error *err)
{
    const bool folds = cJSON_GetObjectItem(j->head, "folds") != NULL;
    FILE *f = fopen(path, "w");
    if (!f) return ts_fail(err, TS_ERR_IO, "%s cannot be written", path);
    fprintf(f, folds ? "trial,fold,class,query" : "trial,query");
    for (int who = 0; who < EVAL_WHO; who++)
        for (int m = 0; m < EVAL_METRICS; m++) fprintf(f, ",%s_%s", eval_who_names[who], eval_metric_names[m]);
    fprintf(f, "\n");
    for (int i = 0; i < j->count; i++) {
        const char *query = cJSON_GetStringValue(cJSON_GetObjectItem(j->lines[i].line, "query"));
        fprintf(f, "%d,", j->lines[i].trial);
        if (folds) put_number(f, j->lines[i].line, "fold");
        if (folds) put_number(f, j->lines[i].line, "class");
        fputc('"', f);
        for (const char *c = query ? query : ""; *c; c++) fprintf(f, *c == '"' ? "\"\"" : "%c", *c);
        fprintf(f, "\"");
        for (int who = 0; who < EVAL_WHO; who++)
            for (int m = 0; m < EVAL_METRICS; m++) {
                const cJSON *scores = cJSON_GetObjectItem(j->lines[i].line, eval_who_names[who]);
                const cJSON *number = cJSON_GetObjectItem(scores, eval_metric_names[m]);
                if (cJSON_IsNumber(number)) fprintf(f, ",%.9g", number->valuedouble);
                else fprintf(f, ",");
            }
        fprintf(f, "\n");
    }
    const bool ok = !ferror(f);
    return (fclose(f) == 0 && ok) || ts_fail(err, TS_ERR_IO, "%s cannot be written", path);
}

static bool print_json(const eval_journal *j, const figures *f, ts_error *err)
{
    cJSON *out = cJSON_Duplicate(j->head, true), *scores = cJSON_CreateObject();
    bool ok = out && scores && cJSON_AddNumberToObject(out, "measured_trials", j->count); /* how many there are the head tells */
    for (int who = 0; ok && who < EVAL_WHO; who++) {
        cJSON *of = cJSON_AddObjectToObject(scores, eval_who_names[who]);
        for (int m = 0; ok && m < EVAL_METRICS; m++) {
            const figure *x = &f->all[who][m];
            if (x->count == 0) continue;
            cJSON *item = cJSON_AddObjectToObject(of, eval_metric_names[m]);
            ok = item && cJSON_AddNumberToObject(item, "mean", x->mean) && cJSON_AddNumberToObject(item, "low", x->low) &&
                 cJSON_AddNumberToObject(item, "high", x->high) && cJSON_AddNumberToObject(item, "count", x->count);
        }
    }
    if (!ok || !cJSON_AddItemToObject(out, "scores", scores)) {
        cJSON_Delete(scores);
        cJSON_Delete(out);
        out = NULL;
    }
    return ts_print_json(out, err);
}

static bool print_table(const eval_journal *j, int all, const figures *f, ts_error *err)
{
    if (j->count == all) printf("%d trials; the mean, and what 95 of 100 samples of as many would have\n", all);
    else printf("%d of %d trials; the mean, and what 95 of 100 samples of as many would have\n", j->count, all);
    for (int m = 0; m < EVAL_METRICS; m++)
        for (int who = 0; who < EVAL_WHO; who++) {
            const figure *x = &f->all[who][m];
            if (x->count == 0) continue;
            printf("%-9s %-13s %8.4f  (%.4f to %.4f)", who ? "" : eval_metric_names[m], eval_who_names[who], x->mean, x->low,
                   x->high);
            if (x->count < j->count) printf("  of %d trials", x->count);
            printf("\n");
        }
    return ts_flush_output(err);
}

bool eval_journal_summarise(const eval_journal *j, int all, bool json, const char *csv, ts_error *err)
{
    figures f;
    for (int who = 0; who < EVAL_WHO; who++)
        for (int m = 0; m < EVAL_METRICS; m++)
            if (!figure_of(j, eval_who_names[who], eval_metric_names[m], &f.all[who][m], err)) return false;
    if (csv && !eval_journal_csv(j, csv, err)) return false;
    return json ? print_json(j, &f, err) : print_table(j, all, &f, err);
}
