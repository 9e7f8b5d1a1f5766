/* exec.c - a planned graph on a device: values in, run, values out. The numbers of the caller are floats; the device may store
 * fp16 (Vulkan) or double (the yardstick), so they are converted on the way. */
#include "engine/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void describe_node(const ts_node *n, const ts_device *dev, ts_profile *p)
{
    *p = (ts_profile){.op = n->op->name, .name = n->name, .flops = n->op->flops ? n->op->flops(n) : 0};
    snprintf(p->shape, sizeof p->shape, "%.44s -> %.44s", ts_shape_text(n->in[0]).s, ts_shape_text(n->out[0]).s);
    for (int k = 0; k < n->nin; k++) p->bytes += (double)ts_count(n->in[k]) * (double)dev->real_bytes;
    for (int k = 0; k < n->nout; k++) p->bytes += (double)ts_count(n->out[k]) * (double)dev->real_bytes;
}

/* States start as zeros, which no precision or layout changes. */
static bool zero_states(ts_exec *e, ts_error *err)
{
    static const uint8_t zeros[1 << 16];
    for (int64_t i = 0; i < e->graph->tensor_count; i++) {
        const ts_tensor_state *s = e->graph->tensors[i]->state;
        for (uint64_t at = 0; s->zeroed && at < s->bytes; at += sizeof zeros) {
            const uint64_t part = s->bytes - at < sizeof zeros ? s->bytes - at : sizeof zeros;
            if (!e->dev->backend->write(e, s->block, s->offset + at, zeros, part, err)) return false;
        }
    }
    return true;
}

/* Lists the parameters that the device reads where they lie in a weights file. */
static bool list_mapped(ts_exec *e, ts_error *err)
{
    for (int64_t i = 0; i < e->graph->tensor_count; i++) {
        const ts_param_entry *p = e->graph->tensors[i]->state->param;
        const ts_params *ps = p ? p->owner : NULL;
        if (!ps || !ps->mapped) continue;
        bool known = false;
        for (int k = 0; k < e->mapped_count; k++) known = known || e->mapped[k] == ps;
        if (known) continue;
        const ts_params **grown = realloc(e->mapped, ((size_t)e->mapped_count + 1) * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        e->mapped = grown;
        e->mapped[e->mapped_count++] = ps;
    }
    return true;
}

/* Whether the weights that were loaded, a moment ago or at any time, are those of one and the same file. */
static bool loaded_whole(const ts_exec *e, ts_error *err)
{
    for (int64_t i = 0; i < e->graph->tensor_count; i++) {
        const ts_param_entry *p = e->graph->tensors[i]->state->param;
        if (p && !p->owner->whole && !ts_weights_intact(p->owner->weights, err)) return false;
    }
    for (int64_t i = 0; i < e->graph->tensor_count; i++) {
        const ts_param_entry *p = e->graph->tensors[i]->state->param;
        if (p) p->owner->whole = true;
    }
    return true;
}

ts_exec *ts_exec_new(ts_graph *g, ts_device *dev, ts_error *err)
{
    ts_exec *e = calloc(1, sizeof *e);
    if (!e) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    e->graph = g;
    e->dev = dev;
    bool ok = ts_plan(e, err);
    if (ok && dev->profile) {
        e->profile = calloc((size_t)e->count + 1, sizeof *e->profile);
        ok = e->profile != NULL;
        if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
        for (int64_t i = 0; ok && i < e->count; i++) describe_node(e->order[i], dev, &e->profile[i]);
    }
    ok = ok && list_mapped(e, err) && dev->backend->exec_new(e, err) && zero_states(e, err) && loaded_whole(e, err);
    if (!ok) {
        ts_exec_free(e);
        return NULL;
    }
    return e;
}

void ts_exec_free(ts_exec *e)
{
    if (!e) return;
    e->dev->backend->exec_free(e);
    free(e->order);
    free(e->blocks);
    free(e->profile);
    free(e->mapped);
    free(e);
}

bool ts_run(ts_exec *e, ts_error *err)
{
    if (!e->dev->backend->run(e, err)) return false;
    for (int i = 0; i < e->mapped_count; i++)
        if (!ts_weights_intact(e->mapped[i]->weights, err)) return false;
    return true;
}

/* The storage of an input or output, checked. */
static const ts_tensor_state *kept(const ts_exec *e, ts_tensor *t, const char *verb, ts_error *err)
{
    if (!t || t->graph != e->graph) {
        ts_fail(err, TS_ERR_ARGUMENT, "%s: the tensor is not of this graph", verb);
        return NULL;
    }
    const ts_tensor_state *s = ts_root(t)->state;
    if (!s->keep || s->param) {
        ts_fail(err, TS_ERR_ARGUMENT, "%s: tensor %s %s is neither an input nor an output", verb, t->name, ts_shape_text(t).s);
        return NULL;
    }
    return s;
}

typedef enum { CALLER_FLOAT, CALLER_DOUBLE } caller_type;

/* The caller's numbers in the device's storage, and back. */
static void to_device(const ts_exec *e, const ts_tensor *t, caller_type type, const void *from, void *to)
{
    const ts_precision precision = ts_precision_of(e->dev, t);
    if (type == CALLER_FLOAT) {
        ts_pack(from, t->layout, t->ndim, t->shape, precision, e->dev->pack_panel, e->dev->threads, to);
        return;
    }
    const double *v = from;
    for (int64_t i = 0; i < ts_count(t); i++) {
        if (precision == TS_F64) ((double *)to)[i] = v[i];
        else if (precision == TS_F16) ((uint16_t *)to)[i] = ts_f32_to_f16((float)v[i]);
        else ((float *)to)[i] = (float)v[i];
    }
}

static bool direct(const ts_exec *e, const ts_tensor *t, caller_type type)
{
    bool plain = t->layout == TS_LAYOUT_PLAIN || !e->dev->limits;
    return t->type == TS_I32 || (ts_precision_of(e->dev, t) == TS_F32 && type == CALLER_FLOAT && plain);
}

static bool write_as(ts_exec *e, ts_tensor *t, caller_type type, const void *data, ts_error *err)
{
    const ts_tensor_state *s = kept(e, t, "write", err);
    if (!s) return false;
    const ts_backend *b = e->dev->backend;
    if (direct(e, t, type)) return b->write(e, s->block, s->offset, data, s->bytes, err);
    void *copy = malloc(s->bytes);
    if (!copy) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRIu64 " bytes", s->bytes);
    to_device(e, t, type, data, copy);
    bool ok = b->write(e, s->block, s->offset, copy, s->bytes, err);
    free(copy);
    return ok;
}

