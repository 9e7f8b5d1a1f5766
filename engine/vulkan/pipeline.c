/* pipeline.c - a compute pipeline for each shader and set of specialisation constants, made on first use. What the driver
 * compiled is kept in the user's cache folder, one file for each device and driver, so that a second start is quick. A cache file
 * is not trusted: it starts with a header of ours (length and checksum) and must name this very device; drivers have crashed on
 * less. With no folder to write to there is no cache on disk, and that is no error. */
#include "engine/file.h"
#include "engine/vulkan/vk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the cache on disk ---- */

typedef struct {
    char magic[8];
    uint64_t bytes, checksum; /* of what follows */
} cache_header;

static const char magic[8] = "TSVKPC1";
static const uint64_t cache_most = UINT64_C(256) << 20; /* shaders of old builds pile up: above this it starts anew */

static uint64_t checksum(const uint8_t *bytes, uint64_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (uint64_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The cache file of this device and driver, with the folders above it made; "" where there is no place for it. */
static void cache_file(const ts_vk *vk, char *out, size_t room)
{
    char folder[384];
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int used;
    out[0] = '\0';
    if (base && base[0] == '/') used = snprintf(folder, sizeof folder, "%s", base);
    else if (home && home[0] == '/') used = snprintf(folder, sizeof folder, "%s/.cache", home);
    else return;
    if (used < 0 || used + 16 > (int)sizeof folder) return;
    mkdir(folder, 0700); /* it is there already, or what follows fails */
    snprintf(folder + used, sizeof folder - (size_t)used, "/tessera");
    mkdir(folder, 0700);
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode)) return;
    const VkPhysicalDeviceProperties *p = &vk->properties;
    char uuid[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; i++) snprintf(uuid + i * 2, 3, "%02x", p->pipelineCacheUUID[i]);
    snprintf(out, room, "%s/pipelines-%04x-%04x-%08x-%s.bin", folder, p->vendorID, p->deviceID, p->driverVersion, uuid);
}

/* The driver's part of the file says which device made it (VkPipelineCacheHeaderVersionOne). */
static bool of_this_device(const ts_vk *vk, const uint8_t *data, uint64_t bytes)
{
    VkPipelineCacheHeaderVersionOne h;
    if (bytes < sizeof h) return false;
    memcpy(&h, data, sizeof h);
    return h.headerSize >= sizeof h && h.headerSize <= bytes && h.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           h.vendorID == vk->properties.vendorID && h.deviceID == vk->properties.deviceID &&
           memcmp(h.pipelineCacheUUID, vk->properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

/* What the driver may take from the cache file (free() it); NULL where there is nothing good. */
static uint8_t *read_cache(const ts_vk *vk, uint64_t *bytes)
{
    FILE *f = vk->cache_path[0] ? ts_file_open(vk->cache_path, "cache", NULL) : NULL;
    if (!f) return NULL;
    cache_header h;
    uint8_t *data = NULL;
    if (fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 && h.bytes > 0 && h.bytes <= cache_most)
        data = malloc(h.bytes);
    bool good = data && fread(data, 1, h.bytes, f) == h.bytes && fgetc(f) == EOF && checksum(data, h.bytes) == h.checksum &&
                of_this_device(vk, data, h.bytes);
    fclose(f);
    if (!good) {
        free(data);
        return NULL;
    }
    *bytes = h.bytes;
    return data;
}

/* Writes the cache where it grew. Failing is silent: the next start is slower, no more. */
static void write_cache(const ts_vk *vk)
{
    size_t bytes = 0;
    if (!vk->cache_path[0] || vk->pipeline_count == 0) return;
    if (vk->api.GetPipelineCacheData(vk->device, vk->cache, &bytes, NULL) != VK_SUCCESS) return;
    if (bytes <= vk->cache_bytes || bytes > cache_most) return;
    uint8_t *file = malloc(sizeof(cache_header) + bytes);
    if (!file) return;
    uint8_t *data = file + sizeof(cache_header);
    if (vk->api.GetPipelineCacheData(vk->device, vk->cache, &bytes, data) == VK_SUCCESS && of_this_device(vk, data, bytes)) {
        cache_header h = {.bytes = bytes, .checksum = checksum(data, bytes)};
        memcpy(h.magic, magic, sizeof magic);
        memcpy(file, &h, sizeof h);
        ts_file_write(vk->cache_path, file, sizeof h + bytes, NULL);
    }
    free(file);
}

/* ---- pipelines ---- */

bool ts_vk_pipelines_open(ts_vk *vk, ts_error *err)
{
    const VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = TS_VK_MAX_PUSH};
    const VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .pushConstantRangeCount = 1, .pPushConstantRanges = &range};
    if (!ts_vk_ok(vk->api.CreatePipelineLayout(vk->device, &layout, NULL, &vk->layout), "making a pipeline layout", err))
        return false;
    cache_file(vk, vk->cache_path, sizeof vk->cache_path);
    uint8_t *data = read_cache(vk, &vk->cache_bytes);
    VkPipelineCacheCreateInfo cache = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                       .initialDataSize = data ? vk->cache_bytes : 0,
                                       .pInitialData = data};
    VkResult result = vk->api.CreatePipelineCache(vk->device, &cache, NULL, &vk->cache);
    if (result != VK_SUCCESS && data) { /* the driver thinks otherwise */
        vk->cache_bytes = 0;
        cache.initialDataSize = 0;
        result = vk->api.CreatePipelineCache(vk->device, &cache, NULL, &vk->cache);
    }
    free(data);
    return ts_vk_ok(result, "making a pipeline cache", err);
}

