/* page.c - pages of figures: example pairs of one task and the query with its answer, in the published layouts or in free ones.
 * Pairs are drawn straight into their cells: a page costs its pixels and no more. */
#include <string.h>

#include "grid/figures.h"

enum { MOST_EXAMPLES = 3 };

/* The paper's tasks and segmentation come oftenest; the rest keeps the model's idea of "what the examples show" broad. */
static const float WEIGHT[TS_FIGURE_TASKS] = {
    [TS_FIGURE_COPY] = 2,         [TS_FIGURE_COLOUR] = 10,     [TS_FIGURE_SHAPE] = 10,     [TS_FIGURE_SIZE] = 9,
    [TS_FIGURE_COLOUR_SHAPE] = 8, [TS_FIGURE_SIZE_COLOUR] = 8, [TS_FIGURE_SIZE_SHAPE] = 8, [TS_FIGURE_SEGMENT] = 14,
    [TS_FIGURE_OUTLINE] = 4,      [TS_FIGURE_COLOURISE] = 7,   [TS_FIGURE_GREY] = 3,       [TS_FIGURE_INVERT] = 3,
    [TS_FIGURE_FLIP] = 3,         [TS_FIGURE_ROTATE] = 3,      [TS_FIGURE_DENOISE] = 3,    [TS_FIGURE_FILL_IN] = 7,
    [TS_FIGURE_BOX] = 3,          [TS_FIGURE_REMOVE] = 2};

uint64_t ts_figure_seed(uint64_t seed, uint64_t page)
{
    return ts_random_mix(ts_random_mix(seed) + page * UINT64_C(0x9e3779b97f4a7c15));
}

static bool check_desc(const ts_figure_desc *d, ts_error *err)
{
    if (d->least < 0 || d->most < 0 || d->most > MOST_EXAMPLES || (d->most > 0 && d->least > d->most) ||
        d->least > MOST_EXAMPLES) {
        return ts_fail(err, TS_ERR_ARGUMENT, "%d to %d example pairs do not make a page: 1 to %d", d->least, d->most,
                       MOST_EXAMPLES);
    }
    for (int i = 0; i < TS_FIGURE_TASKS; i++) {
        if (!(d->weight[i] >= 0 && d->weight[i] < 1e6f)) {
            return ts_fail(err, TS_ERR_ARGUMENT, "the weight %g of task %s is not possible: 0 to a million", (double)d->weight[i],
                           ts_figure_task_name((ts_figure_task)i));
        }
    }
    return true;
}

static ts_figure_task random_task(ts_random *r, const float weight[TS_FIGURE_TASKS])
{
    float sum = 0;
    for (int i = 0; i < TS_FIGURE_TASKS; i++) sum += weight[i];
    if (sum <= 0) return random_task(r, WEIGHT);
    float at = ts_random_real(r, 0, sum);
    int last = 0;
    for (int i = 0; i < TS_FIGURE_TASKS; i++) {
        if (weight[i] <= 0) continue;
        last = i;
        if (at < weight[i]) break;
        at -= weight[i];
    }
    return (ts_figure_task)last;
}

static int random_examples(ts_random *r, int least, int most)
{
    static const float share[MOST_EXAMPLES + 1] = {0, 0.35f, 0.45f, 0.2f};
    float sum = 0;
    for (int i = least; i <= most && i <= MOST_EXAMPLES; i++) sum += share[i];
    float at = ts_random_real(r, 0, sum);
    for (int i = least; i < most && i < MOST_EXAMPLES; i++) {
        if (at < share[i]) return i;
        at -= share[i];
    }
    return most;
}

static ts_colour random_background(ts_random *r)
{
    float kind = ts_random_real(r, 0, 1);
    if (kind < 0.5f) return (ts_colour){{0, 0, 0}};
    if (kind < 0.88f) return (ts_colour){{255, 255, 255}};
    return ts_colour_ground(r, false);
}

