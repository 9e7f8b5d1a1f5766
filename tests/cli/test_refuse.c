/* test_refuse.c - what `tessera run` must refuse: one clear sentence on standard error, exit status 1, no output file, nothing
 * executed, nothing that was there before touched. */
#include "../support/make_zip.h"
#include "../support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *picture, *answer;

static int make_pictures(void **state)
{
    (void)state;
    static char in[512], out[512];
    snprintf(in, sizeof in, "%s/picture.png", temp_dir());
    snprintf(out, sizeof out, "%s/answer.png", temp_dir());
    write_picture(in, 40, 30, 1);
    picture = in;
    answer = out;
    return 0;
}

/* Each argument may be NULL: then what is right is used. */
static void refuse(const char *model, const char *example, const char *query, const char *out, const char *device,
                   const char *word)
{
    const char *output = out ? out : answer;
    bool there = file_exists(output);
    assert_refused(program_run("run", "--device", device ? device : "cpu", "--model", model ? model : random_model(), "-e",
                               picture, example ? example : picture, "-q", query ? query : picture, "-o", output, "--json", NULL),
                   1, word);
    if (!there && file_exists(output)) fail_msg("%s was written", output);
}

static void refuse_model(const void *bytes, size_t size, const char *word)
{
    const char *path = temp_path("broken_model");
    write_bytes(path, bytes, size);
    refuse(path, NULL, NULL, NULL, NULL, word);
    assert_refused(program_run("model", "info", path, NULL), 1, word);
}

/* ---- models --------------------------------------------------------------------------------------------------- */

static const float four[4] = {1, 2, 3, 4};

