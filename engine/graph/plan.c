/* plan.c - from a described graph to a list of nodes with places in memory. Three passes: fold small ops into the product before
 * them; drop what no output needs; give every intermediate an offset in the arena by its liveness, so that memory is the peak and
 * not the sum. The arena is cut in blocks no larger than the device allows; no tensor straddles two. */
#include "engine/internal.h"

#include <inttypes.h>
#include <stdlib.h>

static void count_readers(ts_graph *g)
{
    for (int64_t i = 0; i < g->tensor_count; i++) g->tensors[i]->state->readers = 0;
    for (int64_t i = 0; i < g->node_count; i++) {
        const ts_node *n = g->nodes[i];
        if (n->absorbed) continue;
        for (int k = 0; k < n->nin; k++)
            if (n->in[k]) ts_root(n->in[k])->state->readers++;
    }
}

/* Marks what is written in place. A node that reads it stays where it stands: folded into an earlier one, it would read the value
 * of before. */
static void mark_changes(ts_graph *g)
{
    for (int64_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->nin; k++)
            if (g->nodes[i]->op->writes >> k & 1) ts_root(g->nodes[i]->in[k])->state->changes = true;
}

static bool reads_changing(const ts_node *n)
{
    for (int k = 0; k < n->nin; k++)
        if (n->in[k] && ts_root(n->in[k])->state->changes) return true;
    return false;
}

/* Folds `consumer` into the last-made of the nodes that make its inputs (the others are computed by then), where that node's op
 * wants it and nobody else reads the value between. */
static void fold(ts_graph *g)
{
    count_readers(g);
    mark_changes(g);
    for (int64_t i = 0; i < g->node_count; i++) {
        ts_node *consumer = g->nodes[i];
        if (consumer->nout != 1 || reads_changing(consumer)) continue;
        ts_node *producer = NULL;
        for (int k = 0; k < consumer->nin; k++) {
            ts_node *maker = consumer->in[k] ? ts_root(consumer->in[k])->node : NULL;
            if (maker && (!producer || maker->index > producer->index)) producer = maker;
        }
        if (!producer || producer->nout != 1 || !producer->op->absorb) continue;
        ts_tensor *between = producer->out[0], *result = consumer->out[0];
        if (between->state->keep || between->state->readers != 1 || between->type != result->type) continue;
        if (!ts_same_shape(between, result) || !producer->op->absorb(producer, consumer)) continue;
        /* The producer now makes the consumer's result; the value between is no more. */
        consumer->absorbed = true;
        producer->out[0] = result;
        result->node = producer;
    }
}

/* Keeps in e->order the nodes whose results lead to an output. */
static bool needed(ts_exec *e, ts_error *err)
{
    ts_graph *g = e->graph;
    const ts_tensor *absent = NULL; /* a parameter that its weights file lacks: it would be read from where nobody wrote */
    bool *wanted = calloc((size_t)g->node_count + 1, sizeof *wanted);
    e->order = calloc((size_t)g->node_count + 1, sizeof *e->order);
    if (!wanted || !e->order) {
        free(wanted);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory while planning a graph");
    }
    for (int64_t i = g->node_count - 1; i >= 0; i--) {
        ts_node *n = g->nodes[i];
        if (n->absorbed) continue;
        wanted[i] = wanted[i] || n->op->writes != 0;
        for (int k = 0; k < n->nout; k++) wanted[i] = wanted[i] || n->out[k]->state->keep;
        if (!wanted[i]) continue;
        for (int k = 0; k < n->nin; k++) {
            const ts_tensor *t = ts_root(n->in[k]);
            if (t && t->node) wanted[t->node->index] = true;
            else if (t && !t->state->keep && !t->state->param) absent = t;
        }
    }
    e->count = 0;
    for (int64_t i = 0; i < g->node_count; i++)
        if (wanted[i]) e->order[e->count++] = g->nodes[i];
    free(wanted);
    if (absent)
        return ts_fail(err, TS_ERR_FORMAT, "parameter %s %s is missing from its weights file, or has another shape there",
                       absent->name, ts_shape_text(absent).s);
    return true;
}

static bool add_scratch(ts_exec *e, ts_node *n, uint64_t bytes, ts_error *err)
{
    if (bytes == 0) return true;
    uint64_t unit = e->dev->real_bytes;
    e->graph->frozen = false;
    n->scratch = ts_tensor_new(e->graph, TS_REAL, 1, (int64_t[]){(int64_t)((bytes + unit - 1) / unit)});
    e->graph->frozen = true;
    if (!n->scratch) return ts_fail(err, e->graph->error.code, "%s", e->graph->error.text);
    return true;
}

static uint64_t tensor_bytes(const ts_device *dev, const ts_tensor *t)
{
    return (uint64_t)ts_count(t) * (t->type == TS_REAL && ts_precision_of(dev, t) == dev->precision ? dev->real_bytes : 4);
}

static void touch(ts_tensor *t, int at)
{
    t = ts_root(t);
    if (!t || t->state->param) return;
    ts_tensor_state *s = t->state;
    if (s->first < 0) s->first = at;
    s->last = at;
}

/* One place of the arena and how long it is taken. */
typedef struct {
    int block, first, last;
    uint64_t offset, bytes;
} placed;

