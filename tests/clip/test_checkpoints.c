/* test_checkpoints.c - prompt methods by name: checkpoints as others write them, settings, and what every method says of itself.
 */
#include "../support/prompt_bench.h"
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checkpoints as others write them ---- */

static void check_checkpoint(const bench *b, const char *file, const char *method, int params, double tolerance)
{
    ts_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, file);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    ts_method_settings settings;
    const ts_method *m = ts_method_of_weights(w, &settings, &err);
    if (!m) fail_msg("%s", err.text);
    assert_string_equal(m->name, method);
    ts_prompt_desc desc = {.method = m,
                           .settings = settings,
                           .clip = b->clip,
                           .tokenizer = b->tokenizer,
                           .names = class_names,
                           .classes = CLASSES,
                           .weights = w};
    ts_prompt *p = ts_prompt_new(&desc, &err);
    if (!p) fail_msg("%s", err.text);
    assert_int_equal(ts_params_count(p->params), params);
    for (int64_t i = 0; i < params; i++) {
        int64_t shape[TS_MAX_DIMS];
        const int64_t count = param_count(p, i);
        float *got = malloc((size_t)count * sizeof *got), *want = malloc((size_t)count * sizeof *want);
        if (!ts_params_read(p->params, i, got, &err)) fail_msg("%s", err.text);
        start((int)i, &(made){.bound = 1}, count, want);
        if (ts_params_shape(p->params, i, shape) == 3) {
            float *pixels = planes_to_pixels(want, shape[0], shape[1]);
            free(want);
            want = pixels;
        }
        assert_true(relative_error(got, want, count) < tolerance);
        free(got);
        free(want);
    }
    ts_prompt_free(p);
    desc.settings.context = desc.settings.pixels = 7; /* other than the file's */
    assert_null(ts_prompt_new(&desc, &err));
    assert_int_equal(err.code, TS_ERR_SHAPE);
    err = (ts_error){0};
    desc.method = ts_method_find("vpt-deep", &err);
    assert_null(ts_prompt_new(&desc, &err));
    assert_non_null(strstr(err.text, "has no prompt_embeddings"));
    ts_weights_free(w);
}

static void checkpoints(void **state)
{
    (void)state;
    ts_device *dev = host();
    bench b = bench_new(dev);
    check_checkpoint(&b, "prompt_coop.pth.tar", "coop", 1, 1e-6);
    check_checkpoint(&b, "prompt_cocoop.pth.tar", "cocoop", 5, 1e-6);
    check_checkpoint(&b, "prompt_vp.pth.tar", "vp-padding", 4, 1e-6);
    check_checkpoint(&b, "prompt_maple.pth.tar", "maple", 9, 1e-3); /* in half precision */
    ts_error err = {0};
    ts_method_settings settings;
    assert_null(ts_method_of_weights(b.model, &settings, &err));
    bench_free(&b);
    ts_device_free(dev);
}

/* A prompt that went wrong would answer every question with NaN. */
static void not_finite(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    float ctx[4 * 64] = {[77] = NAN};
    char path[512];
    snprintf(path, sizeof path, "%s/nan.safetensors", temp_dir());
    ts_weights_writer *out = ts_weights_writer_new();
    if (!ts_weights_writer_add(out, "ctx", TS_DT_F32, 2, (int64_t[]){4, 64}, ctx, &err) ||
        !ts_weights_writer_save(out, path, &err))
        fail_msg("%s", err.text);
    ts_weights_writer_free(out);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    assert_null(ts_clip_prompt_open(b.clip, b.tokenizer, w, class_names, CLASSES, false, &err));
    if (!strstr(err.text, "ctx holds what is not a finite number")) fail_msg("%s", err.text);
    ts_weights_free(w);
    bench_free(&b);
    ts_device_free(dev);
}

/* ---- settings ---- */

static void settings(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_method_settings s = {0};
    char text[300];
    const ts_method *coop = ts_method_find("coop", &err), *upt = ts_method_find("upt", &err);
    assert_null(ts_method_find("copo", &err));
    assert_non_null(strstr(err.text, "coop, cocoop"));
    int count;
    const ts_method_setting *list = ts_method_setting_list(&count);
    for (int i = 0; i < count; i++) assert_false(ts_method_setting_text(&s, list[i].key, text, sizeof text));
    assert_true(ts_method_setting_set(coop, &s, "context", "8", &err));
    assert_true(ts_method_setting_set(coop, &s, "per-class", "yes", &err));
    assert_true(ts_method_setting_set(coop, &s, "position", "middle", &err));
    assert_true(ts_method_setting_set(coop, &s, "words", "a photo", &err));
    assert_true(ts_method_setting_set(upt, &s, "attention", "degenerate", &err));
    static const char *const want[][2] = {
        {"context", "8"}, {"per-class", "yes"}, {"position", "middle"}, {"words", "a photo"}, {"attention", "degenerate"}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(ts_method_setting_text(&s, want[i][0], text, sizeof text));
        assert_string_equal(text, want[i][1]);
    }
    static const struct {
        const char *key, *value, *says;
    } bad[] = {{"tokens", "4", "has no setting"},
               {"context", "0", "from 1 to"},
               {"context", "8x", "from 1 to"},
               {"context", "99999999999999999999", "from 1 to"},
               {"position", "left", "end, middle or front"},
               {"per-class", "maybe", "yes or no"},
               {"text", "x", "has no setting"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (ts_error){0};
        assert_false(ts_method_setting_set(coop, &s, bad[i].key, bad[i].value, &err));
        if (!strstr(err.text, bad[i].says)) fail_msg("%s", err.text);
    }
}

/* Every method can be made with its own settings, trains something, and has all it needs said. */
static void every_method(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *dev = host();
    bench b = bench_new(dev);
    uint8_t *rgb = malloc((size_t)SIDE * SIDE * 3);
    for (int i = 0; ts_method_at(i); i++) {
        const ts_method *m = ts_method_at(i);
        assert_true(m->about && m->settings && m->recipe.lr > 0 && m->recipe.batch > 0 && ts_recipe_epochs(&m->recipe, 16) > 0);
        assert_true(m->images || m->classes);
        assert_true(!m->classes == (m->text != NULL));
        ts_prompt *p = prompt(&b, m->name, (ts_method_settings){0});
        assert_true(ts_params_count(p->params) > 0);
        if (m->picture && !m->picture(p, rgb, &err)) fail_msg("%s", err.text);
        ts_prompt_free(p);
    }
    free(rgb);
    bench_free(&b);
    ts_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(settings), cmocka_unit_test(every_method), cmocka_unit_test(checkpoints),
                                       cmocka_unit_test(not_finite)};
    return cmocka_run_group_tests_name("checkpoints", tests, NULL, NULL);
}
