/* torch_zip.c - tensors out of PyTorch's zip container.
 *
 * The archive holds one folder: `data.pkl`, a pickle that describes the tensors, and `data/KEY`, one record a storage, stored
 * uncompressed and so usable where it lies in the mapped file. A tensor in the pickle is a call that is never made,
 * torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...), whose storage is a persistent id
 * ('storage', torch.FloatStorage, KEY, device, elements). TorchScript archives are the same, with `constants.pkl` beside it and a
 * tree of module objects in place of a dict. Only the tensors wanted are checked: an optimizer's state, an argparse.Namespace and
 * whatever else a training script left in the file is passed over. */
#include "engine/weights/pickle.h"
#include "engine/weights/internal.h"
#include "engine/weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PICKLE = 32 << 20, /* bytes of data.pkl; real ones stay below 2 MB */
    MAX_KEY = 200,         /* bytes of a storage's key */
    MAX_DEPTH = 64,        /* modules within modules */
};

typedef ts_pickle_value value;

typedef struct {
    ts_weights *w;
    const ts_zip *zip;
    char *root; /* "archive/", or "" */
    char path[TS_MAX_TENSOR_NAME + 1];
    int64_t visits; /* attributes looked at: modules may be shared, and their tree may be far larger than the file */
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

/* ---- one tensor ---------------------------------------------------------------------------------------------- */

static bool storage_dtype(const value *symbol, ts_dtype *out)
{
    static const char *const names[] = {
        [TS_DT_F32] = "FloatStorage",  [TS_DT_F16] = "HalfStorage", [TS_DT_BF16] = "BFloat16Storage",
        [TS_DT_F64] = "DoubleStorage", [TS_DT_I64] = "LongStorage", [TS_DT_I32] = "IntStorage",
        [TS_DT_I16] = "ShortStorage",  [TS_DT_I8] = "CharStorage",  [TS_DT_U8] = "ByteStorage",
        [TS_DT_BOOL] = "BoolStorage",
    };
    if (symbol->kind != TS_PICKLE_SYMBOL) return false;
    for (int d = TS_DT_F32; d <= TS_DT_BOOL; d++) {
        if (!ts_pickle_is_text(symbol->symbol.name, names[d])) continue;
        *out = (ts_dtype)d;
        return true;
    }
    return false;
}

/* Finds the bytes of a storage, and checks that the record has as many as the pickle says. */
static bool find_storage(const reader *r, const value *v, const char *name, ts_dtype *dtype, const uint8_t **data,
                         int64_t *elements)
{
    const char *path = r->w->path;
    const value *id = v->kind == TS_PICKLE_PERSISTENT ? v->id : NULL;
    if (!id || id->kind != TS_PICKLE_TUPLE || id->list.count < 5 || !ts_pickle_is_text(id->list.items[0], "storage"))
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': tensor '%s' has no storage", path, name);
    const value *type = id->list.items[1], *key = id->list.items[2], *count = id->list.items[4];
    char shown[TS_QUOTE];
    if (!storage_dtype(type, dtype)) {
        const value *text = type->kind == TS_PICKLE_SYMBOL ? type->symbol.name : NULL;
        return ts_fail(r->err, TS_ERR_UNSUPPORTED,
                       "'%s': tensor '%s' has elements of an unsupported type (%s); convert it to float32", path, name,
                       text ? ts_quote(shown, text->text.bytes, text->text.size) : "unnamed");
    }
    if (key->kind != TS_PICKLE_STRING || key->text.size > MAX_KEY || count->kind != TS_PICKLE_INT || count->integer < 0)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' has no proper key or size", path, name);

    const ts_zip_entry *entry = find_record(r, "data/", key->text.bytes, key->text.size);
    if (!entry) entry = find_record(r, "constants/", key->text.bytes, key->text.size);
    if (!entry)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the storage of tensor '%s' (data/%s) is not in the archive", path, name,
                       ts_quote(shown, key->text.bytes, key->text.size));
    int64_t bytes;
    if (__builtin_mul_overflow(count->integer, (int64_t)ts_dtype_size(*dtype), &bytes) || (uint64_t)bytes != entry->size)
        return ts_fail(r->err, TS_ERR_FORMAT,
                       "'%s': the storage of tensor '%s' has %llu bytes, not the %lld elements of %s that it should", path, name,
                       (unsigned long long)entry->size, (long long)count->integer, ts_dtype_name(*dtype));
    *elements = count->integer;
    *data = ts_zip_stored(r->zip, entry, r->err);
    return *data != NULL;
}

