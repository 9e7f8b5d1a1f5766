/* Everything in a picture against the published generator's records of a tiny model (../shared/golden/sam_tiny.amg.json): the
 * same masks, boxes and order; runs of a picture are those of its masks; what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sam/sam.h"
#include "tests/support/support.h"

static ts_weights *model, *expected;
static cJSON *runs;

/* ---- golden records ---- */

static double number(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static double element(const cJSON *object, const char *key, int i)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, key);
    const cJSON *item = cJSON_GetArrayItem(list, i);
    return cJSON_IsArray(item) ? cJSON_GetArrayItem(item, 0)->valuedouble : item->valuedouble;
}

static ts_sam_everything_options options_of(const cJSON *o)
{
    ts_sam_everything_options all = TS_SAM_EVERYTHING;
    all.points_per_side = (int)number(o, "points_per_side", all.points_per_side);
    all.points_per_batch = (int)number(o, "points_per_batch", all.points_per_batch);
    all.pred_iou_thresh = number(o, "pred_iou_thresh", all.pred_iou_thresh);
    all.stability_score_thresh = number(o, "stability_score_thresh", all.stability_score_thresh);
    all.stability_score_offset = number(o, "stability_score_offset", all.stability_score_offset);
    all.box_nms_thresh = number(o, "box_nms_thresh", all.box_nms_thresh);
    all.crop_n_layers = (int)number(o, "crop_n_layers", all.crop_n_layers);
    all.crop_nms_thresh = number(o, "crop_nms_thresh", all.crop_nms_thresh);
    all.crop_overlap_ratio = number(o, "crop_overlap_ratio", all.crop_overlap_ratio);
    all.crop_n_points_downscale_factor = (int)number(o, "crop_n_points_downscale_factor", all.crop_n_points_downscale_factor);
    all.min_mask_region_area = (int64_t)number(o, "min_mask_region_area", (double)all.min_mask_region_area);
    return all;
}

/* Pixels in which a mask and golden run lengths differ. */
static int64_t difference(const ts_rle *got, const cJSON *want)
{
    const cJSON *counts = cJSON_GetObjectItemCaseSensitive(want, "counts");
    const int64_t pixels = (int64_t)got->width * got->height;
    uint8_t *a = calloc((size_t)pixels, 1), *b = calloc((size_t)pixels, 1);
    assert_true(a && b);
    int64_t at = 0, other = 0, differ = 0;
    for (int64_t i = 0; i < got->count; at += got->run[i++])
        if (i % 2) memset(a + at, 1, got->run[i]);
    int odd = 0;
    for (const cJSON *count = counts->child; count; count = count->next, odd = !odd) {
        if (odd) memset(b + other, 1, (size_t)count->valuedouble);
        other += (int64_t)count->valuedouble;
    }
    assert_int_equal(at, pixels);
    assert_int_equal(other, pixels);
    for (int64_t i = 0; i < pixels; i++) differ += a[i] != b[i];
    free(a);
    free(b);
    return differ;
}

static void check_record(const char *run, int number_of, const ts_sam_found *got, const cJSON *want)
{
    const double box[4] = {got->box.x0, got->box.y0, got->box.x1 - got->box.x0, got->box.y1 - got->box.y0};
    for (int k = 0; k < 4; k++) {
        if (box[k] != element(want, "bbox", k))
            fail_msg("%s %d: box[%d] is %g, wanted %g", run, number_of, k, box[k], element(want, "bbox", k));
        if (got->crop[k] != (int)element(want, "crop_box", k)) fail_msg("%s %d: another crop", run, number_of);
    }
    const cJSON *point = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(want, "point_coords"), 0);
    for (int k = 0; k < 2; k++)
        if (fabs(got->point[k] - cJSON_GetArrayItem(point, k)->valuedouble) > 1e-6)
            fail_msg("%s %d: another point", run, number_of);
    if (fabs(got->predicted_iou - number(want, "predicted_iou", 0)) > 1e-4) fail_msg("%s %d: another score", run, number_of);
    /* One pixel of the area at the lower cut may fall on its other side. */
    if (fabs(got->stability_score - number(want, "stability_score", 0)) > 2.0 / (double)(got->area + 1))
        fail_msg("%s %d: stability %g, wanted %g", run, number_of, got->stability_score, number(want, "stability_score", 0));
    const int64_t differ = difference(&got->mask, cJSON_GetObjectItemCaseSensitive(want, "segmentation"));
    if (differ != 0) fail_msg("%s %d: %d pixels differ", run, number_of, (int)differ);
    assert_int_equal(got->area, ts_rle_area(&got->mask));
    assert_int_equal(got->area, (int64_t)number(want, "area", 0));
}

static ts_image picture(const char *name)
{
    char full[32];
    ts_error err = {0};
    ts_image img;
    snprintf(full, sizeof full, "%s.image", name);
    const ts_weight *t = ts_weights_find(expected, full);
    assert_non_null(t);
    if (!ts_image_new((int)t->shape[1], (int)t->shape[0], &img, &err)) fail_msg("%s", err.text);
    memcpy(img.data, t->data, (size_t)t->count);
    return img;
}

