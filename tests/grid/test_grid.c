/* Canvases: the published layouts to the pixel, their mirror images, other sizes, and a picture's way there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grid/grid.h"

static ts_grid plan(ts_grid_desc desc)
{
    ts_grid grid;
    ts_error err = {0};
    if (!ts_grid_plan(&desc, &grid, &err)) fail_msg("%s", err.text);
    return grid;
}

static void check_cell(ts_cell cell, int x, int y, int side)
{
    assert_int_equal(cell.x, x);
    assert_int_equal(cell.y, y);
    assert_int_equal(cell.width, side);
    assert_int_equal(cell.height, side);
}

/* Hidden are just the patches of these rows and columns, both ends included; the list of the visible agrees. */
static void check_hidden(const ts_grid *grid, int row0, int row1, int col0, int col1)
{
    int side = grid->side_patches, count = 0;
    int32_t *keep = malloc((size_t)side * (size_t)side * sizeof *keep);
    int kept = ts_grid_keep(grid, keep);
    for (int row = 0; row < side; row++) {
        for (int col = 0; col < side; col++) {
            bool hidden = row >= row0 && row <= row1 && col >= col0 && col <= col1;
            assert_int_equal(ts_grid_hidden(grid, row, col), hidden);
            if (!hidden) assert_int_equal(keep[count++], row * side + col);
        }
    }
    assert_int_equal(kept, count);
    free(keep);
}

static void test_published_two_rows(void **state)
{
    (void)state;
    ts_grid grid = plan((ts_grid_desc){0});
    assert_int_equal(grid.desc.canvas, 224);
    assert_int_equal(grid.side_patches, 14);
    check_cell(grid.input[0], 0, 0, 111);
    check_cell(grid.output[0], 113, 0, 111);
    check_cell(grid.query, 0, 113, 111);
    check_cell(grid.hole, 113, 113, 111);
    check_hidden(&grid, 7, 13, 7, 13);
    int32_t keep[196];
    assert_int_equal(ts_grid_keep(&grid, keep), 147);
}

static void test_published_three_rows(void **state)
{
    (void)state;
    ts_grid grid = plan((ts_grid_desc){.examples = 2});
    check_cell(grid.input[0], 37, 0, 74);
    check_cell(grid.output[0], 113, 0, 74);
    check_cell(grid.input[1], 37, 75, 74);
    check_cell(grid.output[1], 113, 75, 74);
    check_cell(grid.query, 37, 150, 74);
    check_cell(grid.hole, 113, 150, 74);
    check_hidden(&grid, 9, 13, 7, 11);
}

static void test_sides(void **state)
{
    (void)state;
    ts_grid grid = plan((ts_grid_desc){.side = TS_SIDE_LEFT});
    check_cell(grid.input[0], 113, 0, 111);
    check_cell(grid.output[0], 0, 0, 111);
    check_cell(grid.query, 113, 113, 111);
    check_cell(grid.hole, 0, 113, 111);
    check_hidden(&grid, 7, 13, 0, 6);

    grid = plan((ts_grid_desc){.transposed = true}); /* the evaluators' "flip" */
    check_cell(grid.input[0], 0, 0, 111);
    check_cell(grid.output[0], 0, 113, 111);
    check_cell(grid.query, 113, 0, 111);
    check_cell(grid.hole, 113, 113, 111);
    check_hidden(&grid, 7, 13, 7, 13);

    grid = plan((ts_grid_desc){.transposed = true, .side = TS_SIDE_LEFT});
    check_cell(grid.output[0], 0, 0, 111);
    check_cell(grid.hole, 113, 0, 111);
    check_hidden(&grid, 0, 6, 7, 13);

    grid = plan((ts_grid_desc){.examples = 2, .side = TS_SIDE_LEFT});
    check_cell(grid.query, 113, 150, 74);
    check_cell(grid.hole, 37, 150, 74);
    check_hidden(&grid, 9, 13, 2, 6);

    grid = plan((ts_grid_desc){.examples = 2, .transposed = true});
    check_cell(grid.input[1], 75, 37, 74);
    check_cell(grid.query, 150, 37, 74);
    check_cell(grid.hole, 150, 113, 74);
    check_hidden(&grid, 7, 11, 9, 13);
}

