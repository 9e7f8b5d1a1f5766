/* prompt.c - a prompt: the parameters of a method, made afresh or read from a file, and what every method's graph shares: inputs
 * that the method writes itself, chunks of class prompts, context put among them, tokens put among a picture's. */
#include "clip/prompt/method.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---- */

uint64_t ts_prompt_seed(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325U; /* FNV-1a */
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3U;
    ts_uniform(&seed);
    return h ^ seed;
}

/* ---- parameters ---- */

struct ts_prompt_declared *ts_prompt_declare(ts_prompt *p, const char *name, ts_layout layout, int ndim, const int64_t *shape,
                                             ts_start start, double scale, ts_error *err)
{
    if (p->declared_count == TS_PROMPT_MAX_PARAMS) {
        ts_fail(err, TS_ERR_ARGUMENT, "%s: more than %d parameters", p->method->name, TS_PROMPT_MAX_PARAMS);
        return NULL;
    }
    struct ts_prompt_declared *d = &p->declared[p->declared_count++];
    *d = (struct ts_prompt_declared){.layout = layout, .ndim = ndim, .start = start, .scale = scale};
    snprintf(d->name, sizeof d->name, "%s", name);
    memcpy(d->shape, shape, (size_t)ndim * sizeof *shape);
    return d;
}

static const struct ts_prompt_declared *declared(const ts_prompt *p, const char *name)
{
    for (int i = 0; i < p->declared_count; i++)
        if (strcmp(p->declared[i].name, name) == 0) return &p->declared[i];
    return NULL;
}

const ts_weight *ts_prompt_in_file(const ts_weights *w, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "prompt_learner.%s", name);
    const ts_weight *t = ts_weights_find(w, name);
    return t ? t : ts_weights_find(w, full);
}

/* A pixel prompt as published, (1, 3, h, w), for ours, (h, w, 3). */
static bool is_planes(const ts_weight *t, int ndim, const int64_t *shape)
{
    return ndim == 3 && shape[2] == 3 && t->ndim == 4 && t->shape[0] == 1 && t->shape[1] == 3 && t->shape[2] == shape[0] &&
           t->shape[3] == shape[1];
}

static bool from_file(const ts_prompt *p, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const ts_weight *t = ts_prompt_in_file(p->weights, name);
    const char *path = ts_weights_path(p->weights);
    if (!t) return ts_fail(err, TS_ERR_FORMAT, "%s: has no %s, so it is no prompt of %s", path, name, p->method->name);
    bool same = t->ndim == ndim;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) {
        count *= shape[i];
        same = same && t->shape[i] == shape[i];
    }
    if (same) return ts_weight_to_f32(t, out, err);
    if (!is_planes(t, ndim, shape))
        return ts_fail(err, TS_ERR_SHAPE,
                       "%s: %s has %lld elements where these settings, these classes and this model want %lld, or another shape",
                       path, name, (long long)t->count, (long long)count);
    float *planes = malloc((size_t)count * sizeof *planes);
    const int64_t area = shape[0] * shape[1];
    if (!planes) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld pixels", (long long)area);
    const bool ok = ts_weight_to_f32(t, planes, err);
    for (int64_t i = 0; ok && i < count; i++) out[i] = planes[i % 3 * area + i / 3];
    free(planes);
    return ok;
}

static bool check_finite(const ts_prompt *p, const char *name, int64_t count, const float *values, ts_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return ts_fail(err, TS_ERR_FORMAT, "%s: %s holds what is not a finite number", ts_weights_path(p->weights), name);
    return true;
}

static bool make_param(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const ts_prompt *p = ctx;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++) count *= shape[i];
    if (p->weights) return from_file(p, name, ndim, shape, out, err) && check_finite(p, name, count, out, err);
    const struct ts_prompt_declared *d = declared(p, name);
    uint64_t state = ts_prompt_seed(p->seed, *d->like ? d->like : name);
    for (int64_t i = 0; i < count; i++) {
        double v = d->scale;
        if (d->values) v = (double)d->values[i];
        else if (d->start == TS_START_NORMAL) v *= ts_normal(&state);
        else if (d->start == TS_START_UNIFORM) v *= 2 * ts_uniform(&state) - 1;
        out[i] = (float)v;
    }
    return true;
}

