/* training.h - what all trainings of the program share beside their files (train.h): the orderly end on Ctrl-C, the line of
 * progress, checkpoints to go on from, the curve. */
#ifndef TESSERA_CLI_TRAINING_H
#define TESSERA_CLI_TRAINING_H

#include "cli/train/train.h"

/* The first Ctrl-C asks for an orderly end, a second one ends at once. */
void ts_training_watch(void);
bool ts_training_stopping(void);

/* What a training tells on standard error: lines, and on a terminal one that is written over and over. */
typedef struct {
    bool quiet, terminal, shown;
    double start_ms, shown_ms;
} ts_training_console;
void ts_training_console_begin(ts_training_console *c, bool quiet);
void ts_training_say(ts_training_console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes over the line, a few times a second. */
void ts_training_show(ts_training_console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ts_training_wipe(ts_training_console *c);
/* "34 s", "12 min", "3.5 h"; `out` is returned. */
const char *ts_time_text(double seconds, char out[32]);

/* The newest checkpoint of the folder that can be opened, NULL where there is none; those that cannot be are told. */
bool ts_training_find_checkpoint(const char *folder, ts_training_console *c, ts_weights **out, ts_error *err);
/* False where a step's loss is no number: says so, with `advice` ("the training has gone wrong (...)"), and from where the run
 * can go on. */
bool ts_training_check_loss(const char *folder, int64_t step, double loss, const char *advice, ts_error *err);
/* Fails with `why`, and says from where the run can go on. */
bool ts_training_fail(const char *folder, const ts_error *why, ts_error *err);
/* Draws the folder's loss.png: the steps' losses (or, with `reconstruction`, those), and the validations'. */
bool ts_training_curve(const ts_train_log *log, const char *folder, bool reconstruction, ts_error *err);

/* What a run came to. */
typedef struct {
    const char *folder;
    int64_t done, first; /* steps: all, and those before this process */
    int steps;
    double pictures; /* of a step */
    double waited_ms;
    const char *device;
} ts_training_end;
/* The model's path on standard output, or the folder's where the run was stopped; or with `json` the report, to which `more`
 * (taken, or NULL) is what the training adds. */
bool ts_training_report(ts_training_console *c, const ts_train_log *log, const ts_training_end *end, bool json, cJSON *more,
                        ts_error *err);

/* Paths of a configuration, which must hold wherever the run is resumed from. */
typedef struct {
    char *item[TS_TRAIN_SOURCES + 4];
    int count;
} ts_whole_paths;
/* The path from the root on, kept in `of`; the path itself where there is nothing: opening it will say what is wrong. */
const char *ts_whole_path(ts_whole_paths *of, const char *path);
void ts_whole_paths_free(ts_whole_paths *of);

#endif
