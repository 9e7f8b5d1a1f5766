/* window.c - a part of a picture on the device: one graph computes its features and leaves them in the device's memory, others
 * take some of them to learn from, or classify all of them. So a picture at hand is looked at once, however often the strokes
 * change; and a large one goes through a window part by part. */
#include "strokes/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GATHERED = 4096 }; /* pixels in one run of the graph that takes some */

/* A planned graph on the kept features. */
typedef struct {
    ts_graph *g;
    ts_exec *e;
    ts_tensor *in, *out; /* pixels, indices, or what is added; NULL: nothing */
} plan;

struct strokes_window {
    ts_device *dev;
    int width, height;
    int64_t pixels;
    ts_params *kept;    /* the features, and the kernels that make them */
    ts_params *weights; /* of the head that classifies */
    float *place;       /* (height, width, 3) in 0 to 1 */
    plan look, gather, classify;
    int features, classes, hidden; /* that `classify` was planned for; 0: it was not */
    bool extra;
};

static void plan_free(plan *p)
{
    ts_exec_free(p->e);
    ts_graph_free(p->g);
    *p = (plan){0};
}

static bool plan_end(plan *p, ts_device *dev, ts_error *err)
{
    return (p->e = ts_exec_new(p->g, dev, err)) != NULL;
}

static ts_tensor *kept_of(const strokes_window *w, ts_graph *g)
{
    return ts_param(g, w->kept, "features", TS_LAYOUT_PLAIN, 2, (int64_t[]){w->pixels, TS_STROKES_BANK});
}

/* ---- features ---- */

