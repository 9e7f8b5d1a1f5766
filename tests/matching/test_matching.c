/* test_matching.c - segmenting by one example against reference numbers (tests/reference/make_matching_golden.py): each piece,
 * and INSID3 as a whole, on every backend; and what is said of wrong examples. */
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

static void expect_near(const char *what, const float *got, const char *name, double tolerance)
{
    float *want = golden_f32(golden, name);
    const double error = relative_error(got, want, find(name)->count);
    free(want);
    if (!(error <= tolerance)) fail_msg("%s, %s: relative error %g", what, name, error);
}

/* ---- pieces ---- */

static void test_eigen(void **state)
{
    (void)state;
    enum { N = 33 };
    ts_error err = {0};
    double a[N * N], values[N], vectors[N * N];
    float *matrix = golden_f32(golden, "eigen.matrix"), got[N];
    for (int i = 0; i < N * N; i++) a[i] = (double)matrix[i];
    if (!ts_eigen(a, N, values, N, vectors, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < N; i++) got[i] = (float)values[i];
    expect_near("values", got, "eigen.values", 1e-6);
    for (int v = 0; v < N; v++)
        for (int u = 0; u < N; u++) { /* unit vectors, each at right angles to the others, that the matrix only stretches */
            double dot = 0, stretched = 0;
            for (int i = 0; i < N; i++) {
                double row = 0;
                for (int j = 0; j < N; j++) row += (double)matrix[i * N + j] * vectors[v * N + j];
                dot += vectors[v * N + i] * vectors[u * N + i];
                stretched += row * vectors[u * N + i];
            }
            assert_true(fabs(dot - (u == v)) < 1e-12);
            assert_true(fabs(stretched - (u == v ? values[v] : 0)) < 1e-11);
        }
    free(matrix);
    double one = 3, value, vector;
    assert_true(ts_eigen(&one, 1, &value, 1, &vector, &err));
    assert_true(value == 3 && vector == 1);
    double two[4] = {1, 2, 2, 1}, pair[2], both[4];
    assert_true(ts_eigen(two, 2, pair, 2, both, &err));
    assert_true(fabs(pair[0] - 3) < 1e-14 && fabs(pair[1] + 1) < 1e-14);
}

static void test_basis(void **state)
{
    (void)state;
    enum { P = 60, C = 24, COUNT = 7 };
    ts_error err = {0};
    float *tokens = golden_f32(golden, "basis.tokens"), basis[COUNT * C], projector[C * C] = {0};
    if (!ts_position_basis(tokens, P, C, COUNT, basis, &err)) fail_msg("%s", err.text);
    for (int k = 0; k < COUNT; k++)
        for (int i = 0; i < C * C; i++) projector[i] += basis[k * C + i / C] * basis[k * C + i % C];
    expect_near("basis", projector, "basis.projector", 1e-5);
    free(tokens);
}

static void test_linkage(void **state)
{
    (void)state;
    static const char *const cuts[] = {"0.05", "0.2", "0.6", "9"};
    enum { N = 48 };
    for (int k = 0; k < 4; k++) {
        char name[32];
        ts_error err = {0};
        int32_t label[N];
        int clusters = 0;
        snprintf(name, sizeof name, "linkage.%s", cuts[k]);
        float *distance = golden_f32(golden, "linkage.distance");
        int64_t *want = golden_i64(golden, name);
        for (int i = 0; i < N; i++) clusters = want[i] >= clusters ? (int)want[i] + 1 : clusters;
        assert_int_equal(ts_average_linkage(distance, N, atof(cuts[k]), label, &err), clusters);
        for (int i = 0; i < N; i++) assert_int_equal(label[i], want[i]);
        free(distance);
        free(want);
    }
    float nothing = 0;
    int32_t label = 7;
    assert_int_equal(ts_average_linkage(&nothing, 1, 0.4, &label, NULL), 1);
    assert_int_equal(label, 0);
}

static void test_maps(void **state)
{
    (void)state;
    float *in = golden_f32(golden, "map.in"), out[12 * 9];
    for (int corners = 0; corners < 2; corners++) {
        char name[32];
        ts_map_resize(in, 7, 5, corners, out, 12, 9);
        snprintf(name, sizeof name, "map.%d.larger", corners);
        expect_near("map", out, name, 1e-6);
        ts_map_resize(in, 7, 5, corners, out, 3, 4);
        snprintf(name, sizeof name, "map.%d.smaller", corners);
        expect_near("map", out, name, 1e-6);
    }
    free(in);
}

/* A golden U8 (h, w), as a mask. */
static ts_mask golden_mask(const char *name)
{
    const ts_weight *t = find(name);
    ts_mask m;
    ts_error err = {0};
    if (!ts_mask_new((int)t->shape[1], (int)t->shape[0], &m, &err)) fail_msg("%s", err.text);
    memcpy(m.data, t->data, (size_t)t->count);
    return m;
}

static void test_masks(void **state)
{
    (void)state;
    static const char *const names[] = {"mask.disc", "mask.line", "mask.dot"};
    for (int i = 0; i < 3; i++) {
        char name[32];
        uint8_t inside[36];
        ts_error err = {0};
        ts_mask m = golden_mask(names[i]);
        if (!ts_mask_to_places(&m, 48, 6, inside, &err)) fail_msg("%s", err.text);
        snprintf(name, sizeof name, "%s.places", names[i]);
        assert_memory_equal(inside, find(name)->data, sizeof inside);
        ts_mask_clear(&m);
    }
}

/* ---- on a device ---- */

static ts_weights *clip_file(void)
{
    ts_error err = {0};
    ts_weights *told = open_ours("clip_told.safetensors");
    ts_weights_writer *out = ts_weights_writer_new();
    for (int64_t i = 0; i < ts_weights_count(told); i++) {
        const ts_weight *t = ts_weights_at(told, i);
        if (strncmp(t->name, "model.", 6) == 0)
            assert_true(ts_weights_writer_add_weight_as(out, t->name + 6, t, TS_DT_F32, &err));
    }
    ts_weights *w = write_and_open(out, "clip");
    ts_weights_free(told);
    return w;
}

static const ts_clip_told told = {.heads = 5, .text_heads = 3, .activation = TS_CLIP_GELU};

static void check_clip_places(ts_device *dev)
{
    enum { ROWS = 4, COLUMNS = 5, PATCH = 4, WIDTH = 15 };
    ts_error err = {0};
    ts_weights *w = clip_file();
    ts_clip *c = ts_clip_new(dev, w, &told, &err);
    if (!c) fail_msg("%s", err.text);
    ts_graph *g = ts_graph_new();
    ts_tensor *in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){1, ROWS * PATCH, COLUMNS * PATCH, 3});
    ts_tensor *out = ts_output(g, ts_clip_places(g, c, in, ROWS, COLUMNS));
    ts_exec *e = ts_exec_new(g, dev, &err);
    float *pixels = golden_f32(golden, "clip.pixels"), tokens[ROWS * COLUMNS * WIDTH];
    if (!e || !ts_write(e, in, pixels, &err) || !ts_run(e, &err) || !ts_read(e, out, tokens, &err)) fail_msg("%s", err.text);
    expect_near("places", tokens, "clip.tokens", 1e-4);
    free(pixels);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_clip_free(c);
    ts_weights_free(w);
}

