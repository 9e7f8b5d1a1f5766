/* optimizer.c - a training step's second half, as graph: the gradients of a loss, their clipping, and one AdamW node for each
 * parameter, with its moments. Where the gradients of several runs are averaged before an update, the update is a graph of its
 * own. What trains is all that the loss depends on among a set of parameters, but for what `frozen` names. */
#include "engine/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    ts_tensor *grad;          /* of one run */
    ts_tensor *param, *m, *v; /* of the graph that updates */
    ts_tensor *sum;           /* the gradient to update by: `grad`, or the sum of those of several runs */
} trained;

struct ts_optimizer {
    ts_optimizer_desc desc;
    ts_params *params;
    ts_tensor *hyper; /* (3), see ts_adamw */
    ts_tensor *norm;  /* (1) of all gradients, where they are clipped */
    trained *list;    /* an empty one ends it */
    int count;
    float *buffers; /* what ts_optimizer_save lends to the writer */
    /* Where several runs make a step: the gradients' sums, parameters too, so that two graphs can share them, and the update. */
    ts_params *sums;
    ts_graph *update;
    ts_exec *update_exec;
};

static bool add_updates(ts_optimizer *o, ts_graph *g)
{
    ts_tensor *scale = NULL;
    o->hyper = ts_input(g, "hyper", TS_REAL, 1, (int64_t[]){3});
    if (o->desc.clip_norm > 0) {
        ts_tensor **grads = calloc((size_t)o->count + 1, sizeof(ts_tensor *));
        if (!grads) return false;
        for (int i = 0; i < o->count; i++) grads[i] = o->list[i].sum;
        scale = ts_clip_scale(g, o->count, grads, (float)o->desc.clip_norm, &o->norm);
        ts_output(g, o->norm);
        free(grads);
        if (!scale) return false;
    }
    for (trained *t = o->list; t->param; t++) {
        const ts_tensor *p = t->param;
        const ts_adamw_desc adamw = {.beta1 = o->desc.beta1,
                                     .beta2 = o->desc.beta2,
                                     .eps = o->desc.eps,
                                     .weight_decay = p->ndim >= 2 ? o->desc.weight_decay : 0};
        t->m = ts_state(g, p->name, p->layout, p->ndim, p->shape);
        t->v = ts_state(g, p->name, p->layout, p->ndim, p->shape);
        if (!ts_adamw(g, t->param, t->sum, t->m, t->v, o->hyper, scale, &adamw)) return false;
    }
    return true;
}

/* The parameters that train, and their gradients. */
static bool differentiate(ts_optimizer *o, ts_graph *g, ts_tensor *loss)
{
    const int64_t room = ts_params_count(o->params) + 1;
    ts_tensor **leaves = calloc((size_t)room, sizeof(ts_tensor *)), **grads = calloc((size_t)room, sizeof(ts_tensor *));
    o->list = calloc((size_t)room, sizeof *o->list);
    bool ok = leaves && grads && o->list;
    if (ok) {
        int found = ts_graph_params(g, o->params, leaves), count = 0;
        for (int i = 0; i < found; i++)
            if (!o->desc.frozen || !o->desc.frozen(leaves[i]->name)) leaves[count++] = leaves[i];
        ts_tensor *seed = ts_fill(g, 1, (int64_t[]){1}, 1.0F / (float)o->desc.accumulate);
        ok = ts_grad_seeded(g, loss, seed, count, leaves, grads);
        for (int i = 0; ok && i < count; i++)
            if (grads[i]) o->list[o->count++] = (trained){.grad = grads[i], .param = leaves[i], .sum = grads[i]};
    }
    free(leaves);
    free(grads);
    return ok;
}

static bool zeros(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx, (void)name, (void)ndim, (void)shape, (void)out, (void)err; /* `out` comes zeroed */
    return true;
}

