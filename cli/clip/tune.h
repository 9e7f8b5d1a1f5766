/* tune.h - what the files of `tessera clip tune` share. A tuning is a folder:
 *
 *   config.json                       everything that decides it; --resume reads it
 *   prompt.safetensors                the prompt at the end
 *   log.jsonl                         a line a step, and a line with "validation_accuracy" for each validation
 *   checkpoint-00000200.safetensors   prompt and optimizer after that many steps; the last of them
 *   loss.png                          the curve
 *
 * With several seeds all but config.json is in a folder seed-N for each. */
#ifndef TESSERA_CLI_CLIP_TUNE_H
#define TESSERA_CLI_CLIP_TUNE_H

#include "cli/clip/measure.h"
#include "cli/train/training.h"

enum { TS_TUNE_SEEDS = 64 };

/* Numbers below zero, or zero where that cannot be meant: not said, the method's own. */
typedef struct {
    const char *method, *model, *vocab, *data, *root, *device;
    const char *position, *words, *attention; /* settings of the method */
    int context, tokens, pixels, depth;
    bool per_class, no_augment, base_to_new, cut;
    ts_clip_told told; /* of the model */
    int shots, batch, epochs, warmup, eval_every, save_every, keep, threads, workers, memory;
    double lr, momentum, weight_decay;
    uint64_t seed[TS_TUNE_SEEDS];
    int seeds;
    ts_data_seen seen; /* of the data set's pictures */
    cJSON *file;       /* owns the texts of a configuration that was read */
} ts_tune_config;

/* ---- tune_config.c ---- */

bool ts_tune_config_write(const ts_tune_config *c, const char *path, ts_error *err);
/* Reads it over `c`, whose method it must be. Free with ts_tune_config_free. */
bool ts_tune_config_read(ts_tune_config *c, const char *path, ts_error *err);
void ts_tune_config_free(ts_tune_config *c);
/* "1,2,3" */
bool ts_tune_config_seeds(ts_tune_config *c, const char *text);
/* What the method gets; list has room for 8. Returns their number. `numbers`: where the texts of numbers are written. */
int ts_tune_config_settings(const ts_tune_config *c, ts_clip_setting list[8], char numbers[4][16]);

/* ---- tune_run.c ---- */

/* One seed's run. */
typedef struct {
    ts_clip_use *use;
    const ts_tune_config *config;
    uint64_t seed;
    const char *folder, *config_path; /* the configuration is written once nothing of it can be refused any more */
    /* what came of it */
    bool complete;
    int64_t step, steps;
    double loss, seconds, images_per_s;
} ts_tune_run;

/* Trains, or goes on where the folder's last checkpoint stands; prompt.safetensors is there when it is complete. */
bool ts_tune_go(ts_tune_run *run, ts_error *err);
/* The data set as the configuration says; of a folder without parts, always in the same parts, whatever the seed. */
bool ts_tune_open_data(const ts_tune_config *c, ts_clip_data *out, ts_error *err);

#endif
