/* border.c - the learned border. A cell of the canvas is brought to the canvas's own size, gets a frame of pixels, and comes back
 * (Zhang et al. 2024, section 3.2); since both ways are linear, back(there(x) + frame) = back(there(x)) + back(frame), and only
 * the second part of the sum has to be in the graph that learns.
 *
 * Of the released code two habits are not repeated: it trains on canvases in [0, 1] and answers on normalised ones, and divides
 * the loss by the batch. Here all canvases are normalised, and the frame is added to pictures in [0, 1] before. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mae/prompt/internal.h"

enum { WIDTH_OF_224 = 30 };

int ts_border_pixels(int canvas)
{
    const int pixels = (int)lround(WIDTH_OF_224 * canvas / 224.0);
    return pixels < 1 ? 1 : pixels;
}

int64_t ts_border_parameters(const ts_border_config *c)
{
    return 12 * (int64_t)c->pixels * (c->canvas - c->pixels);
}

bool ts_border_complete(ts_border_config *c, int canvas, ts_error *err)
{
    if (c->canvas == 0) c->canvas = canvas;
    if (c->pixels == 0) c->pixels = ts_border_pixels(c->canvas);
    if (c->cells == 0) c->cells = TS_BORDER_EXAMPLES;
    if (c->canvas < 3 || c->pixels < 1 || 2 * c->pixels >= c->canvas)
        return ts_fail(err, TS_ERR_ARGUMENT, "a border of %d pixels does not go on a canvas of %d: 1 to %d", c->pixels, c->canvas,
                       (c->canvas - 1) / 2);
    return true;
}

/* ---- parameters ---- */

/* As the authors' files name them. */
static const char *const names[4] = {"pad_up", "pad_down", "pad_left", "pad_right"};

static void shape_of(const ts_border_config *c, int part, int64_t out[4])
{
    out[0] = 1;
    out[1] = 3;
    out[2] = part < 2 ? c->pixels : c->canvas - 2 * c->pixels;
    out[3] = part < 2 ? c->canvas : c->pixels;
}

bool ts_border_read(const ts_weights *w, ts_border_config *out, bool *there, ts_error *err)
{
    enum { MOST = 8192 };
    const ts_weight *up = ts_weights_find(w, names[0]);
    *there = up != NULL;
    *out = (ts_border_config){0};
    if (!up) return false;
    if (up->ndim != 4 || up->shape[2] < 1 || up->shape[3] < 3 || up->shape[3] > MOST || 2 * up->shape[2] >= up->shape[3])
        return ts_fail(err, TS_ERR_SHAPE, "%s: %s has not the shape (1, 3, width, side) of a border", ts_weights_path(w),
                       names[0]);
    out->pixels = (int)up->shape[2];
    out->canvas = (int)up->shape[3];
    for (int i = 0; i < 4; i++) {
        const ts_weight *t = ts_weights_find(w, names[i]);
        int64_t want[4];
        shape_of(out, i, want);
        if (!t) return ts_fail(err, TS_ERR_FORMAT, "%s: %s of the border is missing", ts_weights_path(w), names[i]);
        bool same = t->ndim == 4;
        for (int k = 0; same && k < 4; k++) same = t->shape[k] == want[k];
        if (!same)
            return ts_fail(err, TS_ERR_SHAPE, "%s: %s does not fit %s: wanted (1, 3, %d, %d)", ts_weights_path(w), names[i],
                           names[0], (int)want[2], (int)want[3]);
    }
    return true;
}

bool ts_border_init(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)name, (void)err;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    for (int64_t i = 0; i < count; i++) out[i] = (float)ts_normal(ctx);
    return true;
}

ts_border_parts ts_border_declare(ts_graph *g, const ts_border_config *c, ts_params *ps)
{
    ts_tensor *t[4];
    for (int i = 0; i < 4; i++) {
        int64_t shape[4];
        shape_of(c, i, shape);
        t[i] = ts_param(g, ps, names[i], TS_LAYOUT_PLAIN, 4, shape);
    }
    return (ts_border_parts){t[0], t[1], t[2], t[3]};
}

static const double DEVIATION[3] = {0.229, 0.224, 0.225}; /* see ts_mae_normalise */

static bool make_constants(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx, (void)name, (void)ndim, (void)shape, (void)err;
    for (int c = 0; c < 3; c++) out[c] = (float)(1 / DEVIATION[c]);
    return true;
}

