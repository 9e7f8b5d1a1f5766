/* test_weights_bad.c - hostile and broken weights files: each gives one clear sentence, and nothing is executed. */
#include "../support/make_zip.h"
#include "../support/support.h"
#include "engine/weights/internal.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fails unless these bytes are refused with a sentence that holds `words`. The bytes are copied to a block of exactly their size,
 * so that the address sanitizer sees a read beyond them. */
static void check_refused(const void *bytes, size_t size, const char *words)
{
    ts_error err = {0};
    void *exact = malloc(size ? size : 1);
    if (size) memcpy(exact, bytes, size);
    ts_weights *w = ts_weights_open_memory(exact, size, "bad.pth", &err);
    if (w) fail_msg("accepted; '%s' was expected", words);
    if (!strstr(err.text, words)) fail_msg("'%s' was expected, not: %s", words, err.text);
    if (!strstr(err.text, "bad.pth") || strchr(err.text, '\n')) fail_msg("not one sentence with the file's name: %s", err.text);
    assert_int_not_equal(err.code, TS_OK);
    free(exact);
}

static ts_weights *accept(const void *bytes, size_t size)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open_memory(bytes, size, "good.pth", &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

/* ---- archives ---- */

static const float four[4] = {1, 2, 3, 4};

/* An archive with this pickle and a storage of four floats. */
static zip_maker *archive(const void *pickle, size_t size)
{
    zip_maker *z = calloc(1, sizeof *z);
    zip_add(z, "a/data.pkl", pickle, size, SIZE_MAX);
    zip_add(z, "a/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(z);
    return z;
}

static void refuse_pickle(const char *pickle, size_t size, const char *words)
{
    zip_maker *z = archive(pickle, size);
    check_refused(z->bytes, z->size, words);
    free(z);
}

/* {'w': tensor} in protocol 0, with its parts as text. */
static const char *tensor_pickle(const char *type, const char *key, const char *elements, const char *offset, const char *shape,
                                 const char *stride)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "(S'w'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n%s\nS'%s'\nS'cpu'\nI%s\ntQI%s\n(%st(%stI00\nNtRd.",
             type, key, elements, offset, shape, stride);
    return text;
}

static void refuse_tensor(const char *pickle, const char *words)
{
    refuse_pickle(pickle, strlen(pickle), words);
}

static void tensors_out_of_bounds(void **state)
{
    (void)state;
    const char *good = tensor_pickle("FloatStorage", "0", "4", "0", "I2\nI2\n", "I1\nI2\n");
    zip_maker *z = archive(good, strlen(good));
    ts_weights *w = accept(z->bytes, z->size);
    float x[4];
    assert_true(ts_weight_to_f32(ts_weights_find(w, "w"), x, NULL));
    assert_memory_equal(x, ((float[]){1, 3, 2, 4}), sizeof x);
    ts_weights_free(w);
    free(z);

    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I2\nI3\n", "I3\nI1\n"), "outside its storage");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "3", "I2\n", "I1\n"), "outside its storage");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "5", "I0\n", "I1\n"), "outside its storage");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I2\n", "I9223372036854775807\n"), "outside its storage");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "9223372036854775807", "I2\n", "I1\n"), "outside its storage");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I4294967296\nI4294967296\n", "I1\nI1\n"),
                  "more elements than the file");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I1000000\n", "I0\n"), "more elements than the file");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I-2\nI2\n", "I1\nI2\n"), "not whole numbers");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "-1", "I2\n", "I1\n"), "not whole numbers");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I2\n", "I-1\n"), "not whole numbers");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I2\nI2\n", "I1\n"), "not whole numbers");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4", "0", "I1\nI1\nI1\nI1\nI1\nI1\nI1\nI1\nI1\n", "I1\n"),
                  "not whole numbers");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "5", "0", "I2\n", "I1\n"), "16 bytes, not the 5 elements");
    refuse_tensor(tensor_pickle("DoubleStorage", "0", "4", "0", "I2\n", "I1\n"), "16 bytes, not the 4 elements");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "4611686018427387905", "0", "I2\n", "I1\n"), "16 bytes, not the");
    refuse_tensor(tensor_pickle("FloatStorage", "0", "-4", "0", "I2\n", "I1\n"), "no proper key or size");
    refuse_tensor(tensor_pickle("FloatStorage", "7", "4", "0", "I2\n", "I1\n"), "(data/7) is not in the archive");
    refuse_tensor(tensor_pickle("FloatStorage", "../data.pkl", "4", "0", "I2\n", "I1\n"), "is not in the archive");
    refuse_tensor(tensor_pickle("ComplexFloatStorage", "0", "2", "0", "I2\n", "I1\n"), "unsupported type (ComplexFloatStorage)");
    refuse_tensor("(S'w'\nctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n(t(ttRd.", "has no storage");
    refuse_tensor("(S'w'\nctorch._utils\n_rebuild_tensor_v2\n(tRd.", "lacks a storage");
}

