/* test_methods.c - every prompt method's first gradients and first steps against PyTorch's, on every backend, by a small tuner.
 */
#include "../support/small_tuner.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 5, MAX_FLOATS = 1 << 16 };

/* ---- against the golden numbers ---- */

/* What the golden file has for parameter i of `p`, in its order. `what`: "coop.grad". */
static float *golden_param(const bench *b, ts_prompt *p, const char *what, int64_t i)
{
    const char *name = ts_params_name(p->params, i);
    int64_t shape[TS_MAX_DIMS];
    char key[128];
    ts_params_shape(p->params, i, shape);
    if (strncmp(name, "pad_", 4) == 0) {
        snprintf(key, sizeof key, "%s.%s", what, name + 4);
        float *planes = golden_f32(b->golden, key), *pixels = planes_to_pixels(planes, shape[0], shape[1]);
        free(planes);
        return pixels;
    }
    const bool first = strcmp(name, "prompt_embeddings") == 0, others = strcmp(name, "deep_prompt_embeddings") == 0;
    snprintf(key, sizeof key, "%s.%s", what, first || others ? "prompts" : name);
    float *t = golden_f32(b->golden, key);
    if (others) memmove(t, t + shape[1] * shape[2], (size_t)param_count(p, i) * sizeof *t);
    return t;
}

static void normalise_pixels(float *x, int64_t pixels)
{
    static const float mean[] = {0.48145466F, 0.4578275F, 0.40821073F}, std[] = {0.26862954F, 0.26130258F, 0.27577711F};
    for (int64_t i = 0; i < pixels * 3; i++) x[i] = (x[i] - mean[i % 3]) / std[i % 3];
}

/* Pictures, features and labels of the golden file; owned by the caller. */
typedef struct {
    float *pixels, *image, *classes;
    int32_t target[PICTURES];
} batch;

static batch batch_new(const bench *b)
{
    batch d = {.image = golden_f32(b->golden, "image_features"), .classes = golden_f32(b->golden, "text_features")};
    float *planes = golden_f32(b->golden, "images");
    int64_t *labels = golden_i64(b->golden, "labels");
    const int64_t one = (int64_t)SIDE * SIDE * 3;
    d.pixels = malloc((size_t)(PICTURES * one) * sizeof *d.pixels);
    for (int i = 0; i < PICTURES; i++) {
        float *pixels = planes_to_pixels(planes + i * one, SIDE, SIDE);
        memcpy(d.pixels + i * one, pixels, (size_t)one * sizeof *pixels);
        free(pixels);
        d.target[i] = (int32_t)labels[i];
    }
    free(planes);
    free(labels);
    normalise_pixels(d.pixels, (int64_t)PICTURES * SIDE * SIDE);
    unit_rows(d.image, PICTURES);
    unit_rows(d.classes, CLASSES);
    return d;
}

static void batch_free(batch *d)
{
    free(d->pixels);
    free(d->image);
    free(d->classes);
}

static void use(tuner *t, const batch *d)
{
    t->pixels = d->pixels;
    t->image = d->image;
    t->text_classes = d->classes;
    t->target = d->target;
}

static void check_losses(const char *label, tuner *t, const float *want, double lr)
{
    for (int step = 0; step < STEPS; step++) {
        const double loss = tuner_gradients(t);
        if (!(fabs(loss - (double)want[step]) < 1e-3))
            fail_msg("%s: loss %.6f at step %d, wanted %.6f", label, loss, step, (double)want[step]);
        tuner_update(t, lr);
    }
}

typedef struct {
    const char *label, *method;
    double lr;
    ts_method_settings settings;
} golden_case;

static const golden_case cases[] = {
    {"coop", "coop", 1e-4, {.context = 4}},
    {"coop_csc", "coop", 1e-4, {.context = 4, .per_class = 1}},
    {"cocoop", "cocoop", 2e-3, {0}},
    {"vp_padding", "vp-padding", 0.1, {.pixels = 8}},
    {"vpt_shallow", "vpt-shallow", 2e-3, {.tokens = 5}},
    {"vpt_deep", "vpt-deep", 2e-3, {.tokens = 5}},
};

