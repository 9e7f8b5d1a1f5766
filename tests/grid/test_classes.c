/* test_classes.c - pictures with words: the same bytes on every machine, sentences that tell what is to be seen, and classes
 * whose pictures show what their names say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/support.h"
#include "grid/figures.h"

enum { SIDE = 48, PIXELS = SIDE * SIDE };

static const char *const SHAPES[] = {"circle", "square",   "triangle", "star",     "ring",
                                     "cross",  "pentagon", "heart",    "crescent", "arrow"};
static const struct {
    const char *name;
    uint8_t v[3];
} COLOURS[] = {{"red", {220, 35, 35}},   {"green", {40, 165, 60}},   {"blue", {45, 75, 220}},    {"yellow", {240, 215, 45}},
               {"brown", {125, 80, 45}}, {"white", {240, 240, 240}}, {"purple", {140, 55, 170}}, {"cyan", {70, 205, 220}}};

static ts_image scene(uint64_t seed, char text[TS_CAPTION_ROOM])
{
    ts_image img;
    ts_error err = {0};
    if (!ts_caption_draw(SIDE, seed, &img, text, &err)) fail_msg("%s", err.text);
    return img;
}

static ts_image class_picture(int number, float shift, uint64_t seed)
{
    ts_image img;
    ts_error err = {0};
    if (!ts_figure_class_draw(number, SIDE, shift, seed, &img, &err)) fail_msg("%s", err.text);
    return img;
}

/* Pixels within `most` of a colour, in every channel. */
static int near(const ts_image *img, const uint8_t colour[3], int most)
{
    int count = 0;
    for (int i = 0; i < img->width * img->height; i++) {
        const uint8_t *v = img->data + (size_t)i * 3;
        count += abs(v[0] - colour[0]) <= most && abs(v[1] - colour[1]) <= most && abs(v[2] - colour[2]) <= most;
    }
    return count;
}

static uint32_t checksum(const ts_image *img, uint32_t sum)
{
    for (int i = 0; i < img->width * img->height * 3; i++) sum = (sum ^ img->data[i]) * 16777619u;
    return sum;
}

static void same_bytes(void **state)
{
    (void)state;
    uint32_t scenes = 2166136261u, classes = scenes;
    char text[TS_CAPTION_ROOM];
    for (uint64_t i = 0; i < 40; i++) {
        ts_image img = scene(ts_figure_seed(3, i), text);
        scenes = checksum(&img, scenes);
        for (const char *c = text; *c; c++) scenes = (scenes ^ (uint8_t)*c) * 16777619u;
        ts_image_clear(&img);
        img = class_picture((int)(i % TS_FIGURE_CLASSES), (float)(i % 5) / 4, i);
        classes = checksum(&img, classes);
        ts_image_clear(&img);
    }
    /* On this machine and on every other. */
    assert_int_equal(scenes, 0x21f4137du);
    assert_int_equal(classes, 0xf0387d8fu);
}

static void sentences(void **state)
{
    (void)state;
    int shaped[10] = {0}, patterned = 0, placed = 0, grounds = 0, checked = 0;
    char text[TS_CAPTION_ROOM], want[64];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        ts_image img = scene(seed, text);
        size_t length = strlen(text);
        int shapes = 0;
        assert_in_range(length, 10, TS_CAPTION_ROOM - 2);
        for (size_t i = 0; i < length; i++) assert_true((text[i] >= 'a' && text[i] <= 'z') || text[i] == ' ' || text[i] == '.');
        for (int i = 0; i < 10; i++) {
            bool there = strstr(text, SHAPES[i]) != NULL;
            shapes += there;
            shaped[i] += there;
        }
        assert_in_range(shapes, 1, 2);
        assert_null(strstr(text, " a orange"));
        assert_null(strstr(text, " a arrow"));
        assert_null(strstr(text, "  "));
        patterned += strstr(text, "striped") || strstr(text, "dotted") || strstr(text, "checkered");
        placed += strstr(text, "at the top left") != NULL;
        grounds += strstr(text, "background") != NULL;
        /* What is said of one thing of one colour is to be seen. */
        for (size_t k = 0; k < sizeof COLOURS / sizeof *COLOURS; k++) {
            snprintf(want, sizeof want, "a photo of a %s circle.", COLOURS[k].name);
            if (strcmp(text, want) != 0) continue;
            checked++;
            if (near(&img, COLOURS[k].v, 16) < PIXELS / 25) fail_msg("\"%s\": %d pixels", text, near(&img, COLOURS[k].v, 16));
        }
        ts_image_clear(&img);
    }
    for (int i = 0; i < 10; i++) assert_in_range(shaped[i], 200, 600);
    assert_in_range(patterned, 900, 2000);
    assert_in_range(placed, 20, 200);
    assert_in_range(grounds, 400, 1200);
    assert_true(checked > 5);
}

static void classes(void **state)
{
    (void)state;
    for (int i = 0; i < TS_FIGURE_CLASSES; i++) {
        if (i > 0) assert_true(strcmp(ts_figure_class_name(i - 1), ts_figure_class_name(i)) < 0);
        for (uint64_t seed = 0; seed < 40; seed++) {
            ts_image img = class_picture(i, 0, seed), shifted = class_picture(i, 0.5f, seed),
                     again = class_picture(i, 0.5f, seed);
            assert_memory_equal(shifted.data, again.data, PIXELS * 3);
            assert_memory_not_equal(shifted.data, img.data, PIXELS * 3);
            bool red = strncmp(ts_figure_class_name(i), "red", 3) == 0, blue = strncmp(ts_figure_class_name(i), "blue", 4) == 0;
            if (red || blue) assert_in_range(near(&img, COLOURS[red ? 0 : 2].v, 16), PIXELS / 25, PIXELS * 9 / 10);
            ts_image_clear(&img);
            ts_image_clear(&shifted);
            ts_image_clear(&again);
        }
    }
    ts_image a = class_picture(3, 0.5f, 1), b = class_picture(3, 0.5f, 2);
    assert_memory_not_equal(a.data, b.data, PIXELS * 3);
    ts_image_clear(&a);
    ts_image_clear(&b);
}

static void refused(void **state)
{
    (void)state;
    ts_image img;
    char text[TS_CAPTION_ROOM];
    ts_error err = {0};
    assert_null(ts_figure_class_name(-1));
    assert_null(ts_figure_class_name(TS_FIGURE_CLASSES));
    assert_false(ts_figure_class_draw(TS_FIGURE_CLASSES, SIDE, 0, 1, &img, &err));
    assert_non_null(strstr(err.text, "no figure class 12"));
    assert_false(ts_figure_class_draw(0, SIDE, 1.5f, 1, &img, NULL));
    assert_false(ts_figure_class_draw(0, 0, 0, 1, &img, NULL));
    assert_false(ts_caption_draw(1 << 20, 1, &img, text, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes), cmocka_unit_test(sentences), cmocka_unit_test(classes),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("classes", tests, NULL, NULL);
}