static void archives_broken(void **state)
{
    (void)state;
    const char *good = tensor_pickle("FloatStorage", "0", "4", "0", "I4\n", "I1\n");
    zip_maker *z = archive(good, strlen(good));
    for (size_t size = 4; size < z->size; size++) check_refused(z->bytes, size, "truncated");
    free(z);

    z = calloc(1, sizeof *z); /* a storage that the directory says is longer than the file */
    zip_add(z, "a/data.pkl", good, strlen(good), SIZE_MAX);
    zip_add(z, "a/data/0", four, sizeof four, 1 << 20);
    zip_finish(z);
    check_refused(z->bytes, z->size, "bytes, not the 4 elements");
    free(z);
    const char *large = tensor_pickle("FloatStorage", "0", "262144", "0", "I4\n", "I1\n");
    z = calloc(1, sizeof *z);
    zip_add(z, "a/data.pkl", large, strlen(large), SIZE_MAX);
    zip_add(z, "a/data/0", four, sizeof four, 1 << 20);
    zip_finish(z);
    check_refused(z->bytes, z->size, "outside the file");
    free(z);

    z = calloc(1, sizeof *z); /* one name twice */
    zip_add(z, "a/data.pkl", good, strlen(good), SIZE_MAX);
    zip_add(z, "a/data.pkl", good, strlen(good), SIZE_MAX);
    zip_finish(z);
    check_refused(z->bytes, z->size, "lists one name twice");
    free(z);

    z = calloc(1, sizeof *z);
    zip_add(z, "holiday/photo.txt", "hello", 5, SIZE_MAX);
    zip_finish(z);
    check_refused(z->bytes, z->size, "no data.pkl");
    free(z);
    static const char *const inside[][2] = {{"x/model.pth", "with 'x/model.pth' in it; unpack it first"},
                                            {"arr_0.npy", "NumPy arrays"},
                                            {"model.weights.h5", "Keras"}};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        z = calloc(1, sizeof *z);
        zip_add(z, inside[i][0], "hello", 5, SIZE_MAX);
        zip_finish(z);
        check_refused(z->bytes, z->size, inside[i][1]);
        free(z);
    }

    z = calloc(1, sizeof *z);
    zip_add(z, "a/data.pkl", good, strlen(good), SIZE_MAX);
    zip_add(z, "a/byteorder", "big", 3, SIZE_MAX);
    zip_add(z, "a/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(z);
    check_refused(z->bytes, z->size, "big-endian");
    free(z);
    check_refused("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, "empty zip archive");
}

static void zip64_is_read(void **state)
{
    (void)state;
    const char *good = tensor_pickle("FloatStorage", "0", "4", "0", "I4\n", "I1\n");
    zip_maker *z = calloc(1, sizeof *z);
    z->zip64 = true;
    zip_add(z, "a/data.pkl", good, strlen(good), SIZE_MAX);
    zip_add(z, "a/data/0", four, sizeof four, SIZE_MAX);
    zip_finish(z);
    ts_weights *w = accept(z->bytes, z->size);
    assert_memory_equal(ts_weights_find(w, "w")->data, four, sizeof four);
    ts_weights_free(w);
    free(z);
}

/* ---- pickles ---- */

static char touched[600];

/* Each pickle would run `touch FILE` in Python. */
static void nothing_is_called(void **state)
{
    (void)state;
    static const char *const programs[] = {
        "cos\nsystem\n(S'touch %s'\ntR.",
        "(S'touch %s'\nios\nsystem\n.",
        "(cos\nsystem\nS'touch %s'\no.",
        "cbuiltins\nexec\n(S'import os; os.system(\"touch %s\")'\ntR.",
        "(S'model'\ncos\nsystem\n(S'touch %s'\ntRd.",
        "\x80\x02}S'w'\ncos\nsystem\n(S'touch %s'\nt\x81s.",
        "\x80\x04S'os'\nS'system'\n\x93(S'touch %s'\ntR.",
        "cos\nsystem\n(S'touch %s'\nt}\x92.",
        "(dctypes\nCDLL\n(S'touch %s'\ntRb.",
    };
    char pickle[2048];
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        snprintf(pickle, sizeof pickle, programs[i], touched); /* NOLINT: the formats are above */
        refuse_pickle(pickle, strlen(pickle), "model.state_dict()");
        assert_int_not_equal(access(touched, F_OK), 0);
    }
    /* Beside a good tensor the call is passed over: the tensor is read, and still nothing runs. */
    const char *good = tensor_pickle("FloatStorage", "0", "4", "0", "I4\n", "I1\n");
    snprintf(pickle, sizeof pickle, "%.*sS'args'\ncos\nsystem\n(S'touch %s'\ntRd.", (int)(strlen(good) - 2), good, touched);
    zip_maker *z = archive(pickle, strlen(pickle));
    ts_weights *w = accept(z->bytes, z->size);
    assert_int_equal(ts_weights_count(w), 1);
    assert_int_not_equal(access(touched, F_OK), 0);
    ts_weights_free(w);
    free(z);
}

