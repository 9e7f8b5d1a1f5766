/* test_weights_files.c - weights in several files, in folders, and files that change while they are in use. */
#include "../support/process.h"
#include "../support/program.h"
#include "engine/weights/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void save(const char *path, const char *const *names, int count, const float *values)
{
    ts_error err = {0};
    ts_weights_writer *w = ts_weights_writer_new();
    for (int i = 0; i < count; i++)
        assert_true(ts_weights_writer_add(w, names[i], TS_DT_F32, 1, (int64_t[]){2}, values + 2 * i, &err));
    if (!ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
}

static void refuse(const char *path, const char *words)
{
    ts_error err = {0};
    if (ts_weights_open(path, &err)) fail_msg("accepted; '%s' was expected", words);
    if (!strstr(err.text, words) || strchr(err.text, '\n')) fail_msg("'%s' was expected, not: %s", words, err.text);
}

/* ---- several files ------------------------------------------------------------------------------------------------ */

#define FIRST        "model-00001-of-00002.safetensors"
#define SECOND       "model-00002-of-00002.safetensors"
#define INDEX        "model.safetensors.index.json"
#define MAP(a, b, c) "{\"metadata\":{}, \"weight_map\":{\"model.a\":\"" a "\",\"model.b\":\"" b "\",\"model.c\":\"" c "\"}}"

static const char *make_shards(void)
{
    static const float values[] = {1, 2, 3, 4, 5, 6};
    const char *folder = kept_path("sharded");
    mkdir(folder, 0700);
    save(temp_path("sharded/" FIRST), (const char *const[]){"model.a", "model.b"}, 2, values);
    save(temp_path("sharded/" SECOND), (const char *const[]){"model.c"}, 1, values + 4);
    write_text(temp_path("sharded/" INDEX), MAP(FIRST, FIRST, SECOND));
    return folder;
}

static void several_files_are_one(void **state)
{
    (void)state;
    ts_error err = {0};
    const char *folder = make_shards();
    const char *names[] = {temp_path("sharded/" INDEX), folder, temp_path("sharded/")};
    for (int i = 0; i < 3; i++) {
        ts_weights *w = ts_weights_open(names[i], &err);
        if (!w) fail_msg("%s", err.text);
        assert_int_equal(ts_weights_count(w), 3);
        assert_int_equal(ts_weights_shards(w), 2);
        assert_non_null(strstr(ts_weights_path(w), "sharded/" INDEX)); /* what lies beside it is found by this */
        float c[2];
        assert_true(ts_weight_to_f32(ts_weights_find(w, "c"), c, &err) && c[0] == 5 && c[1] == 6); /* the prefix of all of them */
        ts_weights_free(w);
    }
    refuse(temp_path("sharded/" FIRST), "part 1 of 2 of a model and holds 2 of its 3 tensors: name the index");
    refuse(temp_path("sharded/" SECOND), "part 2 of 2 of a model and holds 1 of its 3 tensors: name the index");
    assert_refused(program_run("model", "info", temp_path("sharded/" FIRST), NULL), 1, "part 1 of 2");
    program_result r = program_run("model", "info", folder, NULL);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "safetensors, 2 files"));
    program_free(&r);
}

static void index_is_checked(void **state)
{
    (void)state;
    make_shards();
    const char *index = temp_path("sharded/" INDEX);
    write_text(index, MAP(FIRST, FIRST, "model-00003-of-00002.safetensors"));
    refuse(index, "'model-00003-of-00002.safetensors' is missing");
    write_text(index, MAP(FIRST, SECOND, SECOND));
    refuse(index, "tensor 'model.b' in '" SECOND "', which does not hold it");
    static const char *const outside[] = {"../" FIRST, "/etc/passwd", "a/../../" FIRST, "..", "..\\\\x", ""};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char text[300];
        snprintf(text, sizeof text, "{\"weight_map\":{\"model.a\":\"%s\"}}", outside[i]);
        write_text(index, text);
        refuse(index, "outside its own folder");
    }
    write_text(index, "{\"weight_map\":{\"model.a\":5}}");
    refuse(index, "names no file for tensor 'model.a'");
    write_text(index, "{\"weight_map\":{}}");
    refuse(index, "names no tensors");
    write_text(index, "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}");
    refuse(index, "tensor 'a' twice");
    write_text(index, "{\"weight_map\":{\"a\":\"" INDEX "\"}}");
    refuse(index, "cannot be read: ");
    write_text(index, MAP(FIRST, FIRST, SECOND));
    write_text(temp_path("sharded/" SECOND), "hello");
    refuse(index, "is a text file");
    unlink(index);
    refuse(temp_path("sharded/" FIRST), "part 1 of 2 of a model, whose index");
    refuse(temp_path("sharded"), "is a folder without a model.safetensors");
}

static void one_part_is_whole(void **state)
{
    (void)state;
    ts_error err = {0};
    const char *path = temp_path("model-00001-of-00001.safetensors");
    save(path, (const char *const[]){"a"}, 1, (float[]){1, 2});
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    assert_int_equal(ts_weights_shards(w), 0);
    ts_weights_free(w);
}

/* ---- files that change --------------------------------------------------------------------------------------------- */

enum { SIDE = 512 }; /* of a square matrix: a megabyte */

