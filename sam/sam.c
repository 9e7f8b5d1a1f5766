/* sam.c - the model with what is kept of a picture. Three graphs share the weights: the encoder; what of the decoder is the same
 * for all prompts of a picture, `shared`; and the decoder (predict.c). Each is planned when first needed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

enum { USUAL_BATCH = 8, MOST_BATCH = 1024 };

/* ---- making ---- */

static bool open_model(ts_sam *s, const ts_weights *w, ts_error *err)
{
    sam_model *m = &s->model;
    m->weights = w;
    return ts_sam_config_read(w, &m->config, err) && (m->params = ts_params_new(s->dev, w, "", err)) != NULL &&
           (m->made = ts_params_new_converted(s->dev, NULL, "", ts_sam_make, m, err)) != NULL &&
           ts_sam_prompts_load(m, &s->prompts, err);
}

ts_sam *ts_sam_new(ts_device *dev, const ts_sam_desc *desc, ts_error *err)
{
    if (!dev || !desc || !desc->weights || desc->batch < 0 || desc->batch > MOST_BATCH) {
        ts_fail(err, TS_ERR_ARGUMENT, "a SAM needs a device, the model's weights and a batch of at most %d", MOST_BATCH);
        return NULL;
    }
    ts_sam *s = calloc(1, sizeof *s);
    if (!s) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    s->dev = dev;
    s->batch = desc->batch > 0 ? desc->batch : USUAL_BATCH;
    if (open_model(s, desc->weights, err)) return s;
    ts_sam_free(s);
    return NULL;
}

/* Forgets the picture. */
static void forget(ts_sam *s)
{
    ts_sam_scaler_clear(&s->scaler);
    free(s->embedding);
    free(s->keys);
    s->embedding = s->keys = s->k = s->v = s->q = NULL;
    s->width = s->height = 0;
    s->mark = 0;
}

void ts_sam_free(ts_sam *s)
{
    if (!s) return;
    forget(s);
    ts_sam_plans_free(s->plans);
    ts_exec_free(s->encoder.exec);
    ts_graph_free(s->encoder.graph);
    ts_exec_free(s->shared.exec);
    ts_graph_free(s->shared.graph);
    ts_params_free(s->model.params);
    ts_params_free(s->model.made);
    free(s->prompts.memory);
    free(s);
}

const ts_sam_config *ts_sam_about(const ts_sam *s)
{
    return &s->model.config;
}

const char *ts_sam_path(const ts_sam *s)
{
    return ts_weights_path(s->model.weights);
}

/* ---- planning ---- */

static bool plan_encoder(ts_sam *s, ts_error *err)
{
    if (s->encoder.exec) return true;
    const int64_t side = s->model.config.picture;
    ts_graph_free(s->encoder.graph);
    ts_graph *g = s->encoder.graph = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->encoder.pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){1, side, side, 3});
    s->encoder.out = ts_output(g, ts_sam_encode(g, &s->model, s->encoder.pixels));
    return ts_params_check(s->model.params, err) && (s->encoder.exec = ts_exec_new(g, s->dev, err)) != NULL;
}

static bool plan_shared(ts_sam *s, ts_error *err)
{
    if (s->shared.exec) return true;
    const ts_sam_config *c = &s->model.config;
    ts_graph_free(s->shared.graph);
    ts_graph *g = s->shared.graph = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    s->shared.keys = ts_input(g, "keys", TS_REAL, 3, (int64_t[]){1, (int64_t)c->side * c->side, c->embed});
    s->shared.out = ts_sam_project(g, &s->model, s->shared.keys);
    ts_output(g, s->shared.out.k);
    ts_output(g, s->shared.out.v);
    ts_output(g, s->shared.out.q);
    return ts_params_check(s->model.params, err) && ts_params_check(s->model.made, err) &&
           (s->shared.exec = ts_exec_new(g, s->dev, err)) != NULL;
}

/* ---- the picture ---- */

/* Room for the embedding and for what is projected of it. */
static bool make_room(ts_sam *s, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const size_t places = (size_t)c->side * (size_t)c->side, all = places * (size_t)c->embed,
                 inner = places * (size_t)c->decoder_inner;
    s->embedding = malloc(all * sizeof(float));
    s->keys = malloc((all + 3 * inner) * sizeof(float));
    if (!s->embedding || !s->keys) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture's embedding");
    s->k = s->keys + all;
    s->v = s->k + inner;
    s->q = s->v + inner;
    return true;
}

/* Takes the picture's size; what the decoder wants of the embedding, which is there, is made. */
static bool take(ts_sam *s, int width, int height, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    const size_t places = (size_t)c->side * (size_t)c->side, embed = (size_t)c->embed;
    if (!ts_sam_fit(c, width, height, &s->inner_width, &s->inner_height, err) ||
        !ts_sam_scaler_new(c, width, height, s->inner_width, s->inner_height, &s->scaler, err))
        return false;
    for (size_t i = 0; i < places * embed; i++)
        if (!isfinite(s->embedding[i]))
            return ts_fail(err, TS_ERR_FORMAT,
                           "%s: a picture's embedding holds what is no number: the weights are broken, or too large for fp16",
                           ts_sam_path(s));
    for (size_t i = 0; i < places * embed; i++) s->keys[i] = s->embedding[i] + s->prompts.no_prior[i % embed];
    ts_exec *e = plan_shared(s, err) ? s->shared.exec : NULL;
    if (!e || !ts_write(e, s->shared.keys, s->keys, err) || !ts_run(e, err) || !ts_read(e, s->shared.out.k, s->k, err) ||
        !ts_read(e, s->shared.out.v, s->v, err) || !ts_read(e, s->shared.out.q, s->q, err))
        return false;
    s->width = width;
    s->height = height;
    s->number++;
    return true;
}

static bool encode(ts_sam *s, const ts_image *picture, ts_error *err)
{
    const size_t side = (size_t)s->model.config.picture;
    float *pixels = malloc(side * side * 3 * sizeof *pixels);
    if (!pixels) return ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture");
    ts_exec *e = ts_sam_preprocess(&s->model.config, picture, pixels, err) && plan_encoder(s, err) ? s->encoder.exec : NULL;
    const bool written = e && ts_write(e, s->encoder.pixels, pixels, err);
    free(pixels);
    return written && ts_run(e, err) && ts_read(e, s->encoder.out, s->embedding, err);
}

bool ts_sam_set_picture(ts_sam *s, const ts_image *picture, ts_error *err)
{
    forget(s);
    if (!picture || !picture->data) return ts_fail(err, TS_ERR_ARGUMENT, "there is no picture to encode");
    if (!make_room(s, err) || !encode(s, picture, err) || !take(s, picture->width, picture->height, err)) {
        forget(s);
        return false;
    }
    s->mark = ts_sam_mark(picture);
    return true;
}

bool ts_sam_set_embedding(ts_sam *s, const float *embedding, int width, int height, ts_error *err)
{
    const ts_sam_config *c = &s->model.config;
    forget(s);
    bool ok = make_room(s, err);
    if (ok) memcpy(s->embedding, embedding, (size_t)c->side * (size_t)c->side * (size_t)c->embed * sizeof *embedding);
    ok = ok && take(s, width, height, err);
    if (!ok) forget(s);
    return ok;
}

bool ts_sam_size(const ts_sam *s, int *width, int *height)
{
    *width = s->width;
    *height = s->height;
    return s->width > 0;
}

const float *ts_sam_embedding(const ts_sam *s)
{
    return s->width > 0 ? s->embedding : NULL;
}