static void pickles_broken(void **state)
{
    (void)state;
    const struct {
        const char *bytes, *words;
        size_t size;
    } cases[] = {
        {"", "ends in the middle", 0},
        {"}", "ends in the middle", 1},
        {".", "empty stack", 1},
        {"R.", "empty stack", 2},
        {"(0.", "empty stack", 3},
        {"t.", "a mark is missing", 2},
        {"\x80\x09.", "newer than 5", 3},
        {"\xff.", "unknown opcode", 2},
        {"X\xff\xff\xff\x7fw.", "ends in the middle", 7},
        {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "ends in the middle", 10},
        {"h\0.", "memo entry that is not there", 3},
        {"Nr\xff\xff\xff\xff.", "memo index beyond reason", 7},
        {"Np99999999999\n.", "memo index beyond reason", 14},
        {"Npx\n.", "memo index that is none", 5},
        {"Ifoo\n.", "a number that is none", 6},
        {"S'w\n.", "without quotes", 5},
        {"S'w'.", "line without an end", 5},
        {"]NNs.", "cannot hold them", 5},
        {"}(Nu.", "key without a value", 5},
        {"(Nd.", "key without a value", 4},
        {"NN\x93.", "no string", 4},
        {"}.", "no tensors", 2},
        {"I5\n.", "not a dict of tensors", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) refuse_pickle(cases[i].bytes, cases[i].size, cases[i].words);
    refuse_tensor("(S'w'\nctorch._utils\n_rebuild_sparse_tensor\n(tRd.", "unsupported kind (_rebuild_sparse_tensor)");
    const char *good = tensor_pickle("FloatStorage", "0", "4", "0", "I4\n", "I1\n");
    char twice[4096];
    int body = (int)strlen(good) - 3;
    snprintf(twice, sizeof twice, "%.*sR%.*sRd.", body, good, body - 1, good + 1);
    refuse_tensor(twice, "two tensors of the name 'w'");
}

static void deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 20000 };
    char *pickle = malloc(3 * DEPTH + 8);
    memset(pickle, ']', DEPTH);
    memset(pickle + DEPTH, 'a', DEPTH - 1);
    pickle[2 * DEPTH - 1] = '.';
    refuse_pickle(pickle, 2 * DEPTH, "not a dict of tensors");
    memset(pickle, '(', DEPTH);
    memset(pickle + DEPTH, 't', DEPTH);
    pickle[2 * DEPTH] = '.';
    refuse_pickle(pickle, 2 * DEPTH + 1, "not a dict of tensors");
    free(pickle);

    /* TorchScript modules within themselves, and a tree that doubles at each level. */
    const char *cyclic = "c__torch__\nM\n)\x81p0\n}S'child'\ng0\nsb.";
    char doubling[8192] = "c__torch__\nM\n)\x81p0\n";
    for (int i = 0; i < 60; i++)
        sprintf(doubling + strlen(doubling), "c__torch__\nM\n)\x81p%d\n}S'a'\ng%d\nsS'b'\ng%d\nsb", i + 1, i, i);
    sprintf(doubling + strlen(doubling), ".");
    const char *pickles[] = {cyclic, doubling}, *words[] = {"nested deeper", "larger than any model"};
    for (int i = 0; i < 2; i++) {
        zip_maker *z = calloc(1, sizeof *z);
        zip_add(z, "a/data.pkl", pickles[i], strlen(pickles[i]), SIZE_MAX);
        zip_add(z, "a/constants.pkl", ").", 2, SIZE_MAX);
        zip_finish(z);
        check_refused(z->bytes, z->size, words[i]);
        free(z);
    }
}

