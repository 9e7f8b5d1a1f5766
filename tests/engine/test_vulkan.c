/* test_vulkan.c - the Vulkan runtime, apart from what the ops compute: devices, memory, submissions, profiles, the pipeline
 * cache. Everything runs under the validation layer; without a Vulkan driver there is nothing to test, and it says so. */
#include "../support/support.h"
#include "engine/internal.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *device_name(void)
{
    const char *name = getenv("TESSERA_TEST_DEVICE");
    return name ? name : "vulkan";
}

/* A device of the test's own; skips where there is none. */
static ts_device *open_device(ts_device_desc desc)
{
    ts_error err = {0};
    if (!test_vulkan(TS_F32)) skip();
    desc.name = device_name();
    desc.validate = true;
    ts_device *dev = ts_device_open(&desc, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void close_device(ts_device *dev)
{
    const char *first;
    if (ts_device_validation(dev, &first) > 0) fail_msg("the validation layer says: %s", first);
    ts_device_free(dev);
}

/* ---- a chain: each layernorm has a gamma and beta of its own, so that the order of the nodes shows in the result ---- */

enum { ROWS = 40, WIDTH = 96, DEPTH = 12 };

typedef struct {
    ts_graph *g;
    ts_tensor *x, *gamma[DEPTH], *beta[DEPTH], *y;
} chain;

static chain make_chain(void)
{
    chain c = {.g = ts_graph_new()};
    c.x = ts_input(c.g, "x", TS_REAL, 2, (int64_t[]){ROWS, WIDTH});
    ts_tensor *t = c.x;
    for (int i = 0; i < DEPTH; i++) {
        c.gamma[i] = ts_input(c.g, "gamma", TS_REAL, 1, (int64_t[]){WIDTH});
        c.beta[i] = ts_input(c.g, "beta", TS_REAL, 1, (int64_t[]){WIDTH});
        ts_scope(c.g, "layer.%d", i);
        t = ts_layernorm(c.g, t, c.gamma[i], c.beta[i], 1e-5F);
    }
    c.y = ts_output(c.g, t);
    return c;
}

static void write_normal(ts_exec *e, ts_tensor *t, uint64_t seed)
{
    ts_error err = {0};
    int64_t n = ts_count(t);
    float *data = malloc((size_t)n * sizeof *data);
    for (int64_t i = 0; i < n; i++) data[i] = (float)test_normal(&seed);
    if (!ts_write(e, t, data, &err)) fail_msg("%s", err.text);
    free(data);
}

static ts_exec *prepare(const chain *c, ts_device *dev)
{
    ts_error err = {0};
    ts_exec *e = ts_exec_new(c->g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    write_normal(e, c->x, 1);
    for (int i = 0; i < DEPTH; i++) {
        write_normal(e, c->gamma[i], 10 + (uint64_t)i);
        write_normal(e, c->beta[i], 50 + (uint64_t)i);
    }
    return e;
}

static void run_and_read(ts_exec *e, const chain *c, float *out)
{
    ts_error err = {0};
    if (!ts_run(e, &err) || !ts_read(e, c->y, out, &err)) fail_msg("%s", err.text);
}

static const float *host_result(void)
{
    static float out[ROWS * WIDTH];
    static bool known;
    if (known) return out;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!host) fail_msg("%s", err.text);
    chain c = make_chain();
    ts_exec *e = prepare(&c, host);
    run_and_read(e, &c, out);
    ts_exec_free(e);
    ts_graph_free(c.g);
    ts_device_free(host);
    known = true;
    return out;
}

/* The chain on `dev`, several times. Returns what ts_exec_about said at the end. */
static ts_exec_info check_chain(ts_device *dev, int runs, double tolerance)
{
    float out[ROWS * WIDTH], first[ROWS * WIDTH];
    chain c = make_chain();
    ts_exec *e = prepare(&c, dev);
    for (int i = 0; i < runs; i++) {
        run_and_read(e, &c, out);
        assert_true(relative_error(out, host_result(), ROWS * WIDTH) < tolerance);
        if (i == 0) memcpy(first, out, sizeof out);
        assert_memory_equal(out, first, sizeof out); /* the same bits in each run */
    }
    ts_exec_info info = ts_exec_about(e);
    ts_exec_free(e);
    ts_graph_free(c.g);
    return info;
}

static void chain_reuses_the_arena(void **state)
{
    (void)state;
    ts_device *dev = open_device((ts_device_desc){0});
    ts_exec_info info = check_chain(dev, 20, 1e-5);
    assert_int_equal(info.nodes, DEPTH);
    assert_true(info.submissions >= 1 && info.submissions < DEPTH); /* one, unless the machine is very busy */
    assert_true(info.arena_bytes < info.sum_bytes);
    close_device(dev);
}

static void small_blocks(void **state)
{
    (void)state;
    ts_device *dev = open_device((ts_device_desc){0});
    dev->block_bytes = ROWS * WIDTH * sizeof(float);
    check_chain(dev, 3, 1e-5);
    dev->block_bytes -= dev->align;
    chain c = make_chain();
    ts_error err = {0};
    assert_null(ts_exec_new(c.g, dev, &err));
    assert_int_equal(err.code, TS_ERR_MEMORY);
    ts_graph_free(c.g);
    close_device(dev);
}

static void half_precision(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F16)) skip();
    ts_device *dev = open_device((ts_device_desc){.precision = TS_F16});
    assert_int_equal(ts_device_precision(dev), TS_F16);
    check_chain(dev, 3, 2e-2);
    close_device(dev);
}

