/* test_prompt.c - the learned border and the fusion of examples against PyTorch's numbers on a tiny model: forward, loss,
 * gradients and steps, on every backend; their published sizes; and that what tuning sees is what an inpainter sees. */
#include "../support/models.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mae/prompt/internal.h"

enum { BATCH = 2, EXAMPLES = 2, CANVAS = 24, PLACES = 36, AREA = CANVAS * CANVAS };
#define TOLERANCE 1e-3

typedef struct {
    ts_weights *model, *border, *fusion, *expected;
    ts_mae_config config;
    ts_grid grid;
    uint8_t canvases[BATCH * EXAMPLES * AREA * 3];
    int32_t codes[BATCH * PLACES];
} golden_case;

static ts_weights *open_file(const char *name)
{
    ts_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/golden/mae/%s.safetensors", TS_TESTS_DIR, name);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static golden_case open_case(void)
{
    ts_error err = {0};
    golden_case c = {.model = open_file("model"),
                     .border = open_file("border"),
                     .fusion = open_file("fusion"),
                     .expected = open_file("expected")};
    if (!ts_mae_config_read(c.model, 0, 0, false, &c.config, &err)) fail_msg("%s", err.text);
    const ts_grid_desc desc = {.canvas = CANVAS, .patch = c.config.patch, .background = {10, 10, 10}};
    assert_true(ts_grid_plan(&desc, &c.grid, NULL));
    float *canvases = golden_f32(c.expected, "canvases"), *codes = golden_f32(c.expected, "codes");
    for (size_t i = 0; i < sizeof c.canvases; i++) c.canvases[i] = (uint8_t)lroundf(canvases[i]);
    for (int i = 0; i < BATCH * PLACES; i++) c.codes[i] = (int32_t)lroundf(codes[i]);
    free(canvases);
    free(codes);
    return c;
}

static void close_case(golden_case *c)
{
    ts_weights_free(c->model);
    ts_weights_free(c->border);
    ts_weights_free(c->fusion);
    ts_weights_free(c->expected);
}

static ts_device *host(void)
{
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

/* A test on the host and, where there is one, on a Vulkan device. */
static void on_both(void (*check)(ts_device *, const golden_case *))
{
    golden_case c = open_case();
    ts_device *dev = host();
    check(dev, &c);
    ts_device_free(dev);
    if (test_vulkan(TS_F32)) check(test_vulkan(TS_F32), &c);
    close_case(&c);
}

static void near(const golden_case *c, const char *key, const float *got, int64_t count, double factor)
{
    float *want = golden_f32(c->expected, key);
    assert_int_equal(ts_weights_find(c->expected, key)->count, count);
    double worst = 0, top = 1e-12;
    for (int64_t i = 0; i < count; i++) {
        top = fmax(top, fabs((double)want[i]));
        worst = fmax(worst, fabs((double)got[i] * factor - (double)want[i]));
    }
    if (!(worst / top < TOLERANCE)) fail_msg("%s: relative error %g", key, worst / top);
    free(want);
}

/* ---- sizes ---- */

/* The elements of all that a graph asked for. */
static int64_t elements(const ts_params *ps)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < ts_params_count(ps); i++) {
        int64_t shape[TS_MAX_DIMS], each = 1;
        const int ndim = ts_params_shape(ps, i, shape);
        for (int k = 0; k < ndim; k++) each *= shape[k];
        sum += each;
    }
    return sum;
}

