/* engine.h - tensors, graph, devices, weights files, images. Knows no model.
 *
 * How the pieces meet:
 *
 *   ts_device  *dev = ts_device_open(&(ts_device_desc){.name = "auto"}, &err);
 *   ts_weights *w   = ts_weights_open("model.pth", &err);            // mapped, not read
 *   ts_params  *ps  = ts_params_new(dev, w, "vae.", &err);           // tensors of that file on the device
 *   ts_graph   *g   = ts_graph_new();
 *   ts_tensor  *x   = ts_input(g, "x", TS_REAL, 2, (int64_t[]){197, 1024});
 *   ts_tensor  *y   = ts_linear(g, x, ts_param(g, ps, "fc.weight", TS_LAYOUT_LINEAR, 2, (int64_t[]){4096, 1024}), NULL);
 *   ts_output(g, y);
 *   ts_exec    *e   = ts_exec_new(g, dev, &err);                     // planned once ...
 *   ts_write(e, x, data, &err); ts_run(e, &err); ts_read(e, y, out, &err);   // ... replayed many times
 *
 * Conventions. Every object is freed by its `_free`, which accepts NULL. Functions that make something return NULL
 * on failure, the others false, and both fill `err` (which may be NULL). The library never prints, exits or aborts. Sizes
 * are 64-bit. Images are NHWC inside the graph. Nothing is global: several devices and graphs may live side by side; one
 * object is used by one thread at a time. */
#ifndef TESSERA_ENGINE_H
#define TESSERA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------------------------------------------ */

typedef enum {
    TS_OK = 0,
    TS_ERR_ARGUMENT,    /* a caller's value is out of range */
    TS_ERR_IO,          /* a file cannot be opened, read or written */
    TS_ERR_FORMAT,      /* a file is broken, or is not what it should be */
    TS_ERR_SHAPE,       /* shapes do not fit together */
    TS_ERR_MEMORY,      /* out of memory, on the host or on the device */
    TS_ERR_DEVICE,      /* no such device, or the driver refused */
    TS_ERR_DEVICE_LOST, /* the device stopped answering: everything on it is gone */
    TS_ERR_UNSUPPORTED, /* asked for something this build or this device cannot do */
} ts_code;

/* One sentence that says what was wrong, with which file or value, and what would be right. */
typedef struct {
    ts_code code;
    char text[1024];
} ts_error;

