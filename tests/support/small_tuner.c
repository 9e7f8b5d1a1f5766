/* small_tuner.c - see small_tuner.h. */
#include "small_tuner.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"

static void piece_plan(piece *s, ts_device *dev)
{
    ts_error err = {0};
    s->e = ts_exec_new(s->pg.g, dev, &err);
    if (!s->e || !ts_prompt_write(&s->pg, s->e, true, 1, &err)) fail_msg("%s", err.text);
}

void piece_free(piece *s)
{
    ts_exec_free(s->e);
    ts_graph_free(s->pg.g);
}

/* The gradients of `loss` by the prompt's parameters, and by s->classes. */
static void differentiate(piece *s, ts_tensor *loss)
{
    ts_tensor *leaves[TS_PROMPT_MAX_PARAMS + 1], *grads[TS_PROMPT_MAX_PARAMS + 1];
    ts_params *ps = s->pg.prompt->params;
    int count = ts_graph_params(s->pg.g, ps, leaves);
    const int params = count;
    if (s->classes) leaves[count++] = s->classes;
    if (!ts_grad(s->pg.g, loss, count, leaves, grads)) fail_msg("%s", ts_graph_error(s->pg.g)->text);
    for (int i = 0; i < params; i++)
        for (int64_t k = 0; k < ts_params_count(ps); k++)
            if (grads[i] && strcmp(ts_params_name(ps, k), leaves[i]->name) == 0) s->grad[k] = ts_output(s->pg.g, grads[i]);
    if (s->classes) s->class_grad = ts_output(s->pg.g, grads[params]);
}

piece chunk_piece(ts_prompt *p, ts_device *dev, int count, bool backward)
{
    piece s = {.pg = {.prompt = p, .g = ts_graph_new()}};
    s.chunk = ts_prompt_chunk_new(&s.pg, count);
    if (p->method->per_image) s.image = ts_input(s.pg.g, "image", TS_REAL, 2, (int64_t[]){1, EMBED});
    s.out = ts_output(s.pg.g, ts_prompt_classes(&s.pg, &s.chunk, s.image));
    if (backward) {
        s.seed = ts_input(s.pg.g, "seed", TS_REAL, 2, (int64_t[]){count, EMBED});
        differentiate(&s, ts_sum(s.pg.g, ts_mul(s.pg.g, s.out, s.seed)));
    }
    piece_plan(&s, dev);
    return s;
}

/* Pictures (or their features, where the method leaves them) and class features to loss and gradients. */
static piece head_piece(ts_prompt *p, ts_device *dev, int pictures)
{
    piece s = {.pg = {.prompt = p, .g = ts_graph_new()}};
    ts_graph *g = s.pg.g;
    if (p->method->images) s.pixels = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){pictures, p->side, p->side, 3});
    else s.image = ts_input(g, "image", TS_REAL, 2, (int64_t[]){pictures, EMBED});
    s.classes = ts_input_weight(g, "classes", TS_LAYOUT_LINEAR, 2, (int64_t[]){CLASSES, EMBED});
    s.target = ts_input(g, "target", TS_I32, 1, (int64_t[]){pictures});
    ts_tensor *f = s.pixels ? ts_prompt_images(&s.pg, s.pixels) : s.image;
    ts_tensor *logits = ts_scale(g, ts_linear(g, f, s.classes, NULL), (float)ts_clip_logit_scale(p->clip), 0);
    s.out = ts_output(g, ts_cross_entropy(g, logits, s.target));
    differentiate(&s, s.out);
    piece_plan(&s, dev);
    return s;
}

tuner tuner_new(ts_prompt *p, ts_device *dev, int chunk)
{
    ts_error err = {0};
    tuner t = {.p = p, .chunk = chunk, .pictures = p->method->per_image ? 1 : PICTURES};
    t.head = head_piece(p, dev, t.pictures);
    if (p->method->classes) {
        t.forward = chunk_piece(p, dev, chunk, false);
        t.backward = chunk_piece(p, dev, chunk, true);
    }
    t.update_graph = ts_graph_new();
    t.hyper = ts_input(t.update_graph, "hyper", TS_REAL, 1, (int64_t[]){3});
    for (int64_t i = 0; i < ts_params_count(p->params); i++) {
        ts_prompt_graph pg = {.prompt = p, .g = t.update_graph};
        ts_tensor *param = ts_prompt_param(&pg, ts_params_name(p->params, i));
        t.grad_input[i] = param->layout == TS_LAYOUT_PLAIN
                              ? ts_input(t.update_graph, "grad", TS_REAL, param->ndim, param->shape)
                              : ts_input_weight(t.update_graph, "grad", param->layout, param->ndim, param->shape);
        ts_tensor *momentum = ts_state(t.update_graph, "momentum", param->layout, param->ndim, param->shape);
        assert_true(ts_sgd(t.update_graph, param, t.grad_input[i], momentum, t.hyper, NULL, 0.9F, 5e-4F));
        t.grad[i] = malloc((size_t)ts_count(param) * sizeof(float));
        assert_non_null(t.grad[i]);
    }
    t.update = ts_exec_new(t.update_graph, dev, &err);
    if (!t.update) fail_msg("%s", err.text);
    return t;
}

