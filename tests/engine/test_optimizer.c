/* test_optimizer.c - training steps against plain loops in double precision: AdamW and SGD, clipped and accumulated gradients,
 * states that keep their values, parameters with a file and without one, in the layouts of the device. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT = 37, IN = 12, COUNT = OUT * IN, STEPS = 6 };

static bool make_parameter(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    int *calls = ctx;
    (*calls)++;
    if (strcmp(name, "bad") == 0) return ts_fail(err, TS_ERR_ARGUMENT, "no such thing as bad");
    int64_t count = 1;
    uint64_t seed = strlen(name);
    for (int i = 0; i < ndim; i++) count *= shape[i];
    for (int64_t i = 0; i < count; i++) out[i] = (float)test_normal(&seed);
    return true;
}

/* loss = mean (w - target)^2 + sum b target_b, with a linear weight and a plain one; `clip` bounds the norm unless 0. */
typedef struct {
    ts_params *ps;
    ts_graph *g;
    ts_exec *e;
    ts_tensor *w, *b, *target, *slope, *hyper, *norm, *grad, *m;
} training;

typedef struct {
    bool sgd;
    double clip;
    int micro; /* gradients added up before a step; 0: none are */
} method;

static const double rate = 0.01, decay = 0.1, momentum = 0.9;

static bool update(training *t, const method *how, ts_tensor *p, ts_tensor *grad, ts_tensor *scale, ts_tensor **first)
{
    ts_graph *g = t->g;
    ts_tensor *m = *first = ts_state(g, "m", p->layout, p->ndim, p->shape);
    ts_tensor *v = ts_state(g, "v", p->layout, p->ndim, p->shape);
    if (how->sgd) return ts_sgd(g, p, grad, m, t->hyper, scale, (float)momentum, (float)decay);
    return ts_adamw(g, p, grad, m, v, t->hyper, scale, &(ts_adamw_desc){.weight_decay = decay});
}

