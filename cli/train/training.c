/* training.c - see training.h. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/train/training.h"

/* ---- signals ----------------------------------------------------------------------------------------------------- */

enum { LINE_MS = 30000, TWICE_MS = 500 };

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGPIPE};
enum { WATCHED = sizeof watched / sizeof *watched };
static struct sigaction before[WATCHED];
static volatile sig_atomic_t stopping;
static double asked_ms;    /* when */
static const char *answer; /* NULL: nothing is told */

/* What answers a signal has a stack of its own: kernels of oneDNN's keep numbers beyond the end of the thread's, and a signal
 * that met one was written over the heap ("corrupted size vs. prev_size"). 64 KiB: the registers of AVX-512 and AMX take 11. */
static _Alignas(64) char handler_stack[1 << 16];
static stack_t stack_before;

/* A terminal that closes, `timeout` and others send a signal twice in a moment, which is no one's impatience: only Ctrl-C,
 * pressed again a while later, is. */
static void stop(int signal_number)
{
    const int kept = errno;
    if (!stopping) {
        stopping = signal_number;
        asked_ms = ts_now_ms();
        if (answer && write(STDERR_FILENO, answer, strlen(answer)) < 0) errno = 0; /* there is nobody to tell */
    } else if (signal_number == SIGINT && ts_now_ms() - asked_ms > TWICE_MS) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    errno = kept;
}

void ts_training_watch(const ts_training_console *c)
{
    answer = c->quiet      ? NULL
             : c->terminal ? "\r\033[Kfinishing this step (Ctrl-C again ends at once)\n"
                           : "finishing this step\n";
    sigaltstack(&(stack_t){.ss_sp = handler_stack, .ss_size = sizeof handler_stack}, &stack_before);
    for (int i = 0; i < WATCHED; i++) {
        /* A reader of what is told that went away ends no training. */
        const struct sigaction action = {.sa_handler = watched[i] == SIGPIPE ? SIG_IGN : stop,
                                         .sa_flags = (int)(SA_RESTART | SA_ONSTACK)};
        sigaction(watched[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) sigaction(watched[i], &action, NULL);
    }
}

void ts_training_unwatch(void)
{
    for (int i = 0; i < WATCHED; i++) sigaction(watched[i], &before[i], NULL);
    sigaltstack(&stack_before, NULL);
}

int ts_training_stopping(void)
{
    return stopping;
}

int ts_training_ended(int signal_number)
{
    return 128 + signal_number;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

void ts_training_console_begin(ts_training_console *c, bool quiet)
{
    *c = (ts_training_console){.quiet = quiet, .terminal = !quiet && isatty(STDERR_FILENO), .start_ms = ts_now_ms()};
}

void ts_training_say(ts_training_console *c, const char *format, ...)
{
    if (c->quiet) return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ts_say("%s", text);
}

void ts_training_show(ts_training_console *c, const char *format, ...)
{
    const double now = ts_now_ms();
    if (c->quiet || now - c->start_ms < 1000 ||
        now - fmax(c->shown_ms, c->terminal ? 0 : c->start_ms) < (c->terminal ? 200 : LINE_MS))
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->terminal) ts_line_show(text);
    else ts_say("%s", text);
    c->shown_ms = now;
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

bool ts_training_curve(const ts_train_log *log, const char *folder, const ts_curve_desc *desc, ts_error *err)
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
        y[at] = !e->validation && desc->reconstruction ? e->reconstruction : e->loss;
    }
    const ts_curve curves[] = {
        {"step", TS_CURVE_MEAN, x, y, steps, {176, 200, 230}},
        {desc->guess_name, TS_CURVE_LEVEL, x, &desc->guess, desc->guess > 0, {120, 120, 120}},
        {"smoothed", TS_CURVE_SMOOTH, x, y, steps, {40, 90, 180}},
        {"validation", TS_CURVE_POINTS, x + validations, y + validations, n - validations, {220, 110, 40}}};
    const ts_plot plot = {.title = desc->title,
                          .x_name = "step",
                          .y_name = desc->reconstruction ? "mean of |x - y|" : "loss (cross entropy)",
                          .curves = curves,
                          .count = sizeof curves / sizeof *curves};
    ok = ok && ts_plot_save(path, &plot, err);
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
    const char *file = end->file ? end->file : "model.safetensors";
    if (asprintf(&path, "%s%s%s", end->folder, complete ? "/" : "", complete ? file : "") < 0) {
        cJSON_Delete(more);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    }
    ts_line_wipe();
    if (!complete) ts_training_say(c, "stopped after step %lld of %d: --resume goes on", (long long)end->done, end->steps);
    if (!json) ts_put_line(path);
    const bool ok = json ? ts_print_json(report_of(c, log, end, path, more), err) : ts_flush_output(err);
    free(path);
    return ok;
}

bool ts_texts_differ(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) != 0 : a != b;
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
