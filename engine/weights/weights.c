/* weights.c - weights files: opening, telling the format, looking tensors up.
 *
 * A file is mapped and never read as a whole: opening costs the parsing of its directory, and a tensor's pages come from the
 * disk when it is converted or uploaded. The format is told by content, because names in the wild lie (.pth, .pt, .ckpt, .bin and
 * .pth.tar are all the same container, and a failed download is often an HTML page of the right name). */
#include "engine/weights/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool index_names(ts_weights *w, ts_error *err)
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

static bool starts_with(const ts_weights *w, const char *magic, size_t length)
{
    return w->size >= length && memcmp(w->bytes, magic, length) == 0;
}

/* Text has no zero bytes, which both the zip and the safetensors header are bound to have early. */
static bool looks_like_text(const ts_weights *w)
{
    uint64_t n = w->size < 512 ? w->size : 512;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t c = w->bytes[i];
        if (c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f') return false;
    }
    return true;
}

static bool read_by_content(ts_weights *w, ts_error *err)
{
    static const char legacy[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"; /* LONG1 with torch's magic number */
    if (!w->size) return ts_fail(err, TS_ERR_FORMAT, "'%s' is empty; a weights file was expected", w->path);
    if (starts_with(w, "PK\3\4", 4)) return ts_torch_read(w, err);
    if (starts_with(w, "PK\5\6", 4))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is an empty zip archive: it holds no tensors", w->path);
    if (w->size > sizeof legacy && w->bytes[0] == 0x80 && memcmp(w->bytes + 2, legacy, sizeof legacy - 1) == 0)
        return ts_fail(err, TS_ERR_UNSUPPORTED,
                       "'%s' is in PyTorch's old format from before version 1.6; save it again in the zip format: "
                       "torch.save(torch.load(old, map_location=\"cpu\"), new)",
                       w->path);
    if (starts_with(w, "version https://git-lfs", 23))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is a Git LFS pointer, not the weights themselves; fetch them with git lfs pull",
                       w->path);
    if (looks_like_text(w))
        return ts_fail(err, TS_ERR_FORMAT, "'%s' is a text file; a safetensors file or a PyTorch checkpoint was expected",
                       w->path);
    if (w->size > 8 && w->bytes[8] == '{') return ts_safetensors_read(w, err);
    return ts_fail(err, TS_ERR_FORMAT, "'%s' is neither a safetensors file nor a PyTorch zip checkpoint", w->path);
}

static ts_weights *new_weights(const char *path, ts_error *err)
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

ts_weights *ts_weights_open_memory(const void *bytes, size_t size, const char *label, ts_error *err)
{
    ts_weights *w = new_weights(label, err);
    if (!w) return NULL;
    w->bytes = bytes;
    w->size = size;
    if (read_by_content(w, err) && index_names(w, err)) return w;
    ts_weights_free(w);
    return NULL;
}

static bool map_file(ts_weights *w, ts_error *err)
{
    int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0) return ts_fail(err, TS_ERR_IO, "cannot open weights file '%s': %s", w->path, strerror(errno));
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (!ok) ts_fail(err, TS_ERR_IO, "cannot look at weights file '%s': %s", w->path, strerror(errno));
    if (ok && !S_ISREG(st.st_mode)) {
        ts_fail(err, TS_ERR_IO, "'%s' is %s; a weights file was expected", w->path,
                S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
        ok = false;
    }
    if (ok && st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            ok = ts_fail(err, TS_ERR_IO, "cannot map weights file '%s': %s", w->path, strerror(errno));
        } else {
            w->bytes = map;
            w->size = (uint64_t)st.st_size;
            w->mapped = true;
        }
    }
    close(fd);
    return ok;
}

ts_weights *ts_weights_open(const char *path, ts_error *err)
{
    ts_weights *w = new_weights(path, err);
    if (!w) return NULL;
    if (map_file(w, err) && read_by_content(w, err) && index_names(w, err)) return w;
    ts_weights_free(w);
    return NULL;
}

void ts_weights_free(ts_weights *w)
{
    if (!w) return;
    for (int64_t i = 0; i < w->count; i++) free((char *)w->list[i].name);
    for (int64_t i = 0; i < 2 * w->meta_count; i++) free(w->meta[i]);
    if (w->mapped) munmap((void *)w->bytes, w->size);
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

void ts_weight_release(const ts_weight *t)
{
    if (!t->count) return;
    uint64_t last = 0; /* element farthest from the first */
    for (int i = 0; i < t->ndim; i++) last += (uint64_t)(t->shape[i] - 1) * (uint64_t)t->stride[i];
    /* Whole pages inside the tensor only: the ones at its ends hold neighbours. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)t->data;
    uintptr_t begin = (start + page - 1) / page * page;
    uintptr_t end = (start + (last + 1) * (uint64_t)ts_dtype_size(t->dtype)) / page * page;
    if (end > begin) madvise((char *)t->data + (begin - start), end - begin, MADV_DONTNEED);
}