/* All parameters into the device's memory: a graph of them alone loads them. */
static bool load_params(ts_prompt *p, ts_error *err)
{
    p->params = ts_params_new_trainable(ts_clip_device(p->clip), NULL, "", make_param, p, err);
    ts_graph *g = ts_graph_new();
    bool ok = p->params && g;
    for (int i = 0; ok && i < p->declared_count; i++)
        ts_param(g, p->params, p->declared[i].name, p->declared[i].layout, p->declared[i].ndim, p->declared[i].shape);
    const ts_error *why = g ? ts_graph_error(g) : NULL;
    if (ok) ok = ts_params_check(p->params, err) && (!why || ts_fail(err, why->code, "%s", why->text));
    else ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ts_graph_free(g);
    return ok;
}

/* What is not said is the method's own. */
static void complete(ts_method_settings *s, const ts_method_settings *standard)
{
    /* words say the number of vectors, so said numbers are not overruled by the method's words */
    if (!*s->words && !s->context) memcpy(s->words, standard->words, sizeof s->words);
    if (!s->context && !*s->words) s->context = standard->context;
    if (!s->per_class) s->per_class = standard->per_class;
    if (!s->position) s->position = standard->position;
    if (!s->pixels) s->pixels = standard->pixels;
    if (!s->tokens) s->tokens = standard->tokens;
    if (!s->depth) s->depth = standard->depth;
    if (!s->attention) s->attention = standard->attention;
}

static bool make(ts_prompt *p, ts_error *err)
{
    complete(&p->settings, &p->method->standard);
    if (!p->method->declare(p, err)) return false;
    if (p->method->classes) {
        const ts_prompt_text_desc desc = {.context = p->settings.context,
                                          .per_class = p->settings.per_class == 1,
                                          .position = (ts_class_position)p->settings.position,
                                          .prefix = p->text_words ? p->settings.words : NULL,
                                          .replaced = p->settings.context,
                                          .cut = p->cut};
        if (!ts_prompt_text_new(p->clip, p->tokenizer, p->names, p->classes, &desc, &p->text, err)) return false;
    }
    return load_params(p, err);
}

ts_prompt *ts_prompt_new(const ts_prompt_desc *desc, ts_error *err)
{
    ts_prompt *p = calloc(1, sizeof *p);
    if (!p) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->method = desc->method;
    p->clip = desc->clip;
    p->tokenizer = desc->tokenizer;
    p->settings = desc->settings;
    p->names = desc->names;
    p->classes = desc->classes;
    p->side = ts_clip_about(desc->clip)->image;
    p->cut = desc->cut;
    p->seed = desc->seed;
    p->weights = desc->weights;
    const bool ok = make(p, err);
    p->weights = NULL;
    if (ok) return p;
    ts_prompt_free(p);
    return NULL;
}

void ts_prompt_free(ts_prompt *p)
{
    if (!p) return;
    for (int i = 0; i < p->declared_count; i++) free(p->declared[i].values);
    ts_prompt_text_clear(&p->text);
    ts_params_free(p->params);
    free(p);
}

bool ts_prompt_read(ts_prompt *p, const char *name, float *out, ts_error *err)
{
    for (int64_t i = 0; i < ts_params_count(p->params); i++)
        if (strcmp(ts_params_name(p->params, i), name) == 0) return ts_params_read(p->params, i, out, err);
    return ts_fail(err, TS_ERR_ARGUMENT, "%s has no parameter %.60s", p->method->name, name);
}

/* ---- classes ---- */