/* What other machines do: GPU kernels, memory that the host cannot see, and a submission for each dispatch. */
static void other_machines(void **state)
{
    (void)state;
    setenv("TESSERA_VK_CLASS", "gpu", 1);
    setenv("TESSERA_VK_MEMORY", "staging", 1);
    setenv("TESSERA_VK_SUBMIT_MS", "1e-6", 1);
    ts_device *dev = open_device((ts_device_desc){0});
    unsetenv("TESSERA_VK_CLASS");
    unsetenv("TESSERA_VK_MEMORY");
    unsetenv("TESSERA_VK_SUBMIT_MS");
    ts_exec_info info = check_chain(dev, 4, 1e-5);
    assert_int_equal(info.submissions, DEPTH);
    close_device(dev);
    setenv("TESSERA_VK_CLASS", "tpu", 1);
    ts_error err = {0};
    assert_null(ts_device_open(&(ts_device_desc){.name = device_name()}, &err));
    assert_non_null(strstr(err.text, "tpu"));
    unsetenv("TESSERA_VK_CLASS");
}

static void refused_because(const char *variable, const char *value, const char *words)
{
    ts_error err = {0};
    setenv(variable, value, 1);
    assert_null(ts_device_open(&(ts_device_desc){.name = device_name()}, &err));
    unsetenv(variable);
    if (!strstr(err.text, words)) fail_msg("%s=%s: %s", variable, value, err.text);
}

/* A device without 64-bit integers gets the kernels for GPUs, whatever it is; what is needed is refused by its name. */
static void poorer_machines(void **state)
{
    (void)state;
    setenv("TESSERA_VK_LACKS", "int64,broadcast-id", 1);
    setenv("TESSERA_VK_SHARED", "16384", 1);
    setenv("TESSERA_VK_ALLOC", "134217728", 1);
    ts_device *dev = open_device((ts_device_desc){0});
    unsetenv("TESSERA_VK_SHARED");
    unsetenv("TESSERA_VK_ALLOC");
    check_chain(dev, 4, 1e-5);
    assert_int_equal(ts_device_about(dev)->shared_bytes, 16384);
    assert_int_equal(ts_device_about(dev)->max_alloc_bytes, 134217728);
    close_device(dev);
    refused_because("TESSERA_VK_CLASS", "cpu", "64-bit integers");
    unsetenv("TESSERA_VK_LACKS");
    refused_because("TESSERA_VK_LACKS", "addresses", "bufferDeviceAddress");
    refused_because("TESSERA_VK_LACKS", "scalar-layout", "scalarBlockLayout");
    refused_because("TESSERA_VK_LACKS", "colour", "it lists some of");
    refused_because("TESSERA_VK_SHARED", "12", "at least 16384");
    refused_because("TESSERA_VK_ALLOC", "much", "must be bytes");
}

static void profile(void **state)
{
    (void)state;
    ts_device *dev = open_device((ts_device_desc){.profile = true});
    chain c = make_chain();
    ts_exec *e = prepare(&c, dev);
    float out[ROWS * WIDTH];
    for (int run = 0; run < 4; run++) {
        run_and_read(e, &c, out);
        const ts_profile *list;
        assert_int_equal(ts_exec_profile(e, &list), DEPTH);
        for (int i = 0; i < DEPTH; i++) {
            char name[32];
            snprintf(name, sizeof name, "layer.%d", i);
            assert_string_equal(list[i].op, "layernorm");
            assert_string_equal(list[i].name, name);
            assert_true(list[i].ms > 0 && list[i].ms < 10000);
        }
    }
    assert_true(relative_error(out, host_result(), ROWS * WIDTH) < 1e-5);
    ts_exec_free(e);
    ts_graph_free(c.g);
    close_device(dev);
}

