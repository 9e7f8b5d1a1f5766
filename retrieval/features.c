/* features.c - pictures as rows whose products are likenesses. What a model gives for a picture is brought to the length of 1, as
 * a whole or place by place; a learned head may stand behind it. Shapes: B pictures, P places, D the model's width. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dino/dino.h"
#include "kinds/kinds.h"
#include "mae/mae.h"
#include "retrieval/retrieval.h"

enum {
    DINO_SIDE = 16,
    /* places: 224 pixels in patches of 14 */ CLIP_STEP = 32 /* pictures; its library makes batches of them */
};

struct ts_embedder {
    ts_embedder_desc desc;
    ts_embedder_info info;
    ts_kind kind;
    ts_clip *clip; /* one of the three */
    ts_dino *dino;
    ts_mae mae;
    int batch, dim;
    int64_t places;
    ts_graph *graph; /* pixels -> (B, P, D), unless a CLIP gives its own */
    ts_exec *exec;
    ts_tensor *in, *out;
    ts_retriever *learned;
    float *pixels, *tokens; /* of a batch: (B, side, side, 3); (B, P, D) */
};

/* ---- the models -------------------------------------------------------------------------------------------------- */

/* Whether a CLIP's own feature is wanted, which its library makes. */
static bool is_joint(const ts_embedder *e)
{
    return e->clip && e->desc.level == TS_EMBED_WHOLE;
}

static bool open_clip(ts_embedder *e, ts_device *dev, ts_error *err)
{
    e->clip = ts_clip_new(dev, e->desc.weights, &e->desc.told, err);
    if (!e->clip) return false;
    const ts_clip_config *c = ts_clip_about(e->clip);
    const int side = c->image / c->patch;
    e->info.side = c->image;
    e->places = (int64_t)side * side;
    e->dim = is_joint(e) ? c->embed : c->width;
    return true;
}

static bool open_dino(ts_embedder *e, ts_device *dev, ts_error *err)
{
    e->dino = ts_dino_new(dev, e->desc.weights, DINO_SIDE, DINO_SIDE, err);
    if (!e->dino) return false;
    e->info.side = DINO_SIDE * ts_dino_about(e->dino)->patch;
    e->places = DINO_SIDE * DINO_SIDE;
    e->dim = ts_dino_about(e->dino)->width;
    return true;
}

/* The decoder's heads are nobody's concern here, the encoder's must be known. */
static bool open_mae(ts_embedder *e, ts_device *dev, ts_error *err)
{
    ts_mae_config *c = &e->mae.config;
    const int heads = e->desc.told.heads;
    if (!ts_mae_config_read(e->desc.weights, heads, 0, true, c, err) ||
        (c->heads == 0 && !ts_mae_config_read(e->desc.weights, heads, 0, false, c, err)))
        return false;
    e->info.side = c->side * c->patch;
    e->places = (int64_t)c->side * c->side;
    e->dim = c->dim;
    return (e->mae.params = ts_params_new(dev, e->desc.weights, "", err)) != NULL;
}

static bool open_model(ts_embedder *e, ts_device *dev, ts_error *err)
{
    e->kind = ts_kind_of(e->desc.weights);
    switch (e->kind) {
    case TS_KIND_CLIP:
        return open_clip(e, dev, err);
    case TS_KIND_DINOV2:
        return open_dino(e, dev, err);
    case TS_KIND_MAE:
    case TS_KIND_MAE_VQGAN:
        e->kind = TS_KIND_MAE_VQGAN;
        return open_mae(e, dev, err);
    default:
        return ts_fail(err, TS_ERR_UNSUPPORTED,
                       "%s is %s, which gives pictures no features to compare: a CLIP, a DINOv2 or DINOv3, an MAE-VQGAN, or a "
                       "retriever for one of them is wanted",
                       ts_weights_path(e->desc.weights), ts_kind_name(e->kind));
    }
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

/* All patches are visible, in order. */
static bool write_order(const ts_embedder *e, const ts_mae_index *index, ts_error *err)
{
    const int64_t rows = 1 + e->places, all = e->batch * rows;
    int32_t *token = malloc((size_t)all * sizeof *token), *place = malloc((size_t)all * sizeof *place);
    bool ok = token && place;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; ok && i < all; i++) {
        place[i] = (int32_t)(i % rows);
        token[i] = place[i] - 1; /* -1: the class token */
    }
    ok = ok && ts_write(e->exec, index->token, token, err) && ts_write(e->exec, index->place, place, err);
    free(token);
    free(place);
    return ok;
}