ts_params *ts_border_constants(ts_device *dev, ts_error *err)
{
    return ts_params_new_trainable(dev, NULL, "", make_constants, NULL, err);
}

/* ---- in the graph ---- */

/* A part (1, 3, h, w) as pixels (h, w, 3). */
static ts_tensor *pixels_of(ts_graph *g, ts_tensor *part)
{
    if (!part) return NULL;
    const int64_t h = part->shape[2], w = part->shape[3];
    ts_tensor *x = ts_swap(g, ts_reshape(g, part, 4, (int64_t[]){1, 3, h * w, 1}));
    return ts_reshape(g, x, 3, (int64_t[]){h, w, 3});
}

/* Zeros at the left and the right of a picture (h, w, 3), `left` and `right` pixels of them. */
static ts_tensor *widen(ts_graph *g, ts_tensor *x, int64_t left, int64_t right)
{
    if (left > 0) x = ts_concat(g, ts_fill(g, 2, (int64_t[]){left, 3}, 0), x);
    if (right > 0) x = ts_concat(g, x, ts_fill(g, 2, (int64_t[]){right, 3}, 0));
    return x;
}

/* Pictures (h, w, 3) of one width, one above the other; either may be of zero rows, NULL. */
static ts_tensor *stack(ts_graph *g, ts_tensor *above, ts_tensor *below)
{
    if (!above || !below) return NULL;
    const int64_t w = above->shape[1] * 3, rows = above->shape[0] + below->shape[0];
    ts_tensor *top = ts_reshape(g, above, 2, (int64_t[]){above->shape[0], w});
    ts_tensor *bottom = ts_reshape(g, below, 2, (int64_t[]){below->shape[0], w});
    return ts_reshape(g, ts_concat(g, top, bottom), 3, (int64_t[]){rows, above->shape[1], 3});
}

/* The whole frame, (canvas, canvas, 3), zeros within. */
static ts_tensor *frame_of(ts_graph *g, const ts_border_config *c, ts_params *ps)
{
    const ts_border_parts p = ts_border_declare(g, c, ps);
    const int64_t within = c->canvas - 2 * c->pixels;
    ts_tensor *left = widen(g, pixels_of(g, p.left), 0, within);
    ts_tensor *sides = ts_concat(g, left, pixels_of(g, p.right)); // (within, canvas, 3)
    ts_tensor *upper = stack(g, pixels_of(g, p.up), sides);
    return stack(g, upper, pixels_of(g, p.down));
}

/* The cells of a grid that get the border; `out` has room for all. Returns their number. */
static int chosen_cells(const ts_border_config *c, const ts_grid *grid, ts_cell out[2 * TS_GRID_MAX_EXAMPLES + 1])
{
    int count = 0;
    for (int i = 0; i < grid->desc.examples; i++) {
        if (c->cells & TS_BORDER_INPUTS) out[count++] = grid->input[i];
        if (c->cells & TS_BORDER_OUTPUTS) out[count++] = grid->output[i];
    }
    if (c->cells & TS_BORDER_QUERY) out[count++] = grid->query;
    return count;
}

/* A cell's picture (h, w, 3) at its place of an empty canvas, (side, side, 3). */
static ts_tensor *placed(ts_graph *g, ts_tensor *x, const ts_cell *cell, int64_t side)
{
    const int64_t above = cell->y, below = side - cell->y - cell->height;
    x = widen(g, x, cell->x, side - cell->x - cell->width);
    if (above > 0) x = stack(g, ts_fill(g, 3, (int64_t[]){above, side, 3}, 0), x);
    if (below > 0) x = stack(g, x, ts_fill(g, 3, (int64_t[]){below, side, 3}, 0));
    return x;
}

