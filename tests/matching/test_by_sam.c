/* test_by_sam.c - PerSAM and GF-SAM: what is learned and chosen against reference numbers
 * (tests/reference/make_matching_golden.py), and the whole of both on a small Segment Anything, whose answers mean little, but
 * are of the right size and always the same. */
#include "../support/models.h"
#include "../support/support.h"
#include "matching/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ts_device *host;
static ts_weights *golden;

static ts_weights *open_ours(const char *name)
{
    char path[512];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, name);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static const ts_weight *find(const char *name)
{
    const ts_weight *t = ts_weights_find(golden, name);
    if (!t) fail_msg("%s is missing", name);
    return t;
}

static const uint8_t *bytes_of(const char *name)
{
    return find(name)->data;
}

static void expect_near(const float *got, const char *name, double tolerance)
{
    float *want = golden_f32(golden, name);
    const double error = relative_error(got, want, find(name)->count);
    free(want);
    if (!(error <= tolerance)) fail_msg("%s: relative error %g", name, error);
}

/* ---- pieces ---- */

static void test_scales(void **state)
{
    (void)state;
    enum { SCALES = 3 };
    float *logits[2] = {golden_f32(golden, "scales.logits0"), golden_f32(golden, "scales.logits1")};
    const scale_case list[2] = {{logits[0], bytes_of("scales.inside0"), find("scales.inside0")->count},
                                {logits[1], bytes_of("scales.inside1"), find("scales.inside1")->count}};
    for (int shots = 1; shots <= 2; shots++) {
        char name[32];
        double weight[SCALES];
        float got[SCALES];
        ts_error err = {0};
        if (!ts_tune_scales(list, shots, SCALES, weight, &err)) fail_msg("%s", err.text);
        for (int s = 0; s < SCALES; s++) got[s] = (float)weight[s];
        snprintf(name, sizeof name, "scales.weight%d", shots);
        expect_near(got, name, 1e-4);
        assert_true(fabs(weight[0] + weight[1] + weight[2] - 1) < 1e-12);
    }
    free(logits[0]);
    free(logits[1]);
}

enum { SIDE = 9, PLACES = SIDE * SIDE };

static void test_prior(void **state)
{
    (void)state;
    float *all = golden_f32(golden, "gfsam.all"), *weight = golden_f32(golden, "gfsam.weight");
    float most[PLACES] = {0}, mean[PLACES] = {0};
    ts_gfsam_prior(all, weight, PLACES, most, mean);
    expect_near(most, "gfsam.prior.most", 1e-5);
    expect_near(mean, "gfsam.prior.mean", 1e-5);
    free(all);
    free(weight);
}

static void test_choose(void **state)
{
    (void)state;
    ts_error err = {0};
    float *all = golden_f32(golden, "gfsam.all"), *mean = golden_f32(golden, "gfsam.mean");
    float *most = golden_f32(golden, "gfsam.most"), *negative = golden_f32(golden, "gfsam.negative");
    const gfsam_maps maps = {SIDE, all, mean, negative};
    int point[TS_GFSAM_POINTS];
    int64_t *want = golden_i64(golden, "gfsam.points");
    const int count = ts_gfsam_points(&maps, most, point, &err);
    assert_int_equal(count, find("gfsam.points")->count);
    for (int i = 0; i < count; i++) assert_int_equal(point[i], want[i]);
    const ts_weight *t = find("gfsam.masks");
    const int size = (int)t->shape[1];
    ts_mask mask[TS_GFSAM_POINTS], chosen;
    for (int i = 0; i < count; i++) {
        assert_true(ts_mask_new(size, size, &mask[i], &err));
        memcpy(mask[i].data, (const uint8_t *)t->data + (size_t)i * (size_t)size * (size_t)size, (size_t)size * (size_t)size);
    }
    if (!ts_gfsam_choose(&maps, point, mask, count, &chosen, &err)) fail_msg("%s", err.text);
    assert_memory_equal(chosen.data, bytes_of("gfsam.chosen"), (size_t)size * (size_t)size);
    for (int i = 0; i < count; i++) ts_mask_clear(&mask[i]);
    ts_mask_clear(&chosen);
    free(all);
    free(mean);
    free(most);
    free(negative);
    free(want);
}

/* ---- the whole ---- */

static ts_image golden_rgb(const char *name)
{
    const ts_weight *t = find(name);
    ts_image img;
    assert_true(ts_image_new((int)t->shape[1], (int)t->shape[0], &img, NULL));
    memcpy(img.data, t->data, (size_t)t->count);
    return img;
}

static ts_mask golden_mask(const char *name)
{
    const ts_weight *t = find(name);
    ts_mask m;
    assert_true(ts_mask_new((int)t->shape[1], (int)t->shape[0], &m, NULL));
    memcpy(m.data, t->data, (size_t)t->count);
    return m;
}

typedef struct {
    ts_image picture[2], query;
    ts_mask mask[2];
} pictures;

static pictures load_pictures(void)
{
    return (pictures){{golden_rgb("insid3.example0"), golden_rgb("insid3.example1")},
                      golden_rgb("insid3.query"),
                      {golden_mask("insid3.mask0"), golden_mask("insid3.mask1")}};
}

static void free_pictures(pictures *p)
{
    for (int i = 0; i < 2; i++) {
        ts_image_clear(&p->picture[i]);
        ts_mask_clear(&p->mask[i]);
    }
    ts_image_clear(&p->query);
}