bool ts_prompt_constant_classes(ts_prompt *p, float *out, ts_error *err)
{
    char **names = calloc((size_t)p->classes, sizeof *names);
    bool ok = names != NULL;
    for (int k = 0; ok && k < p->classes; k++) {
        names[k] = strdup(p->names[k]);
        ok = names[k] != NULL;
        for (char *c = names[k]; ok && p->method->plain_names && *c; c++)
            if (*c == '-' || *c == '_') *c = ' ';
    }
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d class names", p->classes);
    ok = ok &&
         ts_clip_classifier(p->clip, p->tokenizer, (const char *const *)names, p->classes, &p->method->text, 1, p->cut, out, err);
    for (int k = 0; names && k < p->classes; k++) free(names[k]);
    free(names);
    return ok;
}

ts_prompt_chunk ts_prompt_chunk_new(ts_prompt_graph *pg, int64_t count)
{
    const ts_prompt_text *t = &pg->prompt->text;
    return (ts_prompt_chunk){
        .count = count,
        .fixed = ts_input(pg->g, "chunk.fixed", TS_REAL, 3, (int64_t[]){count, t->length, t->width}),
        .slot = ts_input(pg->g, "chunk.slot", TS_I32, 2, (int64_t[]){count, t->length}),
        .end = ts_input(pg->g, "chunk.end", TS_I32, 2, (int64_t[]){count, 1}),
    };
}

bool ts_prompt_chunk_write(const ts_prompt_graph *pg, ts_exec *e, const ts_prompt_chunk *chunk, int64_t first, ts_error *err)
{
    const ts_prompt_text *t = &pg->prompt->text;
    const size_t length = (size_t)t->length, floats = length * (size_t)t->width, count = (size_t)chunk->count;
    float *fixed = malloc(count * floats * sizeof *fixed);
    int32_t *slot = malloc(count * (length + 1) * sizeof *slot), *end = slot ? slot + count * length : NULL;
    bool ok = fixed && slot;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for %zu class prompts", count);
    for (size_t i = 0; ok && i < count; i++) {
        const int64_t k = first + (int64_t)i < t->classes ? first + (int64_t)i : t->classes - 1;
        memcpy(fixed + i * floats, t->fixed + (size_t)k * floats, floats * sizeof *fixed);
        memcpy(slot + i * length, t->slot + (size_t)k * length, length * sizeof *slot);
        end[i] = t->end[k];
    }
    ok = ok && ts_write(e, chunk->fixed, fixed, err) && ts_write(e, chunk->slot, slot, err) && ts_write(e, chunk->end, end, err);
    free(fixed);
    free(slot);
    return ok;
}

/* The embeddings of `count` words, `times` over. Owned by the caller; NULL and an error on failure. */
static float *word_vectors(const ts_prompt *p, const int32_t *ids, int count, int64_t times, ts_error *err)
{
    const int64_t one = (int64_t)count * ts_clip_about(p->clip)->text_width;
    float *out = malloc((size_t)(times * one) * sizeof *out);
    if (!out) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory for the context of %lld classes", (long long)times);
        return NULL;
    }
    if (!ts_clip_embedding(p->clip, ids, count, out, err)) {
        free(out);
        return NULL;
    }
    for (int64_t k = 1; k < times; k++) memcpy(out + k * one, out, (size_t)one * sizeof *out);
    return out;
}

/* Words with a space between them; an underscore is one too, as in the published configurations. */
static int count_words(char *text)
{
    int count = 0;
    for (char *c = text; *c; c++) {
        if (*c == '_') *c = ' ';
        count += !isspace((unsigned char)*c) && (c == text || isspace((unsigned char)c[-1]));
    }
    return count;
}

