/* train.c - a training step of the masked autoencoder at the sizes of `train mae --preset tiny`: a batch in the host's
 * memory goes in, forward, backward and AdamW run, loss and accuracy come back. The labels are given, so the VQGAN that makes
 * them is no part of it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "mae/mae.h"

typedef struct {
    ts_mae_trainer *trainer;
    float *pixels;
    int32_t *keep, *codes;
} train_bench;

static bool step_once(void *ctx, double *ms, ts_error *err)
{
    train_bench *b = ctx;
    double loss, accuracy, start = ts_now_ms();
    if (!ts_mae_trainer_step(b->trainer, b->pixels, b->keep, b->codes, 1e-4, &loss, &accuracy, err)) return false;
    *ms = ts_now_ms() - start;
    return true;
}

static bool make_batch(train_bench *b, const ts_mae_trainer_desc *d, ts_error *err)
{
    const int64_t places = (int64_t)d->config.side * d->config.side, canvas = (int64_t)d->config.side * d->config.patch;
    const int64_t values = d->batch * canvas * canvas * 3;
    b->pixels = malloc((size_t)values * sizeof *b->pixels);
    b->keep = malloc((size_t)(d->batch * d->visible) * sizeof *b->keep);
    b->codes = malloc((size_t)(d->batch * places) * sizeof *b->codes);
    if (!b->pixels || !b->keep || !b->codes) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < values; i++) b->pixels[i] = (float)(i * 7919 % 2001) * 1e-3F - 1;
    for (int64_t i = 0; i < d->batch * places; i++) b->codes[i] = (int32_t)(i * 7919 % d->config.codes);
    /* Every (places / visible)th patch, from another one on in each picture. */
    for (int64_t i = 0; i < d->batch; i++)
        for (int64_t k = 0; k < d->visible; k++) b->keep[i * d->visible + k] = (int32_t)((k * places / d->visible + i) % places);
    return true;
}

bool ts_bench_train(ts_device *dev, int batch, uint64_t seed, double budget, ts_bench_add add, void *ctx, ts_error *err)
{
    const ts_mae_trainer_desc desc = {.config = {.patch = 16,
                                                 .side = 14,
                                                 .dim = 256,
                                                 .depth = 6,
                                                 .heads = 8,
                                                 .mlp = 1024,
                                                 .decoder_dim = 192,
                                                 .decoder_depth = 4,
                                                 .decoder_heads = 6,
                                                 .decoder_mlp = 768,
                                                 .codes = 1024},
                                      .batch = batch,
                                      .visible = 49,
                                      .seed = seed};
    train_bench b = {0};
    ts_bench_row row = {.name = "train MAE tiny"};
    snprintf(row.shape, sizeof row.shape, "%d of 196 patches visible, batch %d", desc.visible, batch);
    bool ok = make_batch(&b, &desc, err) && (b.trainer = ts_mae_trainer_new(dev, &desc, err)) != NULL;
    if (ok) row.flops = ts_mae_trainer_about(b.trainer).flops;
    ok = ok && ts_bench_repeat(step_once, &b, budget, &row, err) && add(ctx, &row, err);
    ts_mae_trainer_free(b.trainer);
    free(b.pixels);
    free(b.keep);
    free(b.codes);
    return ok;
}
