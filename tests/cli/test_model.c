/* test_model.c - `tessera model`: what it tells of a file, and that a converted file is the same model. */
#include "../support/program.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static cJSON *json_of(program_result r)
{
    if (r.status != 0) fail_msg("status %d: %s", r.status, r.err);
    cJSON *o = cJSON_Parse(r.out);
    if (!cJSON_IsObject(o)) fail_msg("no JSON object: %s", r.out);
    program_free(&r);
    return o;
}

static double number(const cJSON *o, const char *part, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(part ? cJSON_GetObjectItem(o, part) : o, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number %s", key);
    return item->valuedouble;
}

static void info(void **state)
{
    (void)state;
    cJSON *o = json_of(program_run("model", "info", random_model(), "--json", "--tensors", NULL));
    assert_string_equal(cJSON_GetObjectItem(o, "model")->valuestring, "MAE-VQGAN");
    assert_string_equal(cJSON_GetObjectItem(o, "container")->valuestring, "safetensors");
    assert_int_equal(number(o, "mae", "canvas"), 64);
    assert_int_equal(number(o, "mae", "patch"), 16);
    assert_true(number(o, "mae", "heads") >= 1);
    assert_int_equal(number(o, "vqgan", "factor"), 16);
    assert_int_equal(number(o, "dtypes", "F32"), number(o, NULL, "parameters"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o, "list")), number(o, NULL, "tensors"));
    assert_non_null(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "metadata"), "heads"));
    cJSON_Delete(o);
    program_result r = program_run("model", "info", random_model(), "--tensors", NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "MAE-VQGAN"));
    assert_non_null(strstr(r.out, "heads = "));
    assert_non_null(strstr(r.out, " pos_embed\n"));
    program_free(&r);
}

/* The golden checkpoint's container tells no heads. */
static void info_golden(void **state)
{
    (void)state;
    ts_weights_free(open_golden("mae_vqgan_tiny.pth"));
    cJSON *o = json_of(program_run("model", "info", TS_GOLDEN_DIR "/mae_vqgan_tiny.pth", "--json", NULL));
    assert_string_equal(cJSON_GetObjectItem(o, "container")->valuestring, "PyTorch checkpoint");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(o, "mae"), "heads")));
    cJSON_Delete(o);
    assert_refused(program_run("model", "convert", TS_GOLDEN_DIR "/mae_vqgan_tiny.pth", temp_path("no.safetensors"), NULL), 1,
                   "--heads");
    assert_false(file_exists(temp_path("no.safetensors")));
    const char *out = temp_path("golden.safetensors");
    program_result r =
        program_run("model", "convert", TS_GOLDEN_DIR "/mae_vqgan_tiny.pth", out, "--heads", "4", "--decoder-heads", "4", NULL);
    if (r.status != 0) fail_msg("%s", r.err);
    program_free(&r);
    o = json_of(program_run("model", "info", out, "--json", NULL));
    assert_int_equal(number(o, "mae", "heads"), 4);
    assert_int_equal(number(o, "mae", "decoder_heads"), 4);
    cJSON_Delete(o);
    r = program_run("model", "check", out, NULL);
    assert_int_equal(r.status, 0);
    program_free(&r);
}

/* In fp32 every tensor is what it was; in fp16 it is that, rounded. */
static void convert(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *from = ts_weights_open(random_model(), &err);
    if (!from) fail_msg("%s", err.text);
    for (int half = 0; half < 2; half++) {
        const char *out = temp_path(half ? "half.safetensors" : "whole.safetensors");
        program_result r = program_run("model", "convert", random_model(), out, "--dtype", half ? "fp16" : "fp32", NULL);
        if (r.status != 0) fail_msg("%s", r.err);
        program_free(&r);
        ts_weights *to = ts_weights_open(out, &err);
        if (!to) fail_msg("%s", err.text);
        assert_int_equal(ts_weights_count(to), ts_weights_count(from));
        assert_string_equal(ts_weights_meta(to, "heads"), ts_weights_meta(from, "heads"));
        for (int64_t i = 0; i < ts_weights_count(from); i++) {
            const ts_weight *a = ts_weights_at(from, i), *b = ts_weights_find(to, a->name);
            assert_non_null(b);
            assert_int_equal(b->dtype, half ? TS_DT_F16 : TS_DT_F32);
            assert_int_equal(a->count, b->count);
            float *x = malloc((size_t)a->count * 4), *y = malloc((size_t)a->count * 4);
            assert_true(ts_weight_to_f32(a, x, &err) && ts_weight_to_f32(b, y, &err));
            if (half)
                for (int64_t k = 0; k < a->count; k++) x[k] = ts_f16_to_f32(ts_f32_to_f16(x[k]));
            assert_memory_equal(x, y, (size_t)a->count * 4);
            free(x);
            free(y);
        }
        ts_weights_free(to);
    }
    ts_weights_free(from);
}

