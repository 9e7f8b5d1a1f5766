/* head.c - the learned head of SupPR: two linear layers over a frozen feature (Zhang et al. 2023, section 3.2; its sizes and
 * names as in the released code). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"
#include "retrieval/retrieval.h"
#include "vit/vit.h"

ts_tensor *ts_retriever_head(ts_graph *g, ts_params *ps, const ts_retriever_config *c, ts_tensor *x)
{
    x = ts_vit_linear(g, ps, "head.0", x, c->width, c->hidden); // (B, hidden)
    x = ts_relu(g, x);
    x = ts_vit_linear(g, ps, "head.2", x, c->hidden, c->out); // (B, out)
    return ts_unit(g, x);
}

enum { MOST = 1 << 16 };

static bool is_matrix(const ts_weight *t)
{
    return t && t->ndim == 2 && t->shape[0] > 0 && t->shape[0] <= MOST && t->shape[1] > 0 && t->shape[1] <= MOST;
}

static bool is_vector(const ts_weight *t, int64_t count)
{
    return t && t->ndim == 1 && t->shape[0] == count;
}

bool ts_retriever_read(const ts_weights *w, ts_retriever_config *out, ts_error *err)
{
    const ts_weight *first = ts_weights_find(w, "head.0.weight"), *second = ts_weights_find(w, "head.2.weight");
    if (!ts_kind_expect(w, TS_KIND_RETRIEVER, err)) return false;
    if (!ts_weights_meta(w, TS_RETRIEVER_OF) || !is_matrix(first) || !is_matrix(second) || second->shape[1] != first->shape[0] ||
        !is_vector(ts_weights_find(w, "head.0.bias"), first->shape[0]) ||
        !is_vector(ts_weights_find(w, "head.2.bias"), second->shape[0]))
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s is no whole retriever: head.0 and head.2 with their biases, and what model they are for, are wanted",
                       ts_weights_path(w));
    *out = (ts_retriever_config){(int)first->shape[1], (int)first->shape[0], (int)second->shape[0]};
    return true;
}

/* ---- at work ----------------------------------------------------------------------------------------------------- */

struct ts_retriever {
    const ts_weights *weights;
    ts_retriever_config config;
    ts_params *params;
    ts_graph *graph;
    ts_exec *exec;
    ts_tensor *in, *out; /* (B, width), (B, out) */
    int batch;
    float *rows, *made; /* of a batch */
};

static bool make(ts_retriever *r, ts_device *dev, ts_error *err)
{
    if (!ts_retriever_read(r->weights, &r->config, err)) return false;
    r->rows = malloc((size_t)r->batch * (size_t)r->config.width * sizeof *r->rows);
    r->made = malloc((size_t)r->batch * (size_t)r->config.out * sizeof *r->made);
    r->graph = ts_graph_new();
    if (!r->rows || !r->made || !r->graph) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    if (!(r->params = ts_params_new(dev, r->weights, "", err))) return false;
    r->in = ts_input(r->graph, "features", TS_REAL, 2, (int64_t[]){r->batch, r->config.width});
    r->out = ts_output(r->graph, ts_retriever_head(r->graph, r->params, &r->config, r->in));
    return ts_params_check(r->params, err) && (r->exec = ts_exec_new(r->graph, dev, err)) != NULL;
}

ts_retriever *ts_retriever_new(ts_device *dev, const ts_weights *w, int batch, ts_error *err)
{
    ts_retriever *r = calloc(1, sizeof *r);
    if (!r) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    r->weights = w;
    r->batch = batch;
    if (make(r, dev, err)) return r;
    ts_retriever_free(r);
    return NULL;
}

void ts_retriever_free(ts_retriever *r)
{
    if (!r) return;
    ts_exec_free(r->exec);
    ts_graph_free(r->graph);
    ts_params_free(r->params);
    free(r->rows);
    free(r->made);
    free(r);
}

const ts_retriever_config *ts_retriever_about(const ts_retriever *r)
{
    return &r->config;
}

bool ts_retriever_apply(ts_retriever *r, const float *rows, int64_t count, float *out, ts_error *err)
{
    const int64_t width = r->config.width, made = r->config.out;
    for (int64_t at = 0; at < count; at += r->batch) {
        const int64_t n = count - at < r->batch ? count - at : r->batch;
        memcpy(r->rows, rows + at * width, (size_t)(n * width) * sizeof *rows);
        memset(r->rows + n * width, 0, (size_t)((r->batch - n) * width) * sizeof *rows);
        if (!ts_write(r->exec, r->in, r->rows, err) || !ts_run(r->exec, err) || !ts_read(r->exec, r->out, r->made, err))
            return false;
        for (int64_t i = 0; i < n * made; i++)
            if (!isfinite(r->made[i]))
                return ts_fail(err, TS_ERR_FORMAT, "retriever %s gives features that are no numbers",
                               ts_weights_path(r->weights));
        memcpy(out + at * made, r->made, (size_t)(n * made) * sizeof *out);
    }
    return true;
}
