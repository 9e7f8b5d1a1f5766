/* tuner.c - learns a border or a fusion in front of a frozen model: forward, loss, gradients and the update are one graph, as in
 * mae/train.c, but the gradient only passes through the model on its way to the prompt. Evaluation is a second graph over the
 * same parameters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/number.h"
#include "mae/prompt/internal.h"

/* A described and planned pass over a batch. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *pixels, *hole, *rest, *seed; /* (B N, H, W, 3); I32 labels, (B, T) and of a fusion (B, 2P); I32 (1), NULL: none */
    ts_tensor *loss, *objective, *best;     /* (1): of the hole, and what is minimised; I32 (B, T) */
    ts_mae_index index;
} pass;

struct ts_mae_tuner {
    ts_mae_tuner_desc desc;
    ts_device *dev;
    ts_mae mae;
    ts_params *params, *constants; /* what is learned, and what goes with it and is not */
    pass train, check;             /* `check` is planned when first asked for */
    ts_optimizer *optimizer;
    int64_t steps, places;   /* places: side^2 */
    int visible, hidden;     /* patches */
    uint64_t state;          /* of the first values */
    int32_t *keep, *predict; /* (batch, visible), (batch, predicted), the same for each */
    int32_t *hole, *rest, *best;
    float *pixels; /* (batch x fused, H, W, 3) */
    float *saved;
};

static int canvases(const ts_mae_tuner *t)
{
    return t->desc.is_fusion ? t->desc.batch * t->desc.fused : t->desc.batch;
}

/* ---- the graphs ---- */

/* 1 - the cosine of two rows, the mean over all rows. */
static ts_tensor *far(ts_graph *g, ts_tensor *a, ts_tensor *b)
{
    if (!a || !b) return NULL;
    const int64_t rows = ts_count(a) / a->shape[a->ndim - 1];
    ts_tensor *x = ts_unit(g, a), *y = ts_unit(g, b);
    return ts_scale(g, ts_sum(g, ts_mul(g, x, y)), -1 / (float)rows, 1);
}

/* sum + weight (far(a, b) + far(c, d)), where the weight is not 0. */
static ts_tensor *add_far(ts_graph *g, ts_tensor *sum, double weight, ts_tensor *a, ts_tensor *b, ts_tensor *c, ts_tensor *d)
{
    if (weight == 0) return sum;
    ts_tensor *image = far(g, a, b), *answer = far(g, c, d);
    return ts_add(g, sum, ts_scale(g, ts_add(g, image, answer), (float)weight, 0));
}

static void describe_border(ts_mae_tuner *t, pass *p)
{
    p->index = ts_mae_index_new(p->g, &t->mae, t->desc.batch, t->visible, t->hidden);
    ts_tensor *x = ts_border_add(p->g, &t->desc.border, t->params, t->constants, &t->desc.grid, p->pixels);
    ts_tensor *logits = ts_mae_decode(p->g, &t->mae, ts_mae_encode(p->g, &t->mae, x, &p->index), &p->index); // (B, T, K)
    p->loss = p->objective = ts_cross_entropy(p->g, logits, p->hole);
    p->best = ts_argmax(p->g, logits);
}

/* The decoder is asked for all places, a quarter of the canvas after the other. */
static void describe_fusion(ts_mae_tuner *t, pass *p, bool training)
{
    const ts_mae_tuner_desc *d = &t->desc;
    const int64_t quarter = t->places / 4;
    ts_graph *g = p->g;
    p->index = ts_mae_index_new(g, &t->mae, d->batch, t->visible, t->places);
    p->rest = ts_input(g, "rest", TS_I32, 2, (int64_t[]){d->batch, 2 * quarter});
    if (training && d->dropout > 0) p->seed = ts_input(g, "seed", TS_I32, 1, (int64_t[]){1});
    const ts_fusion f = {
        .config = &d->fusion, .params = t->params, .constants = t->constants, .seed = p->seed, .rate = d->dropout};
    const ts_fused fused = ts_fusion_apply(g, &f, ts_mae_embed(g, &t->mae, p->pixels), d->fused);
    ts_tensor *logits = ts_mae_decode(g, &t->mae, ts_mae_encode_tokens(g, &t->mae, fused.tokens), &p->index); // (B, 4P, K)
    ts_tensor *of[4];
    for (int i = 0; i < 4; i++) of[i] = ts_slice(g, logits, i * quarter, quarter); /* image, answer, query, hole */
    p->loss = p->objective = ts_cross_entropy(g, of[3], p->hole);
    if (d->top > 0) {
        ts_tensor *above = ts_cross_entropy(g, ts_slice(g, logits, 0, 2 * quarter), p->rest);
        p->objective = ts_add(g, p->loss, ts_scale(g, above, (float)d->top, 0));
    }
    p->objective = add_far(g, p->objective, d->align, of[0], of[2], of[1], of[3]);
    p->objective = add_far(g, p->objective, d->embed, fused.image, fused.query_image, fused.answer, fused.query_answer);
    p->best = ts_argmax(g, of[3]);
}