/* Any canvas, patch, number of examples and arrangement: cells inside, apart from each other by a line, left and right mirror
 * images. */
static void test_any_layout(void **state)
{
    (void)state;
    static const int canvases[][2] = {{224, 16}, {224, 14}, {64, 16}, {63, 7}, {448, 16}, {49, 7}, {96, 8}};
    for (size_t i = 0; i < sizeof canvases / sizeof *canvases; i++) {
        for (int examples = 1; examples <= TS_GRID_MAX_EXAMPLES; examples++) {
            for (int way = 0; way < 4; way++) {
                ts_grid_desc desc = {.canvas = canvases[i][0],
                                     .patch = canvases[i][1],
                                     .examples = examples,
                                     .side = (ts_side)(way & 1),
                                     .transposed = way >= 2};
                ts_grid grid = plan(desc);
                ts_cell cells[2 * TS_GRID_MAX_EXAMPLES + 2] = {grid.query, grid.hole};
                int count = 2;
                for (int e = 0; e < examples; e++) {
                    cells[count++] = grid.input[e];
                    cells[count++] = grid.output[e];
                }
                for (int a = 0; a < count; a++) {
                    ts_cell p = cells[a];
                    assert_true(p.width >= 1 && p.width == p.height);
                    assert_true(p.x >= 0 && p.y >= 0 && p.x + p.width <= desc.canvas && p.y + p.height <= desc.canvas);
                    for (int b = 0; b < a; b++) {
                        ts_cell q = cells[b];
                        assert_true(p.x + p.width < q.x || q.x + q.width < p.x || p.y + p.height < q.y || q.y + q.height < p.y);
                    }
                }
                desc.side = desc.side == TS_SIDE_LEFT ? TS_SIDE_RIGHT : TS_SIDE_LEFT;
                ts_grid mirror = plan(desc);
                if (desc.transposed) assert_int_equal(mirror.hole.y, desc.canvas - grid.hole.y - grid.hole.height);
                else assert_int_equal(mirror.hole.x, desc.canvas - grid.hole.x - grid.hole.width);
            }
        }
    }
}

static void test_plan_errors(void **state)
{
    (void)state;
    static const ts_grid_desc bad[] = {
        {.canvas = 225},
        {.canvas = -16},
        {.canvas = 1 << 20},
        {.patch = -1},
        {.patch = 15},
        {.examples = -1},
        {.examples = 8},
        {.canvas = 2, .patch = 1},
        {.canvas = 224, .patch = 224},
        {.canvas = 8, .patch = 1, .examples = 7},
        {.side = (ts_side)5},
        {.filter = (ts_resize_filter)5},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ts_grid grid;
        ts_error err = {0};
        if (ts_grid_plan(&bad[i], &grid, &err)) fail_msg("layout %zu was taken", i);
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        assert_true(strlen(err.text) > 10);
    }
}

static void test_examples_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int least, most;
    } cases[] = {{"1", 1, 1}, {"7", 7, 7}, {"1..3", 1, 3}, {"2..2", 2, 2}};
    static const char *const bad[] = {"",     "0",    "8",     "12",    "1.", "1..", "1..8",
                                      "3..2", "0..2", "1..33", "1...2", "-1", "two", "..2"};
    int least = 0, most = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(ts_grid_examples_read(cases[i].text, TS_GRID_MAX_EXAMPLES, &least, &most));
        assert_true(least == cases[i].least && most == cases[i].most);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(ts_grid_examples_read(bad[i], TS_GRID_MAX_EXAMPLES, &least, &most));
        assert_true(least == 2 && most == 2);
    }
}

static void flat(ts_image *img, int width, int height, uint8_t value)
{
    assert_true(ts_image_new(width, height, img, NULL));
    memset(img->data, value, (size_t)width * (size_t)height * 3);
}

static uint8_t at(const ts_image *img, int x, int y)
{
    return img->data[((size_t)y * (size_t)img->width + (size_t)x) * 3 + 1];
}

