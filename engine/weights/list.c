/* list.c - the tensors and the metadata of a weights file: readers push them, everybody else looks them up. */
#include "engine/weights/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ts_weights *ts_weights_new(const char *path, ts_error *err)
{
    ts_weights *w = calloc(1, sizeof *w);
    if (w) w->path = strdup(path);
    if (!w || !w->path) {
        free(w);
        ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", path);
        return NULL;
    }
    return w;
}

const char *ts_quote(char out[TS_QUOTE], const char *text, size_t length)
{
    size_t n = 0;
    for (; n < length && n < TS_QUOTE - 4; n++) {
        unsigned char c = (unsigned char)text[n];
        out[n] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    if (n < length) {
        memcpy(out + n, "...", 3);
        n += 3;
    }
    out[n] = 0;
    return out;
}

bool ts_shape_count(int ndim, const int64_t *shape, int64_t limit, int64_t *count)
{
    int64_t product = 1;
    bool empty = false;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0) return false;
        if (shape[i] == 0) empty = true;
    }
    for (int i = 0; i < ndim && !empty; i++) {
        if (__builtin_mul_overflow(product, shape[i], &product) || product > limit) return false;
    }
    *count = empty ? 0 : product;
    return *count <= limit;
}

bool ts_weights_push(ts_weights *w, const char *name, size_t length, const ts_weight *t, ts_error *err)
{
    char shown[TS_QUOTE];
    if (length > TS_MAX_TENSOR_NAME || memchr(name, 0, length))
        return ts_fail(err, TS_ERR_FORMAT, "'%s': the tensor name '%s' is longer than %d bytes or holds a zero byte", w->path,
                       ts_quote(shown, name, length), TS_MAX_TENSOR_NAME);
    if (w->count == TS_MAX_FILE_TENSORS)
        return ts_fail(err, TS_ERR_FORMAT, "'%s' holds more than %d tensors", w->path, TS_MAX_FILE_TENSORS);
    if (w->count == w->capacity) {
        int64_t capacity = w->capacity ? 2 * w->capacity : 256;
        ts_weight *list = realloc(w->list, (size_t)capacity * sizeof *list);
        if (!list) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for %lld tensors", w->path, (long long)capacity);
        w->list = list;
        w->capacity = capacity;
    }
    char *copy = strndup(name, length);
    if (!copy) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for tensor names", w->path);
    w->list[w->count] = *t;
    w->list[w->count].name = copy;
    w->list[w->count].file = w->file;
    w->count++;
    return true;
}

bool ts_weights_push_meta(ts_weights *w, const char *key, const char *value, ts_error *err)
{
    if (w->meta_count == w->meta_capacity) {
        int64_t capacity = w->meta_capacity ? 2 * w->meta_capacity : 8;
        char **meta = realloc(w->meta, (size_t)capacity * 2 * sizeof *meta);
        if (!meta) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for metadata", w->path);
        w->meta = meta;
        w->meta_capacity = capacity;
    }
    char *k = strdup(key), *v = strdup(value);
    if (!k || !v) {
        free(k);
        free(v);
        return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for metadata", w->path);
    }
    w->meta[2 * w->meta_count] = k;
    w->meta[2 * w->meta_count + 1] = v;
    w->meta_count++;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const ts_weight *x = *(const ts_weight *const *)a, *y = *(const ts_weight *const *)b;
    return strcmp(x->name, y->name);
}

bool ts_weights_index(ts_weights *w, ts_error *err)
{
    if (!w->count) return ts_fail(err, TS_ERR_FORMAT, "'%s' holds no tensors", w->path);
    w->by_name = malloc((size_t)w->count * sizeof *w->by_name);
    if (!w->by_name) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory for %lld names", w->path, (long long)w->count);
    for (int64_t i = 0; i < w->count; i++) w->by_name[i] = &w->list[i];
    qsort(w->by_name, (size_t)w->count, sizeof *w->by_name, compare_names);
    for (int64_t i = 1; i < w->count; i++) {
        if (strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) != 0) continue;
        char shown[TS_QUOTE];
        return ts_fail(err, TS_ERR_FORMAT, "'%s' holds two tensors of the name '%s'", w->path,
                       ts_quote(shown, w->by_name[i]->name, strlen(w->by_name[i]->name)));
    }
    return true;
}

