/* test_strokes.c - learning from strokes on drawn pictures: the right mask comes out, strokes correct it, other pictures are
 * masked too, the same seed gives the same bits, a model is kept in a file; with a transformer's features; by parts. */
#include "tests/support/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "strokes/internal.h"

enum { W = 96, H = 72 };

/* A striped disc on a noisy ground of the same mean colour: no colour tells them apart. */
static ts_image drawn(int cx, int cy, uint64_t seed)
{
    ts_image out;
    assert_true(ts_image_new(W, H, &out, NULL));
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const bool in = (x - cx) * (x - cx) + (y - cy) * (y - cy) < 22 * 22;
            const double v = in ? 128 + 60 * sin(x * 1.3) : 128 + 25 * test_normal(&seed);
            for (int c = 0; c < 3; c++) out.data[3 * (y * W + x) + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    return out;
}

static bool is_inside(int x, int y, int cx, int cy)
{
    return (x - cx) * (x - cx) + (y - cy) * (y - cy) < 22 * 22;
}

/* A short line in the disc and one on the ground. */
static ts_labels lines(int cx, int cy)
{
    ts_labels l;
    assert_true(ts_labels_new(W, H, &l, NULL));
    for (int i = -12; i <= 12; i++) l.data[cy * W + cx + i] = 1;
    for (int x = 4; x < W - 4; x++) l.data[4 * W + x] = 0;
    for (int y = 4; y < H - 4; y++) l.data[y * W + 4] = 0;
    return l;
}

static double overlap(const ts_labels *l, int cx, int cy)
{
    int both = 0, either = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const bool want = is_inside(x, y, cx, cy), got = l->data[y * W + x] == 1;
            both += want && got;
            either += want || got;
        }
    return (double)both / either;
}

static ts_strokes *new_model(ts_device *dev, int hidden)
{
    ts_error err = {0};
    const ts_strokes_desc desc = {.classes = 2, .colour = {{0, 0, 0}, {255, 255, 255}}, .hidden = hidden, .seed = 3};
    ts_strokes *s = ts_strokes_new(dev, &desc, &err);
    if (!s) fail_msg("%s", err.text);
    return s;
}

static void learn(ts_strokes *s, const ts_image *picture, const ts_labels *l)
{
    ts_error err = {0};
    ts_strokes_fit fit;
    if (!ts_strokes_picture(s, picture, &err) || !ts_strokes_label(s, l, &err) || !ts_strokes_train(s, &fit, &err))
        fail_msg("%s", err.text);
    assert_true(fit.accuracy > 0.95);
    assert_true(fit.samples[1] >= 25);
}

static ts_labels classify(ts_strokes *s, const ts_image *picture, int smooth, float *p)
{
    ts_error err = {0};
    ts_labels out;
    if (!ts_strokes_picture(s, picture, &err) || !ts_strokes_classify(s, smooth, &out, p, &err)) fail_msg("%s", err.text);
    return out;
}