static bool plan_look(strokes_window *w, ts_error *err)
{
    plan *p = &w->look;
    if (!(p->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->in = ts_input(p->g, "pixels", TS_REAL, 4, (int64_t[]){1, w->height, w->width, 3});
    ts_strokes_bank(p->g, w->kept, p->in, kept_of(w, p->g));
    return plan_end(p, w->dev, err);
}

static bool plan_gather(strokes_window *w, ts_error *err)
{
    plan *p = &w->gather;
    if (!(p->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    p->in = ts_input(p->g, "pixel", TS_I32, 2, (int64_t[]){1, GATHERED});
    p->out = ts_output(p->g, ts_gather(p->g, kept_of(w, p->g), p->in, NULL)); // (1, GATHERED, F)
    return plan_end(p, w->dev, err);
}

strokes_window *ts_window_new(ts_device *dev, int width, int height, ts_error *err)
{
    strokes_window *w = calloc(1, sizeof *w);
    if (!w) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    *w = (strokes_window){.dev = dev, .width = width, .height = height, .pixels = (int64_t)width * height};
    w->place = malloc((size_t)w->pixels * 3 * sizeof *w->place);
    w->kept = w->place ? ts_params_new_trainable(dev, NULL, "", ts_strokes_kernel, NULL, err) : NULL;
    if (!w->place) ts_fail(err, TS_ERR_MEMORY, "out of memory for the features of %d x %d pixels", width, height);
    if (w->kept && plan_look(w, err)) return w;
    ts_window_free(w);
    return NULL;
}

void ts_window_free(strokes_window *w)
{
    if (!w) return;
    plan_free(&w->look);
    plan_free(&w->gather);
    plan_free(&w->classify);
    ts_params_free(w->kept);
    ts_params_free(w->weights);
    free(w->place);
    free(w);
}

bool ts_window_fits(const strokes_window *w, int width, int height)
{
    return w && w->width == width && w->height == height;
}

bool ts_window_look(strokes_window *w, const ts_image *picture, int x, int y, ts_error *err)
{
    float level[256];
    for (int v = 0; v < 256; v++) level[v] = (float)v / 255;
    for (int row = 0; row < w->height; row++) {
        const uint8_t *from = picture->data + ((int64_t)(y + row) * picture->width + x) * 3;
        float *to = w->place + (int64_t)row * w->width * 3;
        for (int64_t i = 0; i < (int64_t)w->width * 3; i++) to[i] = level[from[i]];
    }
    return ts_write(w->look.e, w->look.in, w->place, err) && ts_run(w->look.e, err);
}

bool ts_window_features(strokes_window *w, float *out, ts_error *err)
{
    for (int64_t i = 0; i < ts_params_count(w->kept); i++)
        if (strcmp(ts_params_name(w->kept, i), "features") == 0) return ts_params_read(w->kept, i, out, err);
    return ts_fail(err, TS_ERR_ARGUMENT, "there are no features");
}

bool ts_window_gather(strokes_window *w, const int32_t *pixel, int count, float *out, int stride, ts_error *err)
{
    if (!w->gather.g && !plan_gather(w, err)) return false;
    float *rows = malloc((size_t)GATHERED * TS_STROKES_BANK * sizeof *rows);
    bool ok = rows;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int first = 0; ok && first < count; first += GATHERED) {
        int32_t index[GATHERED];
        const int part = count - first < GATHERED ? count - first : GATHERED;
        for (int i = 0; i < GATHERED; i++) index[i] = i < part ? pixel[first + i] : -1;
        ok = ts_write(w->gather.e, w->gather.in, index, err) && ts_run(w->gather.e, err) &&
             ts_read(w->gather.e, w->gather.out, rows, err);
        for (int i = 0; ok && i < part; i++)
            memcpy(out + (int64_t)(first + i) * stride, rows + (int64_t)i * TS_STROKES_BANK, TS_STROKES_BANK * sizeof *rows);
    }
    free(rows);
    return ok;
}

/* ---- classes ---- */

static bool zeros(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err)
{
    (void)ctx, (void)name, (void)ndim, (void)shape, (void)out, (void)err; /* `out` comes zeroed */
    return true;
}

static ts_tensor *layer(ts_graph *g, ts_params *ps, const char *name, ts_tensor *x, int64_t in, int64_t out)
{
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    ts_tensor *w = ts_param(g, ps, weight, TS_LAYOUT_LINEAR, 2, (int64_t[]){out, in});
    return ts_linear(g, x, w, ts_param(g, ps, bias, TS_LAYOUT_PLAIN, 1, &out));
}

static bool plan_classify(strokes_window *w, const strokes_head *h, bool extra, ts_error *err)
{
    plan *p = &w->classify;
    plan_free(p);
    ts_params_free(w->weights);
    w->classes = 0;
    w->weights = ts_params_new_trainable(w->dev, NULL, "", zeros, NULL, err);
    if (!w->weights || !(p->g = ts_graph_new())) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    const int64_t units = ts_head_units(h);
    ts_tensor *x = layer(p->g, w->weights, "first", kept_of(w, p->g), TS_STROKES_BANK, units); // (N, units)
    if (extra) p->in = ts_input(p->g, "extra", TS_REAL, 2, (int64_t[]){w->pixels, units});
    if (extra) x = ts_add(p->g, x, p->in);
    if (h->hidden) x = layer(p->g, w->weights, "second", ts_tanh(p->g, x), h->hidden, h->classes);
    p->out = ts_output(p->g, ts_softmax(p->g, x)); // (N, C)
    if (!plan_end(p, w->dev, err)) return false;
    w->classes = h->classes;
    w->hidden = h->hidden;
    w->extra = extra;
    return true;
}

static bool set_weights(strokes_window *w, const strokes_head *h, ts_error *err)
{
    const float *bias, *first = ts_head_first(h, &bias);
    const int units = ts_head_units(h);
    float *columns = malloc((size_t)units * TS_STROKES_BANK * sizeof *columns);
    if (!columns) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int u = 0; u < units; u++) /* without those that take a transformer's numbers */
        memcpy(columns + (int64_t)u * TS_STROKES_BANK, first + (int64_t)u * h->features, TS_STROKES_BANK * sizeof *columns);
    bool ok = true;
    for (int64_t i = 0; ok && i < ts_params_count(w->weights); i++) {
        const char *name = ts_params_name(w->weights, i);
        const float *from = strcmp(name, "first.weight") == 0    ? columns
                            : strcmp(name, "first.bias") == 0    ? bias
                            : strcmp(name, "second.weight") == 0 ? h->output_weight
                                                                 : h->output_bias;
        ok = ts_params_write(w->weights, i, from, err);
    }
    free(columns);
    return ok;
}

bool ts_window_classify(strokes_window *w, const strokes_head *h, const float *extra, float *out, ts_error *err)
{
    plan *p = &w->classify;
    const bool planned = w->classes == h->classes && w->hidden == h->hidden && w->extra == (extra != NULL);
    if ((!planned && !plan_classify(w, h, extra != NULL, err)) || !set_weights(w, h, err)) return false;
    return (!extra || ts_write(p->e, p->in, extra, err)) && ts_run(p->e, err) && ts_read(p->e, p->out, out, err);
}
