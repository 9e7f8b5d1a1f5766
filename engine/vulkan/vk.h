/* vk.h - what the files of the Vulkan backend share. The loader is opened at run time and its functions are kept in tables, so
 * that one program runs on machines with and without Vulkan. Each device has an instance of its own: nothing is global. */
#ifndef TESSERA_VK_H
#define TESSERA_VK_H

#include "engine/vulkan/shader_table.h"
#include "engine/vulkan/vulkan.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

/* The functions that are used, without their `vk`: each becomes a member of a table. */
#define TS_VK_INSTANCE_FUNCTIONS(X)                                                                                              \
    X(DestroyInstance)                                                                                                           \
    X(EnumeratePhysicalDevices)                                                                                                  \
    X(GetPhysicalDeviceProperties)                                                                                               \
    X(GetPhysicalDeviceProperties2)                                                                                              \
    X(GetPhysicalDeviceFeatures2)                                                                                                \
    X(GetPhysicalDeviceMemoryProperties)                                                                                         \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                                                    \
    X(EnumerateDeviceExtensionProperties)                                                                                        \
    X(CreateDevice)                                                                                                              \
    X(GetDeviceProcAddr)

#define TS_VK_DEVICE_FUNCTIONS(X)                                                                                                \
    X(DestroyDevice)                                                                                                             \
    X(GetDeviceQueue)                                                                                                            \
    X(DeviceWaitIdle)                                                                                                            \
    X(CreateBuffer)                                                                                                              \
    X(DestroyBuffer)                                                                                                             \
    X(GetBufferMemoryRequirements)                                                                                               \
    X(GetBufferDeviceAddress)                                                                                                    \
    X(AllocateMemory)                                                                                                            \
    X(FreeMemory)                                                                                                                \
    X(BindBufferMemory)                                                                                                          \
    X(MapMemory)                                                                                                                 \
    X(CreateShaderModule)                                                                                                        \
    X(DestroyShaderModule)                                                                                                       \
    X(CreatePipelineLayout)                                                                                                      \
    X(DestroyPipelineLayout)                                                                                                     \
    X(CreateComputePipelines)                                                                                                    \
    X(DestroyPipeline)                                                                                                           \
    X(CreatePipelineCache)                                                                                                       \
    X(DestroyPipelineCache)                                                                                                      \
    X(GetPipelineCacheData)                                                                                                      \
    X(CreateCommandPool)                                                                                                         \
    X(DestroyCommandPool)                                                                                                        \
    X(AllocateCommandBuffers)                                                                                                    \
    X(FreeCommandBuffers)                                                                                                        \
    X(BeginCommandBuffer)                                                                                                        \
    X(EndCommandBuffer)                                                                                                          \
    X(CmdBindPipeline)                                                                                                           \
    X(CmdPushConstants)                                                                                                          \
    X(CmdDispatch)                                                                                                               \
    X(CmdPipelineBarrier)                                                                                                        \
    X(CmdCopyBuffer)                                                                                                             \
    X(CmdResetQueryPool)                                                                                                         \
    X(CmdWriteTimestamp)                                                                                                         \
    X(CreateQueryPool)                                                                                                           \
    X(DestroyQueryPool)                                                                                                          \
    X(GetQueryPoolResults)                                                                                                       \
    X(CreateFence)                                                                                                               \
    X(DestroyFence)                                                                                                              \
    X(ResetFences)                                                                                                               \
    X(WaitForFences)                                                                                                             \
    X(QueueSubmit)

#define TS_VK_MEMBER(name) PFN_vk##name name;
typedef struct {
    TS_VK_INSTANCE_FUNCTIONS(TS_VK_MEMBER)
} ts_vk_instance_api;
typedef struct {
    TS_VK_DEVICE_FUNCTIONS(TS_VK_MEMBER)
} ts_vk_device_api;

/* ---- instance.c ---- */

typedef struct {
    ts_vk_instance_api api;
    void *library;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger; /* where the validation layer is on */
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
    int messages;     /* of the validation layer: errors and warnings */
    char first[1024]; /* the text of the first one */
} ts_vk_instance;

/* Opens the loader and makes an instance. Where the machine has no loader or no driver: false with `*absent` set and `err`
 * untouched. With `validate`, `in` must not move until it is closed. */
bool ts_vk_instance_open(ts_vk_instance *in, bool validate, bool *absent, ts_error *err);
void ts_vk_instance_close(ts_vk_instance *in); /* accepts a zeroed one */
/* The physical devices, in the driver's order; free() it. Returns their number, or -1. */
int ts_vk_physical_devices(const ts_vk_instance *in, VkPhysicalDevice **list, ts_error *err);
/* True for VK_SUCCESS, else an error that says what failed. */
bool ts_vk_ok(VkResult result, const char *what, ts_error *err);

/* ---- the device ---- */