bool ts_prompt_declare_context(ts_prompt *p, ts_error *err)
{
    ts_method_settings *s = &p->settings;
    int32_t *ids = NULL;
    if (*s->words) {
        const int words = count_words(s->words), count = ts_tokenizer_encode(p->tokenizer, s->words, &ids, err);
        if (count < 0) return false;
        if (!s->context) s->context = words;
        if (s->context < 1 || s->context > count) {
            free(ids);
            return ts_fail(err, TS_ERR_ARGUMENT, "the words \"%s\" are %d tokens, and so cannot start %d context vectors",
                           s->words, count, s->context);
        }
        p->text_words = true;
    }
    const bool own = s->per_class == 1;
    const int64_t shape[] = {p->classes, s->context, ts_clip_about(p->clip)->text_width};
    struct ts_prompt_declared *d =
        ts_prompt_declare(p, "ctx", TS_LAYOUT_PLAIN, own ? 3 : 2, own ? shape : shape + 1, TS_START_NORMAL, 0.02, err);
    if (d && ids) d->values = word_vectors(p, ids, s->context, own ? p->classes : 1, err);
    const bool ok = d && (!ids || d->values);
    free(ids);
    return ok;
}

/* ---- graph ---- */

ts_tensor *ts_prompt_param(ts_prompt_graph *pg, const char *name)
{
    const struct ts_prompt_declared *d = declared(pg->prompt, name);
    return d ? ts_param(pg->g, pg->prompt->params, d->name, d->layout, d->ndim, d->shape) : NULL;
}

ts_tensor *ts_prompt_input(ts_prompt_graph *pg, const char *name, ts_type type, int ndim, const int64_t *shape,
                           ts_prompt_fill fill, bool each_step)
{
    if (pg->inputs == TS_PROMPT_MAX_INPUTS) return NULL;
    ts_tensor *t = ts_input(pg->g, name, type, ndim, shape);
    if (!t) return NULL;
    pg->input[pg->inputs].t = t;
    pg->input[pg->inputs].fill = fill;
    pg->input[pg->inputs++].each_step = each_step;
    return t;
}

bool ts_prompt_write(const ts_prompt_graph *pg, ts_exec *e, bool all, uint64_t seed, ts_error *err)
{
    for (int i = 0; i < pg->inputs; i++) {
        ts_tensor *t = pg->input[i].t;
        if (!all && !pg->input[i].each_step) continue;
        void *data = malloc((size_t)ts_count(t) * sizeof(float)); /* int32_t is as large */
        if (!data) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %s", t->name);
        pg->input[i].fill(pg->prompt, t, seed, data);
        const bool ok = ts_write(e, t, data, err);
        free(data);
        if (!ok) return false;
    }
    return true;
}

ts_tensor *ts_prompt_images(ts_prompt_graph *pg, ts_tensor *pixels)
{
    if (pg->prompt->method->images) return pg->prompt->method->images(pg, pixels);
    return ts_clip_vision(pg->g, pg->prompt->clip, ts_clip_patches(pg->g, pg->prompt->clip, pixels), NULL);
}

ts_tensor *ts_prompt_classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image)
{
    return pg->prompt->method->classes(pg, chunk, image);
}

ts_tensor *ts_prompt_embedded(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *ctx)
{
    if (!ctx) return NULL;
    const int64_t width = pg->prompt->text.width;
    ts_tensor *rows = ts_reshape(pg->g, ctx, 2, (int64_t[]){ts_count(ctx) / width, width});
    return ts_add(pg->g, ts_gather(pg->g, rows, chunk->slot, NULL), chunk->fixed);
}

ts_tensor *ts_prompt_text_features(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *ctx)
{
    return ts_clip_text(pg->g, pg->prompt->clip, ts_prompt_embedded(pg, chunk, ctx), chunk->end, NULL);
}

ts_tensor *ts_prompt_insert(ts_prompt_graph *pg, ts_tensor *tokens, ts_tensor *prompts)
{
    if (!tokens) return NULL;
    ts_tensor *head = ts_concat(pg->g, ts_slice(pg->g, tokens, 0, 1), prompts);
    return ts_concat(pg->g, head, ts_slice(pg->g, tokens, 1, tokens->shape[1] - 1));
}
