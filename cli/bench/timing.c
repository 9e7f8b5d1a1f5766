/* timing.c - how long something takes: repeated within a budget, the median counts. */
#include "cli/bench/bench.h"

#include <stdlib.h>
#include <time.h>

enum { WARM_UP = 2, LEAST_RUNS = 3, MOST_RUNS = 100 };

static double cpu_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    ts_exec *exec;
    ts_bench_row *row;
} plan_bench;

/* One run; the nodes' own times where the device gives them. */
static bool time_once(void *ctx, double *ms, ts_error *err)
{
    plan_bench *p = ctx;
    const ts_profile *nodes = NULL;
    double start = ts_now_ms();
    if (!ts_run(p->exec, err)) return false;
    *ms = ts_now_ms() - start;
    int count = ts_exec_profile(p->exec, &nodes);
    if (count > 0) *ms = p->row->bytes = 0;
    for (int i = 0; i < count; i++) {
        *ms += nodes[i].ms;
        p->row->bytes += nodes[i].bytes;
    }
    return true;
}

bool ts_bench_repeat(ts_bench_once once, void *ctx, double budget, ts_bench_row *row, ts_error *err)
{
    double times[MOST_RUNS], ignored, start, cpu;
    row->runs = 0;
    for (int i = 0; i < WARM_UP; i++)
        if (!once(ctx, &ignored, err)) return false;
    start = ts_now_ms();
    cpu = cpu_now_ms();
    while (row->runs < MOST_RUNS && (row->runs < LEAST_RUNS || ts_now_ms() - start < budget))
        if (!once(ctx, &times[row->runs++], err)) return false;
    row->cpu_ms = (cpu_now_ms() - cpu) / row->runs;
    qsort(times, (size_t)row->runs, sizeof *times, by_value);
    row->ms = times[row->runs / 2];
    return true;
}

bool ts_bench_time(ts_exec *e, double budget, ts_bench_row *row, ts_error *err)
{
    row->flops = ts_exec_about(e).flops;
    return ts_bench_repeat(time_once, &(plan_bench){e, row}, budget, row, err);
}