typedef struct {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t bytes, address;
    uint8_t *mapped; /* NULL: the host cannot see it */
    bool cached;     /* the host reads it at full speed */
} ts_vk_buffer;

typedef struct {
    const ts_shader *shader;
    uint32_t spec[TS_VK_MAX_SPEC];
    int spec_count;
    VkPipeline pipeline;
} ts_vk_pipeline;

typedef struct {
    ts_vk_instance instance;
    ts_vk_device_api api;
    const ts_device *dev;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceMemoryProperties memory;
    ts_vk_limits limits;
    uint32_t required_subgroup; /* asked of the pipelines where the device has several sizes; 0: not asked */
    uint32_t timestamp_bits;    /* 0: the queue has none */
    uint64_t largest_alloc;     /* bytes of one buffer */
    double submit_ms;           /* how long a submission should run at most */
    double guess_gflops;        /* a low guess of the speed, until it is measured */
    bool staging_only;          /* host-visible device memory is not used, so that the other path can be tested */
    /* transfers */
    VkCommandPool pool;
    VkCommandBuffer transfer;
    VkFence fence;
    ts_vk_buffer staging; /* made on first use */
    /* pipelines */
    VkPipelineLayout layout;
    VkPipelineCache cache;
    char cache_path[512]; /* "": no cache on disk */
    uint64_t cache_bytes; /* what was loaded from it */
    ts_vk_pipeline *pipelines;
    int pipeline_count, pipeline_room;
} ts_vk;

/* ---- memory.c ---- */

/* Memory for the shaders, reached by address; device-local, and mapped where the device shares its memory with the host. */
bool ts_vk_buffer_new(ts_vk *vk, uint64_t bytes, ts_vk_buffer *out, ts_error *err);
void ts_vk_buffer_clear(ts_vk *vk, ts_vk_buffer *b);
bool ts_vk_upload(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, const void *data, uint64_t bytes, ts_error *err);
bool ts_vk_download(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, void *data, uint64_t bytes, ts_error *err);
/* Copies the first `bytes` of the staging buffer (made here when it is not there yet) to `b`. */
bool ts_vk_staging(ts_vk *vk, ts_error *err);
bool ts_vk_copy_staged(ts_vk *vk, const ts_vk_buffer *b, uint64_t offset, uint64_t bytes, ts_error *err);

/* ---- pipeline.c ---- */

bool ts_vk_pipelines_open(ts_vk *vk, ts_error *err);
void ts_vk_pipelines_close(ts_vk *vk);
/* The pipeline of a shader ("layernorm") with these constants, made on first use. */
bool ts_vk_pipeline_get(ts_vk *vk, const char *shader, bool wide, const uint32_t *spec, int spec_count, VkPipeline *out,
                        ts_error *err);

/* ---- record.c ---- */

enum { TS_VK_MAX_PUSH = 128 };

/* One dispatch, as it goes into a command buffer. */
typedef struct {
    VkPipeline pipeline;
    uint32_t groups[3];
    uint32_t push_bytes;
    uint8_t push[TS_VK_MAX_PUSH];
    bool barrier; /* before it */
    int64_t node; /* place in exec->order */
    double ms;    /* guessed, then measured */
} ts_vk_step;

typedef struct {
    uint64_t begin, end;
} ts_vk_range;

typedef struct {
    ts_vk_range *list;
    int count, room;
} ts_vk_ranges;

struct ts_vk_cmd {
    ts_vk *vk;
    const ts_vk_buffer *blocks; /* of the arena */
    ts_vk_step *steps;
    int64_t count, room;
    int64_t node;
    bool barrier;                 /* wanted before the next dispatch */
    ts_vk_ranges written, looked; /* by the nodes since the last barrier */
};

/* Turns the nodes of a planned graph into cmd->steps. */
bool ts_vk_record(ts_vk_cmd *cmd, const ts_exec *e, ts_error *err);
void ts_vk_cmd_clear(ts_vk_cmd *cmd);

/* ---- params.c, exec.c: the parts of the ts_backend ---- */

bool ts_vk_params_new(ts_params *ps, ts_error *err);
void ts_vk_params_free(ts_params *ps);
bool ts_vk_param_load(ts_params *ps, ts_param_entry *p, ts_error *err);
bool ts_vk_param_write(ts_params *ps, ts_param_entry *p, const void *data, ts_error *err);
bool ts_vk_param_read(ts_params *ps, const ts_param_entry *p, void *data, ts_error *err);
bool ts_vk_exec_new(ts_exec *e, ts_error *err);
void ts_vk_exec_free(ts_exec *e);
bool ts_vk_run(ts_exec *e, ts_error *err);
bool ts_vk_write(ts_exec *e, int block, uint64_t offset, const void *data, uint64_t bytes, ts_error *err);
bool ts_vk_read(ts_exec *e, int block, uint64_t offset, void *data, uint64_t bytes, ts_error *err);

#endif
