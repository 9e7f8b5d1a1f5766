/* torch_legacy.c - PyTorch's container before release 1.6, which torchvision's and LPIPS' older files are still published in:
 * five pickles in a row (a magic number, the protocol's version, what machine wrote it, the object, the list of the storages'
 * keys), then the storages in the order of that list, each its number of elements in 64 bits and the elements.
 *
 * Only the object says of what type a storage is, and so how many bytes it takes; every id in it is looked at, an optimizer's
 * too. A storage may be named as a view of a part of another one. */
#include "engine/weights/torch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1001, MAX_SMALL_PICKLE = 1 << 16 };

typedef ts_pickle_value value;

/* One storage of the file. */
typedef struct {
    const value *key, *type;
    int64_t elements;
    const uint8_t *data; /* NULL: not found yet */
} slot;

typedef struct {
    ts_weights *w;
    uint64_t at; /* how far the file is read */
    slot *slots; /* by key */
    size_t count;
    ts_error *err;
} reader;

bool ts_torch_is_legacy(const uint8_t *bytes, uint64_t size)
{
    static const char binary[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."; /* LONG1 of the magic number, STOP */
    static const char text[] = "L119547037146038801333356L\n.";
    const size_t length = sizeof binary - 1, frame = 9;
    if (size >= sizeof text && memcmp(bytes, text, sizeof text - 1) == 0) return true;
    if (size < 2 + length || bytes[0] != 0x80) return false;
    if (memcmp(bytes + 2, binary, length) == 0) return true;
    return size >= 2 + frame + length && bytes[2] == 0x95 && memcmp(bytes + 2 + frame, binary, length) == 0;
}

static ts_pickle *next_pickle(reader *r, uint64_t limit)
{
    const uint64_t rest = r->w->size - r->at;
    ts_pickle *p = ts_pickle_read(r->w->bytes + r->at, rest < limit ? rest : limit, r->w->path, r->err);
    if (p) r->at += ts_pickle_size(p);
    return p;
}

/* ---- the pickles before the object ------------------------------------------------------------------------------ */

static bool check_version(const reader *r, const value *version)
{
    if (version->kind == TS_PICKLE_INT && version->integer == VERSION) return true;
    return ts_fail(r->err, TS_ERR_UNSUPPORTED, "'%s' is of another version than %d of PyTorch's old format", r->w->path, VERSION);
}

bool ts_torch_check_machine(const ts_weights *w, const value *about, ts_error *err)
{
    const value *little = ts_pickle_get(about, "little_endian");
    if (!little || little->kind != TS_PICKLE_BOOL || little->integer) return true;
    return ts_fail(err, TS_ERR_UNSUPPORTED,
                   "'%s' was saved on a big-endian machine; load it in PyTorch on a little-endian one and save it again",
                   w->path);
}

static bool read_start(reader *r)
{
    bool ok = true;
    for (int i = 0; ok && i < 3; i++) {
        ts_pickle *p = next_pickle(r, MAX_SMALL_PICKLE);
        ok = p != NULL;
        if (ok && i == 1) ok = check_version(r, ts_pickle_root(p));
        if (ok && i == 2) ok = ts_torch_check_machine(r->w, ts_pickle_root(p), r->err);
        ts_pickle_free(p);
    }
    return ok;
}

/* ---- the storages ----------------------------------------------------------------------------------------------- */

static int compare_keys(const value *a, const value *b)
{
    const size_t least = a->text.size < b->text.size ? a->text.size : b->text.size;
    const int order = least ? memcmp(a->text.bytes, b->text.bytes, least) : 0;
    return order ? order : (a->text.size > b->text.size) - (a->text.size < b->text.size);
}

static int compare_slots(const void *a, const void *b)
{
    return compare_keys(((const slot *)a)->key, ((const slot *)b)->key);
}

static slot *find_slot(const reader *r, const value *key)
{
    const slot wanted = {.key = key};
    return key->kind == TS_PICKLE_STRING && r->count ? bsearch(&wanted, r->slots, r->count, sizeof *r->slots, compare_slots)
                                                     : NULL;
}

static const char *key_text(const value *key, char out[TS_QUOTE])
{
    return key->kind == TS_PICKLE_STRING ? ts_quote(out, key->text.bytes, key->text.size) : "not a string";
}

/* A slot for each storage that the object names. */
static bool list_slots(reader *r, const ts_pickle *object)
{
    size_t named, kept = 0;
    const value *const *ids = ts_pickle_persistent(object, &named);
    r->slots = malloc((named + 1) * sizeof *r->slots);
    if (!r->slots) return ts_fail(r->err, TS_ERR_MEMORY, "'%s': out of memory for %zu storages", r->w->path, named);
    for (size_t i = 0; i < named; i++) {
        ts_torch_id id;
        if (!ts_torch_read_id(ids[i]->id, &id) || id.key->kind != TS_PICKLE_STRING) continue; /* the source of a class */
        r->slots[r->count++] = (slot){.key = id.key, .type = id.type, .elements = id.elements};
    }
    qsort(r->slots, r->count, sizeof *r->slots, compare_slots);
    for (size_t i = 0; i < r->count; i++) {
        const slot *s = &r->slots[i], *last = kept ? &r->slots[kept - 1] : NULL;
        char shown[TS_QUOTE];
        if (!last || compare_slots(last, s) != 0) r->slots[kept++] = *s;
        else if (last->elements != s->elements || ts_torch_element_size(last->type) != ts_torch_element_size(s->type))
            return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage '%s' is named with two sizes", r->w->path,
                           key_text(s->key, shown));
    }
    r->count = kept;
    return true;
}

