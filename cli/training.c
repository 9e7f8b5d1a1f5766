/* training.c - see training.h. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/training.h"

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
    va_list args;
    ts_training_wipe(c);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
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

char *ts_read_text(const char *path, ts_error *err)
{
    FILE *f = fopen(path, "rbe");
    char *text = NULL;
    size_t size = 0, room = 0;
    bool ok = f != NULL;
    while (ok && !feof(f)) {
        if (size + 1 >= room) {
            char *grown = room < 1 << 24 ? realloc(text, room = 2 * room + 4096) : NULL;
            ok = grown != NULL;
            if (grown) text = grown;
        }
        if (ok) size += fread(text + size, 1, room - size - 1, f);
        if (ok && ferror(f)) ok = false;
    }
    if (f) fclose(f);
    if (ok && text) {
        text[size] = '\0';
        return text;
    }
    free(text);
    ts_fail(err, TS_ERR_IO, "%s cannot be read", path);
    return NULL;
}