static void refuse_pickle(const char *pickle, const char *word)
{
    zip_maker *z = calloc(1, sizeof *z);
    assert_non_null(z);
    zip_add(z, "archive/data.pkl", pickle, strlen(pickle), SIZE_MAX);
    zip_add(z, "archive/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(z);
    refuse_model(z->bytes, z->size, word);
    free(z);
}

/* {'pos_embed': tensor} of a storage of four floats. */
static void refuse_tensor(const char *offset, const char *shape, const char *stride, const char *word)
{
    char pickle[512];
    snprintf(pickle, sizeof pickle,
             "(S'pos_embed'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
             "I%s\n(%st(%stI00\nNtRd.",
             offset, shape, stride);
    refuse_pickle(pickle, word);
}

static void truncated_zip(void **state)
{
    (void)state;
    zip_maker *z = calloc(1, sizeof *z);
    assert_non_null(z);
    zip_add(z, "archive/data.pkl", "(d.", 3, SIZE_MAX);
    zip_add(z, "archive/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(z);
    refuse_model(z->bytes, z->size - 30, "broken_model");
    refuse_model(z->bytes, z->size / 2, "broken_model");
    free(z);
}

static void truncated_golden(void **state)
{
    (void)state;
    ts_weights_free(open_golden("mae_vqgan_tiny.pth"));
    char path[512];
    snprintf(path, sizeof path, "%s/mae_vqgan_tiny.pth", TS_GOLDEN_DIR);
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    refuse_model(bytes, size / 2, "broken_model");
    free(bytes);
}

static void pickle_that_calls(void **state)
{
    (void)state;
    const char *touched = temp_path("touched");
    char pickle[1024];
    snprintf(pickle, sizeof pickle, "cos\nsystem\n(S'touch %s'\ntR.", touched);
    refuse_pickle(pickle, "broken_model");
    assert_false(file_exists(touched));
}

static void storage_outside(void **state)
{
    (void)state;
    refuse_tensor("3", "I4\n", "I1\n", "outside its storage");
    const char header[] = "{\"pos_embed\":{\"dtype\":\"F32\",\"shape\":[1000],\"data_offsets\":[0,4000]}}";
    char file[256] = {(char)(sizeof header - 1)};
    memcpy(file + 8, header, sizeof header - 1);
    refuse_model(file, 8 + sizeof header - 1 + 16, "broken_model");
}

static void shape_overflows(void **state)
{
    (void)state;
    refuse_tensor("0", "I4294967296\nI4294967296\n", "I1\nI1\n", "broken_model");
    const char header[] =
        "{\"pos_embed\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4294967296],\"data_offsets\":[0,16]}}";
    char file[256] = {(char)(sizeof header - 1)};
    memcpy(file + 8, header, sizeof header - 1);
    refuse_model(file, 8 + sizeof header - 1 + 16, "broken_model");
}

/* The random model again, but without one tensor. */
static void tensor_missing(void **state)
{
    (void)state;
    static const char *const missing[] = {"blocks.1.attn.qkv.weight", "vae.decoder.mid.block_2.conv1.bias", "pos_embed"};
    ts_error err = {0};
    ts_weights *w = ts_weights_open(random_model(), &err);
    if (!w) fail_msg("%s", err.text);
    for (size_t k = 0; k < sizeof missing / sizeof *missing; k++) {
        ts_weights_writer *out = ts_weights_writer_new();
        assert_true(ts_weights_writer_meta(out, "heads", ts_weights_meta(w, "heads"), &err));
        assert_true(ts_weights_writer_meta(out, "decoder_heads", ts_weights_meta(w, "decoder_heads"), &err));
        for (int64_t i = 0; i < ts_weights_count(w); i++) {
            const ts_weight *t = ts_weights_at(w, i);
            if (strcmp(t->name, missing[k]) != 0) assert_true(ts_weights_writer_add_weight(out, t, t->dtype, &err));
        }
        const char *path = temp_path("missing.safetensors");
        assert_true(ts_weights_writer_save(out, path, &err));
        ts_weights_writer_free(out);
        refuse(path, NULL, NULL, NULL, NULL, missing[k]);
        assert_refused(program_run("model", "check", path, NULL), 1, missing[k]);
    }
    ts_weights_free(w);
}

static void no_model(void **state)
{
    (void)state;
    refuse(temp_path("absent.pth"), NULL, NULL, NULL, NULL, "absent.pth");
    refuse(temp_dir(), NULL, NULL, NULL, NULL, "is a folder");
    refuse(picture, NULL, NULL, NULL, NULL, "picture.png");
}

/* ---- pictures -------------------------------------------------------------------------------------------------- */

static void broken_pictures(void **state)
{
    (void)state;
    const char *empty = temp_path("empty.png"), *text = temp_path("text.png"), *half = temp_path("half.png");
    size_t size;
    unsigned char *bytes = read_bytes(picture, &size);
    write_text(empty, "");
    write_text(text, "This is no picture.\n");
    write_bytes(half, bytes, size / 2);
    free(bytes);
    const char *const broken[] = {empty, text, half, temp_path("absent.png")};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        refuse(NULL, NULL, broken[i], NULL, NULL, broken[i]);
        refuse(NULL, broken[i], NULL, NULL, NULL, broken[i]);
    }
    /* A bad one among good ones is left out, but not strictly; and where none is good nothing is written. */
    const char *folder = temp_path("answers");
#define RUN_MANY "run", "--device", "cpu", "--model", random_model(), "-e", picture, picture, "-o", folder, "-Q", "-q"
    assert_refused(program_run(RUN_MANY, picture, text, "--strict", NULL), 1, text);
    assert_refused(program_run(RUN_MANY, text, half, NULL), 1, "none of the 2 queries can be read; the first: ");
    assert_false(file_exists(folder));
    program_result r = program_run(RUN_MANY, picture, text, NULL);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "tessera run: done, but 1 input was left out: "));
    assert_non_null(strstr(r.err, text));
    assert_true(file_exists(temp_path("answers/picture.png")));
    assert_false(file_exists(temp_path("answers/text.png")));
    program_free(&r);
}

static void empty_folder(void **state)
{
    (void)state;
    const char *folder = temp_path("no_queries");
    assert_int_equal(mkdir(folder, 0700), 0);
    refuse(NULL, NULL, folder, temp_path("no_answers"), NULL, "holds no picture");
}

/* ---- outputs --------------------------------------------------------------------------------------------------- */