static const char *matrix_file(const char *name)
{
    ts_error err = {0};
    float *values = malloc(sizeof *values * SIDE * SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) values[i] = (float)(i % 7);
    ts_weights_writer *w = ts_weights_writer_new();
    assert_true(ts_weights_writer_add(w, "w", TS_DT_F32, 2, (int64_t[]){SIDE, SIDE}, values, &err));
    const char *path = kept_path(name);
    if (!ts_weights_writer_save(w, path, &err)) fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    free(values);
    sleep_for(0.03); /* beyond the grain of the file system's clock */
    return path;
}

typedef enum { CUT_SHORT, WRITTEN_OVER, REPLACED, TOUCHED_NOTHING, CHANGES } change;

static void change_file(const char *path, change how)
{
    char other[700];
    const uint8_t junk[4096] = {1, 2, 3};
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (how == CUT_SHORT) assert_int_equal(ftruncate(fd, 5000), 0);
    if (how == WRITTEN_OVER) assert_int_equal(pwrite(fd, junk, sizeof junk, 8192), sizeof junk);
    close(fd);
    snprintf(other, sizeof other, "%s.other", path);
    if (how != REPLACED) return;
    write_bytes(other, junk, sizeof junk);
    assert_int_equal(rename(other, path), 0);
}

/* y = x w^T on the host, which reads w in the map. */
typedef struct {
    ts_device *dev;
    ts_weights *w;
    ts_params *ps;
    ts_graph *g;
    ts_tensor *x, *y;
    ts_exec *e;
} product;

static product new_product(const char *path, bool detached)
{
    ts_error err = {0};
    product p = {.dev = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, &err), .w = ts_weights_open(path, &err)};
    if (!p.w) fail_msg("%s", err.text);
    if (detached) ts_weights_detach(p.w);
    p.ps = ts_params_new(p.dev, p.w, "", &err);
    p.g = ts_graph_new();
    p.x = ts_input(p.g, "x", TS_REAL, 2, (int64_t[]){1, SIDE});
    p.y = ts_output(p.g, ts_linear(p.g, p.x, ts_param(p.g, p.ps, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){SIDE, SIDE}), NULL));
    return p;
}

static bool run_product(product *p, float *out, ts_error *err)
{
    float x[SIDE];
    for (int i = 0; i < SIDE; i++) x[i] = (float)(i % 5);
    return ts_write(p->e, p->x, x, err) && ts_run(p->e, err) && ts_read(p->e, p->y, out, err);
}

static void free_product(product *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    ts_params_free(p->ps);
    ts_weights_free(p->w);
    ts_device_free(p->dev);
}

/* Between two runs of a graph: the second one fails, or gives what the first one gave. */
static void changed_between_runs(void **state)
{
    (void)state;
    assert_true(ts_weights_guard(NULL)); /* cmocka has a handler of its own for each test */
    for (int detached = 0; detached < 2; detached++)
        for (change how = CUT_SHORT; how < CHANGES; how++) {
            ts_error err = {0};
            float before[SIDE], after[SIDE];
            const char *path = matrix_file("matrix.safetensors");
            product p = new_product(path, detached);
            p.e = ts_exec_new(p.g, p.dev, &err);
            if (!p.e || !run_product(&p, before, &err)) fail_msg("%s", err.text);
            change_file(path, how);
            const bool ok = run_product(&p, after, &err);
            assert_int_equal(ok, detached || how == REPLACED || how == TOUCHED_NOTHING);
            if (ok) assert_memory_equal(before, after, sizeof before);
            else assert_non_null(strstr(err.text, "matrix.safetensors' was changed while it was in use"));
            free_product(&p);
        }
}

/* Before the graph is planned, and while a tensor is converted or written elsewhere. */
static void changed_before_use(void **state)
{
    (void)state;
    assert_true(ts_weights_guard(NULL));
    for (change how = CUT_SHORT; how < CHANGES; how++) {
        const bool harmless = how == REPLACED || how == TOUCHED_NOTHING;
        ts_error err = {0}, err2 = {0}, err3 = {0};
        const char *path = matrix_file("matrix.safetensors"), *copy = kept_path("copy.safetensors");
        product p = new_product(path, false);
        change_file(path, how);
        p.e = ts_exec_new(p.g, p.dev, &err);
        assert_int_equal(p.e != NULL, harmless);
        float *values = malloc(sizeof *values * SIDE * SIDE);
        assert_int_equal(ts_weight_to_f32(ts_weights_find(p.w, "w"), values, &err2), harmless);
        free(values);
        for (ts_dtype to = TS_DT_F32; to <= TS_DT_F16; to++) {
            unlink(copy);
            ts_weights_writer *writer = ts_weights_writer_new();
            assert_true(ts_weights_writer_add_weight(writer, ts_weights_find(p.w, "w"), to, NULL));
            assert_int_equal(ts_weights_writer_save(writer, copy, &err3), harmless);
            assert_int_equal(file_exists(copy), harmless);
            ts_weights_writer_free(writer);
        }
        if (!harmless) {
            assert_non_null(strstr(err.text, "was changed"));
            assert_non_null(strstr(err2.text, "was changed"));
            assert_non_null(strstr(err3.text, "was changed"));
        }
        free_product(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_files_are_one), cmocka_unit_test(index_is_checked),   cmocka_unit_test(one_part_is_whole),
        cmocka_unit_test(changed_between_runs),  cmocka_unit_test(changed_before_use),
    };
    return cmocka_run_group_tests_name("weights_files", tests, NULL, NULL);
}
