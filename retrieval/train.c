/* train.c - SupPR's head learns which examples do well (Zhang et al. 2023, section 3.2): a query's feature is drawn to that of an
 * example with which the frozen model answered it well, away from one with which it answered badly and from those of the other
 * queries. Forward, gradient and update are one graph. Shapes: B queries, D the feature's width, E the head's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "retrieval/retrieval.h"

enum { PARAMS = 4 }; /* two layers' weights and biases */

struct ts_retriever_trainer {
    ts_retriever_desc desc;
    ts_params *params;
    ts_graph *g;
    ts_exec *e;
    ts_tensor *rows, *apart, *right, *hyper; /* inputs: (3B, D), (B, 2B), I32 (B), (3) */
    ts_tensor *loss, *best;                  /* (1), I32 (B) */
    ts_tensor *leaf[PARAMS + 1], *grad[PARAMS + 1], *momentum[PARAMS];
    int count;
    int64_t steps;
    int32_t *number, *found; /* (B): 0 to B - 1; what was read of `best` */
    float *saved, *momenta;  /* what a writer was lent */
};

/* ---- the head's beginning ---------------------------------------------------------------------------------------- */

static bool fresh(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    ts_retriever_trainer *t = ctx;
    const ts_retriever_config *c = &t->desc.config;
    const double bound = 1 / sqrt(strncmp(name, "head.0", 6) == 0 ? c->width : c->hidden);
    int64_t count = 1;
    (void)err;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    for (int64_t i = 0; i < count; i++) out[i] = (float)(bound * (2 * ts_uniform(&t->desc.seed) - 1));
    return true;
}

/* ---- the graph --------------------------------------------------------------------------------------------------- */

