/* train.c - one training step of the masked autoencoder as one graph: encode the visible patches, decode at the hidden places,
 * cross entropy with the VQGAN's codes, gradients, AdamW. Evaluation is a second, smaller graph over the same parameters. */
#include "engine/number.h"
#include "mae/mae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A described and planned pass over a batch. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *pixels, *target, *seen;  /* (B, H, W, 3), I32 (B, T) twice: labels of the hidden and of the visible patches */
    ts_tensor *loss, *objective, *best; /* (1): of the hidden ones, and what is minimised; I32 (B, T) */
    ts_mae_index index;
} pass;

struct ts_mae_trainer {
    ts_mae mae;
    ts_mae_trainer_desc desc;
    ts_device *dev;
    pass train, check; /* `check` is planned when first asked for */
    ts_optimizer *optimizer;
    int64_t steps;
    int part;                                /* calls of the step under way */
    int64_t patches, hidden, rows;           /* rows: T, the hidden ones and, where they count, behind them the visible ones */
    int32_t *predict, *target, *seen, *best; /* (batch, rows) each */
    float *saved;
};

/* ---- fresh weights ---- */

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* As published: Xavier uniform for linear layers and the patch embedding (as a matrix), zeros for biases, ones for norms,
 * normal(0.02) for tokens; positions are fixed. */
static bool fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)err;
    ts_mae_trainer *t = ctx;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    if (ends_with(name, "pos_embed")) {
        ts_mae_positions(t->mae.config.side, (int)shape[2], out);
    } else if (ends_with(name, "_token")) {
        for (int64_t i = 0; i < count; i++) out[i] = (float)(0.02 * ts_normal(&t->desc.seed));
    } else if (ndim >= 2) {
        const int64_t fan_out = shape[0], fan_in = count / fan_out;
        const double bound = sqrt(6.0 / (double)(fan_out + fan_in));
        for (int64_t i = 0; i < count; i++) out[i] = (float)(bound * (2 * ts_uniform(&t->desc.seed) - 1));
    } else {
        const float value = ends_with(name, ".weight") ? 1 : 0;
        for (int64_t i = 0; i < count; i++) out[i] = value;
    }
    return true;
}

/* ---- the graphs ---- */

static bool is_frozen(const char *name)
{
    return ends_with(name, "pos_embed");
}

