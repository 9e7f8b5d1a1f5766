/* Figures: same seed, same bytes; every task does to a picture what it says; held-out scenes share nothing with training's;
 * metrics on pictures whose scores are known; copying does badly where copying is no answer. */
#include <stdlib.h>
#include <string.h>

#include "../support/support.h"
#include "grid/figures.h"

static ts_figure page(ts_figure_desc desc, uint64_t seed)
{
    ts_figure figure;
    ts_error err = {0};
    if (!ts_figure_draw(&desc, seed, &figure, &err)) fail_msg("%s", err.text);
    return figure;
}

static ts_image picture(int width, int height, const uint8_t colour[3])
{
    ts_image img;
    assert_true(ts_image_new(width, height, &img, NULL));
    for (int i = 0; i < width * height; i++) memcpy(img.data + i * 3, colour, 3);
    return img;
}

static void paint(ts_image *img, ts_cell cell, const uint8_t colour[3])
{
    ts_draw_fill(img, cell, (ts_colour){{colour[0], colour[1], colour[2]}});
}

static uint32_t checksum(const ts_image *img, uint32_t sum)
{
    size_t bytes = (size_t)img->width * (size_t)img->height * 3;
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ img->data[i]) * 16777619u;
    return sum;
}

static size_t differing(const ts_image *a, const ts_image *b)
{
    size_t pixels = (size_t)a->width * (size_t)a->height, count = 0;
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (size_t i = 0; i < pixels; i++) count += memcmp(a->data + 3 * i, b->data + 3 * i, 3) != 0;
    return count;
}

/* The number itself is the test: another machine, compiler or build must come to it too. */
static void test_same_bytes(void **state)
{
    (void)state;
    uint32_t sum = 2166136261u;
    for (int i = 0; i < 60; i++) {
        ts_figure_desc desc = {.canvas = 96, .patch = 8, .held_out = i % 4 == 3};
        ts_figure a = page(desc, ts_figure_seed(5, (uint64_t)i)), b = page(desc, ts_figure_seed(5, (uint64_t)i));
        assert_int_equal(differing(&a.canvas, &b.canvas), 0);
        assert_memory_equal(&a.grid, &b.grid, sizeof a.grid);
        sum = checksum(&a.canvas, sum);
        ts_image_clear(&a.canvas);
        ts_image_clear(&b.canvas);
    }
    for (int kind = 0; kind < TS_TRIALS; kind++) {
        ts_trial trial;
        assert_true(ts_trial_draw((ts_trial_kind)kind, 5, 0, 1, &trial, NULL));
        sum = checksum(&trial.answer, checksum(&trial.query, sum));
        ts_trial_clear(&trial);
    }
    assert_int_equal(sum, 0x70763760u);
}

static void test_pages_differ(void **state)
{
    (void)state;
    uint32_t seen[200];
    for (int i = 0; i < 200; i++) {
        ts_figure f = page((ts_figure_desc){.canvas = 64, .patch = 8}, ts_figure_seed(1, (uint64_t)i));
        seen[i] = checksum(&f.canvas, 2166136261u);
        for (int k = 0; k < i; k++) assert_int_not_equal(seen[i], seen[k]);
        ts_image_clear(&f.canvas);
    }
}

static bool inside(ts_cell c, int canvas)
{
    return c.x >= 0 && c.y >= 0 && c.width > 0 && c.height > 0 && c.x + c.width <= canvas && c.y + c.height <= canvas;
}

