/* device.c - what each Vulkan device can do, and opening one. A feature is asked for and used only where present; the required
 * ones are few: Vulkan 1.2, buffers by address, scalar block layout, 64-bit integers for addresses, and subgroup arithmetic.
 * Three environment variables let tests reach on one machine what another would take: TESSERA_VK_CLASS=gpu|cpu picks the kernels'
 * class, TESSERA_VK_MEMORY=staging copies through staging buffers, and TESSERA_VK_SUBMIT_MS sets how long a submission may run
 * (100). */
#include "engine/number.h"
#include "engine/vulkan/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t largest_block = UINT64_C(1) << 30; /* drivers fail above, or fragment */
static const uint64_t block_align = 256;

/* All that is asked of a physical device. */
typedef struct {
    VkPhysicalDeviceProperties base;
    VkPhysicalDeviceVulkan11Properties p11;
    VkPhysicalDeviceVulkan12Properties p12;
    VkPhysicalDeviceMaintenance4Properties sizes;
    VkPhysicalDeviceSubgroupSizeControlProperties subgroup;
    VkPhysicalDeviceFeatures features;
    VkPhysicalDeviceVulkan11Features f11;
    VkPhysicalDeviceVulkan12Features f12;
    bool modern;             /* 1.2 or newer: the structures above are filled */
    bool subgroup_size;      /* the size of subgroups can be asked for */
    bool subgroup_extension; /* by an extension, not by 1.3 */
    bool cooperative_matrix; /* VK_KHR_cooperative_matrix */
    bool queue;              /* there is one for compute */
    uint32_t family, timestamp_bits;
    VkPhysicalDeviceMemoryProperties memory;
} facts;

static bool has_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0) return true;
    return false;
}

