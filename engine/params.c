/* params.c - a model's named tensors in the memory of a device, taken from a weights file on first use. What is missing or of
 * another shape is collected, so that a user hears of all of it at once. */
#include "engine/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ts_params *ts_params_new(ts_device *dev, const ts_weights *w, const char *prefix, ts_error *err)
{
    ts_params *ps = calloc(1, sizeof *ps);
    if (ps) {
        ps->dev = dev;
        ps->weights = w;
        ps->prefix = strdup(prefix ? prefix : "");
    }
    if (!ps || !ps->prefix) {
        free(ps);
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    if (!dev->backend->params_new(ps, err)) {
        free(ps->prefix);
        free(ps);
        return NULL;
    }
    return ps;
}

void ts_params_free(ts_params *ps)
{
    if (!ps) return;
    ps->dev->backend->params_free(ps);
    for (int64_t i = 0; i < ps->count; i++) {
        free(ps->list[i]->name);
        free(ps->list[i]);
    }
    free(ps->list);
    free(ps->prefix);
    free(ps->missing);
    free(ps->misshapen);
    free(ps);
}

uint64_t ts_params_bytes(const ts_params *ps)
{
    return ps->bytes;
}

bool ts_params_check(const ts_params *ps, ts_error *err)
{
    if (ps->error.code != TS_OK) return ts_fail(err, ps->error.code, "%s", ps->error.text);
    const char *file = ts_weights_path(ps->weights);
    if (ps->missing && ps->misshapen)
        return ts_fail(err, TS_ERR_FORMAT,
                       "%s: %" PRId64 " tensors are missing (%.300s) and %" PRId64 " have another shape (%.300s)", file,
                       ps->missing_count, ps->missing, ps->misshapen_count, ps->misshapen);
    if (ps->missing)
        return ts_fail(err, TS_ERR_FORMAT, "%s: %" PRId64 " tensor%s missing: %.600s", file, ps->missing_count,
                       ps->missing_count == 1 ? " is" : "s are", ps->missing);
    if (ps->misshapen)
        return ts_fail(err, TS_ERR_SHAPE, "%s: %" PRId64 " tensor%s another shape: %.600s", file, ps->misshapen_count,
                       ps->misshapen_count == 1 ? " has" : "s have", ps->misshapen);
    return true;
}

/* Appends to a growing list in words. */
static void append(ts_params *ps, char **list, const char *separator, const char *item)
{
    size_t have = *list ? strlen(*list) : 0, room = have + strlen(separator) + strlen(item) + 1;
    char *grown = realloc(*list, room);
    if (!grown) {
        ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
        return;
    }
    snprintf(grown + have, room - have, "%s%s", have ? separator : "", item);
    *list = grown;
}

static void shape_words(char *out, size_t room, int ndim, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, room, "(");
    for (int i = 0; i < ndim && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (used < room) snprintf(out + used, room - used, ")");
}

static ts_param_entry *find(const ts_params *ps, const char *name)
{
    for (int64_t i = 0; i < ps->count; i++)
        if (strcmp(ps->list[i]->name, name) == 0) return ps->list[i];
    return NULL;
}

static bool same_dims(int ndim, const int64_t *a, int other_ndim, const int64_t *b)
{
    if (ndim != other_ndim) return false;
    for (int i = 0; i < ndim; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* Looks the tensor up in the file; notes it as missing or misshapen where it is. */
static const ts_weight *wanted(ts_params *ps, const char *name, int ndim, const int64_t *shape)
{
    char full[256], have[128], want[128], item[600];
    if (snprintf(full, sizeof full, "%s%s", ps->prefix, name) >= (int)sizeof full) return NULL;
    const ts_weight *w = ts_weights_find(ps->weights, full);
    if (!w) {
        append(ps, &ps->missing, ", ", full);
        ps->missing_count++;
        return NULL;
    }
    if (same_dims(ndim, shape, w->ndim, w->shape)) return w;
    shape_words(have, sizeof have, w->ndim, w->shape);
    shape_words(want, sizeof want, ndim, shape);
    snprintf(item, sizeof item, "%s is %s, wanted %s", full, have, want);
    append(ps, &ps->misshapen, "; ", item);
    ps->misshapen_count++;
    return NULL;
}

/* A new entry, in the device's memory. */
static ts_param_entry *load(ts_params *ps, const char *name, ts_layout layout, const ts_weight *w)
{
    if (ps->count == ps->room) {
        int64_t room = ps->room ? ps->room * 2 : 128;
        ts_param_entry **grown = realloc(ps->list, (size_t)room * sizeof *grown);
        if (!grown) {
            ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
            return NULL;
        }
        ps->list = grown;
        ps->room = room;
    }
    ts_param_entry *p = calloc(1, sizeof *p);
    if (p) p->name = strdup(name);
    if (!p || !p->name) {
        free(p);
        ts_fail(&ps->error, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->layout = layout;
    p->ndim = w->ndim;
    memcpy(p->shape, w->shape, sizeof p->shape);
    p->count = w->count;
    p->bytes = (uint64_t)w->count * ps->dev->real_bytes;
    p->weight = w;
    if (!ps->dev->backend->param_load(ps, p, &ps->error)) {
        free(p->name);
        free(p);
        return NULL;
    }
    ps->list[ps->count++] = p;
    ps->bytes += p->bytes;
    return p;
}

ts_tensor *ts_param(ts_graph *g, ts_params *ps, const char *name, ts_layout layout, int ndim, const int64_t *shape)
{
    ts_tensor *t = ts_tensor_new(g, TS_REAL, ndim, shape);
    if (!t) return NULL;
    t->layout = layout;
    snprintf(t->name, sizeof t->name, "%s", name);
    if (ps->error.code != TS_OK) return ts_graph_fail(g, ps->error.code, name, "%s", ps->error.text);
    ts_param_entry *p = find(ps, name);
    if (!p) {
        const ts_weight *w = wanted(ps, name, ndim, shape);
        if (!w) return t; /* noted; the description goes on, so that all that is missing is found */
        p = load(ps, name, layout, w);
        if (!p) return ts_graph_fail(g, ps->error.code, name, "%s", ps->error.text);
    } else if (p->layout != layout || !same_dims(ndim, shape, p->ndim, p->shape)) {
        return ts_graph_fail(g, TS_ERR_ARGUMENT, name, "was loaded before with another shape or layout");
    }
    t->state->param = p;
    return t;
}

/* ---- packing ---- */

typedef struct {
    const float *from; /* plain order */
    void *to;
    ts_precision precision;
    int64_t outer, inner, taps; /* (outer, inner, taps) -> (taps, inner, outer) */
    int64_t panel;
} pack_job;

static void store(void *to, ts_precision precision, int64_t at, float v)
{
    if (precision == TS_F64) ((double *)to)[at] = (double)v;
    else if (precision == TS_F16) ((uint16_t *)to)[at] = ts_f32_to_f16(v);
    else ((float *)to)[at] = v;
}

/* Where row `row`, column `column` of the result goes. */
static int64_t panel_place(const pack_job *j, int64_t row, int64_t column)
{
    const int64_t first = column / j->panel * j->panel;
    const int64_t width = j->outer - first < j->panel ? j->outer - first : j->panel;
    return first * j->inner * j->taps + row * width + column - first;
}

/* Rows of the result, [begin, end) of taps x inner, in square tiles so that both sides stay in cache. A tile lies in one
 * panel: the width of panels is a multiple of the tile's. */
static void pack_rows(void *ctx, int64_t begin, int64_t end)
{
    const pack_job *j = ctx;
    enum { TILE = 32 };
    for (int64_t row = begin; row < end; row += TILE) {
        int64_t row_end = row + TILE < end ? row + TILE : end;
        for (int64_t o = 0; o < j->outer; o += TILE) {
            int64_t o_end = o + TILE < j->outer ? o + TILE : j->outer;
            for (int64_t r = row; r < row_end; r++) {
                int64_t tap = r / j->inner, i = r % j->inner;
                const int64_t to = panel_place(j, r, o);
                for (int64_t k = o; k < o_end; k++)
                    store(j->to, j->precision, to + k - o, j->from[(k * j->inner + i) * j->taps + tap]);
            }
        }
    }
}

static void copy_range(void *ctx, int64_t begin, int64_t end)
{
    const pack_job *j = ctx;
    for (int64_t i = begin; i < end; i++) store(j->to, j->precision, i, j->from[i]);
}

void ts_pack(const float *from, ts_layout layout, int ndim, const int64_t *shape, ts_precision precision, int64_t panel,
             int threads, void *out)
{
    pack_job job = {.from = from, .to = out, .precision = precision, .outer = shape[0], .inner = 1, .taps = 1, .panel = panel};
    if (panel != TS_PACK_PLAIN && layout != TS_LAYOUT_PLAIN) {
        job.inner = shape[1];
        for (int i = 2; i < ndim; i++) job.taps *= shape[i];
        ts_parallel(threads, job.inner * job.taps, 32, pack_rows, &job);
    } else {
        for (int i = 1; i < ndim; i++) job.inner *= shape[i];
        ts_parallel(threads, job.outer * job.inner, 1 << 16, copy_range, &job);
    }
}

bool ts_param_pack(const ts_param_entry *p, ts_precision precision, int64_t panel, int threads, void *out, ts_error *err)
{
    const ts_weight *w = p->weight;
    bool plain = panel == TS_PACK_PLAIN || p->layout == TS_LAYOUT_PLAIN;
    if (plain && precision == TS_F32) return ts_weight_to_f32(w, out, err);
    if (plain && precision == TS_F64) return ts_weight_to_f64(w, out, err);
    float *converted = NULL;
    const float *from = w->data;
    if (w->dtype != TS_DT_F32 || !w->contiguous || (uintptr_t)w->data % sizeof(float) != 0) {
        converted = malloc((size_t)w->count * sizeof *converted);
        if (!converted) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", p->name);
        if (!ts_weight_to_f32(w, converted, err)) {
            free(converted);
            return false;
        }
        from = converted;
    }
    ts_pack(from, p->layout, p->ndim, p->shape, precision, panel, threads, out);
    free(converted);
    return true;
}
