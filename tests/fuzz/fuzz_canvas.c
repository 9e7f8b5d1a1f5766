/* fuzz_canvas.c - any bytes as what describes a canvas: the numbers of a grid, as a model's file may give them, then words: of
 * `figures:`, and how many examples a canvas has. A grid that is planned lies on its canvas; pages that are described can be
 * drawn. */
#include <stdlib.h>
#include <string.h>

#include "grid/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { NUMBERS = 5, DRAWN = 64 };

static void check_cell(const ts_cell *c, int canvas)
{
    if (c->x < 0 || c->y < 0 || c->width < 1 || c->height < 1 || c->x > canvas - c->width || c->y > canvas - c->height) abort();
}

static void plan(const int32_t number[NUMBERS])
{
    const ts_grid_desc desc = {.canvas = number[0],
                               .patch = number[1],
                               .examples = number[2],
                               .side = number[3] & 1 ? TS_SIDE_LEFT : TS_SIDE_RIGHT,
                               .transposed = number[3] & 2};
    ts_grid grid;
    ts_error err = {0};
    if (ts_grid_plan(&desc, &grid, &err) == (err.code != TS_OK)) abort();
    if (err.code != TS_OK) return;
    if (grid.desc.examples < 1 || grid.desc.examples > TS_GRID_MAX_EXAMPLES) abort();
    if (grid.side_patches != grid.desc.canvas / grid.desc.patch) abort();
    for (int i = 0; i < grid.desc.examples; i++) {
        check_cell(&grid.input[i], grid.desc.canvas);
        check_cell(&grid.output[i], grid.desc.canvas);
    }
    check_cell(&grid.query, grid.desc.canvas);
    check_cell(&grid.hole, grid.desc.canvas);
}

static void draw(const char *words, uint64_t seed)
{
    ts_figure_desc desc = {.canvas = DRAWN, .patch = 8};
    ts_figure figure;
    ts_error err = {0};
    if (ts_figures_read(words, &desc, &err) == (err.code != TS_OK)) abort();
    if (err.code != TS_OK) return;
    if (!ts_figure_draw(&desc, seed, &figure, NULL)) abort();
    if (figure.canvas.width != DRAWN || (desc.most > 0 && figure.grid.desc.examples > desc.most)) abort();
    ts_image_clear(&figure.canvas);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    int32_t number[NUMBERS] = {0};
    if (size < sizeof number) return 0;
    memcpy(number, bytes, sizeof number);
    plan(number);
    char *words = strndup((const char *)bytes + sizeof number, size - sizeof number);
    int least = -1, most = -1;
    if (!words) abort();
    if (ts_grid_examples_read(words, TS_GRID_MAX_EXAMPLES, &least, &most)) {
        if (least < 1 || most < least || most > TS_GRID_MAX_EXAMPLES) abort();
    } else if (least != -1 || most != -1) {
        abort();
    }
    draw(words, (uint32_t)number[4]);
    free(words);
    return 0;
}
