/* test_weights.c - weights files that are as they should be: every container and element type, and what we write ourselves. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ts_weights *open_small(const char *name)
{
    char path[512];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, name);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

/* Tensors of the same names, shapes and values; `want` holds F64 and I64. */
static void check_same(const ts_weights *got, const ts_weights *want)
{
    assert_int_equal(ts_weights_count(got), ts_weights_count(want));
    for (int64_t i = 0; i < ts_weights_count(want); i++) {
        const ts_weight *b = ts_weights_at(want, i), *a = ts_weights_find(got, b->name);
        if (!a) fail_msg("no tensor %s", b->name);
        assert_int_equal(a->ndim, b->ndim);
        for (int d = 0; d < a->ndim; d++) assert_int_equal(a->shape[d], b->shape[d]);
        assert_int_equal(a->count, b->count);
        size_t n = (size_t)a->count + 1;
        ts_error err = {0};
        if (b->dtype == TS_DT_I64) {
            int64_t *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
            assert_true(ts_weight_to_i64(a, x, &err) && ts_weight_to_i64(b, y, &err));
            for (int64_t k = 0; k < a->count; k++) assert_int_equal(x[k], y[k]);
            free(x);
            free(y);
        }
        double *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
        float *f = malloc(n * sizeof *f);
        assert_true(ts_weight_to_f64(a, x, &err) && ts_weight_to_f64(b, y, &err) && ts_weight_to_f32(a, f, &err));
        for (int64_t k = 0; k < a->count; k++) {
            if (x[k] != y[k] || f[k] != (float)y[k]) fail_msg("%s[%lld] is %g, not %g", a->name, (long long)k, x[k], y[k]);
        }
        free(x);
        free(y);
        free(f);
    }
}

static void element_types_and_views(void **state)
{
    (void)state;
    ts_weights *want = open_small("weights_types.expected.safetensors");
    const char *names[] = {"weights_types.pth", "weights_types_p4.pth"};
    for (int i = 0; i < 2; i++) {
        ts_weights *w = open_small(names[i]);
        assert_int_equal(ts_weights_kind(w), TS_FILE_TORCH_ZIP);
        check_same(w, want);
        assert_int_equal(ts_weights_find(w, "bf16")->dtype, TS_DT_BF16);
        assert_int_equal(ts_weights_find(w, "bool")->dtype, TS_DT_BOOL);
        assert_true(ts_weights_find(w, "rows")->contiguous);
        assert_false(ts_weights_find(w, "transposed")->contiguous);
        assert_ptr_equal(ts_weights_find(w, "shared_b")->data,
                         (const char *)ts_weights_find(w, "shared_a")->data + 4 * sizeof(float));
        assert_null(ts_weights_find(w, "epoch"));
        assert_null(ts_weights_find(w, "args"));
        ts_weights_free(w);
    }
    ts_weights_free(want);
}

static void containers(void **state)
{
    (void)state;
    const struct {
        const char *name;
        ts_file_kind kind;
    } files[] = {
        {"weights_state_dict.ckpt", TS_FILE_TORCH_ZIP}, {"weights_bare.pth", TS_FILE_TORCH_ZIP},
        {"weights_packed.pth", TS_FILE_TORCH_ZIP}, /* data.pkl deflated */
        {"weights_legacy.pth", TS_FILE_TORCH_LEGACY},   {"weights_script.pt", TS_FILE_TORCHSCRIPT},
    };
    ts_weights *want = open_small("weights_tower.expected.safetensors");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ts_weights *w = open_small(files[i].name);
        assert_int_equal(ts_weights_kind(w), files[i].kind);
        check_same(w, want);
        ts_weights_free(w);
    }
    ts_weights_free(want);
}

static void check_spots(const ts_weights *w, const char *name, const int64_t *shape, int ndim, double sum, double at17,
                        double last)
{
    const ts_weight *t = ts_weights_find(w, name);
    assert_non_null(t);
    assert_int_equal(t->ndim, ndim);
    for (int d = 0; d < ndim; d++) assert_int_equal(t->shape[d], shape[d]);
    double *x = malloc((size_t)t->count * sizeof *x), total = 0;
    assert_true(ts_weight_to_f64(t, x, NULL));
    for (int64_t k = 0; k < t->count; k++) total += x[k];
    assert_true(fabs(total - sum) < 1e-9 * fmax(1, fabs(sum)) + 1e-9);
    assert_true(x[17] == at17 && x[t->count - 1] == last);
    ts_weight_release(t);
    assert_true(ts_weight_to_f64(t, x, NULL)); /* released pages come back */
    assert_true(x[17] == at17 && x[t->count - 1] == last);
    free(x);
}