static bool describe(ts_mae_trainer *t, pass *p, ts_error *err)
{
    const ts_mae_config *c = &t->mae.config;
    const int64_t batch = t->desc.batch, pixels = (int64_t)c->side * c->patch;
    p->g = ts_graph_new();
    if (!p->g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->pixels = ts_input(p->g, "pixels", TS_REAL, 4, (int64_t[]){batch, pixels, pixels, 3});
    p->target = ts_input(p->g, "target", TS_I32, 2, (int64_t[]){batch, t->rows});
    p->index = ts_mae_index_new(p->g, &t->mae, batch, t->desc.visible, t->rows);
    ts_tensor *logits =
        ts_mae_decode(p->g, &t->mae, ts_mae_encode(p->g, &t->mae, p->pixels, &p->index), &p->index); /* (B, T, K) */
    p->loss = p->objective = ts_output(p->g, ts_cross_entropy(p->g, logits, p->target));
    if (t->desc.visible_loss > 0) {
        p->seen = ts_input(p->g, "seen", TS_I32, 2, (int64_t[]){batch, t->rows});
        ts_tensor *of_seen = ts_scale(p->g, ts_cross_entropy(p->g, logits, p->seen), (float)t->desc.visible_loss, 0);
        p->objective = ts_add(p->g, p->loss, of_seen);
    }
    p->best = ts_output(p->g, ts_argmax(p->g, logits));
    return !ts_graph_error(p->g) || ts_fail(err, ts_graph_error(p->g)->code, "%s", ts_graph_error(p->g)->text);
}

static void pass_clear(pass *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (pass){0};
}

static bool make(ts_mae_trainer *t, ts_error *err)
{
    const ts_mae_trainer_desc *d = &t->desc;
    ts_mae_config *c = &t->mae.config;
    *c = d->config;
    t->mae.recompute = d->recompute;
    if (d->weights && !ts_mae_config_read(d->weights, d->config.heads, d->config.decoder_heads, false, c, err)) return false;
    if (c->side < 1 || c->patch < 1 || c->heads < 1 || c->decoder_heads < 1 || c->dim % c->heads ||
        c->decoder_dim % c->decoder_heads)
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "a model of %d wide, %d heads and %d wide, %d heads cannot be: heads must divide the width", c->dim,
                       c->heads, c->decoder_dim, c->decoder_heads);
    t->patches = (int64_t)c->side * c->side;
    t->hidden = t->patches - d->visible;
    if (d->batch < 1 || d->visible < 1 || t->hidden < 1)
        return ts_fail(err, TS_ERR_ARGUMENT, "a batch of %d with %d of %d patches visible cannot be trained on", d->batch,
                       d->visible, (int)t->patches);
    t->rows = d->visible_loss > 0 ? t->patches : t->hidden;
    const size_t places = (size_t)d->batch * (size_t)t->rows;
    t->predict = malloc(places * sizeof *t->predict);
    t->target = malloc(places * sizeof *t->target);
    t->seen = malloc(places * sizeof *t->seen);
    t->best = malloc(places * sizeof *t->best);
    if (!t->predict || !t->target || !t->seen || !t->best) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->mae.params = ts_params_new_trainable(t->dev, d->weights, "", d->weights ? NULL : fresh, t, err);
    if (!t->mae.params || !describe(t, &t->train, err)) return false;
    if (!ts_params_check(t->mae.params, err)) return false;
    t->optimizer = ts_optimizer_new(t->train.g, t->mae.params, t->train.objective,
                                    &(ts_optimizer_desc){.beta1 = d->beta1,
                                                         .beta2 = d->beta2,
                                                         .weight_decay = d->weight_decay,
                                                         .clip_norm = d->clip_norm,
                                                         .accumulate = d->accumulate,
                                                         .loss_scale = d->loss_scale,
                                                         .scale_steps = d->scale_steps,
                                                         .frozen = is_frozen},
                                    err);
    if (!t->optimizer) return false;
    t->train.e = ts_exec_new(t->train.g, t->dev, err);
    return t->train.e != NULL;
}

ts_mae_trainer *ts_mae_trainer_new(ts_device *dev, const ts_mae_trainer_desc *desc, ts_error *err)
{
    ts_mae_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->dev = dev;
    t->desc = *desc;
    if (t->desc.beta1 == 0) t->desc.beta1 = 0.9;
    if (t->desc.beta2 == 0) t->desc.beta2 = 0.95;
    if (t->desc.weight_decay == 0) t->desc.weight_decay = 0.05;
    if (t->desc.accumulate < 1) t->desc.accumulate = 1;
    if (make(t, err)) return t;
    ts_mae_trainer_free(t);
    return NULL;
}

void ts_mae_trainer_free(ts_mae_trainer *t)
{
    if (!t) return;
    pass_clear(&t->train);
    pass_clear(&t->check);
    ts_optimizer_free(t->optimizer);
    ts_params_free(t->mae.params);
    free(t->predict);
    free(t->target);
    free(t->seen);
    free(t->best);
    free(t->saved);
    free(t);
}

const ts_mae_config *ts_mae_trainer_config(const ts_mae_trainer *t)
{
    return &t->mae.config;
}

ts_exec_info ts_mae_trainer_about(const ts_mae_trainer *t)
{
    return ts_exec_about(t->train.e);
}

double ts_mae_trainer_loss_scale(const ts_mae_trainer *t)
{
    return ts_optimizer_scale(t->optimizer);
}

int64_t ts_mae_trainer_steps(const ts_mae_trainer *t)
{
    return t->steps;
}

