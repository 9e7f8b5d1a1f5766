/* torch.h - what PyTorch's three containers have in common: a pickle that describes tensors, whose storages lie outside it. A
 * container says where a storage lies; finding the tensors is the same for all of them. */
#ifndef TESSERA_TORCH_H
#define TESSERA_TORCH_H

#include "engine/weights/internal.h"
#include "engine/weights/pickle.h"

enum { TS_TORCH_MAX_PICKLE = 32 << 20 }; /* bytes; real ones stay below 2 MB */

/* Elements that lie in the file one behind the other, checked to lie inside it. */
typedef struct {
    const uint8_t *data;
    int64_t elements;
    ts_dtype dtype;
} ts_torch_storage;

typedef struct ts_torch_file ts_torch_file;
struct ts_torch_file {
    ts_weights *w; /* gets the tensors */
    const void *container;
    /* Finds the storage of tensor `name` by its persistent id. */
    bool (*find_storage)(const ts_torch_file *f, const ts_pickle_value *id, const char *name, ts_torch_storage *out);
    /* Likewise a whole tensor, where those have ids (else NULL): storage, shape, strides, and the offset in the storage. */
    bool (*find_tensor)(const ts_torch_file *f, const ts_pickle_value *id, const char *name, ts_torch_storage *storage,
                        ts_weight *out, int64_t *offset);
    char path[TS_MAX_TENSOR_NAME + 1];
    int64_t visits; /* attributes looked at: modules may be shared, and their tree may be far larger than the file */
    ts_error *err;
};

/* Adds the tensors of a checkpoint, a dict of tensors or one that holds such a dict. */
bool ts_torch_read_checkpoint(ts_torch_file *f, const ts_pickle_value *root);
/* Adds those of a tree of module objects, TorchScript's. */
bool ts_torch_read_modules(ts_torch_file *f, const ts_pickle_value *root);

/* A persistent id ('storage', type, key, device, elements[, view]) taken apart; false where it is no such tuple. */
typedef struct {
    const ts_pickle_value *type, *key, *view; /* view: NULL where there is none */
    int64_t elements;                         /* not below 0 */
} ts_torch_id;
bool ts_torch_read_id(const ts_pickle_value *id, ts_torch_id *out);
/* The element type of torch.FloatStorage and its like; false where it is one that cannot be read. */
bool ts_torch_dtype(const ts_pickle_value *type, ts_dtype *out);
/* The bytes of an element, also of types that cannot be read; 0: unknown. */
int ts_torch_element_size(const ts_pickle_value *type);
bool ts_torch_fail_dtype(const ts_torch_file *f, const char *name, const ts_pickle_value *type);

#endif
