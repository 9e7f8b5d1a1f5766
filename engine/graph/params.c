/* params.c - a model's named tensors in the memory of a device, taken from a weights file on first use. What is missing or of
 * another shape is collected, so that a user hears of all of it at once. */
#include "engine/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ts_params *make(const ts_params *desc, const char *prefix, ts_error *err)
{
    ts_device *dev = desc->dev;
    ts_params *ps = calloc(1, sizeof *ps);
    if (ps) {
        *ps = *desc;
        ps->prefix = strdup(prefix ? prefix : "");
    }
    if (!ps || !ps->prefix) {
        free(ps);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    if (!dev->backend->params_new(ps, err)) {
        free(ps->prefix);
        free(ps);
        return NULL;
    }
    return ps;
}

ts_params *ts_params_new(ts_device *dev, const ts_weights *w, const char *prefix, ts_error *err)
{
    return make(&(ts_params){.dev = dev, .weights = w}, prefix, err);
}

ts_params *ts_params_new_converted(ts_device *dev, const ts_weights *w, const char *prefix, ts_init_fn init, void *ctx,
                                   ts_error *err)
{
    return make(&(ts_params){.dev = dev, .weights = w, .init = init, .init_ctx = ctx}, prefix, err);
}

ts_params *ts_params_new_trainable(ts_device *dev, const ts_weights *w, const char *prefix, ts_init_fn init, void *ctx,
                                   ts_error *err)
{
    ts_params desc = {.dev = dev, .weights = w, .trainable = true, .init = init, .init_ctx = ctx};
    if (dev->precision != TS_F16) return make(&desc, prefix, err);
    /* Small updates would be lost in fp16: what trains is kept in fp32 beside what the graph reads. */
    desc.wide = true;
    ts_params *master = make(&desc, prefix, err);
    if (!master) return NULL;
    desc.wide = false;
    desc.master = master;
    ts_params *ps = make(&desc, prefix, err);
    if (!ps) ts_params_free(master);
    return ps;
}

ts_params *ts_params_new_wide(ts_device *dev, ts_init_fn init, void *ctx, ts_error *err)
{
    return make(&(ts_params){.dev = dev, .trainable = true, .wide = true, .init = init, .init_ctx = ctx}, "", err);
}

ts_precision ts_params_precision(const ts_params *ps)
{
    return ps->dev->precision == TS_F16 && ps->wide ? TS_F32 : ps->dev->precision;
}

void ts_params_free(ts_params *ps)
{
    if (!ps) return;
    ts_params_free(ps->master);
    ps->dev->backend->params_free(ps);
    for (int64_t i = 0; i < ps->count; i++) {
        free(ps->list[i]->name);
        free(ps->list[i]);
    }
    free(ps->list);
    free(ps->prefix);
    free(ps->missing);
    free(ps->misshapen);
    free(ps);
}

uint64_t ts_params_bytes(const ts_params *ps)
{
    return ps->bytes + (ps->master ? ps->master->bytes : 0);
}

bool ts_params_check(const ts_params *ps, ts_error *err)
{
    if (ps->error.code != TS_OK) return ts_fail(err, ps->error.code, "%s", ps->error.text);
    const char *file = ps->weights ? ts_weights_path(ps->weights) : "parameters without a file";
    if (ps->missing && ps->misshapen)
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s: %" PRId64 " tensors are missing (%.300s) and %" PRId64 " have another shape (%.300s)", file,
                       ps->missing_count, ps->missing, ps->misshapen_count, ps->misshapen);
    if (ps->missing)
        return ts_fail(err, TS_ERR_FORMAT, "%s: %" PRId64 " tensor%s missing: %.600s", file, ps->missing_count,
                       ps->missing_count == 1 ? " is" : "s are", ps->missing);
    if (ps->misshapen)
        return ts_fail(err, TS_ERR_SHAPE, "%s: %" PRId64 " tensor%s another shape: %.600s", file, ps->misshapen_count,
                       ps->misshapen_count == 1 ? " has" : "s have", ps->misshapen);
    return true;
}

/* Appends to a growing list in words. */
static void append(ts_params *ps, char **list, const char *separator, const char *item)
{
    size_t have = *list ? strlen(*list) : 0, room = have + strlen(separator) + strlen(item) + 1;
    char *grown = realloc(*list, room);
    if (!grown) {
        ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
        return;
    }
    snprintf(grown + have, room - have, "%s%s", have ? separator : "", item);
    *list = grown;
}

static void shape_words(char *out, size_t room, int ndim, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, room, "(");
    for (int i = 0; i < ndim && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (used < room) snprintf(out + used, room - used, ")");
}