static void check_case(const bench *b, const golden_case *c, int chunk)
{
    ts_error err = {0};
    char what[64];
    ts_prompt *p = prompt(b, c->method, c->settings);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.init", c->label);
        float *init = golden_param(b, p, what, i);
        if (!ts_params_write(p->params, i, init, &err)) fail_msg("%s", err.text);
        free(init);
    }
    tuner t = tuner_new(p, b->dev, chunk);
    batch d = batch_new(b);
    use(&t, &d);
    tuner_gradients(&t);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.grad", c->label);
        float *want = golden_param(b, p, what, i);
        const double error = relative_error(t.grad[i], want, param_count(p, i));
        print_message("[   VALUE  ] %s, gradient of %s: relative error %.1e\n", c->label, ts_params_name(p->params, i), error);
        if (!(error < 1e-3)) fail_msg("%s: gradient of %s: relative error %g", c->label, ts_params_name(p->params, i), error);
        free(want);
    }
    snprintf(what, sizeof what, "%s.losses", c->label);
    float *losses = golden_f32(b->golden, what);
    check_losses(c->label, &t, losses, c->lr);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        snprintf(what, sizeof what, "%s.final", c->label);
        float *want = golden_param(b, p, what, i), *got = malloc((size_t)param_count(p, i) * sizeof *got);
        if (!ts_params_read(p->params, i, got, &err)) fail_msg("%s", err.text);
        assert_true(relative_error(got, want, param_count(p, i)) < 1e-3);
        free(want);
        free(got);
    }
    free(losses);
    batch_free(&d);
    tuner_free(&t);
    ts_prompt_free(p);
}

static void check_golden(ts_device *dev)
{
    bench b = bench_new(dev);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&b, &cases[i], i % 2 ? CLASSES : 3);
    bench_free(&b);
}

/* ---- against our own reference: numbers that need not be stored (make_prompt_golden.py has the same) ---- */

static const made upt_start[] = {
    {"uni_ctx", 0, 1},
    {"self_attn.in_proj_weight", 0, 0.3},
    {"self_attn.in_proj_bias", 0, 0.1},
    {"self_attn.out_proj.weight", 0, 0.125},
    {"self_attn.out_proj.bias", 0, 0.1},
    {"norm1.weight", 1, 0.1},
    {"norm1.bias", 0, 0.1},
    {"norm2.weight", 1, 0.1},
    {"norm2.bias", 0, 0.1},
    {"linear1.weight", 0, 0.125},
    {"linear1.bias", 0, 0.125},
    {"linear2.weight", 0, 0.125},
    {"linear2.bias", 0, 0.125},
    {"mlp.weight", 0, 0.125},
    {"mlp.bias", 0, 0.125},
};
static const made maple_start[] = {
    {"ctx", 0, 0.1},
    {"proj.weight", 0, 0.125},
    {"proj.bias", 0, 0.125},
    {"compound_prompts_text.0", 0, 0.1},
    {"compound_prompt_projections.0.weight", 0, 0.125},
    {"compound_prompt_projections.0.bias", 0, 0.125},
    {"compound_prompts_text.1", 0, 0.1},
    {"compound_prompt_projections.1.weight", 0, 0.125},
    {"compound_prompt_projections.1.bias", 0, 0.125},
};
static const made reprogram_start[] = {{"program", 0, 2}};

/* Of a gradient with more than eight rows the file holds every eighth. */
static double sampled_error(const ts_weights *w, const char *key, const float *got, int64_t rows, int64_t width)
{
    float *want = golden_f32(w, key);
    const int64_t kept = ts_weights_find(w, key)->count / width, step = kept == rows ? 1 : 8;
    float *picked = malloc((size_t)(kept * width) * sizeof *picked);
    for (int64_t r = 0; r < kept; r++) memcpy(picked + r * width, got + r * step * width, (size_t)width * sizeof *picked);
    const double error = relative_error(picked, want, kept * width);
    free(picked);
    free(want);
    return error;
}

