/* internal.h - what the engine's own files share: nodes, ops, the plan, the two backends. Not installed.
 *
 * An op is one file of engine/op/. It holds the shape rule (the public ts_xxx function), the host kernel and the Vulkan
 * dispatch, tied together in one ts_op. The file is compiled twice: once as is, and once with TS_YARDSTICK, when only the host
 * kernel is compiled, in double precision with plain loops (see real.h). */
#ifndef TESSERA_INTERNAL_H
#define TESSERA_INTERNAL_H

#include "engine/engine.h"

typedef struct ts_vk_cmd ts_vk_cmd; /* engine/vulkan/vulkan.h */
typedef struct ts_vk_limits ts_vk_limits;
typedef struct ts_host ts_host;

/* Activation folded into a product or a normalisation. */
typedef enum { TS_ACT_NONE = 0, TS_ACT_GELU, TS_ACT_QUICK_GELU, TS_ACT_SWISH } ts_act;

/* ---- ops and nodes ------------------------------------------------------------------------------------------ */

typedef bool (*ts_host_kernel)(const ts_node *n, ts_host *h, ts_error *err);

typedef struct ts_op {
    const char *name;
    /* Asked once for each consumer that is the only reader of this node's output: takes the consumer's work into `n` (changing
     * n's attributes, adding inputs with ts_node_add_input) and returns true, or returns false. NULL: never. */
    bool (*absorb)(ts_node *n, const ts_node *consumer);
    /* Adds the nodes of the gradient: dy[k] is that of out[k] (NULL where nothing flows back through it); for each in[k] with
     * wanted[k] sets dx[k], of that input's shape (a weight's gradient gets the weight's layout). NULL op: it has none, an error
     * where one is needed. Activations and residuals are folded after differentiation, so a product here is a plain one. */
    void (*grad)(ts_node *n, ts_tensor *const *dy, const bool *wanted, ts_tensor **dx);
    uint32_t wide;                     /* bit k: in[k] may be kept in fp32 where the device stores fp16 (ts_is_wide) */
    uint32_t writes;                   /* bit k: in[k] is changed in place (optimizers); such a node always runs */
    double (*flops)(const ts_node *n); /* NULL: not counted */
    /* Host. `prepare` makes what is made once a plan (oneDNN primitives, packed weights), kept in ts_host_state. */
    ts_host_kernel host, host_f64;
    bool (*host_prepare)(const ts_node *n, ts_host *h, void **state, ts_error *err);
    void (*host_release)(void *state);
    uint64_t (*host_scratch)(const ts_node *n, const ts_host *h); /* bytes of ts_host_scratch; NULL: none */
    /* Vulkan. Records the node's dispatches. */
    bool (*vulkan)(const ts_node *n, ts_vk_cmd *cmd, ts_error *err);
    uint64_t (*vulkan_scratch)(const ts_node *n, const ts_vk_limits *limits); /* bytes of ts_vk_scratch; NULL: none */
} ts_op;

enum { TS_MAX_IN = 6, TS_MAX_OUT = 3 };

struct ts_node {
    const ts_op *op;
    int index;                /* place in the order of description */
    ts_tensor *in[TS_MAX_IN]; /* NULL where an optional input is absent */
    ts_tensor *out[TS_MAX_OUT];
    int nin, nout;
    void *attr; /* the op's own struct, owned by the graph */
    size_t attr_size;
    int segment;   /* of those that are computed again for the gradient; 0: none */
    bool absorbed; /* its work was folded into another node */
    ts_graph *graph;
    char name[64];
    ts_tensor *scratch; /* planned like an output that dies at once; NULL: none */
};