static bool check(const ts_graph *g, ts_error *err)
{
    if (ts_graph_error(g)) return ts_fail(err, ts_graph_error(g)->code, "%s", ts_graph_error(g)->text);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

/* Each run of `g` adds to the sums; a graph of its own updates by them and empties them. */
static bool add_sums(ts_optimizer *o, ts_graph *g, ts_error *err)
{
    o->sums = ts_params_new_trainable(o->params->dev, NULL, "", zeros, NULL, err);
    o->update = ts_graph_new();
    if (!o->sums || !o->update) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (trained *t = o->list; t->param; t++) {
        const ts_tensor *p = t->param;
        if (!ts_accumulate(g, ts_param(g, o->sums, p->name, p->layout, p->ndim, p->shape), t->grad)) return check(g, err);
        t->sum = ts_param(o->update, o->sums, p->name, p->layout, p->ndim, p->shape);
        t->param = ts_param(o->update, o->params, p->name, p->layout, p->ndim, p->shape);
        if (!t->param || !t->sum) return check(o->update, err);
    }
    bool ok = add_updates(o, o->update);
    for (trained *t = o->list; ok && t->param; t++) ok = ts_reset(o->update, t->sum, 0);
    if (!ok) return check(o->update, err);
    o->update_exec = ts_exec_new(o->update, o->params->dev, err);
    return o->update_exec != NULL;
}

ts_optimizer *ts_optimizer_new(ts_graph *g, ts_params *ps, ts_tensor *loss, const ts_optimizer_desc *desc, ts_error *err)
{
    ts_optimizer *o = calloc(1, sizeof *o);
    if (!o) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    o->desc = *desc;
    if (o->desc.beta1 == 0) o->desc.beta1 = 0.9;
    if (o->desc.beta2 == 0) o->desc.beta2 = 0.999;
    if (o->desc.eps == 0) o->desc.eps = 1e-8;
    if (o->desc.accumulate < 1) o->desc.accumulate = 1;
    o->params = ps;
    bool ok = differentiate(o, g, loss) || check(g, err);
    if (ok) ok = o->desc.accumulate > 1 ? add_sums(o, g, err) : add_updates(o, g) || check(g, err);
    if (ok) return o;
    ts_optimizer_free(o);
    return NULL;
}

void ts_optimizer_free(ts_optimizer *o)
{
    if (!o) return;
    ts_exec_free(o->update_exec);
    ts_graph_free(o->update);
    ts_params_free(o->sums);
    free(o->list);
    free(o->buffers);
    free(o);
}

int ts_optimizer_count(const ts_optimizer *o)
{
    return o->count;
}

ts_tensor *ts_optimizer_grad(const ts_optimizer *o, const char *name)
{
    for (int i = 0; i < o->count; i++)
        if (strcmp(o->list[i].param->name, name) == 0) return o->list[i].grad;
    return NULL;
}

/* Where the moments and the hyperparameters are: `e` runs the graph of the loss. */
static ts_exec *updating(const ts_optimizer *o, ts_exec *e)
{
    return o->update_exec ? o->update_exec : e;
}

bool ts_optimizer_set(ts_optimizer *o, ts_exec *e, int64_t step, double lr, ts_error *err)
{
    if (step < 1) return ts_fail(err, TS_ERR_ARGUMENT, "an optimizer's steps are counted from 1");
    const float hyper[3] = {(float)lr, (float)(1 - pow(o->desc.beta1, (double)step)),
                            (float)(1 - pow(o->desc.beta2, (double)step))};
    return ts_write(updating(o, e), o->hyper, hyper, err);
}

bool ts_optimizer_update(ts_optimizer *o, ts_error *err)
{
    return !o->update_exec || ts_run(o->update_exec, err);
}

static const char *const prefixes[2] = {"optimizer.m.", "optimizer.v."};

/* Name of a moment in a checkpoint. */
static void moment_name(char *out, size_t room, int which, const ts_tensor *param)
{
    snprintf(out, room, "%s%s", prefixes[which], param->name);
}

bool ts_optimizer_save(ts_optimizer *o, ts_exec *e, ts_weights_writer *w, ts_error *err)
{
    int64_t total = 0;
    for (int i = 0; i < o->count; i++) total += 2 * ts_count(o->list[i].m);
    free(o->buffers);
    o->buffers = malloc((size_t)total * sizeof *o->buffers + 1);
    if (!o->buffers) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the optimizer's state of a checkpoint");
    float *at = o->buffers;
    for (int i = 0; i < o->count; i++)
        for (int which = 0; which < 2; which++) {
            ts_tensor *t = which ? o->list[i].v : o->list[i].m;
            char name[96];
            moment_name(name, sizeof name, which, o->list[i].param);
            if (!ts_read(updating(o, e), t, at, err) || !ts_weights_writer_add(w, name, TS_DT_F32, t->ndim, t->shape, at, err))
                return false;
            at += ts_count(t);
        }
    return true;
}

bool ts_optimizer_load(ts_optimizer *o, ts_exec *e, const ts_weights *w, ts_error *err)
{
    for (int i = 0; i < o->count; i++)
        for (int which = 0; which < 2; which++) {
            ts_tensor *t = which ? o->list[i].v : o->list[i].m;
            char name[96];
            moment_name(name, sizeof name, which, o->list[i].param);
            const ts_weight *saved = ts_weights_find(w, name);
            if (!saved || saved->count != ts_count(t))
                return ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing or of another size: this is no checkpoint of this training",
                               ts_weights_path(w), name);
            float *data = malloc((size_t)saved->count * sizeof *data);
            bool ok = data ? ts_weight_to_f32(saved, data, err) && ts_write(updating(o, e), t, data, err)
                           : ts_fail(err, TS_ERR_MEMORY, "out of memory");
            free(data);
            if (!ok) return false;
        }
    return true;
}