static int64_t count_elements(const ts_weights *w)
{
    int64_t total = 0;
    for (int64_t i = 0; i < ts_weights_count(w); i++) total += ts_weights_at(w, i)->count;
    return total;
}

static void published_mae(void **state)
{
    (void)state;
    ts_weights *w = open_golden("mae_vqgan_tiny.pth");
    assert_int_equal(ts_weights_count(w), 305);
    assert_int_equal(count_elements(w), 3578659);
    assert_string_equal(ts_weights_at(w, 0)->name, "cls_token");
    check_spots(w, "decoder_pred.weight", (int64_t[]){1024, 32}, 2, 22.171547056233976, -0.22517912089824677,
                -0.08884147554636002);
    check_spots(w, "vae.quantize.embedding.weight", (int64_t[]){1024, 32}, 2, 40.43153688975144, -0.041059449315071106,
                -2.5124549865722656);
    ts_weights_free(w);
    w = open_golden("vqgan_tiny.ckpt");
    assert_int_equal(ts_weights_count(w), 245);
    assert_int_equal(count_elements(w), 3366468);
    check_spots(w, "quant_conv.weight", (int64_t[]){32, 32, 1, 1}, 4, -2.2796923971945944, -0.09936143457889557,
                0.06132133677601814);
    ts_weights_free(w);
}

static void published_clip(void **state)
{
    (void)state;
    ts_weights *w = open_golden("clip_tiny.pt"), *hf = open_golden("clip_tiny_hf.safetensors");
    assert_int_equal(ts_weights_kind(w), TS_FILE_TORCHSCRIPT);
    assert_int_equal(ts_weights_count(w), 89);
    check_spots(w, "visual.transformer.resblocks.0.attn.in_proj_weight", (int64_t[]){384, 128}, 2, 11.303061366081238,
                -0.0042266845703125, -0.2213134765625);
    float *a = golden_f32(w, "positional_embedding"), *b = golden_f32(hf, "text_model.embeddings.position_embedding.weight");
    assert_memory_equal(a, b, 77 * 64 * sizeof *a);
    free(a);
    free(b);
    ts_weights_free(w);
    ts_weights_free(hf);
}

static void expected_files(void **state)
{
    (void)state;
    const char *names[] = {"mae_vqgan_tiny.expected.safetensors", "clip_tiny.expected.safetensors", "clip_tiny_hf.safetensors"};
    for (int i = 0; i < 3; i++) {
        ts_weights *w = open_golden(names[i]);
        assert_int_equal(ts_weights_kind(w), TS_FILE_SAFETENSORS);
        for (int64_t k = 0; k < ts_weights_count(w); k++) {
            const ts_weight *t = ts_weights_at(w, k);
            assert_ptr_equal(ts_weights_find(w, t->name), t);
            assert_true(t->contiguous && t->count > 0);
        }
        ts_weights_free(w);
    }
}

/* In bulk, with whatever the processor has, the same bits as one at a time. */
static void half_precision_in_bulk(void **state)
{
    (void)state;
    static uint16_t halves[0x10000 + 3];
    static float floats[0x10000 + 3];
    const int64_t count = 0x10000 + 3;
    for (int64_t i = 0; i < count; i++) halves[i] = (uint16_t)i;
    const ts_weight t = {
        .dtype = TS_DT_F16, .ndim = 1, .shape = {count}, .stride = {1}, .count = count, .contiguous = true, .data = halves};
    assert_true(ts_weight_to_f32(&t, floats, NULL));
    for (int64_t i = 0; i < count; i++) {
        const float one = ts_f16_to_f32(halves[i]);
        assert_memory_equal(&floats[i], &one, sizeof one);
    }
}