static int by_size(const void *a, const void *b)
{
    const ts_tensor *x = *(ts_tensor *const *)a, *y = *(ts_tensor *const *)b;
    if (x->state->bytes != y->state->bytes) return x->state->bytes < y->state->bytes ? 1 : -1;
    return x->state->first - y->state->first;
}

static int by_offset(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->block != y->block) return x->block - y->block;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Largest first, each at the lowest free offset among those that live at the same time. */
static bool place(ts_exec *e, ts_tensor **list, int64_t count, ts_error *err)
{
    const ts_device *dev = e->dev;
    placed *done = calloc((size_t)count + 1, sizeof *done), *rivals = calloc((size_t)count + 1, sizeof *rivals);
    e->blocks = calloc((size_t)count + 1, sizeof *e->blocks);
    bool ok = done && rivals && e->blocks;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory while planning a graph");
    for (int64_t i = 0; ok && i < count; i++) {
        ts_tensor_state *s = list[i]->state;
        uint64_t size = (s->bytes + dev->align - 1) / dev->align * dev->align;
        if (size > dev->block_bytes) {
            ok = ts_fail(err, TS_ERR_MEMORY,
                         "a tensor %s of %" PRIu64 " bytes is larger than the %" PRIu64 " that %s gives in one piece",
                         ts_shape_text(list[i]).s, s->bytes, dev->block_bytes, dev->info.name);
            break;
        }
        int64_t n = 0;
        for (int64_t k = 0; k < i; k++)
            if (done[k].first <= s->last && s->first <= done[k].last) rivals[n++] = done[k];
        qsort(rivals, (size_t)n, sizeof *rivals, by_offset);
        int block = 0;
        uint64_t offset = 0;
        for (int64_t k = 0; k < n; k++) {
            if (rivals[k].block != block) {
                if (offset + size <= dev->block_bytes) break;
                block++, offset = 0, k--; /* look at this rival again, in the next block */
                continue;
            }
            if (rivals[k].offset >= offset + size) break;
            uint64_t end = rivals[k].offset + rivals[k].bytes;
            if (end > offset) offset = end;
        }
        if (offset + size > dev->block_bytes) block++, offset = 0;
        done[i] = (placed){block, s->first, s->last, offset, size};
        s->block = block;
        s->offset = offset;
        if (block >= e->block_count) e->block_count = block + 1;
        if (offset + size > e->blocks[block]) e->blocks[block] = offset + size;
        e->sum_bytes += size;
    }
    free(done);
    free(rivals);
    return ok;
}

/* NOLINTBEGIN(clang-analyzer-core.NullDereference): `needed` filled all of e->order, which the analyzer loses in its loop. */
/* A kernel that expects fp16 must not be given fp32. */
static bool check_widths(const ts_exec *e, ts_error *err)
{
    for (int64_t i = 0; e->dev->precision == TS_F16 && i < e->count; i++) {
        const ts_node *n = e->order[i];
        for (int k = 0; k < n->nin; k++)
            if (ts_is_wide(n->in[k]) && !(n->op->wide >> k & 1))
                return ts_fail(err, TS_ERR_UNSUPPORTED,
                               "%s%s%s: input %d %s is kept in fp32, which it cannot take on a device in fp16", n->name,
                               n->name[0] ? "." : "", n->op->name, k, ts_shape_text(n->in[k]).s);
    }
    return true;
}

static bool lay_out(ts_exec *e, ts_error *err)
{
    ts_graph *g = e->graph;
    for (int64_t i = 0; i < g->tensor_count; i++) g->tensors[i]->state->first = -1;
    for (int64_t i = 0; i < e->count; i++) {
        ts_node *n = e->order[i];
        for (int k = 0; k < n->nin; k++) touch(n->in[k], (int)i);
        for (int k = 0; k < n->nout; k++) touch(n->out[k], (int)i);
        touch(n->scratch, (int)i);
    }
    ts_tensor **list = calloc((size_t)g->tensor_count + 1, sizeof(ts_tensor *));
    if (!list) return ts_fail(err, TS_ERR_MEMORY, "out of memory while planning a graph");
    int64_t count = 0;
    for (int64_t i = 0; i < g->tensor_count; i++) {
        ts_tensor *t = g->tensors[i];
        ts_tensor_state *s = t->state;
        if (s->alias || s->param || (s->first < 0 && !s->keep)) continue;
        if (s->keep) s->first = 0, s->last = (int)e->count;
        s->bytes = tensor_bytes(e->dev, t);
        list[count++] = t;
    }
    qsort(list, (size_t)count, sizeof *list, by_size);
    bool ok = place(e, list, count, err);
    free(list);
    return ok;
}

bool ts_plan(ts_exec *e, ts_error *err)
{
    ts_graph *g = e->graph;
    if (g->error.code != TS_OK) return ts_fail(err, g->error.code, "%s", g->error.text);
    if (g->frozen) return ts_fail(err, TS_ERR_ARGUMENT, "this graph was planned before; describe it again for another device");
    g->frozen = true;
    fold(g);
    if (!needed(e, err) || !check_widths(e, err)) return false;
    for (int64_t i = 0; i < e->count; i++) {
        ts_node *n = e->order[i];
        if (e->dev->limits && n->op->vulkan_scratch && !add_scratch(e, n, n->op->vulkan_scratch(n, e->dev->limits), err))
            return false;
    }
    return lay_out(e, err);
}
/* NOLINTEND(clang-analyzer-core.NullDereference) */
