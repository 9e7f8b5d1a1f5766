/* safetensors.c - reads the safetensors format: a 64-bit little-endian header length, a JSON header
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}, then the elements.
 *
 * As strict as the format's own reader: the tensors cover the bytes after the header exactly, without overlap, holes or
 * leftovers, so a truncated or doctored file is found at once. */
#include "engine/number.h"
#include "engine/weights/internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* The format allows 100 MB; cJSON takes up to 32 times the text, and the largest real headers are about 1 MB. */
enum { MAX_HEADER = 16 << 20 };

typedef struct {
    int64_t begin, end;
    int64_t tensor; /* for the name in an error */
} span;

static bool dtype_by_name(const char *name, ts_dtype *out)
{
    for (int d = TS_DT_F32; d <= TS_DT_BOOL; d++) {
        if (strcmp(name, ts_dtype_name((ts_dtype)d)) != 0) continue;
        *out = (ts_dtype)d;
        return true;
    }
    return false;
}

static bool whole_number(const cJSON *item, int64_t *out)
{
    return cJSON_IsNumber(item) && ts_whole_of(item->valuedouble, 0, INT64_MAX, out);
}

static bool read_tensor(ts_weights *w, const cJSON *entry, const uint8_t *data, uint64_t data_size, span *place, ts_error *err)
{
    char shown[TS_QUOTE];
    const char *name = ts_quote(shown, entry->string, strlen(entry->string));
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    if (!cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2)
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the header's entry '%s' lacks a dtype, a shape or two data_offsets", w->path,
                       name);

    ts_weight t = {0};
    if (!dtype_by_name(dtype->valuestring, &t.dtype)) {
        char type[TS_QUOTE];
        return ts_fail(err, TS_ERR_UNSUPPORTED, "'%s': tensor '%s' has the dtype %s; convert it to F32, F16 or BF16 first",
                       w->path, name, ts_quote(type, dtype->valuestring, strlen(dtype->valuestring)));
    }
    const cJSON *side;
    cJSON_ArrayForEach(side, shape)
    {
        if (t.ndim == TS_MAX_FILE_DIMS)
            return ts_fail(err, TS_ERR_UNSUPPORTED, "'%s': tensor '%s' has more than %d dimensions", w->path, name,
                           TS_MAX_FILE_DIMS);
        if (!whole_number(side, &t.shape[t.ndim]))
            return ts_fail(err, TS_ERR_FORMAT,
                           "'%s': the shape of tensor '%s' holds something that is not a whole number from 0 up", w->path, name);
        t.ndim++;
    }
    if (!whole_number(offsets->child, &place->begin) || !whole_number(offsets->child->next, &place->end) ||
        place->begin > place->end || (uint64_t)place->end > data_size)
        return ts_fail(err, TS_ERR_FORMAT,
                       "'%s': tensor '%s' lies outside the file's %llu bytes of data (the file may be truncated)", w->path, name,
                       (unsigned long long)data_size);
    if (!ts_shape_count(t.ndim, t.shape, (int64_t)data_size, &t.count) ||
        t.count * ts_dtype_size(t.dtype) != place->end - place->begin)
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the shape of tensor '%s' does not fit its %lld bytes of %s", w->path, name,
                       (long long)(place->end - place->begin), ts_dtype_name(t.dtype));
    int64_t stride = 1;
    for (int i = t.ndim - 1; i >= 0; i--) {
        t.stride[i] = stride;
        if (t.count) stride *= t.shape[i];
    }
    t.contiguous = true;
    t.data = data + place->begin;
    place->tensor = w->count;
    return ts_weights_push(w, entry->string, strlen(entry->string), &t, err);
}

static bool read_metadata(ts_weights *w, const cJSON *metadata, ts_error *err)
{
    const cJSON *item;
    if (!cJSON_IsObject(metadata)) return ts_fail(err, TS_ERR_FORMAT, "'%s': __metadata__ is not a JSON object", w->path);
    cJSON_ArrayForEach(item, metadata)
    {
        char shown[TS_QUOTE];
        if (!cJSON_IsString(item))
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the metadata '%s' is not a string", w->path,
                           ts_quote(shown, item->string, strlen(item->string)));
        if (!ts_weights_push_meta(w, item->string, item->valuestring, err)) return false;
    }
    return true;
}

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static bool check_cover(const ts_weights *w, span *places, uint64_t data_size, ts_error *err)
{
    int64_t at = 0;
    char shown[TS_QUOTE];
    qsort(places, (size_t)w->count, sizeof *places, compare_spans);
    for (int64_t i = 0; i < w->count; i++) {
        if (places[i].begin != at) {
            const char *name = w->list[places[i].tensor].name;
            return ts_fail(err, TS_ERR_FORMAT, "'%s': the data of tensor '%s' %s", w->path, ts_quote(shown, name, strlen(name)),
                           places[i].begin < at ? "overlaps that of another one" : "comes after bytes that belong to no tensor");
        }
        at = places[i].end;
    }
    if ((uint64_t)at != data_size)
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the file has %llu bytes of data, but its tensors take %lld", w->path,
                       (unsigned long long)data_size, (long long)at);
    return true;
}

static bool read_header(ts_weights *w, const cJSON *header, uint64_t header_size, ts_error *err)
{
    if (!cJSON_IsObject(header)) return ts_fail(err, TS_ERR_FORMAT, "'%s': the safetensors header is not a JSON object", w->path);
    const uint8_t *data = w->bytes + 8 + header_size;
    uint64_t data_size = w->size - 8 - header_size;
    span *places = malloc(((size_t)cJSON_GetArraySize(header) + 1) * sizeof *places);
    if (!places) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for the header", w->path);
    bool ok = true;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, header)
    {
        if (strcmp(entry->string, "__metadata__") == 0) ok = read_metadata(w, entry, err);
        else ok = read_tensor(w, entry, data, data_size, &places[w->count], err);
        if (!ok) break;
    }
    ok = ok && check_cover(w, places, data_size, err);
    free(places);
    return ok;
}

bool ts_safetensors_read(ts_weights *w, ts_error *err)
{
    uint64_t header_size = 0;
    w->kind = TS_FILE_SAFETENSORS;
    for (int i = 0; i < 8; i++) header_size |= (uint64_t)w->bytes[i] << (8 * i);
    if (header_size > w->size - 8)
        return ts_fail(
            err, TS_ERR_FORMAT,
            "'%s' says that its header has %llu bytes, but the file has only %llu: it is truncated or no safetensors file",
            w->path, (unsigned long long)header_size, (unsigned long long)w->size);
    if (header_size > MAX_HEADER)
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the safetensors header has %llu bytes, more than the %d allowed", w->path,
                       (unsigned long long)header_size, MAX_HEADER);
    const char *text = (const char *)w->bytes + 8, *end = NULL;
    cJSON *header = cJSON_ParseWithLengthOpts(text, header_size, &end, false);
    bool ok = header != NULL;
    while (ok && end < text + header_size) ok = strchr(" \t\r\n", *end++) != NULL; /* a zero byte passes: some writers pad so */
    if (!ok) ts_fail(err, TS_ERR_FORMAT, "'%s': the safetensors header is not valid JSON", w->path);
    ok = ok && read_header(w, header, header_size, err);
    cJSON_Delete(header);
    return ok;
}
