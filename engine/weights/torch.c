/* torch.c - see torch.h.
 *
 * A tensor in the pickle is a call that is never made, torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...), whose
 * storage is a persistent id. Releases before 0.4 wrote an object of torch.FloatTensor with those four as its state, and a
 * Parameter or Variable around it; before 0.1.10 a tensor was a persistent id itself. Only the tensors wanted are checked: an
 * optimizer's state, an argparse.Namespace and whatever else a training script left in the file is passed over. */
#include "engine/weights/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 64,     /* modules within modules */
    MAX_CONTAINERS = 4, /* dicts within dicts, down to the tensors */
    MAX_VISITS = 16 * TS_MAX_FILE_TENSORS,
};

typedef ts_pickle_value value;

/* ---- storages -------------------------------------------------------------------------------------------------- */

bool ts_torch_read_id(const value *id, ts_torch_id *out)
{
    if (id->kind != TS_PICKLE_TUPLE || id->list.count < 5 || !ts_pickle_is_text(id->list.items[0], "storage")) return false;
    const value *elements = id->list.items[4], *view = id->list.count > 5 ? id->list.items[5] : NULL;
    if (elements->kind != TS_PICKLE_INT || elements->integer < 0) return false;
    *out = (ts_torch_id){.type = id->list.items[1],
                         .key = id->list.items[2],
                         .view = view && view->kind != TS_PICKLE_NONE ? view : NULL,
                         .elements = elements->integer};
    return true;
}

bool ts_torch_dtype(const value *type, ts_dtype *out)
{
    static const char *const names[] = {
        [TS_DT_F32] = "FloatStorage",  [TS_DT_F16] = "HalfStorage", [TS_DT_BF16] = "BFloat16Storage",
        [TS_DT_F64] = "DoubleStorage", [TS_DT_I64] = "LongStorage", [TS_DT_I32] = "IntStorage",
        [TS_DT_I16] = "ShortStorage",  [TS_DT_I8] = "CharStorage",  [TS_DT_U8] = "ByteStorage",
        [TS_DT_BOOL] = "BoolStorage",
    };
    if (type->kind != TS_PICKLE_SYMBOL) return false;
    for (int d = TS_DT_F32; d <= TS_DT_BOOL; d++) {
        if (!ts_pickle_is_text(type->symbol.name, names[d])) continue;
        *out = (ts_dtype)d;
        return true;
    }
    return false;
}

int ts_torch_element_size(const value *type)
{
    static const struct {
        const char *name;
        int size;
    } others[] = {
        {"ComplexFloatStorage", 8}, {"ComplexDoubleStorage", 16}, {"QInt8Storage", 1},    {"QUInt8Storage", 1},
        {"QInt32Storage", 4},       {"QUInt4x2Storage", 1},       {"QUInt2x4Storage", 1}, {"UntypedStorage", 1},
    };
    ts_dtype dtype;
    if (ts_torch_dtype(type, &dtype)) return ts_dtype_size(dtype);
    for (size_t i = 0; type->kind == TS_PICKLE_SYMBOL && i < sizeof others / sizeof *others; i++)
        if (ts_pickle_is_text(type->symbol.name, others[i].name)) return others[i].size;
    return 0;
}

bool ts_torch_fail_dtype(const ts_torch_file *f, const char *name, const value *type)
{
    char shown[TS_QUOTE];
    const value *text = type->kind == TS_PICKLE_SYMBOL ? type->symbol.name : NULL;
    return ts_fail(f->err, TS_ERR_UNSUPPORTED,
                   "'%s': tensor '%s' has elements of an unsupported type (%s); convert it to float32", f->w->path, name,
                   text ? ts_quote(shown, text->text.bytes, text->text.size) : "unnamed");
}

/* ---- one tensor ---------------------------------------------------------------------------------------------- */

/* What stands for a tensor in the pickle. */
typedef struct {
    const value *storage, *offset, *sides, *strides; /* NULL: lacking */
    const value *id;                                 /* instead of those: the persistent id of a whole tensor */
    const value *odd;                                /* or the name of a kind that cannot be read */
} tensor_parts;

static bool is_tuple(const value *v, size_t least)
{
    return v && v->kind == TS_PICKLE_TUPLE && v->list.count >= least;
}

static bool ends_with(const value *text, const char *ending)
{
    const size_t length = strlen(ending);
    return text->text.size >= length && memcmp(text->text.bytes + text->text.size - length, ending, length) == 0;
}

static void take_parts(const value *four, tensor_parts *out)
{
    if (!is_tuple(four, 4)) return;
    out->storage = four->list.items[0];
    out->offset = four->list.items[1];
    out->sides = four->list.items[2];
    out->strides = four->list.items[3];
}