static void test_compose(void **state)
{
    (void)state;
    ts_image in, out, query, canvas;
    flat(&in, 50, 20, 10);
    flat(&out, 111, 111, 20);
    flat(&query, 300, 400, 30);
    ts_grid grid = plan((ts_grid_desc){.background = {255, 254, 253}});
    assert_true(ts_grid_compose(&grid, &(ts_example){&in, &out}, &query, &canvas, NULL));
    assert_int_equal(canvas.width, 224);
    assert_int_equal(canvas.height, 224);
    for (int y = 0; y < 224; y++) {
        for (int x = 0; x < 224; x++) {
            bool line = x == 111 || x == 112 || y == 111 || y == 112;
            int expected = line ? 254 : y < 111 ? (x < 111 ? 10 : 20) : x < 111 ? 30 : 254;
            assert_int_equal(at(&canvas, x, y), expected);
        }
    }
    assert_int_equal(canvas.data[111 * 3], 255);
    assert_int_equal(canvas.data[111 * 3 + 2], 253);
    ts_image_clear(&canvas);

    ts_error err = {0};
    assert_false(ts_grid_compose(&grid, &(ts_example){&in, NULL}, &query, &canvas, &err));
    assert_int_equal(err.code, TS_ERR_ARGUMENT);
    assert_null(canvas.data);
    ts_image_clear(&in);
    ts_image_clear(&out);
    ts_image_clear(&query);
}

/* Three pairs, two on a canvas: the second canvas begins with the first pair again where the third is followed by none. */
static void test_compose_all(void **state)
{
    (void)state;
    ts_image in[3], out[3], query, canvas[3] = {0};
    ts_example examples[3];
    for (int i = 0; i < 3; i++) {
        flat(&in[i], 30, 30, (uint8_t)(10 * i + 1));
        flat(&out[i], 30, 30, (uint8_t)(10 * i + 2));
        examples[i] = (ts_example){&in[i], &out[i]};
    }
    flat(&query, 30, 30, 99);
    ts_grid grid = plan((ts_grid_desc){.examples = 2});
    assert_int_equal(ts_grid_canvases(&grid, 1), 1);
    assert_int_equal(ts_grid_canvases(&grid, 2), 1);
    assert_int_equal(ts_grid_canvases(&grid, 3), 2);
    ts_error err = {0};
    assert_true(ts_grid_compose_all(&grid, examples, 3, &query, canvas, &err));
    static const uint8_t first[2][2] = {{1, 11}, {21, 1}};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            assert_int_equal(at(&canvas[i], grid.input[k].x, grid.input[k].y), first[i][k]);
            assert_int_equal(at(&canvas[i], grid.output[k].x, grid.output[k].y), first[i][k] + 1);
        }
        assert_int_equal(at(&canvas[i], grid.query.x, grid.query.y), 99);
        ts_image_clear(&canvas[i]);
    }
    assert_null(canvas[2].data);
    examples[2].output = NULL;
    assert_false(ts_grid_compose_all(&grid, examples, 3, &query, canvas, &err));
    assert_null(canvas[0].data);
    assert_false(ts_grid_compose_all(&grid, examples, 0, &query, canvas, &err));
    for (int i = 0; i < 3; i++) {
        ts_image_clear(&in[i]);
        ts_image_clear(&out[i]);
    }
    ts_image_clear(&query);
}

/* A cell is what the resize gives, pixel by pixel: the filter asked for, the aspect not kept. */
static void test_compose_resizes(void **state)
{
    (void)state;
    ts_image photo, canvas, cell;
    assert_true(ts_image_new(61, 43, &photo, NULL));
    for (int i = 0; i < 61 * 43 * 3; i++) photo.data[i] = (uint8_t)(i * i >> 5);
    for (int filter = 0; filter < 2; filter++) {
        ts_grid grid = plan((ts_grid_desc){.canvas = 64, .patch = 8, .filter = (ts_resize_filter)filter});
        assert_true(ts_grid_compose(&grid, &(ts_example){&photo, &photo}, &photo, &canvas, NULL));
        assert_true(ts_image_resize(&photo, 31, 31, (ts_resize_filter)filter, &cell, NULL));
        for (int y = 0; y < 31; y++) {
            const uint8_t *row = cell.data + y * 31 * 3;
            assert_memory_equal(canvas.data + y * 64 * 3, row, 31 * 3);
            assert_memory_equal(canvas.data + (y * 64 + 33) * 3, row, 31 * 3);
            assert_memory_equal(canvas.data + (y + 33) * 64 * 3, row, 31 * 3);
        }
        ts_image_clear(&cell);
        ts_image_clear(&canvas);
    }
    ts_image_clear(&photo);
}

