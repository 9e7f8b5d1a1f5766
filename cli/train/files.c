/* files.c - the files of a run: checkpoints by step, and the log. Everything here must be right after a kill at any moment:
 * a file has its name only when it is whole, and the log is cut back to the checkpoint that a run goes on from. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/train/train.h"
#include "engine/file.h"
#include "engine/number.h"

static const char STEM[] = "checkpoint-", ENDING[] = ".safetensors";

char *ts_train_path(const char *folder, const char *stem, int64_t step, const char *ending, ts_error *err)
{
    char *out = NULL;
    if (asprintf(&out, "%s/%s%08lld%s", folder, stem, (long long)step, ending) >= 0) return out;
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return NULL;
}

/* The step in "checkpoint-N.safetensors"; -1: another name. */
static int64_t checkpoint_step(const char *name)
{
    const char *ending = strstr(name, ENDING);
    char digits[24] = {0};
    int64_t step;
    if (strncmp(name, STEM, sizeof STEM - 1) != 0 || !ending || ending[sizeof ENDING - 1] != '\0') return -1;
    snprintf(digits, sizeof digits, "%.*s", (int)(ending - name) - (int)(sizeof STEM - 1), name + sizeof STEM - 1);
    return ts_whole_read(digits, 0, INT64_MAX, &step) ? step : -1;
}

static int rising(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t *ts_train_checkpoints(const char *folder, int *count)
{
    int64_t *list = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int64_t step = checkpoint_step(entry->d_name);
        int64_t *grown = step >= 0 ? realloc(list, (size_t)(*count + 1) * sizeof *list) : NULL;
        if (!grown) continue;
        list = grown;
        list[(*count)++] = step;
    }
    if (dir) closedir(dir);
    if (list) qsort(list, (size_t)*count, sizeof *list, rising);
    return list;
}

void ts_train_prune(const char *folder, int keep)
{
    int count;
    int64_t *steps = ts_train_checkpoints(folder, &count);
    for (int i = 0; i < count - keep; i++) {
        char *path = ts_train_path(folder, STEM, steps[i], ENDING, NULL);
        if (path) unlink(path);
        free(path);
    }
    free(steps);
}

void ts_train_sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *name = entry->d_name, *dot = strrchr(name, '.');
        static const char *const kinds[] = {".safetensors.", ".png.", ".json.", ".jsonl.", ".csv."};
        bool ours = false;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) ours = ours || strstr(name, kinds[i]);
        char *path = NULL;
        if (!dot || strcmp(dot, ".tmp") != 0 || !ours || asprintf(&path, "%s/%s", folder, name) < 0) continue;
        unlink(path);
        free(path);
    }
    if (dir) closedir(dir);
}

/* ---- the log --------------------------------------------------------------------------------------------------- */

/* What a line may hold, by whether it is a validation's. */
typedef struct {
    const char *key, *validation_key;
    size_t offset;
} column;

#define AT(member) offsetof(ts_train_entry, member)
static const column columns[] = {
    {"loss", "validation_loss", AT(loss)},
    {"accuracy", "validation_accuracy", AT(accuracy)},
    {"reconstruction", NULL, AT(reconstruction)},
    {"perceptual", NULL, AT(perceptual)},
    {"codebook", NULL, AT(codebook)},
    {"generator", NULL, AT(generator)},
    {"discriminator", NULL, AT(discriminator)},
    {"adaptive_weight", NULL, AT(adaptive_weight)},
    {"codes_used", "validation_codes_used", AT(codes_used)},
    {"lr", NULL, AT(lr)},
    {"loss_scale", NULL, AT(loss_scale)},
    {"images_per_s", NULL, AT(images_per_s)},
    {"waiting", NULL, AT(waiting)},
};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

static double *cell_of(ts_train_entry *e, const column *c)
{
    return (double *)(void *)((char *)e + c->offset);
}

static bool remember(ts_train_log *log, const ts_train_entry *entry, ts_error *err)
{
    if (log->count == log->capacity) {
        int64_t capacity = log->capacity ? 2 * log->capacity : 1024;
        ts_train_entry *grown = realloc(log->list, (size_t)capacity * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the log");
        log->list = grown;
        log->capacity = capacity;
    }
    log->list[log->count++] = *entry;
    return true;
}

ts_train_entry ts_train_entry_of(int64_t step, bool validation)
{
    ts_train_entry e = {.step = step, .validation = validation};
    for (int i = 0; i < COLUMN_COUNT; i++) *cell_of(&e, &columns[i]) = (double)NAN;
    return e;
}

/* False: no line of ours. */
static bool parse_line(const char *line, size_t length, ts_train_entry *out)
{
    cJSON *o = memchr(line, '\0', length) ? NULL : cJSON_ParseWithOpts(line, NULL, true);
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(o, "step");
    int64_t number = -1;
    bool ok = cJSON_IsNumber(step) && ts_whole_of(step->valuedouble, 0, INT64_MAX, &number);
    *out = ts_train_entry_of(number, cJSON_GetObjectItemCaseSensitive(o, "validation_loss") != NULL);
    for (int i = 0; ok && i < COLUMN_COUNT; i++) {
        const char *key = out->validation ? columns[i].validation_key : columns[i].key;
        const cJSON *item = key ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;
        if (item && cJSON_IsNumber(item) && isfinite(item->valuedouble)) *cell_of(out, &columns[i]) = item->valuedouble;
    }
    cJSON_Delete(o);
    return ok && (!out->validation || isfinite(out->loss)); /* the best of them is looked for */
}

bool ts_train_log_read(ts_train_log *log, FILE *f, int64_t step, FILE *kept, bool *cut, ts_error *err)
{
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&line, &room, f)) > 0;) {
        ts_train_entry entry;
        if (line[length - 1] != '\n' || !parse_line(line, (size_t)length, &entry) || entry.step > step) {
            *cut = true;
            continue;
        }
        ok = remember(log, &entry, err) && (fputs(line, kept) >= 0 || ts_fail(err, TS_ERR_MEMORY, "out of memory for the log"));
    }
    free(line);
    return ok;
}