/* A Parameter, a Variable or one of torch._utils' wrappers: the tensor in it, else NULL. */
static const value *unwrap(const value *maker, const value *args, const value *state)
{
    const bool parameter = ts_pickle_is_symbol(maker, "torch.nn.parameter", "Parameter") ||
                           ts_pickle_is_symbol(maker, "torch.nn", "Parameter") ||
                           ts_pickle_is_symbol(maker, "torch.autograd.variable", "Variable") ||
                           ts_pickle_is_symbol(maker, "torch.autograd", "Variable") ||
                           ts_pickle_is_symbol(maker, "torch._utils", "_rebuild_parameter") ||
                           ts_pickle_is_symbol(maker, "torch._utils", "_rebuild_parameter_with_state");
    if (!parameter) return NULL;
    if (is_tuple(args, 1)) return args->list.items[0];
    return is_tuple(state, 5) ? state->list.items[0] : NULL;
}

/* Whether `v` stands for a tensor, with the wrappers of parameters and of tensor subclasses taken off. */
static bool find_parts(const ts_torch_file *f, const value *v, tensor_parts *out)
{
    *out = (tensor_parts){0};
    for (int layers = 0; layers < 4; layers++) {
        if (v->kind == TS_PICKLE_PERSISTENT && f->find_tensor) {
            out->id = v->id;
            return v->id->kind == TS_PICKLE_INT || v->id->kind == TS_PICKLE_STRING;
        }
        if (v->kind != TS_PICKLE_OBJECT || !v->object.maker || !is_tuple(v->object.args, 0)) return false;
        const value *maker = v->object.maker, *args = v->object.args;
        if (is_tuple(args, 3) && (ts_pickle_is_symbol(maker, "torch._tensor", "_rebuild_from_type_v2") ||
                                  ts_pickle_is_symbol(maker, "torch._tensor", "_rebuild_from_type") ||
                                  ts_pickle_is_symbol(maker, "torch.tensor", "_rebuild_from_type"))) {
            maker = args->list.items[0];
            args = args->list.items[2];
            if (!is_tuple(args, 0)) return false;
        }
        const value *inner = unwrap(maker, args, v->object.state);
        if (inner) {
            v = inner;
            continue;
        }
        if (maker->kind != TS_PICKLE_SYMBOL) return false;
        const value *name = maker->symbol.name;
        if (ts_pickle_is_text(maker->symbol.module, "torch._utils")) {
            if (name->text.size <= 9 || memcmp(name->text.bytes, "_rebuild_", 9) != 0) return false;
            if (ts_pickle_is_text(name, "_rebuild_tensor_v2") || ts_pickle_is_text(name, "_rebuild_tensor"))
                take_parts(args, out);
            else out->odd = name;
            return true;
        }
        if (ends_with(name, "ShardedTensor") || ends_with(name, "DTensor")) {
            out->odd = name;
            return true;
        }
        /* Before 0.4: torch.FloatTensor() and its state. */
        const bool old =
            ts_pickle_is_text(maker->symbol.module, "torch") || ts_pickle_is_text(maker->symbol.module, "torch.cuda");
        if (!old || !ends_with(name, "Tensor") || !is_tuple(v->object.state, 4)) return false;
        take_parts(v->object.state, out);
        return true;
    }
    return false;
}

static bool is_tensor(const ts_torch_file *f, const value *v)
{
    tensor_parts parts;
    return find_parts(f, v, &parts);
}

static bool read_sides(const value *v, int64_t *sides, int *ndim)
{
    if (v->kind == TS_PICKLE_OBJECT && ts_pickle_is_symbol(v->object.maker, "torch", "Size") && is_tuple(v->object.args, 1))
        v = v->object.args->list.items[0];
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

/* The tensor's storage, and its shape, strides and offset as the pickle has them. */
static bool read_parts(const ts_torch_file *f, const char *shown, const tensor_parts *parts, ts_torch_storage *storage,
                       ts_weight *t, int64_t *offset)
{
    const char *path = f->w->path;
    if (parts->id) return f->find_tensor(f, parts->id, shown, storage, t, offset);
    if (!parts->storage)
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': tensor '%s' lacks a storage, an offset, a shape or strides", path, shown);
    if (parts->storage->kind != TS_PICKLE_PERSISTENT)
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': tensor '%s' has no storage", path, shown);
    int strides = 0;
    if (!f->find_storage(f, parts->storage->id, shown, storage)) return false;
    if (parts->offset->kind == TS_PICKLE_INT && parts->offset->integer >= 0 && read_sides(parts->sides, t->shape, &t->ndim) &&
        read_sides(parts->strides, t->stride, &strides) && strides == t->ndim) {
        *offset = parts->offset->integer;
        return true;
    }
    return ts_fail(f->err, TS_ERR_FORMAT,
                   "'%s': the shape, strides or offset of tensor '%s' are not whole numbers from 0 up, of %d dimensions at most",
                   path, shown, TS_MAX_FILE_DIMS);
}

static bool add_tensor(ts_torch_file *f, const char *name, size_t length, const tensor_parts *parts)
{
    const char *path = f->w->path;
    char shown[TS_QUOTE];
    ts_quote(shown, name, length);
    ts_torch_storage storage = {0};
    ts_weight t = {0};
    int64_t offset = 0;
    if (!read_parts(f, shown, parts, &storage, &t, &offset)) return false;
    t.dtype = storage.dtype;
    /* A stride of 0 repeats elements, so the storage does not bound the count; the file does, lest a reader allocate without end.
     */
    if (!ts_shape_count(t.ndim, t.shape, (int64_t)f->w->size, &t.count))
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': the shape of tensor '%s' has more elements than the file has bytes", path,
                       shown);
    if (!fits_storage(&t, offset, storage.elements))
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': tensor '%s' reaches outside its storage of %lld elements", path, shown,
                       (long long)storage.elements);
    t.contiguous = ts_weight_is_contiguous(&t);
    t.data = storage.data + offset * ts_dtype_size(t.dtype);
    return ts_weights_push(f->w, name, length, &t, f->err);
}