/* ---- safetensors ---- */

static void refuse_safetensors(const char *header, size_t data, const char *words)
{
    size_t length = strlen(header);
    uint8_t *bytes = calloc(1, 8 + length + data);
    bytes[0] = (uint8_t)length;
    bytes[1] = (uint8_t)(length >> 8);
    memcpy(bytes + 8, header, length);
    check_refused(bytes, 8 + length + data, words);
    free(bytes);
}

static void safetensors_broken(void **state)
{
    (void)state;
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "not valid JSON");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}x", 8, "not valid JSON");
    refuse_safetensors("{}", 0, "holds no tensors");
    refuse_safetensors("{\"a\":5}", 0, "lacks a dtype");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "lacks a dtype");
    refuse_safetensors("{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has the dtype F4");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,12]}}", 8, "outside the file's 8 bytes");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "outside the file");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "outside the file");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e300]}}", 8, "outside the file");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "does not fit its 8 bytes");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2,-1],\"data_offsets\":[0,8]}}", 8, "not a whole number");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "not a whole number");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,8]}}", 8,
                       "does not fit");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8,
                       "more than 8 dimensions");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                       8, "overlaps");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "belong to no tensor");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "its tensors take 4");
    refuse_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                       "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                       8, "two tensors of the name 'a'");
    refuse_safetensors("{\"__metadata__\":{\"heads\":16}}", 0, "'heads' is not a string");
    refuse_safetensors("{\"__metadata__\":[]}", 0, "not a JSON object");
    check_refused("\xff\0\0\0\0\0\0\0{}", 10, "its header has 255 bytes, but the file has only 10");
    check_refused("\xff\xff\xff\xff\xff\xff\xff\1{}", 10, "truncated or no safetensors");

    char deep[5000] = "{\"a\":";
    memset(deep + 5, '[', 4000);
    refuse_safetensors(deep, 0, "not valid JSON");
}

/* ---- files ---- */

static int count_files(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void refuse_path(const char *path, const char *words)
{
    ts_error err = {0};
    assert_null(ts_weights_open(path, &err));
    if (!strstr(err.text, words) || !strstr(err.text, path)) fail_msg("'%s' was expected, not: %s", words, err.text);
}

static void files_of_other_kinds(void **state)
{
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/file", temp_dir());
    refuse_path(path, "No such file");
    refuse_path(temp_dir(), "is a folder");
    refuse_path("/dev/null", "not a regular file");
    assert_true(ts_file_write(path, "", 0, NULL));
    refuse_path(path, "is empty");
    static const struct {
        const char *bytes, *words;
        size_t size;
    } others[] = {
        {"<!DOCTYPE html>\n<html>not found</html>\n", "is a web page (HTML)", 39},
        {"\n <HTML><body>virus scan warning</body></html>", "is a web page (HTML)", 46},
        {"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer", 43},
        {"{\"hidden_size\": 768}", "is a JSON file", 20},
        {"{\"a\":{\"b\":1}, \"weight_map\": 5}", "is a JSON file", 30},
        {"hello", "is a text file", 5},
        {"model_checkpoint_path: \"m\"\n", "names a TensorFlow checkpoint", 27},
        {"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture (PNG)", 16},
        {"\x89HDF\r\n\x1a\n\0\0\0\0", "as Keras saves models", 12},
        {"GGUF\3\0\0\0\0", "is a GGUF file", 9},
        {"\x08\x08\x12\x07pytorch\x1a\x05"
         "2.1.0:",
         "is an ONNX model", 19},
        {"\0\0\0\0\0\0\0\x57\xfb\x80\x8b\x24\x75\x47\xdb", "is of a TensorFlow checkpoint", 15},
        {"\x1f\x8b\x08\0\0\0\0\0\0\0", "compressed with gzip; unpack it first", 10},
        {"\x80\x03}q\0.", "is a bare Python pickle", 6},
        {"\0\1\2\3\4\5\6\7\1\2", "neither a safetensors file nor", 10},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_true(ts_file_write(path, others[i].bytes, others[i].size, NULL));
        refuse_path(path, others[i].words);
    }
    unlink(path);
    const char *small[][2] = {{"weights_module.pth", "model.state_dict()"},
                              {"weights_sparse.pth", "unsupported kind (_rebuild_sparse_tensor)"},
                              {"weights_complex.pth", "ComplexFloatStorage"},
                              {"weights_deflated.pth", "compressed"}};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        snprintf(path, sizeof path, "%s/golden/%s", TS_TESTS_DIR, small[i][0]);
        refuse_path(path, small[i][1]);
    }
}

