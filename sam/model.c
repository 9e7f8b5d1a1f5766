/* model.c - parameters by their published names, whatever the file calls them, and those that are made of the file's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

ts_tensor *ts_sam_param(ts_graph *g, const sam_model *m, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    return ts_param(g, m->params, ts_sam_name(m->config.hugging_face, name).s, layout, ndim, shape);
}

/* The name of a layer is that of its weight without the last part. */
static sam_name layer_name(const sam_model *m, const char *layer)
{
    sam_name name;
    snprintf(name.s, sizeof name.s, "%s.weight", layer);
    name = ts_sam_name(m->config.hugging_face, name.s);
    name.s[strlen(name.s) - strlen(".weight")] = '\0';
    return name;
}

ts_tensor *ts_sam_linear(ts_graph *g, const sam_model *m, const char *layer, ts_tensor *x, int64_t in, int64_t out)
{
    return ts_vit_linear(g, m->params, layer_name(m, layer).s, x, in, out);
}

ts_tensor *ts_sam_norm(ts_graph *g, const sam_model *m, const char *layer, ts_tensor *x, int64_t width, float eps)
{
    return ts_vit_norm(g, m->params, layer_name(m, layer).s, x, width, eps);
}

/* ---- what is made ---- */

const ts_weight *ts_sam_source(const sam_model *m, const char *name, int ndim, const int64_t *shape, ts_error *err)
{
    const sam_name theirs = ts_sam_name(m->config.hugging_face, name);
    const ts_weight *t = ts_weights_find(m->weights, theirs.s);
    if (!t) {
        ts_fail(err, TS_ERR_FORMAT, "%s: tensor %s is missing", ts_weights_path(m->weights), theirs.s);
        return NULL;
    }
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = t->shape[i] == shape[i];
    if (same) return t;
    ts_fail(err, TS_ERR_SHAPE, "%s: tensor %s has another shape than a SAM's of its sizes", ts_weights_path(m->weights),
            theirs.s);
    return NULL;
}

/* (in, out, 2, 2) -> (2, 2, out, in) */
static bool turn(const sam_model *m, const char *name, int64_t in, int64_t out, float *to, ts_error *err)
{
    const ts_weight *t = ts_sam_source(m, name, 4, (int64_t[]){in, out, 2, 2}, err);
    if (!t) return false;
    float *from = malloc((size_t)t->count * sizeof *from);
    if (!from) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", name);
    const bool ok = ts_weight_to_f32(t, from, err);
    for (int64_t i = 0; ok && i < in; i++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t k = 0; k < 4; k++) to[(k * out + o) * in + i] = from[(i * out + o) * 4 + k];
    free(from);
    return ok;
}

/* (out), four times */
static bool repeat(const sam_model *m, const char *name, int64_t out, float *to, ts_error *err)
{
    const ts_weight *t = ts_sam_source(m, name, 1, &out, err);
    if (!t || !ts_weight_to_f32(t, to, err)) return false;
    for (int64_t k = 1; k < 4; k++) memcpy(to + k * out, to, (size_t)out * sizeof *to);
    return true;
}

/* Features of the places' middles. */
static bool dense(const sam_model *m, float *to, ts_error *err)
{
    const int side = m->config.side, embed = m->config.embed;
    sam_prompts prompts;
    if (!ts_sam_prompts_load(m, &prompts, err)) return false;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            ts_sam_features(prompts.gaussian, embed, (x + 0.5) / side, (y + 0.5) / side, to + ((size_t)y * side + x) * embed);
    free(prompts.memory);
    return true;
}

bool ts_sam_make(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const sam_model *m = ctx;
    char published[64], part[16];
    int number;
    if (strcmp(name, "dense_pe") == 0) return dense(m, out, err);
    if (strncmp(name, "folded.", strlen("folded.")) == 0) return ts_sam_fold(m, name + strlen("folded."), ndim, shape, out, err);
    if (strncmp(name, "ordered.", strlen("ordered.")) == 0)
        return ts_sam_order(m, name + strlen("ordered."), ndim, shape, out, err);
    if (sscanf(name, "turned.%d.%15s", &number, part) != 2) return ts_fail(err, TS_ERR_ARGUMENT, "nothing makes %s", name);
    snprintf(published, sizeof published, "mask_decoder.output_upscaling.%d.%s", number, part);
    return ndim == 2 ? turn(m, published, shape[1], shape[0] / 4, out, err) : repeat(m, published, shape[0] / 4, out, err);
}