static training open_training(ts_device *dev, const method *how)
{
    ts_error err = {0};
    training t = {0};
    static int calls;
    t.ps = ts_params_new_trainable(dev, NULL, "", make_parameter, &calls, &err);
    if (!t.ps) fail_msg("%s", err.text);
    t.g = ts_graph_new();
    ts_graph *g = t.g;
    t.w = ts_param(g, t.ps, "weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){OUT, IN});
    t.b = ts_param(g, t.ps, "b", TS_LAYOUT_PLAIN, 1, (int64_t[]){OUT});
    assert_ptr_equal(t.w, ts_param(g, t.ps, "weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){OUT, IN}));
    t.target = ts_input_weight(g, "target", TS_LAYOUT_LINEAR, 2, (int64_t[]){OUT, IN});
    t.slope = ts_input(g, "slope", TS_REAL, 1, (int64_t[]){OUT});
    t.hyper = ts_input(g, "hyper", TS_REAL, 1, (int64_t[]){3});
    ts_tensor *loss = ts_mean(g, ts_square(g, ts_sub(g, t.w, t.target)));
    loss = ts_add(g, loss, ts_sum(g, ts_mul(g, t.b, t.slope)));
    ts_tensor *params[2], *grads[2], *scale = NULL, *first;
    assert_int_equal(ts_graph_params(g, t.ps, params), 2);
    assert_ptr_equal(params[0], t.w);
    assert_ptr_equal(params[1], t.b);
    assert_true(ts_grad(g, loss, 2, params, grads));
    for (int k = 0; how->micro && k < 2; k++) {
        ts_tensor *sum = ts_state(g, "sum", params[k]->layout, params[k]->ndim, params[k]->shape);
        assert_true(ts_reset(g, sum, 0));
        for (int i = 0; i < how->micro; i++) assert_true(ts_accumulate(g, sum, grads[k]));
        grads[k] = sum;
    }
    if (how->clip > 0) scale = ts_clip_scale(g, 2, grads, (float)how->clip, &t.norm);
    assert_true(update(&t, how, t.w, grads[0], scale, &t.m));
    assert_true(update(&t, how, t.b, grads[1], scale, &first));
    ts_output(g, t.norm);
    t.grad = ts_output(g, grads[0]);
    t.e = ts_exec_new(g, dev, &err);
    if (!t.e) fail_msg("%s", err.text);
    return t;
}

static void close_training(training *t)
{
    ts_exec_free(t->e);
    ts_graph_free(t->g);
    ts_params_free(t->ps);
}

/* The same in plain loops; element i of the weight is p[i], of b p[COUNT + i]. */
typedef struct {
    double p[COUNT + OUT], m[COUNT + OUT], v[COUNT + OUT], norm;
} reference;

static void reference_step(reference *r, const method *how, const double *grad, int step)
{
    double scale = 1, sum = 0;
    for (int i = 0; i < COUNT + OUT; i++) sum += grad[i] * grad[i];
    r->norm = sqrt(sum);
    if (how->clip > 0) scale = fmin(1, how->clip / (r->norm + 1e-6));
    for (int i = 0; i < COUNT + OUT; i++) {
        double g = grad[i] * scale;
        if (how->sgd) {
            r->m[i] = momentum * r->m[i] + g + decay * r->p[i];
            r->p[i] -= rate * r->m[i];
            continue;
        }
        r->m[i] = 0.9 * r->m[i] + 0.1 * g;
        r->v[i] = 0.999 * r->v[i] + 0.001 * g * g;
        r->p[i] -= rate * decay * r->p[i];
        r->p[i] -= rate * r->m[i] / (1 - pow(0.9, step)) / (sqrt(r->v[i] / (1 - pow(0.999, step))) + 1e-8);
    }
}

static void compare(const char *what, const float *got, const double *want, int count, double tolerance)
{
    for (int i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance))
            fail_msg("%s: element %d is %.9g, wanted %.9g", what, i, (double)got[i], want[i]);
}

static void train(ts_device *dev, const method *how, float *result)
{
    ts_error err = {0};
    training t = open_training(dev, how);
    static reference r;
    r = (reference){0};
    uint64_t seed = 11;
    float got[COUNT + OUT], target[COUNT], slope[OUT];
    assert_true(ts_params_count(t.ps) == 2 && strcmp(ts_params_name(t.ps, 0), "weight") == 0);
    int64_t shape[TS_MAX_DIMS];
    assert_true(ts_params_shape(t.ps, 0, shape) == 2 && shape[0] == OUT && shape[1] == IN);
    assert_true(ts_params_read(t.ps, 0, got, &err) && ts_params_read(t.ps, 1, got + COUNT, &err));
    for (int i = 0; i < COUNT + OUT; i++) r.p[i] = (double)got[i];
    for (int i = 0; i < COUNT; i++) target[i] = (float)test_normal(&seed);
    for (int step = 1; step <= STEPS; step++) {
        double grad[COUNT + OUT];
        for (int i = 0; i < OUT; i++) slope[i] = (float)test_normal(&seed);
        const double times = how->micro ? how->micro : 1;
        for (int i = 0; i < COUNT; i++) grad[i] = times * 2 * (r.p[i] - (double)target[i]) / COUNT;
        for (int i = 0; i < OUT; i++) grad[COUNT + i] = times * (double)slope[i];
        const float hyper[] = {(float)rate, (float)(1 - pow(0.9, step)), (float)(1 - pow(0.999, step))};
        assert_true(ts_write(t.e, t.target, target, &err) && ts_write(t.e, t.slope, slope, &err));
        assert_true(ts_write(t.e, t.hyper, hyper, &err) && ts_run(t.e, &err));
        assert_true(ts_read(t.e, t.grad, got, &err));
        compare("gradient", got, grad, COUNT, 1e-6 * times);
        reference_step(&r, how, grad, step);
        if (t.norm) {
            assert_true(ts_read(t.e, t.norm, got, &err));
            assert_true(fabs((double)got[0] - r.norm) < 1e-5 * r.norm);
        }
    }
    assert_true(ts_params_read(t.ps, 0, result, &err) && ts_params_read(t.ps, 1, result + COUNT, &err));
    compare("parameters", result, r.p, COUNT + OUT, 5e-6);
    assert_true(ts_read(t.e, t.m, got, &err));
    compare("moments", got, r.m, COUNT, 1e-5);
    close_training(&t);
}

static void steps(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *yardstick = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_device *devices[] = {yardstick, host, test_vulkan(TS_F32)};
    const method methods[] = {{false, 0, 0}, {false, 0.5, 0}, {true, 0, 0}, {true, 3, 3}, {false, 1000, 2}};
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; devices[k] && i < sizeof methods / sizeof *methods; i++) {
            float first[COUNT + OUT], second[COUNT + OUT];
            train(devices[k], &methods[i], first);
            if (i > 1) continue;
            train(devices[k], &methods[i], second); /* again: the same bits */
            assert_memory_equal(first, second, sizeof first);
        }
    ts_device_free(host);
    ts_device_free(yardstick);
}

/* More gradients than one node takes, of odd sizes. */
static void clip_of_many(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    enum { MANY = 45 };
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *list[MANY + 1] = {NULL}, *norm; /* the last one absent */
        for (int i = 0; i < MANY; i++) list[i] = ts_input(g, "x", TS_REAL, 1, (int64_t[]){1 + 301 * i});
        ts_tensor *scale = ts_output(g, ts_clip_scale(g, MANY + 1, list, 2, &norm));
        ts_output(g, norm);
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        static float data[301 * MANY];
        double sum = 0;
        uint64_t seed = 1;
        for (int i = 0; i < MANY; i++) {
            for (int j = 0; j < 1 + 301 * i; j++) {
                data[j] = (float)test_normal(&seed);
                sum += (double)data[j] * (double)data[j];
            }
            assert_true(ts_write(e, list[i], data, &err));
        }
        float got[2];
        assert_true(ts_run(e, &err) && ts_read(e, scale, got, &err) && ts_read(e, norm, got + 1, &err));
        assert_true(fabs((double)got[1] - sqrt(sum)) < 1e-5 * sqrt(sum));
        assert_true(fabs((double)got[0] - 2 / (sqrt(sum) + 1e-6)) < 1e-5);
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

/* What is read before and after a change in place is the value of then: y = state, state += x, z = state. */
static void order_of_changes(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 2, (int64_t[]){1, 4}),
                  *s = ts_state(g, "s", TS_LAYOUT_PLAIN, 2, (int64_t[]){1, 4});
        ts_tensor *w = ts_input_weight(g, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){4, 4});
        ts_tensor *y = ts_output(g, ts_scale(g, s, 1, 0)), *product = ts_linear(g, x, w, NULL);
        assert_true(ts_accumulate(g, s, x));
        ts_tensor *z = ts_output(g, ts_add(g, product, s)); /* not to be folded into the product, which stands before */
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        const float in[] = {1, 2, 3, 4}, eye[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
        float got[4];
        assert_true(ts_write(e, x, in, &err) && ts_write(e, w, eye, &err));
        for (int run = 0; run < 3; run++) {
            assert_true(ts_run(e, &err) && ts_read(e, y, got, &err));
            for (int i = 0; i < 4; i++) assert_true(got[i] == (float)run * in[i]);
            assert_true(ts_read(e, z, got, &err));
            for (int i = 0; i < 4; i++) assert_true(got[i] == (float)(run + 2) * in[i]);
        }
        ts_exec_free(e);
        ts_graph_free(g);
    }
    ts_device_free(host);
}