static void check_learning(ts_device *dev, int hidden)
{
    ts_strokes *s = new_model(dev, hidden);
    ts_image first = drawn(50, 38, 1), second = drawn(35, 40, 2);
    ts_labels l = lines(50, 38);
    learn(s, &first, &l);
    ts_labels a = classify(s, &first, 0, NULL), b = classify(s, &second, 0, NULL), c = classify(s, &second, 3, NULL);
    if (overlap(&a, 50, 38) < 0.8 || overlap(&b, 35, 40) < 0.75 || overlap(&c, 35, 40) < 0.75)
        fail_msg("%d hidden units: %.3f, %.3f, smoothed %.3f", hidden, overlap(&a, 50, 38), overlap(&b, 35, 40),
                 overlap(&c, 35, 40));
    ts_labels_clear(&a);
    ts_labels_clear(&b);
    ts_labels_clear(&c);
    ts_labels_clear(&l);
    ts_image_clear(&first);
    ts_image_clear(&second);
    ts_strokes_free(s);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void learns(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_learning(dev, 0);
    check_learning(dev, -1);
    if (test_vulkan(TS_F32)) check_learning(test_vulkan(TS_F32), 8);
    ts_device_free(dev);
}

/* Two pictures, of which the first's strokes were wrong and are painted anew; then once more with the same seed, and from a file.
 */
static void same_bits(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_image first = drawn(50, 38, 1), second = drawn(35, 40, 2);
    ts_labels l = lines(50, 38), wrong = lines(50, 38), other = lines(35, 40);
    ts_error err = {0};
    float *p[3];
    for (int i = 0; i < W * H; i++)
        if (wrong.data[i] != TS_STROKES_NONE) wrong.data[i] ^= 1;
    const char *path = kept_path("disc.strokes");
    for (int i = 0; i < 3; i++) {
        p[i] = malloc(sizeof(float) * W * H * 2);
        ts_weights *w = i == 2 ? ts_weights_open(path, &err) : NULL;
        ts_strokes *s = i == 2 ? ts_strokes_open(dev, w, NULL, NULL, &err) : new_model(dev, 0);
        if (!s) fail_msg("%s", err.text);
        if (i < 2) {
            learn(s, &first, &wrong);
            assert_true(ts_strokes_label(s, &l, &err) && ts_strokes_train(s, NULL, &err));
            assert_true(ts_strokes_picture(s, &second, &err) && ts_strokes_label(s, &other, &err));
            for (int k = 0; k < 4; k++) assert_true(ts_strokes_train(s, NULL, &err));
        }
        ts_labels out = classify(s, &first, 0, p[i]);
        if (overlap(&out, 50, 38) < 0.8) fail_msg("%.3f", overlap(&out, 50, 38));
        ts_labels_clear(&out);
        if (i == 1 && !ts_strokes_save(s, path, &err)) fail_msg("%s", err.text);
        ts_strokes_free(s);
        ts_weights_free(w);
    }
    assert_memory_equal(p[0], p[1], sizeof(float) * W * H * 2);
    assert_memory_equal(p[1], p[2], sizeof(float) * W * H * 2);
    for (int i = 0; i < W * H; i++) assert_true(fabsf(p[0][2 * i] + p[0][2 * i + 1] - 1) < 1e-5F);
    for (int i = 0; i < 3; i++) free(p[i]);
    ts_labels_clear(&l);
    ts_labels_clear(&wrong);
    ts_labels_clear(&other);
    ts_image_clear(&first);
    ts_image_clear(&second);
    ts_device_free(dev);
}

static void expect(bool ok, const ts_error *err, const char *word)
{
    assert_false(ok);
    if (!strstr(err->text, word)) fail_msg("%s", err->text);
}

static void refusals(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_image first = drawn(50, 38, 1);
    ts_labels l, out;
    ts_error err = {0};
    assert_null(ts_strokes_new(dev, &(ts_strokes_desc){.classes = 1}, &err));
    expect(false, &err, "2 to 16 are learned");
    ts_strokes *s = new_model(dev, 0);
    assert_true(ts_labels_new(W, H, &l, NULL));
    err = (ts_error){0};
    expect(ts_strokes_label(s, &l, &err), &err, "no picture at hand");
    assert_true(ts_strokes_picture(s, &first, &err));
    err = (ts_error){0};
    expect(ts_strokes_classify(s, 0, &out, NULL, &err), &err, "no model yet");
    err = (ts_error){0};
    expect(ts_strokes_save(s, kept_path("no.strokes"), &err), &err, "no model to save");
    err = (ts_error){0};
    expect(ts_strokes_train(s, NULL, &err), &err, "no strokes");
    l.data[0] = 0;
    err = (ts_error){0};
    assert_true(ts_strokes_label(s, &l, &err));
    expect(ts_strokes_train(s, NULL, &err), &err, "class 2 of 2 has no strokes");
    l.data[1] = 2;
    err = (ts_error){0};
    expect(ts_strokes_label(s, &l, &err), &err, "a stroke of class 2, and there are 2");
    ts_labels_clear(&l);
    assert_true(ts_labels_new(W, H - 1, &l, NULL));
    err = (ts_error){0};
    expect(ts_strokes_label(s, &l, &err), &err, "are not on a picture");
    ts_labels_clear(&l);
    ts_strokes_free(s);
    ts_image_clear(&first);
    ts_device_free(dev);
}

/* One that is written, with a change in its metadata or a tensor. */
static void check_file(const char *key, const char *value, int64_t classes, const char *word)
{
    const float numbers[2 * TS_STROKES_BANK] = {0};
    const char *const meta[][2] = {
        {"tessera.strokes", "1"}, {"scales", "0.7 1 1.6 3.5 5 10"}, {"colours", "#000000 #ff0000"}, {"ground", "0"}};
    ts_error err = {0};
    ts_strokes_info info;
    ts_weights_writer *w = ts_weights_writer_new();
    for (int i = 0; i < 4; i++) {
        const bool other = strcmp(key, meta[i][0]) == 0;
        if (!other || value) assert_true(ts_weights_writer_meta(w, meta[i][0], other ? value : meta[i][1], &err));
    }
    assert_true(ts_weights_writer_add(w, "output.weight", TS_DT_F32, 2, (int64_t[]){classes, TS_STROKES_BANK}, numbers, &err));
    assert_true(ts_weights_writer_add(w, "output.bias", TS_DT_F32, 1, &classes, numbers, &err));
    assert_true(ts_weights_writer_save(w, kept_path("changed.strokes"), &err));
    ts_weights_writer_free(w);
    ts_weights *file = ts_weights_open(kept_path("changed.strokes"), &err);
    const bool ok = ts_strokes_about(file, &info, &err);
    if (word) expect(ok, &err, word);
    else if (!ok) fail_msg("%s", err.text);
    ts_weights_free(file);
}

static void files(void **state)
{
    (void)state;
    check_file("", "", 2, NULL);
    check_file("tessera.strokes", "2", 2, "of version 2, and 1 is read here");
    check_file("tessera.strokes", NULL, 2, "a model from strokes is wanted");
    check_file("scales", "1 2", 2, "of other scales");
    check_file("colours", "#000000", 2, "colours are not 2 to 16");
    check_file("colours", "#000000 red", 2, "colours are not 2 to 16");
    check_file("ground", "2", 2, "which class is its background");
    check_file("", "", 1, "not as many outputs as colours");
}

/* The small DINOv3 of the tests beside the features of pixels. */
static void transformer(void **state)
{
    (void)state;
    char path[512];
    ts_device *dev = host();
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/golden/dino/v3.safetensors", TS_TESTS_DIR);
    ts_weights *dino = ts_weights_open(path, &err);
    const ts_strokes_desc desc = {.classes = 2, .colour = {{0, 0, 0}, {255, 255, 255}}, .features = dino, .hidden = 8};
    ts_strokes *s = dino ? ts_strokes_new(dev, &desc, &err) : NULL;
    if (!s) fail_msg("%s", err.text);
    ts_image first = drawn(50, 38, 1);
    ts_labels l = lines(50, 38);
    learn(s, &first, &l);
    float *p = malloc(sizeof(float) * W * H * 2), *q = malloc(sizeof(float) * W * H * 2);
    ts_labels out = classify(s, &first, 0, p);
    if (overlap(&out, 50, 38) < 0.75) fail_msg("%.3f", overlap(&out, 50, 38));
    ts_labels_clear(&out);
    const char *file = kept_path("dino.strokes");
    assert_true(ts_strokes_save(s, file, &err));
    ts_strokes_free(s);
    ts_weights *w = ts_weights_open(file, &err);
    s = ts_strokes_open(dev, w, dino, NULL, &err);
    if (!s) fail_msg("%s", err.text);
    out = classify(s, &first, 0, q);
    assert_memory_equal(p, q, sizeof(float) * W * H * 2);
    ts_labels_clear(&out);
    ts_strokes_free(s);
    assert_null(ts_strokes_open(dev, w, NULL, NULL, &err));
    expect(false, &err, "learned with the features of a DINOv2 or DINOv3");
    err = (ts_error){0};
    assert_null(ts_strokes_new(dev, &(ts_strokes_desc){.classes = 2, .features = w}, &err));
    expect(false, &err, "is a model from strokes; features are taken of");
    ts_weights_free(w);
    ts_weights_free(dino);
    free(p);
    free(q);
    ts_labels_clear(&l);
    ts_image_clear(&first);
    ts_device_free(dev);
}

/* A picture that is too large to be kept is classified part by part, and a piece of it by itself as well. */
static void large(void **state)
{
    (void)state;
    enum { WIDE = 1700, HIGH = 1300, X = 700, Y = 720, PIECE = 160 }; /* across the seams of parts */
    ts_device *dev = host();
    ts_strokes *s = new_model(dev, 4);
    ts_image first = drawn(50, 38, 1), big, piece;
    ts_labels l = lines(50, 38);
    ts_error err = {0};
    learn(s, &first, &l);
    assert_true((int64_t)WIDE * HIGH > TS_STROKES_KEPT);
    assert_true(ts_image_new(WIDE, HIGH, &big, &err) && ts_image_new(PIECE, PIECE, &piece, &err));
    uint64_t seed = 4;
    for (int64_t i = 0; i < (int64_t)WIDE * HIGH * 3; i++) big.data[i] = (uint8_t)(256 * test_uniform(&seed));
    for (int y = 0; y < PIECE; y++) memcpy(piece.data + y * PIECE * 3, big.data + ((int64_t)(Y + y) * WIDE + X) * 3, PIECE * 3);
    float *all = malloc(sizeof *all * 2 * WIDE * HIGH), *part = malloc(sizeof *part * 2 * PIECE * PIECE);
    ts_labels a = classify(s, &big, 0, all), b = classify(s, &piece, 0, part);
    for (int y = STROKES_REACH; y < PIECE - STROKES_REACH; y++)
        for (int x = STROKES_REACH; x < PIECE - STROKES_REACH; x++)
            assert_true(fabsf(all[2 * ((int64_t)(Y + y) * WIDE + X + x)] - part[2 * (y * PIECE + x)]) < 1e-5F);
    ts_labels_clear(&a);
    ts_labels_clear(&b);
    assert_true(ts_labels_new(WIDE, HIGH, &a, &err) && ts_strokes_picture(s, &big, &err));
    a.data[0] = 0;
    a.data[(int64_t)WIDE * HIGH - 1] = 1;
    if (!ts_strokes_label(s, &a, &err) || !ts_strokes_train(s, NULL, &err)) fail_msg("%s", err.text);
    ts_labels_clear(&a);
    ts_labels_clear(&l);
    free(all);
    free(part);
    ts_image_clear(&first);
    ts_image_clear(&big);
    ts_image_clear(&piece);
    ts_strokes_free(s);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns),
                                       cmocka_unit_test(same_bits),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(files),
                                       cmocka_unit_test(transformer),
                                       cmocka_unit_test(large),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
