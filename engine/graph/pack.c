/* pack.c - the order in which a backend keeps weights, and the precision: from floats or doubles in plain order, and back. */
#include "engine/internal.h"
#include "engine/weights/internal.h"

#include <stdlib.h>

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

static double load(const void *from, ts_precision precision, int64_t at)
{
    if (precision == TS_F64) return ((const double *)from)[at];
    if (precision == TS_F16) return (double)ts_f16_to_f32(((const uint16_t *)from)[at]);
    return (double)((const float *)from)[at];
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

void ts_unpack(const void *from, ts_layout layout, int ndim, const int64_t *shape, ts_precision precision, int64_t panel,
               bool wide, void *out)
{
    pack_job job = {.precision = precision, .outer = shape[0], .inner = ndim > 1 ? shape[1] : 1, .taps = 1, .panel = panel};
    for (int i = 2; i < ndim; i++) job.taps *= shape[i];
    const bool plain = panel == TS_PACK_PLAIN || layout == TS_LAYOUT_PLAIN;
    int64_t at = 0;
    for (int64_t o = 0; o < job.outer; o++)
        for (int64_t i = 0; i < job.inner; i++)
            for (int64_t tap = 0; tap < job.taps; tap++, at++) {
                const double v = load(from, precision, plain ? at : panel_place(&job, tap * job.inner + i, o));
                if (wide) ((double *)out)[at] = v;
                else ((float *)out)[at] = (float)v;
            }
}

typedef struct {
    const ts_weight *from;
    float *to;
} convert_job;

static void convert_range(void *ctx, int64_t begin, int64_t end)
{
    const convert_job *j = ctx;
    const uint8_t *from = j->from->data;
    ts_convert_f32(j->from->dtype, from + begin * ts_dtype_size(j->from->dtype), end - begin, j->to + begin);
}

/* ts_weight_to_f32 by all threads: a large model is mostly this. */
static bool to_floats(const ts_weight *w, int threads, float *out, ts_error *err)
{
    if (!w->contiguous) return ts_weight_to_f32(w, out, err);
    ts_parallel(threads, w->count, 1 << 16, convert_range, &(convert_job){w, out});
    return ts_mapping_intact(w->file, err);
}

bool ts_param_pack(const ts_param_entry *p, ts_precision precision, int64_t panel, int threads, void *out, ts_error *err)
{
    const ts_weight *w = p->weight;
    if (!w) {
        ts_pack(p->initial, p->layout, p->ndim, p->shape, precision, panel, threads, out);
        return true;
    }
    bool plain = panel == TS_PACK_PLAIN || p->layout == TS_LAYOUT_PLAIN;
    if (plain && precision == TS_F32) return to_floats(w, threads, out, err);
    if (plain && precision == TS_F64) return ts_weight_to_f64(w, out, err);
    float *converted = NULL;
    const float *from = w->data;
    if (w->dtype != TS_DT_F32 || !w->contiguous || (uintptr_t)w->data % sizeof(float) != 0) {
        converted = malloc((size_t)w->count * sizeof *converted);
        if (!converted) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor %s", p->name);
        if (!to_floats(w, threads, converted, err)) {
            free(converted);
            return false;
        }
        from = converted;
    }
    ts_pack(from, p->layout, p->ndim, p->shape, precision, panel, threads, out);
    free(converted);
    return true;
}