/* A weight that a step changes is used changed by the next run, by products and convolutions too. */
static void trained_weights(void **state)
{
    (void)state;
    ts_error err = {0};
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        int calls = 0;
        ts_params *ps = ts_params_new_trainable(devices[k], NULL, "", make_parameter, &calls, &err);
        ts_graph *g = ts_graph_new();
        ts_tensor *x = ts_input(g, "x", TS_REAL, 4, (int64_t[]){1, 8, 8, 16});
        ts_tensor *w = ts_param(g, ps, "w", TS_LAYOUT_CONV, 4, (int64_t[]){24, 16, 3, 3});
        ts_tensor *v = ts_param(g, ps, "v.", TS_LAYOUT_LINEAR, 2, (int64_t[]){10, 24});
        ts_tensor *y = ts_conv2d(g, x, w, NULL, &(ts_conv_desc){.top = 1, .left = 1, .bottom = 1, .right = 1});
        y = ts_output(g, ts_linear(g, y, v, NULL));
        assert_true(ts_accumulate(g, w, w) && ts_accumulate(g, v, v)); /* both twice as large */
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        float in[8 * 8 * 16], first[8 * 8 * 10], got[8 * 8 * 10];
        static float weight[24 * 16 * 9], read[24 * 16 * 9];
        uint64_t seed = 2;
        for (int i = 0; i < 8 * 8 * 16; i++) in[i] = (float)test_normal(&seed);
        assert_true(ts_params_read(ps, 0, weight, &err));
        assert_true(ts_write(e, x, in, &err) && ts_run(e, &err) && ts_read(e, y, first, &err));
        assert_true(ts_run(e, &err) && ts_read(e, y, got, &err));
        for (int i = 0; i < 640; i++) assert_true(fabs((double)got[i] - 4 * (double)first[i]) <= 1e-3);
        assert_true(ts_params_read(ps, 0, read, &err));
        for (int i = 0; i < 24 * 16 * 9; i++) assert_true(read[i] == 4 * weight[i]);
        assert_true(ts_params_write(ps, 0, weight, &err) && ts_params_read(ps, 0, read, &err));
        assert_memory_equal(read, weight, sizeof read);
        assert_true(ts_run(e, &err) && ts_read(e, y, got, &err));
        for (int i = 0; i < 640; i++) assert_true(fabs((double)got[i] - 4 * (double)first[i]) <= 1e-3);
        assert_int_equal(calls, 2);
        ts_exec_free(e);
        ts_graph_free(g);
        ts_params_free(ps);
    }
    ts_device_free(host);
}

