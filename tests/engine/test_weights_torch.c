/* test_weights_torch.c - checkpoints as they lie about: PyTorch's formats before release 1.6, written here byte by byte, the keys
 * that training programs keep a model under, and what they put before its names. */
#include "../support/make_zip.h"
#include "../support/support.h"
#include "engine/weights/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that grow. */
typedef struct {
    uint8_t bytes[1 << 15];
    size_t size;
} buffer;

static void put(buffer *b, const void *bytes, size_t size)
{
    assert_true(b->size + size <= sizeof b->bytes);
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

static void put_text(buffer *b, const char *text)
{
    put(b, text, strlen(text));
}

static void put_word(buffer *b, uint64_t word)
{
    for (int i = 0; i < 8; i++) put(b, &(uint8_t){(uint8_t)(word >> (8 * i))}, 1);
}

/* From a block of exactly their size, so that the address sanitizer sees a read beyond them. */
static ts_weights *open_bytes(const void *bytes, size_t size, ts_error *err)
{
    static void *exact;
    free(exact);
    exact = malloc(size ? size : 1);
    memcpy(exact, bytes, size);
    return ts_weights_open_memory(exact, size, "bad.pth", err);
}

static void refuse(const buffer *b, const char *words)
{
    ts_error err = {0};
    ts_weights *w = open_bytes(b->bytes, b->size, &err);
    if (w) fail_msg("accepted; '%s' was expected", words);
    if (!strstr(err.text, words) || !strstr(err.text, "bad.pth") || strchr(err.text, '\n'))
        fail_msg("'%s' was expected, not: %s", words, err.text);
}

static ts_weights *accept(const buffer *b)
{
    ts_error err = {0};
    ts_weights *w = open_bytes(b->bytes, b->size, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static void check_values(const ts_weights *w, const char *name, int count, const float *want)
{
    float got[16];
    const ts_weight *t = ts_weights_find(w, name);
    if (!t || t->count != count) {
        fail_msg("no tensor %s of %d", name, count);
        return;
    }
    assert_true(ts_weight_to_f32(t, got, NULL));
    assert_memory_equal(got, want, (size_t)count * sizeof *want);
}

/* ---- before 1.6 ------------------------------------------------------------------------------------------------- */

static const float four[4] = {1, 2, 3, 4};

#define STORAGE(type, key, count, view) "((S'storage'\nctorch\n" type "\nS'" key "'\nS'cpu'\nI" count "\n" view "tQ"
#define TENSOR(storage, rest)           "ctorch._utils\n_rebuild_tensor_v2\n" storage rest "I00\nNtR"
#define MATRIX                          "I0\n(I2\nI2\nt(I1\nI2\nt"
#define GOOD                            "(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "N"), MATRIX) "d."
#define MAGIC                           "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

static void start(buffer *b, const char *version, const char *machine)
{
    b->size = 0;
    put_text(b, MAGIC);
    put_text(b, version);
    put_text(b, machine);
}

/* A file of this object, with the keys' list and a storage of `count` floats, of which four are there. */
static const buffer *legacy(const char *object, const char *keys, uint64_t count)
{
    static buffer b;
    start(&b, "I1001\n.", "(S'little_endian'\nI01\nd.");
    put_text(&b, object);
    put_text(&b, keys);
    put_word(&b, count);
    put(&b, four, sizeof four);
    return &b;
}

static void old_format(void **state)
{
    (void)state;
    const buffer *b = legacy(GOOD, "(lS'7'\na.", 4);
    ts_weights *w = accept(b);
    assert_int_equal(ts_weights_kind(w), TS_FILE_TORCH_LEGACY);
    check_values(w, "w", 4, (float[]){1, 3, 2, 4});
    ts_weights_free(w);

    /* Views of a storage: elements 1 and 2 of it, and one that begins outside. */
    w = accept(legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "(S'8'\nI1\nI2\nt"), "I0\n(I2\nt(I1\nt") "d.",
                      "(lS'7'\na.", 4));
    check_values(w, "w", 2, (float[]){2, 3});
    ts_weights_free(w);
    refuse(
        legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "(S'8'\nI3\nI2\nt"), "I0\n(I2\nt(I1\nt") "d.", "(lS'7'\na.", 4),
        "a view of what is not in its storage");
    refuse(
        legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "(S'8'\nI1\nI9223372036854775807\nt"), "I0\n(I2\nt(I1\nt") "d.",
               "(lS'7'\na.", 4),
        "a view of what is not in its storage");

    /* What releases before 0.4 wrote: a Parameter around torch.FloatTensor, its four parts as state. */
    w = accept(legacy("(S'w'\nctorch.nn.parameter\nParameter\n(ctorch\nFloatTensor\n(tR("
                      "(S'storage'\nctorch\nFloatStorage\nS'7'\nS'cpu'\nI4\nNtQ" MATRIX "tbI01\ntRd.",
                      "(lS'7'\na.", 4));
    check_values(w, "w", 4, (float[]){1, 3, 2, 4});
    ts_weights_free(w);
    w = accept(legacy("(S'w'\nctorch.autograd.variable\nVariable\n(tR(ctorch\nFloatTensor\n(tR("
                      "(S'storage'\nctorch\nFloatStorage\nS'7'\nS'cpu'\nI4\nNtQ" MATRIX "tbNNNNtbd.",
                      "(lS'7'\na.", 4));
    check_values(w, "w", 4, (float[]){1, 3, 2, 4});
    ts_weights_free(w);
}