static void half_precision(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
        float got = ts_f16_to_f32((uint16_t)h);
        if (exponent == 31 && mantissa) {
            assert_true(isnan(got) && isnan(ts_f16_to_f32(ts_f32_to_f16(got))));
            continue;
        }
        double want = exponent == 31 ? (double)INFINITY
                      : exponent     ? ldexp(1024 + (double)mantissa, (int)exponent - 25)
                                     : ldexp((double)mantissa, -24);
        assert_true((double)got == (h & 0x8000 ? -want : want));
        assert_int_equal(ts_f32_to_f16(got), h);
        if (exponent == 31) continue;
        /* Halfway to the next goes to the even one, a little more goes up, a little less down. */
        double next = exponent == 30 && mantissa == 1023 ? 65536 : (double)fabsf(ts_f16_to_f32((uint16_t)((h & 0x7fff) + 1)));
        float middle = (float)((want + next) / 2);
        uint32_t even = (h & 1) ? (h & 0x7fff) + 1 : h & 0x7fff;
        assert_int_equal(ts_f32_to_f16(middle), even);
        assert_int_equal(ts_f32_to_f16(nextafterf(middle, 1e9F)), (h & 0x7fff) + 1);
        assert_int_equal(ts_f32_to_f16(nextafterf(middle, 0)), h & 0x7fff);
    }
    assert_int_equal(ts_f32_to_f16(1e9F), 0x7c00);
    assert_int_equal(ts_f32_to_f16(-1e-9F), 0x8000);
}

static void write_and_read_back(void **state)
{
    (void)state;
    char path[600], plain[600];
    ts_error err = {0};
    const uint8_t bytes[3] = {1, 2, 3};
    const float reals[4] = {1, -2.5F, 3e-5F, 65504};
    snprintf(path, sizeof path, "%s/out.safetensors", temp_dir());
    snprintf(plain, sizeof plain, "%s/plain", temp_dir());
    ts_weights *types = open_small("weights_types.pth");
    ts_weights_writer *writer = ts_weights_writer_new();
    assert_true(ts_weights_writer_meta(writer, "heads", "16", &err));
    assert_true(ts_weights_writer_meta(writer, "heads", "12", &err));
    assert_true(ts_weights_writer_meta(writer, "note", "a \"quoted\"\nline", &err));
    assert_true(ts_weights_writer_add(writer, "odd bytes", TS_DT_U8, 1, (int64_t[]){3}, bytes, &err));
    assert_true(ts_weights_writer_add(writer, "reals", TS_DT_F32, 2, (int64_t[]){2, 2}, reals, &err));
    assert_true(ts_weights_writer_add(writer, "none", TS_DT_F32, 2, (int64_t[]){0, 2}, NULL, &err));
    for (int64_t i = 0; i < ts_weights_count(types); i++) {
        const ts_weight *t = ts_weights_at(types, i);
        assert_true(ts_weights_writer_add_weight(writer, t, t->dtype, &err));
    }
    assert_false(ts_weights_writer_add(writer, "reals", TS_DT_F32, 1, (int64_t[]){1}, reals, &err));
    assert_non_null(strstr(err.text, "twice"));
    err = (ts_error){0};
    assert_false(ts_weights_writer_add_weight(writer, ts_weights_find(types, "f32"), TS_DT_I64, &err));
    err = (ts_error){0};
    if (!ts_weights_writer_save(writer, path, &err)) fail_msg("%s", err.text);
    if (!ts_weights_writer_save(writer, path, &err)) fail_msg("%s", err.text); /* over itself */
    ts_weights_writer_free(writer);

    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    assert_int_equal(ts_weights_meta_count(w), 2);
    assert_string_equal(ts_weights_meta(w, "heads"), "12");
    assert_string_equal(ts_weights_meta(w, "note"), "a \"quoted\"\nline");
    assert_null(ts_weights_meta(w, "absent"));
    assert_memory_equal(ts_weights_find(w, "odd bytes")->data, bytes, 3);
    assert_memory_equal(ts_weights_find(w, "reals")->data, reals, sizeof reals);
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        assert_int_equal((uintptr_t)t->data % (uintptr_t)ts_dtype_size(t->dtype), 0);
        const ts_weight *from = ts_weights_find(types, t->name);
        if (!from) continue;
        double x[64], y[64];
        assert_true(t->count <= 64 && t->dtype == from->dtype);
        assert_true(ts_weight_to_f64(t, x, &err) && ts_weight_to_f64(from, y, &err));
        if (t->count) assert_memory_equal(x, y, (size_t)t->count * sizeof *x);
    }
    ts_weights_free(w);
    ts_weights_free(types);

    assert_true(ts_file_write(plain, "abc", 3, &err) && ts_file_write(plain, "de", 2, &err));
    struct stat st;
    assert_int_equal(stat(plain, &st), 0);
    assert_int_equal(st.st_size, 2);
    assert_int_equal(st.st_mode & 0600, 0600);
    unlink(plain);
    unlink(path);
}