static bool overlap(ts_cell a, ts_cell b)
{
    return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

static void test_layouts(void **state)
{
    (void)state;
    static const int sizes[][2] = {{224, 16}, {128, 8}, {64, 16}, {48, 8}};
    int pages[4] = {0}, published = 0;
    for (int i = 0; i < 300; i++) {
        int canvas = sizes[i % 4][0];
        ts_figure_desc desc = {.canvas = canvas, .patch = sizes[i % 4][1], .free_share = i % 3 == 0 ? -1 : 1};
        ts_figure f = page(desc, ts_figure_seed(9, (uint64_t)i));
        int examples = f.grid.desc.examples, count = 0;
        ts_cell cells[8];
        for (int k = 0; k < examples; k++) {
            cells[count++] = f.grid.input[k];
            cells[count++] = f.grid.output[k];
        }
        cells[count++] = f.grid.query;
        cells[count++] = f.grid.hole;
        for (int k = 0; k < count; k++) {
            assert_true(inside(cells[k], canvas));
            for (int m = 0; m < k; m++) assert_false(overlap(cells[k], cells[m]));
        }
        int32_t keep[256];
        assert_true(ts_grid_keep(&f.grid, keep) > 0);
        if (i % 3 == 0) {
            ts_grid grid;
            assert_true(ts_grid_plan(&f.grid.desc, &grid, NULL));
            assert_memory_equal(&grid, &f.grid, sizeof grid);
            published++;
        }
        pages[examples]++;
        ts_image_clear(&f.canvas);
    }
    assert_int_equal(published, 100);
    assert_true(pages[1] > 50 && pages[2] > 50 && pages[3] > 25 && pages[0] == 0);
}

static void test_bad_descriptions(void **state)
{
    (void)state;
    ts_figure f;
    ts_figure_desc bad[] = {{.canvas = 100, .patch = 16}, {.most = 4}, {.least = 3, .most = 2}, {.least = -1}, {.canvas = -5}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ts_error err = {0};
        assert_false(ts_figure_draw(&bad[i], 1, &f, &err));
        assert_int_equal(err.code, TS_ERR_ARGUMENT);
        assert_null(f.canvas.data);
    }
    ts_figure_desc weight = {.weight = {[TS_FIGURE_FLIP] = -1}};
    assert_false(ts_figure_draw(&weight, 1, &f, NULL));
    ts_trial trial;
    assert_false(ts_trial_draw(TS_TRIALS, 1, 0, 1, &trial, NULL));
    assert_false(ts_trial_draw(TS_TRIAL_SIZE, 1, 0, 8, &trial, NULL));
    ts_trial_clear(&trial);
    ts_figure_task task;
    assert_true(ts_figure_task_find("size-shape", &task) && task == TS_FIGURE_SIZE_SHAPE);
    assert_false(ts_figure_task_find("sizes", &task));
}

/* What each task must have done, looked up pixel by pixel where the task says how. */
static void check_pair(const ts_rule *rule, const ts_image *before, const ts_image *after, int side)
{
    size_t changed = differing(before, after);
    if (rule->task == TS_FIGURE_COPY) {
        assert_int_equal(changed, 0);
        return;
    }
    if (rule->task != TS_FIGURE_GREY || !rule->plain) assert_true(changed > 0); /* a grey figure is its own grey */
    for (int i = 0; i < side * side; i++) {
        const uint8_t *p = before->data + 3 * i, *q = after->data + 3 * i;
        int x = i % side, y = i / side, grey = ts_colour_grey((ts_colour){{p[0], p[1], p[2]}});
        const uint8_t *mirror =
            before->data + 3 * (rule->turn == TS_TURN_X ? y * side + side - 1 - x : (side - 1 - y) * side + x);
        if (rule->task == TS_FIGURE_INVERT) assert_true(p[0] + q[0] == 255 && p[1] + q[1] == 255 && p[2] + q[2] == 255);
        if (rule->task == TS_FIGURE_GREY) assert_true(q[0] == grey && q[1] == grey && q[2] == grey);
        if (rule->task == TS_FIGURE_COLOURISE)
            assert_true(p[0] == ts_colour_grey((ts_colour){{q[0], q[1], q[2]}}) && p[0] == p[1] && p[1] == p[2]);
        if (rule->task == TS_FIGURE_FLIP)
            for (int c = 0; c < 3; c++) assert_true(abs(q[c] - mirror[c]) <= 2);
        if (rule->task == TS_FIGURE_BOX) assert_true(!memcmp(q, rule->to.v, 3) || !memcmp(q, rule->back.v, 3));
    }
}

static void test_tasks(void **state)
{
    (void)state;
    enum { SIZE = 56 };
    ts_cell cell = {0, 0, SIZE, SIZE};
    ts_image before, after;
    assert_true(ts_image_new(SIZE, SIZE, &before, NULL) && ts_image_new(SIZE, SIZE, &after, NULL));
    for (int task = 0; task < TS_FIGURE_TASKS; task++) {
        for (int i = 0; i < 40; i++) {
            ts_random r;
            ts_rule rule;
            ts_random_seed(&r, ts_figure_seed((uint64_t)task, (uint64_t)i));
            ts_rule_make(&r, (ts_figure_task)task, i % 4 == 3, false, &rule);
            assert_false(rule.held_out && rule.plain);
            for (int k = 0; k < 3; k++) {
                ts_rule_draw(&r, &rule, &before, cell, &after, cell, NULL);
                check_pair(&rule, &before, &after, SIZE);
            }
        }
    }
    ts_image_clear(&before);
    ts_image_clear(&after);
}

/* Plain pages: one object on a flat ground and upright, but in the two tasks that would have nothing to show then. */
static void test_plain(void **state)
{
    (void)state;
    for (int task = 0; task < TS_FIGURE_TASKS; task++)
        for (int i = 0; i < 20; i++) {
            ts_random r;
            ts_rule rule;
            ts_scene before, after;
            ts_random_seed(&r, ts_figure_seed((uint64_t)task, (uint64_t)i));
            ts_rule_make(&r, (ts_figure_task)task, false, true, &rule);
            assert_int_equal(rule.plain, task != TS_FIGURE_COLOURISE && task != TS_FIGURE_REMOVE);
            if (!rule.plain) continue;
            ts_rule_scenes(&r, &rule, &before, &after);
            assert_int_equal(before.count, 1);
            assert_int_equal(before.background.kind, TS_PAINT_FLAT);
            assert_true(before.object[0].fill.kind == TS_PAINT_FLAT && before.object[0].sin == 0);
        }
    ts_figure pages[2];
    ts_error err = {0};
    for (int plain = 0; plain < 2; plain++) {
        ts_figure_desc desc = {.published = true, .plain = plain};
        desc.weight[TS_FIGURE_SEGMENT] = 1;
        if (!ts_figure_draw(&desc, 3, &pages[plain], &err)) fail_msg("%s", err.text);
    }
    assert_memory_not_equal(pages[0].canvas.data, pages[1].canvas.data, 224 * 224 * 3);
    for (int i = 0; i < 2; i++) ts_image_clear(&pages[i].canvas);
}

static void check_colour(ts_colour c, bool held_out)
{
    bool grey = c.v[0] == c.v[1] && c.v[1] == c.v[2];
    if (!held_out) assert_false(ts_colour_held_out(c));
    else if (abs(c.v[0] - c.v[1]) + abs(c.v[1] - c.v[2]) + abs(c.v[2] - c.v[0]) > 24 && !grey) assert_true(ts_colour_held_out(c));
}

static void check_scene(const ts_scene *s, bool held_out)
{
    assert_true(s->count <= TS_SCENE_OBJECTS);
    check_colour(s->background.a, held_out);
    if (s->background.kind != TS_PAINT_FLAT) check_colour(s->background.b, held_out);
    for (int i = 0; i < s->count; i++) {
        const ts_object *o = &s->object[i];
        assert_int_equal(o->shape >= TS_SHAPE_TRAINED, held_out);
        assert_int_equal(ts_radius_held_out(o->radius), held_out);
        check_colour(o->fill.a, held_out);
        if (o->fill.kind != TS_PAINT_FLAT) check_colour(o->fill.b, held_out);
    }
}

/* No shape, colour or size of training's scenes, before or after, is one of the held-out scenes'. */
static void test_held_out(void **state)
{
    (void)state;
    for (int task = 0; task < TS_FIGURE_TASKS; task++) {
        for (int i = 0; i < 400; i++) {
            ts_random r;
            ts_rule rule;
            ts_scene before, after;
            bool held_out = i % 2;
            ts_random_seed(&r, ts_figure_seed(77 + (uint64_t)task, (uint64_t)i));
            ts_rule_make(&r, (ts_figure_task)task, held_out, false, &rule);
            ts_rule_scenes(&r, &rule, &before, &after);
            check_scene(&before, held_out);
            if (!held_out) check_scene(&after, false);
        }
    }
    ts_colour azure = {{0, 128, 255}}, orange = {{255, 128, 0}}, inverse = {{0, 127, 255}}, blue = {{0, 0, 255}};
    assert_true(ts_colour_held_out(azure) && ts_colour_held_out(orange) && ts_colour_held_out(inverse));
    assert_false(ts_colour_held_out(blue));
}

/* ---- metrics ------------------------------------------------------------------------------------------------ */

static const uint8_t PALETTE[4][3] = {{255, 255, 255}, {0, 0, 255}, {0, 255, 0}, {0, 0, 0}};

static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(ts_nearest_colour((uint8_t[]){250, 240, 250}, PALETTE, 4), 0);
    assert_int_equal(ts_nearest_colour((uint8_t[]){30, 40, 200}, PALETTE, 4), 1);
    assert_int_equal(ts_nearest_colour((uint8_t[]){30, 200, 60}, PALETTE, 4), 2);
    assert_int_equal(ts_nearest_colour((uint8_t[]){0, 0, 0}, PALETTE, 4), 3);
    static const uint8_t tie[2][3] = {{0, 0, 0}, {20, 20, 20}};
    assert_int_equal(ts_nearest_colour((uint8_t[]){10, 10, 10}, tie, 2), 0);
}

