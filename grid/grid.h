/* grid.h - canvases: example pairs and a query laid on a grid with one cell empty, and the answer cut out again.
 *
 * The published layout (Bar et al. 2022, arXiv 2209.00647, its demo and evaluators), for a 224 canvas and patch 16:
 *
 *     example input  | example output      cells of 111 x 111 at (0,0), (113,0), (0,113), (113,113);
 *     ---------------+----------------     background between them, in lines 111 and 112
 *     query          | hole                hidden: the patches that touch the hole (rows and columns 7..13)
 *
 * With E examples there are E + 1 rows, the query's last, of square cells of (canvas - E) / (E + 1) pixels with one line between
 * them (E = 1: canvas / 2 - 1 with two lines, the last cell at the canvas's edge). The two columns meet in the middle, two lines
 * apart: two examples on 224 give the other published layout, cells of 74 x 74 at x = 37 and 113, y = 0, 75 and 150, hidden
 * rows 9..13 and columns 7..11. `side` mirrors left and right, `transposed` exchanges x and y. Sizes round down; what is left
 * over stays background. */
#ifndef TESSERA_GRID_H
#define TESSERA_GRID_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TS_GRID_MAX_EXAMPLES = 7, TS_GRID_VIEWS = 48, TS_GRID_ARRANGEMENTS = 8 };

typedef enum { TS_SIDE_RIGHT = 0, TS_SIDE_LEFT } ts_side;

typedef struct {
    int canvas;              /* pixels a side; zero: 224 */
    int patch;               /* pixels a side of a patch; zero: 16. Must divide canvas. */
    int examples;            /* pairs; zero: 1 */
    ts_side side;            /* where the outputs stand (transposed: right means below) */
    bool transposed;         /* examples in columns, the query's column last */
    bool query_first;        /* the query's row (transposed: column) stands before the examples' */
    uint8_t background[3];   /* zero: black, as in the published demo; the evaluators use white */
    ts_resize_filter filter; /* zero: bilinear, as in the published demo */
} ts_grid_desc;

typedef struct {
    int x, y, width, height; /* pixels of the canvas */
} ts_cell;

typedef struct {
    ts_grid_desc desc; /* with the defaults filled in */
    int side_patches;  /* patches a side: canvas / patch */
    ts_cell input[TS_GRID_MAX_EXAMPLES], output[TS_GRID_MAX_EXAMPLES], query, hole;
} ts_grid;

/* Works out the cells. Fails where a cell would have no pixels, where the patch does not divide the canvas, or where every patch
 * would be hidden. */
bool ts_grid_plan(const ts_grid_desc *desc, ts_grid *out, ts_error *err);
/* Sets side, transposed and query_first to arrangement 1 to 8 of a pair, as they are numbered by Sun et al. (2023, arXiv
 * 2304.04748, figure 4, and their code); row by row, e the example's input, o its output, q the query: 1 [e o / q ?]  2 [o e / ?
 * q]  3 [? q / o e]  4 [q ? / e o]  5 [o ? / e q]  6 [? o / q e]  7 [q e / ? o]  8 [e q / o ?] */
void ts_grid_arrange(ts_grid_desc *desc, int number);
/* Whether patch (row, col) is hidden: it touches the hole. */
bool ts_grid_hidden(const ts_grid *grid, int row, int col);
/* The visible patches, row * side_patches + col, ascending; `keep` has side_patches^2 places. Returns their number. */
int ts_grid_keep(const ts_grid *grid, int32_t *keep);

/* Reads how many example pairs a canvas has: "2", or a range such as "1..3", within 1..limit (at most 9). False, with both left
 * as they were, where the text is anything else. */
bool ts_grid_examples_read(const char *text, int limit, int *least, int *most);

typedef struct {
    const ts_image *input, *output;
} ts_example;

/* Draws the canvas: every picture resized to its cell without keeping the aspect (as published), background elsewhere and in the
 * hole. `examples` has desc.examples pairs; NULL: their cells are background too. `out` is a new image, owned by the caller. */
bool ts_grid_compose(const ts_grid *grid, const ts_example *examples, const ts_image *query, ts_image *out, ts_error *err);
/* A new canvas as it would be without its examples: background in their cells. */
bool ts_grid_blank(const ts_grid *grid, const ts_image *canvas, ts_image *out, ts_error *err);
/* How many canvases of the grid `pairs` examples need. */
int ts_grid_canvases(const ts_grid *grid, int pairs);
/* Draws those canvases, `out` having a place for each: each shows the query and the next desc.examples of the pairs, and begins
 * with the first again where they are at an end. */
