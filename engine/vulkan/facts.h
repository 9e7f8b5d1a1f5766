/* facts.h - all that is asked of a physical device before it is opened. */
#ifndef TESSERA_VK_FACTS_H
#define TESSERA_VK_FACTS_H

#include "engine/vulkan/vk.h"

enum { TS_VK_BLOCK_ALIGN = 256 };

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
    bool portability;        /* a driver over another interface, such as MoltenVK, which must be told that it may be one */
    bool queue;              /* there is one for compute */
    uint32_t family, timestamp_bits;
    VkPhysicalDeviceMemoryProperties memory;
} ts_vk_facts;

/* What the device is, less what the environment takes away. */
bool ts_vk_facts_gather(const ts_vk_instance *in, VkPhysicalDevice physical, ts_vk_facts *f, ts_error *err);
/* Bytes, a multiple of TS_VK_BLOCK_ALIGN. */
uint64_t ts_vk_largest_alloc(const ts_vk_facts *f);
void ts_vk_describe(const ts_vk_facts *f, int index, ts_device_info *info);

#endif
