/* host.c - the backend for a machine with no GPU: the ops' C kernels, run in order over OpenMP threads. A parameter that lies in
 * the mapped file as the kernels want it is used where it is. In double precision (the tests' yardstick) the same code runs the
 * ops' other build. */
#include "engine/internal.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef TESSERA_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

struct ts_host {
    ts_exec *exec;
    uint8_t **blocks;
    void *scratch;
    void **states; /* by position in exec->order */
    int *position; /* of a node, by its index; -1: not run */
};

static const uint64_t alignment = 64;

/* ---- the device ---- */

static void processor_name(char *out, size_t room)
{
    snprintf(out, room, "host processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, room, "%s", colon + 2);
        break;
    }
    if (f) fclose(f);
}

int ts_core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

void ts_host_device_info(ts_device_info *info)
{
    *info = (ts_device_info){.kind = TS_DEVICE_HOST, .usable = true};
    processor_name(info->name, sizeof info->name);
    snprintf(info->type, sizeof info->type, "host");
#ifdef TESSERA_ONEDNN
    const dnnl_version_t *v = dnnl_version();
    snprintf(info->driver, sizeof info->driver, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
#else
    snprintf(info->driver, sizeof info->driver, "own kernels");
#endif
    info->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
    info->max_alloc_bytes = info->memory_bytes;
}

/* ---- parameters ---- */

static bool params_new(ts_params *ps, ts_error *err)
{
    (void)ps;
    (void)err;
    return true;
}

static void params_free(ts_params *ps)
{
    for (int64_t i = 0; i < ps->count; i++)
        if (ps->list[i]->owned) free(ps->list[i]->host);
}

static bool param_load(ts_params *ps, ts_param_entry *p, ts_error *err)
{
    const ts_weight *w = p->weight;
    if (w && !ps->trainable && !ts_weights_detached(ps->weights) && ps->dev->precision == TS_F32 && w->dtype == TS_DT_F32 &&
        w->contiguous && (uintptr_t)w->data % sizeof(float) == 0) {
        ps->mapped = true;
        p->host = (void *)(uintptr_t)w->data; /* read only: kernels never write a parameter of a weights file */
        return true;
    }
    p->host = aligned_alloc(alignment, (p->bytes + alignment - 1) / alignment * alignment);
    if (!p->host) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s (%" PRIu64 " bytes)", p->name, p->bytes);
    p->owned = true;
    if (!ts_param_pack(p, ps->dev->precision, TS_PACK_PLAIN, ps->dev->threads, p->host, err)) {
        free(p->host);
        return false;
    }
    if (w) ts_weight_release(w);
    return true;
}

static bool param_write(ts_params *ps, ts_param_entry *p, const void *data, ts_error *err)
{
    (void)ps;
    (void)err;
    memcpy(p->host, data, p->bytes);
    return true;
}

static bool param_read(ts_params *ps, const ts_param_entry *p, void *data, ts_error *err)
{
    (void)ps;
    (void)err;
    memcpy(data, p->host, p->bytes);
    return true;
}

/* ---- execution ---- */

/* oneDNN takes its number of threads from OpenMP, and some of its kernels, a convolution's gradients among them, when they are
 * made. The number is one of the calling thread's. */
static void set_threads(const ts_exec *e)
{
#ifdef _OPENMP
    omp_set_num_threads(e->dev->threads);
#else
    (void)e;
#endif
}

static void exec_free(ts_exec *e)
{
    ts_host *h = e->impl;
    if (!h) return;
    for (int64_t i = 0; h->states && i < e->count; i++)
        if (h->states[i]) e->order[i]->op->host_release(h->states[i]);
    for (int i = 0; h->blocks && i < e->block_count; i++) free(h->blocks[i]);
    free(h->blocks);
    free(h->states);
    free(h->position);
    free(h->scratch);
    free(h);
    e->impl = NULL;
}

static ts_host_kernel kernel_of(const ts_exec *e, const ts_node *n)
{
    return e->dev->precision == TS_F64 ? n->op->host_f64 : n->op->host;
}

static bool exec_new(ts_exec *e, ts_error *err)
{
    ts_host *h = calloc(1, sizeof *h);
    if (!h) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    e->impl = h;
    h->exec = e;
    h->blocks = calloc((size_t)e->block_count + 1, sizeof *h->blocks);
    h->states = calloc((size_t)e->count + 1, sizeof *h->states);
    h->position = malloc(((size_t)e->graph->node_count + 1) * sizeof *h->position);
    if (!h->blocks || !h->states || !h->position) return ts_fail(err, TS_ERR_MEMORY, "out of memory");
    for (int i = 0; i < e->block_count; i++) {
        h->blocks[i] = aligned_alloc(alignment, e->blocks[i]);
        if (!h->blocks[i])
            return ts_fail(err, TS_ERR_MEMORY, "out of memory: the plan needs %" PRIu64 " bytes in one piece", e->blocks[i]);
    }
    set_threads(e);
    for (int64_t i = 0; i < e->graph->node_count; i++) h->position[i] = -1;
    uint64_t scratch = 0;
    for (int64_t i = 0; i < e->count; i++) {
        ts_node *n = e->order[i];
        h->position[n->index] = (int)i;
        if (!kernel_of(e, n))
            return ts_fail(err, TS_ERR_UNSUPPORTED, "the host cannot run %s on %s", n->op->name, ts_shape_text(n->in[0]).s);
        if (n->op->host_prepare && e->dev->precision == TS_F32 && !n->op->host_prepare(n, h, &h->states[i], err)) return false;
        uint64_t need = n->op->host_scratch ? n->op->host_scratch(n, h) : 0;
        if (need > scratch) scratch = need;
    }
    if (scratch > 0) {
        h->scratch = aligned_alloc(alignment, (scratch + alignment - 1) / alignment * alignment);
        if (!h->scratch) return ts_fail(err, TS_ERR_MEMORY, "out of memory: the kernels need %" PRIu64 " bytes", scratch);
    }
    return true;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool run(ts_exec *e, ts_error *err)
{
    ts_host *h = e->impl;
    set_threads(e);
    for (int64_t i = 0; i < e->count; i++) {
        double start = e->profile ? now_ms() : 0;
        if (!kernel_of(e, e->order[i])(e->order[i], h, err)) return false;
        if (e->profile) e->profile[i].ms = now_ms() - start;
    }
    return true;
}

static bool write_block(ts_exec *e, int block, uint64_t offset, const void *data, uint64_t bytes, ts_error *err)
{
    (void)err;
    memcpy(((ts_host *)e->impl)->blocks[block] + offset, data, bytes);
    return true;
}

static bool read_block(ts_exec *e, int block, uint64_t offset, void *data, uint64_t bytes, ts_error *err)
{
    (void)err;
    memcpy(data, ((ts_host *)e->impl)->blocks[block] + offset, bytes);
    return true;
}

static void device_free(ts_device *dev)
{
    (void)dev;
}

static const ts_backend backend = {
    .params_new = params_new,
    .params_free = params_free,
    .param_load = param_load,
    .param_write = param_write,
    .param_read = param_read,
    .exec_new = exec_new,
    .exec_free = exec_free,
    .run = run,
    .write = write_block,
    .read = read_block,
    .device_free = device_free,
};

ts_device *ts_host_device_open(const ts_device_desc *desc, ts_error *err)
{
    if (desc->precision == TS_F16) {
        ts_fail(err, TS_ERR_UNSUPPORTED, "fp16 is for GPUs: the host computes in fp32 only");
        return NULL;
    }
    ts_device *dev = calloc(1, sizeof *dev);
    if (!dev) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    dev->backend = &backend;
    ts_host_device_info(&dev->info);
    dev->precision = desc->precision;
    dev->real_bytes = desc->precision == TS_F64 ? 8 : 4;
    dev->block_bytes = UINT64_MAX / 4;
    dev->align = alignment;
    dev->threads = desc->threads > 0 ? desc->threads : ts_core_count();
    dev->profile = desc->profile;
    return dev;
}

/* ---- for the kernels ---- */

void *ts_host_ptr(const ts_host *h, const ts_tensor *t)
{
    if (!t) return NULL;
    const ts_tensor_state *s = ts_root_const(t)->state;
    if (s->param) return s->param->host;
    return h->blocks[s->block] + s->offset;
}

void *ts_host_scratch(const ts_host *h, const ts_node *n)
{
    (void)n;
    return h->scratch;
}

void *ts_host_state(const ts_host *h, const ts_node *n)
{
    return h->states[h->position[n->index]];
}

int ts_host_threads(const ts_host *h)
{
    return h->exec->dev->threads;
}
