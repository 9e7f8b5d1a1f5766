/* internal.h - what the readers of the weights formats share. Only engine/weights/ and tests
 * include this. */
#ifndef TESSERA_WEIGHTS_INTERNAL_H
#define TESSERA_WEIGHTS_INTERNAL_H

#include "engine/engine.h"

/* Bounds that no real file comes near, so that a hostile one cannot make us allocate far beyond its own size. */
enum { TS_MAX_FILE_TENSORS = 1 << 18, TS_MAX_TENSOR_NAME = 1024 };

struct ts_weights {
    char *path;
    ts_file_kind kind;
    const uint8_t *bytes; /* the whole file */
    uint64_t size;
    bool mapped; /* bytes came from mmap; otherwise they are the caller's */
    ts_weight *list;
    int64_t count, capacity;
    const ts_weight **by_name; /* sorted; made once all tensors are known */
    char **meta;               /* key, value, key, value */
    int64_t meta_count, meta_capacity;
};

/* Reads a file that is already in memory, which must outlive the ts_weights. `label` stands for the path in errors. For tests
 * and fuzzing; ts_weight_release must not be called on its tensors. */
ts_weights *ts_weights_open_memory(const void *bytes, size_t size, const char *label, ts_error *err);

/* The readers: they fill an empty ts_weights whose path, bytes and size are set. */
bool ts_safetensors_read(ts_weights *w, ts_error *err);
bool ts_torch_read(ts_weights *w, ts_error *err);

/* Appends a tensor (its name is copied) or a metadata pair (copied). */
bool ts_weights_push(ts_weights *w, const char *name, size_t length, const ts_weight *t, ts_error *err);
bool ts_weights_push_meta(ts_weights *w, const char *key, const char *value, ts_error *err);

/* Product of a shape; false where a side is negative or the product passes `limit`. */
bool ts_shape_count(int ndim, const int64_t *shape, int64_t limit, int64_t *count);
/* Whether the elements lie in row-major order without gaps. */
bool ts_weight_is_contiguous(const ts_weight *t);

/* Copies elements first .. first+n-1, counted in row-major order, as raw bytes of the tensor's own dtype. */
void ts_weight_gather(const ts_weight *t, int64_t first, int64_t n, void *out);
/* Converts n packed elements to float or double. */
void ts_convert_f32(ts_dtype from, const void *in, int64_t n, float *out);
void ts_convert_f64(ts_dtype from, const void *in, int64_t n, double *out);

/* A name of a file made fit for an error message: cut to the buffer, control characters replaced. */
enum { TS_QUOTE = 128 };
const char *ts_quote(char out[TS_QUOTE], const char *text, size_t length);

#endif