static bool read_as(ts_exec *e, ts_tensor *t, caller_type type, void *data, ts_error *err)
{
    const ts_tensor_state *s = kept(e, t, "read", err);
    if (!s) return false;
    const ts_backend *b = e->dev->backend;
    if (direct(e, t, type)) return b->read(e, s->block, s->offset, data, s->bytes, err);
    void *copy = malloc(s->bytes);
    if (!copy) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %" PRIu64 " bytes", s->bytes);
    bool ok = b->read(e, s->block, s->offset, copy, s->bytes, err);
    if (ok)
        ts_unpack(copy, t->layout, t->ndim, t->shape, ts_precision_of(e->dev, t), e->dev->pack_panel, type == CALLER_DOUBLE,
                  data);
    free(copy);
    return ok;
}

bool ts_write(ts_exec *e, ts_tensor *t, const void *data, ts_error *err)
{
    return write_as(e, t, CALLER_FLOAT, data, err);
}

bool ts_read(ts_exec *e, ts_tensor *t, void *data, ts_error *err)
{
    return read_as(e, t, CALLER_FLOAT, data, err);
}

bool ts_write_f64(ts_exec *e, ts_tensor *t, const double *data, ts_error *err)
{
    if (t && (t->type != TS_REAL || (t->layout != TS_LAYOUT_PLAIN && e->dev->limits)))
        return ts_fail(err, TS_ERR_ARGUMENT, "write: doubles go into plain real tensors only");
    return write_as(e, t, CALLER_DOUBLE, data, err);
}

bool ts_read_f64(ts_exec *e, ts_tensor *t, double *data, ts_error *err)
{
    if (t && t->type != TS_REAL) return ts_fail(err, TS_ERR_ARGUMENT, "read: the tensor holds integers");
    return read_as(e, t, CALLER_DOUBLE, data, err);
}

ts_exec_info ts_exec_about(const ts_exec *e)
{
    ts_exec_info info = {.sum_bytes = e->sum_bytes, .nodes = (int)e->count, .submissions = e->submissions};
    for (int i = 0; i < e->block_count; i++) info.arena_bytes += e->blocks[i];
    for (int64_t i = 0; i < e->count; i++)
        if (e->order[i]->op->flops) info.flops += e->order[i]->op->flops(e->order[i]);
    return info;
}

int ts_exec_profile(const ts_exec *e, const ts_profile **list)
{
    *list = e->profile;
    return e->profile ? (int)e->count : 0;
}
