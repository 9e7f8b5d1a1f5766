/* cli.h - what the files of the program share: options, progress, reports, paths. A subcommand is one file with one function
 * ts_cmd_NAME(argc, argv), argv[0] being its name, that returns the exit status: 0 done, 1 failed, 2 wrong usage, 3 done, but
 * some inputs were left out (with --strict those are a failure).
 *
 * Results go to standard output, everything else to standard error; a failure is one sentence there. */
#ifndef TESSERA_CLI_H
#define TESSERA_CLI_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "engine/engine.h"
#include "kinds/kinds.h"
#include "engine/folder.h"
#include "masks/masks.h"

enum { TS_EXIT_DONE = 0, TS_EXIT_FAILED = 1, TS_EXIT_USAGE = 2, TS_EXIT_LEFT_OUT = 3 };

/* ---- options.c ---------------------------------------------------------------------------------------------- */

/* Words collected by a repeated option or left on the command line; they point into argv. */
typedef struct {
    const char **items;
    int count;
} ts_words;

/* What subcommands have in common. */
typedef struct {
    const char *device; /* NULL: auto */
    ts_precision precision;
    int threads;
    uint64_t seed;
    bool json, quiet, verbose;
    double started; /* ts_now_ms when the command line had been read */
} ts_common;

/* Which of the common options a subcommand has; --quiet and --help every one has. */
enum {
    TS_TAKES_DEVICE = 1, /* --device, --threads, --verbose */
    TS_TAKES_PRECISION = 2,
    TS_TAKES_SEED = 4,
    TS_TAKES_JSON = 8,
};

typedef enum {
    TS_OPT_FLAG,   /* bool *, set */
    TS_OPT_TEXT,   /* const char ** */
    TS_OPT_INT,    /* int *, low <= value <= high */
    TS_OPT_REAL,   /* double *, low <= value <= high */
    TS_OPT_CHOICE, /* int *, index of the value among the words of `values` separated by '|' */
    TS_OPT_WORDS,  /* ts_words *, repeated; takes as many words each time as `values` has */
} ts_option_kind;

typedef struct {
    char letter;        /* 0: none */
    const char *name;   /* long name without the dashes */
    const char *values; /* "N", "IN OUT", "right|left"; NULL for a flag */
    ts_option_kind kind;
    void *target;
    double low, high; /* numbers only */
    const char *help;
} ts_option;

typedef struct {
    const char *name;    /* "run", "model info" */
    const char *usage;   /* after the name */
    const char *summary; /* one sentence */
    const char *example; /* lines, each a command or what to know of it */
    const char *note;    /* lines before the example: what is otherwise than one may expect; NULL: none */
    const ts_option *options;
    int count;
    ts_words *rest; /* words that belong to no option; NULL: none are taken */
    int least;      /* of those; with `rest_name` for the complaint */
    int most;
    const char *rest_name;
    ts_words *given, *values; /* the long names of the options that the command line has, and the word after each, "" after a
                                 flag; NULL: they are not wanted */
    ts_common *common;
    unsigned takes; /* TS_TAKES_... */
} ts_command;

/* Reads the command line into the targets. -1: go on; else the exit status (help was printed, or the usage is wrong and has been
 * said). ts_words_free gives back the words' memory. */
int ts_options_parse(const ts_command *cmd, int argc, char **argv);
void ts_words_free(ts_words *w);

/* One sentence on standard error, after "tessera NAME: ". Returns TS_EXIT_USAGE and points to --help. */
int ts_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Of two names, the one that a mistyped word is nearer to; NULL where it is near to none. `best` may be NULL. nearest.c */
const char *ts_nearer(const char *word, const char *name, const char *best);
/* Half the cores, at most 8: threads to read pictures. */
int ts_default_workers(void);

/* ---- group.c ------------------------------------------------------------------------------------------------- */

typedef struct ts_group ts_group;

/* A subcommand, or (with `group`) what holds more of them. */
typedef struct {
    const char *name, *usage, *summary; /* usage: words after the name, may be NULL */
    int (*run)(int argc, char **argv);
    const ts_group *group;
    bool computes; /* it keeps the processor busy */
    /* Its own words in place of subcommands: that at `i`, false after the last. NULL: it has none. */
    bool (*below)(int i, const char **name, const char **summary);
} ts_entry;

struct ts_group {
    const char *name, *summary; /* "model"; "" is the program */
    const char *wanted;         /* "what to do": what is missing where no word follows */
    const char *of_folder;      /* how a folder that stands in a command's place is measured; NULL: it is a word like others */
    const char *note, *example; /* lines of the help */
    const ts_entry *entries;
    int count;
};

const ts_entry *ts_group_find(const ts_group *g, const char *word);
/* Runs the command that argv[1] names, or prints the group's help; returns the exit status. */
int ts_group_run(const ts_group *g, int argc, char **argv);
/* A line for each command, those below it after it: its whole name, and what it does. */
void ts_group_list(const ts_group *g);
bool ts_asks_help(const char *word); /* --help or -h */

