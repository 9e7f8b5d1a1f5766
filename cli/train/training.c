/* training.c - see training.h. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/train/training.h"

static volatile sig_atomic_t stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

void ts_training_watch(void)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool ts_training_stopping(void)
{
    return stopping;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

void ts_training_console_begin(ts_training_console *c, bool quiet)
{
    *c = (ts_training_console){.quiet = quiet, .terminal = !quiet && isatty(STDERR_FILENO), .start_ms = ts_now_ms()};
}

void ts_training_wipe(ts_training_console *c)
{
    if (c->shown) fprintf(stderr, "\r\033[K");
    c->shown = false;
}

void ts_training_say(ts_training_console *c, const char *format, ...)
{
    if (c->quiet) return;
    char text[1024];
    va_list args;
    ts_training_wipe(c);
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ts_put_text(stderr, text);
    fputc('\n', stderr);
}

void ts_training_show(ts_training_console *c, const char *format, ...)
{
    const double now = ts_now_ms();
    if (!c->terminal || now - c->start_ms < 1000 || now - c->shown_ms < 200) return;
    va_list args;
    fprintf(stderr, "\r\033[K");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
    c->shown_ms = now;
    c->shown = true;
}

const char *ts_time_text(double seconds, char out[32])
{
    if (seconds < 90) snprintf(out, 32, "%.0f s", seconds);
    else if (seconds < 5400) snprintf(out, 32, "%.0f min", seconds / 60);
    else snprintf(out, 32, "%.1f h", seconds / 3600);
    return out;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

/* Opening a file checks its size against its header: a copied folder may hold half a file. */
bool ts_training_find_checkpoint(const char *folder, ts_training_console *c, ts_weights **out, ts_error *err)
{
    int count;
    int64_t *steps = ts_train_checkpoints(folder, &count);
    bool ok = true;
    *out = NULL;
    for (int i = count - 1; ok && i >= 0 && !*out; i--) {
        ts_error why = {0};
        char *path = ts_train_path(folder, "checkpoint-", steps[i], ".safetensors", err);
        ok = path != NULL;
        if (ok && !(*out = ts_weights_open(path, &why))) ts_training_say(c, "left out: %s", why.text);
        free(path);
    }
    free(steps);
    if (ok && count > 0 && !*out) return ts_fail(err, TS_ERR_FORMAT, "%s: none of its %d checkpoints can be read", folder, count);
    return ok;
}

bool ts_training_fail(const char *folder, const ts_error *why, ts_error *err)
{
    int count;
    int64_t *steps = ts_train_checkpoints(folder, &count);
    char *path = count > 0 ? ts_train_path(folder, "checkpoint-", steps[count - 1], ".safetensors", NULL) : NULL;
    if (path) ts_fail(err, why->code, "%s; the last good checkpoint is %s", why->text, path);
    else ts_fail(err, why->code, "%s; there is no checkpoint yet", why->text);
    free(path);
    free(steps);
    return false;
}

bool ts_training_check_loss(const char *folder, int64_t step, double loss, const char *advice, ts_error *err)
{
    ts_error why = {0};
    if (isfinite(loss)) return true;
    ts_fail(&why, TS_ERR_FORMAT, "the loss of step %lld is %g: %s", (long long)step, loss, advice);
    return ts_training_fail(folder, &why, err);
}

bool ts_training_curve(const ts_train_log *log, const char *folder, bool reconstruction, ts_error *err)
{
    int64_t n = log->count, steps = 0, validations = n;
    double *x = malloc((size_t)(n + 1) * sizeof *x), *y = malloc((size_t)(n + 1) * sizeof *y);
    char *path = NULL;
    bool ok = x && y && asprintf(&path, "%s/loss.png", folder) >= 0;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; ok && i < n; i++) {
        const ts_train_entry *e = &log->list[i];
        /* The steps from the front, the validations from the back. */
        int64_t at = e->validation ? --validations : steps++;
        x[at] = (double)e->step;
        y[at] = !e->validation && reconstruction ? e->reconstruction : e->loss;
    }
    const ts_curve curves[] = {{x, y, steps, {70, 120, 200}, false},
                               {x + validations, y + validations, n - validations, {220, 110, 40}, true}};
    ok = ok && ts_plot_save(path, curves, 2, err);
    free(path);
    free(x);
    free(y);
    return ok;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static cJSON *report_of(const ts_training_console *c, const ts_train_log *log, const ts_training_end *end, const char *path,
                        cJSON *o)
{
    const ts_train_entry *best = ts_train_log_best(log), *last = NULL;
    for (int64_t i = log->count - 1; i >= 0 && !last; i--)
        if (!log->list[i].validation) last = &log->list[i];
    const double ms = ts_now_ms() - c->start_ms;
    if (!o) o = cJSON_CreateObject();
    if (o && cJSON_AddStringToObject(o, "out", path) && cJSON_AddBoolToObject(o, "complete", end->done >= end->steps) &&
        cJSON_AddNumberToObject(o, "step", (double)end->done) && cJSON_AddNumberToObject(o, "steps", end->steps) &&
        (!last || cJSON_AddNumberToObject(o, "loss", last->loss)) &&
        (!best || cJSON_AddNumberToObject(o, "best_validation_loss", best->loss)) &&
        (!best || cJSON_AddNumberToObject(o, "best_step", (double)best->step)) &&
        cJSON_AddNumberToObject(o, "seconds", ms * 1e-3) &&
        cJSON_AddNumberToObject(o, "images_per_s", (double)(end->done - end->first) * end->pictures * 1e3 / ms) &&
        cJSON_AddNumberToObject(o, "waiting", end->waited_ms / ms) && cJSON_AddStringToObject(o, "device", end->device))
        return o;
    cJSON_Delete(o);
    return NULL;
}

bool ts_training_report(ts_training_console *c, const ts_train_log *log, const ts_training_end *end, bool json, cJSON *more,
                        ts_error *err)
{
    const bool complete = end->done >= end->steps;
    char *path = NULL;
    if (asprintf(&path, complete ? "%s/model.safetensors" : "%s", end->folder) < 0) {
        cJSON_Delete(more);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    if (!complete) ts_training_say(c, "stopped after step %lld of %d: --resume goes on", (long long)end->done, end->steps);
    if (!json) ts_put_line(path);
    const bool ok = json ? ts_print_json(report_of(c, log, end, path, more), err) : ts_flush_output(err);
    free(path);
    return ok;
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

const char *ts_whole_path(ts_whole_paths *of, const char *path)
{
    const int room = (int)(sizeof of->item / sizeof *of->item);
    char *whole = path && of->count < room ? realpath(path, NULL) : NULL;
    return whole ? of->item[of->count++] = whole : path;
}

void ts_whole_paths_free(ts_whole_paths *of)
{
    for (int i = 0; i < of->count; i++) free(of->item[i]);
    of->count = 0;
}
