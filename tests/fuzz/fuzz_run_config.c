/* fuzz_run_config.c - any bytes as config.json of a run, of each kind. What is read must be written and read again as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/clip/train.h"
#include "cli/clip/tune.h"
#include "cli/tune/learn.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/fuzz_run_config_XXXXXX", path[64], again[64];

static void clean_up(void)
{
    unlink(path);
    unlink(again);
    rmdir(folder);
}

static void begin(void)
{
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/config.json", folder);
    snprintf(again, sizeof again, "%s/again.json", folder);
    atexit(clean_up);
}

static void write_file(const uint8_t *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
}

static void train(ts_train_kind kind)
{
    /* What earlier versions wrote nothing of keeps its default. */
    ts_train_config c = {.kind = kind, .accumulate = 1, .discriminator_width = 64}, d = c;
    ts_error err = {0};
    const bool ok = ts_train_config_read(&c, path, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok) {
        if (c.source_count < 1 || c.source_count > TS_TRAIN_SOURCES || c.steps < 1 || c.batch < 1) abort();
        if (!ts_train_config_write(&c, again, NULL) || !ts_train_config_read(&d, again, NULL)) abort();
        if (d.source_count != c.source_count || d.steps != c.steps || d.seed != c.seed || d.canvas != c.canvas) abort();
    }
    ts_train_config_free(&c);
    ts_train_config_free(&d);
}

static void clip_train(void)
{
    ts_clip_train_config c = {0}, d = {0};
    ts_error err = {0};
    const bool ok = ts_clip_train_config_read(&c, path, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok && (!ts_clip_train_config_write(&c, again, NULL) || !ts_clip_train_config_read(&d, again, NULL))) abort();
    if (ok && (d.steps != c.steps || d.seed != c.seed || d.merges != c.merges)) abort();
    ts_clip_train_config_free(&c);
    ts_clip_train_config_free(&d);
}

static void clip_tune(void)
{
    ts_tune_config c = {.method = "coop"}, d = {.method = "coop"};
    ts_error err = {0};
    const bool ok = ts_tune_config_read(&c, path, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok && (c.seeds < 1 || c.seeds > TS_TUNE_SEEDS)) abort();
    if (ok && (!ts_tune_config_write(&c, again, NULL) || !ts_tune_config_read(&d, again, NULL))) abort();
    if (ok && (d.seeds != c.seeds || memcmp(d.seed, c.seed, (size_t)c.seeds * sizeof *c.seed) != 0)) abort();
    ts_tune_config_free(&c);
    ts_tune_config_free(&d);
}

static void learn(bool fusion)
{
    ts_learn_config c = {.is_fusion = fusion}, d = c;
    ts_error err = {0};
    const bool ok = ts_learn_config_read(&c, path, &err);
    if (ok == (err.code != TS_OK)) abort();
    if (ok && (c.examples < 1 || c.examples > 64 || c.batch < 1 || !c.inputs)) abort();
    if (ok && (!ts_learn_config_write(&c, again, NULL) || !ts_learn_config_read(&d, again, NULL))) abort();
    if (ok && (d.seed != c.seed || d.epochs != c.epochs || d.background != c.background)) abort();
    ts_learn_config_free(&c);
    ts_learn_config_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!path[0]) begin();
    write_file(bytes, size);
    train(TS_TRAIN_MAE);
    train(TS_TRAIN_VQGAN);
    clip_train();
    clip_tune();
    learn(false);
    learn(true);
    return 0;
}
