/* progress.c - one line that tells how far a long work is. Nobody wants it in a log or for what is over in a blink, so it is
 * drawn on a terminal only, after a second, and wiped at the end. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

double ts_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void ts_progress_begin(ts_progress *p, const char *label, int64_t total, bool quiet)
{
    *p = (ts_progress){.label = label, .total = total, .start = ts_now_ms(), .active = !quiet && isatty(STDERR_FILENO)};
}

void ts_progress_step(ts_progress *p, int64_t done)
{
    p->done = done;
    double now = ts_now_ms();
    if (!p->active || now - p->start < 1000 || (p->visible && now - p->shown < 100)) return;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    int64_t full = p->total > 0 ? p->done * WIDTH / p->total : 0;
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %" PRId64 "/%" PRId64 ", %.0f s ", p->label, bar, p->done, p->total, (now - p->start) * 1e-3);
    fflush(stderr);
    p->visible = true;
    p->shown = now;
}

void ts_progress_end(ts_progress *p)
{
    if (p->visible) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    p->visible = p->active = false;
}