static void print_line(FILE *to, const ts_train_entry *entry)
{
    ts_train_entry e = *entry;
    fprintf(to, "{\"step\":%lld", (long long)e.step);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const char *key = e.validation ? columns[i].validation_key : columns[i].key;
        const double value = *cell_of(&e, &columns[i]);
        if (key && isfinite(value)) fprintf(to, ",\"%s\":%.7g", key, value);
    }
    fputs("}\n", to);
}

/* The table has a column for all that a line may hold, so that it need not be known at the beginning what comes. */
static void print_heads(FILE *to)
{
    fputs("step", to);
    for (int i = 0; i < COLUMN_COUNT; i++) fprintf(to, ",%s", columns[i].key);
    for (int i = 0; i < COLUMN_COUNT; i++)
        if (columns[i].validation_key) fprintf(to, ",%s", columns[i].validation_key);
    fputc('\n', to);
}

static void print_cell(FILE *to, double value)
{
    fputc(',', to);
    if (isfinite(value)) fprintf(to, "%.7g", value);
}

static void print_row(FILE *to, const ts_train_entry *entry)
{
    ts_train_entry e = *entry;
    fprintf(to, "%lld", (long long)e.step);
    for (int i = 0; i < COLUMN_COUNT; i++) print_cell(to, e.validation ? (double)NAN : *cell_of(&e, &columns[i]));
    for (int i = 0; i < COLUMN_COUNT; i++)
        if (columns[i].validation_key) print_cell(to, e.validation ? *cell_of(&e, &columns[i]) : (double)NAN);
    fputc('\n', to);
}

static bool out_of_memory(ts_error *err)
{
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for the log");
}

/* Reads the log, and cuts it where there is more than up to `step`. */
static bool cut_back(ts_train_log *log, const char *path, int64_t step, ts_error *err)
{
    char *text = NULL;
    size_t size = 0;
    const bool there = access(path, F_OK) == 0;
    FILE *f = there ? ts_file_open(path, "log", err) : NULL, *kept = NULL;
    bool cut = false, ok = f || !there;
    if (ok && !(kept = open_memstream(&text, &size))) ok = out_of_memory(err);
    if (ok && f) ok = ts_train_log_read(log, f, step, kept, &cut, err);
    if (ok && f && ferror(f)) ok = ts_fail(err, TS_ERR_IO, "%s cannot be read: %s", path, strerror(errno));
    if (f) fclose(f);
    if (kept && fclose(kept) != 0) ok = out_of_memory(err);
    if (ok && cut) ok = ts_file_write(path, text, size, err);
    free(text);
    return ok;
}

/* Makes the table anew from what the log holds: whatever it was left with, they agree. */
static bool make_table(const ts_train_log *log, const char *path, ts_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return out_of_memory(err);
    print_heads(f);
    for (int64_t i = 0; i < log->count; i++) print_row(f, &log->list[i]);
    bool ok = fclose(f) == 0 || out_of_memory(err);
    ok = ok && ts_file_write(path, text, size, err);
    free(text);
    return ok;
}

static FILE *open_to_append(const char *path, ts_error *err)
{
    FILE *f = fopen(path, "ae");
    if (!f) ts_fail(err, TS_ERR_IO, "%s cannot be written: %s", path, strerror(errno));
    return f;
}

bool ts_train_log_open(ts_train_log *log, const char *folder, int64_t step, ts_error *err)
{
    char *lines = NULL, *table = NULL;
    *log = (ts_train_log){0};
    if (asprintf(&lines, "%s/log.jsonl", folder) < 0) lines = NULL;
    if (asprintf(&table, "%s/log.csv", folder) < 0) table = NULL;
    if (!lines || !table) {
        free(lines);
        free(table);
        return out_of_memory(err);
    }
    bool ok = cut_back(log, lines, step, err) && make_table(log, table, err) && (log->file = open_to_append(lines, err)) &&
              (log->table = open_to_append(table, err));
    free(lines);
    free(table);
    if (!ok) ts_train_log_close(log);
    return ok;
}

bool ts_train_log_add(ts_train_log *log, const ts_train_entry *entry, ts_error *err)
{
    if (!remember(log, entry, err)) return false;
    print_line(log->file, entry);
    print_row(log->table, entry);
    if (fflush(log->file) != 0 || ferror(log->file))
        return ts_fail(err, TS_ERR_IO, "the run's log.jsonl cannot be written: %s", strerror(errno));
    if (fflush(log->table) != 0 || ferror(log->table))
        return ts_fail(err, TS_ERR_IO, "the run's log.csv cannot be written: %s", strerror(errno));
    return true;
}

void ts_train_log_close(ts_train_log *log)
{
    if (log->file) fclose(log->file);
    if (log->table) fclose(log->table);
    free(log->list);
    *log = (ts_train_log){0};
}

bool ts_train_log_validated(const ts_train_log *log, int64_t step)
{
    for (int64_t i = log->count - 1; i >= 0 && log->list[i].step >= step; i--)
        if (log->list[i].validation && log->list[i].step == step) return true;
    return false;
}

const ts_train_entry *ts_train_log_best(const ts_train_log *log)
{
    const ts_train_entry *best = NULL;
    for (int64_t i = 0; i < log->count; i++)
        if (log->list[i].validation && (!best || log->list[i].loss < best->loss)) best = &log->list[i];
    return best;
}
