/* narrow.c - y = x in place, x being kept in fp32: the weights that a graph in fp16 computes with, from those that are trained.
 */
#include "engine/internal.h"
#include "engine/real.h"
#include "engine/vulkan/vulkan.h"

#include <string.h>

enum { NARROW_Y, NARROW_X };

TS_HOST_KERNEL(narrow);
bool REAL(ts_host_narrow)(const ts_node *n, ts_host *h, ts_error *err)
{
    (void)err;
    memcpy(ts_host_ptr(h, n->in[NARROW_Y]), ts_host_ptr(h, n->in[NARROW_X]), (size_t)ts_count(n->in[NARROW_X]) * sizeof(real));
    return true;
}

#ifndef TS_YARDSTICK
static bool narrow_vulkan(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    const struct {
        uint64_t x, y;
        uint32_t count;
    } push = {ts_vk_address(cmd, n->in[NARROW_X]), ts_vk_address(cmd, n->in[NARROW_Y]), (uint32_t)ts_count(n->in[NARROW_X])};
    ts_vk_dispatch_desc desc = {
        .shader = "narrow", .wide = ts_is_wide(n->in[NARROW_Y]), .push = &push, .push_bytes = sizeof push};
    ts_vk_items(cmd, push.count, &desc);
    return ts_vk_dispatch(cmd, &desc, err);
}

static const ts_op narrow_op = {.name = "narrow",
                                .writes = 1 << NARROW_Y,
                                .wide = 1 << NARROW_Y | 1 << NARROW_X,
                                .host = ts_host_narrow_f32,
                                .host_f64 = ts_host_narrow_f64,
                                .vulkan = narrow_vulkan};

bool ts_narrow(ts_graph *g, ts_tensor *y, ts_tensor *x)
{
    if (!x || !ts_in_place(g, "narrow", y)) return false;
    if (!ts_is_wide(x) || !ts_same_shape(x, y) || x->layout != y->layout) {
        ts_graph_fail(g, TS_ERR_SHAPE, "narrow", "%s %s cannot be put into %s %s", x->name, ts_shape_text(x).s, y->name,
                      ts_shape_text(y).s);
        return false;
    }
    return ts_node_new(g, &narrow_op, 2, (ts_tensor *[]){y, x}, NULL, 0) != NULL;
}
#endif