static void published_sizes(void **state)
{
    (void)state;
    ts_device *dev = host();
    uint64_t seed = 1;
    const ts_border_config border = {.canvas = 224, .pixels = ts_border_pixels(224)};
    assert_int_equal(border.pixels, 30);
    assert_int_equal(ts_border_pixels(80), 11);
    assert_int_equal(ts_border_parameters(&border), 69840);
    ts_params *ps = ts_params_new_trainable(dev, NULL, "", ts_border_init, &seed, NULL);
    ts_graph *g = ts_graph_new();
    ts_border_declare(g, &border, ps);
    assert_int_equal(elements(ps), 69840);
    ts_graph_free(g);
    ts_params_free(ps);

    ts_fusion_config fusion = {0};
    assert_true(ts_fusion_complete(&fusion, 1024, NULL));
    assert_int_equal(ts_fusion_parameters(&fusion), 13646848);
    ps = ts_params_new_trainable(dev, NULL, "", ts_fusion_init, &seed, NULL);
    ts_params *constants = ts_fusion_constants(dev, &fusion, NULL);
    g = ts_graph_new();
    const ts_fusion f = {.config = &fusion, .params = ps, .constants = constants};
    const ts_fused out = ts_fusion_apply(g, &f, ts_input(g, "x", TS_REAL, 3, (int64_t[]){4, 196, 1024}), 2);
    assert_non_null(out.tokens);
    const int64_t want[3] = {2, 147, 1024};
    for (int i = 0; i < 3; i++) assert_int_equal(out.tokens->shape[i], want[i]);
    assert_int_equal(elements(ps), 13646848);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_params_free(constants);
    ts_device_free(dev);
}

/* The published sigma's window: 3 x 3 places, of weights .376, .115 and .035. */
static void published_window(void **state)
{
    (void)state;
    ts_device *dev = host();
    ts_fusion_config fusion = {0};
    assert_true(ts_fusion_complete(&fusion, 64, NULL));
    ts_params *constants = ts_fusion_constants(dev, &fusion, NULL);
    ts_graph *g = ts_graph_new();
    ts_param(g, constants, "window.2", TS_LAYOUT_PLAIN, 2, (int64_t[]){49, 98});
    ts_param(g, constants, "outside.2", TS_LAYOUT_PLAIN, 2, (int64_t[]){49, 98});
    float window[49 * 98], outside[49 * 98];
    assert_true(ts_params_read(constants, 0, window, NULL) && ts_params_read(constants, 1, outside, NULL));
    const float *row = window + 24 * 98, *off = outside + 24 * 98; /* of the middle */
    assert_true(fabsf(row[24] - 0.376F) < 1e-3F && fabsf(row[23] - 0.115F) < 1e-3F && fabsf(row[16] - 0.035F) < 1e-3F);
    int seen = 0;
    for (int i = 0; i < 98; i++) {
        seen += off[i] == 0;
        assert_true((off[i] == 0) == (row[i] > 0) && row[i] == row[i % 49]);
        assert_true(off[i] == 0 || off[i] == -1e7F);
    }
    assert_int_equal(seen, 18);
    ts_graph_free(g);
    ts_params_free(constants);
    ts_device_free(dev);
}

/* ---- tuning ---- */

static ts_mae_tuner *open_tuner(ts_device *dev, const golden_case *c, bool fusion, bool condenser)
{
    ts_error err = {0};
    const ts_mae_tuner_desc desc = {.weights = c->model,
                                    .grid = c->grid,
                                    .is_fusion = fusion,
                                    .fusion = {.heads = 4, .condenser = condenser},
                                    .batch = BATCH,
                                    .fused = fusion ? EXAMPLES : 1,
                                    .top = condenser ? 0 : 0.5,
                                    .align = condenser ? 0 : 0.2,
                                    .embed = condenser ? 1 : 0};
    ts_mae_tuner *t = ts_mae_tuner_new(dev, &desc, &err);
    if (!t || !ts_mae_tuner_resume(t, fusion ? c->fusion : c->border, &err)) fail_msg("%s", err.text);
    return t;
}

static ts_mae_tuned step(ts_mae_tuner *t, const golden_case *c, const uint8_t *canvases, double lr)
{
    ts_error err = {0};
    ts_mae_tuned out;
    if (!ts_mae_tuner_step(t, canvases, c->codes, lr, &out, &err)) fail_msg("%s", err.text);
    return out;
}

static ts_weights *saved(ts_mae_tuner *t, const char *name)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_mae_tuner_save(t, w, true, &err)) fail_msg("%s", err.text);
    return write_and_open(w, name);
}

/* The first of each query's canvases. */
static void first_canvases(const golden_case *c, uint8_t *out)
{
    for (int b = 0; b < BATCH; b++) memcpy(out + b * AREA * 3, c->canvases + b * EXAMPLES * AREA * 3, AREA * 3);
}

static const char *const parts[] = {"pad_up", "pad_down", "pad_left", "pad_right"};

