/* graph.c - describing: tensors and nodes are made here, in the order of calls. Nothing runs. The first error is kept in the
 * graph and every later call returns NULL, so that a model reads like its paper and is checked once. */
#include "engine/internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ts_graph *ts_graph_new(void)
{
    return calloc(1, sizeof(ts_graph));
}

void ts_graph_free(ts_graph *g)
{
    if (!g) return;
    for (int64_t i = 0; i < g->tensor_count; i++) {
        free(g->tensors[i]->state);
        free(g->tensors[i]);
    }
    for (int64_t i = 0; i < g->node_count; i++) {
        free(g->nodes[i]->attr);
        free(g->nodes[i]);
    }
    free(g->tensors);
    free(g->nodes);
    free(g);
}

const ts_error *ts_graph_error(const ts_graph *g)
{
    return g->error.code == TS_OK ? NULL : &g->error;
}

void ts_scope(ts_graph *g, const char *format, ...)
{
    if (!g) return;
    va_list args;
    va_start(args, format);
    vsnprintf(g->scope, sizeof g->scope, format, args);
    va_end(args);
}

ts_tensor *ts_graph_fail(ts_graph *g, ts_code code, const char *op, const char *format, ...)
{
    if (!g || g->error.code != TS_OK) return NULL;
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ts_fail(&g->error, code, "%s%s%s: %s", g->scope, g->scope[0] ? "." : "", op, text);
    return NULL;
}

/* Grows an array of pointers so that one more fits. */
static bool room_for_one(ts_graph *g, void ***list, int64_t count, int64_t *room)
{
    if (count < *room) return true;
    int64_t wanted = *room ? *room * 2 : 64;
    void **grown = realloc(*list, (size_t)wanted * sizeof **list);
    if (!grown) return ts_fail(&g->error, TS_ERR_MEMORY, "out of memory while describing a graph");
    *list = grown;
    *room = wanted;
    return true;
}

ts_tensor *ts_tensor_new(ts_graph *g, ts_type type, int ndim, const int64_t *shape)
{
    if (!g || g->error.code != TS_OK) return NULL;
    if (g->frozen) return ts_graph_fail(g, TS_ERR_ARGUMENT, "graph", "nothing can be added after it was planned");
    if (ndim < 1 || ndim > TS_MAX_DIMS)
        return ts_graph_fail(g, TS_ERR_SHAPE, "tensor", "%d dimensions, 1 to %d are possible", ndim, TS_MAX_DIMS);
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 1 || __builtin_mul_overflow(count, shape[i], &count) || count > INT64_MAX / 16)
            return ts_graph_fail(g, TS_ERR_SHAPE, "tensor", "dimension %d is %" PRId64 ", which is empty or too large", i,
                                 shape[i]);
    }
    if (!room_for_one(g, (void ***)&g->tensors, g->tensor_count, &g->tensor_room)) return NULL;
    ts_tensor *t = calloc(1, sizeof *t);
    ts_tensor_state *state = calloc(1, sizeof *state);
    if (!t || !state) {
        free(t);
        free(state);
        return ts_graph_fail(g, TS_ERR_MEMORY, "tensor", "out of memory");
    }
    t->graph = g;
    t->type = type;
    t->ndim = ndim;
    for (int i = 0; i < ndim; i++) t->shape[i] = shape[i];
    t->state = state;
    state->index = g->tensor_count;
    g->tensors[g->tensor_count++] = t;
    return t;
}

bool ts_graph_append_node(ts_graph *g, ts_node *n)
{
    if (!room_for_one(g, (void ***)&g->nodes, g->node_count, &g->node_room)) return false;
    n->index = (int)g->node_count;
    g->nodes[g->node_count++] = n;
    return true;
}

ts_node *ts_node_new(ts_graph *g, const ts_op *op, int nin, ts_tensor *const *in, const void *attr, size_t attr_size)
{
    if (!g || g->error.code != TS_OK) return NULL;
    ts_node *n = calloc(1, sizeof *n);
    void *copy = attr_size ? malloc(attr_size) : NULL;
    if (!n || (attr_size && !copy)) {
        free(n);
        free(copy);
        ts_graph_fail(g, TS_ERR_MEMORY, op->name, "out of memory");
        return NULL;
    }
    if (attr_size) memcpy(copy, attr, attr_size);
    n->op = op;
    n->graph = g;
    n->attr = copy;
    n->attr_size = attr_size;
    n->segment = g->segment;
    n->nin = nin;
    for (int i = 0; i < nin; i++) n->in[i] = in[i];
    snprintf(n->name, sizeof n->name, "%s", g->scope);
    if (!ts_graph_append_node(g, n)) {
        free(copy);
        free(n);
        return NULL;
    }
    return n;
}