static bool plan_model(ts_embedder *e, ts_device *dev, ts_error *err)
{
    const int64_t side = e->info.side;
    ts_mae_index index = {0};
    const ts_params *params = NULL;
    ts_graph *g = e->graph = ts_graph_new();
    if (!g) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    e->in = ts_input(g, "pixels", TS_REAL, 4, (int64_t[]){e->batch, side, side, 3});
    if (e->clip) {
        const int places = e->info.side / ts_clip_about(e->clip)->patch;
        e->out = ts_clip_places(g, e->clip, e->in, places, places); // (B, P, D)
        params = ts_clip_params(e->clip);
    } else if (e->dino) {
        e->out = ts_dino_tokens(g, e->dino, e->in, true); // (B, P, D)
    } else {
        index.token = ts_input(g, "token", TS_I32, 2, (int64_t[]){e->batch, 1 + e->places});
        index.place = ts_input(g, "place", TS_I32, 2, (int64_t[]){e->batch, 1 + e->places});
        ts_tensor *encoded = ts_mae_encode(g, &e->mae, e->in, &index); // (B, 1+P, D)
        e->out = ts_slice(g, encoded, 1, e->places);                   // (B, P, D)
        params = e->mae.params;
    }
    ts_output(g, e->out);
    return (!params || ts_params_check(params, err)) && (e->exec = ts_exec_new(g, dev, err)) &&
           (!index.token || write_order(e, &index, err));
}

static bool open_head(ts_embedder *e, ts_device *dev, ts_error *err)
{
    const ts_weights *w = e->desc.retriever;
    if (!(e->learned = ts_retriever_new(dev, w, e->batch, err))) return false;
    if (e->desc.level == TS_EMBED_WHOLE && ts_retriever_about(e->learned)->width == e->dim &&
        strcmp(ts_weights_meta(w, TS_RETRIEVER_OF), e->info.model) == 0)
        return true;
    return ts_fail(err, TS_ERR_ARGUMENT, "retriever %s was trained on the features of another model than %s", ts_weights_path(w),
                   ts_weights_path(e->desc.weights));
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void sign(ts_embedder *e, ts_device *dev)
{
    static const char version[] = "tessera features 1"; /* of how rows are made: another number where they change */
    int64_t sizes[] = {e->kind, e->desc.level, e->info.side, e->dim, e->mae.config.heads, 0, 0};
    if (e->clip) {
        sizes[5] = ts_clip_about(e->clip)->heads;
        sizes[6] = ts_clip_about(e->clip)->erf_gelu;
    }
    uint64_t hash = ts_fingerprint(ts_fingerprint(TS_FINGERPRINT, version, sizeof version), sizes, sizeof sizes);
    hash = ts_weights_fingerprint(hash, e->desc.weights);
    snprintf(e->info.model, sizeof e->info.model, "%016" PRIx64, hash);
    const int64_t precision = ts_device_precision(dev);
    hash = ts_fingerprint(hash, &precision, sizeof precision);
    if (e->desc.retriever) hash = ts_weights_fingerprint(hash, e->desc.retriever);
    snprintf(e->info.identity, sizeof e->info.identity, "%016" PRIx64, hash);
}

static bool make(ts_embedder *e, ts_device *dev, ts_error *err)
{
    if (!open_model(e, dev, err)) return false;
    sign(e, dev);
    if ((!is_joint(e) && !plan_model(e, dev, err)) || (e->desc.retriever && !open_head(e, dev, err))) return false;
    e->info.width = e->learned                        ? ts_retriever_about(e->learned)->out
                    : e->desc.level == TS_EMBED_WHOLE ? e->dim
                                                      : e->places * e->dim;
    e->pixels = malloc((size_t)e->batch * (size_t)e->info.side * (size_t)e->info.side * 3 * sizeof *e->pixels);
    e->tokens = malloc((size_t)e->batch * (size_t)e->places * (size_t)e->dim * sizeof *e->tokens);
    return (e->pixels && e->tokens) || ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d pictures", e->batch);
}

ts_embedder *ts_embedder_new(ts_device *dev, const ts_embedder_desc *desc, ts_error *err)
{
    ts_embedder *e = calloc(1, sizeof *e);
    if (!e) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    e->desc = *desc;
    e->batch = desc->batch > 0 ? desc->batch : 1;
    if (make(e, dev, err)) return e;
    ts_embedder_free(e);
    return NULL;
}

void ts_embedder_free(ts_embedder *e)
{
    if (!e) return;
    ts_exec_free(e->exec);
    ts_graph_free(e->graph);
    ts_retriever_free(e->learned);
    ts_params_free(e->mae.params);
    ts_clip_free(e->clip);
    ts_dino_free(e->dino);
    free(e->pixels);
    free(e->tokens);
    free(e);
}

const ts_embedder_info *ts_embedder_about(const ts_embedder *e)
{
    return &e->info;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

bool ts_embedder_prepare(const ts_embedder *e, const ts_image *picture, float *pixels, ts_error *err)
{
    const int side = e->info.side;
    ts_image sized = {0};
    if (e->clip) return ts_clip_preprocess(picture, side, pixels, err);
    if (!ts_image_resize(picture, side, side, TS_RESIZE_BICUBIC, &sized, err)) return false;
    if (e->dino) ts_dino_normalise(sized.data, (int64_t)side * side, pixels);
    else ts_mae_normalise(sized.data, (int64_t)side * side, pixels);
    ts_image_clear(&sized);
    return true;
}

/* To the length of `length`; false: it has none, or is no number. */
static bool bring_to(float *x, int64_t count, double length)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    if (!(sum > 0) || !isfinite(sum)) return false;
    for (int64_t i = 0; i < count; i++) x[i] = (float)((double)x[i] * (length / sqrt(sum)));
    return true;
}

/* tokens (P, D) -> their mean, or all of them, as a row of length 1. */
static bool reduce(const ts_embedder *e, float *tokens, float *row)
{
    const int64_t places = e->places, dim = e->dim;
    if (e->desc.level == TS_EMBED_PLACES) {
        bool ok = true;
        for (int64_t p = 0; p < places; p++) ok = bring_to(tokens + p * dim, dim, 1 / sqrt((double)places)) && ok;
        memcpy(row, tokens, (size_t)(places * dim) * sizeof *row);
        return ok;
    }
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0;
        for (int64_t p = 0; p < places; p++) sum += (double)tokens[p * dim + d];
        row[d] = (float)(sum / (double)places);
    }
    return bring_to(row, dim, 1);
}

