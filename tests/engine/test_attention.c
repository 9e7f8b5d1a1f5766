/* test_attention.c - attention against the yardstick: head dimensions and lengths that divide nothing, packed and separate,
 * causal, fewer keys than queries, one wide head, scores so large that a softmax without its maximum would overflow, and among
 * the places of a map with relative positions, which are also compared with the formula itself, with every pair's score written
 * out; and with a bias, by how far two places are apart. */
#include "../support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t batch, tq, tk, heads, dim;
    bool packed, causal;
    float gain; /* on the queries; 0: 1 */
} attention_case;

static ts_tensor *build(op_case *c, ts_graph *g)
{
    const attention_case *a = case_args(c);
    const int64_t channels = a->heads * a->dim;
    if (a->packed) {
        ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, 3 * channels});
        return ts_attention_qkv(g, qkv, (int)a->heads, a->causal);
    }
    ts_tensor *q = case_real(c, g, 3, (int64_t[]){a->batch, a->tq, channels});
    ts_tensor *k = case_real(c, g, 3, (int64_t[]){a->batch, a->tk, channels});
    ts_tensor *v = case_real(c, g, 3, (int64_t[]){a->batch, a->tk, channels});
    if (a->gain != 0) q = ts_scale(g, q, a->gain, 0);
    return ts_attention(g, q, k, v, (int)a->heads, a->causal);
}

static void shapes(void **state)
{
    (void)state;
    const attention_case cases[] = {
        {1, 1, 1, 1, 1, false, false, 0},    {1, 5, 5, 2, 3, true, false, 0},     {2, 17, 17, 3, 32, true, false, 0},
        {1, 50, 50, 2, 64, true, false, 0},  {2, 33, 33, 2, 33, true, true, 0},   {1, 77, 77, 4, 16, true, true, 0},
        {1, 7, 23, 2, 40, false, false, 0},  {2, 29, 3, 1, 64, false, false, 0},  {1, 40, 40, 1, 512, false, false, 0},
        {3, 19, 19, 2, 20, false, true, 0},  {1, 21, 130, 1, 8, false, false, 0}, {1, 6, 6, 1, 100, true, true, 0},
        {1, 31, 31, 2, 16, false, false, 30}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attention_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention %d: %d of %d, %d heads of %d%s%s", (int)i, (int)a->tq, (int)a->tk, (int)a->heads,
                 (int)a->dim, a->packed ? ", packed" : "", a->causal ? ", causal" : "");
        check_op(label, build, a, i, a->gain != 0 ? 1e-4 : 1e-5);
    }
}

static void wrong_shapes(void **state)
{
    (void)state;
    const struct {
        int64_t tk, channels;
        int heads;
        bool causal;
        const char *word;
    } cases[] = {{4, 8, 3, false, "heads"}, {4, 6, 2, false, "wants q"}, {5, 8, 2, true, "causal"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *q = ts_input(g, "q", TS_REAL, 3, (int64_t[]){1, 4, 8});
        ts_tensor *k = ts_input(g, "k", TS_REAL, 3, (int64_t[]){1, cases[i].tk, cases[i].channels});
        assert_null(ts_attention(g, q, k, k, cases[i].heads, cases[i].causal));
        assert_non_null(ts_graph_error(g));
        assert_non_null(strstr(ts_graph_error(g)->text, cases[i].word));
        ts_graph_free(g);
    }
    ts_graph *g = ts_graph_new();
    assert_null(ts_attention_qkv(g, ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 4, 12}), 3, false));
    assert_non_null(ts_graph_error(g));
    ts_graph_free(g);
}

/* ---- relative positions ---- */

typedef struct {
    int64_t batch, height, width, heads, dim;
    float gain; /* on the tables; 0: 1 */
} map_case;