/* The places of each picture, ascending, the hidden ones first, and their labels; -1 counts for nothing. */
static bool place_labels(ts_mae_trainer *t, const int32_t *keep, const int32_t *codes, ts_error *err)
{
    uint8_t *shown = malloc((size_t)t->patches);
    if (!shown) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    bool ok = true;
    for (int b = 0; ok && b < t->desc.batch; b++) {
        memset(shown, 0, (size_t)t->patches);
        for (int i = 0; i < t->desc.visible; i++) {
            const int32_t patch = keep[b * t->desc.visible + i];
            if (patch >= 0 && patch < t->patches) shown[patch] = 1;
        }
        int64_t hidden = 0, visible = 0;
        for (int32_t patch = 0; patch < t->patches; patch++) {
            const int64_t at = shown[patch] ? t->hidden + visible++ : hidden++;
            if (at >= t->rows || hidden > t->hidden) continue;
            const int32_t code = codes[b * t->patches + patch];
            t->predict[b * t->rows + at] = patch;
            t->target[b * t->rows + at] = shown[patch] ? -1 : code;
            t->seen[b * t->rows + at] = shown[patch] ? code : -1;
            if (code >= t->mae.config.codes) ok = false;
        }
        if (hidden != t->hidden) ok = false;
    }
    free(shown);
    return ok || ts_fail(err, TS_ERR_ARGUMENT,
                         "the visible patches of a picture must be %d different ones of %d, and its codes below %d",
                         t->desc.visible, (int)t->patches, t->mae.config.codes);
}

/* Writes the inputs, runs, and reads what it came to. */
static bool run(ts_mae_trainer *t, pass *p, const float *pixels, const int32_t *keep, const int32_t *codes, double *loss,
                double *accuracy, ts_error *err)
{
    float value;
    if (!place_labels(t, keep, codes, err) || !ts_write(p->e, p->pixels, pixels, err) ||
        !ts_write(p->e, p->target, t->target, err) || (p->seen && !ts_write(p->e, p->seen, t->seen, err)) ||
        !ts_mae_index_write(p->e, &t->mae, &p->index, keep, t->predict, err) || !ts_run(p->e, err) ||
        !ts_read(p->e, p->loss, &value, err) || !ts_read(p->e, p->best, t->best, err))
        return false;
    int64_t right = 0;
    for (int b = 0; b < t->desc.batch; b++)
        for (int64_t i = b * t->rows; i < b * t->rows + t->hidden; i++) right += t->best[i] == t->target[i];
    *loss = (double)value;
    *accuracy = (double)right / (double)(t->desc.batch * t->hidden);
    return true;
}

bool ts_mae_trainer_step(ts_mae_trainer *t, const float *pixels, const int32_t *keep, const int32_t *codes, double lr,
                         double *loss, double *accuracy, ts_error *err)
{
    if (!ts_optimizer_set(t->optimizer, t->train.e, t->steps + 1, lr, err) ||
        !run(t, &t->train, pixels, keep, codes, loss, accuracy, err))
        return false;
    if (++t->part < t->desc.accumulate) return true;
    t->part = 0;
    t->steps++;
    return ts_optimizer_update(t->optimizer, t->train.e, err);
}

bool ts_mae_trainer_evaluate(ts_mae_trainer *t, const float *pixels, const int32_t *keep, const int32_t *codes, double *loss,
                             double *accuracy, ts_error *err)
{
    if (!t->check.e) {
        if (describe(t, &t->check, err)) t->check.e = ts_exec_new(t->check.g, t->dev, err);
        if (!t->check.e) {
            pass_clear(&t->check);
            return false;
        }
    }
    return run(t, &t->check, pixels, keep, codes, loss, accuracy, err);
}

/* ---- checkpoints ---- */

static bool add_number(ts_weights_writer *w, const char *key, int64_t value, ts_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return ts_weights_writer_meta(w, key, text, err);
}

bool ts_mae_trainer_save(ts_mae_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err)
{
    free(t->saved);
    t->saved = NULL;
    return ts_params_save(t->mae.params, w, &t->saved, err) && add_number(w, "heads", t->mae.config.heads, err) &&
           add_number(w, "decoder_heads", t->mae.config.decoder_heads, err) &&
           (!optimizer || (add_number(w, "step", t->steps, err) && ts_optimizer_save(t->optimizer, t->train.e, w, err)));
}

bool ts_mae_trainer_resume(ts_mae_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    int64_t steps;
    if (!ts_whole_read(ts_weights_meta(checkpoint, "step"), 0, INT64_MAX, &steps))
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s says no step: it is not a checkpoint to go on from (--init starts a new training from it)",
                       ts_weights_path(checkpoint));
    if (!ts_params_load(t->mae.params, checkpoint, err) || !ts_optimizer_load(t->optimizer, t->train.e, checkpoint, err))
        return false;
    t->steps = steps;
    return true;
}