/* Fills `err` (unless NULL, or it already holds an error: the first one is the cause) and returns false. */
bool ts_fail(ts_error *err, ts_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- text from outside -------------------------------------------------------------------------------------- */

enum { TS_PRINTABLE_UNIT = 16 };

/* The text as it may stand in a line on a terminal: control characters (line ends too), marks of the direction of writing and
 * bytes that are no UTF-8 are shown as \x1b or \u202e. What does not fit is cut, no character in two. `out` is returned. An
 * error's sentence is such a text. */
const char *ts_printable(const char *text, char *out, size_t room);
/* The same for one character at *at, which must not be the end; moves on behind it and returns the length. */
int ts_printable_next(const char **at, char out[TS_PRINTABLE_UNIT]);
/* Bytes of the character at the beginning of a text (RFC 3629); 0: they are no UTF-8. */
int ts_utf8_length(const char *text);

/* What the library was built with, for people: "Vulkan, oneDNN 2.6.3, OpenMP, libjpeg-turbo 2.1.5, no libwebp, zlib 1.2.13". */
enum { TS_BUILT_ROOM = 256 };
void ts_built_with(char out[TS_BUILT_ROOM]);

/* ---- devices ----------------------------------------------------------------------------------------------- */

typedef enum { TS_DEVICE_HOST, TS_DEVICE_VULKAN } ts_device_kind;

/* How the device stores real numbers. With TS_F16 a GPU's products are fp16 too, summed 16 at a time in fp16 and then in fp32;
 * all else is computed in fp32. TS_F64 is the yardstick of the tests: the host only, plain loops. */
typedef enum { TS_F32 = 0, TS_F16, TS_F64 } ts_precision;

typedef struct {
    const char *name;       /* "auto" (NULL is auto), "cpu", "vulkan", "vulkan:N", or part of a device's name */
    ts_precision precision; /* zero: fp32 */
    int threads;            /* host threads; zero: one for each core the process may use */
    bool validate;          /* Vulkan validation layer with synchronisation validation; see ts_device_validation */
    bool profile;           /* measure every node's time; see ts_exec_profile */
} ts_device_desc;

typedef struct ts_device ts_device;

typedef struct {
    ts_device_kind kind;
    int index;             /* N of "vulkan:N"; 0 for the host */
    char name[256];        /* the driver's or the processor's own name */
    char type[16];         /* "discrete", "integrated", "virtual", "cpu" (a Vulkan driver that runs on the CPU), "host" */
    char driver[256];      /* driver name and version, or the host's math library */
    char api[32];          /* Vulkan API version, "" on the host */
    uint64_t memory_bytes; /* device-local heap, or the host's memory */
    uint64_t max_alloc_bytes;
    uint32_t subgroup;     /* 0 on the host */
    uint32_t shared_bytes; /* shared memory of a workgroup; 0 on the host */
    bool fp16_storage, fp16_arithmetic, cooperative_matrix;
    bool usable; /* false: `why` says which required feature is absent */
    char why[128];
} ts_device_info;

/* All devices, the host last. Returns their number and sets `*list` (owned by the caller: free()), or -1. A machine
 * without a Vulkan loader or driver has just the host. */
int ts_device_list(ts_device_info **list, ts_error *err);

/* Opens a device. "auto" takes a discrete, else an integrated, else a virtual GPU, else the host; a Vulkan driver that
 * runs on the CPU is taken only by name ("vulkan", "vulkan:N"). */
ts_device *ts_device_open(const ts_device_desc *desc, ts_error *err);
void ts_device_free(ts_device *dev);
const ts_device_info *ts_device_about(const ts_device *dev);
ts_precision ts_device_precision(const ts_device *dev);
/* Cores that this process may use: the host's threads, where a description names no number. */
int ts_core_count(void);

/* Number of validation messages (errors and warnings) so far, and the first one's text (NULL where none). */
int ts_device_validation(const ts_device *dev, const char **first);

/* ---- weights files ----------------------------------------------------------------------------------------- */

typedef enum {
    TS_FILE_SAFETENSORS,
    TS_FILE_TORCH_ZIP,
    TS_FILE_TORCHSCRIPT,
    TS_FILE_TORCH_LEGACY, /* before PyTorch 1.6 */
} ts_file_kind;
typedef enum {
    TS_DT_F32,
    TS_DT_F16,
    TS_DT_BF16,
    TS_DT_F64,
    TS_DT_I64,
    TS_DT_I32,
    TS_DT_I16,
    TS_DT_I8,
    TS_DT_U8,
    TS_DT_BOOL
} ts_dtype;

enum { TS_MAX_FILE_DIMS = 8 };

/* One tensor of a file: a view into the mapped bytes, valid as long as the ts_weights. */
typedef struct {
    const char *name; /* without the container key: "blocks.0.norm1.weight" */
    ts_dtype dtype;
    int ndim;
    int64_t shape[TS_MAX_FILE_DIMS];
    int64_t stride[TS_MAX_FILE_DIMS]; /* in elements; a PyTorch tensor may be stored transposed */
    int64_t count;                    /* product of shape; checked not to overflow */
    bool contiguous;
    const void *data; /* element [0,0,...]; every element reachable by shape and stride is inside the map. Not aligned. */
    const struct ts_mapping *file; /* the library's own: where `data` lies; NULL: not in a file */
} ts_weight;

typedef struct ts_weights ts_weights;

/* Opens and maps a weights file, told by its content: safetensors, a PyTorch checkpoint (zip, or one of the two formats before
 * release 1.6), a TorchScript archive, or the index of a model in several such files. A folder stands for the model.safetensors,
 * pytorch_model.bin or their index in it. Of a checkpoint dict, the tensors under `model_ema`, `model`, `state_dict` or another
 * usual key, else the bare dict; a prefix that a wrapper of training programs put before the names (`module.`, `_orig_mod.`,
 * `model.`) is left out. The pickle is interpreted by an inert machine: no class is ever looked up, nothing can be called. */
ts_weights *ts_weights_open(const char *path, ts_error *err);
void ts_weights_free(ts_weights *w);
const char *ts_weights_path(const ts_weights *w);
ts_file_kind ts_weights_kind(const ts_weights *w);
/* The files that an index names; 0: the file is not in parts. */
int ts_weights_shards(const ts_weights *w);
/* What a user should know of how the file was read, as part of a sentence ("it holds ..."), or NULL. */
const char *ts_weights_note(const ts_weights *w);
/* What the names begin with, for an error that says which were looked for: "visual. (152), transformer. (144)". Returns `out`. */
const char *ts_weights_prefixes(const ts_weights *w, char *out, size_t room);
/* Fails: the tensor that tells "the VQGAN's" (`whose`) architecture is not there; says what the names begin with instead. */
bool ts_weights_lack(const ts_weights *w, const char *name, const char *whose, ts_error *err);

/* A file may be cut short or written over while it is mapped. Whatever converts or writes a tensor, plans or runs a graph fails
 * then; this asks in between. A file that is replaced by renaming does no harm. */
bool ts_weights_intact(const ts_weights *w, ts_error *err);
/* From here on a device takes copies of the tensors, where it would use them in the map: a change of the file after loading does
 * no harm to what runs for hours. */
void ts_weights_detach(ts_weights *w);
bool ts_weights_detached(const ts_weights *w);
/* Installs a handler of SIGBUS for the process, which a mapped file that is cut short raises: the functions above then fail as
 * they should, where else the process ends. The library never does this by itself. Faults that are none of its own go to the
 * handler that was there before. */
bool ts_weights_guard(ts_error *err);
int64_t ts_weights_count(const ts_weights *w);
const ts_weight *ts_weights_at(const ts_weights *w, int64_t i); /* in the order of the file */
const ts_weight *ts_weights_find(const ts_weights *w, const char *name);
/* 1 + the highest N among the names that begin with `prefix`, a number and a dot ("blocks.11.norm1.weight"); 0: there is none. */
int64_t ts_weights_numbered(const ts_weights *w, const char *prefix);
/* Metadata of a safetensors file ("heads", ...), or NULL. */
const char *ts_weights_meta(const ts_weights *w, const char *key);
int64_t ts_weights_meta_count(const ts_weights *w);
void ts_weights_meta_at(const ts_weights *w, int64_t i, const char **key, const char **value);
/* Converts all elements, in row-major order of `shape`, to float; `out` has t->count places. */
bool ts_weight_to_f32(const ts_weight *t, float *out, ts_error *err);
bool ts_weight_to_f64(const ts_weight *t, double *out, ts_error *err);
bool ts_weight_to_i64(const ts_weight *t, int64_t *out, ts_error *err); /* integer types only */
/* Fails, naming the tensor and how many, where a number of the file is NaN or infinite; a mask (its name ends so) may hold such
 * ones. Reads all of it, on all cores. */
bool ts_weights_check_finite(const ts_weights *w, ts_error *err);
/* Tells the kernel that the pages of this tensor are no longer wanted in memory (they stay in its cache). */
void ts_weight_release(const ts_weight *t);
const char *ts_dtype_name(ts_dtype d); /* "F32", ... */
int ts_dtype_size(ts_dtype d);

/* Writes safetensors, to a temporary name first, then renamed: whole or not at all. */
typedef struct ts_weights_writer ts_weights_writer;
ts_weights_writer *ts_weights_writer_new(void);
void ts_weights_writer_free(ts_weights_writer *w);
bool ts_weights_writer_meta(ts_weights_writer *w, const char *key, const char *value, ts_error *err);
/* `data` is row-major in `dtype` and must live until ts_weights_writer_save. */
bool ts_weights_writer_add(ts_weights_writer *w, const char *name, ts_dtype dtype, int ndim, const int64_t *shape,
                           const void *data, ts_error *err);
/* Adds a tensor of another file, converted to `dtype` as it is written (no copy of all the file in memory). */
bool ts_weights_writer_add_weight(ts_weights_writer *w, const ts_weight *t, ts_dtype dtype, ts_error *err);
/* The same under another name. */
bool ts_weights_writer_add_weight_as(ts_weights_writer *w, const char *name, const ts_weight *t, ts_dtype dtype, ts_error *err);
/* What was added as fp32 so far is written as `dtype`. */
void ts_weights_writer_narrow(ts_weights_writer *w, ts_dtype dtype);
/* The file will be for its owner alone (mode 0600), whatever was there. */
void ts_weights_writer_private(ts_weights_writer *w);
/* Fails, naming the tensor, where an fp32 element is not finite: a training that has gone wrong is not worth a file. */
bool ts_weights_writer_check_finite(const ts_weights_writer *w, ts_error *err);
bool ts_weights_writer_save(ts_weights_writer *w, const char *path, ts_error *err);

float ts_f16_to_f32(uint16_t h);
uint16_t ts_f32_to_f16(float f); /* round to nearest even; too large becomes infinity */

/* ---- random numbers ---------------------------------------------------------------------------------------- */

/* splitmix64: the next 64 bits of `state`, whose start is the seed; any is good. */
uint64_t ts_splitmix(uint64_t *state);
double ts_uniform(uint64_t *state); /* the next of [0, 1) */
double ts_normal(uint64_t *state);  /* the next of normal(0, 1) */

/* ---- images ------------------------------------------------------------------------------------------------ */

/* 8-bit RGB, rows from the top, no padding: data[(y * width + x) * 3 + channel]. */
typedef struct {
    int width, height;
    uint8_t *data; /* owned; ts_image_clear frees it */
} ts_image;

/* Reads PNG, JPEG, BMP and, where it was built with libwebp, WebP (of an animation the first picture), by what is in the file and
 * not by its name. Grey becomes RGB, 16 bit becomes 8 (high byte), alpha is composed over white, inks (CMYK) become light, the
 * EXIF orientation is obeyed. Cut off or damaged is an error; bytes too many behind the pixels, or an end mark that is missing,
 * are none. Larger than 2^28 pixels is refused. `label` names the picture in errors. */
bool ts_image_load(const char *path, ts_image *out, ts_error *err);
bool ts_image_read(FILE *f, const char *label, ts_image *out, ts_error *err); /* to the end: a pipe serves as well */
/* The same, nothing laid behind it: the colours as they are in the file, and how opaque each pixel is, 0 to 255, one byte a pixel
 * (free()). A pixel of 0 is black. */
bool ts_image_load_alpha(const char *path, ts_image *out, uint8_t **alpha, ts_error *err);
bool ts_image_decode(const void *bytes, size_t size, const char *label, ts_image *out, ts_error *err);
/* The size that the picture would have, by its header alone: what is refused so needs no memory. */
bool ts_image_measure(const void *bytes, size_t size, const char *label, int *width, int *height, ts_error *err);
/* The numbers of classes that data sets keep as a PNG: of each pixel its place in the palette, or its grey as it stands in the
 * file, in all three channels. Any other picture is refused. */
bool ts_numbers_load(const char *path, ts_image *out, ts_error *err);
/* Writes by the name's ending PNG, JPEG (quality 95) or WebP (without loss), to a temporary name first: whole or not at all. */
bool ts_image_save(const char *path, const ts_image *img, ts_error *err);
/* What would be in that file: free(). */
bool ts_image_encode(const char *name, const ts_image *img, uint8_t **bytes, size_t *size, ts_error *err);
bool ts_image_writable(const char *name); /* whether the ending is one that ts_image_save knows */
const char *ts_image_endings(void);       /* those, for a sentence: ".png, .jpg or .jpeg" */
/* A PNG of 8-bit samples, `channels` a pixel, 1 (grey), 3 (RGB) or 4 (RGBA), rows from the top, no padding: masks and cut-outs.
 * The name must end in .png, which ts_png_named tells; `label` names the picture in errors. */
bool ts_png_save(const char *path, const uint8_t *data, int width, int height, int channels, ts_error *err);
bool ts_png_encode(const char *label, const uint8_t *data, int width, int height, int channels, uint8_t **bytes, size_t *size,
                   ts_error *err); /* what would be in that file: free() */
bool ts_png_named(const char *name);
bool ts_image_new(int width, int height, ts_image *out, ts_error *err); /* black */
bool ts_image_copy(const ts_image *from, ts_image *out, ts_error *err); /* a new image */
void ts_image_clear(ts_image *img);

typedef enum { TS_RESIZE_BILINEAR, TS_RESIZE_BICUBIC, TS_RESIZE_NEAREST } ts_resize_filter;
/* Resizes as Pillow's Image.resize does for 8-bit RGB (antialiased, support scaled when shrinking, fixed point). */
bool ts_image_resize(const ts_image *src, int width, int height, ts_resize_filter filter, ts_image *out, ts_error *err);

/* Writes a whole file to a temporary name in the same folder, then renames it: an error leaves what was there. */
bool ts_file_write(const char *path, const void *bytes, size_t size, ts_error *err);

/* ---- graph ------------------------------------------------------------------------------------------------- */

enum { TS_MAX_DIMS = 4 };

typedef enum {
    TS_REAL, /* stored as the device's precision says */
    TS_I32,
} ts_type;

/* How a parameter lies in device memory, seen from the shape of the file (PyTorch's). */
typedef enum {
    TS_LAYOUT_PLAIN,  /* as in the file */
    TS_LAYOUT_LINEAR, /* (out, in) or (out, in, 1, 1): a backend may keep it transposed, (in, out) */
    TS_LAYOUT_CONV,   /* (out, in, kh, kw): a backend may keep it as (kh, kw, in, out) */
} ts_layout;

typedef struct ts_graph ts_graph;
typedef struct ts_node ts_node;
typedef struct ts_params ts_params;
typedef struct ts_exec ts_exec; /* a planned graph, see running below */

/* A value in a graph. Read the fields; do not write them. Owned by the graph. */
typedef struct ts_tensor {
    ts_graph *graph;
    ts_node *node; /* that makes it; NULL for inputs and parameters */
    ts_type type;
    ts_layout layout;
    int ndim;
    int64_t shape[TS_MAX_DIMS];
    char name[64];
    struct ts_tensor_state *state; /* the planner's */
} ts_tensor;

/* Errors while a graph is described are kept in the graph, the first one wins: the functions return NULL then and accept NULL,
 * so a model is written without a check in each line, and ts_exec_new reports. */
ts_graph *ts_graph_new(void);
void ts_graph_free(ts_graph *g);
/* The first error so far, or NULL. */
const ts_error *ts_graph_error(const ts_graph *g);

ts_tensor *ts_input(ts_graph *g, const char *name, ts_type type, int ndim, const int64_t *shape);
/* An input that an op takes as a weight: ts_write puts it in the layout that the device wants. */
ts_tensor *ts_input_weight(ts_graph *g, const char *name, ts_layout layout, int ndim, const int64_t *shape);
/* Marks a tensor to be kept, so that ts_read can fetch it after a run. Returns it. */
ts_tensor *ts_output(ts_graph *g, ts_tensor *t);
/* A prefix for the names of nodes made from here on, for errors and profiles ("blocks.3"). */
void ts_scope(ts_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t ts_count(const ts_tensor *t); /* elements; 0 for NULL */

/* Fills `out` (plain order) for the named tensor; called in the order of the ts_param calls. */
typedef bool (*ts_init_fn)(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);

/* Parameters: named tensors in the memory of one device, loaded on first use from a weights file. `prefix` is put before each
 * name when looking into the file ("vae."). Several graphs may share one ts_params. On the host a plain fp32 tensor is used
 * where it lies in the mapped file. `w` must outlive the ts_params. */
ts_params *ts_params_new(ts_device *dev, const ts_weights *w, const char *prefix, ts_error *err);
void ts_params_free(ts_params *ps);
/* The same, and what the file lacks under a name is made by `init`: a file that holds the model in another layout. */
ts_params *ts_params_new_converted(ts_device *dev, const ts_weights *w, const char *prefix, ts_init_fn init, void *ctx,
                                   ts_error *err);
/* Missing tensors and wrong shapes are collected: after a model is described, this gives them all in one sentence. */
bool ts_params_check(const ts_params *ps, ts_error *err);
uint64_t ts_params_bytes(const ts_params *ps); /* in device memory, mapped ones included */
/* The parameter `name` as a leaf of the graph; the file's tensor must have exactly this shape. */
ts_tensor *ts_param(ts_graph *g, ts_params *ps, const char *name, ts_layout layout, int ndim, const int64_t *shape);

/* ---- ops: each in its own file of engine/op/, with its formula ---------------------------------------------- */

/* (..., in) x (out, in) [+ (out)] -> (..., out): y = x w^T + b. w may be (out, in, 1, 1). b may be NULL. */
ts_tensor *ts_linear(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b);
/* x (N, H, W, C), w (O, C, kh, kw) of TS_LAYOUT_CONV, b (O) or NULL -> (N, H', W', O). Zero padding. */
typedef struct {
    int stride;                   /* zero: 1 */
    int top, left, bottom, right; /* padding */
} ts_conv_desc;
ts_tensor *ts_conv2d(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b, const ts_conv_desc *desc);
/* Each channel by itself: x (N, H, W, C), w (kh, kw, C), b (C) or NULL -> (N, H', W', C). A published weight is (C, 1, kh, kw),
 * which is to be turned. */
ts_tensor *ts_depthwise(ts_graph *g, ts_tensor *x, ts_tensor *w, ts_tensor *b, const ts_conv_desc *desc);
/* softmax(q k^T scale) v for each head, scale = 1/sqrt(C/heads); the scores are never stored. q (B,Tq,C); k, v (B,Tk,C). */
ts_tensor *ts_attention(ts_graph *g, ts_tensor *q, ts_tensor *k, ts_tensor *v, int heads, bool causal);
/* The same on a packed qkv (B, T, 3C): rows are q, then k, then v. */
ts_tensor *ts_attention_qkv(ts_graph *g, ts_tensor *qkv, int heads, bool causal);
/* The same among the places of a map, row by row, T = height width, with decomposed relative positions (Li et al. 2022, arXiv
 * 2112.01526, eq. 3): place (y, x) gives (y', x') the score q k scale + q rel_h[y - y' + height - 1] + q rel_w[x - x' + width -
 * 1]. rel_h (2 height - 1, C/heads), rel_w (2 width - 1, C/heads), for all heads. */
ts_tensor *ts_attention_relative(ts_graph *g, ts_tensor *qkv, ts_tensor *rel_h, ts_tensor *rel_w, int heads, int height,
                                 int width);
/* The same on a packed qkv with `bias` (heads, T, T) added to the scores, after scaling: row i, column j is query i, key j. All
 * of the batch share it. */
ts_tensor *ts_attention_biased(ts_graph *g, ts_tensor *qkv, ts_tensor *bias, int heads);
/* Such a bias by how far two places of a map are apart, T = height width (Graham et al. 2021, arXiv 2104.01136, section 4.4):
 * table (heads, T), whose number |dy| width + |dx| places dy rows and dx columns apart get -> (heads, T, T). */
ts_tensor *ts_distance_bias(ts_graph *g, ts_tensor *table, int height, int width);
/* Over the last dimension: (x - mean) / sqrt(var + eps) * gamma + beta. */
ts_tensor *ts_layernorm(ts_graph *g, ts_tensor *x, ts_tensor *gamma, ts_tensor *beta, float eps);
/* x (N, ..., C), statistics over all places and the C/groups channels of a group; gamma, beta (C). */
ts_tensor *ts_groupnorm(ts_graph *g, ts_tensor *x, ts_tensor *gamma, ts_tensor *beta, int groups, float eps);
/* (N, H, W, C) -> (N, 2H, 2W, C), each pixel four times. */
ts_tensor *ts_upsample2x(ts_graph *g, ts_tensor *x);
/* (N, H, W, C) -> (N, height, width, C): bilinear, or bicubic (a = -3/4), half-pixel centres, no antialiasing; as PyTorch's
 * interpolate(align_corners=False). Sides up to 32767. */
ts_tensor *ts_resample(ts_graph *g, ts_tensor *x, int64_t height, int64_t width, bool cubic);
/* (N, H, W, C) -> (N windows, size, size, C): a map's windows row by row, zeros beyond its right and lower edge; and back, what
 * is beyond left out. */
ts_tensor *ts_window_cut(ts_graph *g, ts_tensor *x, int64_t size);
ts_tensor *ts_window_paste(ts_graph *g, ts_tensor *x, int64_t height, int64_t width);
/* (A, B, C, D) -> (A, C, B, D). */
ts_tensor *ts_swap(ts_graph *g, ts_tensor *x);
/* (N, H, W, r r C) -> (N, r H, r W, C): a place's channels are r rows of r pixels of C. After a ts_linear whose outputs stand in
 * that order it is a transposed convolution with kernel and stride r. */
ts_tensor *ts_pixel_shuffle(ts_graph *g, ts_tensor *x, int64_t factor);
/* x repeated `count` times: (...) -> (count, ...). */
ts_tensor *ts_repeat(ts_graph *g, ts_tensor *x, int64_t count);
/* x (B, R, K), w (B, O, K), both computed -> (B, R, O): x w^T for each of the batch. For small O; one weight for all is
 * ts_linear's. */
ts_tensor *ts_linear_each(ts_graph *g, ts_tensor *x, ts_tensor *w);
/* x (B, R, C) or (R, C) shared by all B; index (B, T) I32 -> (B, T, C): out[b,t] = x[b, index[b,t]], and `fill` (C) where the
 * index is -1 (an index out of range gives fill, or zeros without one). Gathers tokens, puts them back among mask tokens, looks
 * up embeddings. */
ts_tensor *ts_gather(ts_graph *g, ts_tensor *x, ts_tensor *index, ts_tensor *fill);
/* z (..., D), codebook (K, D) -> (...) I32: the first row nearest in squared distance. */
ts_tensor *ts_nearest_code(ts_graph *g, ts_tensor *z, ts_tensor *codebook);
/* (..., C) -> (...) I32, the first of equal largest. */
ts_tensor *ts_argmax(ts_graph *g, ts_tensor *x);
ts_tensor *ts_softmax(ts_graph *g, ts_tensor *x);
/* Over the last dimension: x / |x|, a row of zeros stays zeros. */
ts_tensor *ts_unit(ts_graph *g, ts_tensor *x);
/* Rows after rows: a (B, R1, C) or (R1, C), b (B, R2, C) or (R2, C) -> (B, R1+R2, C); what is (R, C) is shared by all B, and its
 * gradient is the sum over them. Two of (R, C) give (R1+R2, C). */
ts_tensor *ts_concat(ts_graph *g, ts_tensor *a, ts_tensor *b);
/* x (B, R, C) or (R, C) -> the `count` rows from `first` on of each B. */
ts_tensor *ts_slice(ts_graph *g, ts_tensor *x, int64_t first, int64_t count);
/* Elementwise. b has a's shape, or the trailing part of it (a vector over the last dimension, a (T, C) over a batch). */
ts_tensor *ts_add(ts_graph *g, ts_tensor *a, ts_tensor *b);
ts_tensor *ts_mul(ts_graph *g, ts_tensor *a, ts_tensor *b);
ts_tensor *ts_scale(ts_graph *g, ts_tensor *x, float scale, float shift); /* x * scale + shift */
ts_tensor *ts_clamp(ts_graph *g, ts_tensor *x, float low, float high);
ts_tensor *ts_gelu(ts_graph *g, ts_tensor *x);       /* x/2 (1 + erf(x/sqrt 2)) */
ts_tensor *ts_quick_gelu(ts_graph *g, ts_tensor *x); /* x sigmoid(1.702 x) */
ts_tensor *ts_swish(ts_graph *g, ts_tensor *x);      /* x sigmoid(x) */
/* x (out, in) as a weight of ts_linear: y = a x^T of two computed matrices is ts_linear(g, a, ts_as_weight(g, x), NULL). */
ts_tensor *ts_as_weight(ts_graph *g, ts_tensor *x);
/* The same elements under another shape; no copy. */
ts_tensor *ts_reshape(ts_graph *g, ts_tensor *x, int ndim, const int64_t *shape);

/* ---- gradients and training ---------------------------------------------------------------------------------- */

/* Adds the nodes that differentiate `loss` (one number) with respect to `params` (`count` leaves: parameters, inputs, states, or
 * any tensor); grads[i] has the shape and layout of params[i], or is NULL where the loss does not depend on it. */
bool ts_grad(ts_graph *g, ts_tensor *loss, int count, ts_tensor *const *params, ts_tensor **grads);
/* x, but no gradient flows back: straight-through quantisation is z + stop(q - z). No copy. */
ts_tensor *ts_stop_gradient(ts_graph *g, ts_tensor *x);

/* What is described between the two is a segment: its values, but for those that others read, are not kept for the gradient;
 * ts_grad computes them again before it. A forward pass more for the memory of all segments but one. Segments do not nest. */
void ts_recompute_begin(ts_graph *g);
void ts_recompute_end(ts_graph *g);

/* Ops that training adds, differentiable unless said. */
ts_tensor *ts_fill(ts_graph *g, int ndim, const int64_t *shape, float value); /* a constant */
ts_tensor *ts_sub(ts_graph *g, ts_tensor *a, ts_tensor *b);                   /* b broadcast as in ts_add */
ts_tensor *ts_abs(ts_graph *g, ts_tensor *x);
ts_tensor *ts_square(ts_graph *g, ts_tensor *x);
ts_tensor *ts_relu(ts_graph *g, ts_tensor *x);                    /* max(x, 0) */
ts_tensor *ts_leaky_relu(ts_graph *g, ts_tensor *x, float slope); /* x where x > 0, else slope x */
ts_tensor *ts_tanh(ts_graph *g, ts_tensor *x);
ts_tensor *ts_exp(ts_graph *g, ts_tensor *x);
ts_tensor *ts_sin(ts_graph *g, ts_tensor *x); /* and cosine: for |x| up to 10^4 */
ts_tensor *ts_cos(ts_graph *g, ts_tensor *x);
/* Each element is 0 with probability `rate`, 0 to below 1, else x / (1 - rate). Which ones fall follows from the seed, I32 (1),
 * and the call's `number` in its graph: the same on every device. A seed below 0 keeps all, as after training. */
ts_tensor *ts_dropout(ts_graph *g, ts_tensor *x, ts_tensor *seed, uint32_t number, double rate);
ts_tensor *ts_sqrt(ts_graph *g, ts_tensor *x); /* its gradient is taken for 0 at 0 */
/* x (N, H, W, C) filtered along its columns (`down`) or rows by the constant `kernel` (2 r + 1), whose middle lies on the place:
 * y[w] = sum of kernel[t] x[w + t - r]. Places beyond an edge are mirrored at it, the edge itself not repeated. */
ts_tensor *ts_filter(ts_graph *g, ts_tensor *x, ts_tensor *kernel, bool down);
/* The eigenvalues of the symmetric matrices [a b; b c]: (..., C) three times -> (..., 2 C), the larger ones before the smaller
 * ones; with `trace` (..., 3 C), a + c before both. */
ts_tensor *ts_eigen2(ts_graph *g, ts_tensor *a, ts_tensor *b, ts_tensor *c, bool trace);
/* Up to five tensors (..., C1), (..., C2), ... of as many rows -> (..., C1 + C2 + ...), of the first one's shape. */
ts_tensor *ts_join(ts_graph *g, int count, ts_tensor *const *part);
/* x (..., C) -> (..., count): its columns from `first` on. */
ts_tensor *ts_columns(ts_graph *g, ts_tensor *x, int64_t first, int64_t count);
/* The same parts into the columns of a state (or a trainable parameter) from `first` on, in place. Not differentiable. */
bool ts_put_columns(ts_graph *g, ts_tensor *state, int64_t first, int count, ts_tensor *const *part);
/* (N, H, W, C) -> (N, H/2, W/2, C), the largest of each two by two pixels; a last odd row or column is left out. */
ts_tensor *ts_maxpool2x(ts_graph *g, ts_tensor *x);
ts_tensor *ts_sum(ts_graph *g, ts_tensor *x);  /* (1); in a fixed order */
ts_tensor *ts_mean(ts_graph *g, ts_tensor *x); /* (1) */
/* (..., tail) -> tail: the sum over what stands before the last `ndim` dimensions; the gradient of a broadcast. */
ts_tensor *ts_sum_leading(ts_graph *g, ts_tensor *x, int ndim);
/* logits (..., K), target (...) I32 in [0, K), rows with another target left out -> (1): mean of -log softmax(logits)[target]. */
ts_tensor *ts_cross_entropy(ts_graph *g, ts_tensor *logits, ts_tensor *target);

/* Memory of a graph that keeps its value over runs and starts as zeros: an optimizer's moments, an accumulated gradient. */
ts_tensor *ts_state(ts_graph *g, const char *name, ts_layout layout, int ndim, const int64_t *shape);

/* One AdamW update in place (Loshchilov & Hutter 2017, arXiv 1711.05101, alg. 2, as PyTorch computes it):
 *   g = grad * scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p = p (1 - lr wd) - lr (m / c1) / (sqrt(v / c2) + eps)
 * hyper (3): lr, c1 = 1 - b1^t, c2 = 1 - b2^t, written before each run; scale (1), or NULL: 1; with a scale of 0 nothing changes.
 * Not differentiable. On a device that stores fp16, all but the gradient must be kept in fp32, as states are. */
typedef struct {
    double beta1, beta2, eps, weight_decay; /* zeros: 0.9, 0.999, 1e-8, 0 */
} ts_adamw_desc;
bool ts_adamw(ts_graph *g, ts_tensor *p, ts_tensor *grad, ts_tensor *m, ts_tensor *v, ts_tensor *hyper, ts_tensor *scale,
              const ts_adamw_desc *desc);
/* SGD with momentum, as PyTorch: g = grad * scale + wd p; u = momentum u + g; p = p - lr u. hyper (3): lr, unused, unused. */
bool ts_sgd(ts_graph *g, ts_tensor *p, ts_tensor *grad, ts_tensor *u, ts_tensor *hyper, ts_tensor *scale, float momentum,
            float weight_decay);
/* (1): min(1, max_norm / (sqrt(sum of squares of all) + 1e-6)), as torch.nn.utils.clip_grad_norm_; `norm` (may be NULL) gets the
 * norm. NULL gradients count as zeros. */
ts_tensor *ts_clip_scale(ts_graph *g, int count, ts_tensor *const *grads, float max_norm, ts_tensor **norm);
/* (1): min(|a| / (|b| + eps), most), the norms over all elements: how much heavier one gradient is than another; NaN where |b| is
 * not finite. Not differentiable. */
ts_tensor *ts_norm_ratio(ts_graph *g, ts_tensor *a, ts_tensor *b, float eps, float most);
/* state += x, in place. */
bool ts_accumulate(ts_graph *g, ts_tensor *state, ts_tensor *x);
/* state = value, in place. */
bool ts_reset(ts_graph *g, ts_tensor *state, float value);

/* The learning rate of step `step`, counted from 0, of `steps`: rises evenly to `peak` over the first `warmup` steps, then falls
 * along half a cosine towards 0. */
double ts_cosine_rate(int64_t step, int64_t steps, int64_t warmup, double peak);
/* With warm restarts: half a cosine from `peak` towards 0 over each `period` steps, then from `peak` again. */
double ts_restart_rate(int64_t step, int64_t period, double peak);

/* A whole AdamW step as nodes: gradients of `loss` for what it depends on in `ps`, clipped, and the updates. Weight decay is for
 * tensors of two or more dimensions. Freed after the exec. */
typedef struct {
    bool sgd;                               /* SGD (ts_sgd) instead: beta1 is its momentum, zero: none */
    double beta1, beta2, eps, weight_decay; /* zeros: 0.9, 0.999, 1e-8, 0 */
    double clip_norm;                       /* of all gradients together; 0: not clipped */
    int accumulate;                         /* runs whose gradients, averaged, make one update; zero: 1 */
    /* Where the device stores fp16, gradients are computed of the loss times a scale, so that small ones are not lost, and
     * divided by it before the update (Micikevicius et al. 2017, arXiv 1710.03740). When they are not finite the update is left
     * out and the scale halved; after `scale_steps` updates it is doubled, up to 2^15. */
    double loss_scale;                /* to begin with; zero: 2^15 */
    int scale_steps;                  /* zero: 1000 */
    bool (*frozen)(const char *name); /* parameters that do not train; NULL: none */
    const char *prefix;               /* of its scale's names in a checkpoint of several optimizers; NULL: none */
} ts_optimizer_desc;
typedef struct ts_optimizer ts_optimizer;
ts_optimizer *ts_optimizer_new(ts_graph *g, ts_params *ps, ts_tensor *loss, const ts_optimizer_desc *desc, ts_error *err);
void ts_optimizer_free(ts_optimizer *o);
int ts_optimizer_count(const ts_optimizer *o); /* parameters that train */
/* The gradient of a parameter (mark it with ts_output before planning to read it); NULL: it does not train. */
ts_tensor *ts_optimizer_grad(const ts_optimizer *o, const char *name);
/* Before the run of a step, or the last of its runs: the number of this step, from 1, and its learning rate. */
bool ts_optimizer_set(ts_optimizer *o, ts_exec *e, int64_t step, double lr, ts_error *err);
/* After the last run of a step. Where several runs make a step they only add to the gradients' sums; this updates the parameters
 * and empties the sums. Else the run itself has updated. In fp16 it looks whether the gradients were finite, and sets the next
 * scale; an error where they are not even unscaled. */
bool ts_optimizer_update(ts_optimizer *o, ts_exec *e, ts_error *err);
/* What the loss is multiplied by, and how many updates were left out; 0 and 0 where the device does not store fp16. */
double ts_optimizer_scale(const ts_optimizer *o);
int64_t ts_optimizer_skipped(const ts_optimizer *o);
/* The moments, as "optimizer.m.NAME" and (not of SGD) "optimizer.v.NAME", and the scale; saved ones live until the next call or
 * ts_optimizer_free. */
bool ts_optimizer_save(ts_optimizer *o, ts_exec *e, ts_weights_writer *w, ts_error *err);
bool ts_optimizer_load(ts_optimizer *o, ts_exec *e, const ts_weights *w, ts_error *err);
/* The same in memory, for a training that goes on by another graph of the same parameters. Owned by the caller: free(). */
typedef struct ts_optimizer_state ts_optimizer_state;
ts_optimizer_state *ts_optimizer_keep(ts_optimizer *o, ts_exec *e, ts_error *err);
bool ts_optimizer_restore(ts_optimizer *o, ts_exec *e, const ts_optimizer_state *state, ts_error *err);

/* Parameters that can be changed: a ts_params whose tensors are copies in device memory. Those that `w` (may be NULL) lacks are
 * made by `init`. */
ts_params *ts_params_new_trainable(ts_device *dev, const ts_weights *w, const char *prefix, ts_init_fn init, void *ctx,
                                   ts_error *err);
int64_t ts_params_count(const ts_params *ps);
const char *ts_params_name(const ts_params *ps, int64_t i);
int ts_params_shape(const ts_params *ps, int64_t i, int64_t shape[TS_MAX_DIMS]); /* returns the number of dimensions */
/* All elements in plain order; not while a run is under way. */
bool ts_params_read(ts_params *ps, int64_t i, float *out, ts_error *err);
bool ts_params_write(ts_params *ps, int64_t i, const float *data, ts_error *err);
/* The leaves of `g` that are parameters of `ps`, in order of first use; `list` has ts_params_count(ps) places. Returns their
 * number. */
int ts_graph_params(const ts_graph *g, const ts_params *ps, ts_tensor **list);
/* Adds all parameters to a file, fp32, in plain order; `buffer` is set to what the caller frees after the save. */
bool ts_params_save(ts_params *ps, ts_weights_writer *w, float **buffer, ts_error *err);
/* Sets all parameters from a file of the same names (with the set's prefix). */
bool ts_params_load(ts_params *ps, const ts_weights *w, ts_error *err);

/* ---- running ----------------------------------------------------------------------------------------------- */

/* Plans the graph for a device: folds activations and residuals into the products before them, gives every intermediate its
 * place in one arena, records the commands. The graph is frozen by it and must outlive the exec, as must the device and the
 * ts_params. Reports the graph's first error. */
ts_exec *ts_exec_new(ts_graph *g, ts_device *dev, ts_error *err);
void ts_exec_free(ts_exec *e);
/* Sets an input, which keeps its value over runs. `data`: ts_count(t) floats (TS_REAL) or int32_t (TS_I32), row-major. */
bool ts_write(ts_exec *e, ts_tensor *t, const void *data, ts_error *err);
bool ts_run(ts_exec *e, ts_error *err);
/* Fetches an output (or an input), as float or int32_t. */
bool ts_read(ts_exec *e, ts_tensor *t, void *data, ts_error *err);
/* The same, unrounded, for the yardstick. TS_REAL only. */
bool ts_read_f64(ts_exec *e, ts_tensor *t, double *data, ts_error *err);
bool ts_write_f64(ts_exec *e, ts_tensor *t, const double *data, ts_error *err);

typedef struct {
    uint64_t arena_bytes; /* what the plan needs for intermediates */
    uint64_t sum_bytes;   /* what they would need without reuse */
    int nodes;            /* after fusion */
    int submissions;      /* of one run; 0 on the host */
    double flops;         /* of one run: 2 x multiply-adds of products, convolutions and attention */
} ts_exec_info;
ts_exec_info ts_exec_about(const ts_exec *e);

/* Times of the last run, one entry a node, in order (device opened with `profile`). Valid until the next run. */
typedef struct {
    const char *op;   /* "linear" */
    const char *name; /* "blocks.3.fc1" or "" */
    char shape[96];   /* "197x1024 -> 197x4096" */
    double ms, flops, bytes;
} ts_profile;
int ts_exec_profile(const ts_exec *e, const ts_profile **list);

#ifdef __cplusplus
}
#endif
#endif
