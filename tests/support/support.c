/* support.c - see support.h. */
#include "support.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_INPUTS = 12 };

struct op_case {
    const void *args;
    uint64_t seed;
    int count;
    ts_tensor *tensor[MAX_INPUTS];
    void *data[MAX_INPUTS];
};

double test_uniform(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

double test_normal(uint64_t *seed)
{
    double u = 1 - test_uniform(seed), v = test_uniform(seed);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

static ts_tensor *add_input(op_case *c, ts_tensor *t, double deviation, int32_t low, int32_t high)
{
    if (!t) return NULL;
    assert_true(c->count < MAX_INPUTS);
    int64_t n = ts_count(t);
    void *data = malloc((size_t)n * 4);
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) {
        if (t->type == TS_REAL) ((float *)data)[i] = (float)(deviation * test_normal(&c->seed));
        else ((int32_t *)data)[i] = low + (int32_t)(test_uniform(&c->seed) * (high - low));
    }
    c->tensor[c->count] = t;
    c->data[c->count++] = data;
    return t;
}

ts_tensor *case_real(op_case *c, ts_graph *g, int ndim, const int64_t *shape)
{
    return add_input(c, ts_input(g, "x", TS_REAL, ndim, shape), 1, 0, 0);
}

ts_tensor *case_weight(op_case *c, ts_graph *g, ts_layout layout, int ndim, const int64_t *shape)
{
    double fan_in = 1;
    for (int i = 1; i < ndim; i++) fan_in *= (double)shape[i];
    return add_input(c, ts_input_weight(g, "w", layout, ndim, shape), 1 / sqrt(fan_in), 0, 0);
}

ts_tensor *case_int(op_case *c, ts_graph *g, int ndim, const int64_t *shape, int32_t low, int32_t high)
{
    return add_input(c, ts_input(g, "i", TS_I32, ndim, shape), 0, low, high);
}

const void *case_args(const op_case *c)
{
    return c->args;
}

/* The result on one device: doubles, or int32 in `ints`. */
static int64_t run_case(const char *label, ts_device *dev, op_build build, const void *args, uint64_t seed, double **reals,
                        int32_t **ints)
{
    ts_error err = {0};
    op_case c = {.args = args, .seed = seed};
    ts_graph *g = ts_graph_new();
    ts_tensor *y = ts_output(g, build(&c, g));
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s: %s", label, err.text);
    for (int i = 0; i < c.count; i++)
        if (!ts_write(e, c.tensor[i], c.data[i], &err)) fail_msg("%s: %s", label, err.text);
    /* Twice, so that a plan that spoils its own inputs shows. */
    if (!ts_run(e, &err) || !ts_run(e, &err)) fail_msg("%s: %s", label, err.text);
    int64_t n = ts_count(y);
    bool ok;
    if (y->type == TS_REAL) {
        *reals = malloc((size_t)n * sizeof **reals);
        ok = ts_read_f64(e, y, *reals, &err);
    } else {
        *ints = malloc((size_t)n * sizeof **ints);
        ok = ts_read(e, y, *ints, &err);
    }
    if (!ok) fail_msg("%s: %s", label, err.text);
    for (int i = 0; i < c.count; i++) free(c.data[i]);
    ts_exec_free(e);
    ts_graph_free(g);
    return n;
}

static void compare(const char *label, const char *where, int64_t n, const double *got, const double *want, double tolerance)
{
    double top = 1, worst = 0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i])) fail_msg("%s on %s: element %lld is %g, wanted %g", label, where, (long long)i, got[i], want[i]);
        worst = fmax(worst, fabs(got[i] - want[i]));
    }
    if (worst > tolerance * top)
        fail_msg("%s on %s: worst error %.3g of %.3g, %.1g allowed", label, where, worst, top, tolerance);
}

void check_op(const char *label, op_build build, const void *args, uint64_t seed, double tolerance)
{
    ts_error err = {0};
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!yardstick || !host) fail_msg("%s", err.text);
    struct {
        const char *name;
        ts_device *dev;
        double tolerance;
    } others[] = {
        {"host", host, tolerance}, {"vulkan", test_vulkan(TS_F32), tolerance}, {"vulkan fp16", test_vulkan(TS_F16), 5e-3}};
    double *want = NULL;
    int32_t *want_ints = NULL;
    int64_t n = run_case(label, yardstick, build, args, seed, &want, &want_ints);
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        if (!others[k].dev) continue;
        double *got = NULL;
        int32_t *got_ints = NULL;
        run_case(label, others[k].dev, build, args, seed, &got, &got_ints);
        if (want) compare(label, others[k].name, n, got, want, others[k].tolerance);
        /* In fp16 two candidates may come to the same value, so that an index may differ: compared in fp32 only. */
        else if (ts_device_precision(others[k].dev) == TS_F32)
            assert_memory_equal(got_ints, want_ints, (size_t)n * sizeof *want_ints);
        free(got);
        free(got_ints);
    }
    free(want);
    free(want_ints);
    ts_device_free(yardstick);
    ts_device_free(host);
}