static void old_format_broken(void **state)
{
    (void)state;
    static buffer b;
    const buffer *whole = legacy(GOOD, "(lS'7'\na.", 4);
    for (size_t size = 16; size < whole->size; size++) {
        ts_error err = {0};
        assert_null(open_bytes(whole->bytes, size, &err));
        if (!strstr(err.text, "truncated") && !strstr(err.text, "ends in the middle") && !strstr(err.text, "line without an end"))
            fail_msg("%zu bytes: %s", size, err.text);
    }
    refuse(legacy(GOOD, "(lS'7'\na.", 5), "has 5 elements, its tensors say 4");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4611686018427387905", "N"), MATRIX) "d.", "(lS'7'\na.",
                  4611686018427387905U),
           "truncated");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "5", "N"), MATRIX) "d.", "(lS'7'\na.", 5), "truncated");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "-4", "N"), MATRIX) "d.", "(lS'7'\na.", 4), "no tensor names");
    refuse(legacy(GOOD, "(lS'8'\na.", 4), "no tensor names");
    refuse(legacy(GOOD, "(l.", 4), "('7') is not in the file");
    refuse(legacy(GOOD, "I5\n.", 4), "list of its storages is none");
    refuse(legacy(GOOD, "(lS'7'\naS'7'\na.", 4), "which it had before");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "N"), "I1\n(I2\nI2\nt(I1\nI2\nt") "d.", "(lS'7'\na.", 4),
           "outside its storage");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("FunnyStorage", "7", "4", "N"), MATRIX) "d.", "(lS'7'\na.", 4),
           "unknown type (FunnyStorage)");
    refuse(legacy("(S'w'\n" TENSOR(STORAGE("ComplexFloatStorage", "7", "2", "N"), "I0\n(I2\nt(I1\nt") "d.", "(lS'7'\na.", 2),
           "unsupported type (ComplexFloatStorage)");
    refuse(legacy("(S'a'\n" TENSOR(STORAGE("FloatStorage", "7", "4", "N"),
                                   MATRIX) "S'b'\n" TENSOR(STORAGE("DoubleStorage", "7", "4", "N"), MATRIX) "d.",
                  "(lS'7'\na.", 4),
           "named with two sizes");
    refuse(legacy("cos\nsystem\n(S'true'\ntR.", "(lS'7'\na.", 4), "no tensor names");
    start(&b, "I1001\n.", "(S'little_endian'\nI00\nd.");
    refuse(&b, "big-endian");
    start(&b, "I1002\n.", "(d.");
    refuse(&b, "another version than 1001");
}

