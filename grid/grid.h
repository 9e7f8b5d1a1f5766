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

enum { TS_GRID_MAX_EXAMPLES = 7 };

typedef enum { TS_SIDE_RIGHT = 0, TS_SIDE_LEFT } ts_side;

typedef struct {
    int canvas;              /* pixels a side; zero: 224 */
    int patch;               /* pixels a side of a patch; zero: 16. Must divide canvas. */
    int examples;            /* pairs; zero: 1 */
    ts_side side;            /* where the outputs stand (transposed: right means below) */
    bool transposed;         /* examples in columns, the query's column last */
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
/* Whether patch (row, col) is hidden: it touches the hole. */
bool ts_grid_hidden(const ts_grid *grid, int row, int col);
/* The visible patches, row * side_patches + col, ascending; `keep` has side_patches^2 places. Returns their number. */
int ts_grid_keep(const ts_grid *grid, int32_t *keep);

typedef struct {
    const ts_image *input, *output;
} ts_example;

/* Draws the canvas: every picture resized to its cell without keeping the aspect (as published), background elsewhere and in the
 * hole. `examples` has desc.examples pairs. `out` is a new image, owned by the caller. */
bool ts_grid_compose(const ts_grid *grid, const ts_example *examples, const ts_image *query, ts_image *out, ts_error *err);
/* What the published code shows: hidden patches from `painted`, the others from `canvas`; all of canvas size. */
bool ts_grid_paste(const ts_grid *grid, const ts_image *canvas, const ts_image *painted, ts_image *out, ts_error *err);
/* The answer: the hole cut out of `canvas`, resized (bicubic) to width x height, the query's own size and so its aspect;
 * width 0: the cell as it is. */
bool ts_grid_answer(const ts_grid *grid, const ts_image *canvas, int width, int height, ts_image *out, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
