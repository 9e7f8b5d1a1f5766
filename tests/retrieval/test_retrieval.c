/* test_retrieval.c - features against PyTorch on the small golden models, the order of lists against numpy, lists as they are
 * published, the index of a folder's pictures, and the head's training against PyTorch's. */
#include "../support/models.h"
#include "../support/program.h"
#include "retrieval/retrieval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GOLDEN TS_TESTS_DIR "/golden/retrieval.safetensors"

enum { PICTURES = 3, HEADS = 4 };

static ts_device *host;

static ts_weights *golden(void)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open(GOLDEN, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static int open_host(void **state)
{
    (void)state;
    host = ts_device_open(&(ts_device_desc){.name = "cpu"}, NULL);
    return host ? 0 : -1;
}

static int close_host(void **state)
{
    (void)state;
    ts_device_free(host);
    return 0;
}

/* ---- features ---- */

/* Rows of the golden pictures; free(). */
static float *rows_of(ts_embedder *e)
{
    static const char *const names[PICTURES] = {"pre_37x53.png", "pre_53x37.png", "pre_31x34.png"};
    const ts_embedder_info *about = ts_embedder_about(e);
    const size_t each = (size_t)about->side * (size_t)about->side * 3;
    float *pixels = malloc(PICTURES * each * sizeof *pixels), *rows = malloc(PICTURES * (size_t)about->width * sizeof *rows);
    ts_error err = {0};
    for (int i = 0; i < PICTURES; i++) {
        char path[512];
        ts_image img;
        snprintf(path, sizeof path, TS_TESTS_DIR "/golden/clip/%s", names[i]);
        if (!ts_image_load(path, &img, &err) || !ts_embedder_prepare(e, &img, pixels + (size_t)i * each, &err))
            fail_msg("%s", err.text);
        ts_image_clear(&img);
    }
    if (!ts_embedder_encode(e, pixels, PICTURES, rows, &err)) fail_msg("%s", err.text);
    free(pixels);
    return rows;
}

static void check_cosines(ts_device *dev, const char *model, ts_embed_level level, const char *wanted, int batch)
{
    ts_error err = {0};
    ts_weights *w = open_golden(model), *g = golden();
    const int heads = strstr(model, "mae") ? HEADS : 0; /* which nothing tells */
    const ts_embedder_desc desc = {.weights = w, .told = {.heads = heads}, .level = level, .batch = batch};
    ts_embedder *e = ts_embedder_new(dev, &desc, &err);
    if (!e) fail_msg("%s", err.text);
    const int64_t width = ts_embedder_about(e)->width;
    float *rows = rows_of(e), *want = golden_f32(g, wanted);
    for (int i = 0; i < PICTURES; i++) {
        double have[PICTURES];
        ts_likeness(rows, PICTURES, width, rows + i * width, have);
        for (int k = 0; k < PICTURES; k++)
            if (!(fabs(have[k] - (double)want[i * PICTURES + k]) < 1e-4))
                fail_msg("%s: %d and %d: %.6f, wanted %.6f", wanted, i, k, have[k], (double)want[i * PICTURES + k]);
    }
    free(rows);
    free(want);
    ts_embedder_free(e);
    ts_weights_free(w);
    ts_weights_free(g);
}

static void features(void **state)
{
    (void)state;
    ts_device *const devices[] = {host, test_vulkan(TS_F32)};
    for (int d = 0; d < 2; d++) {
        if (!devices[d]) continue;
        check_cosines(devices[d], "clip_tiny.pt", TS_EMBED_WHOLE, "clip.whole", 1);
        check_cosines(devices[d], "clip_tiny.pt", TS_EMBED_PLACES, "clip.places", 2);
        check_cosines(devices[d], "mae_vqgan_tiny.pth", TS_EMBED_WHOLE, "mae.whole", 3);
        check_cosines(devices[d], "mae_vqgan_tiny.pth", TS_EMBED_PLACES, "mae.places", 2);
    }
}

static void make_identity(const char *path, ts_embed_level level, ts_embedder_info *out)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open(path, &err);
    ts_embedder *e = w ? ts_embedder_new(host, &(ts_embedder_desc){.weights = w, .level = level}, &err) : NULL;
    if (!e) fail_msg("%s", err.text);
    *out = *ts_embedder_about(e);
    ts_embedder_free(e);
    ts_weights_free(w);
}