/* Two devices and two graphs of one device at a time. */
static void side_by_side(void **state)
{
    (void)state;
    ts_device *a = open_device((ts_device_desc){0}), *b = open_device((ts_device_desc){0});
    chain c[3] = {make_chain(), make_chain(), make_chain()};
    ts_exec *e[3] = {prepare(&c[0], a), prepare(&c[1], b), prepare(&c[2], a)};
    float out[ROWS * WIDTH];
    for (int i = 0; i < 9; i++) {
        run_and_read(e[i % 3], &c[i % 3], out);
        assert_true(relative_error(out, host_result(), ROWS * WIDTH) < 1e-5);
    }
    for (int i = 0; i < 3; i++) {
        ts_exec_free(e[i]);
        ts_graph_free(c[i].g);
    }
    close_device(a);
    close_device(b);
}

/* ---- parameters ---- */

/* 36 MiB: more than a first buffer of parameters, and than the staging buffer. */
enum { BIG_ROWS = 9217, BIG_WIDTH = 1024 };

/* The last row of `big` counts from 0, gamma is 1 and beta counts from 0. */
static void write_params(const char *path)
{
    ts_error err = {0};
    float gamma[BIG_WIDTH], beta[BIG_WIDTH], *big = calloc((size_t)BIG_ROWS * BIG_WIDTH, sizeof *big);
    assert_non_null(big);
    for (int i = 0; i < BIG_WIDTH; i++) {
        gamma[i] = 1;
        beta[i] = big[(BIG_ROWS - 1) * BIG_WIDTH + i] = (float)i;
    }
    ts_weights_writer *w = ts_weights_writer_new();
    if (!ts_weights_writer_add(w, "norm.big", TS_DT_F32, 2, (int64_t[]){BIG_ROWS, BIG_WIDTH}, big, &err) ||
        !ts_weights_writer_add(w, "norm.gamma", TS_DT_F32, 1, (int64_t[]){BIG_WIDTH}, gamma, &err) ||
        !ts_weights_writer_add(w, "norm.beta", TS_DT_F32, 1, (int64_t[]){BIG_WIDTH}, beta, &err) ||
        !ts_weights_writer_save(w, path, &err))
        fail_msg("%s", err.text);
    ts_weights_writer_free(w);
    free(big);
}

static void check_params(ts_device *dev, const char *path)
{
    ts_error err = {0};
    ts_weights *w = ts_weights_open(path, &err);
    ts_params *ps = w ? ts_params_new(dev, w, "norm.", &err) : NULL;
    if (!ps) fail_msg("%s", err.text);
    ts_graph *g = ts_graph_new();
    ts_tensor *gamma = ts_param(g, ps, "gamma", TS_LAYOUT_PLAIN, 1, (int64_t[]){BIG_WIDTH});
    ts_tensor *big = ts_param(g, ps, "big", TS_LAYOUT_PLAIN, 2, (int64_t[]){BIG_ROWS, BIG_WIDTH});
    ts_tensor *beta = ts_param(g, ps, "beta", TS_LAYOUT_PLAIN, 1, (int64_t[]){BIG_WIDTH});
    ts_tensor *y = ts_output(g, ts_layernorm(g, big, gamma, beta, 1e-5F));
    if (!ts_params_check(ps, &err)) fail_msg("%s", err.text);
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    float *out = calloc((size_t)ts_count(y), sizeof *out);
    if (!ts_run(e, &err) || !ts_read(e, y, out, &err)) fail_msg("%s", err.text);
    const float *last = out + (BIG_ROWS - 1) * BIG_WIDTH;
    const float middle = (BIG_WIDTH - 1) / 2.0F, deviation = sqrtf((BIG_WIDTH * BIG_WIDTH - 1) / 12.0F);
    for (int i = 0; i < BIG_WIDTH; i++) {
        assert_float_equal(out[i], (float)i, 1e-6); /* zeros are their own mean: beta is left */
        assert_float_equal(last[i], ((float)i - middle) / deviation + (float)i, 1e-3);
    }
    free(out);
    ts_exec_free(e);
    ts_graph_free(g);
    ts_params_free(ps);
    ts_weights_free(w);
}

static void parameters(void **state)
{
    (void)state;
    ts_device *dev = open_device((ts_device_desc){0});
    char path[128];
    snprintf(path, sizeof path, "%s/params.safetensors", temp_dir());
    write_params(path);
    check_params(dev, path);
    close_device(dev);
    setenv("TESSERA_VK_MEMORY", "staging", 1);
    dev = open_device((ts_device_desc){0});
    unsetenv("TESSERA_VK_MEMORY");
    check_params(dev, path);
    close_device(dev);
    unlink(path);
}

/* ---- the pipeline cache ---- */