bool ts_grid_compose_all(const ts_grid *grid, const ts_example *examples, int pairs, const ts_image *query, ts_image *out,
                         ts_error *err);
/* What the published code shows: hidden patches from `painted`, the others from `canvas`; all of canvas size. */
bool ts_grid_paste(const ts_grid *grid, const ts_image *canvas, const ts_image *painted, ts_image *out, ts_error *err);
/* The answer: the hole cut out of `canvas`, resized (bicubic) to width x height, the query's own size and so its aspect;
 * width 0: the cell as it is. */
bool ts_grid_answer(const ts_grid *grid, const ts_image *canvas, int width, int height, ts_image *out, ts_error *err);

/* A canvas with the picture in each cell turned where it stands, a new image. `view` 0 is the canvas itself, 1 mirrors left and
 * right, 2 top and bottom, 3 both, 4 to 7 are those with x and y exchanged, and each further eight are those eight with the
 * colour channels in another order: below TS_GRID_VIEWS. */
bool ts_grid_view(const ts_grid *grid, const ts_image *canvas, int view, ts_image *out, ts_error *err);
/* Brings the holes of views 0 to `count` - 1 back to the canvas's own frame and writes the median of them, at each pixel and
 * channel, into the hole of `canvas`. (In the manner of the eight arrangements of "Exploring effective factors for improving
 * visual in-context learning", Sun et al. 2023, but the pictures are turned and not the layout.) */
bool ts_grid_merge_views(const ts_grid *grid, const ts_image *views, int count, ts_image *canvas, ts_error *err);

/* Answers of several arrangements, each on a canvas of its own grid: the mean of their holes, pixel by pixel, rounded, goes into
 * the first one's hole of `canvas`, which is of the first grid; with `vote` 255 where the mean is above 127, else 0. The holes
 * are of one size. */
bool ts_grid_merge_arrangements(const ts_grid *grids, const ts_image *canvases, int count, bool vote, ts_image *canvas,
                                ts_error *err);

/* ---- figures: pages to learn from ---------------------------------------------------------------------------- */

/* What the pairs of a page show. */
typedef enum {
    TS_FIGURE_COPY,
    TS_FIGURE_COLOUR, /* recolour */
    TS_FIGURE_SHAPE,
    TS_FIGURE_SIZE,
    TS_FIGURE_COLOUR_SHAPE,
    TS_FIGURE_SIZE_COLOUR,
    TS_FIGURE_SIZE_SHAPE,
    TS_FIGURE_SEGMENT, /* foreground in one colour on another: white on black, yellow on purple, or others */
    TS_FIGURE_OUTLINE,
    TS_FIGURE_COLOURISE, /* grey to colour */
    TS_FIGURE_GREY,
    TS_FIGURE_INVERT,
    TS_FIGURE_FLIP,
    TS_FIGURE_ROTATE,
    TS_FIGURE_DENOISE,
    TS_FIGURE_FILL_IN, /* paint what a patch of flat colour hides */
    TS_FIGURE_BOX,     /* the objects' boxes, filled */
    TS_FIGURE_REMOVE,  /* the object of one colour vanishes */
    TS_FIGURE_TASKS
} ts_figure_task;

const char *ts_figure_task_name(ts_figure_task task);  /* "colour-shape" */
const char *ts_figure_task_about(ts_figure_task task); /* half a sentence */
/* False where no task has that name. */
bool ts_figure_task_find(const char *name, ts_figure_task *out);

typedef struct {
    int canvas, patch;             /* pixels; zero: 224 and 16 */
    int least, most;               /* example pairs, up to 3; zero: 1 and 3 */
    float free_share;              /* of pages in free layouts (other cell sizes, gaps, orders); zero: 0.25, negative: none */
    bool published;                /* layouts as the papers': black between the cells, outputs at the right; none is free */
    bool plain;                    /* one object on a flat ground, in all tasks that can have it */
    bool held_out;                 /* shapes, colours and sizes of which the other pages have none */
    float weight[TS_FIGURE_TASKS]; /* how often each task comes; all zero: as we found best */
} ts_figure_desc;