/* ---- processor.c --------------------------------------------------------------------------------------------- */

/* Sets how long threads wait for each other awake, so that a run beside other work is not slowed out of proportion. May start the
 * program anew in the same process, with the same words: call it first of all. */
void ts_share_processor(char **argv);

/* ---- progress.c --------------------------------------------------------------------------------------------- */

/* A sentence on standard error, with a line's end: how everything is told there, so that no line of progress stands before it. */
void ts_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The line at the bottom of a terminal, in place of the one before; and what is to be called before anything else is written. */
void ts_line_show(const char *text);
void ts_line_wipe(void);

/* A line on standard error that counts `total` steps and tells how long they take: only on a terminal, and only once a second has
 * passed. */
typedef struct {
    const char *label;
    int64_t total, done;
    double start, shown;
    bool active;
} ts_progress;

void ts_progress_begin(ts_progress *p, const char *label, int64_t total, bool quiet);
void ts_progress_step(ts_progress *p, int64_t done);
void ts_progress_end(ts_progress *p); /* wipes the line */

double ts_now_ms(void); /* monotonic */
/* "34 s", "12 min", "3.5 h"; `out` is returned. */
const char *ts_time_text(double seconds, char out[32]);

/* ---- report.c ----------------------------------------------------------------------------------------------- */

/* Prints the sentence of `err` after "tessera NAME: " on standard error; returns TS_EXIT_FAILED. */
int ts_report(const char *command, const ts_error *err);
/* Opens the device that the common options name. */
ts_device *ts_open_device(const ts_common *common, bool profile, ts_error *err);
/* Says on standard error which device does the work (unless quiet): once nothing can be refused any more. */
void ts_announce_device(const ts_common *common, const ts_device *dev);
/* Prints the object on standard output and frees it. False: out of memory, or standard output is broken (both in `err`). */
bool ts_print_json(cJSON *json, ts_error *err);
/* The object as text, on one line or `spread`; free() it. JSON is UTF-8 and a file's name may be any bytes: a byte B that is no
 * UTF-8 stands as the lone surrogate \udcB, as Python's os.fsdecode has it and os.fsencode gives it back. NULL: out of memory. */