/* ---- free layouts ------------------------------------------------------------------------------------------- */

/* Pairs stand in `columns` columns; a pair is side by side, or one above the other. */
typedef struct {
    int columns, rows;
    bool upright; /* the output below (or above) its input */
} arrangement;

static arrangement random_arrangement(ts_random *r, int pairs)
{
    /* What leaves every cell at least a quarter of the canvas. */
    static const arrangement two[] = {{1, 2, false}, {2, 1, true}, {2, 1, false}, {1, 2, true}},
                             three[] = {{1, 3, false}, {3, 1, true}},
                             four[] = {{1, 4, false}, {4, 1, true}, {2, 2, false}, {2, 2, true}};
    if (pairs == 2) return two[ts_random_chance(r, 0.2f) ? ts_random_int(r, 2, 3) : ts_random_int(r, 0, 1)];
    if (pairs == 3) return three[ts_random_int(r, 0, 1)];
    return four[ts_random_int(r, 0, 3)];
}

/* A cell size for `count` cells in a line of the canvas. */
static int random_size(ts_random *r, int canvas, int count, int *gap)
{
    int most = canvas / count - 1;
    int size = (int)((float)most * ts_random_real(r, 0.74f, 1));
    int left = canvas - count * size, most_gap = left / count;
    *gap = ts_random_int(r, most_gap > 0, most_gap < 10 ? most_gap : 10);
    return size > 0 ? size : 1;
}

static void free_layout(ts_random *r, ts_grid *grid, bool square)
{
    int canvas = grid->desc.canvas, pairs = grid->desc.examples + 1, gap_x, gap_y;
    arrangement a = random_arrangement(r, pairs);
    int across = a.columns * (a.upright ? 1 : 2), down = a.rows * (a.upright ? 2 : 1);
    int width = random_size(r, canvas, across, &gap_x), height = random_size(r, canvas, down, &gap_y);
    int narrow = width < height ? width : height;
    if (width > narrow * 5 / 4 || square) width = square ? narrow : narrow * 5 / 4;
    if (height > narrow * 5 / 4 || square) height = square ? narrow : narrow * 5 / 4;
    int x0 = ts_random_int(r, 0, canvas - across * width - (across - 1) * gap_x);
    int y0 = ts_random_int(r, 0, canvas - down * height - (down - 1) * gap_y);
    bool first_is_output = ts_random_chance(r, 0.25f);
    int query = ts_random_chance(r, 0.7f) ? pairs - 1 : ts_random_int(r, 0, pairs - 1), example = 0;
    grid->desc.side = first_is_output ? TS_SIDE_LEFT : TS_SIDE_RIGHT;
    grid->desc.transposed = a.upright;
    for (int i = 0; i < pairs; i++) {
        ts_cell cell[2];
        for (int k = 0; k < 2; k++) {
            int col = a.upright ? i % a.columns : i % a.columns * 2 + k, row = a.upright ? i / a.columns * 2 + k : i / a.columns;
            cell[k] = (ts_cell){x0 + col * (width + gap_x), y0 + row * (height + gap_y), width, height};
        }
        ts_cell *input = i == query ? &grid->query : &grid->input[example];
        ts_cell *output = i == query ? &grid->hole : &grid->output[example];
        *input = cell[first_is_output];
        *output = cell[!first_is_output];
        example += i != query;
    }
}

/* A thin line around a cell, as far as the canvas reaches. */
static void frame(ts_image *canvas, ts_cell cell, ts_colour colour)
{
    int left = cell.x > 0 ? cell.x - 1 : 0, top = cell.y > 0 ? cell.y - 1 : 0;
    int right = cell.x + cell.width + 1, bottom = cell.y + cell.height + 1;
    if (right > canvas->width) right = canvas->width;
    if (bottom > canvas->height) bottom = canvas->height;
    ts_draw_fill(canvas, (ts_cell){left, top, right - left, bottom - top}, colour);
}

