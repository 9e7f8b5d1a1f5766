/* facts.c - what each Vulkan device can do. The required features are few: Vulkan 1.2, buffers by address, scalar block layout,
 * and subgroup arithmetic; whatever else is asked for and used only where present.
 *
 * Environment variables make a device a poorer one, so that tests reach on one machine what another would take: TESSERA_VK_LACKS
 * lists features that it shall not have, TESSERA_VK_SHARED bounds the bytes of shared memory (16384, the least that Vulkan
 * allows), and TESSERA_VK_ALLOC those of one allocation. */
#include "engine/number.h"
#include "engine/vulkan/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0) return true;
    return false;
}

/* A queue for compute alone, where there is one: it does not wait for the desktop's pictures. */
static void find_queue(const ts_vk_instance *in, VkPhysicalDevice physical, ts_vk_facts *f)
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

static bool ask(const ts_vk_instance *in, VkPhysicalDevice physical, ts_vk_facts *f, ts_error *err)
{
    *f = (ts_vk_facts){0};
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
    f->portability = has_extension(extensions, count, "VK_KHR_portability_subset");
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

/* ---- what tests take away ---- */

/* Bytes named by the environment, at least `least`; 0: nothing is. */
static bool bytes_of(const char *name, uint64_t least, uint64_t *out, ts_error *err)
{
    const char *text = getenv(name);
    double value = 0;
    *out = 0;
    if (!text || !*text) return true;
    if (!ts_real_read(text, &value) || value < (double)least || value > 1e15)
        return ts_fail(err, TS_ERR_ARGUMENT, "%s is %s; it must be bytes, at least %llu", name, text, (unsigned long long)least);
    *out = (uint64_t)value;
    return true;
}

static bool take_away(ts_vk_facts *f, const char *word, size_t length)
{
    const struct {
        const char *name;
        VkBool32 *feature;
    } known[] = {{"int64", &f->features.shaderInt64},
                 {"fp16", &f->f12.shaderFloat16},
                 {"fp16-storage", &f->f11.storageBuffer16BitAccess},
                 {"addresses", &f->f12.bufferDeviceAddress},
                 {"scalar-layout", &f->f12.scalarBlockLayout},
                 {"broadcast-id", &f->f12.subgroupBroadcastDynamicId}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, word, length) == 0) {
            *known[i].feature = VK_FALSE;
            return true;
        }
    if (length != strlen("timestamps") || memcmp(word, "timestamps", length) != 0) return false;
    f->timestamp_bits = 0;
    return true;
}

/* A device as a poorer one would be. */
static bool poorer(ts_vk_facts *f, ts_error *err)
{
    const char *lacks = getenv("TESSERA_VK_LACKS");
    for (const char *at = lacks; at && *at;) {
        const size_t length = strcspn(at, ",");
        if (!take_away(f, at, length))
            return ts_fail(err, TS_ERR_ARGUMENT,
                           "TESSERA_VK_LACKS is %s; it lists some of int64, fp16, fp16-storage, addresses, scalar-layout, "
                           "broadcast-id and timestamps",
                           lacks);
        at += length + (at[length] == ',');
    }
    uint64_t shared, alloc;
    if (!bytes_of("TESSERA_VK_SHARED", 16384, &shared, err) || !bytes_of("TESSERA_VK_ALLOC", 1 << 20, &alloc, err)) return false;
    VkPhysicalDeviceLimits *l = &f->base.limits;
    if (shared && shared < l->maxComputeSharedMemorySize) l->maxComputeSharedMemorySize = (uint32_t)shared;
    if (alloc && alloc < f->p11.maxMemoryAllocationSize) f->p11.maxMemoryAllocationSize = alloc;
    return true;
}

bool ts_vk_facts_gather(const ts_vk_instance *in, VkPhysicalDevice physical, ts_vk_facts *f, ts_error *err)
{
    return ask(in, physical, f, err) && poorer(f, err);
}

/* The first required feature that is absent, or NULL. */
static const char *lacking(const ts_vk_facts *f)
{
    if (!f->modern) return "its driver is older than Vulkan 1.2";
    if (!f->queue) return "it has no compute queue";
    if (!f->f12.bufferDeviceAddress) return "it lacks bufferDeviceAddress";
    if (!f->f12.scalarBlockLayout) return "it lacks scalarBlockLayout";
    const VkSubgroupFeatureFlags wanted = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                          VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if (!(f->p11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) ||
        (f->p11.subgroupSupportedOperations & wanted) != wanted)
        return "it lacks subgroup arithmetic, ballot or shuffle in compute shaders";
    return NULL;
}

uint64_t ts_vk_largest_alloc(const ts_vk_facts *f)
{
    uint64_t most = f->p11.maxMemoryAllocationSize;
    if (f->sizes.maxBufferSize > 0 && f->sizes.maxBufferSize < most) most = f->sizes.maxBufferSize;
    return most / TS_VK_BLOCK_ALIGN * TS_VK_BLOCK_ALIGN;
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

void ts_vk_describe(const ts_vk_facts *f, int index, ts_device_info *info)
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
        info->max_alloc_bytes = ts_vk_largest_alloc(f);
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
            ts_vk_facts f;
            if (!ts_vk_facts_gather(&in, physical[i], &f, err)) {
                free(*list);
                *list = NULL;
                count = -1;
                break;
            }
            ts_vk_describe(&f, i, &(*list)[i]);
        }
    }
    free(physical);
    ts_vk_instance_close(&in);
    return count;
}
