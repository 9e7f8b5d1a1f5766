/* exec.c - a recorded graph on the device. The dispatches go into command buffers once and are replayed by every run. The list is
 * cut into several submissions, each near 100 ms at most, so that no watchdog takes a long run for a hang: first by a low guess
 * of the device's speed, then, after two runs with a timestamp behind every dispatch, by what was measured. */
#include "engine/vulkan/vk.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct {
    ts_vk *vk;
    ts_vk_buffer *blocks;
    ts_vk_cmd cmd;
    VkCommandPool pool;
    VkCommandBuffer *buffers; /* one a submission */
    int64_t *starts;          /* the first dispatch of each, and the end of the last */
    int buffer_count;
    VkQueryPool queries; /* at the start of each submission and behind each dispatch; none once the times are known */
    uint64_t *stamps;
    VkFence fence;
    int runs; /* until settled */
    bool settled;
} vk_exec;

/* ---- command buffers ---- */

/* Number of submissions, and unless NULL in `starts` the first dispatch of each. */
static int cut(const vk_exec *x, int64_t *starts)
{
    int count = 0;
    double sum = 0;
    for (int64_t i = 0; i < x->cmd.count; i++) {
        const double ms = x->cmd.steps[i].ms;
        if (i == 0 || sum + ms > x->vk->submit_ms) {
            if (starts) starts[count] = i;
            count++;
            sum = 0;
        }
        sum += ms;
    }
    return count;
}

static void memory_barrier(const ts_vk *vk, VkCommandBuffer to, VkPipelineStageFlags before, VkAccessFlags from,
                           VkPipelineStageFlags after, VkAccessFlags until)
{
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = from, .dstAccessMask = until};
    vk->api.CmdPipelineBarrier(to, before, after, 0, 1, &barrier, 0, NULL, 0, NULL);
}

static const VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
static const VkPipelineStageFlags outside = VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT;
static const VkAccessFlags shader_reads_writes = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;

static void emit_step(const ts_vk *vk, VkCommandBuffer to, const ts_vk_step *s)
{
    if (s->barrier) memory_barrier(vk, to, compute, VK_ACCESS_SHADER_WRITE_BIT, compute, shader_reads_writes);
    vk->api.CmdBindPipeline(to, VK_PIPELINE_BIND_POINT_COMPUTE, s->pipeline);
    if (s->push_bytes) vk->api.CmdPushConstants(to, vk->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, s->push_bytes, s->push);
    vk->api.CmdDispatch(to, s->groups[0], s->groups[1], s->groups[2]);
}

static bool emit(vk_exec *x, int at, ts_error *err)
{
    const ts_vk *vk = x->vk;
    const int64_t begin = x->starts[at], end = x->starts[at + 1];
    VkCommandBuffer to = x->buffers[at];
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    if (!ts_vk_ok(vk->api.BeginCommandBuffer(to, &info), "recording", err)) return false;
    const uint32_t query = (uint32_t)(begin + at);
    if (x->queries) {
        vk->api.CmdResetQueryPool(to, x->queries, query, (uint32_t)(end - begin + 1));
        vk->api.CmdWriteTimestamp(to, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, x->queries, query);
    }
    if (begin == 0) /* inputs were written by the host or by copies, states and trained parameters by an earlier run */
        memory_barrier(vk, to, outside | compute,
                       VK_ACCESS_HOST_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT, compute,
                       shader_reads_writes);
    for (int64_t i = begin; i < end; i++) {
        emit_step(vk, to, &x->cmd.steps[i]);
        if (x->queries)
            vk->api.CmdWriteTimestamp(to, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, x->queries, query + 1 + (uint32_t)(i - begin));
    }
    if (end == x->cmd.count)
        memory_barrier(vk, to, compute, VK_ACCESS_SHADER_WRITE_BIT, outside,
                       VK_ACCESS_HOST_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT);
    return ts_vk_ok(vk->api.EndCommandBuffer(to), "recording", err);
}