typedef struct {
    ts_image canvas; /* with the true answer in the hole; owned: ts_image_clear */
    ts_grid grid;    /* in a free layout the cells alone tell where what is: side, transposed and examples as near as they go */
    ts_figure_task task;
} ts_figure;

/* Draws a page of procedural scenes: one to three example pairs of one task, and the query with its answer. Every byte follows
 * from the description and the seed, on every machine. For page N of a run give ts_figure_seed(seed, N): no two are alike. */
bool ts_figure_draw(const ts_figure_desc *desc, uint64_t seed, ts_figure *out, ts_error *err);
uint64_t ts_figure_seed(uint64_t seed, uint64_t page);

/* A pair alone, before and after, side x side each: number `pair` of those that the rule of `seed` draws. All pairs of a seed
 * have the task's choices (colours, sizes, turns) in common, so that each is an example for the others. Owned: ts_image_clear,
 * both. */
bool ts_figure_pair(ts_figure_task task, bool plain, bool held_out, int side, uint64_t seed, uint64_t pair, ts_image *before,
                    ts_image *after, ts_error *err);

/* ---- pictures with words: what a small CLIP learns, and what its prompts are tuned on --------------------------- */

enum { TS_CAPTION_ROOM = 256, TS_FIGURE_CLASSES = 12 };

/* A scene of one or two things, side x side, and a sentence that tells what is in it. The same seed gives the same bytes
 * everywhere; for scene N of a run give ts_figure_seed(seed, N). */
bool ts_caption_draw(int side, uint64_t seed, ts_image *out, char text[TS_CAPTION_ROOM], ts_error *err);

/* Twelve classes, sorted by name: "red circle", "striped star"; NULL beyond. */
const char *ts_figure_class_name(int number);
/* A picture of a class. `shift`, 0 to 1, is how far its rendering is from that of the scenes with sentences (other light,
 * clutter, noise, outlines, smaller); about 0.5 leaves a model trained on those half right. */
bool ts_figure_class_draw(int number, int side, float shift, uint64_t seed, ts_image *out, ts_error *err);

/* ---- metrics ------------------------------------------------------------------------------------------------ */

/* What a metric does not apply to is left at 0. */
typedef struct {
    double iou;       /* of the pixels of exactly the answer's colour */
    double iou_blind; /* of all that is not background, whatever its colour, with the answer's foreground */
    double accuracy;  /* share of pixels of the right palette colour */
    double shape;     /* 1 where the blob is closer to the answer's shape, circle or square, than to the other; else 0 */
    double mse;       /* mean squared error of values normalised by ImageNet's deviations */
    double mse_cover; /* the same over what was covered (fill-in) */
} ts_score;

/* Index of the nearest colour in squared distance, the first where several are. */
int ts_nearest_colour(const uint8_t rgb[3], const uint8_t (*palette)[3], int count);
/* iou, iou_blind and accuracy of `answer` against `truth`, both of one size, every pixel taken to the nearest colour of the
 * palette, whose colour 0 is the background and colour 1 the foreground. Where neither picture has foreground, the IoU is 1. */
bool ts_score_palette(const ts_image *truth, const ts_image *answer, const uint8_t (*palette)[3], int count, ts_score *score,
                      ts_error *err);
/* Whether what is not palette colour 0 is more like a square (1) or a circle (0) in the box of one blob; -1: there is none. The
 * published test to the letter, which takes the blob (or hole) that begins lowest in the picture. */
int ts_blob_is_square(const ts_image *answer, const uint8_t (*palette)[3], int count, ts_error *err);
/* Mean squared error of normalised values, over the pixels where `mask` is not 0 (NULL: all). */
bool ts_score_mse(const ts_image *truth, const ts_image *answer, const uint8_t *mask, double *mse, ts_error *err);

/* ---- trials: what a model is measured on -------------------------------------------------------------------- */

/* The paper's six synthetic tasks: 224 x 224, white, a disc at a centre in 10..213 of radius 10..49 (30 where the size changes),
 * green to blue, circle to square, radius 30 to 20, and their pairs. Then three tasks on scenes of held-out shapes, colours and
 * sizes. */
typedef enum {
    TS_TRIAL_COLOUR,
    TS_TRIAL_SHAPE,
    TS_TRIAL_SIZE,
    TS_TRIAL_COLOUR_SHAPE,
    TS_TRIAL_SIZE_COLOUR,
    TS_TRIAL_SIZE_SHAPE,
    TS_TRIAL_SEGMENT,
    TS_TRIAL_COLOURISE,
    TS_TRIAL_FILL_IN,
    TS_TRIALS
} ts_trial_kind;

