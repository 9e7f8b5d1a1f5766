/* Run lengths against COCO's own: its strings for the masks of ../shared/golden/sam_tiny.amg.json both ways, masks of odd sizes
 * there and back, and strings that are none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "masks/masks.h"
#include "tests/support/support.h"

static char *read_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TS_GOLDEN_DIR, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        print_message("%s is not there: skipped\n", path);
        skip();
    }
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    const long size = ftell(f);
    assert_true(size > 0);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), size);
    fclose(f);
    text[size] = '\0';
    return text;
}

static int number_at(const cJSON *list, int i)
{
    return (int)cJSON_GetArrayItem(list, i)->valuedouble;
}

/* One record: the string from the runs, the runs from the string, and what is measured on either. */
static void check_record(const cJSON *record)
{
    const cJSON *rle = cJSON_GetObjectItem(record, "segmentation"), *size = cJSON_GetObjectItem(rle, "size"), *item;
    const cJSON *counts = cJSON_GetObjectItem(rle, "counts"), *box = cJSON_GetObjectItem(record, "bbox");
    const char *text = cJSON_GetObjectItem(record, "coco_counts")->valuestring;
    ts_rle runs, again;
    ts_mask mask;
    ts_error err = {0};
    int64_t i = 0;
    assert_true(ts_rle_read(text, number_at(size, 1), number_at(size, 0), &runs, &err));
    assert_int_equal(runs.count, cJSON_GetArraySize(counts));
    cJSON_ArrayForEach(item, counts) assert_int_equal(runs.run[i++], (int)item->valuedouble);
    assert_int_equal(ts_rle_area(&runs), cJSON_GetObjectItem(record, "area")->valueint);
    const ts_box b = ts_rle_box(&runs);
    assert_int_equal(b.x0, number_at(box, 0));
    assert_int_equal(b.y0, number_at(box, 1));
    assert_int_equal(b.x1 - b.x0, number_at(box, 2));
    assert_int_equal(b.y1 - b.y0, number_at(box, 3));
    assert_true(ts_rle_mask(&runs, &mask, &err) && ts_rle_of(&mask, &again, &err));
    assert_int_equal(ts_mask_area(&mask), ts_rle_area(&runs));
    const ts_box of_mask = ts_mask_box(&mask);
    assert_memory_equal(&of_mask, &b, sizeof b);
    char *written = ts_rle_text(&again, &err);
    assert_string_equal(written, text);
    free(written);
    ts_mask_clear(&mask);
    ts_rle_clear(&again);
    ts_rle_clear(&runs);
}

static void test_coco(void **state)
{
    (void)state;
    char *text = read_golden("sam_tiny.amg.json");
    cJSON *all = cJSON_Parse(text);
    const cJSON *run, *record;
    int count = 0;
    assert_non_null(all);
    cJSON_ArrayForEach(run, all) cJSON_ArrayForEach(record, cJSON_GetObjectItem(run, "masks"))
    {
        check_record(record);
        count++;
    }
    assert_true(count > 100);
    cJSON_Delete(all);
    free(text);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {31, 5}, {32, 5}, {33, 6}, {100, 67}};
    uint64_t seed = 5;
    for (int i = 0; i < 70; i++) {
        const int width = sizes[i % 7][0], height = sizes[i % 7][1];
        ts_mask m, back;
        ts_rle runs, read;
        ts_error err = {0};
        const double dense = i < 7 ? 0 : i < 14 ? 1 : test_uniform(&seed);
        assert_true(ts_mask_new(width, height, &m, &err));
        for (int k = 0; k < width * height; k++) m.data[k] = test_uniform(&seed) < dense;
        assert_true(ts_rle_of(&m, &runs, &err));
        char *text = ts_rle_text(&runs, &err);
        assert_true(ts_rle_read(text, width, height, &read, &err) && ts_rle_mask(&read, &back, &err));
        assert_memory_equal(m.data, back.data, (size_t)width * (size_t)height);
        assert_int_equal(ts_rle_area(&runs), ts_mask_area(&m));
        const ts_box a = ts_rle_box(&runs), b = ts_mask_box(&m);
        assert_memory_equal(&a, &b, sizeof a);
        free(text);
        ts_rle_clear(&runs);
        ts_rle_clear(&read);
        ts_mask_clear(&m);
        ts_mask_clear(&back);
    }
}

static void test_known(void **state)
{
    (void)state;
    ts_rle runs;
    ts_error err = {0};
    /* 3 x 2, all inside: no pixel outside, then six. */
    assert_true(ts_rle_read("06", 3, 2, &runs, &err));
    assert_int_equal(runs.count, 2);
    assert_int_equal(ts_rle_area(&runs), 6);
    ts_rle_clear(&runs);
}

static void refuse(const char *text, int width, int height, const char *part)
{
    ts_rle runs;
    ts_error err = {0};
    assert_false(ts_rle_read(text, width, height, &runs, &err));
    if (!strstr(err.text, part)) fail_msg("%s: \"%s\" lacks \"%s\"", text, err.text, part);
    assert_null(runs.run);
}

static void test_broken(void **state)
{
    (void)state;
    refuse("", 3, 2, "end 6 pixels before");
    refuse("05", 3, 2, "end 1 pixels before");
    refuse("07", 3, 2, "run 2 is 7 long, where 6 of 3 x 2 pixels are left");
    refuse("0 6", 3, 2, "number 2 is cut off or no number");
    refuse("0P", 3, 2, "number 2 is cut off or no number");
    refuse("0ooooooooo6", 3, 2, "number 2 is cut off or no number");
    refuse("0ooooooO", 3, 2, "is -1 long");
    refuse("0ooooooo", 3, 2, "number 2 is cut off");
    refuse("1O", 3, 2, "run 2 is -1 long");
    refuse("06", 0, 2, "cannot be read");
    refuse("06", 1 << 20, 1 << 20, "cannot be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coco),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