static void unwritable(void **state)
{
    (void)state;
    refuse(NULL, NULL, NULL, temp_path("no/such/folder/answer.png"), NULL, "no/such/folder");
    refuse(NULL, NULL, NULL, temp_path("picture.png/answer.png"), NULL, "answer.png");
    refuse(NULL, NULL, NULL, "/proc/answer.png", NULL, "/proc/answer.png");
    refuse(NULL, NULL, NULL, "/dev/null/", NULL, "/dev/null/");
    char name[300];
    memset(name, 'a', sizeof name);
    snprintf(name + 260, sizeof name - 260, ".png");
    refuse(NULL, NULL, NULL, temp_path("%s", name), NULL, "too long");
}

/* An answer's name may be as long as names can be. */
static void long_name(void **state)
{
    (void)state;
    char name[256];
    memset(name, 'a', sizeof name);
    memcpy(name + 251, ".png", 5);
    const char *out = temp_path("%s", name);
    succeed(
        program_run("run", "--device", "cpu", "--model", random_model(), "-e", picture, picture, "-q", picture, "-o", out, NULL));
    assert_true(file_exists(out));
}

/* Nobody writes into these pipes: a program that opened them as files would wait for ever. */
static void pipes(void **state)
{
    (void)state;
    const char *pipe = temp_path("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    refuse(pipe, NULL, NULL, NULL, NULL, "pipe");
    assert_refused(program_run("clip", "classify", picture, "--model", random_model(), "--classes-file", pipe, NULL), 1, "pipe");
    assert_refused(program_run("clip", "classify", picture, "--model", pipe, "--classes", "a,b", NULL), 1, "pipe");
    assert_refused(program_run("clip", "train", "--data", pipe, "--out", temp_path("none"), "--steps", "1", NULL), 1, "pipe");
}

static void output_is_input(void **state)
{
    (void)state;
    size_t before, after;
    unsigned char *a = read_bytes(picture, &before);
    refuse(NULL, NULL, NULL, picture, NULL, "would overwrite");
    const char *other = temp_path("hard_link.png");
    assert_int_equal(link(picture, other), 0);
    refuse(NULL, NULL, NULL, other, NULL, "would overwrite");
    /* Into the folder that the query came from, under its own name. */
    refuse(NULL, NULL, NULL, temp_dir(), NULL, "would overwrite");
    unsigned char *b = read_bytes(picture, &after);
    assert_int_equal(before, after);
    assert_memory_equal(a, b, before);
    free(a);
    free(b);
}

static void same_name_twice(void **state)
{
    (void)state;
    const char *folder = temp_path("twice");
    assert_int_equal(mkdir(folder, 0700), 0);
    const char *other = temp_path("twice/picture.jpg");
    write_picture(other, 10, 10, 2);
    assert_refused(program_run("run", "--device", "cpu", "--model", random_model(), "-e", picture, picture, "-q", picture, other,
                               "-o", temp_path("twice_answers"), NULL),
                   1, "written twice");
}

/* ---- devices ---------------------------------------------------------------------------------------------------- */

static void no_such_device(void **state)
{
    (void)state;
    refuse(NULL, NULL, NULL, NULL, "vulkan:99", "vulkan:99");
    refuse(NULL, NULL, NULL, NULL, "abacus", "abacus");
    assert_refused(program_run("bench", "--quick", "--device", "abacus", NULL), 1, "abacus");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_zip),   cmocka_unit_test(truncated_golden), cmocka_unit_test(pickle_that_calls),
        cmocka_unit_test(storage_outside), cmocka_unit_test(shape_overflows),  cmocka_unit_test(tensor_missing),
        cmocka_unit_test(no_model),        cmocka_unit_test(broken_pictures),  cmocka_unit_test(empty_folder),
        cmocka_unit_test(unwritable),      cmocka_unit_test(long_name),        cmocka_unit_test(pipes),
        cmocka_unit_test(output_is_input), cmocka_unit_test(same_name_twice),  cmocka_unit_test(no_such_device)};
    return cmocka_run_group_tests_name("refuse", tests, make_pictures, NULL);
}