/* ---- before 0.1.10 ------------------------------------------------------------------------------------------------ */

static void put_member(buffer *b, const char *name, const buffer *content, size_t claimed)
{
    uint8_t header[512] = {0};
    snprintf((char *)header, 100, "%s", name);
    snprintf((char *)header + 124, 12, "%011zo", claimed == SIZE_MAX ? content->size : claimed);
    snprintf((char *)header + 257, 6, "ustar");
    put(b, header, sizeof header);
    put(b, content->bytes, content->size);
    while (b->size % 512) put(b, "", 1);
}

static buffer *new_buffer(void)
{
    return calloc(1, sizeof(buffer));
}

typedef struct {
    const char *views, *object, *tensor; /* tensor: (key, storage, type) */
    uint64_t elements, ndim, stride, offset;
    size_t claimed; /* size of the member `storages` */
} tar_desc;

static buffer *tar(tar_desc d)
{
    buffer *b = new_buffer(), *storages = new_buffer(), *tensors = new_buffer(), *pickle = new_buffer();
    put_text(storages, "I1\n.(I70\nS'cpu'\nctorch\nFloatStorage\nt.");
    put_word(storages, d.elements ? d.elements : 4);
    put(storages, four, sizeof four);
    put_text(storages, d.views ? d.views : "(l.");
    put_text(tensors, "I1\n.");
    put_text(tensors, d.tensor ? d.tensor : "(I90\nI70\nctorch\nFloatTensor\nt.");
    put_word(tensors, d.ndim ? d.ndim : 1);
    put_word(tensors, 2);
    put_word(tensors, d.stride ? d.stride : 2);
    put_word(tensors, d.offset);
    put_text(pickle, d.object ? d.object : "(S'w'\nP90\nd.");
    put_member(b, "storages", storages, d.claimed ? d.claimed : SIZE_MAX);
    put_member(b, "tensors", tensors, SIZE_MAX);
    put_member(b, "pickle", pickle, SIZE_MAX);
    free(storages);
    free(tensors);
    free(pickle);
    return b;
}

static void refuse_tar(tar_desc d, const char *words)
{
    buffer *b = tar(d);
    refuse(b, words);
    free(b);
}

static void older_tar(void **state)
{
    (void)state;
    buffer *b = tar((tar_desc){0});
    ts_weights *w = accept(b);
    assert_int_equal(ts_weights_kind(w), TS_FILE_TORCH_LEGACY);
    check_values(w, "w", 2, (float[]){1, 3});
    ts_weights_free(w);
    free(b);
    b = tar((tar_desc){.views = "(l(I71\nI70\nI1\nI3\nta.", .tensor = "(I90\nI71\nctorch\nFloatTensor\nt."});
    w = accept(b);
    check_values(w, "w", 2, (float[]){2, 4});
    ts_weights_free(w);
    for (size_t size = 1; size < b->size; size += 37) {
        ts_error err = {0};
        ts_weights *cut = open_bytes(b->bytes, size, &err);
        assert_true(cut || err.text[0]);
        ts_weights_free(cut);
    }
    free(b);
    refuse_tar((tar_desc){.elements = 5000}, "ends outside the archive's member");
    refuse_tar((tar_desc){.elements = 1ULL << 62}, "ends outside the archive's member");
    refuse_tar((tar_desc){.elements = UINT64_MAX}, "ends outside the archive's member");
    refuse_tar((tar_desc){.ndim = 9}, "more than 8 dimensions");
    refuse_tar((tar_desc){.ndim = 2}, "ends in the middle of a number");
    refuse_tar((tar_desc){.stride = 4}, "outside its storage");
    refuse_tar((tar_desc){.stride = UINT64_MAX}, "stride of a tensor is below 0");
    refuse_tar((tar_desc){.offset = 3}, "outside its storage");
    refuse_tar((tar_desc){.offset = INT64_MAX}, "outside its storage");
    refuse_tar((tar_desc){.views = "(l(I71\nI70\nI3\nI3\nta."}, "reaches outside its storage");
    refuse_tar((tar_desc){.views = "(l(I70\nI70\nI0\nI3\nta."}, "two storages have one key");
    refuse_tar((tar_desc){.views = "I3\n."}, "the list of views is none");
    refuse_tar((tar_desc){.tensor = "(I90\nI75\nctorch\nFloatTensor\nt."}, "is not in the archive");
    refuse_tar((tar_desc){.object = "(S'w'\nP91\nd."}, "is not in the archive");
    refuse_tar((tar_desc){.object = "(S'w'\nI90\nd."}, "no tensors");
}