/* Adds `v` if it is a tensor; `*found` says so. Sparse, quantized and other odd tensors are errors: silence would lose them. */
static bool add_if_tensor(ts_torch_file *f, const char *name, size_t length, const value *v, bool *found)
{
    tensor_parts parts;
    *found = find_parts(f, v, &parts);
    if (!*found) return true;
    if (!parts.odd) return add_tensor(f, name, length, &parts);
    char shown[TS_QUOTE], kind[TS_QUOTE];
    ts_quote(shown, name, length);
    ts_quote(kind, parts.odd->text.bytes, parts.odd->text.size);
    if (ends_with(parts.odd, "DTensor") || ends_with(parts.odd, "ShardedTensor"))
        return ts_fail(f->err, TS_ERR_UNSUPPORTED,
                       "'%s': tensor '%s' is one process's piece of a tensor spread over several (%s); save the full state dict",
                       f->w->path, shown, kind);
    return ts_fail(f->err, TS_ERR_UNSUPPORTED,
                   "'%s': tensor '%s' is of an unsupported kind (%s); convert it to a plain float32 tensor", f->w->path, shown,
                   kind);
}

/* ---- a checkpoint: a dict of tensors --------------------------------------------------------------------------- */

/* Where training programs keep the model. The average over the steps comes first where there is one: it is what its training
 * measured and meant to be used. */
static const char *const averaged[] = {
    "model_ema", "ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "params_ema"};
static const char *const plain[] = {"model",   "state_dict", "model_state_dict", "model_state", "params",
                                    "network", "net",        "module",           "weights"};

static const value *as_dict(const value *v)
{
    if (v && v->kind == TS_PICKLE_OBJECT) v = v->object.dict;
    return v && v->kind == TS_PICKLE_DICT ? v : NULL;
}

static int64_t count_tensors(const ts_torch_file *f, const value *dict)
{
    int64_t count = 0;
    for (size_t i = 0; i < dict->list.count; i += 2)
        count += dict->list.items[i]->kind == TS_PICKLE_STRING && is_tensor(f, dict->list.items[i + 1]);
    return count;
}

/* A dict of tensors, and what was said of it. */
typedef struct {
    const value *dict;
    int64_t tensors;
    const char *key, *beside; /* it stood under `key`, an average with the plain model under `beside`; or NULL */
} model_dict;

static model_dict find_model(ts_torch_file *f, const value *v, int depth);

/* The first of `keys` that holds a model. */
static model_dict find_under(ts_torch_file *f, const value *dict, const char *const *keys, size_t count, int depth)
{
    for (size_t i = 0; i < count; i++) {
        model_dict found = find_model(f, ts_pickle_get(dict, keys[i]), depth + 1);
        if (!found.dict) continue;
        found.key = keys[i];
        return found;
    }
    return (model_dict){0};
}

/* The model in `v`: itself, or what it holds under a usual key. An average of a few numbers (its decay, its count of updates)
 * beside a whole model is none. */
static model_dict find_model(ts_torch_file *f, const value *v, int depth)
{
    const value *dict = as_dict(v);
    if (!dict || depth > MAX_CONTAINERS) return (model_dict){0};
    f->visits += (int64_t)dict->list.count; /* a dict may hold itself under every key */
    if (f->visits > MAX_VISITS) return (model_dict){0};
    const model_dict model = find_under(f, dict, plain, sizeof plain / sizeof *plain, depth);
    model_dict average = find_under(f, dict, averaged, sizeof averaged / sizeof *averaged, depth);
    if (average.dict && 2 * average.tensors >= model.tensors) {
        average.beside = model.key;
        return average;
    }
    if (model.dict) return model;
    const int64_t tensors = count_tensors(f, dict);
    return tensors ? (model_dict){.dict = dict, .tensors = tensors} : (model_dict){0};
}

static bool has_key(const value *dict, const char *key)
{
    return ts_pickle_get(dict, key) != NULL;
}

/* The keys of a dict as words for a sentence: 'epoch', 'student', ... */
static const char *key_words(const value *dict, char *out, size_t room)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < dict->list.count; i += 2) {
        const value *key = dict->list.items[i];
        char shown[TS_QUOTE];
        if (key->kind != TS_PICKLE_STRING) continue;
        ts_quote(shown, key->text.bytes, key->text.size < 40 ? key->text.size : 40);
        if (used + strlen(shown) + 8 > room) {
            snprintf(out + used, room - used, ", ...");
            break;
        }
        used += (size_t)snprintf(out + used, room - used, "%s'%s'", used ? ", " : "", shown);
    }
    return out;
}

