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
        bool ours = strstr(name, ".safetensors.") || strstr(name, ".png.") || strstr(name, ".json.") || strstr(name, ".jsonl.");
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
static bool parse_line(const char *line, ts_train_entry *out)
{
    cJSON *o = cJSON_Parse(line);
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(o, "step");
    int64_t number = -1;
    const bool ok = cJSON_IsNumber(step) && ts_whole_of(step->valuedouble, 0, INT64_MAX, &number);
    *out = ts_train_entry_of(number, cJSON_HasObjectItem(o, "validation_loss"));
    for (int i = 0; ok && i < COLUMN_COUNT; i++) {
        const char *key = out->validation ? columns[i].validation_key : columns[i].key;
        const cJSON *item = key ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;
        if (item && cJSON_IsNumber(item)) *cell_of(out, &columns[i]) = item->valuedouble;
    }
    cJSON_Delete(o);
    return ok;
}

/* Reads the lines up to `step`, and keeps them as text. */
static bool read_lines(ts_train_log *log, FILE *f, int64_t step, FILE *kept, bool *cut, ts_error *err)
{
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&line, &room, f)) > 0;) {
        ts_train_entry entry;
        if (line[length - 1] != '\n' || !parse_line(line, &entry) || entry.step > step) {
            *cut = true;
            continue;
        }
        ok = remember(log, &entry, err) && (fputs(line, kept) >= 0 || ts_fail(err, TS_ERR_MEMORY, "out of memory for the log"));
    }
    free(line);
    return ok;
}

bool ts_train_log_open(ts_train_log *log, const char *folder, int64_t step, ts_error *err)
{
    char *path = NULL, *text = NULL;
    size_t size = 0;
    *log = (ts_train_log){0};
    if (asprintf(&path, "%s/log.jsonl", folder) < 0) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    FILE *f = access(path, F_OK) == 0 ? ts_file_open(path, "log", err) : NULL, *kept = NULL;
    bool cut = false, ok = f || access(path, F_OK) != 0;
    if (ok && !(kept = open_memstream(&text, &size))) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for the log");
    if (ok && f) ok = read_lines(log, f, step, kept, &cut, err);
    if (f) fclose(f);
    if (kept && fclose(kept) != 0) ok = ts_fail(err, TS_ERR_MEMORY, "out of memory for the log");
    if (ok && cut) ok = ts_file_write(path, text, size, err);
    if (ok && !(log->file = fopen(path, "ae"))) ok = ts_fail(err, TS_ERR_IO, "%s cannot be written: %s", path, strerror(errno));
    free(text);
    free(path);
    if (!ok) ts_train_log_close(log);
    return ok;
}

bool ts_train_log_add(ts_train_log *log, const ts_train_entry *entry, ts_error *err)
{
    ts_train_entry e = *entry;
    char line[512];
    int used = snprintf(line, sizeof line, "{\"step\":%lld", (long long)e.step);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const char *key = e.validation ? columns[i].validation_key : columns[i].key;
        double value = *cell_of(&e, &columns[i]);
        if (!key || !isfinite(value)) continue;
        used += snprintf(line + used, sizeof line - (size_t)used, ",\"%s\":%.7g", key, value);
    }
    snprintf(line + used, sizeof line - (size_t)used, "}\n");
    if (!remember(log, entry, err)) return false;
    if (fputs(line, log->file) >= 0 && fflush(log->file) == 0) return true;
    return ts_fail(err, TS_ERR_IO, "the run's log.jsonl cannot be written: %s", strerror(errno));
}

void ts_train_log_close(ts_train_log *log)
{
    if (log->file) fclose(log->file);
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
