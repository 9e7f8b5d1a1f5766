/* grad.c - reverse-mode differentiation over the graph: each op adds the nodes of its own gradient (ts_op.grad), so a gradient is
 * ordinary graph, planned, fused and replayed like the rest. Where a tensor is used twice its gradients are added, in the order
 * of the nodes, so the same graph always sums in the same order. */
#include "engine/internal.h"

#include <stdlib.h>

typedef struct {
    ts_graph *g;
    int64_t tensors, nodes; /* as they were before any gradient was added */
    bool *depends;          /* by tensor: leads from one of the parameters */
    ts_tensor **grad;       /* by tensor, roots only */
    ts_node **again;        /* by node: its copy, where its segment is computed again */
    ts_tensor **copies;     /* by tensor */
} walk;

/* Whether a gradient flows through this use of a tensor: no ts_stop_gradient on the way to its storage. */
static bool flows(const ts_tensor *t)
{
    for (; t; t = t->state->alias)
        if (t->state->stopped) return false;
    return true;
}

static bool wanted(const walk *w, ts_tensor *t)
{
    return t && t->type == TS_REAL && flows(t) && w->depends[ts_root(t)->state->index];
}

static void mark(walk *w, int count, ts_tensor *const *params)
{
    for (int i = 0; i < count; i++) w->depends[ts_root(params[i])->state->index] = true;
    for (int64_t i = 0; i < w->nodes; i++) {
        ts_node *n = w->g->nodes[i];
        bool any = false;
        for (int k = 0; k < n->nin; k++) any = any || wanted(w, n->in[k]);
        for (int k = 0; any && k < n->nout; k++) w->depends[n->out[k]->state->index] = true;
    }
}

static void accumulate(walk *w, ts_tensor *input, ts_tensor *grad)
{
    if (!grad) return; /* this op has none for the input: zero, or an error that the graph keeps */
    ts_tensor *root = ts_root(input);
    if (!ts_same_shape(grad, root)) grad = ts_reshape(w->g, grad, root->ndim, root->shape);
    if (grad) grad->layout = root->layout; /* a reshape forgets it */
    ts_tensor **sum = &w->grad[root->state->index];
    *sum = *sum ? ts_add(w->g, *sum, grad) : grad;
}

static void step(walk *w, ts_node *n)
{
    ts_tensor *dy[TS_MAX_OUT] = {0}, *dx[TS_MAX_IN] = {0};
    bool want[TS_MAX_IN] = {0}, any_dy = false, any_want = false;
    for (int k = 0; k < n->nout; k++) {
        dy[k] = w->grad[n->out[k]->state->index];
        any_dy = any_dy || dy[k];
    }
    for (int k = 0; k < n->nin; k++) {
        want[k] = wanted(w, n->in[k]);
        any_want = any_want || want[k];
    }
    if (!any_dy || !any_want) return;
    if (!n->op->grad) {
        ts_scope(w->g, "%s", n->name);
        ts_graph_fail(w->g, TS_ERR_UNSUPPORTED, n->op->name, "has no gradient");
        return;
    }
    if (n->segment > 0 && !w->again[n->index]) ts_segment_copy(w->g, n->segment, w->nodes, w->again, w->copies);
    if (n->segment > 0 && !w->again[n->index]) return; /* the graph keeps the error */
    ts_scope(w->g, "%s", n->name);                     /* so that errors and profiles name the layer */
    n->op->grad(n->segment > 0 ? w->again[n->index] : n, dy, want, dx);
    for (int k = 0; k < n->nin; k++)
        if (want[k]) accumulate(w, n->in[k], dx[k]);
}

bool ts_grad(ts_graph *g, ts_tensor *loss, int count, ts_tensor *const *params, ts_tensor **grads)
{
    return ts_grad_seeded(g, loss, NULL, count, params, grads);
}

bool ts_grad_seeded(ts_graph *g, ts_tensor *loss, ts_tensor *seed, int count, ts_tensor *const *params, ts_tensor **grads)
{
    for (int i = 0; i < count; i++) grads[i] = NULL;
    if (!loss || g->error.code != TS_OK) return false;
    for (int i = 0; i < count; i++)
        if (!params[i]) return false;
    if (ts_count(loss) != 1) {
        ts_graph_fail(g, TS_ERR_SHAPE, "grad", "the loss must be one number, it is %s", ts_shape_text(loss).s);
        return false;
    }
    if (g->segment > 0) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, "grad", "a gradient cannot be taken inside a segment that is computed again");
        return false;
    }
    walk w = {.g = g, .tensors = g->tensor_count, .nodes = g->node_count};
    w.depends = calloc((size_t)w.tensors, sizeof *w.depends);
    w.grad = calloc((size_t)w.tensors, sizeof(ts_tensor *));
    w.again = calloc((size_t)w.nodes + 1, sizeof(ts_node *));
    w.copies = calloc((size_t)w.tensors, sizeof(ts_tensor *));
    if (w.depends && w.grad && w.again && w.copies) {
        mark(&w, count, params);
        ts_tensor *root = ts_root(loss);
        w.grad[root->state->index] =
            seed ? ts_reshape(g, seed, root->ndim, root->shape) : ts_fill(g, root->ndim, root->shape, 1.0F);
        for (int64_t i = w.nodes - 1; i >= 0 && g->error.code == TS_OK; i--) step(&w, g->nodes[i]);
        for (int i = 0; i < count; i++) grads[i] = w.grad[ts_root(params[i])->state->index];
    } else {
        ts_graph_fail(g, TS_ERR_MEMORY, "grad", "out of memory");
    }
    free(w.depends);
    free(w.grad);
    free(w.again);
    free(w.copies);
    return g->error.code == TS_OK;
}

ts_tensor *ts_stop_gradient(ts_graph *g, ts_tensor *x)
{
    if (!x) return NULL;
    ts_tensor *t = ts_reshape(g, x, x->ndim, x->shape);
    if (t) t->state->stopped = true;
    return t;
}