/* A DINO's too; what differs has another identity, and what is no model for pictures is refused. */
static void identities(void **state)
{
    (void)state;
    ts_embedder_info a, b, c, again;
    make_identity(TS_TESTS_DIR "/golden/dino/v2.safetensors", TS_EMBED_WHOLE, &a);
    make_identity(TS_TESTS_DIR "/golden/dino/v2.safetensors", TS_EMBED_PLACES, &b);
    make_identity(TS_TESTS_DIR "/golden/dino/v3.safetensors", TS_EMBED_WHOLE, &c);
    make_identity(TS_TESTS_DIR "/golden/dino/v2.safetensors", TS_EMBED_WHOLE, &again);
    assert_string_not_equal(a.identity, b.identity);
    assert_string_not_equal(a.identity, c.identity);
    assert_string_not_equal(a.model, b.model);
    assert_string_equal(a.identity, again.identity);
    assert_true(b.width == 256 * a.width);
    ts_error err = {0};
    ts_weights *w = golden();
    assert_null(ts_embedder_new(host, &(ts_embedder_desc){.weights = w}, &err));
    assert_non_null(strstr(err.text, "no features to compare"));
    ts_weights_free(w);
}

/* ---- order ---- */

static void published_order(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    ts_weights *g = golden();
    float *likeness = golden_f32(g, "order.likeness"), *number = golden_f32(g, "order.name"),
          *first = golden_f32(g, "order.first");
    const int wanted = (int)ts_weights_find(g, "order.first")->count;
    double values[COUNT];
    char text[COUNT][8];
    const char *name[COUNT];
    int out[COUNT];
    for (int i = 0; i < COUNT; i++) {
        values[i] = (double)likeness[i];
        snprintf(text[i], sizeof text[i], "%d", (int)number[i]);
        name[i] = text[i];
    }
    assert_int_equal(ts_most_alike(values, name, COUNT, -1, COUNT, out, NULL), wanted);
    for (int i = 0; i < wanted; i++) assert_int_equal(out[i], (int)first[i]);
    /* The first five are the beginning of all; without itself one is left out, under all its numbers. */
    assert_int_equal(ts_most_alike(values, name, COUNT, -1, 5, out, NULL), 5);
    assert_int_equal(out[4], (int)first[4]);
    assert_int_equal(ts_most_alike(values, name, COUNT, (int)first[0], COUNT, out, NULL), wanted - 1);
    for (int i = 1; i < wanted; i++) assert_int_equal(out[i - 1], (int)first[i]);
    /* Without names all are different, and of equal ones the later comes first. */
    assert_int_equal(ts_most_alike((const double[]){1, 2, 2, 0}, NULL, 4, 2, 4, out, NULL), 3);
    assert_int_equal(out[0], 1);
    assert_int_equal(ts_most_alike((const double[]){2, 2}, NULL, 2, -1, 1, out, NULL), 1);
    assert_int_equal(out[0], 1);
    free(likeness);
    free(number);
    free(first);
    ts_weights_free(g);
}

/* ---- lists ---- */

static void refuse_lists(const char *text, const char *word)
{
    ts_lists l;
    ts_error err = {0};
    assert_false(ts_lists_parse(text, strlen(text), "some.json", &l, &err));
    assert_null(l.list);
    if (!strstr(err.text, word) || !strstr(err.text, "some.json")) fail_msg("\"%s\" says nothing of %s", err.text, word);
}

