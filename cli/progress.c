/* progress.c - what is told while a command works: sentences on standard error, and on a terminal one line below them that is
 * written over and over. Nobody wants that line in a log or for what is over in a blink, so it comes after a second, and before
 * anything else is written it is wiped. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static bool line_shown; /* the terminal is one, and so is its line */

double ts_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

const char *ts_time_text(double seconds, char out[32])
{
    if (seconds < 90) snprintf(out, 32, "%.0f s", seconds);
    else if (seconds < 5400) snprintf(out, 32, "%.0f min", seconds / 60);
    else snprintf(out, 32, "%.1f h", seconds / 3600);
    return out;
}

/* ---- the line --------------------------------------------------------------------------------------------------- */

void ts_line_show(const char *text)
{
    struct winsize size;
    /* A line that wraps could not be wiped. */
    const int room = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 4096;
    fprintf(stderr, "\r\033[K%.*s", room, text);
    fflush(stderr);
    line_shown = true;
}

void ts_line_wipe(void)
{
    if (!line_shown) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    line_shown = false;
}

void ts_say(const char *format, ...)
{
    char text[2048]; /* twice the longest error */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ts_line_wipe();
    ts_put_text(stderr, text);
    fputc('\n', stderr);
}

/* ---- the bar ---------------------------------------------------------------------------------------------------- */

void ts_progress_begin(ts_progress *p, const char *label, int64_t total, bool quiet)
{
    *p = (ts_progress){.label = label, .total = total, .start = ts_now_ms(), .active = !quiet && isatty(STDERR_FILENO)};
}

void ts_progress_step(ts_progress *p, int64_t done)
{
    enum { WIDTH = 30 };
    const double now = ts_now_ms(), seconds = (now - p->start) * 1e-3;
    char bar[WIDTH + 1], text[256], passed[32], rest[32], left[48] = "";
    p->done = done;
    if (!p->active || seconds < 1 || now - p->shown < 100) return;
    const int64_t full = p->total > 0 ? p->done * WIDTH / p->total : 0;
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    if (done > 0 && done <= p->total)
        snprintf(left, sizeof left, ", %s left", ts_time_text(seconds * (double)(p->total - done) / (double)done, rest));
    snprintf(text, sizeof text, "%s [%s] %" PRId64 "/%" PRId64 ", %s%s ", p->label, bar, p->done, p->total,
             ts_time_text(seconds, passed), left);
    ts_line_show(text);
    p->shown = now;
}

void ts_progress_end(ts_progress *p)
{
    if (p->active) ts_line_wipe();
    p->active = false;
}