void ts_vk_pipelines_close(ts_vk *vk)
{
    if (vk->cache) write_cache(vk);
    for (int i = 0; i < vk->pipeline_count; i++) vk->api.DestroyPipeline(vk->device, vk->pipelines[i].pipeline, NULL);
    free(vk->pipelines);
    if (vk->cache) vk->api.DestroyPipelineCache(vk->device, vk->cache, NULL);
    if (vk->layout) vk->api.DestroyPipelineLayout(vk->device, vk->layout, NULL);
}

static bool make_pipeline(ts_vk *vk, ts_vk_pipeline *p, ts_error *err)
{
    const VkShaderModuleCreateInfo code = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = p->shader->bytes, .pCode = p->shader->code};
    VkShaderModule module;
    if (!ts_vk_ok(vk->api.CreateShaderModule(vk->device, &code, NULL, &module), p->shader->name, err)) return false;
    VkSpecializationMapEntry entries[TS_VK_MAX_SPEC];
    for (uint32_t i = 0; i < (uint32_t)p->spec_count; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t)};
    const VkSpecializationInfo constants = {.mapEntryCount = (uint32_t)p->spec_count,
                                            .pMapEntries = entries,
                                            .dataSize = (size_t)p->spec_count * sizeof(uint32_t),
                                            .pData = p->spec};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = vk->required_subgroup};
    const VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                              .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                        .pNext = vk->required_subgroup ? &size : NULL,
                                                        .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                        .module = module,
                                                        .pName = "main",
                                                        .pSpecializationInfo = &constants},
                                              .layout = vk->layout};
    VkResult result = vk->api.CreateComputePipelines(vk->device, vk->cache, 1, &info, NULL, &p->pipeline);
    vk->api.DestroyShaderModule(vk->device, module, NULL);
    return ts_vk_ok(result, p->shader->name, err);
}

static const ts_shader *find_shader(const ts_vk *vk, const char *name, bool wide)
{
    char full[96];
    snprintf(full, sizeof full, "%s_%s", name, vk->limits.fp16 && !wide ? "f16" : "f32");
    for (const ts_shader *s = ts_shader_table; s->name; s++)
        if (strcmp(s->name, full) == 0) return s;
    return NULL;
}

bool ts_vk_pipeline_get(ts_vk *vk, const char *shader, bool wide, const uint32_t *spec, int spec_count, VkPipeline *out,
                        ts_error *err)
{
    const size_t spec_bytes = (size_t)spec_count * sizeof *spec;
    ts_vk_pipeline wanted = {.shader = find_shader(vk, shader, wide), .spec_count = spec_count};
    if (!wanted.shader) return ts_fail(err, TS_ERR_UNSUPPORTED, "there is no shader %s in this build", shader);
    memcpy(wanted.spec, spec, spec_bytes);
    for (int i = 0; i < vk->pipeline_count; i++) {
        const ts_vk_pipeline *p = &vk->pipelines[i];
        if (p->shader != wanted.shader || p->spec_count != spec_count || memcmp(p->spec, spec, spec_bytes) != 0) continue;
        *out = p->pipeline;
        return true;
    }
    if (vk->pipeline_count == vk->pipeline_room) {
        int room = vk->pipeline_room ? vk->pipeline_room * 2 : 32;
        ts_vk_pipeline *grown = realloc(vk->pipelines, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
        vk->pipelines = grown;
        vk->pipeline_room = room;
    }
    if (!make_pipeline(vk, &wanted, err)) return false;
    vk->pipelines[vk->pipeline_count++] = wanted;
    *out = wanted.pipeline;
    return true;
}