static void check_border(ts_device *dev, const golden_case *c)
{
    uint8_t canvases[BATCH * AREA * 3];
    char key[96], moment[96];
    first_canvases(c, canvases);
    ts_mae_tuner *t = open_tuner(dev, c, false, false);
    ts_mae_tuned before, out;
    assert_true(ts_mae_tuner_evaluate(t, canvases, c->codes, BATCH, &before, NULL));
    out = step(t, c, canvases, 0.05);
    assert_true(fabs(out.loss - before.loss) < 1e-5 && out.accuracy == before.accuracy && out.objective == out.loss);
    near(c, "border.loss", &(float){(float)out.loss}, 1, 1);
    ts_weights *after = saved(t, "border1");
    for (int i = 0; i < 4; i++) { /* the first moment is a tenth of the first gradient */
        snprintf(moment, sizeof moment, "optimizer.m.%s", parts[i]);
        snprintf(key, sizeof key, "border.grad.%s", parts[i]);
        float *m = golden_f32(after, moment);
        near(c, key, m, ts_weights_find(after, moment)->count, 10);
        free(m);
    }
    ts_weights_free(after);
    step(t, c, canvases, 0.05);
    step(t, c, canvases, 0.05);
    after = saved(t, "border3");
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "border.after3.%s", parts[i]);
        float *p = golden_f32(after, parts[i]);
        near(c, key, p, ts_weights_find(after, parts[i])->count, 1);
        free(p);
    }
    ts_weights_free(after);
    ts_mae_tuner_free(t);
}

static void learns_border(void **state)
{
    (void)state;
    on_both(check_border);
}

/* A step of SGD takes lr times the gradient away. */
static void check_gradients(const golden_case *c, const ts_weights *after, const char *kind, double lr)
{
    for (int64_t i = 0; i < ts_weights_count(c->fusion); i++) {
        const ts_weight *t = ts_weights_at(c->fusion, i);
        char key[96];
        if (strncmp(t->name, "optimizer.", 10) == 0) continue;
        snprintf(key, sizeof key, "%s.grad.%s", kind, t->name);
        float *p = golden_f32(c->fusion, t->name), *q = golden_f32(after, t->name), *want = golden_f32(c->expected, key);
        double top = 0;
        for (int64_t k = 0; k < t->count; k++) {
            p[k] = (p[k] - q[k]) / (float)lr;
            top = fmax(top, fabs((double)want[k]));
        }
        /* Where a gradient is zero but for rounding, as that of keys' biases is in a softmax over all places. */
        if (top > 1e-5) near(c, key, p, t->count, 1);
        free(p);
        free(q);
        free(want);
    }
}

static void check_fusion(ts_device *dev, const golden_case *c)
{
    const double lr = 64;
    static const char *const kinds[] = {"prompthub", "condenser"};
    for (int k = 0; k < 2; k++) {
        char key[64];
        ts_mae_tuner *t = open_tuner(dev, c, true, k == 1);
        ts_mae_tuned out = step(t, c, c->canvases, lr);
        snprintf(key, sizeof key, "%s.objective", kinds[k]);
        near(c, key, &(float){(float)out.objective}, 1, 1);
        snprintf(key, sizeof key, "%s.loss", kinds[k]);
        near(c, key, &(float){(float)out.loss}, 1, 1);
        ts_weights *after = saved(t, "fusion1");
        check_gradients(c, after, kinds[k], lr);
        ts_weights_free(after);
        ts_mae_tuner_free(t);
    }
    ts_mae_tuner *t = open_tuner(dev, c, true, false);
    for (int i = 0; i < 3; i++) step(t, c, c->canvases, 0.5);
    ts_weights *after = saved(t, "fusion3");
    static const char *const some[] = {"label.weight", "cross.k.bias"};
    for (int i = 0; i < 2; i++) {
        char key[64];
        snprintf(key, sizeof key, "prompthub.after3.%s", some[i]);
        float *p = golden_f32(after, some[i]);
        near(c, key, p, ts_weights_find(after, some[i])->count, 1);
        free(p);
    }
    ts_weights_free(after);
    ts_mae_tuner_free(t);
}

