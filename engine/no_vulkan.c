/* no_vulkan.c - for a build without the Vulkan backend: what the ops' dispatches call. No device of that kind can be opened then,
 * so none of it runs; it is here so that an op stays one file without conditions in it. */
#ifndef TESSERA_VULKAN
#include "engine/vulkan/vulkan.h"

bool ts_vk_dispatch(ts_vk_cmd *cmd, const ts_vk_dispatch_desc *desc, ts_error *err)
{
    (void)cmd;
    return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: this build has no Vulkan backend", desc->shader);
}

bool ts_vk_matmul_record(ts_vk_cmd *cmd, const ts_vk_matmul *p, ts_error *err)
{
    (void)cmd;
    (void)p;
    return ts_fail(err, TS_ERR_UNSUPPORTED, "matmul: this build has no Vulkan backend");
}

bool ts_vk_product_dx(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    (void)cmd;
    return ts_fail(err, TS_ERR_UNSUPPORTED, "%s: this build has no Vulkan backend", n->op->name);
}

bool ts_vk_product_dw(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    return ts_vk_product_dx(n, cmd, err);
}

uint64_t ts_vk_product_dx_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    (void)n;
    (void)limits;
    return 0;
}

uint64_t ts_vk_product_dw_scratch(const ts_node *n, const ts_vk_limits *limits)
{
    return ts_vk_product_dx_scratch(n, limits);
}

void ts_vk_barrier(ts_vk_cmd *cmd)
{
    (void)cmd;
}

uint64_t ts_vk_address(const ts_vk_cmd *cmd, const ts_tensor *t)
{
    (void)cmd;
    (void)t;
    return 0;
}

const ts_vk_limits *ts_vk_limits_of(const ts_vk_cmd *cmd)
{
    static const ts_vk_limits none;
    (void)cmd;
    return &none;
}

void ts_vk_rows(const ts_vk_cmd *cmd, int64_t rows, ts_vk_dispatch_desc *desc)
{
    (void)cmd;
    (void)rows;
    (void)desc;
}

void ts_vk_items(const ts_vk_cmd *cmd, int64_t count, ts_vk_dispatch_desc *desc)
{
    (void)cmd;
    (void)count;
    (void)desc;
}
#endif
