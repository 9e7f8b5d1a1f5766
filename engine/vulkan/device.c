/* device.c - opening a Vulkan device. Three environment variables let tests reach on one machine what another would take:
 * TESSERA_VK_CLASS=gpu|cpu picks the kernels' class, TESSERA_VK_MEMORY=staging copies through staging buffers, and
 * TESSERA_VK_SUBMIT_MS sets how long a submission may run (100); facts.c has more of them. */
#include "engine/number.h"
#include "engine/vulkan/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t largest_block = UINT64_C(1) << 30; /* drivers fail above, or fragment */

static bool make_device(ts_vk *vk, const ts_vk_facts *f, bool fp16, ts_error *err)
{
    VkPhysicalDeviceSubgroupSizeControlFeatures control = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, .subgroupSizeControl = VK_TRUE};
    VkPhysicalDeviceVulkan12Features f12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = f->subgroup_size ? &control : NULL,
                                            .bufferDeviceAddress = VK_TRUE,
                                            .scalarBlockLayout = VK_TRUE,
                                            .subgroupBroadcastDynamicId = f->f12.subgroupBroadcastDynamicId,
                                            .shaderFloat16 = fp16};
    VkPhysicalDeviceVulkan11Features f11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &f12, .storageBuffer16BitAccess = fp16};
    VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f11, .features.shaderInt64 = vk->limits.cpu};
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = f->family,
                                           .queueCount = 1,
                                           .pQueuePriorities = (float[]){1}};
    const char *extensions[2];
    uint32_t count = 0;
    if (f->subgroup_size && f->subgroup_extension) extensions[count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (f->portability) extensions[count++] = "VK_KHR_portability_subset"; /* whose drivers want it asked for */
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &features,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = count,
                                     .ppEnabledExtensionNames = extensions};
    const ts_vk_instance_api *in = &vk->instance.api;
    VkResult result = in->CreateDevice(vk->physical, &info, NULL, &vk->device);
    if (result != VK_SUCCESS) vk->device = NULL;
    if (!ts_vk_ok(result, "opening the Vulkan device", err)) return false;
    bool complete = true;
#define LOAD(name)                                                                                                               \
    vk->api.name = (PFN_vk##name)in->GetDeviceProcAddr(vk->device, "vk" #name);                                                  \
    complete = complete && vk->api.name;
    TS_VK_DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    if (!complete) return ts_fail(err, TS_ERR_DEVICE, "the driver lacks functions of Vulkan 1.2");
    vk->api.GetDeviceQueue(vk->device, f->family, 0, &vk->queue);
    return true;
}

/* What the command buffers of transfers need. */
static bool make_transfer(ts_vk *vk, ts_error *err)
{
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                          .queueFamilyIndex = vk->family};
    if (!ts_vk_ok(vk->api.CreateCommandPool(vk->device, &pool, NULL, &vk->pool), "making a command pool", err)) return false;
    const VkCommandBufferAllocateInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                .commandPool = vk->pool,
                                                .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                .commandBufferCount = 1};
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    return ts_vk_ok(vk->api.AllocateCommandBuffers(vk->device, &buffer, &vk->transfer), "making a command buffer", err) &&
           ts_vk_ok(vk->api.CreateFence(vk->device, &fence, NULL, &vk->fence), "making a fence", err);
}

/* Takes the overrides of the environment; a value that means nothing is an error. */
static bool overrides(ts_vk *vk, const ts_vk_facts *f, ts_error *err)
{
    const char *class = getenv("TESSERA_VK_CLASS"), *memory = getenv("TESSERA_VK_MEMORY"), *ms = getenv("TESSERA_VK_SUBMIT_MS");
    if (class && *class) {
        vk->limits.cpu = strcmp(class, "cpu") == 0;
        if (!vk->limits.cpu && strcmp(class, "gpu") != 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "TESSERA_VK_CLASS is %s; it can be gpu or cpu", class);
        if (vk->limits.cpu && !f->features.shaderInt64)
            return ts_fail(err, TS_ERR_UNSUPPORTED, "%s lacks 64-bit integers in shaders, which the kernels for CPU drivers need",
                           f->base.deviceName);
    }
    if (memory && *memory) {
        vk->staging_only = true;
        if (strcmp(memory, "staging") != 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "TESSERA_VK_MEMORY is %s; it can be staging", memory);
    }
    if (ms && *ms) {
        if (!ts_real_read(ms, &vk->submit_ms) || !(vk->submit_ms > 0))
            return ts_fail(err, TS_ERR_ARGUMENT, "TESSERA_VK_SUBMIT_MS is %s; it must be milliseconds above zero", ms);
    }
    return true;
}