static ts_image golden_rgb(const char *name)
{
    const ts_weight *t = find(name);
    ts_image img;
    ts_error err = {0};
    if (!ts_image_new((int)t->shape[1], (int)t->shape[0], &img, &err)) fail_msg("%s", err.text);
    memcpy(img.data, t->data, (size_t)t->count);
    return img;
}

static void add_example(ts_insid3 *m, int number)
{
    char name[32];
    ts_error err = {0};
    snprintf(name, sizeof name, "insid3.example%d", number);
    ts_image picture = golden_rgb(name);
    snprintf(name, sizeof name, "insid3.mask%d", number);
    ts_mask mask = golden_mask(name);
    if (!ts_insid3_example(m, &picture, &mask, &err)) fail_msg("%s", err.text);
    ts_image_clear(&picture);
    ts_mask_clear(&mask);
}

static double meta(const char *key)
{
    return atof(ts_weights_meta(golden, key));
}

static ts_insid3 *golden_insid3(ts_device *dev, const ts_weights *w)
{
    ts_error err = {0};
    ts_insid3_desc desc = {.weights = w,
                           .side = (int)meta("side"),
                           .components = (int)meta("components"),
                           .likeness = meta("likeness"),
                           .threshold = meta("threshold")};
    ts_insid3 *m = ts_insid3_new(dev, &desc, &err);
    if (!m) fail_msg("%s", err.text);
    return m;
}