static ts_tensor *build_map(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, a->height * a->width, 3 * a->heads * a->dim});
    ts_tensor *rel_h = case_real(c, g, 2, (int64_t[]){2 * a->height - 1, a->dim});
    ts_tensor *rel_w = case_real(c, g, 2, (int64_t[]){2 * a->width - 1, a->dim});
    /* of the size that keeps the sums in range in fp16, which stores them */
    const float gain = (a->gain == 0 ? 1 : a->gain) / sqrtf((float)a->dim);
    rel_h = ts_scale(g, rel_h, gain, 0);
    rel_w = ts_scale(g, rel_w, gain, 0);
    return ts_attention_relative(g, qkv, rel_h, rel_w, (int)a->heads, (int)a->height, (int)a->width);
}

static void relative_positions(void **state)
{
    (void)state;
    const map_case cases[] = {{1, 1, 1, 1, 1, 0},    {2, 3, 5, 2, 16, 0},  {1, 14, 14, 2, 64, 0}, {2, 14, 14, 1, 20, 0},
                              {2, 7, 11, 3, 20, 0},  {1, 7, 11, 2, 80, 0}, {1, 5, 1, 2, 7, 0},    {1, 1, 9, 1, 33, 0},
                              {1, 13, 10, 1, 80, 0}, {2, 2, 2, 2, 4, 0},   {1, 4, 6, 1, 200, 0},  {1, 6, 7, 2, 16, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const map_case *a = &cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention on a map of %d x %d, %d heads of %d", (int)a->height, (int)a->width,
                 (int)a->heads, (int)a->dim);
        check_op(label, build_map, a, i, a->gain != 0 ? 1e-4 : 1e-5);
    }
}

/* The formula, query t of one head: qkv is the item's, of `stride` a row; out (dim). */
static void attend_by_formula(const map_case *a, const float *qkv, const float *rel_h, const float *rel_w, int64_t head,
                              int64_t t, double *out)
{
    const int64_t places = a->height * a->width, channels = a->heads * a->dim, stride = 3 * channels;
    const float *q = qkv + t * stride + head * a->dim;
    double sum = 0, *weight = malloc((size_t)places * sizeof *weight);
    assert_non_null(weight);
    for (int64_t i = 0; i < places; i++) {
        const int64_t down = t / a->width - i / a->width + a->height - 1, across = t % a->width - i % a->width + a->width - 1;
        const float *k = qkv + i * stride + channels + head * a->dim;
        double score = 0;
        for (int64_t c = 0; c < a->dim; c++)
            score += (double)q[c] * ((double)k[c] / sqrt((double)a->dim) + (double)rel_h[down * a->dim + c] +
                                     (double)rel_w[across * a->dim + c]);
        sum += weight[i] = exp(score);
    }
    for (int64_t c = 0; c < a->dim; c++) {
        out[c] = 0;
        for (int64_t i = 0; i < places; i++)
            out[c] += weight[i] / sum * (double)qkv[i * stride + 2 * channels + head * a->dim + c];
    }
    free(weight);
}

static void by_the_formula(void **state)
{
    (void)state;
    const map_case a = {.batch = 2, .height = 3, .width = 4, .heads = 2, .dim = 5};
    enum { PLACES = 12, CHANNELS = 10, ROW = 3 * CHANNELS };
    float qkv[2 * PLACES * ROW], rel_h[5 * 5], rel_w[7 * 5];
    double got[2 * PLACES * CHANNELS];
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof qkv / sizeof *qkv; i++) qkv[i] = (float)test_normal(&seed);
    for (size_t i = 0; i < sizeof rel_h / sizeof *rel_h; i++) rel_h[i] = (float)test_normal(&seed);
    for (size_t i = 0; i < sizeof rel_w / sizeof *rel_w; i++) rel_w[i] = (float)test_normal(&seed);
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){2, PLACES, ROW});
    ts_tensor *h = ts_input(g, "rel_h", TS_REAL, 2, (int64_t[]){5, 5}), *w = ts_input(g, "rel_w", TS_REAL, 2, (int64_t[]){7, 5});
    ts_tensor *y = ts_output(g, ts_attention_relative(g, x, h, w, 2, 3, 4));
    ts_exec *e = ts_exec_new(g, dev, &err);
    assert_non_null(e);
    assert_true(ts_write(e, x, qkv, &err) && ts_write(e, h, rel_h, &err) && ts_write(e, w, rel_w, &err));
    assert_true(ts_run(e, &err) && ts_read_f64(e, y, got, &err));
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t t = 0; t < PLACES; t++)
            for (int64_t head = 0; head < a.heads; head++) {
                double want[5];
                attend_by_formula(&a, qkv + b * PLACES * ROW, rel_h, rel_w, head, t, want);
                for (int64_t c = 0; c < a.dim; c++)
                    assert_true(fabs(got[(b * PLACES + t) * CHANNELS + head * a.dim + c] - want[c]) < 1e-12);
            }
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

