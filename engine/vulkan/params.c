/* params.c - parameters in device memory, packed side by side into a few large buffers: drivers allow only some thousands of
 * allocations. A parameter is converted straight from the mapped file to where it will lie, or to the staging buffer, and
 * the file's pages are given back, so that the weights are in memory once. */
#include "engine/vulkan/vk.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct {
    ts_vk_buffer *list;
    int count, room;
    uint64_t used; /* of the last one */
} chunks;

bool ts_vk_params_new(ts_params *ps, ts_error *err)
{
    ps->impl = calloc(1, sizeof(chunks));
    return ps->impl || ts_fail(err, TS_ERR_MEMORY, "out of memory");
}

void ts_vk_params_free(ts_params *ps)
{
    chunks *c = ps->impl;
    if (!c) return;
    for (int i = 0; i < c->count; i++) ts_vk_buffer_clear(ps->dev->impl, &c->list[i]);
    free(c->list);
    free(c);
    ps->impl = NULL;
}

/* A place of `bytes` in the last buffer, or in a new one. Buffers grow with the model, so that a small one stays small. */
static ts_vk_buffer *find_place(ts_params *ps, uint64_t bytes, uint64_t *offset, ts_error *err)
{
    ts_vk *vk = ps->dev->impl;
    chunks *c = ps->impl;
    const uint64_t least = UINT64_C(16) << 20, most = UINT64_C(256) << 20;
    if (c->count > 0 && c->list[c->count - 1].bytes - c->used >= bytes) {
        *offset = c->used;
        c->used += bytes;
        return &c->list[c->count - 1];
    }
    uint64_t size = ps->bytes < least ? least : ps->bytes;
    if (size > most) size = most;
    if (size > ps->dev->block_bytes) size = ps->dev->block_bytes;
    if (size < bytes) size = bytes;
    if (c->count == c->room) {
        int room = c->room ? c->room * 2 : 16;
        ts_vk_buffer *grown = realloc(c->list, (size_t)room * sizeof *grown);
        if (!grown) {
            ts_fail(err, TS_ERR_MEMORY, "out of memory");
            return NULL;
        }
        c->list = grown;
        c->room = room;
    }
    if (!ts_vk_buffer_new(vk, size, &c->list[c->count], err)) return NULL;
    c->used = bytes;
    *offset = 0;
    return &c->list[c->count++];
}

static bool pack(const ts_device *dev, const ts_param_entry *p, ts_precision precision, void *out, ts_error *err)
{
    return ts_param_pack(p, precision, dev->pack_panel, dev->threads, out, err);
}

bool ts_vk_param_load(ts_params *ps, ts_param_entry *p, ts_error *err)
{
    const ts_device *dev = ps->dev;
    ts_vk *vk = dev->impl;
    const ts_precision precision = ts_params_precision(ps);
    ts_error cause = {0};
    uint64_t offset = 0, room = (p->bytes + dev->align - 1) / dev->align * dev->align;
    const ts_vk_buffer *b = find_place(ps, room, &offset, &cause);
    if (!b) return ts_fail(err, cause.code, "tensor %s (%" PRIu64 " bytes): %s", p->name, p->bytes, cause.text);
    p->address = b->address + offset;
    bool ok;
    if (b->mapped) {
        ok = pack(dev, p, precision, b->mapped + offset, err);
    } else if (!ts_vk_staging(vk, err)) {
        ok = false;
    } else if (p->bytes <= vk->staging.bytes) {
        ok = pack(dev, p, precision, vk->staging.mapped, err) && ts_vk_copy_staged(vk, b, offset, p->bytes, err);
    } else {
        void *copy = malloc(p->bytes);
        ok = copy || ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s (%" PRIu64 " bytes)", p->name, p->bytes);
        ok = ok && pack(dev, p, precision, copy, err) && ts_vk_upload(vk, b, offset, copy, p->bytes, err);
        free(copy);
    }
    if (ok && p->weight) ts_weight_release(p->weight);
    return ok;
}

/* The buffer in which a parameter lies, and where. */
static const ts_vk_buffer *find_buffer(const ts_params *ps, const ts_param_entry *p, uint64_t *offset)
{
    const chunks *c = ps->impl;
    const ts_vk_buffer *b = c->list;
    while (p->address < b->address || p->address >= b->address + b->bytes) b++;
    *offset = p->address - b->address;
    return b;
}

bool ts_vk_param_write(ts_params *ps, ts_param_entry *p, const void *data, ts_error *err)
{
    uint64_t offset;
    const ts_vk_buffer *b = find_buffer(ps, p, &offset);
    return ts_vk_upload(ps->dev->impl, b, offset, data, p->bytes, err);
}

bool ts_vk_param_read(ts_params *ps, const ts_param_entry *p, void *data, ts_error *err)
{
    uint64_t offset;
    const ts_vk_buffer *b = find_buffer(ps, p, &offset);
    return ts_vk_download(ps->dev->impl, b, offset, data, p->bytes, err);
}
