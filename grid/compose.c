/* compose.c - pictures onto a canvas and the answer off it again. Pixels only: what is painted into the hole is the model's. */
#include <string.h>

#include "grid/grid.h"

/* Copies `width` x `height` pixels; both places lie inside their pictures. */
static void copy_pixels(const ts_image *from, int from_x, int from_y, ts_image *to, int to_x, int to_y, int width, int height)
{
    for (int y = 0; y < height; y++) {
        const uint8_t *source = from->data + ((size_t)(from_y + y) * (size_t)from->width + (size_t)from_x) * 3;
        memcpy(to->data + ((size_t)(to_y + y) * (size_t)to->width + (size_t)to_x) * 3, source, (size_t)width * 3);
    }
}

static bool draw(const ts_grid *grid, const ts_image *picture, const ts_cell *cell, ts_image *canvas, ts_error *err)
{
    ts_image small;
    if (!picture) return ts_fail(err, TS_ERR_ARGUMENT, "a picture for the canvas is missing");
    if (!ts_image_resize(picture, cell->width, cell->height, grid->desc.filter, &small, err)) return false;
    copy_pixels(&small, 0, 0, canvas, cell->x, cell->y, cell->width, cell->height);
    ts_image_clear(&small);
    return true;
}

bool ts_grid_compose(const ts_grid *grid, const ts_example *examples, const ts_image *query, ts_image *out, ts_error *err)
{
    const ts_grid_desc *d = &grid->desc;
    if (!ts_image_new(d->canvas, d->canvas, out, err)) return false;
    size_t pixels = (size_t)d->canvas * (size_t)d->canvas;
    for (size_t i = 0; i < pixels; i++) memcpy(out->data + i * 3, d->background, 3);
    bool ok = draw(grid, query, &grid->query, out, err);
    for (int i = 0; ok && examples && i < d->examples; i++) {
        ok = draw(grid, examples[i].input, &grid->input[i], out, err) &&
             draw(grid, examples[i].output, &grid->output[i], out, err);
    }
    if (!ok) ts_image_clear(out);
    return ok;
}

int ts_grid_canvases(const ts_grid *grid, int pairs)
{
    return (pairs + grid->desc.examples - 1) / grid->desc.examples;
}

bool ts_grid_compose_all(const ts_grid *grid, const ts_example *examples, int pairs, const ts_image *query, ts_image *out,
                         ts_error *err)
{
    if (pairs < 1) return ts_fail(err, TS_ERR_ARGUMENT, "%d example pairs, at least one is wanted", pairs);
    const int each = grid->desc.examples, count = ts_grid_canvases(grid, pairs);
    for (int i = 0; i < count; i++) {
        ts_example shown[TS_GRID_MAX_EXAMPLES];
        for (int k = 0; k < each; k++) shown[k] = examples[(i * each + k) % pairs];
        if (ts_grid_compose(grid, shown, query, &out[i], err)) continue;
        while (i-- > 0) ts_image_clear(&out[i]);
        return false;
    }
    return true;
}

static bool check_canvas(const ts_grid *grid, const ts_image *img, const char *what, ts_error *err)
{
    int side = grid->desc.canvas;
    if (img->data && img->width == side && img->height == side) return true;
    return ts_fail(err, TS_ERR_SHAPE, "%s is %d x %d pixels where the grid's canvas has %d x %d", what, img->width, img->height,
                   side, side);
}

bool ts_grid_paste(const ts_grid *grid, const ts_image *canvas, const ts_image *painted, ts_image *out, ts_error *err)
{
    int side = grid->desc.canvas, patch = grid->desc.patch;
    *out = (ts_image){0};
    if (!check_canvas(grid, canvas, "the canvas", err) || !check_canvas(grid, painted, "the painted picture", err)) return false;
    if (!ts_image_new(side, side, out, err)) return false;
    for (int row = 0; row < grid->side_patches; row++) {
        for (int col = 0; col < grid->side_patches; col++) {
            const ts_image *from = ts_grid_hidden(grid, row, col) ? painted : canvas;
            copy_pixels(from, col * patch, row * patch, out, col * patch, row * patch, patch, patch);
        }
    }
    return true;
}

static void fill(const ts_grid *grid, const ts_cell *cell, ts_image *canvas)
{
    for (int y = cell->y; y < cell->y + cell->height; y++)
        for (int x = cell->x; x < cell->x + cell->width; x++)
            memcpy(canvas->data + ((size_t)y * (size_t)canvas->width + (size_t)x) * 3, grid->desc.background, 3);
}

bool ts_grid_blank(const ts_grid *grid, const ts_image *canvas, ts_image *out, ts_error *err)
{
    *out = (ts_image){0};
    if (!check_canvas(grid, canvas, "the canvas", err) || !ts_image_copy(canvas, out, err)) return false;
    for (int i = 0; i < grid->desc.examples; i++) {
        fill(grid, &grid->input[i], out);
        fill(grid, &grid->output[i], out);
    }
    return true;
}

bool ts_grid_answer(const ts_grid *grid, const ts_image *canvas, int width, int height, ts_image *out, ts_error *err)
{
    const ts_cell *hole = &grid->hole;
    ts_image cell;
    *out = (ts_image){0};
    if (!check_canvas(grid, canvas, "the canvas", err) || !ts_image_new(hole->width, hole->height, &cell, err)) return false;
    copy_pixels(canvas, hole->x, hole->y, &cell, 0, 0, hole->width, hole->height);
    if (width == 0) {
        *out = cell;
        return true;
    }
    bool ok = ts_image_resize(&cell, width, height, TS_RESIZE_BICUBIC, out, err);
    ts_image_clear(&cell);
    return ok;
}