static char *only_file(const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) return NULL;
    assert_int_equal(found.gl_pathc, 1);
    char *path = strdup(found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static void use_device(void)
{
    ts_device *dev = open_device((ts_device_desc){0});
    check_chain(dev, 1, 1e-5);
    close_device(dev);
}

static void pipeline_cache(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    char folder[128], pattern[192];
    snprintf(folder, sizeof folder, "%s/cache", temp_dir());
    snprintf(pattern, sizeof pattern, "%s/tessera/pipelines-*.bin", folder);
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_null(only_file(pattern));
    use_device();
    char *path = only_file(pattern);
    assert_non_null(path);
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    use_device(); /* nothing new was compiled: the file is left alone */
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
    /* A pipe in its place holds nobody up, and stays. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    use_device();
    assert_true(stat(path, &after) == 0 && S_ISFIFO(after.st_mode));
    assert_int_equal(unlink(path), 0);
    use_device();
    /* Broken in each way, it is as good as absent, and made anew. */
    for (int way = 0; way < 4; way++) {
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        if (way == 0) fputs("not a cache", f);
        if (way == 1) assert_int_equal(ftruncate(fileno(f), before.st_size - 1), 0);
        if (way == 2) assert_int_equal(ftruncate(fileno(f), 0), 0);
        if (way == 3) {
            fseek(f, -1, SEEK_END);
            fputc(0x5a, f); /* the last byte of the UUID in the driver's header, or of what it compiled */
        }
        fclose(f);
        use_device();
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_size, before.st_size);
    }
    free(path);
    /* No folder can be made below a file. */
    snprintf(folder, sizeof folder, "%s/file", temp_dir());
    FILE *f = fopen(folder, "w");
    assert_non_null(f);
    fclose(f);
    setenv("XDG_CACHE_HOME", folder, 1);
    use_device();
    unsetenv("XDG_CACHE_HOME");
}

/* ---- devices ---- */

static void devices_are_listed(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    ts_error err = {0};
    ts_device_info *list = NULL;
    int count = ts_device_list(&list, &err);
    assert_true(count >= 2);
    assert_int_equal(list[count - 1].kind, TS_DEVICE_HOST);
    for (int i = 0; i + 1 < count; i++) {
        assert_int_equal(list[i].kind, TS_DEVICE_VULKAN);
        assert_int_equal(list[i].index, i);
        assert_true(list[i].name[0] && list[i].type[0] && list[i].driver[0] && list[i].api[0]);
        assert_true(list[i].usable ? list[i].subgroup >= 1 && list[i].max_alloc_bytes > 0 : list[i].why[0] != '\0');
    }
    free(list);
}

static void absent_devices(void **state)
{
    (void)state;
    if (!test_vulkan(TS_F32)) skip();
    const char *names[] = {"vulkan:99", "vulkan:-1", "vulkan:", "vulkan:0x", "vulkan:99999999999999999999", "no such card"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ts_error err = {0};
        assert_null(ts_device_open(&(ts_device_desc){.name = names[i]}, &err));
        assert_int_equal(err.code, TS_ERR_DEVICE);
        assert_non_null(strstr(err.text, names[i]));
    }
    ts_error err = {0};
    assert_null(ts_device_open(&(ts_device_desc){.name = "vulkan", .precision = TS_F64}, &err));
    assert_int_equal(err.code, TS_ERR_UNSUPPORTED);
}

/* The loader reads its variables once in a process: looked at from a child. */
static void no_driver(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        setenv("VK_DRIVER_FILES", "/nonexistent/none.json", 1);
        setenv("VK_ICD_FILENAMES", "/nonexistent/none.json", 1);
        ts_error err = {0};
        ts_device_info *list = NULL;
        if (ts_device_list(&list, &err) != 1 || list[0].kind != TS_DEVICE_HOST) _exit(1);
        free(list);
        if (ts_device_open(&(ts_device_desc){.name = "vulkan"}, &err) || err.code != TS_ERR_DEVICE) _exit(2);
        if (!strstr(err.text, "no Vulkan driver")) _exit(3);
        err = (ts_error){0};
        ts_device *dev = ts_device_open(&(ts_device_desc){.name = "auto"}, &err);
        if (!dev || ts_device_about(dev)->kind != TS_DEVICE_HOST) _exit(4);
        ts_device_free(dev);
        _exit(0);
    }
    assert_true(child > 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_driver), /* first: it forks */
        cmocka_unit_test(devices_are_listed), cmocka_unit_test(absent_devices), cmocka_unit_test(chain_reuses_the_arena),
        cmocka_unit_test(small_blocks),       cmocka_unit_test(half_precision), cmocka_unit_test(other_machines),
        cmocka_unit_test(poorer_machines),    cmocka_unit_test(profile),        cmocka_unit_test(side_by_side),
        cmocka_unit_test(parameters),         cmocka_unit_test(pipeline_cache), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("vulkan", tests, NULL, NULL);
}
