/* memory.c - buffers that shaders reach by address, and the ways in and out. Where the host sees the device's memory (an
 * integrated GPU, a driver on the CPU, a discrete GPU that exposes all of its memory) it is mapped once and written directly; a
 * small window into a larger memory is left alone, and a staging buffer copies piece by piece instead. Reading over the bus from
 * memory that the host does not cache is slow, so that goes through staging too. */
#include "engine/vulkan/vk.h"

#include <inttypes.h>
#include <string.h>

static const uint64_t staging_bytes = UINT64_C(32) << 20;

/* ---- allocation ---- */

static uint64_t largest_local_heap(const ts_vk *vk)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < vk->memory.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &vk->memory.memoryHeaps[i];
        if ((heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && heap->size > most) most = heap->size;
    }
    return most;
}

/* A memory type among `allowed` with at least these properties; `whole`: in the largest device-local heap. -1: none. */
static int find_type(const ts_vk *vk, uint32_t allowed, VkMemoryPropertyFlags wanted, bool whole)
{
    /* Memory of other kinds carries flags outside of these, and needs features to be used. */
    const VkMemoryPropertyFlags plain = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const uint64_t most = largest_local_heap(vk);
    for (uint32_t i = 0; i < vk->memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &vk->memory.memoryTypes[i];
        if (!(allowed & (UINT32_C(1) << i)) || (type->propertyFlags & wanted) != wanted || (type->propertyFlags & ~plain))
            continue;
        if (whole && vk->memory.memoryHeaps[type->heapIndex].size < most) continue;
        return (int)i;
    }
    return -1;
}

static const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
static const VkMemoryPropertyFlags visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
static const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

/* Memory of the given type for b->buffer, bound and mapped where the host is to see it. */
static VkResult allocate(ts_vk *vk, ts_vk_buffer *b, uint64_t bytes, int type, bool map)
{
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                       .pNext = &flags,
                                       .allocationSize = bytes,
                                       .memoryTypeIndex = (uint32_t)type};
    VkResult result = vk->api.AllocateMemory(vk->device, &info, NULL, &b->memory);
    if (result != VK_SUCCESS) {
        b->memory = VK_NULL_HANDLE;
        return result;
    }
    void *mapped = NULL;
    if (map) result = vk->api.MapMemory(vk->device, b->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    if (result == VK_SUCCESS) {
        b->mapped = mapped;
        b->cached = (vk->memory.memoryTypes[type].propertyFlags & cached) != 0;
        return VK_SUCCESS;
    }
    vk->api.FreeMemory(vk->device, b->memory, NULL);
    b->memory = VK_NULL_HANDLE;
    return result;
}

typedef struct {
    VkMemoryPropertyFlags flags;
    bool whole, map;
} memory_choice;

static bool make_buffer(ts_vk *vk, uint64_t bytes, const memory_choice *choices, int count, ts_vk_buffer *out, ts_error *err)
{
    *out = (ts_vk_buffer){.bytes = bytes};
    if (bytes > vk->largest_alloc)
        return ts_fail(err, TS_ERR_MEMORY, "%" PRIu64 " bytes in one piece are wanted, %s gives %" PRIu64, bytes,
                       vk->properties.deviceName, vk->largest_alloc);
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = bytes,
                                     .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                                              VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkResult result = vk->api.CreateBuffer(vk->device, &info, NULL, &out->buffer);
    if (result != VK_SUCCESS) out->buffer = VK_NULL_HANDLE;
    if (!ts_vk_ok(result, "making a buffer", err)) return false;
    VkMemoryRequirements needs;
    vk->api.GetBufferMemoryRequirements(vk->device, out->buffer, &needs);
    result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (int i = 0; i < count && !out->memory; i++) {
        int type = find_type(vk, needs.memoryTypeBits, choices[i].flags, choices[i].whole);
        if (type >= 0) result = allocate(vk, out, needs.size, type, choices[i].map);
    }
    if (out->memory) result = vk->api.BindBufferMemory(vk->device, out->buffer, out->memory, 0);
    if (result != VK_SUCCESS) {
        ts_vk_buffer_clear(vk, out);
        if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
            return ts_fail(err, TS_ERR_MEMORY, "%s has no %" PRIu64 " bytes left", vk->properties.deviceName, bytes);
        return ts_vk_ok(result, "allocating device memory", err);
    }
    const VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = out->buffer};
    out->address = vk->api.GetBufferDeviceAddress(vk->device, &address);
    return true;
}