static void test_paste_and_answer(void **state)
{
    (void)state;
    ts_image canvas, painted, pasted, answer, small;
    flat(&canvas, 224, 224, 1);
    flat(&painted, 224, 224, 2);
    ts_grid grid = plan((ts_grid_desc){0});
    assert_true(ts_grid_paste(&grid, &canvas, &painted, &pasted, NULL));
    for (int y = 0; y < 224; y++) {
        for (int x = 0; x < 224; x++) assert_int_equal(at(&pasted, x, y), x >= 112 && y >= 112 ? 2 : 1);
    }
    assert_true(ts_grid_answer(&grid, &pasted, 0, 0, &answer, NULL));
    assert_int_equal(answer.width, 111);
    assert_int_equal(answer.height, 111);
    for (int i = 0; i < 111 * 111; i++) assert_int_equal(answer.data[i * 3], 2);
    ts_image_clear(&answer);
    assert_true(ts_grid_answer(&grid, &pasted, 320, 200, &answer, NULL));
    assert_int_equal(answer.width, 320);
    assert_int_equal(answer.height, 200);
    assert_int_equal(at(&answer, 319, 199), 2);
    ts_image_clear(&answer);

    ts_error err = {0};
    flat(&small, 64, 64, 0);
    assert_false(ts_grid_paste(&grid, &canvas, &small, &answer, &err));
    assert_int_equal(err.code, TS_ERR_SHAPE);
    assert_null(answer.data);
    assert_false(ts_grid_answer(&grid, &small, 0, 0, &answer, NULL));
    assert_false(ts_grid_answer(&grid, &canvas, -5, 10, &answer, NULL));
    assert_null(answer.data);
    ts_image_clear(&small);
    ts_image_clear(&pasted);
    ts_image_clear(&painted);
    ts_image_clear(&canvas);
}

/* A canvas whose pixels are all different. */
static void motley(const ts_grid *grid, ts_image *out)
{
    assert_true(ts_image_new(grid->desc.canvas, grid->desc.canvas, out, NULL));
    uint32_t x = 1;
    for (int i = 0; i < grid->desc.canvas * grid->desc.canvas * 3; i++) {
        x = x * 1664525 + 1013904223;
        out->data[i] = (uint8_t)(x >> 24);
    }
}

static const uint8_t *pixel(const ts_image *img, ts_cell cell, int x, int y)
{
    return img->data + ((size_t)(cell.y + y) * (size_t)img->width + (size_t)(cell.x + x)) * 3;
}

/* Every cell is turned where it stands, the rest of the canvas stays; beyond the first eight the channels change places. */
static void test_view(void **state)
{
    (void)state;
    const ts_grid grid = plan((ts_grid_desc){.canvas = 64, .patch = 8, .examples = 2});
    const int side = grid.hole.width, last = side - 1, x = 3, y = 7;
    const ts_cell cells[] = {grid.input[0], grid.output[1], grid.query, grid.hole};
    const int from[8][2] = {{x, y}, {last - x, y}, {x, last - y}, {last - x, last - y},
                            {y, x}, {y, last - x}, {last - y, x}, {last - y, last - x}};
    ts_image canvas, view;
    ts_error err = {0};
    motley(&grid, &canvas);
    for (int turn = 0; turn < 8; turn++) {
        assert_true(ts_grid_view(&grid, &canvas, turn, &view, &err));
        for (int i = 0; i < 4; i++)
            assert_memory_equal(pixel(&view, cells[i], x, y), pixel(&canvas, cells[i], from[turn][0], from[turn][1]), 3);
        assert_memory_equal(view.data, canvas.data, 3); /* a corner of the canvas, where no cell is */
        if (turn == 0) assert_memory_equal(view.data, canvas.data, 64 * 64 * 3);
        ts_image_clear(&view);
    }
    assert_true(ts_grid_view(&grid, &canvas, 8 + 1, &view, &err));
    const uint8_t *is = pixel(&view, grid.query, x, y), *was = pixel(&canvas, grid.query, last - x, y);
    for (int c = 0; c < 3; c++) assert_int_equal(is[c], was[(c + 1) % 3]);
    for (int c = 0; c < 3; c++) assert_int_equal(view.data[c], canvas.data[(c + 1) % 3]);
    ts_image_clear(&view);
    assert_false(ts_grid_view(&grid, &canvas, TS_GRID_VIEWS, &view, &err));
    assert_non_null(strstr(err.text, "49 views"));
    ts_image_clear(&canvas);
}