ts_tensor *ts_node_output(ts_node *n, ts_type type, int ndim, const int64_t *shape)
{
    if (!n) return NULL;
    ts_tensor *t = ts_tensor_new(n->graph, type, ndim, shape);
    if (!t) return NULL;
    t->node = n;
    n->out[n->nout++] = t;
    return t;
}

bool ts_node_add_input(ts_node *n, int slot, ts_tensor *t)
{
    if (slot >= TS_MAX_IN || (slot < n->nin && n->in[slot])) return false;
    n->in[slot] = t;
    if (slot >= n->nin) n->nin = slot + 1;
    return true;
}

ts_text ts_shape_text(const ts_tensor *t)
{
    ts_text text = {"(absent)"};
    if (!t) return text;
    size_t used = 0;
    for (int i = 0; i < t->ndim; i++)
        used += (size_t)snprintf(text.s + used, sizeof text.s - used, "%s%" PRId64, i ? ", " : "(", t->shape[i]);
    snprintf(text.s + used, sizeof text.s - used, ")");
    return text;
}

int64_t ts_count(const ts_tensor *t)
{
    if (!t) return 0;
    int64_t count = 1;
    for (int i = 0; i < t->ndim; i++) count *= t->shape[i];
    return count;
}

int64_t ts_last_dim(const ts_tensor *t)
{
    return t->shape[t->ndim - 1];
}

int64_t ts_rows(const ts_tensor *t)
{
    return ts_count(t) / ts_last_dim(t);
}

bool ts_same_shape(const ts_tensor *a, const ts_tensor *b)
{
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

bool ts_is_wide(const ts_tensor *t)
{
    const ts_tensor *root = ts_root_const(t);
    return root && root->state->wide;
}

ts_precision ts_precision_of(const ts_device *dev, const ts_tensor *t)
{
    return dev->precision == TS_F16 && ts_is_wide(t) ? TS_F32 : dev->precision;
}

ts_tensor *ts_root(ts_tensor *t)
{
    while (t && t->state->alias) t = t->state->alias;
    return t;
}

const ts_tensor *ts_root_const(const ts_tensor *t)
{
    while (t && t->state->alias) t = t->state->alias;
    return t;
}

ts_tensor *ts_input(ts_graph *g, const char *name, ts_type type, int ndim, const int64_t *shape)
{
    ts_tensor *t = ts_tensor_new(g, type, ndim, shape);
    if (!t) return NULL;
    t->state->keep = true;
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

ts_tensor *ts_input_weight(ts_graph *g, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    ts_tensor *t = ts_input(g, name, TS_REAL, ndim, shape);
    if (t) t->layout = layout;
    return t;
}

ts_tensor *ts_state(ts_graph *g, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    ts_tensor *t = ts_input_weight(g, name, layout, ndim, shape);
    if (t) t->state->zeroed = t->state->wide = true;
    return t;
}

bool ts_in_place(ts_graph *g, const char *op, const ts_tensor *t)
{
    if (!t) return false;
    if (t->node || t->state->alias || t->type != TS_REAL) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, op, "%s %s is not a leaf of reals, which alone can be changed in place", t->name,
                      ts_shape_text(t).s);
        return false;
    }
    if (t->state->param && !t->state->param->owner->trainable) {
        ts_graph_fail(g, TS_ERR_ARGUMENT, op, "parameter %s cannot be changed: its ts_params is not a trainable one", t->name);
        return false;
    }
    return true;
}

ts_tensor *ts_output(ts_graph *g, ts_tensor *t)
{
    (void)g;
    if (t) ts_root(t)->state->keep = true;
    return t;
}

ts_tensor *ts_reshape(ts_graph *g, ts_tensor *x, int ndim, const int64_t *shape)
{
    if (!x) return NULL;
    ts_tensor *t = ts_tensor_new(g, x->type, ndim, shape);
    if (!t) return NULL;
    if (ts_count(t) != ts_count(x))
        return ts_graph_fail(g, TS_ERR_SHAPE, "reshape", "%s has another number of elements than %s", ts_shape_text(x).s,
                             ts_shape_text(t).s);
    t->state->alias = x;
    t->node = x->node;
    return t;
}
