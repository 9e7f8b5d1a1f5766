/* head.c - the classifier: a logistic regression, or a network of one hidden layer with tanh, trained by AdamW on pixels drawn
 * from the strokes, as many of each class. Features are brought to a mean of 0 and a deviation of 1 for the training, by those of
 * the labelled pixels and of some from all over the pictures: what strokes alone tell of a feature's size would make of an edge,
 * of which they have none, something beyond all measure. In the weights that come out this is undone, so that they take features
 * as they are.
 *
 * Strokes are few and their pixels alike, so that many features would do to tell them apart, and most of those are noise
 * elsewhere. Half of the features are therefore left out at random in each step (Srivastava et al. 2014, "Dropout"), which makes
 * the network lean on many; and the smoothed pictures among them weigh more than derivatives, which say less of a lone pixel.
 *
 * It runs on one thread of the processor, whatever looks at the pictures: a step is some milliseconds, of which waiting for other
 * threads, or for another device, would be the larger part. */
#include "strokes/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2048, WARMUP = 10 };
static const double RATE = 0.02, AGAIN_RATE = 0.01, DECAY = 0.3, DROPPED = 0.5, SMOOTH_GAIN = 12;

/* ---- weights ---- */

bool ts_head_new(strokes_head *h, int features, int classes, int hidden, ts_error *err)
{
    const int in = hidden ? hidden : features;
    *h = (strokes_head){.features = features, .classes = classes, .hidden = hidden};
    h->output_weight = calloc((size_t)classes * (size_t)in, sizeof(float));
    h->output_bias = calloc((size_t)classes, sizeof(float));
    if (hidden) {
        h->hidden_weight = calloc((size_t)hidden * (size_t)features, sizeof(float));
        h->hidden_bias = calloc((size_t)hidden, sizeof(float));
    }
    if (h->output_weight && h->output_bias && (!hidden || (h->hidden_weight && h->hidden_bias))) return true;
    ts_head_clear(h);
    ts_fail(err, TS_ERR_MEMORY, "out of memory");
    return false;
}

void ts_head_clear(strokes_head *h)
{
    free(h->hidden_weight);
    free(h->hidden_bias);
    free(h->output_weight);
    free(h->output_bias);
    *h = (strokes_head){0};
}

int ts_head_units(const strokes_head *h)
{
    return h->hidden ? h->hidden : h->classes;
}

const float *ts_head_first(const strokes_head *h, const float **bias)
{
    *bias = h->hidden ? h->hidden_bias : h->output_bias;
    return h->hidden ? h->hidden_weight : h->output_weight;
}

void ts_samples_clear(strokes_samples *s)
{
    free(s->x);
    free(s->label);
    *s = (strokes_samples){0};
}

/* ---- the step ---- */

struct strokes_trainer {
    ts_device *dev; /* its own */
    int features, classes, hidden;
    uint64_t seed;
    ts_params *params;
    ts_graph *g;
    ts_exec *e;
    ts_optimizer *optimizer;
    ts_tensor *x, *target, *drop, *logits, *loss; /* drop: the seed of what is left out */
    int64_t step;
    float *batch;           /* (BATCH, F + D) */
    int32_t label[BATCH];   /* -1: no sample */
    double *mean, *inverse; /* (F + D), of the last training; inverse: 1 / deviation */
};

/* Normal with a deviation of 1 / sqrt(fan in); biases zero. */
static bool begin(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)name, (void)err;
    uint64_t *state = ctx;
    for (int64_t i = 0; ndim == 2 && i < shape[0] * shape[1]; i++) out[i] = (float)(ts_normal(state) / sqrt((double)shape[1]));
    return true;
}

static ts_tensor *layer(strokes_trainer *t, const char *weight, const char *bias, ts_tensor *x, int64_t in, int64_t out)
{
    ts_tensor *w = ts_param(t->g, t->params, weight, TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in});
    return ts_linear(t->g, x, w, ts_param(t->g, t->params, bias, TS_LAYOUT_PLAIN, 1, &out));
}

