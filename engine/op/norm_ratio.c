/* norm_ratio.c - min(|a| / (|b| + eps), most): how much heavier the gradient a is than b, as the adaptive weight of a VQGAN's
 * adversarial loss asks (Esser et al. 2021, arXiv 2012.09841, eq. 7). The squares are summed in fp32, whatever the device stores.
 * NaN where |b| is not finite: a weight of zero would hide that. */
#include "engine/op/reduce.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <float.h>
#include <math.h>

typedef struct {
    float eps, most;
} norm_ratio_attr;

/* ---- host ---- */

TS_HOST_KERNEL(norm_ratio);
bool REAL(ts_host_norm_ratio)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    const norm_ratio_attr *attr = n->attr;
    const real *a = ts_host_ptr(h, n->in[0]), *b = ts_host_ptr(h, n->in[1]);
    const real ratio = real_sqrt(*a) / (real_sqrt(*b) + (real)attr->eps), most = (real)attr->most;
    const real bound = ratio > most ? most : ratio; /* NaN stays */
    *(real *)ts_host_ptr(h, n->out[0]) = *b <= (real)FLT_MAX ? bound : (real)NAN;
    return true;
}

#ifndef TS_YARDSTICK
static bool norm_ratio_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const norm_ratio_attr *attr = n->attr;
    const struct {
        uint64_t a, b, ratio;
        float eps, most;
    } push = {ts_vk_address(cmd, n->in[0]), ts_vk_address(cmd, n->in[1]), ts_vk_address(cmd, n->out[0]), attr->eps, attr->most};
    return ts_vk_dispatch(
        cmd,
        &(ts_vk_dispatch_desc){.shader = "norm_ratio", .spec = {1}, .spec_count = 1, .push = &push, .push_bytes = sizeof push},
        err);
}

static const ts_op norm_ratio_op = {.name = "norm_ratio",
                                    .wide = 3,
                                    .host = ts_host_norm_ratio_f32,
                                    .host_f64 = ts_host_norm_ratio_f64,
                                    .vulkan = norm_ratio_vulkan};

ts_tensor *ts_norm_ratio(ts_graph *g, ts_tensor *a, ts_tensor *b, float eps, float most)
{
    ts_tensor *squares[] = {ts_sum_several(g, 1, &a, true), ts_sum_several(g, 1, &b, true)};
    if (!squares[0] || !squares[1]) return NULL;
    ts_node *n = ts_node_new(g, &norm_ratio_op, 2, squares, &(norm_ratio_attr){eps, most}, sizeof(norm_ratio_attr));
    return ts_node_output(n, TS_REAL, 1, (int64_t[]){1});
}
#endif