/* A queue for compute alone, where there is one: it does not wait for the desktop's pictures. */
static void find_queue(const ts_vk_instance *in, VkPhysicalDevice physical, facts *f)
{
    VkQueueFamilyProperties list[32];
    uint32_t count = sizeof list / sizeof *list;
    in->api.GetPhysicalDeviceQueueFamilyProperties(physical, &count, list);
    for (uint32_t i = 0; i < count; i++) {
        if (!(list[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || list[i].queueCount == 0) continue;
        bool alone = !(list[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) && list[i].timestampValidBits > 0;
        if (f->queue && !alone) continue;
        f->queue = true;
        f->family = i;
        f->timestamp_bits = list[i].timestampValidBits;
        if (alone) break;
    }
}

static bool gather(const ts_vk_instance *in, VkPhysicalDevice physical, facts *f, ts_error *err)
{
    *f = (facts){0};
    in->api.GetPhysicalDeviceProperties(physical, &f->base);
    in->api.GetPhysicalDeviceMemoryProperties(physical, &f->memory);
    f->modern = f->base.apiVersion >= VK_API_VERSION_1_2;
    if (!f->modern) return true;
    find_queue(in, physical, f);

    uint32_t count = 0;
    in->api.EnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc((size_t)count + 1, sizeof *extensions);
    if (!extensions) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    in->api.EnumerateDeviceExtensionProperties(physical, NULL, &count, extensions);
    bool newest = f->base.apiVersion >= VK_API_VERSION_1_3;
    bool sizes = newest || has_extension(extensions, count, VK_KHR_MAINTENANCE_4_EXTENSION_NAME);
    f->subgroup_extension = !newest && has_extension(extensions, count, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    f->cooperative_matrix = has_extension(extensions, count, "VK_KHR_cooperative_matrix");
    free(extensions);

    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &f->p11};
    f->p11 =
        (VkPhysicalDeviceVulkan11Properties){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &f->p12};
    f->p12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES;
    f->sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES;
    f->subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
    void **next = &f->p12.pNext;
    if (sizes) {
        *next = &f->sizes;
        next = &f->sizes.pNext;
    }
    if (newest || f->subgroup_extension) *next = &f->subgroup;
    in->api.GetPhysicalDeviceProperties2(physical, &properties);

    VkPhysicalDeviceSubgroupSizeControlFeatures control = {.sType =
                                                               VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f->f11};
    f->f11 = (VkPhysicalDeviceVulkan11Features){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &f->f12};
    f->f12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    if (newest || f->subgroup_extension) f->f12.pNext = &control;
    in->api.GetPhysicalDeviceFeatures2(physical, &features);
    f->features = features.features;
    f->subgroup_size = control.subgroupSizeControl && (f->subgroup.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    return true;
}

/* The first required feature that is absent, or NULL. */
static const char *lacking(const facts *f)
{
    if (!f->modern) return "its driver is older than Vulkan 1.2";
    if (!f->queue) return "it has no compute queue";
    if (!f->f12.bufferDeviceAddress) return "it lacks bufferDeviceAddress";
    if (!f->f12.scalarBlockLayout) return "it lacks scalarBlockLayout";
    if (!f->features.shaderInt64) return "it lacks 64-bit integers in shaders";
    const VkSubgroupFeatureFlags wanted = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                          VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if (!(f->p11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) ||
        (f->p11.subgroupSupportedOperations & wanted) != wanted)
        return "it lacks subgroup arithmetic, ballot or shuffle in compute shaders";
    return NULL;
}

static uint64_t largest_alloc(const facts *f)
{
    uint64_t most = f->p11.maxMemoryAllocationSize;
    if (f->sizes.maxBufferSize > 0 && f->sizes.maxBufferSize < most) most = f->sizes.maxBufferSize;
    return most / block_align * block_align;
}

static const char *type_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "cpu";
    default:
        return "virtual";
    }
}

static void describe(const facts *f, int index, ts_device_info *info)
{
    *info = (ts_device_info){.kind = TS_DEVICE_VULKAN, .index = index};
    snprintf(info->name, sizeof info->name, "%s", f->base.deviceName);
    snprintf(info->type, sizeof info->type, "%s", type_name(f->base.deviceType));
    snprintf(info->api, sizeof info->api, "%u.%u.%u", VK_API_VERSION_MAJOR(f->base.apiVersion),
             VK_API_VERSION_MINOR(f->base.apiVersion), VK_API_VERSION_PATCH(f->base.apiVersion));
    for (uint32_t i = 0; i < f->memory.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &f->memory.memoryHeaps[i];
        if ((heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && heap->size > info->memory_bytes) info->memory_bytes = heap->size;
    }
    info->shared_bytes = f->base.limits.maxComputeSharedMemorySize;
    if (f->modern) {
        snprintf(info->driver, sizeof info->driver, "%.100s %.100s", f->p12.driverName, f->p12.driverInfo);
        info->max_alloc_bytes = largest_alloc(f);
        info->subgroup = f->p11.subgroupSize;
        info->fp16_storage = f->f11.storageBuffer16BitAccess;
        info->fp16_arithmetic = f->f12.shaderFloat16;
        info->cooperative_matrix = f->cooperative_matrix;
    }
    const char *why = lacking(f);
    info->usable = !why;
    snprintf(info->why, sizeof info->why, "%s", why ? why : "");
}

int ts_vk_device_list(ts_device_info **list, ts_error *err)
{
    *list = NULL;
    ts_vk_instance in;
    bool absent;
    if (!ts_vk_instance_open(&in, false, &absent, err)) return absent ? 0 : -1;
    VkPhysicalDevice *physical;
    int count = ts_vk_physical_devices(&in, &physical, err);
    if (count > 0) {
        *list = calloc((size_t)count, sizeof **list);
        if (!*list) {
            ts_fail(err, TS_ERR_MEMORY, "out of memory");
            count = -1;
        }
        for (int i = 0; i < count; i++) {
            facts f;
            if (!gather(&in, physical[i], &f, err)) {
                free(*list);
                *list = NULL;
                count = -1;
                break;
            }
            describe(&f, i, &(*list)[i]);
        }
    }
    free(physical);
    ts_vk_instance_close(&in);
    return count;
}

/* ---- opening ---- */

static bool make_device(ts_vk *vk, const facts *f, bool fp16, ts_error *err)
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
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f11, .features.shaderInt64 = VK_TRUE};
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = f->family,
                                           .queueCount = 1,
                                           .pQueuePriorities = (float[]){1}};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &features,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = f->subgroup_size && f->subgroup_extension,
                                     .ppEnabledExtensionNames = (const char *[]){VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME}};
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
static bool overrides(ts_vk *vk, ts_error *err)
{
    const char *class = getenv("TESSERA_VK_CLASS"), *memory = getenv("TESSERA_VK_MEMORY"), *ms = getenv("TESSERA_VK_SUBMIT_MS");
    if (class && *class) {
        vk->limits.cpu = strcmp(class, "cpu") == 0;
        if (!vk->limits.cpu && strcmp(class, "gpu") != 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "TESSERA_VK_CLASS is %s; it can be gpu or cpu", class);
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

static bool fill_limits(ts_vk *vk, const facts *f, bool fp16, ts_error *err)
{
    const VkPhysicalDeviceLimits *l = &f->base.limits;
    vk->limits = (ts_vk_limits){.cpu = f->base.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU,
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
    if (!overrides(vk, err)) return false;
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
    facts f;
    if (!gather(&vk->instance, physical, &f, err)) return false;
    describe(&f, index, &dev->info);
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
    vk->largest_alloc = largest_alloc(&f);
    if (!fill_limits(vk, &f, fp16, err) || !make_device(vk, &f, fp16, err) || !make_transfer(vk, err)) return false;
    dev->precision = desc->precision;
    dev->real_bytes = fp16 ? 2 : 4;
    dev->block_bytes = vk->largest_alloc < largest_block ? vk->largest_alloc : largest_block;
    dev->align = block_align;
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