static void drop_buffers(vk_exec *x)
{
    const ts_vk *vk = x->vk;
    if (x->buffer_count > 0) vk->api.FreeCommandBuffers(vk->device, x->pool, (uint32_t)x->buffer_count, x->buffers);
    if (x->queries) vk->api.DestroyQueryPool(vk->device, x->queries, NULL);
    free(x->buffers);
    free(x->starts);
    free(x->stamps);
    x->buffers = NULL;
    x->starts = NULL;
    x->buffer_count = 0;
    x->queries = VK_NULL_HANDLE;
    x->stamps = NULL;
}

static bool make_queries(vk_exec *x, int submissions, ts_error *err)
{
    const ts_vk *vk = x->vk;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = (uint32_t)(x->cmd.count + submissions)};
    x->stamps = calloc(info.queryCount, sizeof *x->stamps);
    if (!x->stamps) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    VkResult result = vk->api.CreateQueryPool(vk->device, &info, NULL, &x->queries);
    if (result != VK_SUCCESS) x->queries = VK_NULL_HANDLE;
    return ts_vk_ok(result, "making timestamps", err);
}

/* Command buffers for the dispatches as their times are known now. */
static bool build_parts(vk_exec *x, int count, bool timed, ts_error *err)
{
    const ts_vk *vk = x->vk;
    x->starts = calloc((size_t)count + 1, sizeof *x->starts);
    x->buffers = calloc((size_t)count, sizeof(VkCommandBuffer));
    if (!x->starts || !x->buffers) return ts_fail(err, TS_ERR_MEMORY, "out of memory while recording a graph");
    cut(x, x->starts);
    x->starts[count] = x->cmd.count;
    const VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = x->pool,
                                              .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                              .commandBufferCount = (uint32_t)count};
    if (!ts_vk_ok(vk->api.AllocateCommandBuffers(vk->device, &info, x->buffers), "making command buffers", err)) return false;
    x->buffer_count = count;
    if (timed && !make_queries(x, count, err)) return false;
    for (int i = 0; i < count; i++)
        if (!emit(x, i, err)) return false;
    return true;
}

static bool build(ts_exec *e, bool timed, ts_error *err)
{
    vk_exec *x = e->impl;
    drop_buffers(x);
    e->submissions = cut(x, NULL);
    if (e->submissions == 0 || build_parts(x, e->submissions, timed, err)) return true;
    drop_buffers(x);
    return false;
}

/* ---- times ---- */

/* Fills the steps' times from the run that has just ended; `*longest` of the submissions that could be cut. */
static bool measure(vk_exec *x, double *longest, ts_error *err)
{
    const ts_vk *vk = x->vk;
    const uint32_t count = (uint32_t)(x->cmd.count + x->buffer_count);
    VkResult result = vk->api.GetQueryPoolResults(vk->device, x->queries, 0, count, count * sizeof *x->stamps, x->stamps,
                                                  sizeof *x->stamps, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (!ts_vk_ok(result, "reading timestamps", err)) return false;
    const uint64_t mask = vk->timestamp_bits >= 64 ? UINT64_MAX : (UINT64_C(1) << vk->timestamp_bits) - 1;
    const double tick_ms = (double)vk->properties.limits.timestampPeriod * 1e-6;
    *longest = 0;
    for (int k = 0; k < x->buffer_count; k++) {
        const int64_t begin = x->starts[k], end = x->starts[k + 1];
        double sum = 0;
        for (int64_t i = begin; i < end; i++) {
            const uint64_t *stamp = &x->stamps[i + k]; /* before the dispatch; the next one is behind it */
            x->cmd.steps[i].ms = (double)((stamp[1] - stamp[0]) & mask) * tick_ms;
            sum += x->cmd.steps[i].ms;
        }
        if (end - begin > 1 && sum > *longest) *longest = sum;
    }
    return true;
}

static void fill_profile(ts_exec *e)
{
    const vk_exec *x = e->impl;
    for (int64_t i = 0; i < e->count; i++) e->profile[i].ms = 0;
    for (int64_t i = 0; i < x->cmd.count; i++) e->profile[x->cmd.steps[i].node].ms += x->cmd.steps[i].ms;
}

/* Cuts anew where the first run shows that a submission is far too long, and in any case after the second, when the device
 * has warmed up; from then on the timestamps are gone, unless they are wanted. */
static bool settle(ts_exec *e, double longest, ts_error *err)
{
    vk_exec *x = e->impl;
    x->runs++;
    if (x->runs == 1 && longest <= 1.5 * x->vk->submit_ms) return true;
    x->settled = x->runs >= 2;
    return build(e, !x->settled || e->profile, err);
}

/* ---- the backend's part ---- */

bool ts_vk_exec_new(ts_exec *e, ts_error *err)
{
    ts_vk *vk = e->dev->impl;
    vk_exec *x = calloc(1, sizeof *x);
    if (!x) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    e->impl = x;
    x->vk = vk;
    x->blocks = calloc((size_t)e->block_count + 1, sizeof *x->blocks);
    if (!x->blocks) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < e->block_count; i++)
        if (!ts_vk_buffer_new(vk, e->blocks[i], &x->blocks[i], err)) return false;
    x->cmd = (ts_vk_cmd){.vk = vk, .blocks = x->blocks};
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = vk->family};
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    return ts_vk_record(&x->cmd, e, err) &&
           ts_vk_ok(vk->api.CreateCommandPool(vk->device, &pool, NULL, &x->pool), "making a command pool", err) &&
           ts_vk_ok(vk->api.CreateFence(vk->device, &fence, NULL, &x->fence), "making a fence", err) &&
           build(e, vk->timestamp_bits > 0, err);
}