/* Another VQGAN goes in: its tensors under "vae.", the autoencoder's as they were. */
static void puts_a_vqgan_in(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_weights *mae = open_golden("mae_vqgan_tiny.pth"), *vqgan = open_golden("vqgan_tiny.ckpt");
    const char *out = temp_path("put_in.safetensors"), *in = TS_GOLDEN_DIR "/mae_vqgan_tiny.pth",
               *other = TS_GOLDEN_DIR "/vqgan_tiny.ckpt";
    cJSON *o = json_of(
        program_run("model", "convert", in, out, "--heads", "4", "--decoder-heads", "4", "--vqgan", other, "--json", NULL));
    ts_weights *made = ts_weights_open(out, &err);
    if (!made) fail_msg("%s", err.text);
    assert_int_equal(cJSON_GetNumberValue(cJSON_GetObjectItem(o, "tensors")), ts_weights_count(made));
    assert_string_equal(ts_weights_meta(made, "vqgan_groups"), "32");
    for (int64_t i = 0; i < ts_weights_count(made); i++) {
        const ts_weight *t = ts_weights_at(made, i);
        const bool own = strncmp(t->name, "vae.", 4) == 0;
        float *have = golden_f32(made, t->name), *want = golden_f32(own ? vqgan : mae, own ? t->name + 4 : t->name);
        assert_memory_equal(have, want, (size_t)t->count * sizeof *have);
        free(have);
        free(want);
    }
    assert_non_null(ts_weights_find(made, "vae.decoder.conv_out.weight"));
    program_result r = program_run("model", "check", out, NULL);
    assert_int_equal(r.status, 0);
    program_free(&r);
    const char *no = temp_path("no_vqgan.safetensors");
    assert_refused(program_run("model", "convert", other, no, "--vqgan", other, NULL), 1, "no masked autoencoder");
    assert_refused(
        program_run("model", "convert", in, no, "--heads", "4", "--decoder-heads", "4", "--vqgan", random_model(), NULL), 1,
        "predicts 1024 codes");
    assert_refused(program_run("model", "convert", in, out, "--heads", "4", "--decoder-heads", "4", "--vqgan", out, NULL), 1,
                   "would overwrite");
    assert_false(file_exists(no));
    cJSON_Delete(o);
    ts_weights_free(made);
    ts_weights_free(mae);
    ts_weights_free(vqgan);
}

static void check(void **state)
{
    (void)state;
    cJSON *o = json_of(program_run("model", "check", random_model(), "--json", NULL));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "whole")));
    cJSON_Delete(o);
    const char *text = temp_path("text.pth");
    write_text(text, "no weights here");
    assert_refused(program_run("model", "check", text, NULL), 1, "text.pth");
    program_result r = program_run("model", "check", text, "--json", NULL);
    assert_int_equal(r.status, 1);
    o = cJSON_Parse(r.out);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(o, "whole")));
    cJSON_Delete(o);
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    assert_refused(program_run("model", "convert", random_model(), random_model(), NULL), 1, "would overwrite");
    assert_refused(program_run("model", "convert", random_model(), temp_path("no/where.safetensors"), NULL), 1, "no/where");
    assert_refused(program_run("model", "convert", temp_path("absent.pth"), temp_path("x.safetensors"), NULL), 1, "absent.pth");
    assert_false(file_exists(temp_path("x.safetensors")));
    assert_refused(program_run("model", "random", temp_path("no/where.safetensors"), NULL), 1, "no/where");
    assert_refused(program_run("model", "info", temp_dir(), NULL), 1, temp_dir());
}

/* `model random`: the same seed gives the same file, another another, and it is a whole model that says what it is. */
static void random_weights(void **state)
{
    (void)state;
    unsigned char *bytes[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        const char *out = temp_path("random%d", i);
        program_result r = program_run("model", "random", out, "--seed", i < 2 ? "7" : "8", NULL);
        if (r.status != 0) fail_msg("%s", r.err);
        program_free(&r);
        bytes[i] = read_bytes(out, &size[i]);
    }
    assert_int_equal(size[0], size[1]);
    assert_int_equal(size[0], size[2]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    assert_memory_not_equal(bytes[0], bytes[2], size[0]);
    for (int i = 0; i < 3; i++) free(bytes[i]);
    program_result r = program_run("model", "check", temp_path("random0"), NULL);
    assert_int_equal(r.status, 0);
    program_free(&r);
    r = program_run("model", "info", temp_path("random0"), NULL);
    assert_non_null(strstr(r.out, "random weights"));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(info),          cmocka_unit_test(info_golden),
                                       cmocka_unit_test(convert),       cmocka_unit_test(puts_a_vqgan_in),
                                       cmocka_unit_test(check),         cmocka_unit_test(refusals),
                                       cmocka_unit_test(random_weights)};
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
