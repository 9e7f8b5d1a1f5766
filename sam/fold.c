/* fold.c - a TinyViT's weights as its graph (tiny.c) takes them: each convolution with the batch norm behind it in one, and q, k
 * and v in the order of all other models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sam/internal.h"

/* PyTorch's default, which no file holds. */
static const double BATCH_NORM_EPS = 1e-5;

/* A tensor's numbers: free(). */
static float *numbers(const sam_model *m, const char *name, int ndim, const int64_t *shape, ts_error *err)
{
    const ts_weight *t = ts_sam_source(m, name, ndim, shape, err);
    float *out = t ? malloc((size_t)t->count * sizeof *out) : NULL;
    if (t && !out) ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", name);
    if (out && ts_weight_to_f32(t, out, err)) return out;
    free(out);
    return NULL;
}

/* What a batch norm does to each channel once it no longer learns (Ioffe and Szegedy 2015, arXiv 1502.03167, alg. 2):
 *     y = factor x + shift, factor = gamma / sqrt(variance + eps), shift = beta - factor mean */
static bool read_norm(const sam_model *m, const char *unit, int64_t channels, float *factor, float *shift, ts_error *err)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    enum { GAMMA, BETA, MEAN, VARIANCE, PARTS };
    float *list[PARTS] = {0};
    bool ok = true;
    for (int i = 0; ok && i < PARTS; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s.bn.%s", unit, parts[i]);
        list[i] = numbers(m, name, 1, &channels, err);
        ok = list[i] != NULL;
    }
    for (int64_t c = 0; ok && c < channels; c++) {
        const double f = (double)list[GAMMA][c] / sqrt((double)list[VARIANCE][c] + BATCH_NORM_EPS);
        factor[c] = (float)f;
        shift[c] = (float)((double)list[BETA][c] - f * (double)list[MEAN][c]);
    }
    for (int i = 0; i < PARTS; i++) free(list[i]);
    return ok;
}

/* The convolution's weight (O, I, kh, kw) by its norm's factors, in that order or, of one by channels, (C, 1, kh, kw) -> (kh, kw,
 * C). */
static bool fold_weight(const sam_model *m, const char *unit, int ndim, const int64_t *shape, const float *factor, float *out,
                        ts_error *err)
{
    const bool by_channel = ndim == 3;
    const int64_t turned[4] = {shape[ndim - 1], 1, shape[0], shape[1]}, *theirs = by_channel ? turned : shape;
    const int64_t rows = theirs[0], each = theirs[1] * theirs[2] * theirs[3];
    char name[160];
    snprintf(name, sizeof name, "%s.c.weight", unit);
    float *w = numbers(m, name, 4, theirs, err);
    if (!w) return false;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < each; k++) out[by_channel ? k * rows + r : r * each + k] = w[r * each + k] * factor[r];
    free(w);
    return true;
}

/* `name` is a unit's, a dot, and "weight" or "bias". */
bool ts_sam_fold(const sam_model *m, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    const int64_t channels = ndim == 3 ? shape[2] : shape[0];
    const char *part = strrchr(name, '.');
    sam_name unit;
    snprintf(unit.s, sizeof unit.s, "%.*s", part ? (int)(part - name) : 0, name);
    float *factor = malloc(2 * (size_t)channels * sizeof *factor);
    if (!factor) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", name);
    float *shift = factor + channels;
    const bool read = read_norm(m, unit.s, channels, factor, shift, err);
    const bool ok = read && (ndim == 1 || fold_weight(m, unit.s, ndim, shape, factor, out, err));
    if (ok && ndim == 1) memcpy(out, shift, (size_t)channels * sizeof *out);
    free(factor);
    return ok;
}

/* The file has q, k and v of the first head, then those of the next; here all q come first, then all k, then all v. */
bool ts_sam_order(const sam_model *m, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    int stage = 0;
    if (sscanf(name, "image_encoder.layers.%d.", &stage) != 1 || stage < 1 || stage >= TS_SAM_STAGES)
        return ts_fail(err, TS_ERR_ARGUMENT, "nothing makes %s", name);
    const ts_sam_stage *s = m->config.stage + stage;
    const int64_t columns = ndim == 2 ? shape[1] : 1, dim = s->width / s->heads;
    float *from = numbers(m, name, ndim, shape, err);
    if (!from) return false;
    for (int64_t row = 0; row < shape[0]; row++) {
        const int64_t part = row / s->width, head = row % s->width / dim, number = row % dim;
        memcpy(out + row * columns, from + ((head * 3 + part) * dim + number) * columns, (size_t)columns * sizeof *out);
    }
    free(from);
    return true;
}