static bool fill_limits(ts_vk *vk, const ts_vk_facts *f, bool fp16, ts_error *err)
{
    const VkPhysicalDeviceLimits *l = &f->base.limits;
    /* The kernels for CPU drivers count in 64-bit integers; those for GPUs do without, which many small GPUs must. */
    vk->limits = (ts_vk_limits){.cpu = f->base.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU && f->features.shaderInt64,
                                .fp16 = fp16,
                                .subgroup = f->p11.subgroupSize,
                                .max_workgroup = l->maxComputeWorkGroupInvocations < l->maxComputeWorkGroupSize[0]
                                                     ? l->maxComputeWorkGroupInvocations
                                                     : l->maxComputeWorkGroupSize[0],
                                .max_shared = l->maxComputeSharedMemorySize};
    for (int i = 0; i < 3; i++) vk->limits.max_groups[i] = l->maxComputeWorkGroupCount[i];
    if (f->subgroup_size && f->subgroup.minSubgroupSize < f->subgroup.maxSubgroupSize)
        vk->required_subgroup = f->p11.subgroupSize;
    switch (f->base.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        vk->guess_gflops = 20;
        break;
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        vk->guess_gflops = 1500;
        break;
    default:
        vk->guess_gflops = 150;
        break;
    }
    vk->submit_ms = 100;
    if (!overrides(vk, f, err)) return false;
    /* The CPU kernel of the products reads a weight in panels as wide as its tile (matmul.c). */
    vk->limits.panel = vk->limits.cpu ? 8 * vk->limits.subgroup : 0;
    return true;
}

static void device_free(ts_device *dev)
{
    ts_vk *vk = dev->impl;
    if (vk->device && vk->api.DestroyDevice) {
        if (vk->api.DeviceWaitIdle) vk->api.DeviceWaitIdle(vk->device);
        ts_vk_pipelines_close(vk);
        ts_vk_buffer_clear(vk, &vk->staging);
        if (vk->fence) vk->api.DestroyFence(vk->device, vk->fence, NULL);
        if (vk->pool) vk->api.DestroyCommandPool(vk->device, vk->pool, NULL);
        vk->api.DestroyDevice(vk->device, NULL);
    }
    ts_vk_instance_close(&vk->instance);
    free(vk);
}

static int validation(const ts_device *dev, const char **first)
{
    const ts_vk *vk = dev->impl;
    if (first) *first = vk->instance.messages > 0 ? vk->instance.first : NULL;
    return vk->instance.messages;
}

static const ts_backend backend = {
    .params_new = ts_vk_params_new,
    .params_free = ts_vk_params_free,
    .param_load = ts_vk_param_load,
    .param_write = ts_vk_param_write,
    .param_read = ts_vk_param_read,
    .exec_new = ts_vk_exec_new,
    .exec_free = ts_vk_exec_free,
    .run = ts_vk_run,
    .write = ts_vk_write,
    .read = ts_vk_read,
    .device_free = device_free,
    .validation = validation,
};

/* Checks what `desc` asks against what the device is, and opens it. */
static bool open_physical(ts_vk *vk, ts_device *dev, const ts_device_desc *desc, VkPhysicalDevice physical, int index,
                          ts_error *err)
{
    ts_vk_facts f;
    if (!ts_vk_facts_gather(&vk->instance, physical, &f, err)) return false;
    ts_vk_describe(&f, index, &dev->info);
    if (!dev->info.usable)
        return ts_fail(err, TS_ERR_DEVICE, "vulkan:%d (%s) cannot be used: %s", index, dev->info.name, dev->info.why);
    bool fp16 = desc->precision == TS_F16;
    if (fp16 && !(dev->info.fp16_storage && dev->info.fp16_arithmetic))
        return ts_fail(err, TS_ERR_UNSUPPORTED, "vulkan:%d (%s) has no fp16 %s; use --precision fp32", index, dev->info.name,
                       dev->info.fp16_storage ? "arithmetic" : "storage");
    if (desc->profile && f.timestamp_bits == 0)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "vulkan:%d (%s) has no timestamps, so it cannot be profiled", index,
                       dev->info.name);
    vk->physical = physical;
    vk->family = f.family;
    vk->timestamp_bits = f.timestamp_bits;
    vk->properties = f.base;
    vk->memory = f.memory;
    vk->largest_alloc = ts_vk_largest_alloc(&f);
    if (!fill_limits(vk, &f, fp16, err) || !make_device(vk, &f, fp16, err) || !make_transfer(vk, err)) return false;
    dev->precision = desc->precision;
    dev->real_bytes = fp16 ? 2 : 4;
    dev->block_bytes = vk->largest_alloc < largest_block ? vk->largest_alloc : largest_block;
    dev->align = TS_VK_BLOCK_ALIGN;
    dev->profile = desc->profile;
    dev->limits = &vk->limits;
    dev->pack_panel = vk->limits.panel ? vk->limits.panel : TS_PACK_ROWS;
    return ts_vk_pipelines_open(vk, err);
}

ts_device *ts_vk_device_open(const ts_device_desc *desc, int index, ts_error *err)
{
    if (desc->precision == TS_F64) {
        ts_fail(err, TS_ERR_UNSUPPORTED, "double precision is the host's alone; Vulkan computes in fp32 and fp16");
        return NULL;
    }
    ts_device *dev = calloc(1, sizeof *dev);
    ts_vk *vk = calloc(1, sizeof *vk);
    if (!dev || !vk) {
        free(dev);
        free(vk);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    dev->backend = &backend;
    dev->impl = vk;
    dev->threads = desc->threads > 0 ? desc->threads : ts_core_count();
    vk->dev = dev;
    bool absent;
    VkPhysicalDevice *physical = NULL;
    bool ok = ts_vk_instance_open(&vk->instance, desc->validate, &absent, err);
    if (ok) {
        int count = ts_vk_physical_devices(&vk->instance, &physical, err);
        ok = index < count && open_physical(vk, dev, desc, physical[index], index, err);
    }
    free(physical);
    if (ok) return dev;
    ts_fail(err, TS_ERR_DEVICE, "vulkan:%d is gone", index);
    device_free(dev);
    free(dev);
    return NULL;
}