bool ts_weights_take_map(ts_weights *w, ts_mapping **map, ts_error *err)
{
    ts_mapping **maps = realloc(w->maps, ((size_t)w->map_count + 1) * sizeof *maps);
    if (!maps) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    w->maps = maps;
    w->maps[w->map_count++] = *map;
    *map = NULL;
    return true;
}

bool ts_weights_intact(const ts_weights *w, ts_error *err)
{
    for (int i = 0; w && i < w->map_count; i++)
        if (!ts_mapping_intact(w->maps[i], err)) return false;
    return true;
}

void ts_weights_detach(ts_weights *w)
{
    w->detached = true;
}

bool ts_weights_detached(const ts_weights *w)
{
    return w->detached;
}

bool ts_weights_say(ts_weights *w, ts_error *err, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return ts_fail(err, TS_ERR_MEMORY, "'%s': out of memory", w->path);
    free(w->note);
    w->note = text;
    return true;
}

const char *ts_weights_note(const ts_weights *w)
{
    return w->note;
}

void ts_weights_free(ts_weights *w)
{
    if (!w) return;
    for (int64_t i = 0; i < w->count; i++) free((char *)w->list[i].name);
    for (int64_t i = 0; i < 2 * w->meta_count; i++) free(w->meta[i]);
    for (int i = 0; i < w->map_count; i++) ts_mapping_free(w->maps[i]);
    free(w->maps);
    free(w->note);
    free(w->by_name);
    free(w->list);
    free(w->meta);
    free(w->path);
    free(w);
}

const char *ts_weights_path(const ts_weights *w)
{
    return w->path;
}

ts_file_kind ts_weights_kind(const ts_weights *w)
{
    return w->kind;
}

int ts_weights_shards(const ts_weights *w)
{
    return w->shards;
}

int64_t ts_weights_count(const ts_weights *w)
{
    return w->count;
}

const ts_weight *ts_weights_at(const ts_weights *w, int64_t i)
{
    return i >= 0 && i < w->count ? &w->list[i] : NULL;
}

const ts_weight *ts_weights_find(const ts_weights *w, const char *name)
{
    const ts_weight key = {.name = name}, *pointer = &key;
    const ts_weight **hit = bsearch(&pointer, w->by_name, (size_t)w->count, sizeof *w->by_name, compare_names);
    return hit ? *hit : NULL;
}

int64_t ts_weights_numbered(const ts_weights *w, const char *prefix)
{
    enum { MAX_DIGITS = 9 };
    size_t length = strlen(prefix);
    int64_t top = 0;
    for (int64_t i = 0; i < w->count; i++) {
        const char *name = w->list[i].name;
        if (strncmp(name, prefix, length) != 0) continue;
        size_t digits = strspn(name + length, "0123456789");
        if (digits == 0 || digits > MAX_DIGITS || name[length + digits] != '.') continue;
        int64_t n = strtoll(name + length, NULL, 10) + 1;
        if (n > top) top = n;
    }
    return top;
}

const char *ts_weights_meta(const ts_weights *w, const char *key)
{
    for (int64_t i = 0; i < w->meta_count; i++) {
        if (strcmp(w->meta[2 * i], key) == 0) return w->meta[2 * i + 1];
    }
    return NULL;
}

int64_t ts_weights_meta_count(const ts_weights *w)
{
    return w->meta_count;
}

void ts_weights_meta_at(const ts_weights *w, int64_t i, const char **key, const char **value)
{
    bool inside = i >= 0 && i < w->meta_count;
    *key = inside ? w->meta[2 * i] : NULL;
    *value = inside ? w->meta[2 * i + 1] : NULL;
}