static void write_converted(void **state)
{
    (void)state;
    char path[600];
    ts_error err = {0};
    snprintf(path, sizeof path, "%s/converted.safetensors", temp_dir());
    ts_weights *types = open_small("weights_types.pth");
    const struct {
        const char *name;
        ts_dtype to;
        double tolerance; /* relative */
    } cases[] = {{"transposed", TS_DT_F16, 0x1p-11},
                 {"f32", TS_DT_BF16, 0x1p-8},
                 {"half_transposed", TS_DT_F32, 0},
                 {"i8", TS_DT_F32, 0},
                 {"bf16", TS_DT_F64, 0},
                 {"double_transposed", TS_DT_F32, 0x1p-24}};
    ts_weights_writer *writer = ts_weights_writer_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(ts_weights_writer_add_weight(writer, ts_weights_find(types, cases[i].name), cases[i].to, &err));
    if (!ts_weights_writer_save(writer, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(writer);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ts_weight *a = ts_weights_find(w, cases[i].name), *b = ts_weights_find(types, cases[i].name);
        double x[64], y[64];
        assert_int_equal(a->dtype, cases[i].to);
        assert_true(ts_weight_to_f64(a, x, &err) && ts_weight_to_f64(b, y, &err));
        for (int64_t k = 0; k < a->count; k++) assert_true(fabs(x[k] - y[k]) <= cases[i].tolerance * fabs(y[k]));
    }
    ts_weights_free(w);
    ts_weights_free(types);
    unlink(path);
}

/* ---- numbers that are none ---- */

/* One value of each dtype is made NaN or infinite, in a tensor that is large enough for several threads. */
static void test_finite(void **state)
{
    (void)state;
    enum { COUNT = 300000 };
    static const ts_dtype types[] = {TS_DT_F32, TS_DT_F16, TS_DT_BF16, TS_DT_F64};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float *values = calloc(COUNT, sizeof *values);
    assert_non_null(values);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        for (int b = 0; b < 4; b++) {
            ts_error err = {0};
            char path[256];
            values[COUNT - 1] = b < 3 ? bad[b] : 65504.0f; /* the largest of fp16 is a number */
            values[7] = b == 0 ? NAN : -1e-7f;
            ts_weights_writer *plain = ts_weights_writer_new();
            assert_true(ts_weights_writer_add(plain, "x", TS_DT_F32, 1, (int64_t[]){COUNT}, values, &err));
            snprintf(path, sizeof path, "%s/plain.safetensors", temp_dir());
            assert_true(ts_weights_writer_save(plain, path, &err));
            ts_weights_writer_free(plain);
            ts_weights *w = ts_weights_open(path, &err);
            assert_non_null(w);
            ts_weights_writer *out = ts_weights_writer_new();
            const ts_weight *t = ts_weights_at(w, 0);
            assert_true(ts_weights_writer_add_weight_as(out, "causal_mask", t, types[k], &err) &&
                        ts_weights_writer_add_weight_as(out, "layer", t, types[k], &err) &&
                        ts_weights_writer_add_weight_as(out, "other", t, types[k], &err));
            snprintf(path, sizeof path, "%s/typed.safetensors", temp_dir());
            assert_true(ts_weights_writer_save(out, path, &err));
            ts_weights_writer_free(out);
            ts_weights_free(w);
            w = ts_weights_open(path, &err);
            assert_non_null(w);
            const bool ok = ts_weights_check_finite(w, &err);
            assert_int_equal(ok, b == 3);
            if (!ok &&
                !strstr(err.text, b == 0 ? "tensor layer holds 2 values that are no numbers (NaN or infinite), and 1 further "
                                           "tensor does"
                                         : "tensor layer holds 1 value that is no number"))
                fail_msg("%s", err.text);
            ts_weights_free(w);
        }
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finite),     cmocka_unit_test(element_types_and_views), cmocka_unit_test(containers),
        cmocka_unit_test(published_mae),   cmocka_unit_test(published_clip),          cmocka_unit_test(expected_files),
        cmocka_unit_test(half_precision),  cmocka_unit_test(half_precision_in_bulk),  cmocka_unit_test(write_and_read_back),
        cmocka_unit_test(write_converted),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