static bool describe(strokes_trainer *t, ts_error *err)
{
    uint64_t state = t->seed;
    t->dev = ts_device_open(&(ts_device_desc){.name = "cpu", .threads = 1}, err);
    t->params = t->dev ? ts_params_new_trainable(t->dev, NULL, "", begin, &state, err) : NULL;
    if (!t->params || !(t->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->x = ts_input(t->g, "features", TS_REAL, 2, (int64_t[]){BATCH, t->features});
    t->target = ts_input(t->g, "class", TS_I32, 1, (int64_t[]){BATCH});
    t->drop = ts_input(t->g, "drop", TS_I32, 1, (int64_t[]){1});
    ts_tensor *x = ts_dropout(t->g, t->x, t->drop, 1, DROPPED);
    if (t->hidden) x = ts_tanh(t->g, layer(t, "hidden.weight", "hidden.bias", x, t->features, t->hidden)); // (BATCH, U)
    x = layer(t, "output.weight", "output.bias", x, t->hidden ? t->hidden : t->features, t->classes);      // (BATCH, C)
    t->logits = ts_output(t->g, x);
    t->loss = ts_output(t->g, ts_cross_entropy(t->g, x, t->target));
    const ts_optimizer_desc desc = {.weight_decay = DECAY};
    t->optimizer = ts_optimizer_new(t->g, t->params, t->loss, &desc, err);
    return t->optimizer && (t->e = ts_exec_new(t->g, t->dev, err));
}

strokes_trainer *ts_trainer_new(int features, int classes, int hidden, uint64_t seed, ts_error *err)
{
    strokes_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    *t = (strokes_trainer){.features = features, .classes = classes, .hidden = hidden, .seed = seed};
    t->batch = calloc((size_t)BATCH * (size_t)features, sizeof *t->batch);
    t->mean = calloc((size_t)features, sizeof *t->mean);
    t->inverse = calloc((size_t)features, sizeof *t->inverse);
    if (!t->batch || !t->mean || !t->inverse) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    else if (describe(t, err)) return t;
    ts_trainer_free(t);
    return NULL;
}

void ts_trainer_free(strokes_trainer *t)
{
    if (!t) return;
    ts_exec_free(t->e);
    ts_optimizer_free(t->optimizer);
    ts_graph_free(t->g);
    ts_params_free(t->params);
    ts_device_free(t->dev);
    free(t->batch);
    free(t->mean);
    free(t->inverse);
    free(t);
}

/* ---- what is learned from ---- */

/* The samples of a class. */
typedef struct {
    const float **row; /* a part of one array of all */
    int count;
} pool;

/* rows: room for all samples. */
static void fill_pools(const strokes_samples *const *list, int count, int classes, int features, const float **rows, pool *pools)
{
    for (int c = 0; c < classes; c++) {
        pools[c] = (pool){rows, 0};
        for (int s = 0; s < count; s++)
            for (int i = 0; i < list[s]->count; i++)
                if (list[s]->label[i] == c) rows[pools[c].count++] = list[s]->x + (int64_t)i * features;
        rows += pools[c].count;
    }
}

/* As many rows of each class: drawn without a repetition where there are enough, else each as often as the others. */
static void draw(strokes_trainer *t, pool *pools)
{
    const int each = BATCH / t->classes;
    uint64_t state = t->seed ^ UINT64_C(0x5354524f4b4553);
    for (int i = 0; i < BATCH; i++) t->label[i] = -1;
    for (int c = 0; c < t->classes; c++) {
        pool *p = &pools[c];
        for (int i = 0; i < each; i++) {
            if (i < p->count) { /* the beginning of a shuffle (Fisher and Yates) */
                const int other = i + (int)(ts_uniform(&state) * (p->count - i));
                const float *row = p->row[other];
                p->row[other] = p->row[i];
                p->row[i] = row;
            }
            const int at = c * each + i;
            memcpy(t->batch + (int64_t)at * t->features, p->row[i % p->count], (size_t)t->features * sizeof *t->batch);
            t->label[at] = c;
        }
    }
}

/* Mean and deviation of every feature, and with these its weight, over what was drawn and what stands for the pictures. */
static bool measure(strokes_trainer *t, const strokes_samples *const *list, int count, ts_error *err)
{
    const int f = t->features;
    double *sum = calloc((size_t)f, 2 * sizeof *sum), *squares = sum ? sum + f : NULL;
    if (!sum) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    int64_t rows = 0;
    for (int s = -1; s < count; s++) { /* -1: the batch */
        const float *x = s < 0 ? t->batch : list[s]->x;
        const int all = s < 0 ? BATCH : list[s]->count;
        for (int i = 0; i < all; i++) {
            if (s < 0 ? t->label[i] < 0 : list[s]->label[i] != TS_STROKES_NONE) continue;
            for (int k = 0; k < f; k++) {
                const double v = (double)x[(int64_t)i * f + k];
                sum[k] += v;
                squares[k] += v * v;
            }
            rows++;
        }
    }
    for (int k = 0; k < f; k++) {
        const double mean = sum[k] / (double)rows, variance = squares[k] / (double)rows - mean * mean;
        t->mean[k] = mean;
        t->inverse[k] = variance > 1e-9 * (mean * mean) + 1e-14 ? 1 / sqrt(variance) : 0;
        if (k < TS_STROKES_BANK && k % STROKES_OF_SCALE < 3) t->inverse[k] *= SMOOTH_GAIN; /* the Gaussians */
    }
    free(sum);
    return true;
}

static void standardise(strokes_trainer *t)
{
    for (int64_t i = 0; i < BATCH; i++)
        for (int k = 0; k < t->features; k++) {
            float *x = &t->batch[i * t->features + k];
            *x = (float)(((double)*x - t->mean[k]) * t->inverse[k]);
        }
}

/* ---- between weights of the training and those that take features as they are ---- */

static float *named(const strokes_head *h, const char *name)
{
    if (strcmp(name, "hidden.weight") == 0) return h->hidden_weight;
    if (strcmp(name, "hidden.bias") == 0) return h->hidden_bias;
    return strcmp(name, "output.weight") == 0 ? h->output_weight : h->output_bias;
}

/* w' = w / deviation, b' = b - sum w' mean; or the way back. */
static void fold(const strokes_trainer *t, strokes_head *h, bool back)
{
    float *w = h->hidden ? h->hidden_weight : h->output_weight, *b = h->hidden ? h->hidden_bias : h->output_bias;
    for (int u = 0; u < ts_head_units(h); u++)
        for (int k = 0; k < t->features; k++) {
            float *at = &w[(int64_t)u * t->features + k];
            if (!back) *at = (float)((double)*at * t->inverse[k]);
            b[u] = (float)((double)b[u] + (back ? 1 : -1) * (double)*at * t->mean[k]);
            if (back) *at = t->inverse[k] > 0 ? (float)((double)*at / t->inverse[k]) : 0;
        }
}

static bool take_weights(strokes_trainer *t, strokes_head *out, ts_error *err)
{
    if (!ts_head_new(out, t->features, t->classes, t->hidden, err)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < ts_params_count(t->params); i++)
        ok = ts_params_read(t->params, i, named(out, ts_params_name(t->params, i)), err);
    if (!ok) ts_head_clear(out);
    return ok;
}

/* The weights so far, for features that are now standardised in another way. */
static bool put_weights(strokes_trainer *t, const strokes_head *raw, ts_error *err)
{
    strokes_head h;
    if (!take_weights(t, &h, err)) return false; /* for its shape */
    bool ok = true;
    for (int64_t i = 0; i < ts_params_count(t->params); i++) {
        int64_t shape[TS_MAX_DIMS], count = 1;
        const int ndim = ts_params_shape(t->params, i, shape);
        for (int d = 0; d < ndim; d++) count *= shape[d];
        memcpy(named(&h, ts_params_name(t->params, i)), named(raw, ts_params_name(t->params, i)), (size_t)count * sizeof(float));
    }
    fold(t, &h, true);
    for (int64_t i = 0; ok && i < ts_params_count(t->params); i++)
        ok = ts_params_write(t->params, i, named(&h, ts_params_name(t->params, i)), err);
    ts_head_clear(&h);
    return ok;
}

/* ---- training ---- */

static bool run_step(strokes_trainer *t, int32_t drop, double rate, ts_error *err)
{
    return ts_write(t->e, t->drop, &drop, err) && ts_optimizer_set(t->optimizer, t->e, ++t->step, rate, err) &&
           ts_run(t->e, err) && ts_optimizer_update(t->optimizer, t->e, err);
}

static bool run_steps(strokes_trainer *t, int steps, bool again, ts_error *err)
{
    bool ok = ts_write(t->e, t->x, t->batch, err) && ts_write(t->e, t->target, t->label, err);
    for (int i = 0; ok && i < steps; i++) {
        const int32_t drop = (int32_t)((uint64_t)t->step & INT32_MAX);
        ok = run_step(t, drop, ts_cosine_rate(i, steps, again ? 0 : WARMUP, again ? AGAIN_RATE : RATE), err);
    }
    return ok && run_step(t, -1, 0, err); /* nothing left out and nothing changed: what is told of the training */
}

static bool tell(strokes_trainer *t, int steps, const pool *pools, ts_strokes_fit *fit, ts_error *err)
{
    float loss = 0, *logits = malloc((size_t)BATCH * (size_t)t->classes * sizeof *logits);
    if (!logits) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const bool ok = ts_read(t->e, t->loss, &loss, err) && ts_read(t->e, t->logits, logits, err);
    int right = 0, all = 0;
    for (int i = 0; ok && i < BATCH; i++) {
        if (t->label[i] < 0) continue;
        int best = 0;
        for (int c = 1; c < t->classes; c++)
            if (logits[i * t->classes + c] > logits[i * t->classes + best]) best = c;
        right += best == t->label[i];
        all++;
    }
    free(logits);
    if (!ok) return false;
    if (!isfinite(loss)) return ts_fail(err, TS_ERR_FORMAT, "the training has gone wrong: its loss is no number");
    *fit = (ts_strokes_fit){.steps = steps, .loss = (double)loss, .accuracy = all ? (double)right / all : 0};
    for (int c = 0; c < t->classes; c++) fit->samples[c] = pools[c].count;
    return true;
}

bool ts_trainer_run(strokes_trainer *t, const strokes_samples *const *list, int count, int steps, strokes_head *out,
                    ts_strokes_fit *fit, ts_error *err)
{
    pool pools[TS_STROKES_CLASSES];
    strokes_head before = {0};
    const bool again = t->step > 0;
    size_t all = 1;
    for (int s = 0; s < count; s++) all += (size_t)list[s]->count;
    const float **rows = malloc(all * sizeof *rows);
    if (!rows) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return false;
    }
    bool ok = true;
    fill_pools(list, count, t->classes, t->features, rows, pools);
    for (int c = 0; ok && c < t->classes; c++)
        if (pools[c].count == 0)
            ok = ts_fail(err, TS_ERR_ARGUMENT, "class %d of %d has no strokes: every class needs some", c + 1, t->classes);
    if (ok && again) {
        ok = take_weights(t, &before, err);
        if (ok) fold(t, &before, false);
    }
    if (ok) draw(t, pools);
    ok = ok && measure(t, list, count, err);
    if (ok) standardise(t);
    ok = ok && (!again || put_weights(t, &before, err)) && run_steps(t, steps, again, err) && tell(t, steps, pools, fit, err) &&
         take_weights(t, out, err);
    if (ok) fold(t, out, false);
    ts_head_clear(&before);
    free(rows);
    return ok;
}