/* For the ops' public functions. All return NULL (and keep the error in the graph) on failure, and accept a graph in error. */
ts_node *ts_node_new(ts_graph *g, const ts_op *op, int nin, ts_tensor *const *in, const void *attr, size_t attr_size);
ts_tensor *ts_node_output(ts_node *n, ts_type type, int ndim, const int64_t *shape); /* NULL where n is NULL */
bool ts_node_add_input(ts_node *n, int slot, ts_tensor *t);
/* Records an error that names the op, and returns NULL. Shapes are written by ts_shape_text. */
ts_tensor *ts_graph_fail(ts_graph *g, ts_code code, const char *op, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
typedef struct {
    char s[96];
} ts_text;
ts_text ts_shape_text(const ts_tensor *t); /* "(1, 197, 1024)" */
/* Whether an op may change `t` in place: a state, an input or a trainable parameter, itself and not reshaped. An error in the
 * graph where not; false for NULL. */
bool ts_in_place(ts_graph *g, const char *op, const ts_tensor *t);
int64_t ts_last_dim(const ts_tensor *t);
int64_t ts_rows(const ts_tensor *t); /* count / last dim */
bool ts_same_shape(const ts_tensor *a, const ts_tensor *b);
bool ts_is_wide(const ts_tensor *t);
/* How its elements are stored on a device. */
ts_precision ts_precision_of(const ts_device *dev, const ts_tensor *t);

/* ---- graph and plan ----------------------------------------------------------------------------------------- */

/* What the planner knows of a tensor. Aliases (reshape) share the storage of `alias`. */
typedef struct ts_tensor_state {
    ts_tensor *alias;             /* whose storage it is; NULL: its own */
    struct ts_param_entry *param; /* in the memory of a ts_params; NULL: in the arena */
    int64_t index;                /* in graph->tensors */
    bool stopped;                 /* no gradient flows through this alias */
    bool zeroed;                  /* a state: zeros before the first run */
    bool wide;                    /* kept in fp32 where the device stores fp16: states, what is trained, sums of gradients */
    bool changes;                 /* a node of the plan writes it in place */
    bool keep;                    /* input or output: its place is never given to another */
    int first, last;              /* node positions between which it lives */
    int readers;
    int block; /* of the arena */
    uint64_t offset, bytes;
} ts_tensor_state;

struct ts_graph {
    ts_error error;
    ts_tensor **tensors; /* every tensor, in order of making */
    int64_t tensor_count, tensor_room;
    ts_node **nodes;
    int64_t node_count, node_room;
    char scope[48];
    int segment, segment_count; /* the one being described; all */
    bool frozen;
};

/* A tensor is reached through its root: the one that owns the storage. */
ts_tensor *ts_root(ts_tensor *t);
const ts_tensor *ts_root_const(const ts_tensor *t);
/* ts_grad of loss times `seed` (1); NULL: 1. */
bool ts_grad_seeded(ts_graph *g, ts_tensor *loss, ts_tensor *seed, int count, ts_tensor *const *params, ts_tensor **grads);
/* Describes the nodes of a segment again, of the first `count` of the graph: nodes[i] is set to the copy of node i, tensors[i] to
 * that of tensor i. */
void ts_segment_copy(ts_graph *g, int segment, int64_t count, ts_node **nodes, ts_tensor **tensors);
/* Sums of gradients to the factor that they are to be multiplied by before an update: each element counts `unscale` (1) times,
 * the norm is bound by max_norm where that is above 0. 0 where the norm is not finite. Wide. */
ts_tensor *ts_unscale(ts_graph *g, int count, ts_tensor *const *grads, float max_norm, ts_tensor *unscale, ts_tensor **norm);
/* y = x in place, x being wide. */
bool ts_narrow(ts_graph *g, ts_tensor *y, ts_tensor *x);
bool ts_graph_append_node(ts_graph *g, ts_node *n);
ts_tensor *ts_tensor_new(ts_graph *g, ts_type type, int ndim, const int64_t *shape);

/* Folds nodes, drops what no output needs, and gives every tensor its block and offset. Fills e->order, e->blocks. */
bool ts_plan(ts_exec *e, ts_error *err);

/* ---- backends ----------------------------------------------------------------------------------------------- */

typedef struct ts_param_entry {
    char *name;
    ts_layout layout;
    int ndim;
    int64_t shape[TS_MAX_DIMS];
    int64_t count;
    uint64_t bytes;
    ts_params *owner;
    const ts_weight *weight; /* NULL: not from a file */
    const float *initial;    /* while it is loaded, the elements in plain order of one that is not from a file */
    void *host;              /* host backend: the elements in the device's precision, plain order */
    bool owned;              /* `host` was allocated, not mapped */
    uint64_t address;        /* Vulkan backend */
} ts_param_entry;

typedef struct ts_backend {
    bool (*params_new)(ts_params *ps, ts_error *err);
    void (*params_free)(ts_params *ps);
    bool (*param_load)(ts_params *ps, ts_param_entry *p, ts_error *err);
    /* All bytes of a parameter, as they lie in the device's memory. */
    bool (*param_write)(ts_params *ps, ts_param_entry *p, const void *data, ts_error *err);
    bool (*param_read)(ts_params *ps, const ts_param_entry *p, void *data, ts_error *err);
    bool (*exec_new)(ts_exec *e, ts_error *err); /* after ts_plan: allocates e->blocks and records */
    void (*exec_free)(ts_exec *e);
    bool (*run)(ts_exec *e, ts_error *err);
    bool (*write)(ts_exec *e, int block, uint64_t offset, const void *data, uint64_t bytes, ts_error *err);
    bool (*read)(ts_exec *e, int block, uint64_t offset, void *data, uint64_t bytes, ts_error *err);
    void (*device_free)(ts_device *dev);
    int (*validation)(const ts_device *dev, const char **first);
} ts_backend;

struct ts_device {
    const ts_backend *backend;
    ts_device_info info;
    ts_precision precision;
    uint64_t real_bytes;  /* of one TS_REAL: 4, 2 or 8 */
    uint64_t block_bytes; /* largest block of an arena */
    uint64_t align;       /* of a tensor in a block */
    int64_t pack_panel;   /* how weights are kept: the `panel` of ts_pack */
    int threads;
    bool profile;
    const ts_vk_limits *limits; /* Vulkan only, else NULL */
    void *impl;                 /* the backend's */
};

struct ts_params {
    ts_device *dev;
    const ts_weights *weights;
    char *prefix;
    bool trainable;    /* copies that may be changed */
    bool wide;         /* kept in fp32 whatever the device stores */
    bool mapped;       /* some are read where they lie in the weights file */
    bool whole;        /* the file was as it was opened after all that is loaded now was */
    ts_params *master; /* of a trainable set that the device stores in fp16: the same in fp32, which is what trains; else NULL */
    ts_init_fn init;   /* makes what the file lacks; NULL: nobody does */
    void *init_ctx;
    ts_param_entry **list;
    int64_t count, room;
    uint64_t bytes;
    ts_error error; /* other than missing and misshapen tensors */
    char *missing;  /* names of absent tensors, comma between; NULL: none */
    int64_t missing_count;
    char *misshapen; /* "name is (a, b), wanted (c, d)", semicolon between */
    int64_t misshapen_count;
    void *impl; /* the backend's */
};

struct ts_exec {
    ts_graph *graph;
    ts_device *dev;
    ts_node **order; /* the nodes to run */
    int64_t count;
    uint64_t *blocks; /* bytes of each block of the arena */
    int block_count;
    uint64_t sum_bytes;
    int submissions;
    ts_profile *profile;      /* `count` entries where the device profiles, else NULL; `ms` is filled by the backend */
    const ts_params **mapped; /* those that are read in a weights file while the graph runs */
    int mapped_count;
    void *impl; /* the backend's */
};

/* Writes `from` (floats in plain order) to `out` in a device's precision and layout: plain where `panel` is 0, else
 * TS_LAYOUT_LINEAR as (in, out) and TS_LAYOUT_CONV as (kh, kw, in, out), `panel` columns after the other: all rows of the first
 * columns, then all rows of the next ones. TS_PACK_ROWS is one panel, whole rows. */
enum { TS_PACK_PLAIN = 0, TS_PACK_ROWS = INT32_MAX };
void ts_pack(const float *from, ts_layout layout, int ndim, const int64_t *shape, ts_precision precision, int64_t panel,
             int threads, void *out);
/* The way back, to floats, or to doubles with `wide`. */
void ts_unpack(const void *from, ts_layout layout, int ndim, const int64_t *shape, ts_precision precision, int64_t panel,
               bool wide, void *out);
/* ts_pack for a parameter's first value, whatever its type in the file. */
bool ts_param_pack(const ts_param_entry *p, ts_precision precision, int64_t panel, int threads, void *out, ts_error *err);

/* Trainable parameters in fp32 on any device. */
ts_params *ts_params_new_wide(ts_device *dev, ts_init_fn init, void *ctx, ts_error *err);
/* The leaf that trains for a parameter's leaf: its master's, or itself. */
ts_tensor *ts_master(ts_graph *g, ts_tensor *t);
ts_precision ts_params_precision(const ts_params *ps);

ts_device *ts_host_device_open(const ts_device_desc *desc, ts_error *err);
void ts_host_device_info(ts_device_info *info);
#ifdef TESSERA_VULKAN
/* engine/vulkan/: number of physical devices and their infos (owned by the caller); 0 where there is no loader or driver. */
int ts_vk_device_list(ts_device_info **list, ts_error *err);
ts_device *ts_vk_device_open(const ts_device_desc *desc, int index, ts_error *err);
#endif

/* ---- for the host kernels ------------------------------------------------------------------------------------ */

void *ts_host_ptr(const ts_host *h, const ts_tensor *t); /* NULL for NULL */
void *ts_host_scratch(const ts_host *h, const ts_node *n);
void *ts_host_state(const ts_host *h, const ts_node *n);
int ts_host_threads(const ts_host *h);
/* Calls fn(ctx, begin, end) over [0, count) from the device's threads, in contiguous parts of at least `grain`. */
typedef void (*ts_range_fn)(void *ctx, int64_t begin, int64_t end);
void ts_parallel(int threads, int64_t count, int64_t grain, ts_range_fn fn, void *ctx);

#endif
