/* write.c - writes safetensors.
 *
 * The writer holds names and pointers; elements are converted a chunk at a time on their way to the disk, so writing a file takes
 * little memory beside it. The format allows no gaps between tensors, so they are laid out by falling element size, which keeps
 * each aligned to its own; the header is padded with spaces to a multiple of 8. */
#include "engine/outfile.h"
#include "engine/weights/internal.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 }; /* elements converted at a time */

typedef struct {
    ts_weight source; /* the name is the writer's copy */
    ts_dtype dtype;   /* as written */
    int64_t bytes;
} item;

struct ts_weights_writer {
    item *items;
    int64_t count, capacity;
    cJSON *meta;
    bool private; /* the file is for its owner alone */
};

ts_weights_writer *ts_weights_writer_new(void)
{
    return calloc(1, sizeof(ts_weights_writer));
}

void ts_weights_writer_private(ts_weights_writer *w)
{
    w->private = true;
}

void ts_weights_writer_free(ts_weights_writer *w)
{
    if (!w) return;
    for (int64_t i = 0; i < w->count; i++) free((char *)w->items[i].source.name);
    free(w->items);
    cJSON_Delete(w->meta);
    free(w);
}

bool ts_weights_writer_meta(ts_weights_writer *w, const char *key, const char *value, ts_error *err)
{
    if (!w->meta) w->meta = cJSON_CreateObject();
    cJSON *text = cJSON_CreateString(value);
    if (!w->meta || !text) {
        cJSON_Delete(text);
        return ts_fail(err, TS_ERR_MEMORY, "out of memory for the metadata '%s'", key);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(w->meta,
                                            key); /* the later value wins; cJSON's own replacing forgets to check memory */
    if (cJSON_AddItemToObject(w->meta, key, text)) return true;
    cJSON_Delete(text);
    return ts_fail(err, TS_ERR_MEMORY, "out of memory for the metadata '%s'", key);
}

static bool can_convert(ts_dtype from, ts_dtype to)
{
    return from == to || to == TS_DT_F32 || to == TS_DT_F16 || to == TS_DT_BF16 || to == TS_DT_F64;
}

static bool add(ts_weights_writer *w, const ts_weight *t, ts_dtype dtype, ts_error *err)
{
    size_t length = strlen(t->name);
    if (!length || length > TS_MAX_TENSOR_NAME || strcmp(t->name, "__metadata__") == 0)
        return ts_fail(err, TS_ERR_ARGUMENT, "'%.100s' cannot be the name of a tensor in a file", t->name);
    for (int64_t i = 0; i < w->count; i++) {
        if (strcmp(w->items[i].source.name, t->name) == 0)
            return ts_fail(err, TS_ERR_ARGUMENT, "tensor '%s' is written twice", t->name);
    }
    if (!ts_dtype_size(t->dtype) || !ts_dtype_size(dtype) || !can_convert(t->dtype, dtype))
        return ts_fail(err, TS_ERR_ARGUMENT, "tensor '%s' cannot be converted from %s to %s", t->name, ts_dtype_name(t->dtype),
                       ts_dtype_name(dtype));
    if (w->count == w->capacity) {
        int64_t capacity = w->capacity ? 2 * w->capacity : 64;
        item *items = realloc(w->items, (size_t)capacity * sizeof *items);
        if (!items) return ts_fail(err, TS_ERR_MEMORY, "out of memory for %lld tensors", (long long)capacity);
        w->items = items;
        w->capacity = capacity;
    }
    char *name = strdup(t->name);
    if (!name) return ts_fail(err, TS_ERR_MEMORY, "out of memory for tensor '%s'", t->name);
    item *it = &w->items[w->count++];
    *it = (item){.source = *t, .dtype = dtype, .bytes = t->count * ts_dtype_size(dtype)};
    it->source.name = name;
    return true;
}

bool ts_weights_writer_add(ts_weights_writer *w, const char *name, ts_dtype dtype, int ndim, const int64_t *shape,
                           const void *data, ts_error *err)
{
    ts_weight t = {.name = name, .dtype = dtype, .ndim = ndim, .contiguous = true, .data = data};
    if (ndim < 0 || ndim > TS_MAX_FILE_DIMS || !ts_shape_count(ndim, shape, INT64_MAX / 8, &t.count))
        return ts_fail(err, TS_ERR_ARGUMENT, "tensor '%s' has a shape that no file can hold", name);
    for (int i = 0; i < ndim; i++) t.shape[i] = shape[i];
    return add(w, &t, dtype, err);
}

bool ts_weights_writer_add_weight(ts_weights_writer *w, const ts_weight *t, ts_dtype dtype, ts_error *err)
{
    return add(w, t, dtype, err);
}

bool ts_weights_writer_add_weight_as(ts_weights_writer *w, const char *name, const ts_weight *t, ts_dtype dtype, ts_error *err)
{
    ts_weight renamed = *t;
    renamed.name = name;
    return add(w, &renamed, dtype, err);
}

void ts_weights_writer_narrow(ts_weights_writer *w, ts_dtype dtype)
{
    for (int64_t i = 0; i < w->count; i++) {
        item *it = &w->items[i];
        if (it->dtype != TS_DT_F32 || !can_convert(it->source.dtype, dtype)) continue;
        it->dtype = dtype;
        it->bytes = it->source.count * ts_dtype_size(dtype);
    }
}

bool ts_weights_writer_check_finite(const ts_weights_writer *w, ts_error *err)
{
    for (int64_t i = 0; i < w->count; i++) {
        const ts_weight *t = &w->items[i].source;
        if (t->dtype != TS_DT_F32 || !t->contiguous) continue;
        uint32_t bad = 0;
        for (int64_t k = 0; k < t->count; k++) {
            uint32_t bits; /* the elements may be unaligned */
            memcpy(&bits, (const uint8_t *)t->data + k * 4, sizeof bits);
            bad |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        if (bad) return ts_fail(err, TS_ERR_FORMAT, "tensor %s holds what is not a finite number", t->name);
    }
    return true;
}

static int compare_element_sizes(const void *a, const void *b)
{
    const item *x = *(const item *const *)a, *y = *(const item *const *)b;
    int difference = ts_dtype_size(y->dtype) - ts_dtype_size(x->dtype);
    return difference ? difference : (x > y) - (x < y); /* else in the order they were added */
}

static bool add_number(cJSON *array, int64_t n)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)n);
    cJSON *raw = cJSON_CreateRaw(digits); /* cJSON's own numbers are doubles */
    if (raw && cJSON_AddItemToArray(array, raw)) return true;
    cJSON_Delete(raw);
    return false;
}

