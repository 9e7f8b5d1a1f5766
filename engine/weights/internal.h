/* internal.h - what the readers of the weights formats share. Only engine/weights/ and tests
 * include this. */
#ifndef TESSERA_WEIGHTS_INTERNAL_H
#define TESSERA_WEIGHTS_INTERNAL_H

#include "engine/engine.h"
#include "engine/weights/mapping.h"

/* Bounds that no real file comes near, so that a hostile one cannot make us allocate far beyond its own size. */
enum { TS_MAX_FILE_TENSORS = 1 << 18, TS_MAX_TENSOR_NAME = 1024 };

struct ts_weights {
    char *path;
    ts_file_kind kind;
    const uint8_t *bytes; /* the whole file, or the index of a model's parts */
    uint64_t size;
    ts_mapping *file;  /* whose bytes they are; NULL: the caller's */
    ts_mapping **maps; /* all that the tensors lie in, and the index; ours */
    int map_count;
    int shards;    /* files that an index names; 0: there is no index */
    bool detached; /* see ts_weights_detach */
    char *note;    /* see ts_weights_note */
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
bool ts_torch_zip_read(ts_weights *w, ts_error *err);
bool ts_torch_legacy_read(ts_weights *w, ts_error *err);
bool ts_torch_tar_read(ts_weights *w, ts_error *err);
bool ts_torch_is_legacy(const uint8_t *bytes, uint64_t size);
bool ts_torch_is_tar(const ts_weights *w);
/* Fails where the pickle that tells of the machine says that its numbers are big-endian. */
struct ts_pickle_value;
bool ts_torch_check_machine(const ts_weights *w, const struct ts_pickle_value *about, ts_error *err);

/* A model in several files. ts_shards_read reads all that the index in w->bytes names; `*is_index` says whether it is one. */
bool ts_shards_read(ts_weights *w, bool *is_index, ts_error *err);
/* Fails where `w` is one such file alone, by its name and by the index beside it. */
bool ts_shards_check_alone(const ts_weights *w, ts_error *err);
/* The weights file in a folder, by the usual names; to be freed. */
char *ts_weights_in_folder(const char *folder, ts_error *err);
/* Opens one file of several: no index, and the names as they stand. */
ts_weights *ts_weights_open_part(const char *path, ts_error *err);
/* The steps of opening: an empty one (NULL: out of memory), its file's bytes, and what they hold; then, once all tensors are
 * known, the index by name, which fails where there are none or two are of one name. */
ts_weights *ts_weights_new(const char *path, ts_error *err);
bool ts_weights_map(ts_weights *w, ts_error *err);
bool ts_weights_read(ts_weights *w, ts_error *err);
bool ts_weights_index(ts_weights *w, ts_error *err);
/* Makes the map one of `w`; `*map` is NULL then. */
bool ts_weights_take_map(ts_weights *w, ts_mapping **map, ts_error *err);

/* Leaves out of the names what training programs put before them. Fails where the tensors are pieces of a model. */
bool ts_weights_clean_names(ts_weights *w, ts_error *err);
/* Sets what ts_weights_note gives. */
bool ts_weights_say(ts_weights *w, ts_error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* These always fail, and say what the file is instead of weights. */
bool ts_foreign_file(const ts_weights *w, ts_error *err);
struct ts_zip;
bool ts_foreign_zip(const struct ts_zip *zip, ts_error *err);

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