static void test_palette_scores(void **state)
{
    (void)state;
    ts_image truth = picture(40, 20, PALETTE[0]), answer = picture(40, 20, PALETTE[0]);
    ts_score s = {0};
    assert_true(ts_score_palette(&truth, &answer, PALETTE, 4, &s, NULL));
    assert_true(s.iou == 1 && s.iou_blind == 1 && s.accuracy == 1); /* nothing there, and none wanted */
    paint(&truth, (ts_cell){0, 0, 10, 10}, PALETTE[1]);
    assert_true(ts_score_palette(&truth, &answer, PALETTE, 4, &s, NULL));
    assert_true(s.iou == 0 && s.iou_blind == 0 && s.accuracy == 0.875);
    paint(&answer, (ts_cell){5, 0, 5, 10}, PALETTE[1]);  /* half of it */
    paint(&answer, (ts_cell){10, 0, 5, 10}, PALETTE[1]); /* as much beside it */
    paint(&answer, (ts_cell){0, 0, 5, 10}, PALETTE[2]);  /* the other half in another colour */
    assert_true(ts_score_palette(&truth, &answer, PALETTE, 4, &s, NULL));
    assert_true(s.iou == 50.0 / 150 && s.iou_blind == 100.0 / 150 && s.accuracy == 700.0 / 800);
    ts_image other = picture(40, 21, PALETTE[0]);
    assert_false(ts_score_palette(&truth, &other, PALETTE, 4, &s, NULL));
    ts_image_clear(&other);
    ts_image_clear(&truth);
    ts_image_clear(&answer);
}

