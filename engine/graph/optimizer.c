/* optimizer.c - a training step's second half, as graph: the gradients of a loss, their clipping, and one AdamW (or SGD) node
 * for each parameter, with its moments. Where the gradients of several runs are averaged before an update, the update is a graph
 * of its own. What trains is all that the loss depends on among a set of parameters, but for what `frozen` names. */
#include "engine/internal.h"
#include "engine/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double MOST_SCALE = 32768; /* the scale itself is a number in fp16 */

typedef struct {
    ts_tensor *grad;          /* of one run */
    ts_tensor *param, *m, *v; /* of the graph that updates; v NULL: SGD's */
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
    /* Where the device stores fp16: the gradients are those of the loss times `seed` (1); `unscale` (1) undoes it, and `scale`
     * (1), what they were multiplied by in the end, is 0 where the update was left out. */
    bool mixed;
    ts_tensor *seed, *unscale, *scale;
    double loss_scale;
    int64_t good, skipped; /* updates since the scale changed; those left out in all */
    /* Where several runs make a step: the gradients' sums, parameters too, so that two graphs can share them, and the update. */
    ts_params *sums;
    ts_graph *update;
    ts_exec *update_exec;
};

static bool add_updates(ts_optimizer *o, ts_graph *g)
{
    o->hyper = ts_state(g, "hyper", TS_LAYOUT_PLAIN, 1, (int64_t[]){3});
    if (o->mixed) o->unscale = ts_state(g, "unscale", TS_LAYOUT_PLAIN, 1, (int64_t[]){1});
    if (o->mixed || o->desc.clip_norm > 0) {
        ts_tensor **grads = calloc((size_t)o->count + 1, sizeof(ts_tensor *));
        if (!grads) return false;
        for (int i = 0; i < o->count; i++) grads[i] = o->list[i].sum;
        o->scale = ts_unscale(g, o->count, grads, (float)o->desc.clip_norm, o->unscale, &o->norm);
        ts_output(g, o->norm);
        ts_output(g, o->scale);
        free(grads);
        if (!o->scale) return false;
    }
    for (trained *t = o->list; t->param; t++) {
        const ts_tensor *p = t->param;
        const ts_adamw_desc adamw = {.beta1 = o->desc.beta1,
                                     .beta2 = o->desc.beta2,
                                     .eps = o->desc.eps,
                                     .weight_decay = p->ndim >= 2 ? o->desc.weight_decay : 0};
        t->m = ts_state(g, p->name, p->layout, p->ndim, p->shape);
        if (!o->desc.sgd) t->v = ts_state(g, p->name, p->layout, p->ndim, p->shape);
        ts_tensor *master = ts_master(g, t->param);
        if (o->desc.sgd ? !ts_sgd(g, master, t->sum, t->m, o->hyper, o->scale, (float)adamw.beta1, (float)adamw.weight_decay)
                        : !ts_adamw(g, master, t->sum, t->m, t->v, o->hyper, o->scale, &adamw))
            return false;
        if (master != t->param && !ts_narrow(g, t->param, master)) return false;
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
        o->seed = o->mixed ? ts_input(g, "seed", TS_REAL, 1, (int64_t[]){1})
                           : ts_fill(g, 1, (int64_t[]){1}, 1.0F / (float)o->desc.accumulate);
        ok = ts_grad_seeded(g, loss, o->seed, count, leaves, grads);
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
    o->sums = ts_params_new_wide(o->params->dev, zeros, NULL, err);
    o->update = ts_graph_new();
    if (!o->sums || !o->update) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (trained *t = o->list; t->param; t++) {
        const ts_tensor *p = t->param;
        const char *name = p->state->param->name;
        if (!ts_accumulate(g, ts_param(g, o->sums, name, p->layout, p->ndim, p->shape), t->grad)) return check(g, err);
        t->sum = ts_param(o->update, o->sums, name, p->layout, p->ndim, p->shape);
        t->param = ts_param(o->update, o->params, name, p->layout, p->ndim, p->shape);
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
    if (o->desc.beta1 == 0 && !o->desc.sgd) o->desc.beta1 = 0.9;
    if (o->desc.beta2 == 0) o->desc.beta2 = 0.999;
    if (o->desc.eps == 0) o->desc.eps = 1e-8;
    if (o->desc.accumulate < 1) o->desc.accumulate = 1;
    if (o->desc.scale_steps < 1) o->desc.scale_steps = 1000;
    o->mixed = ps->dev->precision == TS_F16;
    o->loss_scale = o->desc.loss_scale > 0 ? o->desc.loss_scale : MOST_SCALE;
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
    if (step <= o->skipped)
        return ts_fail(err, TS_ERR_ARGUMENT, "step %" PRId64 " after %" PRId64 " that were left out: steps are counted from 1",
                       step, o->skipped);
    const double updates = (double)(step - o->skipped); /* what is left out is no step of the moments */
    const float hyper[3] = {(float)lr, (float)(1 - pow(o->desc.beta1, updates)), (float)(1 - pow(o->desc.beta2, updates))};
    const float seed = (float)(o->loss_scale / o->desc.accumulate), unscale = (float)(1 / o->loss_scale);
    return ts_write(updating(o, e), o->hyper, hyper, err) &&
           (!o->mixed || (ts_write(e, o->seed, &seed, err) && ts_write(updating(o, e), o->unscale, &unscale, err)));
}

/* After an update in fp16, or one that was left out. */
static bool adapt(ts_optimizer *o, ts_exec *e, ts_error *err)
{
    float scale;
    if (!ts_read(updating(o, e), o->scale, &scale, err)) return false;
    if (scale == 0) {
        if (o->loss_scale <= 1)
            return ts_fail(err, TS_ERR_FORMAT,
                           "the gradients are not finite in fp16: the training has gone wrong (a lower rate or fp32 may help)");
        o->loss_scale /= 2;
        o->good = 0;
        o->skipped++;
    } else if (++o->good >= o->desc.scale_steps && o->loss_scale < MOST_SCALE) {
        o->loss_scale *= 2;
        o->good = 0;
    }
    return true;
}

bool ts_optimizer_update(ts_optimizer *o, ts_exec *e, ts_error *err)
{
    return (!o->update_exec || ts_run(o->update_exec, err)) && (!o->mixed || adapt(o, e, err));
}

double ts_optimizer_scale(const ts_optimizer *o)
{
    return o->mixed ? o->loss_scale : 0;
}

int64_t ts_optimizer_skipped(const ts_optimizer *o)
{
    return o->skipped;
}

static const char *const prefixes[2] = {"optimizer.m.", "optimizer.v."};

/* Name of a moment in a checkpoint. */
static void moment_name(char *out, size_t room, int which, const ts_tensor *param)
{
    snprintf(out, room, "%s%s", prefixes[which], param->name);
}

/* Elements of all moments. */
static int64_t moments_count(const ts_optimizer *o)
{
    int64_t total = 0;
    for (int i = 0; i < o->count; i++) total += ts_count(o->list[i].m) + ts_count(o->list[i].v);
    return total;
}

/* What fp16 leaves beside the moments, by its names in a checkpoint. */
typedef struct {
    char scale[64], good[64], skipped[64];
} scale_names;

static scale_names names_of(const ts_optimizer *o)
{
    const char *prefix = o->desc.prefix ? o->desc.prefix : "";
    scale_names n;
    snprintf(n.scale, sizeof n.scale, "%sloss_scale", prefix);
    snprintf(n.good, sizeof n.good, "%sloss_scale_steps", prefix);
    snprintf(n.skipped, sizeof n.skipped, "%ssteps_skipped", prefix);
    return n;
}

bool ts_optimizer_save(ts_optimizer *o, ts_exec *e, ts_weights_writer *w, ts_error *err)
{
    free(o->buffers);
    o->buffers = malloc((size_t)moments_count(o) * sizeof *o->buffers + 1);
    if (!o->buffers) return ts_fail(err, TS_ERR_MEMORY, "out of memory for the optimizer's state of a checkpoint");
    float *at = o->buffers;
    for (int i = 0; i < o->count; i++)
        for (int which = 0; which < 2; which++) {
            ts_tensor *t = which ? o->list[i].v : o->list[i].m;
            if (!t) continue;
            char name[96];
            moment_name(name, sizeof name, which, o->list[i].param);
            if (!ts_read(updating(o, e), t, at, err) || !ts_weights_writer_add(w, name, TS_DT_F32, t->ndim, t->shape, at, err))
                return false;
            at += ts_count(t);
        }
    char text[3][32];
    snprintf(text[0], sizeof text[0], "%.17g", o->loss_scale);
    snprintf(text[1], sizeof text[1], "%" PRId64, o->good);
    snprintf(text[2], sizeof text[2], "%" PRId64, o->skipped);
    const scale_names names = names_of(o);
    return !(o->mixed || o->skipped > 0) ||
           (ts_weights_writer_meta(w, names.scale, text[0], err) && ts_weights_writer_meta(w, names.good, text[1], err) &&
            ts_weights_writer_meta(w, names.skipped, text[2], err));
}

/* An fp32 training goes on from it too, and from one of its own in fp16. */
static bool load_scale(ts_optimizer *o, const ts_weights *w, ts_error *err)
{
    const scale_names names = names_of(o);
    const char *scale = ts_weights_meta(w, names.scale), *good = ts_weights_meta(w, names.good);
    const char *skipped = ts_weights_meta(w, names.skipped);
    if (!scale) return true;
    double value;
    int64_t updates, left_out;
    if (!ts_real_read(scale, &value) || !(value > 0 && value <= MOST_SCALE) || !ts_whole_read(good, 0, INT64_MAX, &updates) ||
        !ts_whole_read(skipped, 0, INT64_MAX, &left_out))
        return ts_fail(err, TS_ERR_FORMAT, "%s: a loss scale of %s after %s updates, with %s steps left out, cannot be",
                       ts_weights_path(w), scale, good ? good : "no", skipped ? skipped : "no");
    o->loss_scale = value;
    o->good = updates;
    o->skipped = left_out;
    return true;
}

bool ts_optimizer_load(ts_optimizer *o, ts_exec *e, const ts_weights *w, ts_error *err)
{
    for (int i = 0; i < o->count; i++)
        for (int which = 0; which < 2; which++) {
            ts_tensor *t = which ? o->list[i].v : o->list[i].m;
            if (!t) continue;
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
    return load_scale(o, w, err);
}

/* ---- in memory ---- */

struct ts_optimizer_state {
    double loss_scale;
    int64_t good, skipped, count;
    float moments[];
};

ts_optimizer_state *ts_optimizer_keep(ts_optimizer *o, ts_exec *e, ts_error *err)
{
    const int64_t count = moments_count(o);
    ts_optimizer_state *s = malloc(sizeof *s + (size_t)count * sizeof *s->moments);
    if (!s) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the optimizer's state");
        return NULL;
    }
    *s = (ts_optimizer_state){.loss_scale = o->loss_scale, .good = o->good, .skipped = o->skipped, .count = count};
    float *at = s->moments;
    for (const trained *t = o->list; t->param; at += ts_count(t->m) + ts_count(t->v), t++)
        if (!ts_read(updating(o, e), t->m, at, err) || (t->v && !ts_read(updating(o, e), t->v, at + ts_count(t->m), err))) {
            free(s);
            return NULL;
        }
    return s;
}

bool ts_optimizer_restore(ts_optimizer *o, ts_exec *e, const ts_optimizer_state *state, ts_error *err)
{
    if (state->count != moments_count(o))
        return ts_fail(err, TS_ERR_ARGUMENT, "an optimizer cannot go on from the state of another's parameters");
    const float *at = state->moments;
    for (const trained *t = o->list; t->param; at += ts_count(t->m) + ts_count(t->v), t++)
        if (!ts_write(updating(o, e), t->m, at, err) || (t->v && !ts_write(updating(o, e), t->v, at + ts_count(t->m), err)))
            return false;
    o->loss_scale = state->loss_scale;
    o->good = state->good;
    o->skipped = state->skipped;
    return true;
}
