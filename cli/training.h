/* training.h - what all trainings of the program share beside their files (train.h): the orderly end on Ctrl-C, the line of
 * progress, checkpoints to go on from, the curve. */
#ifndef TESSERA_CLI_TRAINING_H
#define TESSERA_CLI_TRAINING_H

#include "cli/train.h"

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
/* Fails with `why`, and says from where the run can go on. */
bool ts_training_fail(const char *folder, const ts_error *why, ts_error *err);
/* Draws the folder's loss.png: the steps' losses (or, with `reconstruction`, those), and the validations'. */
bool ts_training_curve(const ts_train_log *log, const char *folder, bool reconstruction, ts_error *err);
/* A whole text file; owned by the caller. NULL: it cannot be read, or is larger than 32 MiB. */
char *ts_read_text(const char *path, ts_error *err);

#endif