static ts_param_entry *find(const ts_params *ps, const char *name)
{
    for (int64_t i = 0; i < ps->count; i++)
        if (strcmp(ps->list[i]->name, name) == 0) return ps->list[i];
    return NULL;
}

static bool same_dims(int ndim, const int64_t *a, int other_ndim, const int64_t *b)
{
    if (ndim != other_ndim) return false;
    for (int i = 0; i < ndim; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* Looks the tensor up in the file; notes it as missing (where nobody makes it) or misshapen where it is. */
static const ts_weight *wanted(ts_params *ps, const char *name, int ndim, const int64_t *shape, bool *make_it)
{
    char full[256], have[128], want[128], item[600];
    *make_it = false;
    if (snprintf(full, sizeof full, "%s%s", ps->prefix, name) >= (int)sizeof full) return NULL;
    const ts_weight *w = ps->weights ? ts_weights_find(ps->weights, full) : NULL;
    if (!w && ps->init) {
        *make_it = true;
        return NULL;
    }
    if (!w) {
        append(ps, &ps->missing, ", ", full);
        ps->missing_count++;
        return NULL;
    }
    if (same_dims(ndim, shape, w->ndim, w->shape)) return w;
    shape_words(have, sizeof have, w->ndim, w->shape);
    shape_words(want, sizeof want, ndim, shape);
    snprintf(item, sizeof item, "%s is %s, wanted %s", full, have, want);
    append(ps, &ps->misshapen, "; ", item);
    ps->misshapen_count++;
    return NULL;
}

/* Gives the entry its place and first value in the device's memory: the file's, or what `init` makes of it. */
static bool fill_entry(ts_params *ps, ts_param_entry *p)
{
    const ts_backend *b = ps->dev->backend;
    if (p->weight) return b->param_load(ps, p, &ps->error);
    float *initial = calloc((size_t)p->count, sizeof *initial);
    if (!initial) return ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory for tensor %s", p->name);
    p->initial = initial;
    bool ok = ps->master ? ts_params_read(ps->master, ps->count, initial, &ps->error)
                         : ps->init(ps->init_ctx, p->name, p->ndim, p->shape, initial, &ps->error);
    ok = ok && b->param_load(ps, p, &ps->error);
    if (!ok) ts_fail(&ps->error, TS_ERR_ARGUMENT, "tensor %s could not be made", p->name);
    p->initial = NULL;
    free(initial);
    return ok;
}

/* A new entry for the tensor that `t` stands for, and one of the same number among the masters. */
static ts_param_entry *load(ts_params *ps, const char *name, const ts_tensor *t, const ts_weight *w)
{
    if (ps->master && !load(ps->master, name, t, w)) {
        ts_fail(&ps->error, ps->master->error.code, "%s", ps->master->error.text);
        return NULL;
    }
    if (ps->count == ps->room) {
        int64_t room = ps->room ? ps->room * 2 : 128;
        ts_param_entry **grown = realloc(ps->list, (size_t)room * sizeof *grown);
        if (!grown) {
            ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
            return NULL;
        }
        ps->list = grown;
        ps->room = room;
    }
    ts_param_entry *p = calloc(1, sizeof *p);
    if (p) p->name = strdup(name);
    if (!p || !p->name) {
        free(p);
        ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->layout = t->layout;
    p->ndim = t->ndim;
    memcpy(p->shape, t->shape, sizeof p->shape);
    p->count = ts_count(t);
    p->bytes = (uint64_t)p->count * (ts_params_precision(ps) == ps->dev->precision ? ps->dev->real_bytes : 4);
    p->owner = ps;
    p->weight = w;
    if (!fill_entry(ps, p)) {
        free(p->name);
        free(p);
        return NULL;
    }
    ps->list[ps->count++] = p;
    ps->bytes += p->bytes;
    ps->whole = false;
    return p;
}

/* The leaf that stands for `p` in this graph already: with two of them its gradient would come in two halves. */
static ts_tensor *leaf_of(const ts_graph *g, const ts_param_entry *p)
{
    for (int64_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->state->param == p) return g->tensors[i];
    return NULL;
}

ts_tensor *ts_param(ts_graph *g, ts_params *ps, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    if (!g || g->error.code != TS_OK) return NULL;
    if (ps->error.code != TS_OK) return ts_graph_fail(g, ps->error.code, name, "%s", ps->error.text);
    ts_param_entry *p = find(ps, name);
    if (p && (p->layout != layout || !same_dims(ndim, shape, p->ndim, p->shape)))
        return ts_graph_fail(g, TS_ERR_ARGUMENT, name, "was loaded before with another shape or layout");
    ts_tensor *t = p ? leaf_of(g, p) : NULL;
    if (!t) t = ts_tensor_new(g, TS_REAL, ndim, shape);
    if (!t || t->state->param) return t;
    t->layout = layout;
    snprintf(t->name, sizeof t->name, "%s", name);
    if (!p) {
        bool make_it;
        const ts_weight *w = wanted(ps, name, ndim, shape, &make_it);
        if (!w && !make_it) return t; /* noted; the description goes on, so that all that is missing is found */
        p = load(ps, name, t, w);
        if (!p) return ts_graph_fail(g, ps->error.code, name, "%s", ps->error.text);
    }
    t->state->param = p;
    t->state->wide = ps->wide;
    return t;
}

ts_tensor *ts_master(ts_graph *g, ts_tensor *t)
{
    const ts_param_entry *p = t ? t->state->param : NULL;
    if (!p || !p->owner->master) return t;
    return ts_param(g, p->owner->master, p->name, p->layout, p->ndim, p->shape);
}

/* ---- by number ---- */

int64_t ts_params_count(const ts_params *ps)
{
    return ps->count;
}

const char *ts_params_name(const ts_params *ps, int64_t i)
{
    return ps->list[i]->name;
}

int ts_params_shape(const ts_params *ps, int64_t i, int64_t shape[TS_MAX_DIMS])
{
    memcpy(shape, ps->list[i]->shape, sizeof ps->list[i]->shape);
    return ps->list[i]->ndim;
}

bool ts_params_read(ts_params *ps, int64_t i, float *out, ts_error *err)
{
    if (ps->master) ps = ps->master;
    const ts_param_entry *p = ps->list[i];
    const ts_device *dev = ps->dev;
    void *raw = malloc(p->bytes);
    if (!raw) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", p->name);
    bool ok = dev->backend->param_read(ps, p, raw, err);
    if (ok) ts_unpack(raw, p->layout, p->ndim, p->shape, ts_params_precision(ps), dev->pack_panel, false, out);
    free(raw);
    return ok;
}

bool ts_params_write(ts_params *ps, int64_t i, const float *data, ts_error *err)
{
    ts_param_entry *p = ps->list[i];
    const ts_device *dev = ps->dev;
    if (!ps->trainable)
        return ts_fail(err, TS_ERR_ARGUMENT, "parameter %s cannot be changed: its ts_params is not a trainable one", p->name);
    void *raw = malloc(p->bytes);
    if (!raw) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", p->name);
    ts_pack(data, p->layout, p->ndim, p->shape, ts_params_precision(ps), dev->pack_panel, dev->threads, raw);
    bool ok = dev->backend->param_write(ps, p, raw, err);
    free(raw);
    return ok && (!ps->master || ts_params_write(ps->master, i, data, err));
}

int ts_graph_params(const ts_graph *g, const ts_params *ps, ts_tensor **list)
{
    int count = 0;
    for (int64_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->state->param && g->tensors[i]->state->param->owner == ps) list[count++] = g->tensors[i];
    return count;
}

bool ts_params_save(ts_params *ps, ts_weights_writer *w, float **buffer, ts_error *err)
{
    int64_t total = 0;
    for (int64_t i = 0; i < ps->count; i++) total += ps->list[i]->count;
    float *at = *buffer = malloc((size_t)total * sizeof **buffer + 1);
    if (!at) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRId64 " parameters of a checkpoint", total);
    for (int64_t i = 0; i < ps->count; i++) {
        const ts_param_entry *p = ps->list[i];
        char name[256];
        snprintf(name, sizeof name, "%s%s", ps->prefix, p->name);
        if (!ts_params_read(ps, i, at, err) || !ts_weights_writer_add(w, name, TS_DT_F32, p->ndim, p->shape, at, err))
            return false;
        at += p->count;
    }
    return true;
}

bool ts_params_load(ts_params *ps, const ts_weights *w, ts_error *err)
{
    for (int64_t i = 0; i < ps->count; i++) {
        const ts_param_entry *p = ps->list[i];
        char name[256];
        snprintf(name, sizeof name, "%s%s", ps->prefix, p->name);
        const ts_weight *saved = ts_weights_find(w, name);
        if (!saved || !same_dims(p->ndim, p->shape, saved->ndim, saved->shape))
            return ts_fail(err, TS_ERR_FORMAT, "%s: %s is missing or of another shape: this is no checkpoint of this model",
                           ts_weights_path(w), name);
        float *data = malloc((size_t)saved->count * sizeof *data);
        bool ok = data ? ts_weight_to_f32(saved, data, err) && ts_params_write(ps, i, data, err)
                       : ts_fail(err, TS_ERR_MEMORY, "out of memory");
        free(data);
        if (!ok) return false;
    }
    return true;
}
