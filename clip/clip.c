/* clip.c - the model as a whole: a weights file on a device. */
#include "clip/internal.h"

#include <math.h>
#include <stdlib.h>

ts_clip *ts_clip_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, ts_error *err)
{
    ts_clip_config config;
    if (!ts_clip_config_read(w, told, &config, err)) return NULL;
    ts_clip *c = calloc(1, sizeof *c);
    if (!c) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    clip_source source;
    ts_clip_source(ts_clip_layout_of(w), "token_embedding.weight", &source);
    float scale = 0;
    c->dev = dev;
    c->weights = w;
    c->config = config;
    c->file = (clip_file){w, &c->config};
    /* Where pictures are normalised otherwise every tensor is made anew: two of them differ from the file's. */
    const ts_weights *direct = config.deviation[0] > 0 ? NULL : w;
    c->embedding = ts_weights_find(w, source.name[0]);
    bool ok = ts_weight_to_f32(ts_weights_find(w, "logit_scale"), &scale, err);
    c->scale = exp((double)scale);
    if (ok && !(c->scale > 0 && c->scale < 1e6))
        ok = ts_fail(err, TS_ERR_FORMAT, "%s: logit_scale is %g, a CLIP's is about 4.6", ts_weights_path(w), (double)scale);
    ok = ok && (c->params = ts_params_new_converted(dev, direct, "", ts_clip_convert, &c->file, err)) != NULL;
    if (ok) return c;
    ts_clip_free(c);
    return NULL;
}

void ts_clip_free(ts_clip *c)
{
    if (!c) return;
    ts_clip_plans_free(c->plans);
    ts_params_free(c->params);
    free(c);
}

const ts_clip_config *ts_clip_about(const ts_clip *c)
{
    return &c->config;
}

ts_device *ts_clip_device(const ts_clip *c)
{
    return c->dev;
}

double ts_clip_logit_scale(const ts_clip *c)
{
    return c->scale;
}

ts_params *ts_clip_params(const ts_clip *c)
{
    return c->params;
}

void ts_clip_logits(const ts_clip *c, const float *images, int64_t n, const float *classes, int k, float *logits)
{
    const int64_t embed = c->config.embed;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) {
            const float *x = images + i * embed, *y = classes + j * embed;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t e = 0; e < embed; e++) sum += x[e] * y[e];
            logits[i * k + j] = (float)(c->scale * (double)sum);
        }
}