static bool describe(ts_mae_tuner *t, pass *p, bool training, ts_error *err)
{
    const int64_t side = t->desc.grid.desc.canvas;
    p->g = ts_graph_new();
    if (!p->g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->pixels = ts_input(p->g, "pixels", TS_REAL, 4, (int64_t[]){canvases(t), side, side, 3});
    p->hole = ts_input(p->g, "hole", TS_I32, 2, (int64_t[]){t->desc.batch, t->hidden});
    if (t->desc.is_fusion) describe_fusion(t, p, training);
    else describe_border(t, p);
    ts_output(p->g, p->loss);
    ts_output(p->g, p->objective);
    ts_output(p->g, p->best);
    return !ts_graph_error(p->g) || ts_fail(err, ts_graph_error(p->g)->code, "%s", ts_graph_error(p->g)->text);
}

static void pass_clear(pass *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (pass){0};
}

/* ---- making ---- */

/* Patches in the order of the quarters: upper left, upper right, lower left, lower right. */
static int32_t in_quarters(int64_t i, int64_t side)
{
    const int64_t half = side / 2, quarter = half * half, in = i % quarter, which = i / quarter;
    return (int32_t)((which / 2 * half + in / half) * side + which % 2 * half + in % half);
}

/* The patches of the layout, the same for every canvas of a batch. */
static bool make_layout(ts_mae_tuner *t, ts_error *err)
{
    const int64_t batch = t->desc.batch, n = t->places, side = t->mae.config.side;
    t->keep = calloc((size_t)(batch * n), sizeof *t->keep);
    t->predict = calloc((size_t)(batch * n), sizeof *t->predict);
    if (!t->keep || !t->predict) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    t->visible = ts_grid_keep(&t->desc.grid, t->keep);
    t->hidden = (int)n - t->visible;
    if (t->visible < 1 || t->hidden < 1) return ts_fail(err, TS_ERR_ARGUMENT, "a layout must hide some patches, and not all");
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        if (t->desc.is_fusion) t->predict[count++] = in_quarters(i, side);
        else if (ts_grid_hidden(&t->desc.grid, (int)(i / side), (int)(i % side))) t->predict[count++] = i;
    }
    for (int64_t b = 1; b < batch; b++) {
        memcpy(t->keep + b * t->visible, t->keep, (size_t)t->visible * sizeof *t->keep);
        memcpy(t->predict + b * count, t->predict, (size_t)count * sizeof *t->predict);
    }
    return true;
}

static bool make_room(ts_mae_tuner *t, ts_error *err)
{
    const size_t side = (size_t)t->desc.grid.desc.canvas, each = (size_t)t->desc.batch;
    t->pixels = calloc((size_t)canvases(t), side * side * 3 * sizeof *t->pixels);
    t->hole = calloc(each, (size_t)t->hidden * sizeof *t->hole);
    t->best = calloc(each, (size_t)t->hidden * sizeof *t->best);
    t->rest = calloc(each, (size_t)t->places * sizeof *t->rest);
    return (t->pixels && t->hole && t->best && t->rest) ||
           ts_fail(err, TS_ERR_MEMORY, "out of memory for a batch of %d", (int)each);
}

static bool make_params(ts_mae_tuner *t, ts_error *err)
{
    ts_mae_tuner_desc *d = &t->desc;
    const ts_mae_prompt_info info = {.is_fusion = d->is_fusion, .border = d->border, .fusion = d->fusion};
    if (!ts_mae_prompt_suits(&info, &d->grid, err)) return false;
    t->state = d->seed;
    t->params = ts_params_new_trainable(t->dev, NULL, "", d->is_fusion ? ts_fusion_init : ts_border_init, &t->state, err);
    t->constants = !t->params     ? NULL
                   : d->is_fusion ? ts_fusion_constants(t->dev, &d->fusion, err)
                                  : ts_border_constants(t->dev, err);
    t->mae.params = t->constants ? ts_params_new(t->dev, d->weights, "", err) : NULL;
    return t->mae.params != NULL;
}