static void learns_fusion(void **state)
{
    (void)state;
    on_both(check_fusion);
}

/* ---- in front of an inpainter ---- */

static void check_fronts(ts_device *dev, const golden_case *c)
{
    ts_error err = {0};
    ts_mae m = {.config = c->config, .params = ts_params_new(dev, c->model, "", &err)};
    ts_mae_prompt *border = ts_mae_prompt_open(dev, c->border, &c->config, &err);
    ts_mae_prompt *fusion = border ? ts_mae_prompt_open(dev, c->fusion, &c->config, &err) : NULL;
    if (!m.params || !fusion) fail_msg("%s", err.text);

    /* A canvas with its border, as the inpainter gets it and as the graph that tunes makes it. */
    static float canvas[AREA * 3], plain[AREA * 3], added[AREA * 3];
    ts_mae_normalise(c->canvases, AREA, canvas);
    memcpy(plain, canvas, sizeof plain);
    const ts_mae_front front = ts_mae_prompt_front(border);
    assert_true(!front.fuse && front.dress(front.ctx, &c->grid, canvas, &err));
    near(c, "border.canvas", canvas, AREA * 3, 1);
    ts_mae_prompt_info info;
    assert_true(ts_mae_prompt_about(c->border, &info, &err) && info.has_look && info.background[0] == 10);
    assert_true(ts_border_dress(&info.border, NULL, &c->grid, plain, &err));
    ts_params *ps = ts_params_new_trainable(dev, c->border, "", NULL, NULL, &err), *deviations = ts_border_constants(dev, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *in = ts_input(g, "canvas", TS_REAL, 4, (int64_t[]){1, CANVAS, CANVAS, 3});
    ts_tensor *out = ts_output(g, ts_border_add(g, &info.border, ps, deviations, &c->grid, in));
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e || !ts_write(e, in, plain, &err) || !ts_run(e, &err) || !ts_read(e, out, added, &err)) fail_msg("%s", err.text);
    near(c, "border.canvas", added, AREA * 3, 1);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_params_free(deviations);

    /* Logits of fused canvases. */
    const ts_mae_front fuses = ts_mae_prompt_front(fusion);
    int32_t keep[BATCH * PLACES];
    const int visible = ts_grid_keep(&c->grid, keep);
    for (int b = 1; b < BATCH; b++) memcpy(keep + b * visible, keep, (size_t)visible * sizeof *keep);
    g = ts_graph_new();
    in = ts_input(g, "canvas", TS_REAL, 4, (int64_t[]){BATCH * EXAMPLES, CANVAS, CANVAS, 3});
    ts_mae_index index = ts_mae_index_new(g, &m, BATCH, visible, PLACES);
    ts_tensor *tokens = fuses.fuse(fuses.ctx, g, &m, in, EXAMPLES);
    out = ts_output(g, ts_mae_decode(g, &m, ts_mae_encode_tokens(g, &m, tokens), &index));
    e = ts_exec_new(g, dev, &err);
    float *pixels = malloc(sizeof c->canvases * sizeof *pixels), *logits = malloc((size_t)ts_count(out) * sizeof *logits);
    ts_mae_normalise(c->canvases, (int64_t)BATCH * EXAMPLES * AREA, pixels);
    if (!e || !ts_write(e, in, pixels, &err) || !ts_mae_index_write(e, &m, &index, keep, NULL, &err) || !ts_run(e, &err) ||
        !ts_read(e, out, logits, &err))
        fail_msg("%s", err.text);
    near(c, "prompthub.logits", logits, ts_count(out), 1);
    free(pixels);
    free(logits);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_mae_prompt_free(border);
    ts_mae_prompt_free(fusion);
    ts_params_free(m.params);
}

static void fronts(void **state)
{
    (void)state;
    on_both(check_fronts);
}

