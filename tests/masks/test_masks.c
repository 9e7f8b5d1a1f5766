/* Masks, their small regions and boxes against the plainest way to find the same, over random ones of odd sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "masks/masks.h"
#include "tests/support/support.h"

static ts_mask drawn(int width, int height, const char *rows)
{
    ts_mask m;
    ts_error err = {0};
    assert_true(ts_mask_new(width, height, &m, &err));
    for (int i = 0; i < width * height; i++) m.data[i] = rows[i] == '#';
    return m;
}

static void check_drawn(const ts_mask *m, const char *rows)
{
    for (int i = 0; i < m->width * m->height; i++)
        if (m->data[i] != (rows[i] == '#')) fail_msg("pixel %d, %d is %d", i % m->width, i / m->width, m->data[i]);
}

static void test_measures(void **state)
{
    (void)state;
    ts_mask m = drawn(5, 3,
                      "....."
                      "..##."
                      "...#."),
            empty = drawn(5, 3, "...............");
    const ts_box b = ts_mask_box(&m), none = ts_mask_box(&empty);
    assert_int_equal(ts_mask_area(&m), 3);
    assert_int_equal(ts_mask_area(&empty), 0);
    assert_true(b.x0 == 2 && b.y0 == 1 && b.x1 == 3 && b.y1 == 2);
    assert_true(none.x0 == 0 && none.y0 == 0 && none.x1 == 0 && none.y1 == 0);
    uint8_t *grey = ts_mask_grey(&m, NULL);
    assert_int_equal(grey[7], 255);
    assert_int_equal(grey[6], 0);
    free(grey);
    ts_mask_clear(&m);
    ts_mask_clear(&empty);
    ts_mask_clear(&m);
    ts_error err = {0};
    assert_false(ts_mask_new(0, 3, &m, &err));
    assert_false(ts_mask_new(1 << 15, 1 << 15, &m, NULL));
}

static void test_of_image(void **state)
{
    (void)state;
    uint8_t pixels[] = {255, 255, 255, 127, 127, 127, 128, 128, 128, 0, 255, 0, 255, 0, 0, 0, 0, 255};
    ts_mask m;
    assert_true(ts_mask_of_image(&(ts_image){6, 1, pixels}, &m, NULL));
    check_drawn(&m, "#.##..");
    ts_mask_clear(&m);
}

static void test_resize(void **state)
{
    (void)state;
    ts_mask m = drawn(4, 2,
                      "#..#"
                      ".##."),
            out;
    assert_true(ts_mask_resize(&m, 8, 4, &out, NULL));
    check_drawn(&out, "##....##"
                      "##....##"
                      "..####.."
                      "..####..");
    ts_mask_clear(&out);
    assert_true(ts_mask_resize(&m, 2, 1, &out, NULL)); /* the centre of two pixels is the right one's */
    check_drawn(&out, "#.");
    ts_mask_clear(&out);
    ts_mask_clear(&m);
}

static void check_clean(int width, int height, const char *before, int holes, int islands, const char *after, bool changed)
{
    ts_mask m = drawn(width, height, before);
    bool filled = false, dropped = false;
    assert_true(ts_mask_fill_holes(&m, holes, &filled, NULL) && ts_mask_drop_islands(&m, islands, &dropped, NULL));
    check_drawn(&m, after);
    assert_int_equal(filled || dropped, changed);
    ts_mask_clear(&m);
}

static void test_regions(void **state)
{
    (void)state;
    /* A hole of one pixel, an island that touches by a corner, and one that does not. */
    check_clean(7, 4,
                "###...."
                "#.#.#.."
                "###...."
                "...#..#",
                2, 2,
                "###...."
                "###...."
                "###...."
                "...#...",
                true);
    /* Nothing is small. */
    check_clean(3, 1, "#..", 1, 1, "#..", false);
    /* All are: the first of the largest stays. */
    check_clean(8, 1, "#.##.##.", 0, 10, "..##....", true);
    /* The one that stays counts as a change, as the published code has it. */
    check_clean(3, 1, ".#.", 0, 10, ".#.", true);
    check_clean(3, 1, "...", 0, 10, "...", false);
}

