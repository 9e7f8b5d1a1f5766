/* bench.h - what the files of `tessera bench` share. */
#ifndef TESSERA_CLI_BENCH_H
#define TESSERA_CLI_BENCH_H

#include "cli/cli.h"

typedef struct {
    char name[48], shape[64];
    double ms;     /* median */
    double cpu_ms; /* the processor's time of a run, all threads together: what a busy machine does not lengthen */
    double flops;  /* of one run; 0: not counted */
    double bytes;  /* read and written; 0: not counted */
    int runs;
} ts_bench_row;

/* timing.c: calls `once`, which says how long it took, until `budget` milliseconds are spent (3 to 100 times) after two calls
 * that do not count; the median goes into the row. */
typedef bool (*ts_bench_once)(void *ctx, double *ms, ts_error *err);
bool ts_bench_repeat(ts_bench_once once, void *ctx, double budget, ts_bench_row *row, ts_error *err);
/* The same for runs of a plan, with its flops. On a device that profiles, a run's time is the sum of its nodes' own times. */
bool ts_bench_time(ts_exec *e, double budget, ts_bench_row *row, ts_error *err);

/* kernels.c: each op on typical shapes. */
int ts_bench_kernel_count(void);
const char *ts_bench_kernel_name(int i);
bool ts_bench_kernel(int i, ts_device *dev, uint64_t seed, double budget, ts_bench_row *row, ts_error *err);

/* models.c: a model of random weights in a published shape, or the user's file: a row for the MAE and, where asked for, one
 * each for the VQGAN's encoder and decoder. `add` is given each row. */
typedef bool (*ts_bench_add)(void *ctx, const ts_bench_row *row, ts_error *err);
typedef struct {
    const char *file;  /* NULL: random weights */
    const char *shape; /* "tiny", "small", "base", "large" */
    int heads, decoder_heads, batch;
    double budget;
    uint64_t seed;
} ts_bench_model_desc;
bool ts_bench_model(const ts_bench_model_desc *desc, ts_device *dev, bool vqgan, ts_bench_add add, void *ctx, ts_error *err);

/* train.c: one row, a training step of the masked autoencoder. */
bool ts_bench_train(ts_device *dev, int batch, uint64_t seed, double budget, ts_bench_add add, void *ctx, ts_error *err);

#endif