bool ts_vk_buffer_new(ts_vk *vk, uint64_t bytes, ts_vk_buffer *out, ts_error *err)
{
    const memory_choice choices[] = {
        {local | visible | cached, true, true}, {local | visible, true, true}, {local, false, false}};
    int skip = vk->staging_only ? 2 : 0;
    return make_buffer(vk, bytes, choices + skip, 3 - skip, out, err);
}

void ts_vk_buffer_clear(ts_vk *vk, ts_vk_buffer *b)
{
    if (b->buffer) vk->api.DestroyBuffer(vk->device, b->buffer, NULL);
    if (b->memory) vk->api.FreeMemory(vk->device, b->memory, NULL); /* unmaps it */
    *b = (ts_vk_buffer){0};
}

/* ---- transfers ---- */

bool ts_vk_staging(ts_vk *vk, ts_error *err)
{
    if (vk->staging.mapped) return true;
    const memory_choice choices[] = {{visible | cached, false, true}, {visible, false, true}};
    return make_buffer(vk, staging_bytes, choices, 2, &vk->staging, err) && vk->staging.mapped;
}

static bool copy(ts_vk *vk, VkBuffer from, uint64_t from_offset, VkBuffer to, uint64_t to_offset, uint64_t bytes, ts_error *err)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                            .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    if (!ts_vk_ok(vk->api.BeginCommandBuffer(vk->transfer, &begin), "a copy", err)) return false;
    const VkBufferCopy region = {from_offset, to_offset, bytes};
    vk->api.CmdCopyBuffer(vk->transfer, from, to, 1, &region);
    const VkMemoryBarrier after = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                   .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                   .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    vk->api.CmdPipelineBarrier(vk->transfer, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &after, 0, NULL, 0,
                               NULL);
    if (!ts_vk_ok(vk->api.EndCommandBuffer(vk->transfer), "a copy", err)) return false;
    const VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &vk->transfer};
    return ts_vk_ok(vk->api.ResetFences(vk->device, 1, &vk->fence), "a copy", err) &&
           ts_vk_ok(vk->api.QueueSubmit(vk->queue, 1, &submit, vk->fence), "a copy", err) &&
           ts_vk_ok(vk->api.WaitForFences(vk->device, 1, &vk->fence, VK_TRUE, UINT64_MAX), "a copy", err);
}

bool ts_vk_copy_staged(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, uint64_t bytes, ts_error *err)
{
    return copy(vk, vk->staging.buffer, 0, b->buffer, offset, bytes, err);
}

bool ts_vk_upload(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, const void *data, uint64_t bytes, ts_error *err)
{
    if (b->mapped) {
        memcpy(b->mapped + offset, data, bytes);
        return true;
    }
    if (!ts_vk_staging(vk, err)) return false;
    for (uint64_t at = 0; at < bytes; at += staging_bytes) {
        uint64_t part = bytes - at < staging_bytes ? bytes - at : staging_bytes;
        memcpy(vk->staging.mapped, (const uint8_t *)data + at, part);
        if (!ts_vk_copy_staged(vk, b, offset + at, part, err)) return false;
    }
    return true;
}

bool ts_vk_download(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, void *data, uint64_t bytes, ts_error *err)
{
    if (b->mapped && b->cached) {
        memcpy(data, b->mapped + offset, bytes);
        return true;
    }
    if (!ts_vk_staging(vk, err)) return false;
    for (uint64_t at = 0; at < bytes; at += staging_bytes) {
        uint64_t part = bytes - at < staging_bytes ? bytes - at : staging_bytes;
        if (!copy(vk, b->buffer, offset + at, vk->staging.buffer, 0, part, err)) return false;
        memcpy((uint8_t *)data + at, vk->staging.mapped, part);
    }
    return true;
}