static void test_mse(void **state)
{
    (void)state;
    ts_image truth = picture(8, 8, PALETTE[0]), answer = picture(8, 8, PALETTE[0]);
    uint8_t mask[64] = {1, 1};
    double mse;
    paint(&answer, (ts_cell){0, 0, 1, 1}, PALETTE[3]);
    double one = (1 / (0.229 * 0.229) + 1 / (0.224 * 0.224) + 1 / (0.225 * 0.225)) / 3;
    assert_true(ts_score_mse(&truth, &answer, NULL, &mse, NULL));
    assert_float_equal((float)mse, (float)(one / 64), 1e-5f);
    assert_true(ts_score_mse(&truth, &answer, mask, &mse, NULL));
    assert_float_equal((float)mse, (float)(one / 2), 1e-5f);
    ts_image_clear(&truth);
    ts_image_clear(&answer);
}

/* Paints a disc of palette colour 1 as the published code draws one. */
static void paint_disc(ts_image *img, int cx, int cy, int radius)
{
    for (int y = 0; y < img->height; y++)
        for (int x = 0; x < img->width; x++)
            if ((x - cx) * (x - cx) + (y - cy) * (y - cy) <= radius * radius)
                memcpy(img->data + (y * img->width + x) * 3, PALETTE[1], 3);
}