static void lists(void **state)
{
    (void)state;
    ts_lists l;
    ts_error err = {0};
    const char *path = temp_path("folder0_top_50-similarity.json");
    write_text(path, "{\"b\": [\"z\", \"a b\", \"c 12\"], \"a\": [\"2007_000648 712\"], \"b\": [\"y\"]}");
    if (!ts_lists_read(path, &l, &err)) fail_msg("%s", err.text);
    assert_int_equal(l.count, 2);
    const ts_list *a = ts_lists_find(&l, "a"), *b = ts_lists_find(&l, "b");
    assert_int_equal(a->count, 1);
    assert_string_equal(a->picture[0], "2007_000648");
    assert_int_equal(b->count, 1); /* the last one of that name, as Python reads it */
    assert_string_equal(b->picture[0], "y");
    assert_null(ts_lists_find(&l, "c"));
    ts_lists_clear(&l);
    const char *two = "{\"b\": [\"z\", \"a b\", \"c 12\", \" 7\"]}";
    assert_true(ts_lists_parse(two, strlen(two), "", &l, NULL));
    assert_string_equal(l.list[0].picture[1], "a b");
    assert_string_equal(l.list[0].picture[2], "c");
    assert_string_equal(l.list[0].picture[3], " 7");
    ts_lists_clear(&l);
    refuse_lists("", "holds no lists");
    refuse_lists("[\"a\"]", "holds no lists");
    refuse_lists("{}", "holds no lists");
    refuse_lists("{\"a\": [\"b\"", "holds no lists");
    refuse_lists("{\"a\": \"b\"}", "no list of names");
    refuse_lists("{\"a\": []}", "no list of names");
    refuse_lists("{\"a\": [\"b\", 3]}", "no name");
    assert_false(ts_lists_read("/nowhere/top.json", &l, &err));
}

/* ---- the index ---- */