static bool describe(cJSON *header, const item *it, int64_t begin)
{
    cJSON *entry = cJSON_AddObjectToObject(header, it->source.name);
    if (!entry || !cJSON_AddStringToObject(entry, "dtype", ts_dtype_name(it->dtype))) return false;
    cJSON *shape = cJSON_AddArrayToObject(entry, "shape");
    for (int i = 0; shape && i < it->source.ndim; i++) {
        if (!add_number(shape, it->source.shape[i])) return false;
    }
    cJSON *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
    return shape && offsets && add_number(offsets, begin) && add_number(offsets, begin + it->bytes);
}

/* The header as text, to be freed by cJSON_free; NULL when out of memory. */
static char *make_header(const ts_weights_writer *w, const item *const *order)
{
    cJSON *header = cJSON_CreateObject();
    bool ok = header != NULL;
    if (ok && w->meta) {
        cJSON *meta = cJSON_Duplicate(w->meta, true);
        ok = meta && cJSON_AddItemToObject(header, "__metadata__", meta);
        if (!ok) cJSON_Delete(meta);
    }
    int64_t at = 0;
    for (int64_t i = 0; ok && i < w->count; i++) {
        ok = describe(header, order[i], at);
        at += order[i]->bytes;
    }
    char *text = ok ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    return text;
}

