/* protocol.h - the authors' evaluations, as `tessera eval segmentation`, `detection` and `colorization` repeat them. Each is one
 * file that reads like its protocol: which pictures are asked and which are their examples, how a picture becomes two cells of a
 * canvas, how an answer is scored. protocol.c sends the trials through whatever model `tessera run` takes, folds.c makes the
 * table of the journal's lines. */
#ifndef TESSERA_EVAL_PROTOCOL_H
#define TESSERA_EVAL_PROTOCOL_H

#include "cli/eval/eval.h"
#include "cli/run/run.h"

enum { EVAL_CELL = 111, EVAL_FOLDS = 4, EVAL_CLASSES = 20 };

/* A picture of a data set, as its lists have it. */
typedef struct {
    char *name;       /* what lists call it: without folder and ending */
    char *path;       /* of the picture */
    char *mask;       /* of the numbers of its classes; NULL: it has none */
    int number;       /* of the class that is asked for, from 1; 0: there are no classes */
    float x0, y0, x1; /* the box of its one thing, in pixels; its right and lower edge are not within */
    float y1;
} eval_picture;

typedef struct {
    eval_picture *item;
    int count, room;
} eval_pictures;

/* Adds one, whose texts are taken, on failure too. */
bool eval_pictures_add(eval_pictures *p, const eval_picture *picture, ts_error *err);
/* The last of that name (a picture stands in a list once for each of its classes), or NULL. */
const eval_picture *eval_pictures_find(const eval_pictures *p, const char *name);
void eval_pictures_clear(eval_pictures *p);

typedef struct {
    int fold;
    const eval_picture *query, **support; /* the latter: task->each of them */
} eval_trial;

typedef struct {
    double value[EVAL_METRICS]; /* NaN: not measured */
    int64_t both, either;       /* pixels of the foreground, for the IoU of whole classes; 0 where there is none */
} eval_scores;

typedef struct eval_protocol eval_protocol;

/* An evaluation under way. */
typedef struct {
    const eval_protocol *protocol;
    run_job job;
    ts_words folders;
    const char *splits_given, *lists, *log, *csv, *part, *sheet, *keep, *lpips_file, *vgg_file;
    int fold, folds; /* the first that is asked, and how many */
    int trials, limit, each, shown, from, colours, part_number, parts;
    bool right_codes, started;
    char root[4096];                 /* the data set's folder */
    char splits[4096];               /* that of its lists */
    bool other_masks;                /* those of SegmentationClass */
    eval_pictures asked[EVAL_FOLDS]; /* in the order of the list */
    eval_pictures pool[EVAL_FOLDS];  /* of which examples are chosen; empty: of those that are asked */
    const eval_picture **supports;   /* of all trials */
    eval_trial *trial;               /* fold after fold */
    int count, of_fold[EVAL_FOLDS];  /* trials: all, and of each fold */
    int side;                        /* of a cell */
    bool cells;                      /* the model is shown cells; else the pictures as they are */
    eval_journal journal;
    eval_lpips *lpips;
    ts_image contact;
    int rows; /* of the sheet that are filled */
    struct {
        double pictures, model, scoring; /* pictures: how long was waited for them */
    } ms;
} eval_task;

/* What its lists have more, or less, than the published ones, and what else makes an evaluation another one: sentences without a
 * beginning ("346 trials of fold 0 and not 1000") are added to `differs`. */
typedef bool (*eval_differs_fn)(const eval_task *t, cJSON *differs);

struct eval_protocol {
    const char *name, *of, *usage, *summary, *note, *example;
    const char *fold; /* what a fold is called */
    int folds;
    uint64_t seed;
    ts_resize_filter filter;
    /* Its own options, into `list`, which has room for 8; their number. */
    int (*options)(eval_task *t, ts_option *list);
    /* Reads the lists into t->asked, t->pool. */
    bool (*list)(eval_task *t, ts_error *err);
    /* How many trials a fold has. */
    int (*trials)(const eval_task *t, int fold);
    /* Chooses the first `count` trials of a fold: the only place where examples are drawn. */
    bool (*draw)(const eval_task *t, int fold, eval_trial *out, int count, ts_error *err);
    /* A picture and what is wanted of it, each of `side` x `side` pixels; 0: of their own size. */
    bool (*pair)(const eval_task *t, const eval_picture *picture, int side, ts_image *in, ts_image *out, ts_error *err);
    bool (*score)(const eval_task *t, const ts_image *truth, const ts_image *answer, eval_scores *out, ts_error *err);
    eval_differs_fn differs;
};

/* Runs the command: protocol.c. */
int eval_protocol_run(const eval_protocol *protocol, int argc, char **argv);
/* The pictures of which a fold's examples are chosen. */
const eval_pictures *eval_pool(const eval_task *t, int fold);

