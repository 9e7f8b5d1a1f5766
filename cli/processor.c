/* processor.c - how the program behaves beside others on the same cores.
 *
 * Our kernels and oneDNN's run over the threads of OpenMP, which wait for each other at the end of every loop. GNU's runtime
 * waits by turning for up to 300000 turns, some 10 ms, before it sleeps. That is much longer than a loop takes: alone on the
 * machine it never comes to that, but where another program holds a core, the threads that are done burn the time in which the
 * last one could have run, a run takes many times as long and most of its processor time is spent turning. Sleeping at once is as
 * bad the other way: waking a thread takes longer than most loops, which costs a quiet machine a third of the speed.
 *
 * So the turns are bounded by time: to a few of the shortest loops where a core is free, to less than one where others hold them
 * all, as it is when the program starts. The runtime takes the number from the environment alone,
 * before main is reached, hence the program starts itself once more with it set: 2 ms, and the same process. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

static const double spin_us = 200, spin_shared_us = 20;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* One turn as the runtime does it: 10 ns on one processor, 50 on the next. */
static void turn(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static int turns_of(double us)
{
    enum { TURNS = 500, TRIES = 3 };
    double least = 0;
    for (int k = 0; k < TRIES; k++) { /* one may be interrupted */
        const double start = now_us();
        for (int i = 0; i < TURNS; i++) turn();
        const double took = now_us() - start;
        if (k == 0 || took < least) least = took;
    }
    const double turns = least > 0 ? us * TURNS / least : 1e5;
    return turns < 100 ? 100 : turns > 1e5 ? 100000 : (int)turns;
}

/* Whether others run on every core of this machine, as far as the system tells. */
static bool cores_taken(void)
{
    FILE *f = fopen("/proc/stat", "r");
    if (!f) return false;
    char line[4096];
    long running = 0;
    while (running == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, "procs_running ", 14) == 0) running = strtol(line + 14, NULL, 10);
    fclose(f);
    return running - 1 >= sysconf(_SC_NPROCESSORS_ONLN); /* one is this program */
}

void ts_share_processor(char **argv)
{
#ifdef TESSERA_OPENMP
    /* Whoever says how to wait is obeyed; and the second start finds what the first has set. */
    static const char *const said[] = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (getenv(said[i])) return;
    char self[PATH_MAX], number[16];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return;
    self[length] = '\0';
    snprintf(number, sizeof number, "%d", turns_of(cores_taken() ? spin_shared_us : spin_us));
    if (setenv(said[0], number, 1) == 0) execv(self, argv); /* where that fails we go on as we are */
#else
    (void)argv;
#endif
}
