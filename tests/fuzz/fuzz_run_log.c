/* fuzz_run_log.c - any bytes as log.jsonl of a run. What of it is kept must be read again as it was, and can be drawn. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/train/training.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { LAST = 1000, DRAWN_ONE_IN = 32 };
static char folder[] = "/tmp/fuzz_run_log_XXXXXX", curve[64];

static void clean_up(void)
{
    unlink(curve);
    rmdir(folder);
}

static void begin(void)
{
    if (!mkdtemp(folder)) abort();
    snprintf(curve, sizeof curve, "%s/loss.png", folder);
    atexit(clean_up);
}

static char *read_log(const void *bytes, size_t size, ts_train_log *log, size_t *kept_size, bool *cut)
{
    char *text = NULL;
    FILE *f = fmemopen((void *)(uintptr_t)bytes, size, "r"), *kept = open_memstream(&text, kept_size);
    if (!f || !kept) abort();
    if (!ts_train_log_read(log, f, LAST, kept, cut, NULL)) abort();
    fclose(f);
    if (fclose(kept) != 0) abort();
    return text;
}

static void check(const ts_train_log *log)
{
    const ts_train_entry *best = ts_train_log_best(log);
    for (int64_t i = 0; i < log->count; i++) {
        const ts_train_entry *e = &log->list[i];
        if (e->step < 0 || e->step > LAST || isinf(e->loss)) abort();
        if (e->validation && (!ts_train_log_best(log) || !(best->loss <= e->loss))) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static unsigned turn;
    ts_train_log log = {0}, second = {0};
    size_t kept_size = 0, again_size = 0;
    bool cut = false, cut_again = false;
    if (!folder[0] || size == 0) return 0;
    if (!curve[0]) begin();
    char *kept = read_log(bytes, size, &log, &kept_size, &cut);
    check(&log);
    if (!cut && (kept_size != size || memcmp(kept, bytes, size) != 0)) abort();
    if (kept_size > 0) {
        char *again = read_log(kept, kept_size, &second, &again_size, &cut_again);
        if (cut_again || second.count != log.count || again_size != kept_size || memcmp(again, kept, kept_size) != 0) abort();
        free(again);
    }
    const ts_curve_desc desc = {.title = "loss", .guess = 1, .guess_name = "guessing"};
    if (turn++ % DRAWN_ONE_IN == 0 && !ts_training_curve(&log, folder, &desc, NULL)) abort();
    ts_train_log_close(&log);
    ts_train_log_close(&second);
    free(kept);
    return 0;
}