/* ---- voc.c: Pascal VOC's folders ------------------------------------------------------------------------------------- */

/* t->root: the folder that holds JPEGImages, which may be VOC2012 or VOCdevkit/VOC2012 in the one that is named. */
bool eval_voc_root(eval_task *t, ts_error *err);
/* t->splits: the folder of the folds' lists. */
bool eval_voc_splits(eval_task *t, ts_error *err);
/* Pictures of a list, a line NAME__CC each, CC the class: their masks must be there. */
bool eval_voc_fold(const eval_task *t, const char *list, eval_pictures *out, ts_error *err);
/* Pictures of ImageSets/Main/SET.txt that show exactly one thing, of less than `most` of their area, with its box. */
bool eval_voc_single(const eval_task *t, const char *set, double most, eval_pictures *out, ts_error *err);

/* What an annotation says: of the first of its objects. */
typedef struct {
    int objects, number;   /* number: the first one's class, 0 for one that VOC has not */
    double x0, y0, x1, y1; /* as they stand there: from 1, the last pixel within; NaN: missing */
    int64_t width, height; /* of the picture; 0: not said */
} eval_annotation;
/* False: it is no XML of that kind. */
bool eval_annotation_read(const char *text, eval_annotation *out);

/* ---- cells.c: pixels as the public code has them ----------------------------------------------------------------------- */

/* `colour` where a picture of numbers has `number`, `ground` elsewhere. */
void eval_paint_class(ts_image *numbers, int number, const uint8_t colour[3], const uint8_t ground[3]);
/* The middle of `side` x `side` pixels; a smaller picture gets black around it. */
bool eval_centre_crop(const ts_image *picture, int side, ts_image *out, ts_error *err);
void eval_grey(ts_image *picture); /* Pillow's L in all channels */
/* What is left of a picture that was normalised, brought back and cut to whole numbers: often a level less. The public code
 * compares answers with that. `single`: it was normalised in single precision, else in double. */
void eval_through_normalisation(ts_image *picture, bool single);
/* Every pixel becomes colours[0] or colours[1], the nearer one; of equal ones the first. */
void eval_snap(ts_image *picture, const uint8_t colours[2][3]);
/* Snapped pictures: whether a pixel of the foreground colour, exactly, is in both or either. */
void eval_score_masks(const ts_image *truth, const ts_image *answer, const uint8_t colours[2][3], eval_scores *out);
/* The box of the largest region of white pixels, which touch by a side or a corner, white on black; of equal ones the last by
 * rows. Black alone where there is none. */
bool eval_largest_box(ts_image *picture, ts_error *err);
/* Mean squared error of values normalised by ImageNet's deviations. */
double eval_normalised_mse(const ts_image *truth, const ts_image *answer);

/* ---- ahead.c: what comes next is made while the model is at work ----------------------------------------------------------- */

/* Fills `out`, which is zeroed, for item `at`; what fails is told in `why`. Runs in a thread. */
typedef void (*eval_make_fn)(const void *ctx, int at, void *out, ts_error *why);
typedef struct eval_ahead eval_ahead;
/* Items 0 to count - 1, in order, each of `size` bytes. */
eval_ahead *eval_ahead_new(eval_make_fn make, const void *ctx, size_t size, int count, int threads, ts_error *err);
/* The next item into `out`, which is the caller's from then on; its failure into `why`. */
void eval_ahead_take(eval_ahead *a, void *out, ts_error *why);
/* Ends the threads; `clear` frees what nobody took. */
void eval_ahead_free(eval_ahead *a, void (*clear)(const void *ctx, void *item));

/* ---- folds.c: the table ------------------------------------------------------------------------------------------------- */

/* As eval_journal_summarise, by folds and their mean; `ms` (may be NULL) stands in the JSON. */
bool eval_folds_summarise(const eval_journal *j, bool json, const char *csv, cJSON *ms, ts_error *err);

/* ---- papers.c: published figures ------------------------------------------------------------------------------------------- */

/* What was published of `who` in fold (or run) `fold`; NaN: nothing. */
double eval_published(const char *measured, const char *who, const char *metric, int fold);
/* What sets this model apart from the published one, likewise, into `differs`. */
bool eval_model_differs(const eval_task *t, cJSON *differs);
/* "key: value" of a sentence with numbers; false: out of memory. */
bool eval_differ(cJSON *differs, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- lists.c: examples by published lists --------------------------------------------------------------------------- */

/* The first examples that a list of neighbours (ts_lists_read) names for each query, in place of those that were drawn. A '#' in
 * the file's name stands for the fold's number. */
bool eval_supports_read(eval_task *t, const char *named, ts_error *err);

#endif