/* Says what a file without a model is instead. */
static bool fail_no_model(const ts_torch_file *f, const value *root)
{
    const value *top = as_dict(root), *model = ts_pickle_get(top, "model");
    const char *path = f->w->path;
    char keys[320];
    if (!top || (model && model->kind == TS_PICKLE_OBJECT && !as_dict(model)))
        return ts_fail(f->err, TS_ERR_FORMAT,
                       "'%s' holds an object, not a dict of tensors; save model.state_dict() with torch.save", path);
    if (has_key(top, "student") && has_key(top, "teacher"))
        return ts_fail(f->err, TS_ERR_FORMAT,
                       "'%s' holds two models, 'student' and 'teacher': save the one that is wanted by itself, "
                       "torch.save(torch.load(old, map_location=\"cpu\")[\"teacher\"], new)",
                       path);
    if (has_key(top, "ds_config") || has_key(top, "ds_version") || has_key(top, "optimizer_state_dict"))
        return ts_fail(f->err, TS_ERR_FORMAT,
                       "'%s' holds the state of an optimizer and no model; DeepSpeed's pieces are joined by its zero_to_fp32.py",
                       path);
    key_words(top, keys, sizeof keys);
    return ts_fail(f->err, TS_ERR_FORMAT,
                   "'%s' holds no tensors at the top, nor under 'model', 'state_dict' or another usual key%s%s; save "
                   "model.state_dict() with torch.save",
                   path, keys[0] ? "; its keys are " : "", keys);
}

bool ts_torch_read_checkpoint(ts_torch_file *f, const value *root)
{
    const model_dict model = find_model(f, root, 0);
    if (!model.dict) return fail_no_model(f, root);
    if (model.beside &&
        !ts_weights_say(f->w, f->err,
                        "it holds a model and its average over the training: the average is taken ('%s'), not the "
                        "plain one ('%s')",
                        model.key, model.beside))
        return false;
    for (size_t i = 0; i < model.dict->list.count; i += 2) {
        const value *name = model.dict->list.items[i];
        bool found;
        if (name->kind != TS_PICKLE_STRING) continue;
        if (!add_if_tensor(f, name->text.bytes, name->text.size, model.dict->list.items[i + 1], &found)) return false;
    }
    return true;
}

/* ---- TorchScript: a tree of modules ---------------------------------------------------------------------------- */

static bool read_module(ts_torch_file *f, const value *module, size_t length, int depth)
{
    const value *state = as_dict(module->object.state);
    if (depth > MAX_DEPTH)
        return ts_fail(f->err, TS_ERR_FORMAT, "'%s': modules are nested deeper than %d", f->w->path, MAX_DEPTH);
    for (size_t i = 0; state && i < state->list.count; i += 2) {
        const value *key = state->list.items[i], *v = state->list.items[i + 1];
        if (++f->visits > MAX_VISITS)
            return ts_fail(f->err, TS_ERR_FORMAT, "'%s': the tree of modules is larger than any model's", f->w->path);
        if (key->kind != TS_PICKLE_STRING) continue;
        size_t dot = length ? 1 : 0, total = length + dot + key->text.size;
        if (total > TS_MAX_TENSOR_NAME)
            return ts_fail(f->err, TS_ERR_FORMAT, "'%s': a name of more than %d bytes", f->w->path, TS_MAX_TENSOR_NAME);
        if (dot) f->path[length] = '.';
        memcpy(f->path + length + dot, key->text.bytes, key->text.size);
        bool found;
        if (!add_if_tensor(f, f->path, total, v, &found)) return false;
        if (!found && v->kind == TS_PICKLE_OBJECT && !read_module(f, v, total, depth + 1)) return false;
    }
    return true;
}

bool ts_torch_read_modules(ts_torch_file *f, const value *root)
{
    return read_module(f, root, 0, 0);
}
