/* clip.c - the factor that brings the norm of all gradients together down to a bound. The squares of six tensors at a time are
 * summed by one node, the sums of six such nodes by the next, so that any number of gradients is added in a fixed order. */
#include "engine/op/reduce.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <float.h>
#include <stdlib.h>

/* ---- host ---- */

TS_HOST_KERNEL(clip);
bool REAL(ts_host_clip)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const float *most = n->attr;
    const real *unscale = ts_host_ptr(h, n->in[1]), factor = unscale ? *unscale : 1;
    const real norm = real_sqrt(*(const real *)ts_host_ptr(h, n->in[0])) * factor;
    real scale = *most > 0 ? (real)*most / (norm + (real)1e-6) : 1;
    if (scale > 1) scale = 1; /* NaN stays */
    if (unscale && !(norm <= (real)FLT_MAX)) scale = 0;
    *(real *)ts_host_ptr(h, n->out[0]) = scale * factor;
    *(real *)ts_host_ptr(h, n->out[1]) = norm;
    return true;
}

#ifndef TS_YARDSTICK
static bool clip_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const float *most = n->attr;
    const struct {
        uint64_t sum, unscale, scale, norm;
        float most;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]),
              ts_vk_address(cmd, n->out[1]), *most};
    return ts_vk_dispatch(cmd,
                          &(ts_vk_dispatch_desc){.shader = "clip",
                                                 .wide = true,
                                                 .spec = {1, n->in[1] != NULL},
                                                 .spec_count = 2,
                                                 .push = &push,
                                                 .push_bytes = sizeof push},
                          err);
}

static const ts_op clip_op = {
    .name = "clip", .wide = 3, .host = ts_host_clip_f32, .host_f64 = ts_host_clip_f64, .vulkan = clip_vulkan};

/* The sum of the squares of all, (1). `list` is overwritten. */
static ts_tensor *sum_squares(ts_graph *g, int count, ts_tensor **list)
{
    bool square = true;
    do {
        int sums = 0;
        for (int i = 0; i < count; i += TS_MAX_IN) {
            const int part = count - i < TS_MAX_IN ? count - i : TS_MAX_IN;
            list[sums++] = ts_sum_several(g, part, list + i, square);
        }
        count = sums;
        square = false;
    } while (count > 1);
    return list[0];
}

ts_tensor *ts_clip_scale(ts_graph *g, int count, ts_tensor *const *grads, float max_norm, ts_tensor **norm)
{
    return ts_unscale(g, count, grads, max_norm, NULL, norm);
}

ts_tensor *ts_unscale(ts_graph *g, int count, ts_tensor *const *grads, float max_norm, ts_tensor *unscale, ts_tensor **norm)
{
    if (norm) *norm = NULL;
    if (!g || count < 1) return ts_graph_fail(g, TS_ERR_ARGUMENT, "clip_scale", "no gradients are given");
    ts_tensor **list = malloc((size_t)count * sizeof(ts_tensor *));
    if (!list) return ts_graph_fail(g, TS_ERR_MEMORY, "clip_scale", "out of memory");
    int present = 0; /* a parameter that the loss does not depend on has no gradient */
    for (int i = 0; i < count; i++)
        if (grads[i]) list[present++] = grads[i];
    ts_tensor *sum = present > 0 ? sum_squares(g, present, list) : NULL;
    free(list);
    if (!sum) return ts_graph_fail(g, TS_ERR_ARGUMENT, "clip_scale", "no gradients are given");
    ts_node *n = ts_node_new(g, &clip_op, 2, (ts_tensor *[]){sum, unscale}, &max_norm, sizeof max_norm);
    ts_tensor *scale = ts_node_output(n, TS_REAL, 1, (int64_t[]){1}), *length = ts_node_output(n, TS_REAL, 1, (int64_t[]){1});
    if (length) scale->state->wide = length->state->wide = true;
    if (norm) *norm = length;
    return length ? scale : NULL;
}
#endif