/* What does not fit is refused, by a sentence. */
static void refused(void **state)
{
    (void)state;
    golden_case c = open_case();
    ts_device *dev = host();
    ts_error err = {0};
    ts_mae_config other = c.config;
    other.side *= 2;
    assert_null(ts_mae_prompt_open(dev, c.border, &other, &err));
    assert_non_null(strstr(err.text, "a border for canvases of 24 pixels, the model has canvases of 48"));
    err = (ts_error){0};
    other = c.config;
    other.dim = 32;
    assert_null(ts_mae_prompt_open(dev, c.fusion, &other, &err));
    assert_non_null(strstr(err.text, "a fusion for an encoder 16 wide, the model's is 32 wide"));
    err = (ts_error){0};
    assert_null(ts_mae_prompt_open(dev, c.model, &c.config, &err));
    assert_non_null(strstr(err.text, "what tessera tune border or fusion has made is wanted"));
    const char *const lost[][2] = {{"pad_left", NULL}, {NULL, "pad_right"}};
    for (int i = 0; i < 2; i++) {
        err = (ts_error){0};
        ts_weights *w = altered_copy(c.border, "altered", lost[i][0], lost[i][1]);
        ts_mae_prompt_info info;
        assert_false(ts_mae_prompt_about(w, &info, &err));
        assert_non_null(strstr(err.text, lost[i][0] ? lost[i][0] : lost[i][1]));
        ts_weights_free(w);
    }
    ts_mae_prompt_info info = {.is_fusion = true};
    ts_grid grid;
    err = (ts_error){0};
    ts_grid_desc desc = c.grid.desc;
    desc.transposed = true;
    assert_true(ts_grid_plan(&desc, &grid, NULL) && !ts_mae_prompt_suits(&info, &grid, &err));
    assert_non_null(strstr(err.text, "a fusion wants canvases of one example above the query"));
    assert_true(ts_mae_prompt_suits(&info, &c.grid, NULL));
    err = (ts_error){0};
    assert_null(ts_mae_tuner_new(
        dev, &(ts_mae_tuner_desc){.weights = c.model, .grid = c.grid, .batch = 1, .border = {.pixels = 12}}, &err));
    assert_non_null(strstr(err.text, "a border of 12 pixels does not go on a canvas of 24"));
    ts_device_free(dev);
    close_case(&c);
}

/* Stopped after two steps and gone on from the file, with dropout: the same bits as in one go. */
static void resumes(void **state)
{
    (void)state;
    golden_case c = open_case();
    ts_device *dev = host();
    ts_error err = {0};
    for (int fuse = 0; fuse < 2; fuse++) {
        const ts_mae_tuner_desc desc = {.weights = c.model,
                                        .grid = c.grid,
                                        .is_fusion = fuse,
                                        .fusion = {.heads = 4},
                                        .batch = BATCH,
                                        .fused = fuse ? EXAMPLES : 1,
                                        .dropout = 0.25,
                                        .top = 0.5,
                                        .align = 0.2,
                                        .seed = 3};
        ts_mae_tuner *whole = ts_mae_tuner_new(dev, &desc, &err), *half = ts_mae_tuner_new(dev, &desc, &err);
        ts_mae_tuner *rest = ts_mae_tuner_new(dev, &desc, &err);
        if (!whole || !half || !rest) fail_msg("%s", err.text);
        ts_mae_tuned first = {0}, last = {0};
        for (int i = 0; i < 12; i++) {
            last = step(whole, &c, c.canvases, 0.1);
            if (i == 0) first = last;
        }
        assert_true(last.objective < first.objective);
        for (int i = 0; i < 5; i++) step(half, &c, c.canvases, 0.1);
        ts_weights *between = saved(half, fuse ? "between1" : "between0");
        if (!ts_mae_tuner_resume(rest, between, &err)) fail_msg("%s", err.text);
        assert_int_equal(ts_mae_tuner_steps(rest), 5);
        ts_mae_tuned again = {0};
        for (int i = 5; i < 12; i++) again = step(rest, &c, c.canvases, 0.1);
        assert_true(memcmp(&again, &last, sizeof last) == 0);
        ts_weights_free(between);
        ts_mae_tuner_free(whole);
        ts_mae_tuner_free(half);
        ts_mae_tuner_free(rest);
    }
    ts_device_free(dev);
    close_case(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_sizes), cmocka_unit_test(published_window),
                                       cmocka_unit_test(learns_border),   cmocka_unit_test(learns_fusion),
                                       cmocka_unit_test(fronts),          cmocka_unit_test(refused),
                                       cmocka_unit_test(resumes),         cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