/* `count` items of `each` numbers as a whole batch: where they are fewer, the last one fills the rest. */
static void fill(float *batch, const float *from, int64_t count, int64_t size, int64_t each)
{
    for (int64_t i = 0; i < size; i++)
        memcpy(batch + i * each, from + (i < count ? i : count - 1) * each, (size_t)each * sizeof *batch);
}

static bool encode_batch(ts_embedder *e, const float *pixels, int64_t count, float *rows, ts_error *err)
{
    const int64_t pixel_count = (int64_t)e->info.side * e->info.side * 3, each = e->places * e->dim;
    const int64_t width = e->desc.level == TS_EMBED_WHOLE ? e->dim : each;
    if (is_joint(e)) return ts_clip_encode_images(e->clip, pixels, count, rows, err);
    fill(e->pixels, pixels, count, e->batch, pixel_count);
    if (!ts_write(e->exec, e->in, e->pixels, err) || !ts_run(e->exec, err) || !ts_read(e->exec, e->out, e->tokens, err))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (!reduce(e, e->tokens + i * each, rows + i * width))
            return ts_fail(err, TS_ERR_FORMAT,
                           "%s gives features that are no directions: its weights are broken, or too large for fp16",
                           ts_weights_path(e->desc.weights));
    return true;
}

bool ts_embedder_encode(ts_embedder *e, const float *pixels, int64_t count, float *rows, ts_error *err)
{
    const int64_t pixel_count = (int64_t)e->info.side * e->info.side * 3, step = is_joint(e) ? CLIP_STEP : e->batch;
    float *first = e->learned ? malloc((size_t)step * (size_t)e->dim * sizeof *first) : NULL;
    bool ok = !e->learned || first || ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int64_t at = 0; ok && at < count; at += step) {
        const int64_t n = count - at < step ? count - at : step;
        float *to = rows + at * e->info.width;
        ok = encode_batch(e, pixels + at * pixel_count, n, first ? first : to, err) &&
             (!first || ts_retriever_apply(e->learned, first, n, to, err));
    }
    free(first);
    return ok;
}
