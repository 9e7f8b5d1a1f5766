/* recompute.c - segments of a graph whose activations are not kept for the gradient but made again before it (Chen et al. 2016,
 * arXiv 1604.06174). A segment is just a mark on nodes. When ts_grad comes to one, from behind, the segment is described again,
 * its copies stand in for the originals wherever a gradient reads a value, and so the originals die where the forward pass is
 * done with them. The planner needs to know nothing of it. */
#include "engine/internal.h"

#include <stdio.h>

void ts_recompute_begin(ts_graph *g)
{
    if (!g) return;
    if (g->segment > 0) ts_graph_fail(g, TS_ERR_ARGUMENT, "recompute", "a segment cannot begin inside another");
    g->segment = ++g->segment_count;
}

void ts_recompute_end(ts_graph *g)
{
    if (!g) return;
    if (g->segment == 0) ts_graph_fail(g, TS_ERR_ARGUMENT, "recompute", "a segment ends that did not begin");
    g->segment = 0;
}

/* What stands for `t` in the copy: its copy, or itself where it comes from outside. */
static ts_tensor *copy_of(ts_graph *g, ts_tensor *t, ts_tensor **copies)
{
    if (!t) return NULL;
    const int64_t at = t->state->index;
    if (copies[at] || !t->state->alias) return copies[at] ? copies[at] : t;
    ts_tensor *from = copy_of(g, t->state->alias, copies);
    if (!from || from == t->state->alias) return from ? t : NULL;
    ts_tensor *shaped = ts_reshape(g, from, t->ndim, t->shape);
    if (!shaped) return NULL;
    shaped->layout = t->layout;
    shaped->state->stopped = t->state->stopped;
    return copies[at] = shaped;
}

static ts_node *copy_node(ts_graph *g, const ts_node *n, ts_tensor **copies)
{
    ts_tensor *in[TS_MAX_IN] = {0};
    if (n->op->writes) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, n->op->name, "changes a tensor in place, which must not be done twice");
        return NULL;
    }
    for (int k = 0; k < n->nin; k++) in[k] = copy_of(g, n->in[k], copies);
    ts_scope(g, "%s", n->name);
    ts_node *copy = ts_node_new(g, n->op, n->nin, in, n->attr, n->attr_size);
    for (int k = 0; copy && k < n->nout; k++) {
        const ts_tensor *t = n->out[k];
        ts_tensor *out = ts_node_output(copy, t->type, t->ndim, t->shape);
        if (!out) return NULL;
        out->layout = t->layout;
        copies[t->state->index] = out;
    }
    return copy;
}

void ts_segment_copy(ts_graph *g, int segment, int64_t count, ts_node **nodes, ts_tensor **tensors)
{
    for (int64_t i = 0; i < count && g->error.code == TS_OK; i++)
        if (g->nodes[i]->segment == segment) nodes[i] = copy_node(g, g->nodes[i], tensors);
}