/* ---- containers and prefixes --------------------------------------------------------------------------------------- */

#define T0             TENSOR(STORAGE("FloatStorage", "0", "4", "N"), "I0\n(I2\nt(I1\nt")
#define T2             TENSOR(STORAGE("FloatStorage", "0", "4", "N"), "I2\n(I2\nt(I1\nt")
#define NAMED(name, t) "S'" name "'\n" t

static ts_weights *open_pickle(const char *pickle, ts_error *err)
{
    static zip_maker z;
    z = (zip_maker){0};
    zip_add(&z, "a/data.pkl", pickle, strlen(pickle), SIZE_MAX);
    zip_add(&z, "a/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(&z);
    return open_bytes(z.bytes, z.size, err);
}

static void containers_and_prefixes(void **state)
{
    (void)state;
    /* Each gives "a.weight" as 3, 4. */
    static const struct {
        const char *pickle;
        bool note;
    } cases[] = {
        {"(" NAMED("a.weight", T2) "d.", false},
        {"(" NAMED("module.a.weight", T2) "d.", false},
        {"(" NAMED("_orig_mod.a.weight", T2) "d.", false},
        {"(" NAMED("model.a.weight", T2) "d.", false},
        {"(" NAMED("module._orig_mod.model.a.weight", T2) NAMED("module._orig_mod.model.b", T0) "d.", false},
        {"(" NAMED("model.module.a.weight", T2) NAMED("n_averaged", T0) "d.", false},
        {"(" NAMED("a.module.weight", T2) "d.", false}, /* a part was wrapped by itself */
        {"(" NAMED("model.a.weight", T2) NAMED("loss.b", T0) "d.", false},
        {"(S'model'\n(" NAMED("a.weight", T2) "dd.", false},
        {"(S'state_dict'\n(" NAMED("model.a.weight", T2) "dS'hyper_parameters'\n(S'lr'\nI1\ndd.", false},
        {"(S'epoch'\nI3\nS'model_state_dict'\n(" NAMED("a.weight", T2) "dS'optimizer'\n(S'state'\n(ddd.", false},
        {"(S'params'\n(" NAMED("a.weight", T2) "dd.", false},
        {"(S'ema'\n(" NAMED("a.weight", T2) "dd.", false},
        {"(S'model_ema'\n(S'module'\n(" NAMED("a.weight", T2) "ddd.", false},
        {"(S'module'\n(" NAMED("a.weight", T2) "dS'ds_version'\nI1\nd.", false},
        {"(S'model'\n(" NAMED("a.weight", T0) "dS'model_ema'\n(" NAMED("a.weight", T2) "dd.", true},
        {"(S'model'\n(" NAMED("a.weight", T2) NAMED("b", T0) NAMED("c", T0) "dS'ema'\n(" NAMED("decay", T0) "dd.", false},
        {"(" NAMED("model.a.weight", T0) NAMED("model_ema.a.weight", T2) "d.", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        ts_weights *w = open_pickle(cases[i].pickle, &err);
        if (!w) fail_msg("case %zu: %s", i, err.text);
        check_values(w, "a.weight", 2, (float[]){3, 4});
        assert_int_equal(ts_weights_note(w) != NULL, cases[i].note);
        ts_weights_free(w);
    }
    /* Prefixes that tell tensors apart, or that are a model's own, stay. */
    static const char *const kept[][2] = {
        {"(" NAMED("module.a", T2) NAMED("a", T0) "d.", "module.a"},
        {"(" NAMED("model.layers.0", T2) NAMED("lm_head", T0) "d.", "model.layers.0"},
        {"(" NAMED("lin0.model.1", T2) "d.", "lin0.model.1"},
        {"(" NAMED("clip_model.a", T2) "d.", "clip_model.a"},
        {"(" NAMED("module", T2) "d.", "module"},
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        ts_error err = {0};
        ts_weights *w = open_pickle(kept[i][0], &err);
        if (!w) fail_msg("case %zu: %s", i, err.text);
        check_values(w, kept[i][1], 2, (float[]){3, 4});
        ts_weights_free(w);
    }
}

static void no_model_is_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"(S'epoch'\nI3\nS'weights_of_it'\n(" NAMED("a", T0) "dd.", "'epoch', 'weights_of_it'"},
        {"(S'student'\n(" NAMED("a", T0) "dS'teacher'\n(" NAMED("a", T0) "dd.", "'student' and 'teacher'"},
        {"(S'optimizer_state_dict'\n(" NAMED("a", T0) "dS'ds_config'\n(dd.", "zero_to_fp32.py"},
        {"(" NAMED("blocks.0._flat_param", T0) "d.", "FSDP ('blocks.0._flat_param')"},
        {"(S'module'\n(" NAMED("a", TENSOR(STORAGE("FloatStorage", "0", "4", "N"), "I0\n(I0\nt(I1\nt")) "dd.",
         "tensors are empty"},
        {"(S'a'\nctorch.distributed._tensor.api\nDTensor\n(tRd.", "spread over several (DTensor)"},
        {"(S'model'\ncmy\nNet\n(tRd.", "an object, not a dict"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_error err = {0};
        if (open_pickle(cases[i][0], &err)) fail_msg("accepted; '%s' was expected", cases[i][1]);
        if (!strstr(err.text, cases[i][1])) fail_msg("'%s' was expected, not: %s", cases[i][1], err.text);
    }
    /* A dict that holds itself under every key ends. */
    char cyclic[512] = "(dp0\n";
    static const char *const keys[] = {"model", "state_dict", "params", "net", "module", "ema", "model_ema", "weights"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) sprintf(cyclic + strlen(cyclic), "S'%s'\ng0\ns", keys[i]);
    sprintf(cyclic + strlen(cyclic), ".");
    ts_error err = {0};
    assert_null(open_pickle(cyclic, &err));
    assert_non_null(strstr(err.text, "no tensors"));
}

static void prefixes_in_words(void **state)
{
    (void)state;
    char words[128];
    ts_weights *w = open_pickle("(" NAMED("net.a", T0) NAMED("net.b", T0) NAMED("scale", T0) "d.", NULL);
    assert_string_equal(ts_weights_prefixes(w, words, sizeof words), "net. (2), scale (1)");
    ts_error err = {0};
    assert_false(ts_weights_lack(w, "patch_embed.proj.weight", "the model's", &err));
    assert_non_null(strstr(err.text, "patch_embed.proj.weight"));
    assert_non_null(strstr(err.text, "begin with net. (2), scale (1)"));
    ts_weights_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_format),        cmocka_unit_test(old_format_broken),
        cmocka_unit_test(older_tar),         cmocka_unit_test(containers_and_prefixes),
        cmocka_unit_test(no_model_is_named), cmocka_unit_test(prefixes_in_words),
    };
    return cmocka_run_group_tests_name("weights_torch", tests, NULL, NULL);
}