static void index_remembers(void **state)
{
    (void)state;
    const char *path = kept_path("index.safetensors");
    const char *name[] = {"a", "b c", "d"};
    int64_t size[] = {1, 2, 3}, mtime[] = {10, 20, 30};
    float features_[] = {1, 0, 0, 1, 0.6F, 0.8F};
    const ts_index made = {.count = 3, .width = 2, .name = name, .size = size, .mtime = mtime, .features = features_};
    ts_index ix;
    ts_error err = {0}, why = {0};
    struct stat st;
    if (!ts_index_write(path, "0123456789abcdef", &made, &err)) fail_msg("%s", err.text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    ts_index_read(path, "0123456789abcdef", 2, &ix, &why);
    assert_int_equal(why.code, TS_OK);
    assert_int_equal(ix.count, 3);
    assert_int_equal(ts_index_find(&ix, "b c", 2, 20), 1);
    assert_int_equal(ts_index_find(&ix, "b c", 2, 21), -1); /* changed */
    assert_int_equal(ts_index_find(&ix, "b c", 3, 20), -1);
    assert_int_equal(ts_index_find(&ix, "e", 2, 20), -1);
    assert_memory_equal(ix.features, features_, sizeof features_);
    ts_index_clear(&ix);
    /* Other features, another width, and bytes that are none. */
    ts_index_read(path, "another model   ", 2, &ix, &why);
    assert_int_equal(ix.count, 0);
    assert_non_null(strstr(why.text, "another model"));
    why = (ts_error){0};
    ts_index_read(path, "0123456789abcdef", 3, &ix, &why);
    assert_int_equal(ix.count, 0);
    assert_non_null(strstr(why.text, "no index"));
    size_t bytes;
    unsigned char *all = read_bytes(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut++) {
        why = (ts_error){0};
        write_bytes(path, all, cut);
        ts_index_read(path, "0123456789abcdef", 2, &ix, &why);
        assert_int_equal(ix.count, 0);
        assert_null(ix.features);
        assert_true(why.code != TS_OK);
    }
    free(all);
    why = (ts_error){0};
    ts_index_read("/nowhere/index", "0123456789abcdef", 2, &ix, &why);
    assert_int_equal(why.code, TS_OK);
    assert_int_equal(ix.count, 0);
}

/* ---- the head ---- */

static const char *const layers[] = {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"};
enum { LAYERS = 4, BATCH = 3, STEPS = 3, WIDTH = 6, OUT = 4 };

static void add(ts_weights_writer *w, const char *name, const ts_weight *like, const float *data)
{
    ts_error err = {0};
    if (!ts_weights_writer_add(w, name, TS_DT_F32, like->ndim, like->shape, data, &err)) fail_msg("%s", err.text);
}

/* The golden head as a checkpoint before the first step. */
static ts_weights *golden_start(const ts_weights *g)
{
    static const float zeros[64];
    float *values[LAYERS];
    ts_weights_writer *w = ts_weights_writer_new();
    for (int i = 0; i < LAYERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "start.%s", layers[i]);
        const ts_weight *t = ts_weights_find(g, name);
        values[i] = golden_f32(g, name);
        add(w, layers[i], t, values[i]);
        snprintf(name, sizeof name, "optimizer.m.%s", layers[i]);
        assert_true(t->count <= 64);
        add(w, name, t, zeros);
    }
    assert_true(ts_weights_writer_meta(w, "step", "0", NULL));
    assert_true(ts_weights_writer_meta(w, TS_RETRIEVER_OF, "0123456789abcdef", NULL));
    ts_weights *out = write_and_open(w, "start");
    for (int i = 0; i < LAYERS; i++) free(values[i]);
    return out;
}

static ts_retriever_trainer *trainer_of(ts_device *dev, const ts_weights *from)
{
    ts_error err = {0};
    const ts_retriever_desc desc = {.config = {WIDTH, 5, OUT}, .batch = BATCH};
    ts_retriever_trainer *t = ts_retriever_trainer_new(dev, &desc, &err);
    if (!t || !ts_retriever_trainer_resume(t, from, &err)) fail_msg("%s", err.text);
    return t;
}

/* The trainer's file, opened. */
static ts_weights *saved(ts_retriever_trainer *t, const char *name)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_retriever_trainer_save(t, w, true, &err) || !ts_weights_writer_meta(w, TS_RETRIEVER_OF, "0123456789abcdef", &err))
        fail_msg("%s", err.text);
    return write_and_open(w, name);
}

static void check_training(ts_device *dev, double tolerance)
{
    ts_weights *g = golden(), *start = golden_start(g);
    ts_retriever_trainer *t = trainer_of(dev, start), *second = NULL;
    float *rows = golden_f32(g, "rows"), *apart = golden_f32(g, "apart"), *losses = golden_f32(g, "losses");
    ts_error err = {0};
    for (int s = 0; s < STEPS; s++) {
        const float *step_rows = rows + s * 3 * BATCH * WIDTH, *step_apart = apart + s * BATCH * 2 * BATCH;
        double loss, accuracy, again;
        if (!ts_retriever_trainer_step(t, step_rows, step_apart, 0.1 - 0.02 * s, &loss, &accuracy, &err))
            fail_msg("%s", err.text);
        if (!(fabs(loss - (double)losses[s]) < tolerance))
            fail_msg("step %d: loss %.7f, wanted %.7f", s, loss, (double)losses[s]);
        assert_true(accuracy >= 0 && accuracy <= 1);
        if (s == 0) { /* goes on from here as the first does */
            ts_weights *checkpoint = saved(t, "first");
            second = trainer_of(dev, checkpoint);
            assert_int_equal(ts_retriever_trainer_steps(second), 1);
            ts_weights_free(checkpoint);
        } else {
            assert_true(ts_retriever_trainer_step(second, step_rows, step_apart, 0.1 - 0.02 * s, &again, &accuracy, &err));
            assert_true(again == loss);
        }
    }
    ts_weights *end = saved(t, "end"), *other = saved(second, "other");
    for (int i = 0; i < LAYERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "end.%s", layers[i]);
        float *want = golden_f32(g, name), *have = golden_f32(end, layers[i]), *same = golden_f32(other, layers[i]);
        const int64_t count = ts_weights_find(g, name)->count;
        assert_true(relative_error(have, want, count) < tolerance);
        assert_memory_equal(have, same, (size_t)count * sizeof *have);
        free(want);
        free(have);
        free(same);
    }
    ts_retriever_trainer_free(t);
    ts_retriever_trainer_free(second);
    ts_weights_free(end);
    ts_weights_free(other);
    ts_weights_free(start);
    ts_weights_free(g);
    free(rows);
    free(apart);
    free(losses);
}