/* The size of the region at `at`, marked in `seen`, by walking. */
static int walk(const ts_mask *m, int at, uint8_t *seen, int *stack)
{
    int count = 0, size = 1;
    stack[0] = at;
    seen[at] = 1;
    while (count < size) {
        const int x = stack[count] % m->width, y = stack[count] / m->width;
        count++;
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                const int nx = x + dx, ny = y + dy, next = ny * m->width + nx;
                if (nx < 0 || ny < 0 || nx >= m->width || ny >= m->height || seen[next] || m->data[next] != m->data[at]) continue;
                seen[next] = 1;
                stack[size++] = next;
            }
    }
    return size;
}

static void test_regions_by_walking(void **state)
{
    (void)state;
    enum { MOST = 40 * 40 };
    uint64_t seed = 11;
    for (int round = 0; round < 60; round++) {
        const int width = 1 + (int)(test_uniform(&seed) * 39), height = 1 + (int)(test_uniform(&seed) * 39);
        const double dense = 0.2 + 0.6 * test_uniform(&seed);
        const int area = 1 + (int)(test_uniform(&seed) * 12);
        uint8_t want[MOST], seen[MOST] = {0};
        int stack[MOST];
        bool any = false, changed = true;
        ts_mask m;
        assert_true(ts_mask_new(width, height, &m, NULL));
        for (int i = 0; i < width * height; i++) m.data[i] = test_uniform(&seed) < dense;
        memcpy(want, m.data, (size_t)width * (size_t)height);
        for (int i = 0; i < width * height; i++) {
            if (seen[i] || m.data[i]) continue;
            const int size = walk(&m, i, seen, stack);
            for (int k = 0; size < area && k < size; k++) want[stack[k]] = 1;
            any = any || size < area;
        }
        assert_true(ts_mask_fill_holes(&m, area, &changed, NULL));
        assert_memory_equal(m.data, want, (size_t)width * (size_t)height);
        assert_int_equal(changed, any);
        ts_mask_clear(&m);
    }
}

static void test_boxes(void **state)
{
    (void)state;
    /* 0 and 1 overlap by 90 of 110; 2 is apart; 3 and 4 have no area; 5 is 2 again, as good as it. */
    const ts_box box[] = {{0, 0, 10, 10}, {1, 0, 11, 10}, {50, 50, 60, 60}, {0, 0, 0, 0}, {0, 0, 0, 0}, {50, 50, 60, 60}};
    const float score[] = {0.5F, 0.9F, 0.7F, 0.1F, 0.2F, 0.7F};
    int kept[6];
    assert_int_equal(ts_boxes_keep(box, score, 6, 0.7, kept, NULL), 4);
    assert_int_equal(kept[0], 1);
    assert_int_equal(kept[1], 2);
    assert_int_equal(kept[2], 4);
    assert_int_equal(kept[3], 3);
    assert_int_equal(ts_boxes_keep(box, score, 6, 0.82, kept, NULL), 5); /* 90 / 110 = 0.818 */
    assert_int_equal(ts_boxes_keep(box, score, 6, 1, kept, NULL), 6);
    assert_int_equal(ts_boxes_keep(box, score, 0, 0.5, kept, NULL), 0);
    const float odd[] = {NAN, 0.9F, NAN, 0.1F, 0.2F, 0.7F};
    assert_int_equal(ts_boxes_keep(box, odd, 6, 0.7, kept, NULL), 4);
    assert_int_equal(kept[1], 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures), cmocka_unit_test(test_of_image),           cmocka_unit_test(test_resize),
        cmocka_unit_test(test_regions),  cmocka_unit_test(test_regions_by_walking), cmocka_unit_test(test_boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