/* The published test, its ways included: values by hand from its code. */
static void test_blob(void **state)
{
    (void)state;
    ts_image img = picture(74, 74, PALETTE[0]);
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), -1);
    paint(&img, (ts_cell){20, 10, 15, 15}, PALETTE[2]);
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 1);
    paint(&img, (ts_cell){23, 16, 1, 1}, PALETTE[0]); /* a hole's outline is a contour too, and the last: 3 x 3, radius 1 */
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 0); /* 3 of 225 in the square of 4, 4 of 225 in the disc of 5 */
    paint(&img, (ts_cell){23, 16, 1, 1}, PALETTE[2]);
    paint(&img, (ts_cell){60, 60, 1, 1}, PALETTE[3]); /* a stray pixel further down decides: its square is empty */
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 0);
    paint(&img, (ts_cell){60, 60, 1, 1}, PALETTE[0]);
    paint(&img, (ts_cell){60, 5, 1, 1}, PALETTE[3]); /* one further up does not */
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 1);
    paint(&img, (ts_cell){0, 0, 74, 74}, PALETTE[0]);
    paint_disc(&img, 30, 40, 10);
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 0);
    paint(&img, (ts_cell){0, 0, 74, 74}, PALETTE[0]);
    paint(&img, (ts_cell){0, 20, 16, 21}, PALETTE[1]); /* cut off by the left edge: the square would begin outside */
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 0);
    paint(&img, (ts_cell){0, 0, 74, 74}, PALETTE[0]);
    paint(&img, (ts_cell){58, 20, 16, 21}, PALETTE[1]); /* by the right edge: it is drawn as far as it goes */
    assert_int_equal(ts_blob_is_square(&img, PALETTE, 4, NULL), 1);
    ts_image_clear(&img);
}

/* ---- trials ------------------------------------------------------------------------------------------------- */

/* The truth scores full marks at any size; the mean of each baseline over some trials. */
static ts_score baseline(ts_trial_kind kind, ts_baseline which)
{
    ts_score mean = {0};
    enum { COUNT = 20 };
    for (int i = 0; i < COUNT; i++) {
        ts_trial trial;
        ts_score s;
        ts_image cell;
        assert_true(ts_trial_draw(kind, 3, i, 2, &trial, NULL));
        assert_true(ts_image_resize(&trial.answer, 42, 42, TS_RESIZE_BILINEAR, &cell, NULL));
        assert_true(ts_trial_score(&trial, &cell, TS_RESIZE_BILINEAR, &s, NULL));
        if (trial.colours > 0) assert_true(s.iou == 1 && s.accuracy == 1);
        assert_true(s.mse == 0 && s.mse_cover == 0);
        assert_true(ts_trial_baseline(&trial, which, 42, 42, TS_RESIZE_BILINEAR, &s, NULL));
        mean.iou += s.iou / COUNT;
        mean.iou_blind += s.iou_blind / COUNT;
        mean.accuracy += s.accuracy / COUNT;
        mean.shape += s.shape / COUNT;
        mean.mse += s.mse / COUNT;
        mean.mse_cover += s.mse_cover / COUNT;
        ts_image_clear(&cell);
        ts_trial_clear(&trial);
    }
    return mean;
}

