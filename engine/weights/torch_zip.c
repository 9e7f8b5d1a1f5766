/* torch_zip.c - PyTorch's zip container, since release 1.6.
 *
 * The archive holds one folder: `data.pkl`, a pickle that describes the tensors, and `data/KEY`, one record a storage, stored
 * uncompressed and so usable where it lies in the mapped file. TorchScript archives are the same, with `constants.pkl` beside it
 * and a tree of module objects in place of a dict. */
#include "engine/weights/torch.h"
#include "engine/weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 200 }; /* bytes of a storage's key */

typedef ts_pickle_value value;

typedef struct {
    ts_weights *w;
    const ts_zip *zip;
    char *root; /* "archive/", or "" */
    ts_error *err;
} reader;

/* ---- the archive's records ----------------------------------------------------------------------------------- */

static const ts_zip_entry *find_record(const reader *r, const char *folder, const char *name, size_t length)
{
    char path[512];
    int n = snprintf(path, sizeof path, "%s%s%.*s", r->root, folder, (int)length, name);
    return n > 0 && (size_t)n < sizeof path ? ts_zip_find(r->zip, path) : NULL;
}

/* The folder's name is whatever the file was called when it was saved: it stands before the first slash of the first record. */
static bool find_root(reader *r)
{
    const char *slash = strchr(r->zip->first, '/');
    r->root = strndup(r->zip->first, slash ? (size_t)(slash - r->zip->first) + 1 : 0);
    if (!r->root) return ts_fail(r->err, TS_ERR_MEMORY, "'%s': out of memory", r->w->path);
    if (!find_record(r, "", "data.pkl", 8)) r->root[0] = 0; /* packed again without the folder */
    return true;
}

static bool check_byte_order(const reader *r)
{
    const ts_zip_entry *entry = find_record(r, "", "byteorder", 9);
    if (!entry) return true; /* older than the record: little */
    void *owned;
    const uint8_t *order = ts_zip_small(r->zip, entry, 64, &owned, r->err);
    if (!order) return false;
    bool ok = entry->size == 6 && memcmp(order, "little", 6) == 0;
    free(owned);
    return ok || ts_fail(r->err, TS_ERR_UNSUPPORTED,
                         "'%s' was saved on a big-endian machine; load it in PyTorch on a little-endian one and save it again",
                         r->w->path);
}

/* ---- storages --------------------------------------------------------------------------------------------------- */

/* The record of a storage, which must have as many bytes as the pickle says. */
static bool find_storage(const ts_torch_file *f, const value *v, const char *name, ts_torch_storage *out)
{
    const reader *r = f->container;
    const char *path = r->w->path;
    ts_torch_id id;
    char shown[TS_QUOTE];
    if (!ts_torch_read_id(v, &id) || id.key->kind != TS_PICKLE_STRING || id.key->text.size > MAX_KEY)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' has no proper key or size", path, name);
    if (!ts_torch_dtype(id.type, &out->dtype)) return ts_torch_fail_dtype(f, name, id.type);
    const ts_zip_entry *entry = find_record(r, "data/", id.key->text.bytes, id.key->text.size);
    if (!entry) entry = find_record(r, "constants/", id.key->text.bytes, id.key->text.size);
    if (!entry)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' (data/%s) is not in the archive", path, name,
                       ts_quote(shown, id.key->text.bytes, id.key->text.size));
    int64_t bytes;
    if (__builtin_mul_overflow(id.elements, (int64_t)ts_dtype_size(out->dtype), &bytes) || (uint64_t)bytes != entry->size)
        return ts_fail(r->err, TS_ERR_FORMAT,
                       "'%s': the storage of tensor '%s' has %llu bytes, not the %lld elements of %s that it should", path, name,
                       (unsigned long long)entry->size, (long long)id.elements, ts_dtype_name(out->dtype));
    out->elements = id.elements;
    out->data = ts_zip_stored(r->zip, entry, r->err);
    return out->data != NULL;
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static bool read_archive(reader *r)
{
    ts_weights *w = r->w;
    const ts_zip_entry *entry = find_record(r, "", "data.pkl", 8);
    if (!entry) return ts_foreign_zip(r->zip, r->err);
    w->kind = find_record(r, "", "constants.pkl", 13) ? TS_FILE_TORCHSCRIPT : TS_FILE_TORCH_ZIP;
    if (!check_byte_order(r)) return false;
    void *owned;
    const uint8_t *bytes = ts_zip_small(r->zip, entry, TS_TORCH_MAX_PICKLE, &owned, r->err);
    if (!bytes) return false;
    ts_pickle *pickle = ts_pickle_read(bytes, entry->size, w->path, r->err);
    bool ok = pickle != NULL;
    if (ok) {
        const value *root = ts_pickle_root(pickle);
        bool module = w->kind == TS_FILE_TORCHSCRIPT && root->kind == TS_PICKLE_OBJECT;
        ts_torch_file f = {.w = w, .container = r, .find_storage = find_storage, .err = r->err};
        ok = module ? ts_torch_read_modules(&f, root) : ts_torch_read_checkpoint(&f, root);
    }
    ts_pickle_free(pickle);
    free(owned);
    return ok;
}

bool ts_torch_zip_read(ts_weights *w, ts_error *err)
{
    ts_zip zip;
    if (!ts_zip_open(&zip, w->bytes, w->size, w->path, err)) return false;
    reader r = {.w = w, .zip = &zip, .err = err};
    bool ok = find_root(&r) && read_archive(&r);
    free(r.root);
    ts_zip_close(&zip);
    return ok;
}