/* After one example, and after three. */
static void check_insid3(ts_device *dev)
{
    ts_error err = {0};
    ts_weights *w = open_ours("dino/v3.safetensors");
    ts_insid3 *m = golden_insid3(dev, w);
    ts_image query = golden_rgb("insid3.query");
    for (int shots = 1; shots <= 3; shots++) {
        ts_mask answer;
        char name[32];
        add_example(m, shots - 1);
        if (shots == 2) continue;
        snprintf(name, sizeof name, "insid3.answer%d", shots);
        if (!ts_insid3_segment(m, &query, &answer, &err)) fail_msg("%s", err.text);
        assert_int_equal(answer.width, query.width);
        assert_int_equal(answer.height, query.height);
        assert_true(ts_mask_area(&answer) > 0);
        assert_memory_equal(answer.data, find(name)->data, (size_t)query.width * (size_t)query.height);
        ts_mask_clear(&answer);
    }
    ts_image_clear(&query);
    ts_insid3_free(m);
    ts_weights_free(w);
}

static void test_on_host(void **state)
{
    (void)state;
    check_clip_places(host);
    check_insid3(host);
}

static void test_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_clip_places(dev);
    check_insid3(dev);
}

/* The same features by a CLIP: nothing to compare with, but sizes and that it is the same twice. */
static void test_by_clip(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = clip_file();
    ts_image query = golden_rgb("insid3.query");
    ts_mask answer[2];
    for (int i = 0; i < 2; i++) {
        ts_insid3 *m = ts_insid3_new(host, &(ts_insid3_desc){.weights = w, .told = told, .side = 9}, &err);
        if (!m) fail_msg("%s", err.text);
        assert_int_equal(ts_insid3_about(m).pixels, 36);
        assert_int_equal(ts_insid3_about(m).width, 15);
        assert_int_equal(ts_insid3_about(m).components, 1);
        add_example(m, 0);
        if (!ts_insid3_segment(m, &query, &answer[i], &err)) fail_msg("%s", err.text);
        ts_insid3_free(m);
    }
    assert_int_equal(answer[0].width, query.width);
    assert_memory_equal(answer[0].data, answer[1].data, (size_t)query.width * (size_t)query.height);
    ts_mask_clear(&answer[0]);
    ts_mask_clear(&answer[1]);
    ts_image_clear(&query);
    ts_weights_free(w);
}

/* ---- what is refused ---- */

static void test_refused(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *w = open_ours("dino/v3.safetensors");
    assert_null(ts_insid3_new(host, &(ts_insid3_desc){.weights = w, .side = 200}, &err));
    assert_non_null(strstr(err.text, "2 to 128"));
    err = (ts_error){0};
    assert_null(ts_insid3_new(host, &(ts_insid3_desc){.weights = w, .side = 8, .components = 24}, &err));
    assert_non_null(strstr(err.text, "fewer must be taken out"));
    ts_insid3 *m = golden_insid3(host, w);
    ts_image picture = golden_rgb("insid3.example0");
    ts_mask mask = golden_mask("insid3.mask1"), answer;
    err = (ts_error){0};
    assert_false(ts_insid3_segment(m, &picture, &answer, &err));
    assert_null(answer.data);
    assert_non_null(strstr(err.text, "no example"));
    err = (ts_error){0};
    assert_false(ts_insid3_example(m, &picture, &mask, &err));
    assert_non_null(strstr(err.text, "has a mask of"));
    ts_mask_clear(&mask);
    mask = golden_mask("insid3.mask0");
    memset(mask.data, 0, (size_t)mask.width * (size_t)mask.height);
    err = (ts_error){0};
    assert_false(ts_insid3_example(m, &picture, &mask, &err));
    assert_non_null(strstr(err.text, "nothing inside"));
    ts_mask_clear(&mask);
    ts_image_clear(&picture);
    ts_insid3_free(m);
    ts_weights_free(w);
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
        cmocka_unit_test(test_eigen),     cmocka_unit_test(test_basis),
        cmocka_unit_test(test_linkage),   cmocka_unit_test(test_maps),
        cmocka_unit_test(test_masks),     cmocka_unit_test(test_on_host),
        cmocka_unit_test(test_by_clip),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_on_vulkan), cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