static bool count_progress(void *ctx, int64_t done, int64_t all)
{
    int64_t *seen = ctx;
    assert_true(done > seen[0] && done <= all);
    seen[0] = done;
    seen[1] = all;
    return true;
}

static void check_run(ts_sam *s, const cJSON *run)
{
    const char *name = cJSON_GetObjectItemCaseSensitive(run, "name")->valuestring;
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(run, "masks");
    const ts_sam_everything_options options = options_of(cJSON_GetObjectItemCaseSensitive(run, "options"));
    ts_image img = picture(strcmp(name, "crops") == 0 ? "crops" : "A");
    ts_error err = {0};
    ts_sam_all all;
    int64_t seen[2] = {0, 0};
    if (!ts_sam_everything(s, &img, &options, count_progress, seen, &all, &err)) fail_msg("%s: %s", name, err.text);
    assert_int_equal(seen[0], seen[1]);
    if (all.count != cJSON_GetArraySize(want))
        fail_msg("%s: %d masks, wanted %d", name, (int)all.count, cJSON_GetArraySize(want));
    for (int i = 0; i < (int)all.count; i++) check_record(name, i, &all.list[i], cJSON_GetArrayItem(want, i));
    /* The whole picture is what prompts are asked of again. */
    int width = 0, height = 0;
    assert_true(ts_sam_size(s, &width, &height));
    assert_true(width == img.width && height == img.height);
    ts_sam_all_clear(&all);
    ts_image_clear(&img);
}

static ts_sam *open_sam(ts_device *dev)
{
    ts_error err = {0};
    ts_sam *s = ts_sam_new(dev, &(ts_sam_desc){.weights = model}, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static void check_device(ts_device *dev)
{
    ts_sam *s = open_sam(dev);
    for (int i = 0; i < cJSON_GetArraySize(runs); i++) check_run(s, cJSON_GetArrayItem(runs, i));
    ts_sam_free(s);
}

static void test_host(void **state)
{
    (void)state;
    if (!model) skip();
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    assert_non_null(dev);
    check_device(dev);
    ts_device_free(dev);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = model ? test_vulkan(TS_F32) : NULL;
    if (!dev) skip();
    check_device(dev);
}

/* ---- what is refused, and what stops it ---- */

static bool stop(void *ctx, int64_t done, int64_t all)
{
    (void)done;
    (void)all;
    return ++*(int *)ctx < 2;
}

static void test_stopped(void **state)
{
    (void)state;
    if (!model) skip();
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    ts_sam *s = open_sam(dev);
    ts_image img = picture("A");
    ts_sam_everything_options options = TS_SAM_EVERYTHING;
    options.pred_iou_thresh = 0;
    ts_error err = {0};
    ts_sam_all all;
    int calls = 0;
    assert_false(ts_sam_everything(s, &img, &options, stop, &calls, &all, &err));
    assert_int_equal(calls, 2);
    assert_int_equal(all.count, 0);
    ts_image_clear(&img);
    ts_sam_free(s);
    ts_device_free(dev);
}

static void test_options(void **state)
{
    (void)state;
    ts_sam_everything_options o = TS_SAM_EVERYTHING;
    ts_error err = {0};
    assert_true(ts_sam_everything_check(&o, &err));
    o.points_per_side = 0;
    assert_false(ts_sam_everything_check(&o, &err));
    assert_string_equal(err.text, "points per side is 0, wanted 1 to 1024");
    o = TS_SAM_EVERYTHING;
    o.stability_score_offset = (double)NAN;
    err = (ts_error){0};
    assert_false(ts_sam_everything_check(&o, &err));
    o = TS_SAM_EVERYTHING;
    o.crop_n_layers = 2;
    o.crop_n_points_downscale_factor = 8;
    err = (ts_error){0};
    assert_false(ts_sam_everything_check(&o, &err));
    assert_non_null(strstr(err.text, "no point is left in the crops of layer 2"));
}

static cJSON *read_json(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    char *text = size > 0 ? calloc(1, (size_t)size + 1) : NULL;
    rewind(f);
    cJSON *json = text && fread(text, 1, (size_t)size, f) == (size_t)size ? cJSON_Parse(text) : NULL;
    free(text);
    fclose(f);
    return json;
}

static int setup(void **state)
{
    (void)state;
    ts_error err = {0};
    expected = ts_weights_open(TS_GOLDEN_DIR "/sam_tiny.expected.safetensors", &err);
    runs = read_json(TS_GOLDEN_DIR "/sam_tiny.amg.json");
    if (expected && runs) model = ts_weights_open(TS_GOLDEN_DIR "/sam_tiny.pth", &err);
    if (!model) print_message("skipped: there are no golden files in " TS_GOLDEN_DIR "\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ts_weights_free(model);
    ts_weights_free(expected);
    cJSON_Delete(runs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_on_vulkan),
                                       cmocka_unit_test(test_stopped), cmocka_unit_test(test_options),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("everything", tests, setup, teardown);
}