/* Trained copies of a file leave the file alone; what the file lacks is made; what cannot be is said. */
static void from_a_file(void **state)
{
    (void)state;
    ts_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/weights.safetensors", temp_dir());
    const float values[] = {1, 2, 3, 4, 5, 6};
    ts_weights_writer *writer = ts_weights_writer_new();
    assert_true(ts_weights_writer_add(writer, "net.w", TS_DT_F32, 2, (int64_t[]){2, 3}, values, &err));
    assert_true(ts_weights_writer_save(writer, path, &err));
    ts_weights_writer_free(writer);
    ts_weights *w = ts_weights_open(path, &err);
    if (!w) fail_msg("%s", err.text);
    ts_device *host = ts_device_open(&(ts_device_desc){.name = "cpu"}, &err);
    ts_device *devices[] = {host, test_vulkan(TS_F32)};
    for (int k = 0; k < 2; k++) {
        if (!devices[k]) continue;
        int calls = 0;
        ts_params *ps = ts_params_new_trainable(devices[k], w, "net.", make_parameter, &calls, &err);
        ts_graph *g = ts_graph_new();
        ts_tensor *t = ts_param(g, ps, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){2, 3});
        ts_param(g, ps, "other", TS_LAYOUT_PLAIN, 1, (int64_t[]){7});
        assert_int_equal(calls, 1);
        assert_true(ts_params_check(ps, &err) && ts_reset(g, t, 8));
        ts_exec *e = ts_exec_new(g, devices[k], &err);
        if (!e) fail_msg("%s", err.text);
        float got[6];
        assert_true(ts_params_read(ps, 0, got, &err));
        assert_memory_equal(got, values, sizeof got);
        assert_true(ts_run(e, &err) && ts_params_read(ps, 0, got, &err));
        for (int i = 0; i < 6; i++) assert_true(got[i] == 8);
        assert_true(ts_weight_to_f32(ts_weights_find(w, "net.w"), got, &err));
        assert_memory_equal(got, values, sizeof got);
        ts_exec_free(e);
        ts_graph_free(g);
        ts_params_free(ps);

        /* Another shape than the file's is still a mistake, and so is a parameter that init refuses. */
        ps = ts_params_new_trainable(devices[k], w, "net.", make_parameter, &calls, &err);
        g = ts_graph_new();
        ts_param(g, ps, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){3, 2});
        ts_error cause = {0};
        assert_false(ts_params_check(ps, &cause));
        assert_int_equal(cause.code, TS_ERR_SHAPE);
        assert_null(ts_param(g, ps, "bad", TS_LAYOUT_PLAIN, 1, (int64_t[]){7}));
        assert_non_null(ts_graph_error(g));
        assert_non_null(strstr(ts_graph_error(g)->text, "no such thing as bad"));
        ts_graph_free(g);
        ts_params_free(ps);

        /* Parameters of a ts_params_new are not to be changed. */
        ps = ts_params_new(devices[k], w, "net.", &err);
        g = ts_graph_new();
        assert_false(ts_reset(g, ts_param(g, ps, "w", TS_LAYOUT_LINEAR, 2, (int64_t[]){2, 3}), 0));
        assert_int_equal(ts_graph_error(g)->code, TS_ERR_ARGUMENT);
        assert_false(ts_params_write(ps, 0, values, &(ts_error){0}));
        ts_graph_free(g);
        ts_params_free(ps);
    }
    ts_weights_free(w);
    ts_device_free(host);
}