static bool fail_graph(const ts_retriever_trainer *t, ts_error *err)
{
    const ts_error *why = ts_graph_error(t->g);
    return why ? ts_fail(err, why->code, "%s", why->text) : ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

static bool describe(ts_retriever_trainer *t, ts_error *err)
{
    const ts_retriever_desc *d = &t->desc;
    const int64_t batch = d->batch;
    ts_graph *g = t->g = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->rows = ts_input(g, "rows", TS_REAL, 2, (int64_t[]){3 * batch, d->config.width});
    t->apart = ts_input(g, "apart", TS_REAL, 2, (int64_t[]){batch, 2 * batch});
    t->right = ts_input(g, "right", TS_I32, 1, &batch);
    t->hyper = ts_input(g, "hyper", TS_REAL, 1, (int64_t[]){3});
    ts_tensor *y = ts_retriever_head(g, t->params, &d->config, t->rows); // (3B, E)
    ts_scope(g, "contrast");
    ts_tensor *query = ts_slice(g, y, 0, batch);                            // (B, E)
    ts_tensor *example = ts_slice(g, y, batch, 2 * batch);                  // (2B, E)
    ts_tensor *alike = ts_linear(g, query, ts_as_weight(g, example), NULL); // (B, 2B)
    alike = ts_add(g, ts_scale(g, alike, (float)(1 / d->temperature), 0), t->apart);
    t->loss = ts_output(g, ts_cross_entropy(g, alike, t->right));
    t->best = ts_output(g, ts_argmax(g, alike));
    if (ts_graph_error(g) || !ts_params_check(t->params, err)) return fail_graph(t, err);
    if (ts_params_count(t->params) != PARAMS) return ts_fail(err, TS_ERR_SHAPE, "the head has other parameters than its own");
    t->count = ts_graph_params(g, t->params, t->leaf);
    if (!ts_grad(g, t->loss, t->count, t->leaf, t->grad)) return fail_graph(t, err);
    for (int i = 0; i < t->count; i++) {
        const ts_tensor *p = t->leaf[i];
        t->momentum[i] = ts_state(g, p->name, p->layout, p->ndim, p->shape);
        if (!ts_sgd(g, t->leaf[i], t->grad[i], t->momentum[i], t->hyper, NULL, (float)d->momentum, (float)d->weight_decay))
            return fail_graph(t, err);
    }
    return true;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

enum { MOST = 1 << 16 };

static bool complete(ts_retriever_desc *d, ts_error *err)
{
    ts_retriever_config *c = &d->config;
    if (c->hidden == 0) c->hidden = c->width;
    if (c->out == 0) c->out = 128;
    if (d->batch == 0) d->batch = 64;
    if (d->temperature == 0) d->temperature = 0.1;
    if (d->momentum == 0) d->momentum = 0.9;
    if (d->weight_decay == 0) d->weight_decay = 1e-4;
    if (d->weight_decay < 0) d->weight_decay = 0;
    if (c->width < 1 || c->width > MOST || c->hidden < 1 || c->hidden > MOST || c->out < 1 || c->out > MOST || d->batch < 1 ||
        d->batch > MOST || !(d->temperature > 0) || !(d->momentum < 1))
        return ts_fail(err, TS_ERR_ARGUMENT,
                       "a head of %d, %d and %d numbers, batch %d, temperature %g and momentum %g cannot be trained", c->width,
                       c->hidden, c->out, d->batch, d->temperature, d->momentum);
    return true;
}

static bool make(ts_retriever_trainer *t, ts_device *dev, ts_error *err)
{
    if (!complete(&t->desc, err)) return false;
    const size_t batch = (size_t)t->desc.batch;
    t->number = malloc(batch * sizeof *t->number);
    t->found = malloc(batch * sizeof *t->found);
    if (!t->number || !t->found) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < t->desc.batch; i++) t->number[i] = i;
    t->params = ts_params_new_trainable(dev, NULL, "", fresh, t, err);
    return t->params && describe(t, err) && (t->e = ts_exec_new(t->g, dev, err)) && ts_write(t->e, t->right, t->number, err);
}

ts_retriever_trainer *ts_retriever_trainer_new(ts_device *dev, const ts_retriever_desc *desc, ts_error *err)
{
    ts_retriever_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->desc = *desc;
    if (make(t, dev, err)) return t;
    ts_retriever_trainer_free(t);
    return NULL;
}

void ts_retriever_trainer_free(ts_retriever_trainer *t)
{
    if (!t) return;
    ts_exec_free(t->e);
    ts_graph_free(t->g);
    ts_params_free(t->params);
    free(t->number);
    free(t->found);
    free(t->saved);
    free(t->momenta);
    free(t);
}

const ts_retriever_desc *ts_retriever_trainer_about(const ts_retriever_trainer *t)
{
    return &t->desc;
}

int64_t ts_retriever_trainer_steps(const ts_retriever_trainer *t)
{
    return t->steps;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

bool ts_retriever_trainer_step(ts_retriever_trainer *t, const float *rows, const float *apart, double lr, double *loss,
                               double *accuracy, ts_error *err)
{
    const float hyper[3] = {(float)lr, 1, 1};
    float value;
    if (!ts_write(t->e, t->hyper, hyper, err) || !ts_write(t->e, t->rows, rows, err) || !ts_write(t->e, t->apart, apart, err) ||
        !ts_run(t->e, err) || !ts_read(t->e, t->loss, &value, err) || !ts_read(t->e, t->best, t->found, err))
        return false;
    int right = 0;
    for (int i = 0; i < t->desc.batch; i++) right += t->found[i] == i;
    *loss = (double)value;
    *accuracy = (double)right / t->desc.batch;
    t->steps++;
    return true;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void momentum_name(const ts_retriever_trainer *t, int i, char out[96])
{
    snprintf(out, 96, "optimizer.m.%s", t->leaf[i]->name);
}

static bool add_optimizer(ts_retriever_trainer *t, ts_weights_writer *w, ts_error *err)
{
    int64_t total = 0;
    char text[96];
    for (int i = 0; i < t->count; i++) total += ts_count(t->momentum[i]);
    free(t->momenta);
    float *at = t->momenta = malloc((size_t)total * sizeof *at);
    if (!at) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a checkpoint");
    snprintf(text, sizeof text, "%lld", (long long)t->steps);
    bool ok = ts_weights_writer_meta(w, "step", text, err);
    for (int i = 0; ok && i < t->count; i++) {
        const ts_tensor *m = t->momentum[i];
        momentum_name(t, i, text);
        ok = ts_read(t->e, t->momentum[i], at, err) && ts_weights_writer_add(w, text, TS_DT_F32, m->ndim, m->shape, at, err);
        at += ts_count(m);
    }
    return ok;
}

bool ts_retriever_trainer_save(ts_retriever_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err)
{
    free(t->saved);
    t->saved = NULL;
    return ts_params_save(t->params, w, &t->saved, err) && (!optimizer || add_optimizer(t, w, err)) &&
           ts_weights_writer_check_finite(w, err);
}

bool ts_retriever_trainer_resume(ts_retriever_trainer *t, const ts_weights *checkpoint, ts_error *err)
{
    const ts_retriever_config *c = &t->desc.config;
    ts_retriever_config saved;
    int64_t steps;
    if (!ts_retriever_read(checkpoint, &saved, err)) return false;
    if (saved.width != c->width || saved.hidden != c->hidden || saved.out != c->out)
        return ts_fail(err, TS_ERR_SHAPE, "%s is the checkpoint of a retriever of other sizes", ts_weights_path(checkpoint));
    bool ok = ts_whole_read(ts_weights_meta(checkpoint, "step"), 0, INT64_MAX, &steps) ||
              ts_fail(err, TS_ERR_FORMAT, "%s says no step: it is no checkpoint to go on from", ts_weights_path(checkpoint));
    ok = ok && ts_params_load(t->params, checkpoint, err);
    for (int i = 0; ok && i < t->count; i++) {
        char name[96];
        momentum_name(t, i, name);
        const int64_t count = ts_count(t->momentum[i]);
        const ts_weight *m = ts_weights_find(checkpoint, name);
        float *values = m && m->count == count ? malloc((size_t)count * sizeof *values) : NULL;
        ok = values ? ts_weight_to_f32(m, values, err) && ts_write(t->e, t->momentum[i], values, err)
                    : ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing or of another size", ts_weights_path(checkpoint), name);
        free(values);
    }
    if (ok) t->steps = steps;
    return ok;
}