/* ---- gradients ---- */

/* A graph of loss = sum(y r) and its gradients, on one device, with its inputs written. */
typedef struct {
    op_case c;
    ts_graph *g;
    ts_exec *e;
    ts_tensor *loss;
    ts_tensor *input[MAX_INPUTS]; /* the real ones */
    ts_tensor *grad[MAX_INPUTS];
    const float *data[MAX_INPUTS]; /* of the real inputs */
    int count;
} grad_run;

static void grad_open(grad_run *r, const char *label, ts_device *dev, op_build build, const void *args, uint64_t seed)
{
    ts_error err = {0};
    *r = (grad_run){.c = {.args = args, .seed = seed}, .g = ts_graph_new()};
    ts_tensor *y = build(&r->c, r->g);
    for (int i = 0; i < r->c.count; i++)
        if (r->c.tensor[i]->type == TS_REAL) {
            r->data[r->count] = r->c.data[i];
            r->input[r->count++] = r->c.tensor[i];
        }
    ts_tensor *weights = y ? case_real(&r->c, r->g, y->ndim, y->shape) : NULL;
    r->loss = ts_output(r->g, ts_sum(r->g, ts_mul(r->g, y, weights)));
    ts_grad(r->g, r->loss, r->count, r->input, r->grad);
    for (int i = 0; i < r->count; i++) {
        if (!r->grad[i]) continue;
        assert_true(ts_count(r->grad[i]) == ts_count(r->input[i]) && r->grad[i]->layout == r->input[i]->layout);
        ts_output(r->g, r->grad[i]);
    }
    r->e = ts_exec_new(r->g, dev, &err);
    if (!r->e) fail_msg("gradient of %s: %s", label, err.text);
    for (int i = 0; i < r->c.count; i++)
        if (!ts_write(r->e, r->c.tensor[i], r->c.data[i], &err)) fail_msg("gradient of %s: %s", label, err.text);
    if (!ts_run(r->e, &err) || !ts_run(r->e, &err)) fail_msg("gradient of %s: %s", label, err.text);
}

static void grad_close(grad_run *r)
{
    for (int i = 0; i < r->c.count; i++) free(r->c.data[i]);
    ts_exec_free(r->e);
    ts_graph_free(r->g);
}

/* The gradient of input k, zeros where none flows; free() it. */
static double *grad_read(const grad_run *r, const char *label, int k)
{
    ts_error err = {0};
    double *out = calloc((size_t)ts_count(r->input[k]), sizeof *out);
    assert_non_null(out);
    if (r->grad[k] && !ts_read_f64(r->e, r->grad[k], out, &err)) fail_msg("gradient of %s: %s", label, err.text);
    return out;
}

/* The loss with input k at data + step * direction. */
static double loss_at(const grad_run *r, const char *label, int k, const double *direction, double step)
{
    ts_error err = {0};
    const int64_t n = ts_count(r->input[k]);
    double *moved = malloc((size_t)n * sizeof *moved), loss;
    assert_non_null(moved);
    for (int64_t i = 0; i < n; i++) moved[i] = (double)r->data[k][i] + step * direction[i];
    if (!ts_write_f64(r->e, r->input[k], moved, &err) || !ts_run(r->e, &err) || !ts_read_f64(r->e, r->loss, &loss, &err))
        fail_msg("gradient of %s: %s", label, err.text);
    free(moved);
    return loss;
}

/* Central differences of the yardstick. */
static void check_differences(const grad_run *r, const char *label, int k, const double *grad, uint64_t seed)
{
    const int64_t n = ts_count(r->input[k]);
    const double step = 1e-5;
    double *direction = malloc((size_t)n * sizeof *direction), norm = 0;
    assert_non_null(direction);
    for (int64_t i = 0; i < n; i++) norm += grad[i] * grad[i];
    for (int trial = 0; trial < 3; trial++) {
        double slope = 0;
        for (int64_t i = 0; i < n; i++) {
            direction[i] = test_normal(&seed);
            slope += grad[i] * direction[i];
        }
        const double found = (loss_at(r, label, k, direction, step) - loss_at(r, label, k, direction, -step)) / (2 * step);
        if (!(fabs(found - slope) <= 1e-6 * (1 + sqrt(norm))))
            fail_msg("gradient of %s, input %d: the slope is %.9g, differences give %.9g", label, k, slope, found);
    }
    for (int64_t i = 0; i < n; i++) direction[i] = 0;
    loss_at(r, label, k, direction, 0); /* puts the input back */
    free(direction);
}