static bool read_sides(const value *v, int64_t *sides, int *ndim)
{
    if (v->kind != TS_PICKLE_TUPLE || v->list.count > TS_MAX_FILE_DIMS) return false;
    for (size_t i = 0; i < v->list.count; i++) {
        const value *side = v->list.items[i];
        if (side->kind != TS_PICKLE_INT || side->integer < 0) return false;
        sides[i] = side->integer;
    }
    *ndim = (int)v->list.count;
    return true;
}

/* Whether offset + sum (shape-1)*stride, the farthest element, lies in the storage. */
static bool fits_storage(const ts_weight *t, int64_t offset, int64_t elements)
{
    int64_t last = offset;
    if (!t->count) return offset <= elements;
    for (int i = 0; i < t->ndim; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) || __builtin_add_overflow(last, reach, &last))
            return false;
    }
    return last < elements;
}

static bool add_tensor(reader *r, const char *name, size_t length, const value *args)
{
    const char *path = r->w->path;
    char shown[TS_QUOTE];
    ts_quote(shown, name, length);
    if (args->kind != TS_PICKLE_TUPLE || args->list.count < 4)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': tensor '%s' lacks a storage, an offset, a shape or strides", path, shown);
    value *const *arg = args->list.items;
    ts_weight t = {0};
    const uint8_t *data = NULL;
    int64_t elements = 0;
    int strides = 0;
    if (!find_storage(r, arg[0], shown, &t.dtype, &data, &elements)) return false;
    if (arg[1]->kind != TS_PICKLE_INT || arg[1]->integer < 0 || !read_sides(arg[2], t.shape, &t.ndim) ||
        !read_sides(arg[3], t.stride, &strides) || strides != t.ndim)
        return ts_fail(
            r->err, TS_ERR_FORMAT,
            "'%s': the shape, strides or offset of tensor '%s' are not whole numbers from 0 up, of %d dimensions at most", path,
            shown, TS_MAX_FILE_DIMS);
    /* A stride of 0 repeats elements, so the storage does not bound the count; the file does, lest a reader allocate without end.
     */
    if (!ts_shape_count(t.ndim, t.shape, (int64_t)r->w->size, &t.count))
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the shape of tensor '%s' has more elements than the file has bytes", path,
                       shown);
    if (!fits_storage(&t, arg[1]->integer, elements))
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': tensor '%s' reaches outside its storage of %lld elements", path, shown,
                       (long long)elements);
    t.contiguous = ts_weight_is_contiguous(&t);
    t.data = data + arg[1]->integer * ts_dtype_size(t.dtype);
    return ts_weights_push(r->w, name, length, &t, r->err);
}

/* The call that stands for a tensor. `*function` becomes the name of the torch._utils function and `*args` its arguments, with
 * the wrappers of parameters and of tensor subclasses taken off. */
static bool tensor_call(const value *v, const value **function, const value **args)
{
    for (int layers = 0; layers < 4; layers++) {
        if (v->kind != TS_PICKLE_OBJECT || !v->object.maker || !v->object.args || v->object.args->kind != TS_PICKLE_TUPLE)
            return false;
        *function = v->object.maker;
        *args = v->object.args;
        if (ts_pickle_is_symbol(*function, "torch._tensor", "_rebuild_from_type_v2") && (*args)->list.count >= 3) {
            *function = (*args)->list.items[0];
            *args = (*args)->list.items[2];
        }
        if ((*function)->kind != TS_PICKLE_SYMBOL || !ts_pickle_is_text((*function)->symbol.module, "torch._utils")) return false;
        const value *name = (*function)->symbol.name;
        bool parameter =
            ts_pickle_is_text(name, "_rebuild_parameter") || ts_pickle_is_text(name, "_rebuild_parameter_with_state");
        if (!parameter) return name->text.size > 9 && memcmp(name->text.bytes, "_rebuild_", 9) == 0;
        if ((*args)->kind != TS_PICKLE_TUPLE || !(*args)->list.count) return false;
        v = (*args)->list.items[0];
    }
    return false;
}

/* Adds `v` if it is a tensor; `*found` says so. Sparse, quantized and other odd tensors are errors: silence would lose them. */
static bool add_if_tensor(reader *r, const char *name, size_t length, const value *v, bool *found)
{
    const value *function, *args;
    *found = tensor_call(v, &function, &args);
    if (!*found) return true;
    if (ts_pickle_is_text(function->symbol.name, "_rebuild_tensor_v2") ||
        ts_pickle_is_text(function->symbol.name, "_rebuild_tensor"))
        return add_tensor(r, name, length, args);
    char shown[TS_QUOTE], kind[TS_QUOTE];
    return ts_fail(r->err, TS_ERR_UNSUPPORTED,
                   "'%s': tensor '%s' is of an unsupported kind (%s); convert it to a plain float32 tensor", r->w->path,
                   ts_quote(shown, name, length),
                   ts_quote(kind, function->symbol.name->text.bytes, function->symbol.name->text.size));
}