static bool write_header(ts_outfile *f, const char *text, ts_error *err)
{
    uint64_t size = strlen(text), padded = (size + 7) / 8 * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(padded >> (8 * i));
    return ts_outfile_write(f, length, sizeof length, err) && ts_outfile_write(f, text, size, err) &&
           ts_outfile_write(f, "       ", padded - size, err);
}

static uint16_t bf16_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40); /* NaN stays NaN */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);                  /* round to nearest even */
}

/* Buffers for one chunk on its way. */
typedef struct {
    uint8_t raw[CHUNK * 8];
    double f64[CHUNK];
    float f32[CHUNK];
    uint16_t f16[CHUNK];
} chunk;

static bool write_chunk(ts_outfile *f, const item *it, int64_t first, int64_t n, chunk *c, ts_error *err)
{
    const void *out = c->raw;
    ts_weight_gather(&it->source, first, n, c->raw);
    if (it->dtype != it->source.dtype) {
        if (it->dtype == TS_DT_F64) {
            ts_convert_f64(it->source.dtype, c->raw, n, c->f64);
            out = c->f64;
        } else {
            ts_convert_f32(it->source.dtype, c->raw, n, c->f32);
            out = it->dtype == TS_DT_F32 ? (const void *)c->f32 : (const void *)c->f16;
        }
        if (it->dtype == TS_DT_F16) {
            for (int64_t i = 0; i < n; i++) c->f16[i] = ts_f32_to_f16(c->f32[i]);
        } else if (it->dtype == TS_DT_BF16) {
            for (int64_t i = 0; i < n; i++) c->f16[i] = bf16_of_float(c->f32[i]);
        }
    }
    return ts_outfile_write(f, out, (size_t)(n * ts_dtype_size(it->dtype)), err);
}

static bool write_elements(ts_outfile *f, const item *it, chunk *c, ts_error *err)
{
    if (it->source.contiguous && it->dtype == it->source.dtype)
        return ts_outfile_write(f, it->source.data, (size_t)it->bytes, err);
    for (int64_t at = 0; at < it->source.count; at += CHUNK) {
        int64_t n = it->source.count - at < CHUNK ? it->source.count - at : CHUNK;
        if (!write_chunk(f, it, at, n, c, err)) return false;
    }
    return true;
}

/* A source that was cut short makes the kernel refuse its address: that it has changed is the better reason. */
static bool write_item(ts_outfile *f, const item *it, chunk *c, ts_error *err)
{
    ts_error why = {0};
    const bool written = write_elements(f, it, c, &why);
    return ts_mapping_intact(it->source.file, err) && (written || ts_fail(err, why.code, "%s", why.text));
}

static bool write_all(const ts_weights_writer *w, const item *const *order, const char *header, chunk *c, const char *path,
                      ts_error *err)
{
    ts_outfile f;
    if (!ts_outfile_open(&f, path, err)) return false;
    bool ok = (!w->private || ts_outfile_private(&f, err)) && write_header(&f, header, err);
    for (int64_t i = 0; ok && i < w->count; i++) ok = write_item(&f, order[i], c, err);
    if (ok) return ts_outfile_commit(&f, err);
    ts_outfile_discard(&f);
    return false;
}

bool ts_weights_writer_save(ts_weights_writer *w, const char *path, ts_error *err)
{
    const item **order = malloc(((size_t)w->count + 1) * sizeof *order);
    chunk *c = malloc(sizeof *c);
    char *header = NULL;
    if (order) {
        for (int64_t i = 0; i < w->count; i++) order[i] = &w->items[i];
        qsort(order, (size_t)w->count, sizeof *order, compare_element_sizes);
        header = make_header(w, order);
    }
    bool ok = order && c && header;
    if (!ok) ts_fail(err, TS_ERR_MEMORY, "cannot write '%s': out of memory", path);
    ok = ok && write_all(w, order, header, c, path, err);
    cJSON_free(header);
    free(c);
    free(order);
    return ok;
}
