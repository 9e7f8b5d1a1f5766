/* tokens.c - a frozen vision transformer's tokens as features of places: of a DINO or a CLIP those of its last layer on the
 * picture squeezed to a square, as matching/ has them; of a SAM its embedding; of a masked autoencoder what its encoder makes of
 * the whole picture, nothing hidden. They are brought to unit length, so that one scale holds for all. */
#include "strokes/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"
#include "mae/mae.h"
#include "matching/internal.h"
#include "sam/sam.h"

enum { SQUARE = 48 }; /* places a side of a DINO's or a CLIP's picture */

struct strokes_tokens {
    int width, side;
    features *square; /* one of the three */
    ts_sam *sam;
    struct {
        ts_mae mae;
        ts_graph *g;
        ts_exec *e;
        ts_tensor *in, *out;
    } mae;
};

/* ---- a masked autoencoder ---- */

static bool plan_mae(strokes_tokens *t, ts_device *dev, const ts_weights *w, int heads, ts_error *err)
{
    ts_mae *m = &t->mae.mae;
    ts_mae_config *c = &m->config;
    if (!ts_mae_config_read(w, heads, 0, true, c, err)) return false;
    if (c->heads == 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s: how many attention heads its encoder has is told by nothing: say it by --heads",
                       ts_weights_path(w));
    if (!(m->params = ts_params_new(dev, w, "", err))) return false;
    if (!(t->mae.g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int64_t pixels = (int64_t)c->side * c->patch, places = (int64_t)c->side * c->side;
    t->mae.in = ts_input(t->mae.g, "pixels", TS_REAL, 4, (int64_t[]){1, pixels, pixels, 3});
    const ts_mae_index index = ts_mae_index_new(t->mae.g, m, 1, places, places);
    t->mae.out = ts_output(t->mae.g, ts_mae_encode(t->mae.g, m, t->mae.in, &index)); // (1, 1 + places, dim)
    int32_t *all = malloc((size_t)places * sizeof *all);
    bool ok = all;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int32_t i = 0; ok && i < places; i++) all[i] = i;
    ok = ok && ts_params_check(m->params, err) && (t->mae.e = ts_exec_new(t->mae.g, dev, err)) &&
         ts_mae_index_write(t->mae.e, m, &index, all, NULL, err);
    free(all);
    t->side = c->side;
    t->width = c->dim;
    return ok;
}

static bool mae_tokens(strokes_tokens *t, const ts_image *picture, float *out, ts_error *err)
{
    const ts_mae_config *c = &t->mae.mae.config;
    const int side = c->side * c->patch;
    const int64_t count = (int64_t)side * side, places = (int64_t)c->side * c->side;
    ts_image square = {0};
    float *pixels = malloc((size_t)count * 3 * sizeof *pixels),
          *all = malloc((size_t)(1 + places) * (size_t)c->dim * sizeof *all);
    bool ok = pixels && all;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    ok = ok && ts_image_resize(picture, side, side, TS_RESIZE_BILINEAR, &square, err);
    if (ok) ts_mae_normalise(square.data, count, pixels);
    ok = ok && ts_write(t->mae.e, t->mae.in, pixels, err) && ts_run(t->mae.e, err) && ts_read(t->mae.e, t->mae.out, all, err);
    if (ok) memcpy(out, all + c->dim, (size_t)places * (size_t)c->dim * sizeof *out); /* the first is of no place */
    ts_image_clear(&square);
    free(pixels);
    free(all);
    return ok;
}

/* ---- any of them ---- */

strokes_tokens *ts_tokens_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, ts_error *err)
{
    strokes_tokens *t = calloc(1, sizeof *t);
    bool ok = t != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const ts_kind kind = ts_kind_of(w);
    if (ok && (kind == TS_KIND_CLIP || kind == TS_KIND_DINOV2)) {
        t->side = SQUARE;
        ok = (t->square = ts_features_new(dev, w, told, SQUARE, err)) != NULL;
        if (ok) t->width = ts_features_width(t->square);
    } else if (ok && kind == TS_KIND_SAM) {
        ok = (t->sam = ts_sam_new(dev, &(ts_sam_desc){.weights = w}, err)) != NULL;
        if (ok) t->side = ts_sam_about(t->sam)->side;
        if (ok) t->width = ts_sam_about(t->sam)->embed;
    } else if (ok && (kind == TS_KIND_MAE || kind == TS_KIND_MAE_VQGAN)) {
        ok = plan_mae(t, dev, w, told->heads, err);
    } else if (ok) {
        ok = ts_fail(err, TS_ERR_FORMAT, "%s is %s; features are taken of an MAE-VQGAN, CLIP, SAM, DINOv2 or DINOv3",
                     ts_weights_path(w), ts_kind_name(kind));
    }
    if (ok && t->width > TS_STROKES_TOKENS)
        ok = ts_fail(err, TS_ERR_FORMAT, "%s: %d numbers a place are more than the %d that are taken", ts_weights_path(w),
                     t->width, TS_STROKES_TOKENS);
    if (ok) return t;
    ts_tokens_free(t);
    return NULL;
}

void ts_tokens_free(strokes_tokens *t)
{
    if (!t) return;
    ts_features_free(t->square);
    ts_sam_free(t->sam);
    ts_exec_free(t->mae.e);
    ts_graph_free(t->mae.g);
    ts_params_free(t->mae.mae.params);
    free(t);
}