/* ---- a checkpoint: a dict of tensors --------------------------------------------------------------------------- */

static const value *as_dict(const value *v)
{
    if (v && v->kind == TS_PICKLE_OBJECT) v = v->object.dict;
    return v && v->kind == TS_PICKLE_DICT ? v : NULL;
}

static bool has_tensors(const value *dict)
{
    const value *function, *args;
    for (size_t i = 0; dict && i < dict->list.count; i += 2) {
        if (dict->list.items[i]->kind == TS_PICKLE_STRING && tensor_call(dict->list.items[i + 1], &function, &args)) return true;
    }
    return false;
}

static bool read_checkpoint(reader *r, const value *root)
{
    const value *top = as_dict(root), *dict = as_dict(ts_pickle_get(top, "model"));
    if (!has_tensors(dict)) dict = as_dict(ts_pickle_get(top, "state_dict"));
    if (!has_tensors(dict)) dict = top;
    if (!has_tensors(dict)) {
        const value *model = ts_pickle_get(top, "model");
        bool module = !top || (model && model->kind == TS_PICKLE_OBJECT);
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s' holds %s; save model.state_dict() with torch.save", r->w->path,
                       module ? "an object, not a dict of tensors"
                              : "no tensors under 'model', under 'state_dict' or at the top");
    }
    for (size_t i = 0; i < dict->list.count; i += 2) {
        const value *key = dict->list.items[i];
        bool found;
        if (key->kind != TS_PICKLE_STRING) continue;
        if (!add_if_tensor(r, key->text.bytes, key->text.size, dict->list.items[i + 1], &found)) return false;
    }
    return true;
}

/* ---- TorchScript: a tree of modules ---------------------------------------------------------------------------- */

static bool read_module(reader *r, const value *module, size_t length, int depth)
{
    const value *state = as_dict(module->object.state);
    if (depth > MAX_DEPTH)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s': modules are nested deeper than %d", r->w->path, MAX_DEPTH);
    for (size_t i = 0; state && i < state->list.count; i += 2) {
        const value *key = state->list.items[i], *v = state->list.items[i + 1];
        if (++r->visits > 16 * (int64_t)TS_MAX_FILE_TENSORS)
            return ts_fail(r->err, TS_ERR_FORMAT, "'%s': the tree of modules is larger than any model's", r->w->path);
        if (key->kind != TS_PICKLE_STRING) continue;
        size_t dot = length ? 1 : 0, total = length + dot + key->text.size;
        if (total > TS_MAX_TENSOR_NAME)
            return ts_fail(r->err, TS_ERR_FORMAT, "'%s': a name of more than %d bytes", r->w->path, TS_MAX_TENSOR_NAME);
        if (dot) r->path[length] = '.';
        memcpy(r->path + length + dot, key->text.bytes, key->text.size);
        bool found;
        if (!add_if_tensor(r, r->path, total, v, &found)) return false;
        if (!found && v->kind == TS_PICKLE_OBJECT && !read_module(r, v, total, depth + 1)) return false;
    }
    return true;
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static bool read_archive(reader *r)
{
    ts_weights *w = r->w;
    const ts_zip_entry *entry = find_record(r, "", "data.pkl", 8);
    if (!entry)
        return ts_fail(r->err, TS_ERR_FORMAT, "'%s' is a zip archive, but no PyTorch checkpoint: it has no data.pkl", w->path);
    w->kind = find_record(r, "", "constants.pkl", 13) ? TS_FILE_TORCHSCRIPT : TS_FILE_TORCH_ZIP;
    if (!check_byte_order(r)) return false;
    void *owned;
    const uint8_t *bytes = ts_zip_small(r->zip, entry, MAX_PICKLE, &owned, r->err);
    if (!bytes) return false;
    ts_pickle *pickle = ts_pickle_read(bytes, entry->size, w->path, r->err);
    bool ok = pickle != NULL;
    if (ok) {
        const value *root = ts_pickle_root(pickle);
        bool module = w->kind == TS_FILE_TORCHSCRIPT && root->kind == TS_PICKLE_OBJECT;
        ok = module ? read_module(r, root, 0, 0) : read_checkpoint(r, root);
    }
    ts_pickle_free(pickle);
    free(owned);
    return ok;
}

bool ts_torch_read(ts_weights *w, ts_error *err)
{
    ts_zip zip;
    if (!ts_zip_open(&zip, w->bytes, w->size, w->path, err)) return false;
    reader r = {.w = w, .zip = &zip, .err = err};
    bool ok = find_root(&r) && read_archive(&r);
    free(r.root);
    ts_zip_close(&zip);
    return ok;
}
