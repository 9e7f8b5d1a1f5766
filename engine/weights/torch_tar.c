/* torch_tar.c - PyTorch's container before release 0.1.10: a tar archive of `sys_info`, `storages`, `tensors` and `pickle`.
 *
 * `storages` is a pickled number of them, then for each a pickled (key, device, type), its number of elements in 64 bits and the
 * elements; then a pickled list of views, (key, key of the whole, offset, elements). `tensors` is a pickled number, then for each
 * a pickled (key, key of its storage, type), its number of dimensions in 64 bits, its shape, its strides and its offset. `pickle`
 * is the object, where a persistent id is the key of a tensor. Keys are numbers. */
#include "engine/weights/torch.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, MAX_SMALL_PICKLE = 1 << 16 };

typedef ts_pickle_value value;

typedef struct {
    const uint8_t *bytes;
    uint64_t size, at;
} member;

typedef struct {
    int64_t key;
    ts_torch_storage storage;
} keyed_storage;

typedef struct {
    int64_t key;
    int64_t storage; /* its key */
    int64_t offset;
    int ndim;
    int64_t shape[TS_MAX_FILE_DIMS], stride[TS_MAX_FILE_DIMS];
} keyed_tensor;

typedef struct {
    ts_weights *w;
    keyed_storage *storages;
    keyed_tensor *tensors;
    int64_t storage_count, storage_room, tensor_count, tensor_room;
    int64_t sorted; /* storages, at the front: the ones that are found */
    ts_error *err;
} reader;

/* ---- tar ------------------------------------------------------------------------------------------------------ */

/* A number of a header: octal digits, or the bytes themselves where the first has its highest bit set. */
static bool tar_number(const uint8_t *field, int length, uint64_t *out)
{
    *out = 0;
    if (field[0] & 0x80) {
        for (int i = 1; i < length; i++) {
            if (*out >> 56) return false;
            *out = *out << 8 | field[i];
        }
        return true;
    }
    int i = 0;
    while (i < length && field[i] == ' ') i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++) *out = *out << 3 | (uint64_t)(field[i] - '0');
    return i == length || field[i] == 0 || field[i] == ' ';
}

/* Finds a member by name; a size of 0 where it is not there. */
static member find_member(const ts_weights *w, const char *name)
{
    enum { NAME = 100, SIZE_AT = 124, SIZE_LENGTH = 12 };
    uint64_t at = 0;
    while (w->size - at >= BLOCK && w->bytes[at]) {
        const uint8_t *header = w->bytes + at;
        uint64_t size, rest = w->size - at - BLOCK;
        if (!tar_number(header + SIZE_AT, SIZE_LENGTH, &size) || size > rest) break;
        if (strnlen((const char *)header, NAME) == strlen(name) && memcmp(header, name, strlen(name)) == 0)
            return (member){.bytes = header + BLOCK, .size = size};
        const uint64_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
        if (padded > rest) break;
        at += BLOCK + padded;
    }
    return (member){0};
}

bool ts_torch_is_tar(const ts_weights *w)
{
    return w->size >= BLOCK && memcmp(w->bytes + 257, "ustar", 5) == 0 && find_member(w, "pickle").size > 0 &&
           find_member(w, "storages").size > 0;
}

/* ---- reading a member ------------------------------------------------------------------------------------------- */

static bool broken(const reader *r, const char *what)
{
    return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the old tar format is broken or truncated: %s", r->w->path, what);
}

static ts_pickle *next_pickle(const reader *r, member *m, uint64_t limit)
{
    const uint64_t rest = m->size - m->at;
    if (rest == 0) { /* a member that is not there has no bytes at all */
        broken(r, "a member ends too early, or is missing");
        return NULL;
    }
    ts_pickle *p = ts_pickle_read(m->bytes + m->at, rest < limit ? rest : limit, r->w->path, r->err);
    if (p) m->at += ts_pickle_size(p);
    return p;
}

static bool next_count(const reader *r, member *m, int64_t *out)
{
    ts_pickle *p = next_pickle(r, m, MAX_SMALL_PICKLE);
    const value *v = p ? ts_pickle_root(p) : NULL;
    bool ok = v && v->kind == TS_PICKLE_INT && v->integer >= 0;
    *out = ok ? v->integer : 0;
    ts_pickle_free(p);
    return ok || broken(r, "a count is none");
}

static bool next_word(const reader *r, member *m, int64_t *out)
{
    if (!m->bytes || m->size - m->at < 8) return broken(r, "it ends in the middle of a number");
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) word = word << 8 | m->bytes[m->at + (uint64_t)i];
    m->at += 8;
    *out = (int64_t)word;
    return true;
}

/* Three values, the first and perhaps the second of which are keys. */
static bool is_triple(const value *v)
{
    return v->kind == TS_PICKLE_TUPLE && v->list.count >= 3 && v->list.items[0]->kind == TS_PICKLE_INT;
}