int ts_tokens_width(const strokes_tokens *t)
{
    return t->width;
}

/* Where pixel `at` of `pixels` falls between `places` that span them: the lower place, and the upper one's weight. */
static int between(int at, int pixels, double places, int last, float *upper)
{
    double p = (at + 0.5) * places / pixels - 0.5;
    if (p < 0) p = 0;
    int low = (int)p;
    if (low > last) low = last;
    *upper = low < last ? (float)(p - low) : 0;
    return low;
}

/* A picture covers the upper left of a SAM's map, in parts of places: brought to whole ones that cover it. */
static void crop(const float *map, int side, int width, double down, double across, token_map *out)
{
    for (int y = 0; y < out->rows; y++)
        for (int x = 0; x < out->columns; x++) {
            float v, h;
            const int top = between(y, out->rows, down, side - 1, &v), left = between(x, out->columns, across, side - 1, &h);
            const int below = top + (v > 0), right = left + (h > 0);
            const float *a = map + ((int64_t)top * side + left) * width, *b = map + ((int64_t)top * side + right) * width;
            const float *c = map + ((int64_t)below * side + left) * width, *d = map + ((int64_t)below * side + right) * width;
            float *to = out->data + ((int64_t)y * out->columns + x) * width;
            for (int i = 0; i < width; i++) to[i] = (1 - v) * ((1 - h) * a[i] + h * b[i]) + v * ((1 - h) * c[i] + h * d[i]);
        }
}

static bool sam_tokens(strokes_tokens *t, const ts_image *picture, token_map *out, ts_error *err)
{
    const int longer = picture->width > picture->height ? picture->width : picture->height;
    const double down = (double)t->side * picture->height / longer, across = (double)t->side * picture->width / longer;
    out->rows = (int)ceil(down - 1e-9);
    out->columns = (int)ceil(across - 1e-9);
    if (!ts_sam_set_picture(t->sam, picture, err)) return false;
    crop(ts_sam_embedding(t->sam), t->side, t->width, down, across, out);
    return true;
}

static bool make_unit(float *x, int64_t rows, int width, ts_error *err)
{
    for (int64_t i = 0; i < rows; i++) {
        double square = 0;
        for (int k = 0; k < width; k++) square += (double)x[i * width + k] * (double)x[i * width + k];
        if (!isfinite(square))
            return ts_fail(err, TS_ERR_FORMAT, "the transformer's features are no numbers: its weights are broken");
        const float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (int k = 0; k < width; k++) x[i * width + k] *= scale;
    }
    return true;
}

bool ts_tokens_of(strokes_tokens *t, const ts_image *picture, token_map *out, ts_error *err)
{
    *out = (token_map){.rows = t->side, .columns = t->side, .width = t->width};
    out->data = calloc((size_t)t->side * (size_t)t->side, (size_t)t->width * sizeof *out->data);
    bool ok = out->data;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for features of %d x %d places", t->side, t->side);
    ok = ok && (t->square ? ts_features_of(t->square, picture, out->data, err)
                : t->sam  ? sam_tokens(t, picture, out, err)
                          : mae_tokens(t, picture, out->data, err));
    ok = ok && make_unit(out->data, (int64_t)out->rows * out->columns, t->width, err);
    if (ok) return true;
    free(out->data);
    *out = (token_map){0};
    return false;
}

void ts_tokens_at(const token_map *m, int width, int height, int x, int y, float *out)
{
    float v, h;
    const int top = between(y, height, m->rows, m->rows - 1, &v), left = between(x, width, m->columns, m->columns - 1, &h);
    const int below = top + (v > 0), right = left + (h > 0);
    const float *a = m->data + ((int64_t)top * m->columns + left) * m->width;
    const float *b = m->data + ((int64_t)top * m->columns + right) * m->width;
    const float *c = m->data + ((int64_t)below * m->columns + left) * m->width;
    const float *d = m->data + ((int64_t)below * m->columns + right) * m->width;
    for (int i = 0; i < m->width; i++) out[i] = (1 - v) * ((1 - h) * a[i] + h * b[i]) + v * ((1 - h) * c[i] + h * d[i]);
}

/* FNV-1a over the names and over numbers spread through each tensor, as half precision has them: a file in fp32 and the same in
 * fp16 have one mark. */
bool ts_tokens_mark(const ts_weights *w, char out[17], ts_error *err)
{
    enum { SPREAD = 16 };
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int64_t i = 0; i < ts_weights_count(w); i++) {
        const ts_weight *t = ts_weights_at(w, i);
        for (const char *c = t->name; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        if (t->ndim != 1 || t->count < 1 || t->count > TS_STROKES_TOKENS)
            continue; /* vectors: cheap, and any training moves them */
        float *values = malloc((size_t)t->count * sizeof *values);
        if (!values) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        const bool ok = ts_weight_to_f32(t, values, err);
        for (int64_t k = 0; ok && k < SPREAD; k++) {
            const uint16_t half = ts_f32_to_f16(values[k * t->count / SPREAD]);
            hash = (hash ^ (half & 0xff)) * UINT64_C(0x100000001b3);
            hash = (hash ^ (half >> 8)) * UINT64_C(0x100000001b3);
        }
        free(values);
        if (!ok) return false;
    }
    snprintf(out, 17, "%016" PRIx64, hash);
    return true;
}