static bool make(ts_mae_tuner *t, ts_error *err)
{
    ts_mae_tuner_desc *d = &t->desc;
    const ts_mae_config *c = &t->mae.config;
    if (!ts_mae_config_read(d->weights, d->heads, d->decoder_heads, false, &t->mae.config, err)) return false;
    const int canvas = c->side * c->patch;
    if (d->grid.desc.canvas != canvas || d->grid.desc.patch != c->patch)
        return ts_fail(err, TS_ERR_SHAPE, "the grid has a canvas of %d and patches of %d pixels, the model one of %d and %d",
                       d->grid.desc.canvas, d->grid.desc.patch, canvas, c->patch);
    if (d->fused < 1) d->fused = 1;
    if (d->batch < 1 || d->batch > 1 << 16 || d->fused > 1 << 10)
        return ts_fail(err, TS_ERR_ARGUMENT, "a batch of %d with %d examples each is not possible", d->batch, d->fused);
    if (d->is_fusion ? !ts_fusion_complete(&d->fusion, c->dim, err) : !ts_border_complete(&d->border, canvas, err)) return false;
    t->places = (int64_t)c->side * c->side;
    t->mae.recompute = d->recompute;
    if (!make_params(t, err) || !make_layout(t, err) || !make_room(t, err) || !describe(t, &t->train, true, err) ||
        !ts_params_check(t->mae.params, err))
        return false;
    t->optimizer = ts_optimizer_new(t->train.g, t->params, t->train.objective, &(ts_optimizer_desc){.sgd = d->is_fusion}, err);
    t->train.e = t->optimizer ? ts_exec_new(t->train.g, t->dev, err) : NULL;
    return t->train.e != NULL;
}

ts_mae_tuner *ts_mae_tuner_new(ts_device *dev, const ts_mae_tuner_desc *desc, ts_error *err)
{
    ts_mae_tuner *t = calloc(1, sizeof *t);
    if (!t) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    t->dev = dev;
    t->desc = *desc;
    if (make(t, err)) return t;
    ts_mae_tuner_free(t);
    return NULL;
}

void ts_mae_tuner_free(ts_mae_tuner *t)
{
    if (!t) return;
    pass_clear(&t->train);
    pass_clear(&t->check);
    ts_optimizer_free(t->optimizer);
    ts_params_free(t->mae.params);
    ts_params_free(t->params);
    ts_params_free(t->constants);
    free(t->keep);
    free(t->predict);
    free(t->hole);
    free(t->rest);
    free(t->best);
    free(t->pixels);
    free(t->saved);
    free(t);
}

const ts_mae_config *ts_mae_tuner_mae(const ts_mae_tuner *t)
{
    return &t->mae.config;
}

int64_t ts_mae_tuner_parameters(const ts_mae_tuner *t)
{
    return t->desc.is_fusion ? ts_fusion_parameters(&t->desc.fusion) : ts_border_parameters(&t->desc.border);
}

int64_t ts_mae_tuner_steps(const ts_mae_tuner *t)
{
    return t->steps;
}

/* ---- steps ---- */

/* The codes of a batch as labels; queries from `count` on have none. */
static bool place_labels(ts_mae_tuner *t, const int32_t *codes, int count, ts_error *err)
{
    const int64_t side = t->mae.config.side, quarter = t->places / 4;
    for (int64_t b = 0; b < t->desc.batch; b++) {
        const int32_t *own = codes + b * t->places;
        int64_t at = 0;
        for (int32_t i = 0; i < t->places; i++) {
            if (own[i] < 0 || own[i] >= t->mae.config.codes)
                return ts_fail(err, TS_ERR_ARGUMENT, "code %d is none of the model's %d", own[i], t->mae.config.codes);
            if (!t->desc.is_fusion && !ts_grid_hidden(&t->desc.grid, (int)(i / side), (int)(i % side))) continue;
            const int32_t label = b >= count ? -1 : t->desc.is_fusion ? own[in_quarters(i, side)] : own[i];
            if (!t->desc.is_fusion) t->hole[b * t->hidden + at++] = label;
            else if (i < 2 * quarter) t->rest[b * 2 * quarter + i] = label;
            else if (i >= 3 * quarter) t->hole[b * quarter + i - 3 * quarter] = label;
        }
    }
    return true;
}

static bool fill_pixels(ts_mae_tuner *t, const uint8_t *pictures, ts_error *err)
{
    const int64_t side = t->desc.grid.desc.canvas, area = side * side;
    ts_mae_normalise(pictures, canvases(t) * area, t->pixels);
    bool ok = true;
    for (int i = 0; ok && !t->desc.is_fusion && i < canvases(t); i++)
        ok = ts_border_dress(&t->desc.border, NULL, &t->desc.grid, t->pixels + i * area * 3, err);
    return ok;
}