void ts_vk_exec_free(ts_exec *e)
{
    vk_exec *x = e->impl;
    if (!x) return;
    ts_vk *vk = x->vk;
    drop_buffers(x);
    if (x->pool) vk->api.DestroyCommandPool(vk->device, x->pool, NULL);
    if (x->fence) vk->api.DestroyFence(vk->device, x->fence, NULL);
    for (int i = 0; x->blocks && i < e->block_count; i++) ts_vk_buffer_clear(vk, &x->blocks[i]);
    free(x->blocks);
    ts_vk_cmd_clear(&x->cmd);
    free(x);
    e->impl = NULL;
}

bool ts_vk_run(ts_exec *e, ts_error *err)
{
    vk_exec *x = e->impl;
    const ts_vk *vk = x->vk;
    if (x->cmd.count == 0) return true;
    if (x->buffer_count == 0 && !build(e, e->profile, err)) return false; /* cutting anew failed in the last run */
    if (!ts_vk_ok(vk->api.ResetFences(vk->device, 1, &x->fence), "running a graph", err)) return false;
    for (int i = 0; i < x->buffer_count; i++) {
        const VkSubmitInfo submit = {
            .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &x->buffers[i]};
        VkFence fence = i + 1 == x->buffer_count ? x->fence : VK_NULL_HANDLE;
        if (!ts_vk_ok(vk->api.QueueSubmit(vk->queue, 1, &submit, fence), "running a graph", err)) {
            vk->api.DeviceWaitIdle(vk->device); /* those before it use our buffers */
            return false;
        }
    }
    if (!ts_vk_ok(vk->api.WaitForFences(vk->device, 1, &x->fence, VK_TRUE, UINT64_MAX), "running a graph", err)) return false;
    if (!x->queries) return true;
    double longest;
    if (!measure(x, &longest, err)) return false;
    if (e->profile) fill_profile(e);
    return x->settled || settle(e, longest, err);
}

bool ts_vk_write(ts_exec *e, int block, uint64_t offset, const void *data, uint64_t bytes, ts_error *err)
{
    vk_exec *x = e->impl;
    return ts_vk_upload(x->vk, &x->blocks[block], offset, data, bytes, err);
}

bool ts_vk_read(ts_exec *e, int block, uint64_t offset, void *data, uint64_t bytes, ts_error *err)
{
    vk_exec *x = e->impl;
    return ts_vk_download(x->vk, &x->blocks[block], offset, data, bytes, err);
}
