/* views.c - the same canvas with all its pictures turned, mirrored, or with their colour channels in another order: what the
 * examples show stays what is to be done, and a model that has not learned it to the last pixel errs otherwise each time. */
#include <stdlib.h>

#include "grid/grid.h"

enum { MIRROR_X = 1, MIRROR_Y = 2, EXCHANGE = 4, TURNS = 8 };

static const uint8_t ORDER[TS_GRID_VIEWS / TURNS][3] = {{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}, {2, 1, 0}, {0, 2, 1}};

/* Where in a cell of `side` pixels the pixel comes from that a view has at (x, y): its number, row by row. */
static size_t source(int view, int side, int x, int y)
{
    const int turn = view % TURNS;
    const int u = turn & MIRROR_X ? side - 1 - x : x, v = turn & MIRROR_Y ? side - 1 - y : y;
    return turn & EXCHANGE ? (size_t)u * (size_t)side + (size_t)v : (size_t)v * (size_t)side + (size_t)u;
}

static bool check_view(const ts_grid *grid, int views, ts_error *err)
{
    if (views < 1 || views > TS_GRID_VIEWS)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d views of a canvas, wanted 1 to %d", views, TS_GRID_VIEWS);
    if (grid->hole.width == grid->hole.height) return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "cells of %d x %d pixels cannot be turned: only square ones can", grid->hole.width,
                   grid->hole.height);
}

static uint8_t *pixel_of(const ts_image *canvas, const ts_cell *cell, size_t number)
{
    const size_t side = (size_t)cell->width;
    const size_t x = (size_t)cell->x + number % side, y = (size_t)cell->y + number / side;
    return canvas->data + (y * (size_t)canvas->width + x) * 3;
}

static void turn_cell(const ts_image *canvas, const ts_cell *cell, int view, ts_image *out)
{
    const uint8_t *order = ORDER[view / TURNS];
    for (int y = 0; y < cell->width; y++)
        for (int x = 0; x < cell->width; x++) {
            const uint8_t *from = pixel_of(canvas, cell, source(view, cell->width, x, y));
            uint8_t *to = pixel_of(out, cell, source(0, cell->width, x, y));
            for (int c = 0; c < 3; c++) to[c] = from[order[c]];
        }
}

bool ts_grid_view(const ts_grid *grid, const ts_image *canvas, int view, ts_image *out, ts_error *err)
{
    if (!check_view(grid, view + 1, err) || !ts_image_new(canvas->width, canvas->height, out, err)) return false;
    const size_t pixels = (size_t)canvas->width * (size_t)canvas->height;
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) out->data[i * 3 + (size_t)c] = canvas->data[i * 3 + ORDER[view / TURNS][c]];
    for (int i = 0; i < grid->desc.examples; i++) {
        turn_cell(canvas, &grid->input[i], view, out);
        turn_cell(canvas, &grid->output[i], view, out);
    }
    turn_cell(canvas, &grid->query, view, out);
    turn_cell(canvas, &grid->hole, view, out);
    return true;
}

/* The middle of `count` values, which are put in order; of an even number the mean of the middle two. */
static uint8_t median(uint8_t *values, int count)
{
    for (int i = 1; i < count; i++) {
        const uint8_t v = values[i];
        int at = i;
        for (; at > 0 && values[at - 1] > v; at--) values[at] = values[at - 1];
        values[at] = v;
    }
    return (uint8_t)((values[(count - 1) / 2] + values[count / 2]) / 2);
}

bool ts_grid_merge_views(const ts_grid *grid, const ts_image *views, int count, ts_image *canvas, ts_error *err)
{
    if (!check_view(grid, count, err)) return false;
    const int side = grid->hole.width;
    const size_t pixels = (size_t)side * (size_t)side;
    uint8_t *values = calloc(pixels * 3, (size_t)count); /* (pixels, 3, count) */
    if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %d views", count);
    for (int view = 0; view < count; view++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                const uint8_t *from = pixel_of(&views[view], &grid->hole, source(0, side, x, y));
                uint8_t *to = values + source(view, side, x, y) * 3 * (size_t)count + view;
                for (int c = 0; c < 3; c++) to[ORDER[view / TURNS][c] * count] = from[c];
            }
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *to = pixel_of(canvas, &grid->hole, i);
        for (size_t c = 0; c < 3; c++) to[c] = median(values + (i * 3 + c) * (size_t)count, count);
    }
    free(values);
    return true;
}

bool ts_grid_merge_arrangements(const ts_grid *grids, const ts_image *canvases, int count, bool vote, ts_image *canvas,
                                ts_error *err)
{
    const ts_cell *to = &grids[0].hole;
    for (int i = 1; i < count; i++)
        if (grids[i].hole.width != to->width || grids[i].hole.height != to->height)
            return ts_fail(err, TS_ERR_SHAPE,
                           "the answers of two arrangements have %d x %d and %d x %d pixels: one size is wanted", to->width,
                           to->height, grids[i].hole.width, grids[i].hole.height);
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0;
                for (int i = 0; i < count; i++) {
                    const ts_cell *hole = &grids[i].hole;
                    sum += canvases[i]
                               .data[((size_t)(hole->y + y) * (size_t)canvases[i].width + (size_t)(hole->x + x)) * 3 + (size_t)c];
                }
                uint8_t *out = &canvas->data[((size_t)(to->y + y) * (size_t)canvas->width + (size_t)(to->x + x)) * 3 + (size_t)c];
                const int voted = sum > 127 * count ? 255 : 0, mean = (2 * sum + count) / (2 * count);
                *out = (uint8_t)(vote ? voted : mean);
            }
    return true;
}