static void refusals(void **state)
{
    (void)state;
    const int64_t shape[] = {4, 4};
    for (int k = 0; k < 5; k++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *p = ts_state(g, "p", TS_LAYOUT_LINEAR, 2, shape), *plain = ts_state(g, "q", TS_LAYOUT_PLAIN, 2, shape);
        ts_tensor *hyper = ts_input(g, "h", TS_REAL, 1, (int64_t[]){3}), *made = ts_fill(g, 2, shape, 1);
        bool ok = true;
        if (k == 0) ok = ts_adamw(g, p, plain, p, p, hyper, NULL, NULL);
        if (k == 1) ok = ts_sgd(g, plain, plain, made, hyper, NULL, 0, 0);
        if (k == 2) ok = ts_adamw(g, p, NULL, p, p, hyper, NULL, NULL);
        if (k == 3) ok = ts_accumulate(g, p, plain);
        if (k == 4) ok = ts_reset(g, ts_reshape(g, plain, 1, (int64_t[]){16}), 0);
        assert_false(ok);
        assert_non_null(ts_graph_error(g));
        ts_graph_free(g);
    }
    if (!test_vulkan(TS_F16)) return;
    ts_graph *g = ts_graph_new();
    ts_tensor *s[4];
    for (int i = 0; i < 4; i++) s[i] = ts_state(g, "s", TS_LAYOUT_PLAIN, 2, shape);
    assert_true(ts_adamw(g, s[0], s[1], s[2], s[3], ts_input(g, "h", TS_REAL, 1, (int64_t[]){3}), NULL, NULL));
    ts_error err = {0};
    assert_null(ts_exec_new(g, test_vulkan(TS_F16), &err));
    assert_int_equal(err.code, TS_ERR_UNSUPPORTED);
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps),
                                       cmocka_unit_test(clip_of_many),
                                       cmocka_unit_test(order_of_changes),
                                       cmocka_unit_test(trained_weights),
                                       cmocka_unit_test(from_a_file),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