void check_grad(const char *label, op_build build, const void *args, uint64_t seed, double tolerance)
{
    ts_error err = {0};
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    if (!yardstick || !host) fail_msg("%s", err.text);
    const struct {
        const char *name;
        ts_device *dev;
    } others[] = {{"host", host}, {"vulkan", test_vulkan(TS_F32)}};
    grad_run want;
    grad_open(&want, label, yardstick, build, args, seed);
    double *grads[MAX_INPUTS];
    for (int k = 0; k < want.count; k++) grads[k] = grad_read(&want, label, k);
    for (int k = 0; k < want.count; k++) check_differences(&want, label, k, grads[k], seed + 1);
    for (size_t d = 0; d < sizeof others / sizeof *others; d++) {
        if (!others[d].dev) continue;
        grad_run got;
        grad_open(&got, label, others[d].dev, build, args, seed);
        for (int k = 0; k < got.count; k++) {
            char what[128];
            snprintf(what, sizeof what, "gradient of %.80s, input %d", label, k);
            double *g = grad_read(&got, label, k);
            compare(what, others[d].name, ts_count(got.input[k]), g, grads[k], tolerance);
            free(g);
        }
        grad_close(&got);
    }
    for (int k = 0; k < want.count; k++) free(grads[k]);
    grad_close(&want);
    ts_device_free(yardstick);
    ts_device_free(host);
}

#ifdef __SANITIZE_ADDRESS__
/* The validation layer keeps memory of its own when it is unloaded; as long as it stays loaded, leaks.supp can tell it by name.
 */
static __attribute__((constructor)) void hold_layer(void)
{
    dlopen("libVkLayer_khronos_validation.so", RTLD_NOW | RTLD_NODELETE);
    dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_NODELETE);
}
#endif

static ts_device *devices[2]; /* of test_vulkan */

ts_device *test_vulkan(ts_precision precision)
{
    static bool tried[2];
    int k = precision == TS_F16;
    if (tried[k]) return devices[k];
    tried[k] = true;
    ts_error err = {0};
    const char *name = getenv("TESSERA_TEST_DEVICE");
    devices[k] =
        ts_device_open(&(ts_device_desc){.name = name ? name : "vulkan", .precision = precision, .validate = true}, &err);
    /* What a driver cannot do may be left out there; a driver or a layer that is missing may not, where everything is to be
     * tried. */
    const char *required = getenv("TESSERA_REQUIRE_VALIDATION");
    if (!devices[k] && err.code != TS_ERR_UNSUPPORTED && required && strcmp(required, "0") != 0)
        fail_msg("TESSERA_REQUIRE_VALIDATION is set, and the Vulkan half cannot run: %s", err.text);
    if (!devices[k]) print_message("[  SKIPPED ] the Vulkan half: %s\n", err.text);
    else if (k == 0) print_message("[   DEVICE ] %s\n", ts_device_about(devices[k])->name);
    return devices[k];
}

void check_validation_silent(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        ts_device *dev = test_vulkan(k ? TS_F16 : TS_F32);
        const char *first = NULL;
        if (dev && ts_device_validation(dev, &first) > 0) fail_msg("the validation layer says: %s", first);
        ts_device_free(dev); /* not when the program ends: the layer is gone by then */
        devices[k] = NULL;
    }
}

double relative_error(const float *a, const float *b, int64_t count)
{
    double top = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        top = fmax(top, fabs((double)b[i]));
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = d; /* a NaN wins */
    }
    return worst / top;
}

ts_weights *open_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TS_GOLDEN_DIR, name);
    if (access(path, R_OK) != 0) {
        print_message("[  SKIPPED ] %s is not here\n", path);
        skip();
    }
    ts_error err = {0};
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    return w;
}

static const ts_weight *golden(const ts_weights *w, const char *name)
{
    const ts_weight *t = ts_weights_find(w, name);
    if (!t) fail_msg("%s has no tensor %s", ts_weights_path(w), name);
    return t;
}

float *golden_f32(const ts_weights *w, const char *name)
{
    const ts_weight *t = golden(w, name);
    float *out = malloc((size_t)t->count * sizeof *out);
    ts_error err = {0};
    if (!ts_weight_to_f32(t, out, &err)) fail_msg("%s", err.text);
    return out;
}

int64_t *golden_i64(const ts_weights *w, const char *name)
{
    const ts_weight *t = golden(w, name);
    int64_t *out = malloc((size_t)t->count * sizeof *out);
    ts_error err = {0};
    if (!ts_weight_to_i64(t, out, &err)) fail_msg("%s", err.text);
    return out;
}

const char *temp_dir(void)
{
    static char path[64];
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "/tmp/tessera_test_XXXXXX");
        assert_non_null(mkdtemp(path));
    }
    return path;
}
