/* vulkan.h - what the ops see of the Vulkan backend: recording dispatches. No type of Vulkan's own appears, so an op file
 * compiles in a build without Vulkan too.
 *
 * Buffers are reached by address: a dispatch gets pointers in its push constants (at most 128 bytes), there are no descriptor
 * sets. The recorder puts a barrier before a node where its inputs or outputs overlap what was written or read since the last
 * barrier; between the dispatches of one node the op asks for it. */
#ifndef TESSERA_VULKAN_H
#define TESSERA_VULKAN_H

#include "engine/internal.h"

struct ts_vk_limits {
    bool cpu;                /* a driver that runs on the CPU: register-blocked kernels, no shared memory */
    bool fp16;               /* storage is fp16: the _f16 variants of the shaders are used */
    bool cooperative_matrix; /* KHR cooperative matrices, fp16 in, fp32 accumulation, 16x16x16 */
    uint32_t subgroup;       /* lanes of a subgroup, as the kernels get it */
    uint32_t max_workgroup;  /* invocations of a workgroup */
    uint32_t max_shared;     /* bytes of shared memory */
    uint32_t max_groups[3];  /* workgroups of a dispatch in x, y, z */
    uint32_t panel;          /* columns of a panel in which weights are kept (ts_pack); 0: in whole rows */
};

enum { TS_VK_MAX_SPEC = 12 };

typedef struct {
    const char *shader; /* "layernorm": shaders/layernorm.comp; the storage variant is chosen by the backend */
    bool wide;          /* the fp32 variant, whatever the device stores */
    uint32_t
        spec[TS_VK_MAX_SPEC]; /* values of constant_id 0, 1, ...; 0 is the workgroup's width (local_size_x_id) by convention */
    int spec_count;
    uint32_t groups[3]; /* zero counts as 1 */
    const void *push;
    uint32_t push_bytes;
    double flops; /* a guess of the work, to keep submissions short; 0: negligible */
} ts_vk_dispatch_desc;

/* The pipeline is made on first use (and kept in the on-disk cache). */
bool ts_vk_dispatch(ts_vk_cmd *cmd, const ts_vk_dispatch_desc *desc, ts_error *err);
/* Between dispatches of one node, where the second reads what the first wrote. */
void ts_vk_barrier(ts_vk_cmd *cmd);
uint64_t ts_vk_address(const ts_vk_cmd *cmd, const ts_tensor *t); /* 0 for NULL */
const ts_vk_limits *ts_vk_limits_of(const ts_vk_cmd *cmd);
/* For shaders that include rows.glsl: fills spec 0 and 1 and the groups so that each of `rows` rows has a workgroup. Further
 * specialisation constants follow from id 2 (set spec_count after). */
void ts_vk_rows(const ts_vk_cmd *cmd, int64_t rows, ts_vk_dispatch_desc *desc);
/* For elementwise shaders (elementwise.glsl conventions): fills spec 0 and the groups so that `count` invocations exist, in x and
 * y. */
void ts_vk_items(const ts_vk_cmd *cmd, int64_t count, ts_vk_dispatch_desc *desc);

/* Matrix product and convolution, the one family that matters for speed (engine/vulkan/matmul.c).
 *     out (m, n) = act(A (m, k) B (k, n) + bias (n)) + residual (m, n)
 * B is as parameters are kept on Vulkan: TS_LAYOUT_LINEAR (in, out), TS_LAYOUT_CONV (kh, kw, in, out), in panels where the limits
 * say so; or, with `plain_b`, always plain rows. A is plain rows, or with `conv` the places of an NHWC image: row = (image, y,
 * x), column = (kh, kw, channel), zero outside. */
typedef struct {
    uint64_t a, b, out;
    uint64_t bias, residual; /* 0: absent */
    int64_t m, n, k;
    ts_act act;
    bool plain_b;
    bool conv;
    int32_t height, width, channels, out_height, out_width, kernel_h, kernel_w, stride, top, left;
} ts_vk_matmul;
bool ts_vk_matmul_record(ts_vk_cmd *cmd, const ts_vk_matmul *p, ts_error *err);

/* The gradients of products, for the nodes that ts_product_grad makes (engine/vulkan/matmul_grad.c). */
bool ts_vk_product_dx(const ts_node *n, ts_vk_cmd *cmd, ts_error *err);
bool ts_vk_product_dw(const ts_node *n, ts_vk_cmd *cmd, ts_error *err);
uint64_t ts_vk_product_dx_scratch(const ts_node *n, const ts_vk_limits *limits);
uint64_t ts_vk_product_dw_scratch(const ts_node *n, const ts_vk_limits *limits);

#endif
