/* lpips.c - how unlike an answer and its target look, by LPIPS: one graph for each size of pictures that is met. */
#include <stdlib.h>

#include "cli/eval/eval.h"
#include "vqgan/vqgan.h"

enum { LEAST = 16 };

struct eval_lpips {
    ts_device *dev;
    ts_weights *file, *vgg_file;
    ts_lpips *lpips;
    ts_graph *graph;
    ts_exec *exec;
    ts_tensor *in[2], *distance;
    int width, height; /* of the graph's pictures */
    float *pixels;
};

bool eval_lpips_check(const char *file, const char *vgg, ts_error *err)
{
    return (!file || ts_check_model(file, "LPIPS", TS_KIND_LPIPS, err)) &&
           (!vgg || ts_check_model(vgg, "VGG-16", TS_KIND_VGG, err));
}

eval_lpips *eval_lpips_open(ts_device *dev, const char *file, const char *vgg, bool quiet, ts_error *err)
{
    eval_lpips *l = calloc(1, sizeof *l);
    if (!l) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    l->dev = dev;
    l->file = ts_open_weights(file, quiet, err);
    const bool ok = l->file && (!vgg || (l->vgg_file = ts_open_weights(vgg, quiet, err)));
    if (ok) l->lpips = ts_lpips_new(dev, l->file, l->vgg_file, err);
    if (l->lpips) return l;
    eval_lpips_free(l);
    return NULL;
}

static void forget(eval_lpips *l)
{
    ts_exec_free(l->exec);
    ts_graph_free(l->graph);
    free(l->pixels);
    l->exec = NULL;
    l->graph = NULL;
    l->pixels = NULL;
    l->width = l->height = 0;
}

static bool plan(eval_lpips *l, int width, int height, ts_error *err)
{
    const int64_t shape[] = {1, height, width, 3};
    forget(l);
    l->graph = ts_graph_new();
    if (!l->graph) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    l->in[0] = ts_input(l->graph, "truth", TS_REAL, 4, shape);
    l->in[1] = ts_input(l->graph, "answer", TS_REAL, 4, shape);
    l->distance = ts_output(l->graph, ts_lpips_distance(l->graph, l->lpips, l->in[0], l->in[1]));
    if (!ts_lpips_check(l->lpips, err) || !(l->exec = ts_exec_new(l->graph, l->dev, err))) return false;
    l->pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *l->pixels);
    if (!l->pixels) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    l->width = width;
    l->height = height;
    return true;
}

bool eval_lpips_measure(eval_lpips *l, const ts_image *truth, const ts_image *answer, double *out, ts_error *err)
{
    const ts_image *const pictures[2] = {truth, answer};
    if (truth->width < LEAST || truth->height < LEAST) return true; /* VGG halves a picture four times */
    if ((truth->width != l->width || truth->height != l->height) && !plan(l, truth->width, truth->height, err)) return false;
    const size_t values = (size_t)l->width * (size_t)l->height * 3;
    for (int p = 0; p < 2; p++) {
        for (size_t i = 0; i < values; i++) l->pixels[i] = (float)pictures[p]->data[i] / 127.5f - 1;
        if (!ts_write(l->exec, l->in[p], l->pixels, err)) return false;
    }
    float distance;
    if (!ts_run(l->exec, err) || !ts_read(l->exec, l->distance, &distance, err)) return false;
    *out = distance;
    return true;
}

void eval_lpips_free(eval_lpips *l)
{
    if (!l) return;
    forget(l);
    ts_lpips_free(l->lpips);
    ts_weights_free(l->vgg_file);
    ts_weights_free(l->file);
    free(l);
}