static void wrong_maps(void **state)
{
    (void)state;
    const struct {
        int64_t rows_h, dim_h, rows_w, dim_w, channels;
        int heads, height, width;
        const char *word;
    } cases[] = {{3, 4, 5, 4, 24, 2, 2, 3, NULL},          {3, 4, 5, 4, 24, 2, 3, 3, "places"},
                 {3, 4, 5, 4, 24, 2, 0, 6, "places"},      {4, 4, 5, 4, 24, 2, 2, 3, "tables of 3 and 5"},
                 {3, 4, 7, 4, 24, 2, 2, 3, "tables of 3"}, {3, 2, 5, 2, 24, 2, 2, 3, "rows of 4"},
                 {3, 4, 5, 5, 24, 2, 2, 3, "rows of 4"},   {3, 12, 5, 12, 24, 2, 2, 3, "rows of 4"},
                 {3, 4, 5, 4, 24, 5, 2, 3, "heads"},       {3, 4, 5, 4, 25, 1, 2, 3, "packed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *qkv = ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 6, cases[i].channels});
        ts_tensor *h = ts_input(g, "rel_h", TS_REAL, 2, (int64_t[]){cases[i].rows_h, cases[i].dim_h});
        ts_tensor *w = ts_input(g, "rel_w", TS_REAL, 2, (int64_t[]){cases[i].rows_w, cases[i].dim_w});
        ts_tensor *y = ts_attention_relative(g, qkv, h, w, cases[i].heads, cases[i].height, cases[i].width);
        if (cases[i].word) {
            assert_null(y);
            assert_non_null(ts_graph_error(g));
            if (!strstr(ts_graph_error(g)->text, cases[i].word)) fail_msg("case %d: %s", (int)i, ts_graph_error(g)->text);
        } else {
            assert_non_null(y);
        }
        ts_graph_free(g);
    }
    ts_graph *g = ts_graph_new();
    ts_tensor *qkv = ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 6, 24}), *flat = ts_input(g, "t", TS_REAL, 1, (int64_t[]){4});
    assert_null(ts_attention_relative(g, qkv, flat, flat, 2, 2, 3));
    assert_non_null(ts_graph_error(g));
    ts_graph_free(g);
}

/* ---- a bias ---- */

static ts_tensor *build_biased(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    const int64_t tokens = a->height * a->width;
    ts_tensor *qkv = case_real(c, g, 3, (int64_t[]){a->batch, tokens, 3 * a->heads * a->dim});
    return ts_attention_biased(g, qkv, case_real(c, g, 3, (int64_t[]){a->heads, tokens, tokens}), (int)a->heads);
}

static ts_tensor *build_distance(op_case *c, ts_graph *g)
{
    const map_case *a = case_args(c);
    ts_tensor *table = case_real(c, g, 2, (int64_t[]){a->heads, a->height * a->width});
    return ts_distance_bias(g, table, (int)a->height, (int)a->width);
}

static const map_case biased_cases[] = {{1, 1, 1, 1, 1, 0},   {2, 3, 5, 2, 16, 0}, {3, 7, 7, 4, 32, 0}, {2, 14, 14, 2, 32, 0},
                                        {1, 7, 11, 3, 20, 0}, {2, 5, 1, 2, 7, 0},  {1, 1, 9, 1, 33, 0}, {1, 4, 6, 1, 200, 0}};