ts_tensor *ts_border_add(ts_graph *g, const ts_border_config *c, ts_params *ps, ts_params *deviations, const ts_grid *grid,
                         ts_tensor *canvases)
{
    const int64_t side = c->canvas, cell = grid->hole.width;
    ts_cell cells[2 * TS_GRID_MAX_EXAMPLES + 1];
    const int count = chosen_cells(c, grid, cells);
    ts_scope(g, "border");
    ts_tensor *frame = ts_reshape(g, frame_of(g, c, ps), 4, (int64_t[]){1, side, side, 3});
    frame = ts_resample(g, frame, cell, cell, false);
    frame = ts_mul(g, frame, ts_param(g, deviations, "deviations", TS_LAYOUT_PLAIN, 1, (int64_t[]){3}));
    frame = ts_reshape(g, frame, 3, (int64_t[]){cell, cell, 3});
    ts_tensor *all = NULL;
    for (int i = 0; i < count; i++) {
        ts_tensor *one = placed(g, frame, &cells[i], side);
        all = all ? ts_add(g, all, one) : one;
    }
    return ts_add(g, canvases, all); // the same on every canvas
}

/* ---- on pictures ---- */

float *ts_border_frame(const ts_weights *w, const ts_border_config *c, ts_error *err)
{
    const int64_t side = c->canvas;
    float *frame = calloc((size_t)(side * side) * 3, sizeof *frame);
    float *part = calloc((size_t)(3 * c->pixels * side), sizeof *part);
    bool ok = frame && part;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a border");
    for (int i = 0; ok && i < 4; i++) {
        int64_t shape[4];
        shape_of(c, i, shape);
        ok = ts_weight_to_f32(ts_weights_find(w, names[i]), part, err);
        const int64_t area = shape[2] * shape[3], top = i == 0 ? 0 : i == 1 ? side - c->pixels : c->pixels;
        const int64_t left = i == 3 ? side - c->pixels : 0;
        for (int64_t k = 0; ok && k < 3 * area; k++) {
            const int64_t y = top + k % area / shape[3], x = left + k % shape[3];
            frame[(y * side + x) * 3 + k / area] = part[k];
        }
    }
    free(part);
    if (ok) return frame;
    free(frame);
    return NULL;
}

/* Pictures of `from` pixels a side to `to`, bilinear, half-pixel centres, as ts_resample. */
static void resize(const float *x, int from, float *y, int to)
{
    const float scale = (float)from / (float)to;
    for (int r = 0; r < to; r++)
        for (int c = 0; c < to; c++) {
            const float v = fmaxf(((float)r + 0.5F) * scale - 0.5F, 0), h = fmaxf(((float)c + 0.5F) * scale - 0.5F, 0);
            const int y0 = (int)v, x0 = (int)h, y1 = y0 + (y0 < from - 1), x1 = x0 + (x0 < from - 1);
            const float down = v - (float)y0, across = h - (float)x0;
            for (int k = 0; k < 3; k++) {
                const float top = x[(y0 * from + x0) * 3 + k] * (1 - across) + x[(y0 * from + x1) * 3 + k] * across;
                const float bottom = x[(y1 * from + x0) * 3 + k] * (1 - across) + x[(y1 * from + x1) * 3 + k] * across;
                y[(r * to + c) * 3 + k] = top * (1 - down) + bottom * down;
            }
        }
}

bool ts_border_dress(const ts_border_config *c, const float *frame, const ts_grid *grid, float *canvas, ts_error *err)
{
    const int side = c->canvas, size = grid->hole.width;
    ts_cell cells[2 * TS_GRID_MAX_EXAMPLES + 1];
    const int count = chosen_cells(c, grid, cells);
    if (grid->desc.canvas != side)
        return ts_fail(err, TS_ERR_SHAPE, "a border for a canvas of %d pixels does not fit one of %d", side, grid->desc.canvas);
    const size_t row = (size_t)size * 3 * sizeof *canvas, wide = (size_t)side * 3;
    float *small = calloc((size_t)size, row), *large = calloc((size_t)side, wide * sizeof *large);
    const bool ok = small && large;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a cell");
    for (int i = 0; ok && i < count; i++) {
        float *corner = canvas + (size_t)cells[i].y * wide + (size_t)cells[i].x * 3;
        for (int y = 0; y < size; y++) memcpy(small + (size_t)y * (size_t)size * 3, corner + (size_t)y * wide, row);
        resize(small, size, large, side);
        for (size_t k = 0; frame && k < (size_t)side * wide; k++) large[k] += frame[k] / (float)DEVIATION[k % 3];
        resize(large, side, small, size);
        for (int y = 0; y < size; y++) memcpy(corner + (size_t)y * wide, small + (size_t)y * (size_t)size * 3, row);
    }
    free(small);
    free(large);
    return ok;
}