/* Finds the bytes of the storage that comes next in the file. */
static bool place_slot(reader *r, const value *key)
{
    const char *path = r->w->path;
    char shown[TS_QUOTE], type[TS_QUOTE];
    slot *s = find_slot(r, key);
    key_text(key, shown);
    if (!s || s->data)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the list of storages has '%s', which %s", path, shown,
                       s ? "it had before" : "no tensor names");
    const int size = ts_torch_element_size(s->type);
    if (!size) {
        const value *name = s->type->kind == TS_PICKLE_SYMBOL ? s->type->symbol.name : NULL;
        return ts_fail(r->err, TS_ERR_UNSUPPORTED, "'%s': the storage '%s' is of an unknown type (%s)", path, shown,
                       name ? ts_quote(type, name->text.bytes, name->text.size) : "unnamed");
    }
    uint64_t elements = 0, bytes;
    if (r->w->size - r->at < sizeof elements)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s' is truncated: it ends before the storage '%s'", path, shown);
    for (int i = 7; i >= 0; i--) elements = elements << 8 | r->w->bytes[r->at + (uint64_t)i];
    r->at += sizeof elements;
    if (elements != (uint64_t)s->elements)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage '%s' has %" PRIu64 " elements, its tensors say %" PRId64, path,
                       shown, elements, s->elements);
    if (__builtin_mul_overflow(elements, (uint64_t)size, &bytes) || bytes > r->w->size - r->at)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s' is truncated: it ends in the storage '%s' of %" PRIu64 " elements", path,
                       shown, elements);
    s->data = r->w->bytes + r->at;
    r->at += bytes;
    return true;
}

static bool place_slots(reader *r)
{
    ts_pickle *keys = next_pickle(r, TS_TORCH_MAX_PICKLE);
    const value *list = keys ? ts_pickle_root(keys) : NULL;
    bool ok = keys != NULL;
    if (ok && list->kind != TS_PICKLE_LIST)
        ok = ts_fail(r->err, TS_ERR_FORMAT, "'%s': the list of its storages is none", r->w->path);
    for (size_t i = 0; ok && i < list->list.count; i++) ok = place_slot(r, list->list.items[i]);
    ts_pickle_free(keys);
    return ok;
}

/* A view is (its own key, offset, elements) of the storage. */
static bool take_view(const value *view, ts_torch_storage *out)
{
    if (view->kind != TS_PICKLE_TUPLE || view->list.count < 3) return false;
    const value *offset = view->list.items[1], *elements = view->list.items[2];
    if (offset->kind != TS_PICKLE_INT || elements->kind != TS_PICKLE_INT || offset->integer < 0 || elements->integer < 0 ||
        offset->integer > out->elements || elements->integer > out->elements - offset->integer)
        return false;
    out->data += offset->integer * ts_dtype_size(out->dtype);
    out->elements = elements->integer;
    return true;
}

static bool find_storage(const ts_torch_file *f, const value *v, const char *name, ts_torch_storage *out)
{
    const reader *r = f->container;
    ts_torch_id id;
    char shown[TS_QUOTE];
    if (!ts_torch_read_id(v, &id) || id.key->kind != TS_PICKLE_STRING)
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' has no proper key or size", f->w->path, name);
    if (!ts_torch_dtype(id.type, &out->dtype)) return ts_torch_fail_dtype(f, name, id.type);
    const slot *s = find_slot(r, id.key);
    if (!s || !s->data)
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' ('%s') is not in the file", f->w->path, name,
                       key_text(id.key, shown));
    out->data = s->data;
    out->elements = s->elements;
    if (!id.view || take_view(id.view, out)) return true;
    return ts_fail(f->err, TS_ERR_FORMAT, "'%s': tensor '%s' is a view of what is not in its storage", f->w->path, name);
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

bool ts_torch_legacy_read(ts_weights *w, ts_error *err)
{
    reader r = {.w = w, .err = err};
    w->kind = TS_FILE_TORCH_LEGACY;
    if (!read_start(&r)) return false;
    ts_pickle *object = next_pickle(&r, TS_TORCH_MAX_PICKLE);
    ts_torch_file f = {.w = w, .container = &r, .find_storage = find_storage, .err = err};
    bool ok = object && list_slots(&r, object) && place_slots(&r) && ts_torch_read_checkpoint(&f, ts_pickle_root(object));
    free(r.slots);
    ts_pickle_free(object);
    return ok;
}