char *ts_json_text(const cJSON *json, bool spread);
/* A name from outside, as it may stand in a line (ts_printable); returns its width in columns. NULL: only measured. */
int ts_put_text(FILE *f, const char *text);
/* The same on a line of standard output. */
void ts_put_line(const char *text);
/* Columns of a text in UTF-8 that holds nothing but letters. */
int ts_text_width(const char *text);
/* Flushes standard output: a full disk is a failure and not a silent success. */
bool ts_flush_output(ts_error *err);
/* The same at the end of a command: its exit status, the complaint said. */
int ts_finish_output(const char *command);
/* With --verbose, a line of its own on standard error after the seconds since the command began: where the time goes. */
void ts_say_stage(const ts_common *common, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *ts_precision_name(ts_precision p);
/* 1234567 as "1.23 M", with the unit's powers of 1000; `out` is returned. */
const char *ts_count_text(double count, char out[32]);

/* ---- left_out.c --------------------------------------------------------------------------------------------- */

#define TS_STRICT_HELP "a picture that cannot be read is a failure, instead of left out (then the exit status is 3)"

/* Inputs that were left out. */
typedef struct {
    bool strict, quiet;
    int64_t count;
    ts_error first;
    uint64_t told[256]; /* hashes of the last sentences: what is met by two readers counts once */
    char passed[512];   /* lines about files of other kinds, not said yet */
} ts_left_out;

/* Counts an input that cannot be read, and names it (unless quiet), once. Fails, with the same sentence, where that is `strict`ly
 * a failure, and where it is memory that is missing. */
bool ts_leave_out(ts_left_out *l, const ts_error *why, ts_error *err);
/* Says what folders hold beside pictures (unless quiet): once nothing can be refused any more. */
void ts_say_passed(ts_left_out *l);
/* Keeps what ts_folder_passed says of a folder, to be said then. */
void ts_keep_passed(ts_left_out *l, const char *folder, const char *passed);
/* The exit status of a job that is done, saying how many were left out. */
int ts_left_out_status(const char *command, ts_left_out *l);
/* The pictures of a folder; those below that cannot be read are left out, and what it holds beside pictures is kept to be said.
 * Fails where there are none. */
bool ts_list_pictures(const char *folder, ts_folder_depth depth, ts_left_out *l, ts_folder *out, ts_error *err);

/* ---- paths.c ------------------------------------------------------------------------------------------------ */

bool ts_is_folder(const char *path);
/* Fails with a sentence unless the file can be opened for reading, or is standard input ("-"). */
bool ts_check_readable(const char *path, const char *what, ts_error *err);
/* The same for a weights file, which a folder may stand for. */
bool ts_check_weights(const char *path, const char *what, ts_error *err);
/* Opens a weights file, and says on standard error what a user should know of how it was read. */
ts_weights *ts_open_weights(const char *path, bool quiet, ts_error *err);
/* Fails unless a file can be made (or replaced) at `path`: its folder is there and may be written, and it is no folder itself; or
 * it is standard output ("-"). */
bool ts_check_writable(const char *path, ts_error *err);
/* Fails unless the folder may be written, or may be made. */
bool ts_check_folder(const char *path, ts_error *err);
/* Makes the folder where it is absent (not its parents). */
bool ts_make_folder(const char *path, ts_error *err);
/* Whether both name the same existing file, through links too. */
bool ts_same_file(const char *a, const char *b);
/* "folder/STEM.ending" of a file's name; owned by the caller. */
char *ts_path_in(const char *folder, const char *file, const char *ending, ts_error *err);
void ts_paths_free(char **paths, int count);

/* ---- standard.c --------------------------------------------------------------------------------------------- */

/* Whether the name is "-": standard input or output. */
bool ts_is_standard(const char *path);
int ts_count_standard(const ts_words *words);
/* As ts_image_load and ts_image_save, "-" being standard input and output (which gets a PNG). */
bool ts_load_picture(const char *path, ts_image *out, ts_error *err);
bool ts_save_picture(const char *path, const ts_image *img, ts_error *err);
/* The same for a mask (8-bit grey, 0 and 255) and for a cut-out (RGBA): PNG. */
bool ts_save_mask(const char *path, const ts_mask *m, ts_error *err);
bool ts_save_cutout(const char *path, const ts_image *picture, const ts_mask *m, ts_error *err);

/* ---- sheet.c ------------------------------------------------------------------------------------------------ */

/* Copies a picture into a sheet, its corner at x, y; it must lie inside. */
void ts_sheet_put(ts_image *sheet, const ts_image *picture, int x, int y);
/* The whole picture, its longer side brought to `side`, in the middle of the square at x, y. */
bool ts_sheet_fit(ts_image *sheet, const ts_image *picture, int x, int y, int side, ts_error *err);

/* ---- jobs.c ------------------------------------------------------------------------------------------------- */

/* The queries of a run and where their results go. */
typedef struct {
    int count;
    int each;                                    /* canvases of a query; 1 until ts_jobs_canvases */
    char **query, **answer, **canvas, **overlay; /* canvas: (count, each); the last two NULL where they are not kept */
    const char *answer_folder, *canvas_folder, *overlay_folder; /* to be made before writing; NULL: single files */
} ts_jobs;

/* Where they go, as the command line says: files or folders; all but the first may be NULL. */
typedef struct {
    const char *answer, *canvas, *overlay;
} ts_job_outputs;

/* Resolves files and folders of queries against the outputs: one query to a file, several into a folder.
 * Fails where an input cannot be read, an output not be written, two would get the same name, or an output is one of the `inputs`
 * (the run's other files) or a query. Returns -1, or the exit status with the complaint said. */
int ts_jobs_plan(const char *command, const ts_words *queries, const ts_words *more, const ts_job_outputs *outputs,
                 const ts_words *inputs, ts_left_out *left_out, ts_jobs *jobs);
/* Names the canvases where a query has `each` of them: NAME.png, NAME-2.png and so on, and checks them as above. */
bool ts_jobs_canvases(ts_jobs *jobs, int each, const ts_words *inputs, ts_error *err);
/* Takes a query out of the list. */
void ts_jobs_drop(ts_jobs *jobs, int at);
void ts_jobs_free(ts_jobs *jobs);

/* ---- subcommands -------------------------------------------------------------------------------------------- */

int ts_cmd_run(int argc, char **argv);
int ts_cmd_bench(int argc, char **argv);
int ts_cmd_devices(int argc, char **argv);
int ts_cmd_figures(int argc, char **argv);
int ts_cmd_segment(int argc, char **argv);
int ts_cmd_serve(int argc, char **argv);
int ts_cmd_sheet(int argc, char **argv);
extern const ts_group ts_group_train, ts_group_tune, ts_group_model, ts_group_eval, ts_group_clip, ts_group_strokes;

/* ---- published.c -------------------------------------------------------------------------------------------- */

/* Where published models of a kind are to be had, in a few words. */
const char *ts_published(ts_kind wanted);
/* As ts_check_readable; of a file that is not there it is said where one is to be had. TS_KIND_UNKNOWN: any. */
bool ts_check_model(const char *path, const char *what, ts_kind wanted, ts_error *err);
/* Says on standard error (unless quiet) that the default model is taken, what it is, what it paints and where better ones are. */
void ts_note_default(const ts_common *common, const char *path, int width, int height);

/* ---- default_model.c ---------------------------------------------------------------------------------------- */

/* The path of the model that is used when none is named. */
bool ts_default_model(char *out, size_t size, ts_error *err);

#endif