static void biases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof biased_cases / sizeof *biased_cases; i++) {
        const map_case *a = &biased_cases[i];
        char label[96];
        snprintf(label, sizeof label, "attention with a bias, %d x %d, %d heads of %d", (int)a->height, (int)a->width,
                 (int)a->heads, (int)a->dim);
        check_op(label, build_biased, a, i, 1e-5);
        snprintf(label, sizeof label, "bias by distance, %d x %d, %d heads", (int)a->height, (int)a->width, (int)a->heads);
        check_op(label, build_distance, a, i, 1e-7);
    }
}

/* Two heads of one dimension on a map of 1 x 2, written out: q = k = 0, so that the bias alone says what is looked at. */
static void bias_by_hand(void **state)
{
    (void)state;
    const float qkv[] = {0, 0, 0, 0, 1, 10, 0, 0, 0, 0, 2, 20}, table[] = {0, 1, 3, -1}; /* rows of q, k, v, two heads each */
    const double near[2] = {1 / (1 + exp(1.0)), 1 / (1 + exp(-4.0))};                    /* of a place to itself, head by head */
    double got[4];
    ts_error err = {0};
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = "cpu", .precision = TS_F64}, &err);
    ts_graph *g = ts_graph_new();
    ts_tensor *x = ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 2, 6}), *t = ts_input(g, "t", TS_REAL, 2, (int64_t[]){2, 2});
    ts_tensor *y = ts_output(g, ts_attention_biased(g, x, ts_distance_bias(g, t, 1, 2), 2));
    ts_exec *e = ts_exec_new(g, dev, &err);
    if (!e) fail_msg("%s", err.text);
    assert_true(ts_write(e, x, qkv, &err) && ts_write(e, t, table, &err) && ts_run(e, &err) && ts_read_f64(e, y, got, &err));
    for (int place = 0; place < 2; place++)
        for (int head = 0; head < 2; head++) {
            const double mine = qkv[place * 6 + 4 + head], other = qkv[(1 - place) * 6 + 4 + head];
            assert_true(fabs(got[place * 2 + head] - (near[head] * mine + (1 - near[head]) * other)) < 1e-12);
        }
    ts_exec_free(e);
    ts_graph_free(g);
    ts_device_free(dev);
}

static void wrong_biases(void **state)
{
    (void)state;
    const struct {
        int64_t channels, a, b, c;
        int heads;
        const char *word;
    } cases[] = {{24, 2, 6, 6, 2, NULL},        {24, 2, 6, 5, 2, "(2, 6, 5)"}, {24, 2, 5, 6, 2, "(2, 5, 6)"},
                 {24, 3, 6, 6, 2, "(3, 6, 6)"}, {25, 1, 6, 6, 1, "packed"},    {24, 5, 6, 6, 5, "heads"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_graph *g = ts_graph_new();
        ts_tensor *qkv = ts_input(g, "qkv", TS_REAL, 3, (int64_t[]){1, 6, cases[i].channels});
        ts_tensor *bias = ts_input(g, "bias", TS_REAL, 3, (int64_t[]){cases[i].a, cases[i].b, cases[i].c});
        ts_tensor *y = ts_attention_biased(g, qkv, bias, cases[i].heads);
        assert_true((y != NULL) == (cases[i].word == NULL));
        if (cases[i].word && !strstr(ts_graph_error(g)->text, cases[i].word))
            fail_msg("case %d: %s", (int)i, ts_graph_error(g)->text);
        ts_graph_free(g);
    }
    ts_graph *g = ts_graph_new();
    assert_null(ts_distance_bias(g, ts_input(g, "t", TS_REAL, 2, (int64_t[]){2, 5}), 2, 3));
    assert_non_null(strstr(ts_graph_error(g)->text, "(heads, 6)"));
    ts_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),         cmocka_unit_test(wrong_shapes), cmocka_unit_test(relative_positions),
        cmocka_unit_test(by_the_formula), cmocka_unit_test(wrong_maps),   cmocka_unit_test(biases),
        cmocka_unit_test(bias_by_hand),   cmocka_unit_test(wrong_biases), cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