static void training(void **state)
{
    (void)state;
    check_training(host, 1e-5);
    ts_device *vulkan = test_vulkan(TS_F32);
    if (vulkan) check_training(vulkan, 1e-4);
}

static void head_at_work(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *g = golden(), *start = golden_start(g);
    float *rows = golden_f32(g, "rows"), *want = golden_f32(g, "made"), have[3 * BATCH * OUT];
    ts_retriever *r = ts_retriever_new(host, start, 4, &err); /* nine rows in runs of four */
    if (!r || !ts_retriever_apply(r, rows, 3 * BATCH, have, &err)) fail_msg("%s", err.text);
    assert_true(relative_error(have, want, 3 * BATCH * OUT) < 1e-5);
    ts_retriever_free(r);
    ts_weights *reshaped = altered_copy(start, "odd", NULL, "head.2.weight"),
               *missing = altered_copy(start, "less", "head.0.bias", NULL);
    ts_retriever_config c;
    assert_false(ts_retriever_read(reshaped, &c, &err));
    err = (ts_error){0};
    assert_false(ts_retriever_read(missing, &c, &err));
    free(rows);
    free(want);
    ts_weights_free(reshaped);
    ts_weights_free(missing);
    ts_weights_free(start);
    ts_weights_free(g);
}

/* The same seed begins the same head; another, another. */
static void fresh_heads(void **state)
{
    (void)state;
    float *first = NULL;
    for (int i = 0; i < 3; i++) {
        ts_error err = {0};
        const ts_retriever_desc desc = {.config = {WIDTH, 0, OUT}, .batch = BATCH, .seed = i == 2};
        ts_retriever_trainer *t = ts_retriever_trainer_new(host, &desc, &err);
        if (!t) fail_msg("%s", err.text);
        assert_int_equal(ts_retriever_trainer_about(t)->config.hidden, WIDTH);
        ts_weights *w = saved(t, "fresh");
        float *weight = golden_f32(w, layers[0]);
        const size_t size = (size_t)ts_weights_find(w, layers[0])->count * sizeof *weight;
        if (first) assert_int_equal(memcmp(first, weight, size) == 0, i == 1);
        for (size_t k = 0; k < size / sizeof *weight; k++) assert_true(fabsf(weight[k]) <= 1 / sqrtf(WIDTH));
        if (first) free(weight);
        else first = weight;
        ts_weights_free(w);
        ts_retriever_trainer_free(t);
    }
    free(first);
    ts_error err = {0};
    assert_null(ts_retriever_trainer_new(host, &(ts_retriever_desc){.batch = 2}, &err));
    assert_non_null(strstr(err.text, "cannot be trained"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features),     cmocka_unit_test(identities),      cmocka_unit_test(published_order),
        cmocka_unit_test(lists),        cmocka_unit_test(index_remembers), cmocka_unit_test(training),
        cmocka_unit_test(head_at_work), cmocka_unit_test(fresh_heads),     cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests_name("retrieval", tests, open_host, close_host);
}