/* All views of a canvas are brought back to it, hole alone; where they differ, the median counts. */
static void test_merge_views(void **state)
{
    (void)state;
    const ts_grid grid = plan((ts_grid_desc){.canvas = 64, .patch = 8});
    ts_image canvas, empty, views[TS_GRID_VIEWS];
    ts_error err = {0};
    motley(&grid, &canvas);
    for (int i = 0; i < TS_GRID_VIEWS; i++) assert_true(ts_grid_view(&grid, &canvas, i, &views[i], &err));
    for (int count = 1; count <= TS_GRID_VIEWS; count++) {
        flat(&empty, 64, 64, 77);
        assert_true(ts_grid_merge_views(&grid, views, count, &empty, &err));
        for (int y = 0; y < 64; y++)
            for (int x = 0; x < 64; x++) {
                const bool in_hole = x >= grid.hole.x && y >= grid.hole.y; /* it ends at the canvas's edges */
                assert_int_equal(at(&empty, x, y), in_hole ? at(&canvas, x, y) : 77);
            }
        ts_image_clear(&empty);
    }
    for (int i = 0; i < 4; i++) memset(views[i].data, (uint8_t[]){90, 10, 200, 31}[i], 64 * 64 * 3);
    assert_true(ts_grid_merge_views(&grid, views, 3, &canvas, &err));
    assert_int_equal(at(&canvas, 60, 60), 90);
    assert_true(ts_grid_merge_views(&grid, views, 4, &canvas, &err));
    assert_int_equal(at(&canvas, 60, 60), (90 + 31) / 2);
    assert_false(ts_grid_merge_views(&grid, views, 0, &canvas, &err));
    ts_grid oblong = grid;
    oblong.hole.width--;
    err = (ts_error){0};
    assert_false(ts_grid_merge_views(&oblong, views, 2, &canvas, &err));
    assert_non_null(strstr(err.text, "only square ones"));
    for (int i = 0; i < TS_GRID_VIEWS; i++) ts_image_clear(&views[i]);
    ts_image_clear(&canvas);
}

/* Where the example's input and output, the query and the hole stand: 0 to 3, row by row. */
static void arrangements(void **state)
{
    (void)state;
    static const int corner[TS_GRID_ARRANGEMENTS][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}, {2, 3, 0, 1},
                                                        {2, 0, 3, 1}, {3, 1, 2, 0}, {1, 3, 0, 2}, {0, 2, 1, 3}};
    for (int n = 0; n < TS_GRID_ARRANGEMENTS; n++) {
        ts_grid_desc desc = {0};
        ts_grid_arrange(&desc, n + 1);
        const ts_grid g = plan(desc);
        const ts_cell cells[4] = {g.input[0], g.output[0], g.query, g.hole};
        for (int i = 0; i < 4; i++) check_cell(cells[i], corner[n][i] % 2 * 113, corner[n][i] / 2 * 113, 111);
    }
    /* With two pairs the query's row comes first of three. */
    const ts_grid g = plan((ts_grid_desc){.examples = 2, .query_first = true});
    check_cell(g.query, 37, 0, 74);
    check_cell(g.input[0], 37, 75, 74);
    check_cell(g.output[1], 113, 150, 74);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrangements),
        cmocka_unit_test(test_published_two_rows),
        cmocka_unit_test(test_published_three_rows),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_any_layout),
        cmocka_unit_test(test_plan_errors),
        cmocka_unit_test(test_compose),
        cmocka_unit_test(test_compose_resizes),
        cmocka_unit_test(test_paste_and_answer),
        cmocka_unit_test(test_examples_read),
        cmocka_unit_test(test_compose_all),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_merge_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