static ts_mask by_persam(ts_device *dev, const ts_weights *w, pictures *p, bool tune)
{
    ts_error err = {0};
    ts_mask out;
    ts_persam *m = ts_persam_new(dev, &(ts_persam_desc){w, tune}, &err);
    if (!m) fail_msg("%s", err.text);
    assert_false(ts_persam_segment(m, &p->query, &out, &err));
    err = (ts_error){0};
    for (int i = 0; i < 2; i++)
        if (!ts_persam_example(m, &p->picture[i], &p->mask[i], &err)) fail_msg("%s", err.text);
    if (!ts_persam_segment(m, &p->query, &out, &err)) fail_msg("%s", err.text);
    double weight[TS_SAM_MAX_MASKS];
    assert_int_equal(ts_persam_scales(m, weight), tune ? 3 : 0);
    if (tune) assert_true(fabs(weight[0] + weight[1] + weight[2] - 1) < 1e-12);
    if (tune) assert_false(ts_persam_example(m, &p->picture[0], &p->mask[0], &err)); /* too late */
    ts_persam_free(m);
    return out;
}

static ts_mask by_gfsam(ts_device *dev, const ts_weights *sam, const ts_weights *dino, pictures *p)
{
    ts_error err = {0};
    ts_mask out;
    ts_gfsam *m = ts_gfsam_new(dev, &(ts_gfsam_desc){sam, dino}, &err);
    if (!m) fail_msg("%s", err.text);
    assert_false(ts_gfsam_segment(m, &p->query, &out, &err));
    err = (ts_error){0};
    for (int i = 0; i < 2; i++)
        if (!ts_gfsam_example(m, &p->picture[i], &p->mask[i], &err)) fail_msg("%s", err.text);
    if (!ts_gfsam_segment(m, &p->query, &out, &err)) fail_msg("%s", err.text);
    ts_gfsam_free(m);
    return out;
}

/* Twice the same bits, and about the same on another device. */
static void check_same(const char *what, ts_mask a, ts_mask b, int width, int height, double most)
{
    assert_int_equal(a.width, width);
    assert_int_equal(a.height, height);
    assert_int_equal(b.width, width);
    int64_t differ = 0;
    for (int64_t i = 0; i < (int64_t)width * height; i++) differ += a.data[i] != b.data[i];
    if ((double)differ > most * width * height) fail_msg("%s: %d pixels differ", what, (int)differ);
    ts_mask_clear(&a);
    ts_mask_clear(&b);
}

static void test_whole(void **state)
{
    (void)state;
    ts_weights *sam = open_golden("sam_tiny.pth"), *dino = open_ours("dino/v2_registers.safetensors");
    ts_device *other = test_vulkan(TS_F32);
    pictures p = load_pictures();
    const int width = p.query.width, height = p.query.height;
    for (int tune = 0; tune < 2; tune++) {
        check_same("PerSAM, again", by_persam(host, sam, &p, tune), by_persam(host, sam, &p, tune), width, height, 0);
        if (other)
            check_same(tune ? "PerSAM-F, Vulkan" : "PerSAM, Vulkan", by_persam(host, sam, &p, tune),
                       by_persam(other, sam, &p, tune), width, height, 0.01);
    }
    check_same("GF-SAM", by_gfsam(host, sam, dino, &p), by_gfsam(host, sam, dino, &p), width, height, 0);
    if (other) check_same("GF-SAM", by_gfsam(host, sam, dino, &p), by_gfsam(other, sam, dino, &p), width, height, 0.01);
    free_pictures(&p);
    ts_weights_free(sam);
    ts_weights_free(dino);
}

/* A mask that covers no place counts for its middle; a query that shows nothing has an answer. */
static void test_corners(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *sam = open_golden("sam_tiny.pth"), *dino = open_ours("dino/v2.safetensors");
    ts_image picture, nothing;
    ts_mask dot, out;
    assert_true(ts_image_new(60, 90, &picture, &err) && ts_image_new(33, 7, &nothing, &err) && ts_mask_new(60, 90, &dot, &err));
    for (int i = 0; i < 60 * 90 * 3; i++) picture.data[i] = (uint8_t)(i * 7 % 251);
    dot.data[60 * 50 + 31] = 1;
    for (int tune = 0; tune < 2; tune++) {
        ts_persam *m = ts_persam_new(host, &(ts_persam_desc){sam, tune}, &err);
        if (!m || !ts_persam_example(m, &picture, &dot, &err) || !ts_persam_segment(m, &nothing, &out, &err))
            fail_msg("%s", err.text);
        assert_int_equal(out.width, 33);
        assert_int_equal(out.height, 7);
        ts_mask_clear(&out);
        ts_persam_free(m);
    }
    ts_gfsam *g = ts_gfsam_new(host, &(ts_gfsam_desc){sam, dino}, &err);
    if (!g || !ts_gfsam_example(g, &picture, &dot, &err) || !ts_gfsam_segment(g, &nothing, &out, &err)) fail_msg("%s", err.text);
    assert_int_equal(out.width, 33);
    ts_mask_clear(&out);
    memset(dot.data, 0, 60 * 90);
    assert_false(ts_gfsam_example(g, &picture, &dot, &err));
    assert_non_null(strstr(err.text, "nothing inside"));
    ts_gfsam_free(g);
    err = (ts_error){0};
    assert_null(ts_gfsam_new(host, &(ts_gfsam_desc){sam, sam}, &err)); /* its features are no DINO's */
    assert_non_null(strstr(err.text, "is wanted"));
    ts_image_clear(&picture);
    ts_image_clear(&nothing);
    ts_mask_clear(&dot);
    ts_weights_free(sam);
    ts_weights_free(dino);
}

static int begin(void **state)
{
    (void)state;
    golden = open_ours("matching.safetensors");
    return (host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL)) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    ts_weights_free(golden);
    ts_device_free(host);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales), cmocka_unit_test(test_prior),   cmocka_unit_test(test_choose),
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_corners), cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
