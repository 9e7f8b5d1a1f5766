/* features.c - patch tokens of a picture by whichever frozen vision transformer the weights are. */
#include "matching/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kinds.h"

struct features {
    int side, patch, width;
    ts_dino *dino;
    ts_clip *clip;
    ts_graph *g; /* the plan of a CLIP */
    ts_exec *e;
    ts_tensor *in, *out;
};

static bool plan_clip(features *f, ts_device *dev, ts_error *err)
{
    const int64_t pixels = ts_features_pixels(f);
    if (!(f->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    f->in = ts_input(f->g, "pixels", TS_REAL, 4, (int64_t[]){1, pixels, pixels, 3});
    f->out = ts_output(f->g, ts_clip_places(f->g, f->clip, f->in, f->side, f->side));
    return ts_params_check(ts_clip_params(f->clip), err) && (f->e = ts_exec_new(f->g, dev, err)) != NULL;
}

features *ts_features_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, int side, ts_error *err)
{
    features *f = calloc(1, sizeof *f);
    if (!f) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    f->side = side;
    bool ok;
    if (ts_kind_of(w) == TS_KIND_CLIP) {
        ok = (f->clip = ts_clip_new(dev, w, told, err)) != NULL;
        if (ok) f->patch = ts_clip_about(f->clip)->patch;
        if (ok) f->width = ts_clip_about(f->clip)->width;
        ok = ok && plan_clip(f, dev, err);
    } else {
        ok = (f->dino = ts_dino_new(dev, w, side, side, err)) != NULL;
        if (ok) f->patch = ts_dino_about(f->dino)->patch;
        if (ok) f->width = ts_dino_about(f->dino)->width;
    }
    if (ok) return f;
    ts_features_free(f);
    return NULL;
}

void ts_features_free(features *f)
{
    if (!f) return;
    ts_exec_free(f->e);
    ts_graph_free(f->g);
    ts_clip_free(f->clip);
    ts_dino_free(f->dino);
    free(f);
}

int ts_features_width(const features *f)
{
    return f->width;
}

int ts_features_pixels(const features *f)
{
    return f->side * f->patch;
}

static bool encode(features *f, const float *pixels, float *tokens, ts_error *err)
{
    if (f->dino) return ts_dino_encode(f->dino, pixels, true, tokens, err);
    return ts_write(f->e, f->in, pixels, err) && ts_run(f->e, err) && ts_read(f->e, f->out, tokens, err);
}

/* Rows of length 1; a row of zeros stays. */
static bool make_unit(float *x, int64_t rows, int64_t width, ts_error *err)
{
    for (int64_t i = 0; i < rows; i++) {
        double square = 0;
        for (int64_t k = 0; k < width; k++) square += (double)x[i * width + k] * (double)x[i * width + k];
        if (!isfinite(square)) return ts_fail(err, TS_ERR_FORMAT, "the model's features are no numbers: its weights are broken");
        const double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (int64_t k = 0; k < width; k++) x[i * width + k] = (float)((double)x[i * width + k] * scale);
    }
    return true;
}

bool ts_features_of(features *f, const ts_image *picture, float *out, ts_error *err)
{
    const int side = ts_features_pixels(f);
    const int64_t count = (int64_t)side * side;
    ts_image square = {0};
    float *pixels = malloc((size_t)count * 3 * sizeof *pixels);
    bool ok = pixels != NULL;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory for a picture of %d x %d", side, side);
    ok = ok && (picture ? ts_image_resize(picture, side, side, TS_RESIZE_BILINEAR, &square, err)
                        : ts_image_new(side, side, &square, err));
    if (ok && f->clip) ts_clip_normalise(square.data, count, pixels);
    else if (ok) ts_dino_normalise(square.data, count, pixels);
    ok = ok && encode(f, pixels, out, err) && make_unit(out, (int64_t)f->side * f->side, f->width, err);
    ts_image_clear(&square);
    free(pixels);
    return ok;
}
