/* layout.c - where the cells of a canvas lie, and which patches the model may see. Cells are worked out for the outputs at the
 * right and the rows from top to bottom; the other side mirrors that, and `transposed` exchanges x and y. */
#include <stdio.h>

#include "grid/grid.h"

enum { MAX_CANVAS = 1 << 14 };

/* Pixel of the upper (or left) edge of row `row`, for rows of `cell` pixels. */
static int row_edge(int canvas, int rows, int cell, int row)
{
    if (rows == 2) return row == 0 ? 0 : canvas - cell; /* as published: two lines between, the last cell at the canvas's edge */
    return row * (cell + 1);
}

static ts_cell cell_at(const ts_grid_desc *d, int cell, int row, bool output)
{
    int rows = d->examples + 1;
    bool right = output == (d->side == TS_SIDE_RIGHT);
    int across = right ? d->canvas - d->canvas / 2 + 1 : d->canvas / 2 - 1 - cell; /* mirror images of each other */
    if (d->query_first) row = row == d->examples ? 0 : row + 1;
    int along = row_edge(d->canvas, rows, cell, row);
    return (ts_cell){.x = d->transposed ? along : across, .y = d->transposed ? across : along, .width = cell, .height = cell};
}

static bool check_desc(const ts_grid_desc *d, ts_error *err)
{
    if (d->canvas < 1 || d->canvas > MAX_CANVAS) {
        return ts_fail(err, TS_ERR_ARGUMENT, "a canvas of %d pixels a side is not possible: 1 to %d", d->canvas, MAX_CANVAS);
    }
    if (d->patch < 1 || d->canvas % d->patch != 0) {
        return ts_fail(err, TS_ERR_ARGUMENT, "a patch of %d pixels does not divide a canvas of %d", d->patch, d->canvas);
    }
    if (d->examples < 1 || d->examples > TS_GRID_MAX_EXAMPLES) {
        return ts_fail(err, TS_ERR_ARGUMENT, "%d example pairs do not go on a canvas: 1 to %d", d->examples,
                       TS_GRID_MAX_EXAMPLES);
    }
    if (d->side != TS_SIDE_RIGHT && d->side != TS_SIDE_LEFT) {
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no side %d of a canvas: right or left", (int)d->side);
    }
    if (d->filter != TS_RESIZE_BILINEAR && d->filter != TS_RESIZE_BICUBIC) {
        return ts_fail(err, TS_ERR_ARGUMENT, "there is no resize filter %d", (int)d->filter);
    }
    return true;
}

bool ts_grid_plan(const ts_grid_desc *desc, ts_grid *out, ts_error *err)
{
    ts_grid grid = {.desc = *desc};
    ts_grid_desc *d = &grid.desc;
    *out = (ts_grid){0};
    if (d->canvas == 0) d->canvas = 224;
    if (d->patch == 0) d->patch = 16;
    if (d->examples == 0) d->examples = 1;
    if (!check_desc(d, err)) return false;
    grid.side_patches = d->canvas / d->patch;
    int cell = d->examples == 1 ? d->canvas / 2 - 1 : (d->canvas - d->examples) / (d->examples + 1);
    if (cell < 1) {
        return ts_fail(err, TS_ERR_ARGUMENT, "%d example pairs and a query leave no pixels for a cell on a canvas of %d pixels",
                       d->examples, d->canvas);
    }
    for (int i = 0; i < d->examples; i++) {
        grid.input[i] = cell_at(d, cell, i, false);
        grid.output[i] = cell_at(d, cell, i, true);
    }
    grid.query = cell_at(d, cell, d->examples, false);
    grid.hole = cell_at(d, cell, d->examples, true);
    bool visible = false;
    for (int row = 0; row < grid.side_patches; row++) {
        for (int col = 0; col < grid.side_patches; col++) visible = visible || !ts_grid_hidden(&grid, row, col);
    }
    if (!visible) {
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "patches of %d pixels on a canvas of %d would all be hidden: the patch must be smaller", d->patch,
                       d->canvas);
    }
    *out = grid;
    return true;
}

void ts_grid_arrange(ts_grid_desc *desc, int number)
{
    desc->side = number == 1 || number == 4 || number == 7 || number == 8 ? TS_SIDE_RIGHT : TS_SIDE_LEFT;
    desc->transposed = number >= 5;
    desc->query_first = number == 3 || number == 4 || number == 6 || number == 7;
}

bool ts_grid_examples_read(const char *text, int limit, int *least, int *most)
{
    int from, to, used = 0;
    if (sscanf(text, "%1d%n", &from, &used) == 1 && text[used] == '\0') to = from;
    else if (sscanf(text, "%1d..%1d%n", &from, &to, &used) != 2 || text[used] != '\0') return false;
    if (from < 1 || to < from || to > limit) return false;
    *least = from;
    *most = to;
    return true;
}

bool ts_grid_hidden(const ts_grid *grid, int row, int col)
{
    const ts_cell *hole = &grid->hole;
    int patch = grid->desc.patch, x = col * patch, y = row * patch;
    return x < hole->x + hole->width && x + patch > hole->x && y < hole->y + hole->height && y + patch > hole->y;
}

int ts_grid_keep(const ts_grid *grid, int32_t *keep)
{
    int count = 0;
    for (int row = 0; row < grid->side_patches; row++) {
        for (int col = 0; col < grid->side_patches; col++) {
            if (!ts_grid_hidden(grid, row, col)) keep[count++] = row * grid->side_patches + col;
        }
    }
    return count;
}