/* One place more in a list. */
static void *grow(const reader *r, void *list, int64_t count, int64_t *room, size_t item)
{
    if (count < *room) return list;
    const int64_t larger = *room ? 2 * *room : 256;
    void *grown = realloc(list, (size_t)larger * item);
    if (grown) *room = larger;
    else ts_fail(r->err, TS_ERR_MEMORY, "'%s': out of memory for %lld tensors", r->w->path, (long long)larger);
    return grown;
}

/* ---- storages --------------------------------------------------------------------------------------------------- */

static int compare_storages(const void *a, const void *b)
{
    const keyed_storage *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static const keyed_storage *find_keyed(const reader *r, int64_t key)
{
    const keyed_storage wanted = {.key = key};
    return r->sorted ? bsearch(&wanted, r->storages, (size_t)r->sorted, sizeof wanted, compare_storages) : NULL;
}

static bool add_storage(reader *r, const keyed_storage *s)
{
    keyed_storage *grown = grow(r, r->storages, r->storage_count, &r->storage_room, sizeof *grown);
    if (!grown) return false;
    r->storages = grown;
    r->storages[r->storage_count++] = *s;
    return true;
}

static bool read_storage(reader *r, member *m)
{
    ts_pickle *p = next_pickle(r, m, MAX_SMALL_PICKLE);
    const value *v = p ? ts_pickle_root(p) : NULL;
    bool ok = v && (is_triple(v) || broken(r, "a storage has no key, device and type"));
    keyed_storage s = {0};
    int size = 0;
    if (ok) {
        s.key = v->list.items[0]->integer;
        size = ts_torch_element_size(v->list.items[2]);
        ok = (size && ts_torch_dtype(v->list.items[2], &s.storage.dtype)) || broken(r, "a storage is of an unknown type");
    }
    ts_pickle_free(p);
    int64_t bytes = 0;
    ok = ok && next_word(r, m, &s.storage.elements);
    if (ok && (s.storage.elements < 0 || __builtin_mul_overflow(s.storage.elements, (int64_t)size, &bytes) ||
               (uint64_t)bytes > m->size - m->at))
        ok = broken(r, "a storage ends outside the archive's member");
    if (!ok) return false;
    s.storage.data = m->bytes + m->at;
    m->at += (uint64_t)bytes;
    return add_storage(r, &s);
}

/* A view: the keys of the part and of the whole, offset, elements. */
static bool read_view(reader *r, const value *v)
{
    if (!is_triple(v) || v->list.count < 4) return broken(r, "a view of a storage is none");
    for (int i = 1; i < 4; i++)
        if (v->list.items[i]->kind != TS_PICKLE_INT) return broken(r, "a view of a storage is none");
    const keyed_storage *whole = find_keyed(r, v->list.items[1]->integer);
    const int64_t offset = v->list.items[2]->integer, elements = v->list.items[3]->integer;
    if (!whole || offset < 0 || elements < 0 || offset > whole->storage.elements || elements > whole->storage.elements - offset)
        return broken(r, "a view reaches outside its storage");
    const keyed_storage part = {
        .key = v->list.items[0]->integer,
        .storage = {.data = whole->storage.data + offset * ts_dtype_size(whole->storage.dtype),
                    .elements = elements,
                    .dtype = whole->storage.dtype},
    };
    return add_storage(r, &part);
}

static bool sort_storages(reader *r)
{
    if (r->storage_count) qsort(r->storages, (size_t)r->storage_count, sizeof *r->storages, compare_storages);
    r->sorted = r->storage_count;
    for (int64_t i = 1; i < r->sorted; i++)
        if (r->storages[i - 1].key == r->storages[i].key) return broken(r, "two storages have one key");
    return true;
}

static bool read_storages(reader *r)
{
    member m = find_member(r->w, "storages");
    int64_t count;
    if (!next_count(r, &m, &count)) return false;
    for (int64_t i = 0; i < count; i++)
        if (!read_storage(r, &m)) return false;
    if (!sort_storages(r)) return false;
    ts_pickle *views = next_pickle(r, &m, TS_TORCH_MAX_PICKLE);
    if (!views) return false;
    const value *list = ts_pickle_root(views);
    bool ok = list->kind == TS_PICKLE_LIST || broken(r, "the list of views is none");
    for (size_t i = 0; ok && i < list->list.count; i++) ok = read_view(r, list->list.items[i]);
    ts_pickle_free(views);
    return ok && sort_storages(r);
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static int compare_tensors(const void *a, const void *b)
{
    const keyed_tensor *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static bool read_tensor(reader *r, member *m)
{
    ts_pickle *p = next_pickle(r, m, MAX_SMALL_PICKLE);
    const value *v = p ? ts_pickle_root(p) : NULL;
    keyed_tensor t = {0};
    bool ok = v && ((is_triple(v) && v->list.items[1]->kind == TS_PICKLE_INT) || broken(r, "a tensor has no key and storage"));
    if (ok) {
        t.key = v->list.items[0]->integer;
        t.storage = v->list.items[1]->integer;
    }
    ts_pickle_free(p);
    int64_t ndim = 0;
    if (!ok || !next_word(r, m, &ndim)) return false;
    ndim = (int32_t)(uint32_t)ndim; /* of the 64 bits, 32 count */
    if (ndim < 0 || ndim > TS_MAX_FILE_DIMS) return broken(r, "a tensor has more than 8 dimensions");
    t.ndim = (int)ndim;
    for (int i = 0; i < t.ndim; i++)
        if (!next_word(r, m, &t.shape[i]) || t.shape[i] < 0) return broken(r, "a side of a tensor is below 0");
    for (int i = 0; i < t.ndim; i++)
        if (!next_word(r, m, &t.stride[i]) || t.stride[i] < 0) return broken(r, "a stride of a tensor is below 0");
    if (!next_word(r, m, &t.offset) || t.offset < 0) return broken(r, "the offset of a tensor is below 0");
    keyed_tensor *grown = grow(r, r->tensors, r->tensor_count, &r->tensor_room, sizeof *grown);
    if (!grown) return false;
    r->tensors = grown;
    r->tensors[r->tensor_count++] = t;
    return true;
}

static bool read_tensors(reader *r)
{
    member m = find_member(r->w, "tensors");
    int64_t count;
    if (!next_count(r, &m, &count)) return false;
    for (int64_t i = 0; i < count; i++)
        if (!read_tensor(r, &m)) return false;
    if (r->tensor_count) qsort(r->tensors, (size_t)r->tensor_count, sizeof *r->tensors, compare_tensors);
    return true;
}

/* A key as a number, or as its digits. */
static bool read_key(const value *id, int64_t *out)
{
    if (id->kind == TS_PICKLE_INT) {
        *out = id->integer;
        return true;
    }
    if (id->kind != TS_PICKLE_STRING || !id->text.size || id->text.size > 18) return false;
    *out = 0;
    for (size_t i = 0; i < id->text.size; i++) {
        const char c = id->text.bytes[i];
        if (c < '0' || c > '9') return false;
        *out = *out * 10 + (c - '0');
    }
    return true;
}

static bool find_tensor(const ts_torch_file *f, const value *id, const char *name, ts_torch_storage *storage, ts_weight *out,
                        int64_t *offset)
{
    const reader *r = f->container;
    keyed_tensor wanted = {0};
    const keyed_tensor *t = read_key(id, &wanted.key) && r->tensor_count
                                ? bsearch(&wanted, r->tensors, (size_t)r->tensor_count, sizeof wanted, compare_tensors)
                                : NULL;
    const keyed_storage *s = t ? find_keyed(r, t->storage) : NULL;
    if (!s) return ts_fail(f->err, TS_ERR_FORMAT, "'%s': tensor '%s' or its storage is not in the archive", f->w->path, name);
    *storage = s->storage;
    *offset = t->offset;
    out->ndim = t->ndim;
    memcpy(out->shape, t->shape, sizeof t->shape);
    memcpy(out->stride, t->stride, sizeof t->stride);
    return true;
}

static bool find_storage(const ts_torch_file *f, const value *id, const char *name, ts_torch_storage *out)
{
    const reader *r = f->container;
    int64_t key;
    const keyed_storage *s = read_key(id, &key) ? find_keyed(r, key) : NULL;
    if (!s) return ts_fail(f->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' is not in the archive", f->w->path, name);
    *out = s->storage;
    return true;
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static bool read_machine(const reader *r)
{
    member m = find_member(r->w, "sys_info");
    ts_pickle *p = m.size ? next_pickle(r, &m, MAX_SMALL_PICKLE) : NULL;
    bool ok = !m.size || (p && ts_torch_check_machine(r->w, ts_pickle_root(p), r->err));
    ts_pickle_free(p);
    return ok;
}

bool ts_torch_tar_read(ts_weights *w, ts_error *err)
{
    reader r = {.w = w, .err = err};
    w->kind = TS_FILE_TORCH_LEGACY;
    member m = find_member(w, "pickle");
    ts_pickle *object = NULL;
    bool ok = read_machine(&r) && read_storages(&r) && read_tensors(&r) && (object = next_pickle(&r, &m, TS_TORCH_MAX_PICKLE));
    ts_torch_file f = {.w = w, .container = &r, .find_storage = find_storage, .find_tensor = find_tensor, .err = err};
    ok = ok && ts_torch_read_checkpoint(&f, ts_pickle_root(object));
    ts_pickle_free(object);
    free(r.storages);
    free(r.tensors);
    return ok;
}