/* ---- pages -------------------------------------------------------------------------------------------------- */

static bool visible(const ts_grid *grid)
{
    for (int row = 0; row < grid->side_patches; row++)
        for (int col = 0; col < grid->side_patches; col++)
            if (!ts_grid_hidden(grid, row, col)) return true;
    return false;
}

bool ts_figure_draw(const ts_figure_desc *desc, uint64_t seed, ts_figure *out, ts_error *err)
{
    *out = (ts_figure){0};
    if (!check_desc(desc, err)) return false;
    ts_random r;
    ts_random_seed(&r, seed);
    int least = desc->least ? desc->least : 1, most = desc->most ? desc->most : MOST_EXAMPLES;
    float free_share = desc->published ? 0 : desc->free_share == 0 ? 0.25f : desc->free_share;
    ts_grid_desc layout = {.canvas = desc->canvas, .patch = desc->patch, .examples = random_examples(&r, least, most)};
    ts_colour background = desc->published ? (ts_colour){{0, 0, 0}} : random_background(&r);
    memcpy(layout.background, background.v, 3);
    layout.side = !desc->published && ts_random_chance(&r, 0.15f) ? TS_SIDE_LEFT : TS_SIDE_RIGHT;
    layout.transposed = !desc->published && ts_random_chance(&r, 0.15f);
    if (!ts_grid_plan(&layout, &out->grid, err)) return false;
    out->task = random_task(&r, desc->weight);
    bool framed = false, is_free = ts_random_chance(&r, free_share);
    if (is_free) {
        ts_grid planned = out->grid;
        free_layout(&r, &out->grid, out->task == TS_FIGURE_ROTATE);
        framed = ts_random_chance(&r, 0.25f);
        if (!visible(&out->grid)) out->grid = planned;
    }
    ts_grid *grid = &out->grid;
    if (!ts_image_new(grid->desc.canvas, grid->desc.canvas, &out->canvas, err)) return false;
    ts_cell whole = {0, 0, grid->desc.canvas, grid->desc.canvas};
    ts_draw_fill(&out->canvas, whole, background);
    ts_rule rule;
    ts_rule_make(&r, out->task, desc->held_out, desc->plain, &rule);
    /* In a free layout nothing else would tell where a cell of the canvas's own colour ends. */
    if (is_free && rule.plain && ts_colour_apart(rule.ground, background) < 90) framed = true;
    ts_colour line = {{0, 0, 0}};
    if (ts_colour_grey(background) < 128) memset(line.v, 255, 3);
    for (int i = 0; framed && i <= grid->desc.examples; i++) {
        bool query = i == grid->desc.examples;
        frame(&out->canvas, query ? grid->query : grid->input[i], line);
        frame(&out->canvas, query ? grid->hole : grid->output[i], line);
    }
    for (int i = 0; i <= grid->desc.examples; i++) {
        bool query = i == grid->desc.examples;
        ts_cell before = query ? grid->query : grid->input[i], after = query ? grid->hole : grid->output[i];
        ts_rule_draw(&r, &rule, &out->canvas, before, &out->canvas, after, NULL);
    }
    return true;
}

bool ts_figure_pair(ts_figure_task task, bool plain, bool held_out, int side, uint64_t seed, uint64_t pair, ts_image *before,
                    ts_image *after, ts_error *err)
{
    ts_random r;
    ts_rule rule;
    *before = *after = (ts_image){0};
    ts_random_seed(&r, seed);
    ts_rule_make(&r, task, held_out, plain, &rule);
    if (!ts_image_new(side, side, before, err)) return false;
    if (!ts_image_new(side, side, after, err)) {
        ts_image_clear(before);
        return false;
    }
    const ts_cell whole = {0, 0, side, side};
    ts_random_seed(&r, ts_figure_seed(seed, pair));
    ts_rule_draw(&r, &rule, before, whole, after, whole, NULL);
    return true;
}