static bool run(ts_mae_tuner *t, pass *p, const uint8_t *pictures, const int32_t *codes, int count, ts_mae_tuned *out,
                ts_error *err)
{
    float loss, objective;
    uint64_t state = t->desc.seed + (uint64_t)t->steps * UINT64_C(0x9e3779b97f4a7c15); /* of this step, wherever a run began */
    const int32_t seed = (int32_t)(ts_splitmix(&state) >> 33);
    if (!place_labels(t, codes, count, err) || !fill_pixels(t, pictures, err) || !ts_write(p->e, p->pixels, t->pixels, err) ||
        !ts_write(p->e, p->hole, t->hole, err) || (p->rest && !ts_write(p->e, p->rest, t->rest, err)) ||
        (p->seed && !ts_write(p->e, p->seed, &seed, err)) ||
        !ts_mae_index_write(p->e, &t->mae, &p->index, t->keep, t->predict, err) || !ts_run(p->e, err) ||
        !ts_read(p->e, p->loss, &loss, err) || !ts_read(p->e, p->objective, &objective, err) ||
        !ts_read(p->e, p->best, t->best, err))
        return false;
    int64_t right = 0;
    for (int64_t i = 0; i < (int64_t)count * t->hidden; i++) right += t->best[i] == t->hole[i];
    *out = (ts_mae_tuned){(double)loss, (double)objective, (double)right / (double)((int64_t)count * t->hidden)};
    return true;
}

bool ts_mae_tuner_step(ts_mae_tuner *t, const uint8_t *pictures, const int32_t *codes, double lr, ts_mae_tuned *out,
                       ts_error *err)
{
    if (!ts_optimizer_set(t->optimizer, t->train.e, t->steps + 1, lr, err) ||
        !run(t, &t->train, pictures, codes, t->desc.batch, out, err))
        return false;
    t->steps++;
    return ts_optimizer_update(t->optimizer, t->train.e, err);
}

bool ts_mae_tuner_evaluate(ts_mae_tuner *t, const uint8_t *pictures, const int32_t *codes, int count, ts_mae_tuned *out,
                           ts_error *err)
{
    if (count < 1 || count > t->desc.batch)
        return ts_fail(err, TS_ERR_ARGUMENT, "%d queries of a batch of %d", count, t->desc.batch);
    if (!t->check.e) {
        if (describe(t, &t->check, false, err)) t->check.e = ts_exec_new(t->check.g, t->dev, err);
        if (!t->check.e) {
            pass_clear(&t->check);
            return false;
        }
    }
    return run(t, &t->check, pictures, codes, count, out, err);
}

/* ---- files ---- */

static bool add_text(ts_weights_writer *w, const char *key, const char *format, double value, ts_error *err)
{
    char text[32];
    snprintf(text, sizeof text, format, value);
    return ts_weights_writer_meta(w, key, text, err);
}

static bool add_head(const ts_mae_tuner *t, ts_weights_writer *w, ts_error *err)
{
    const ts_mae_tuner_desc *d = &t->desc;
    const ts_grid_desc *look = &d->grid.desc;
    char background[16];
    snprintf(background, sizeof background, "#%02x%02x%02x", look->background[0], look->background[1], look->background[2]);
    if (!ts_weights_writer_meta(w, "background", background, err) ||
        !ts_weights_writer_meta(w, "filter", look->filter == TS_RESIZE_BICUBIC ? "bicubic" : "bilinear", err))
        return false;
    if (!d->is_fusion)
        return ts_weights_writer_meta(w, "tessera.border", "1", err) && add_text(w, "cells", "%.0f", d->border.cells, err);
    return ts_weights_writer_meta(w, "tessera.fusion", d->fusion.condenser ? "condenser" : "prompthub", err) &&
           add_text(w, "heads", "%.0f", d->fusion.heads, err) && add_text(w, "sigma", "%.17g", d->fusion.sigma, err);
}

bool ts_mae_tuner_save(ts_mae_tuner *t, ts_weights_writer *w, bool optimizer, ts_error *err)
{
    free(t->saved);
    t->saved = NULL;
    return add_head(t, w, err) && ts_params_save(t->params, w, &t->saved, err) &&
           (!optimizer ||
            (add_text(w, "step", "%.0f", (double)t->steps, err) && ts_optimizer_save(t->optimizer, t->train.e, w, err)));
}

bool ts_mae_tuner_resume(ts_mae_tuner *t, const ts_weights *checkpoint, ts_error *err)
{
    int64_t steps;
    if (!ts_whole_read(ts_weights_meta(checkpoint, "step"), 0, INT64_MAX, &steps))
        return ts_fail(err, TS_ERR_FORMAT, "%s says no step: it is not a checkpoint to go on from", ts_weights_path(checkpoint));
    if (!ts_params_load(t->params, checkpoint, err) || !ts_optimizer_load(t->optimizer, t->train.e, checkpoint, err))
        return false;
    t->steps = steps;
    return true;
}