typedef struct {
    ts_trial_kind kind;
    int examples;
    ts_image input[TS_GRID_MAX_EXAMPLES], output[TS_GRID_MAX_EXAMPLES], query, answer; /* all 224 x 224 */
    uint8_t palette[4][3]; /* background, foreground, others; black last for the six */
    int colours;           /* of the palette; 0: scored by MSE */
    uint8_t *cover;        /* fill-in: 224 x 224, 1 where the query is covered; else NULL */
} ts_trial;

const char *ts_trial_name(ts_trial_kind kind);
/* Trial `index` of a run by `seed`. Zero examples: 2. Free with ts_trial_clear, which takes a zeroed one too. */
bool ts_trial_draw(ts_trial_kind kind, uint64_t seed, int index, int examples, ts_trial *out, ts_error *err);
void ts_trial_clear(ts_trial *trial);
/* Scores an answer of any size (the hole of a canvas as it is) against the truth brought to that size with `filter`. */
bool ts_trial_score(const ts_trial *trial, const ts_image *answer, ts_resize_filter filter, ts_score *out, ts_error *err);

typedef enum { TS_BASELINE_QUERY, TS_BASELINE_EXAMPLE } ts_baseline; /* copies the query; the first example's output */
/* The same score for a baseline, at width x height. */
bool ts_trial_baseline(const ts_trial *trial, ts_baseline baseline, int width, int height, ts_resize_filter filter, ts_score *out,
                       ts_error *err);

/* ---- loader: what training sees, ahead of the device ---------------------------------------------------------- */

typedef struct {
    const char *path; /* a folder: the pictures in it and below; "figures:" for pages drawn on the fly, "figures:flip,box,box" for
                         these tasks only, each as often as it is named; the word "published" leaves out free layouts, "plain" all
                         but single objects on flat grounds, a number of 1 to 3 other counts of example pairs */
    double share;     /* of the canvases, in proportion to the other sources'; zero: 1 */
} ts_loader_source;

typedef struct {
    const ts_loader_source *sources;
    int count;
    int canvas, patch, batch;
    int visible;        /* patches of a canvas that stay visible; zero: no masks */
    double cell_share;  /* of the masks that hide a whole cell of a grid, and beside it at random; the rest are all random */
    double least_scale; /* of a picture's area in a crop; zero: 0.2. Pages of figures are whole. */
    uint64_t seed;
    int64_t first;        /* the batch to begin with: where a run goes on */
    bool validation;      /* canvases that training never sees: other pages, and one picture in 50, where there are as many */
    int threads, ahead;   /* zeros: 1 thread, 4 batches */
    uint64_t cache_bytes; /* of decoded pictures; zero: 256 MB */
    bool strict;          /* a picture that cannot be read fails the batch, instead of being replaced */
} ts_loader_desc;

typedef struct {
    const uint8_t *pixels; /* (batch, canvas, canvas, 3) */
    const int32_t *keep;   /* (batch, visible), each ascending; NULL without masks */
    const ts_grid *grids;  /* (batch): the page's own or, of another picture, a random one; NULL without masks */
} ts_batch;

typedef struct ts_loader ts_loader;

/* Lists the folders and starts the threads. Batch N is the same whatever the number of threads and wherever a run began. */
ts_loader *ts_loader_new(const ts_loader_desc *desc, ts_error *err);
void ts_loader_free(ts_loader *l);
/* The next batch, the loader's until the next call. A picture that cannot be read is replaced by another (not with `strict`);
 * fails where none can. */
bool ts_loader_next(ts_loader *l, ts_batch *out, ts_error *err);
/* Takes a complaint about a picture that was left out, each once; false: no more. */
bool ts_loader_skipped(ts_loader *l, ts_error *complaint);
/* What the folder of a source holds beside pictures: "passed over 3 files of other kinds (3 .txt)"; "": nothing. */
const char *ts_loader_passed(const ts_loader *l, int source);
int64_t ts_loader_pictures(const ts_loader *l); /* in all folders; 0 for figures alone */
double ts_loader_waited_ms(const ts_loader *l); /* that ts_loader_next spent waiting, in all */

#ifdef __cplusplus
}
#endif
#endif