static void test_baselines(void **state)
{
    (void)state;
    for (int kind = 0; kind < TS_TRIALS; kind++) {
        ts_score query = baseline((ts_trial_kind)kind, TS_BASELINE_QUERY),
                 example = baseline((ts_trial_kind)kind, TS_BASELINE_EXAMPLE);
        print_message(
            "%-13s query: iou %.3f blind %.3f accuracy %.3f shape %.2f mse %.3f cover %.3f | example: iou %.3f mse %.3f\n",
            ts_trial_name((ts_trial_kind)kind), query.iou, query.iou_blind, query.accuracy, query.shape, query.mse,
            query.mse_cover, example.iou, example.mse);
        if (kind <= TS_TRIAL_SEGMENT) {
            assert_true(query.iou < 0.85 && example.iou < 0.4);
        } else {
            assert_true(query.mse > 0.05 && example.mse > 0.5);
        }
    }
}

/* The six are what the paper says: disc to disc or square, one place, the stated radii and colours. */
static void test_synthetic(void **state)
{
    (void)state;
    int whole = 0;
    for (int i = 0; i < 50; i++) {
        ts_trial t;
        assert_true(ts_trial_draw(TS_TRIAL_SIZE_SHAPE, 11, i, 0, &t, NULL));
        assert_int_equal(t.examples, 2);
        int disc = 0, square = 0;
        for (int k = 0; k < 224 * 224; k++) {
            const uint8_t *p = t.query.data + 3 * k, *q = t.answer.data + 3 * k;
            assert_true((p[0] == 255 || p[0] == 0) && p[1] == 255 && p[0] == p[2]); /* white or green */
            assert_true((q[0] == 255 || q[0] == 0) && q[1] == 255 && q[0] == q[2]);
            disc += p[0] == 0;
            square += q[0] == 0;
        }
        assert_true(disc <= 2821 && disc >= 900); /* x^2 + y^2 <= 30^2, or cut off by an edge */
        whole += disc == 2821;
        assert_true(square <= 1681 && square >= 961); /* 41^2, at a centre at least 10 from the edges */
        ts_trial_clear(&t);
    }
    assert_true(whole > 10);
    int smaller = 0; /* the answers of the size task: radius 20 */
    for (int i = 0; i < 20; i++) {
        ts_trial t;
        assert_true(ts_trial_draw(TS_TRIAL_SIZE, 11, i, 0, &t, NULL));
        int disc = 0;
        for (int k = 0; k < 224 * 224; k++) disc += t.answer.data[3 * k] == 0;
        assert_true(disc <= 1257);
        smaller += disc == 1257;
        ts_trial_clear(&t);
    }
    assert_true(smaller > 5);
    ts_trial a, b;
    assert_true(ts_trial_draw(TS_TRIAL_COLOUR, 1, 0, 1, &a, NULL) && ts_trial_draw(TS_TRIAL_COLOUR, 2, 0, 1, &b, NULL));
    assert_true(differing(&a.query, &b.query) > 0);
    assert_true(differing(&a.query, &a.answer) > 0);
    ts_trial_clear(&a);
    ts_trial_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),     cmocka_unit_test(test_pages_differ),
        cmocka_unit_test(test_layouts),        cmocka_unit_test(test_bad_descriptions),
        cmocka_unit_test(test_tasks),          cmocka_unit_test(test_plain),
        cmocka_unit_test(test_held_out),       cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_palette_scores), cmocka_unit_test(test_mse),
        cmocka_unit_test(test_blob),           cmocka_unit_test(test_baselines),
        cmocka_unit_test(test_synthetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