void tuner_free(tuner *t)
{
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++) free(t->grad[i]);
    piece_free(&t->head);
    piece_free(&t->forward);
    piece_free(&t->backward);
    ts_exec_free(t->update);
    ts_graph_free(t->update_graph);
}

static void gather_grads(tuner *t, piece *s, float share)
{
    ts_error err = {0};
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++) {
        if (!s->grad[i]) continue;
        const int64_t count = param_count(t->p, i);
        float *part = malloc((size_t)count * sizeof *part);
        if (!ts_read(s->e, s->grad[i], part, &err)) fail_msg("%s", err.text);
        for (int64_t k = 0; k < count; k++) t->grad[i][k] += share * part[k];
        free(part);
    }
}

/* Runs a chunk's piece for all classes: features come out of `forward`, and go as seeds into `backward`. */
static void run_chunks(tuner *t, piece *s, const float *image, float *features, const float *seed, float share)
{
    ts_error err = {0};
    float *rows = calloc((size_t)t->chunk * EMBED, sizeof *rows);
    for (int first = 0; first < CLASSES; first += t->chunk) {
        const int count = CLASSES - first < t->chunk ? CLASSES - first : t->chunk;
        const size_t bytes = (size_t)count * EMBED * sizeof *rows;
        bool ok = ts_prompt_chunk_write(&s->pg, s->e, &s->chunk, first, &err);
        if (s->image) ok = ok && ts_write(s->e, s->image, image, &err);
        if (seed) {
            memset(rows, 0, (size_t)t->chunk * EMBED * sizeof *rows);
            memcpy(rows, seed + (size_t)first * EMBED, bytes);
            ok = ok && ts_write(s->e, s->seed, rows, &err);
        }
        if (!ok || !ts_run(s->e, &err)) fail_msg("%s", err.text);
        if (seed) {
            gather_grads(t, s, share);
        } else {
            if (!ts_read(s->e, s->out, rows, &err)) fail_msg("%s", err.text);
            memcpy(features + (size_t)first * EMBED, rows, bytes);
        }
    }
    free(rows);
}

double tuner_gradients(tuner *t)
{
    ts_error err = {0};
    double total = 0;
    const float share = (float)t->pictures / PICTURES;
    for (int64_t i = 0; i < ts_params_count(t->p->params); i++)
        memset(t->grad[i], 0, (size_t)param_count(t->p, i) * sizeof(float));
    for (int at = 0; at < PICTURES; at += t->pictures) {
        float features[CLASSES * EMBED], seed[CLASSES * EMBED], loss;
        const float *image = t->image + (size_t)at * EMBED;
        memcpy(features, t->text_classes, sizeof features);
        if (t->forward.e) run_chunks(t, &t->forward, image, features, NULL, 0);
        piece *h = &t->head;
        bool ok = h->pixels ? ts_write(h->e, h->pixels, t->pixels, &err) : ts_write(h->e, h->image, image, &err);
        ok = ok && ts_write(h->e, h->target, t->target + at, &err) && ts_write(h->e, h->classes, features, &err) &&
             ts_run(h->e, &err) && ts_read(h->e, h->out, &loss, &err) && ts_read(h->e, h->class_grad, seed, &err);
        if (!ok) fail_msg("%s", err.text);
        total += (double)(share * loss);
        gather_grads(t, h, share);
        if (t->backward.e) run_chunks(t, &t->backward, image, NULL, seed, share);
    }
    return total;
}

void tuner_update(tuner *t, double lr)
{
    ts_error err = {0};
    bool ok = ts_write(t->update, t->hyper, (float[]){(float)lr, 0, 0}, &err);
    for (int64_t i = 0; ok && i < ts_params_count(t->p->params); i++)
        ok = ts_write(t->update, t->grad_input[i], t->grad[i], &err);
    if (!ok || !ts_run(t->update, &err)) fail_msg("%s", err.text);
}
