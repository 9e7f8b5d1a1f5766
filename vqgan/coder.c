/* coder.c - a frozen VQGAN that turns batches of pictures into codes and codes into pictures: the labels of masked-token
 * training, and a look at what a VQGAN makes of a picture. Each direction is one graph, planned when first used. */
#include "vqgan/internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *in, *out;
    ts_tensor *mean; /* (1): of what codes or pictures are made from: none of them is no number where this is one */
} direction;

struct ts_vqgan_coder {
    ts_device *dev;
    ts_vqgan vqgan;
    const ts_weights *file;
    int batch, side, picture; /* pictures; codes and pixels a side */
    direction encode, decode;
    float *pixels; /* (batch, picture, picture, 3) */
};

static void direction_clear(direction *d)
{
    ts_exec_free(d->e);
    ts_graph_free(d->g);
    *d = (direction){0};
}

ts_vqgan_coder *ts_vqgan_coder_new(ts_device *dev, const ts_weights *w, int batch, int side, ts_error *err)
{
    ts_vqgan_config config;
    const char *prefix = ts_vqgan_find(w, &config, err);
    if (!prefix) return NULL;
    if (batch < 1 || side < 1 || side > 8192 / config.factor) {
        ts_fail(err, TS_ERR_ARGUMENT, "%d pictures of %d codes a side are not possible", batch, side);
        return NULL;
    }
    ts_vqgan_coder *c = calloc(1, sizeof *c);
    if (c) *c = (ts_vqgan_coder){.dev = dev, .vqgan.config = config, .file = w, .batch = batch, .side = side};
    if (c) c->picture = side * config.factor;
    if (c) c->pixels = calloc((size_t)batch * (size_t)c->picture, (size_t)c->picture * 3 * sizeof *c->pixels);
    if (!c || !c->pixels) ts_fail(err, TS_ERR_MEMORY, "out of memory for %d pictures", batch);
    else c->vqgan.params = ts_params_new(dev, w, prefix, err);
    if (c && c->pixels && c->vqgan.params) return c;
    ts_vqgan_coder_free(c);
    return NULL;
}

void ts_vqgan_coder_free(ts_vqgan_coder *c)
{
    if (!c) return;
    direction_clear(&c->encode);
    direction_clear(&c->decode);
    ts_params_free(c->vqgan.params);
    free(c->pixels);
    free(c);
}

const ts_vqgan_config *ts_vqgan_coder_config(const ts_vqgan_coder *c)
{
    return &c->vqgan.config;
}

static bool plan(ts_vqgan_coder *c, direction *d, ts_error *err)
{
    ts_output(d->g, d->out);
    ts_output(d->g, d->mean);
    bool ok = ts_params_check(c->vqgan.params, err) && (d->e = ts_exec_new(d->g, c->dev, err)) != NULL;
    if (!ok) direction_clear(d);
    return ok;
}

static bool plan_encode(ts_vqgan_coder *c, ts_error *err)
{
    direction *d = &c->encode;
    if (d->e) return true;
    if (!(d->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    d->in = ts_input(d->g, "pictures", TS_REAL, 4, (int64_t[]){c->batch, c->picture, c->picture, 3});
    ts_tensor *latents = ts_vqgan_encode(d->g, &c->vqgan, d->in);
    d->mean = ts_mean(d->g, latents);
    d->out = ts_vqgan_codes(d->g, &c->vqgan, latents);
    return plan(c, d, err);
}

static bool plan_decode(ts_vqgan_coder *c, ts_error *err)
{
    direction *d = &c->decode;
    if (d->e) return true;
    if (!(d->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    d->in = ts_input(d->g, "codes", TS_I32, 2, (int64_t[]){c->batch, (int64_t)c->side * c->side});
    ts_tensor *decoded = ts_vqgan_decode(d->g, &c->vqgan, ts_vqgan_lookup(d->g, &c->vqgan, d->in, c->side, c->side));
    d->mean = ts_mean(d->g, decoded);
    d->out = ts_vqgan_show(d->g, decoded);
    return plan(c, d, err);
}

static bool run(const ts_vqgan_coder *c, const direction *d, const void *in, void *out, ts_error *err)
{
    float mean;
    if (!ts_write(d->e, d->in, in, err) || !ts_run(d->e, err) || !ts_read(d->e, d->out, out, err) ||
        !ts_read(d->e, d->mean, &mean, err))
        return false;
    return isfinite(mean) || ts_fail(err, TS_ERR_FORMAT,
                                     "the VQGAN of %s gives values that are no numbers: its weights are broken, or too large for "
                                     "fp16 (model check names them)",
                                     ts_weights_path(c->file));
}

/* 8 bits to [-1, 1]. */
static void convert(const uint8_t *from, int64_t values, float *to)
{
    for (int64_t i = 0; i < values; i++) to[i] = 2 * ((float)from[i] / 255) - 1;
}

bool ts_vqgan_coder_encode(ts_vqgan_coder *c, const uint8_t *pixels, int size, int32_t *codes, ts_error *err)
{
    if (!plan_encode(c, err)) return false;
    int64_t from = (int64_t)size * size * 3, to = (int64_t)c->picture * c->picture * 3;
    for (int i = 0; i < c->batch; i++) {
        const uint8_t *one = pixels + i * from;
        ts_image resized = {0};
        /* The resize reads its source and no more. */
        ts_image whole = {.width = size, .height = size, .data = (uint8_t *)one};
        if (size != c->picture && !ts_image_resize(&whole, c->picture, c->picture, TS_RESIZE_BILINEAR, &resized, err))
            return false;
        convert(resized.data ? resized.data : one, to, c->pixels + i * to);
        ts_image_clear(&resized);
    }
    return run(c, &c->encode, c->pixels, codes, err);
}

bool ts_vqgan_coder_decode(ts_vqgan_coder *c, const int32_t *codes, float *pixels, ts_error *err)
{
    return plan_decode(c, err) && run(c, &c->decode, codes, pixels, err);
}
