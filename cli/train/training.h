/* training.h - what all trainings of the program share beside their files (train.h): their folder's lock, the orderly end on
 * Ctrl-C, the line of progress, checkpoints to go on from, the curve. */
#ifndef TESSERA_CLI_TRAINING_H
#define TESSERA_CLI_TRAINING_H

#include "cli/plot.h"
#include "cli/train/train.h"

/* ---- lock.c ------------------------------------------------------------------------------------------------- */

/* A run's folder while this process works in it. Zero: none is held. */
typedef struct {
    const char *folder;
    char *path;
    int fd;
    bool held, made;
} ts_run_lock;

/* Makes the folder where it is absent, and locks it; fails where another process works in it. */
bool ts_run_lock_take(ts_run_lock *l, const char *folder, bool quiet, ts_error *err);
/* The same for a run that begins (its folder must hold none) or, with `resume`, goes on (it must hold one). `what`: "run". -1, or
 * the exit status with the complaint said. */
int ts_run_open(ts_run_lock *l, const char *command, const char *folder, const char *what, bool resume, bool quiet);
/* A folder that was made for the run and got nothing of it goes too. */
void ts_run_lock_release(ts_run_lock *l);

/* ---- training.c --------------------------------------------------------------------------------------------- */

/* What a training tells on standard error: lines, and on a terminal one that is written over and over, elsewhere one every half
 * a minute. */
typedef struct {
    bool quiet, terminal;
    double start_ms, shown_ms;
} ts_training_console;

/* From here to the next, SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGXCPU ask for an orderly end, which is said at once; a second
 * Ctrl-C ends the process. What the process was started to ignore (nohup) stays ignored. */
void ts_training_watch(const ts_training_console *c);
void ts_training_unwatch(void);
/* The signal that asked for the end, or 0; it stays. */
int ts_training_stopping(void);
/* Whether one is another text than the other, or none. */
bool ts_texts_differ(const char *a, const char *b);
/* The exit status of a run that a signal ended. */
int ts_training_ended(int signal_number);

void ts_training_console_begin(ts_training_console *c, bool quiet);
void ts_training_say(ts_training_console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* How far it is: on a terminal a few times a second, else every half a minute. */
void ts_training_show(ts_training_console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The newest checkpoint of the folder that can be opened, NULL where there is none; those that cannot be are told. */
bool ts_training_find_checkpoint(const char *folder, ts_training_console *c, ts_weights **out, ts_error *err);
/* False where a step's loss is no number: says so, with `advice` ("the training has gone wrong (...)"), and from where the run
 * can go on. */
bool ts_training_check_loss(const char *folder, int64_t step, double loss, const char *advice, ts_error *err);
/* Fails with `why`, and says from where the run can go on. */
bool ts_training_fail(const char *folder, const ts_error *why, ts_error *err);
typedef struct {
    const char *title;
    bool reconstruction;    /* of a VQGAN: that part of the steps' losses, which the validations are measured in */
    double guess;           /* the loss of guessing; 0: it has none */
    const char *guess_name; /* "guessing (log 512)" */
} ts_curve_desc;
/* Draws the folder's loss.png: the steps' losses, smoothed too, and the validations'. */
bool ts_training_curve(const ts_train_log *log, const char *folder, const ts_curve_desc *desc, ts_error *err);

/* What a run came to. */
typedef struct {
    const char *folder;
    const char *file;    /* in it, that the run comes to; NULL: model.safetensors */
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

/* ---- data.c ------------------------------------------------------------------------------------------------- */

/* One file more, under the name that counts. */
void ts_data_seen_add(ts_data_seen *d, const char *name, const char *path);
/* Words that belong to it. */
void ts_data_seen_words(ts_data_seen *d, const char *words);
/* All pictures of a folder and those below. */
bool ts_data_seen_folder(ts_data_seen *d, const char *folder, ts_error *err);
/* Says where they are not what they were. */
void ts_data_seen_tell(const ts_data_seen *before, const ts_data_seen *now, const char *what, ts_training_console *c);

/* Paths of a configuration, which must hold wherever the run is resumed from. */
typedef struct {
    char *item[TS_TRAIN_SOURCES + 4];
    int count;
} ts_whole_paths;
/* The path from the root on, kept in `of`; the path itself where there is nothing: opening it will say what is wrong. */
const char *ts_whole_path(ts_whole_paths *of, const char *path);
void ts_whole_paths_free(ts_whole_paths *of);

#endif