static void refuse_write(ts_weights_writer *w, const char *path, const char *words)
{
    ts_error err = {0};
    assert_false(ts_weights_writer_save(w, path, &err));
    if (!strstr(err.text, words) || !strstr(err.text, path)) fail_msg("'%s' was expected, not: %s", words, err.text);
    err = (ts_error){0};
    assert_false(ts_file_write(path, "x", 1, &err));
}

static void writing_fails_cleanly(void **state)
{
    (void)state;
    char folder[600], path[700];
    struct stat st;
    float *data = calloc(1 << 16, sizeof *data);
    ts_weights_writer *w = ts_weights_writer_new();
    assert_true(ts_weights_writer_add(w, "a", TS_DT_F32, 1, (int64_t[]){1 << 16}, data, NULL));
    snprintf(folder, sizeof folder, "%s/full", temp_dir());
    assert_int_equal(mkdir(folder, 0700), 0);

    snprintf(path, sizeof path, "%s/absent/x.safetensors", folder);
    refuse_write(w, path, "No such file or directory");
    refuse_write(w, folder, "is a folder");
    refuse_write(w, "/dev/full", "not a regular file");
    assert_true(stat("/dev/full", &st) == 0 && S_ISCHR(st.st_mode));
    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        snprintf(path, sizeof path, "%s/x.safetensors", folder);
        refuse_write(w, path, "Permission denied");
        assert_int_equal(chmod(folder, 0700), 0);
    }
    refuse_write(w, "/proc/x.safetensors", "cannot write");
    assert_int_equal(count_files(folder), 0);

    /* A limit on the size of files stands for a full disk: the write fails half way. */
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    assert_true(ts_file_write(path, "before", 6, NULL));
    struct rlimit old, tight;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    tight = (struct rlimit){.rlim_cur = 4096, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    ts_error err = {0}, err2 = {0};
    bool saved = ts_weights_writer_save(w, path, &err), written = ts_file_write(path, data, 1 << 18, &err2);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_false(saved);
    assert_false(written);
    assert_non_null(strstr(err.text, "File too large"));
    assert_int_equal(count_files(folder), 1);
    assert_true(stat(path, &st) == 0 && st.st_size == 6); /* what was there is still there */
    unlink(path);
    rmdir(folder);
    ts_weights_writer_free(w);
    free(data);
}

int main(void)
{
    snprintf(touched, sizeof touched, "%s/touched", temp_dir());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_out_of_bounds), cmocka_unit_test(archives_broken),      cmocka_unit_test(zip64_is_read),
        cmocka_unit_test(nothing_is_called),     cmocka_unit_test(pickles_broken),       cmocka_unit_test(deep_nesting),
        cmocka_unit_test(safetensors_broken),    cmocka_unit_test(files_of_other_kinds), cmocka_unit_test(writing_fails_cleanly),
    };
    return cmocka_run_group_tests_name("weights_bad", tests, NULL, NULL);
}