static void check_made(const bench *b, const char *label, const char *method, ts_method_settings settings, const made *list,
                       double lr)
{
    ts_error err = {0};
    float *values = malloc(MAX_FLOATS * sizeof *values);
    ts_weights *expected = ts_weights_open(TS_TESTS_DIR "/golden/prompts.expected.safetensors", &err);
    if (!expected) fail_msg("%s", err.text);
    ts_prompt *p = prompt(b, method, settings);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        assert_string_equal(ts_params_name(p->params, i), list[i].name);
        start((int)i, &list[i], param_count(p, i), values);
        if (!ts_params_write(p->params, i, values, &err)) fail_msg("%s", err.text);
    }
    free(values);
    tuner t = tuner_new(p, b->dev, 3);
    batch d = batch_new(b);
    float *small = malloc((size_t)PICTURES * (size_t)(p->side * p->side * 3) * sizeof *small); /* the top left corners */
    for (int64_t i = 0, row = (int64_t)p->side * 3; i < (int64_t)PICTURES * p->side; i++)
        memcpy(small + i * row, d.pixels + (i / p->side * SIDE + i % p->side) * SIDE * 3, (size_t)row * sizeof *small);
    use(&t, &d);
    t.pixels = small;
    tuner_gradients(&t);
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        int64_t shape[TS_MAX_DIMS];
        char key[128];
        const int ndim = ts_params_shape(p->params, i, shape);
        const int64_t rows = ndim == 1 ? 1 : shape[ndim == 3 && shape[0] == 1];
        snprintf(key, sizeof key, "%s.grad.%s", label, list[i].name);
        double largest = 0;
        for (int64_t k = 0; k < param_count(p, i); k++) largest = fmax(largest, fabs((double)t.grad[i][k]));
        const double error = sampled_error(expected, key, t.grad[i], rows, param_count(p, i) / rows);
        print_message("[   VALUE  ] %s, gradient of %s: relative error %.1e of %.1e\n", label, list[i].name, error, largest);
        if (!(error < 1e-3)) fail_msg("%s: gradient of %s: relative error %g", label, list[i].name, error);
    }
    char key[64];
    snprintf(key, sizeof key, "%s.losses", label);
    float *losses = golden_f32(expected, key);
    check_losses(label, &t, losses, lr);
    free(losses);
    free(small);
    batch_free(&d);
    tuner_free(&t);
    ts_prompt_free(p);
    ts_weights_free(expected);
}

static void check_reference(ts_device *dev)
{
    bench b = bench_new(dev);
    check_made(&b, "upt", "upt", (ts_method_settings){.tokens = 4}, upt_start, 1e-4);
    check_made(&b, "upt_degenerate", "upt", (ts_method_settings){.tokens = 4, .attention = 2}, upt_start, 1e-4);
    check_made(&b, "reprogram", "reprogram", (ts_method_settings){.pixels = 38}, reprogram_start, 0.3);
    check_made(&b, "maple", "maple", (ts_method_settings){0}, maple_start, 1e-4);
    bench_free(&b);
}

static void golden_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_golden(dev);
    ts_device_free(dev);
}

static void golden_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_golden(dev);
}

static void reference_on_host(void **state)
{
    (void)state;
    ts_device *dev = host();
    check_reference(dev);
    ts_device_free(dev);
}

static void reference_on_vulkan(void **state)
{
    (void)state;
    ts_device *dev = test_vulkan(TS_F32);
    if (!dev) skip();
    check_reference(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_on_host),      cmocka_unit_test(reference_on_host),       cmocka_unit_test(golden_on_vulkan),
        cmocka_unit_test(reference_on_vulkan), cmocka_unit_test(check_validation_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
