/* method.h - what a prompt-tuning method is, for the tuner. A method is one file method_X.c with one `const ts_method`, and its
 * line in the table of method.c; CLIP itself stays frozen.
 *
 * Every method has the same logits, exp(logit_scale) f . c^T, of unit image features f (B, E) and unit class features c (K, E).
 * What it changes is how one or the other comes about, so it describes at most two pieces of graph:
 * - `images`: pixels -> f (vp, reprogram, vpt, upt, maple). NULL: the frozen tower, so f may be computed once a picture.
 * - `classes`: a chunk of class prompts -> their rows of c (coop, cocoop, upt, maple). NULL: constant, computed once.
 *
 * They are apart so that memory stays bounded. The activations of 1000 class prompts do not fit beside each other, but the
 * loss needs of them only c. So a step is
 *     1  for each chunk of N classes, forward only: c's rows, which go to the host
 *     2  the head: f from `images` or as an input, c an input (ts_input_weight, LINEAR), logits, cross entropy; the gradients of
 *        the parameters in `images`, and of c
 *     3  for each chunk again, with gradients: loss = sum(classes(chunk) * seed), where seed (N, E), an input, has the chunk's
 *        rows of the gradient of c; its gradients by the parameters are this chunk's share
 *     4  the gradients of 2 and 3 added up; one update
 * A method without `classes` needs 2 and 4 only. Rows beyond the last class in the last chunk are copies of that class: their
 * seed must be zero. Where all classes fit into one chunk, one graph does: c by ts_as_weight of `classes`, which saves step 1.
 *
 * `per_image` (cocoop): the class features depend on the picture. `classes` then gets that picture's feature f (1, E), with
 * which 1 to 3 run for one picture at a time: a batch is the mean over its pictures' gradients.
 *
 * Use: ts_prompt_new makes the parameters (fresh, or of a prompt file, or of a published checkpoint); ts_prompt_graph holds one
 * graph; what the method itself feeds into its graph (places, random ones included) is written by ts_prompt_write after planning
 * and before each training step. */
#ifndef TESSERA_CLIP_METHOD_H
#define TESSERA_CLIP_METHOD_H

#include "clip/clip.h"

typedef struct ts_method ts_method;
typedef struct ts_prompt ts_prompt;

/* ---- settings -------------------------------------------------------------------------------------------------- */

typedef enum { TS_CLASS_END = 1, TS_CLASS_MIDDLE, TS_CLASS_FRONT } ts_class_position;

/* Zero is "not said": the method's own value. A method takes only those in its `settings`. */
typedef struct {
    int context;     /* vectors before the class name, M */
    int per_class;   /* 1: each class has context of its own (CSC); 2: said to be shared */
    int position;    /* of the class name among the context: ts_class_position */
    char words[256]; /* the context starts as these words ("a photo of a"); it has one vector for each of them */
    int pixels;      /* of a frame's width or a patch's side; of the picture's side (reprogram) */
    int tokens;      /* prompt tokens, P */
    int depth;       /* vision blocks that get tokens of their own */
    int attention;   /* 1: as published; 2: degenerate, as released (upt) */
} ts_method_settings;

/* A setting by its name and as text, for options of a command and metadata of a file. */
typedef struct {
    const char *key, *about;
} ts_method_setting;
const ts_method_setting *ts_method_setting_list(int *count);
/* `key`: "context", "per-class" (yes, no), "position" (end, middle, front), "words", "pixels", "tokens", "depth", "attention"
 * (true, degenerate). Another key, or one that the method does not take, or a value out of range is an error that says so. */
bool ts_method_setting_set(const ts_method *m, ts_method_settings *s, const char *key, const char *value, ts_error *err);
/* False where it is not said. */
bool ts_method_setting_text(const ts_method_settings *s, const char *key, char *out, size_t room);

/* ---- the method ------------------------------------------------------------------------------------------------ */

typedef enum { TS_OPTIMIZE_SGD, TS_OPTIMIZE_ADAM } ts_optimize;
typedef enum {
    TS_WARM_CONSTANT,  /* at warm_rate */
    TS_WARM_LINEAR,    /* up to the rate: (n + 1) / warm of it */
    TS_WARM_FROM_ZERO, /* n / warm of it: the first has none */
} ts_warm;
typedef enum {
    TS_FALL_COSINE, /* lr (1 + cos(pi n / N)) / 2 */
    TS_FALL_DECAY,  /* lr decay^(n / decay_every), rounded down */
} ts_fall;

/* How the method was trained by its authors. `n`, `warm`, `decay_every` count epochs, or steps with `by_step`. */
typedef struct {
    ts_optimize optimizer;
    double lr, momentum, weight_decay; /* of SGD (added to the gradient) */
    int batch;
    bool lr_of_256; /* lr is for a batch of 256, and is scaled to the batch */
    bool keep_last; /* what does not fill a batch is an epoch's last, shorter one; else it is not seen in it */
    int epochs;
    int (*epochs_of)(int shots); /* where their number depends on it; shots 0: all pictures */
    bool by_step;                /* the rate changes each step, not each epoch */
    ts_warm warm_kind;
    double warm_rate;
    int warm;
    /* Cosine: true: n counts from the warm-up's end, N is all epochs (Dassl, so 0 is never reached); false: both from its end. */
    bool whole_period;
    ts_fall fall;
    double decay;
    int decay_every;
    bool crop; /* random crops and flips; false: the test pictures, so where `images` is NULL features are computed once */
} ts_recipe;

/* How CoOp trains, and what was built on its code: by the trainer of Dassl (Zhou et al. 2021). */
#define TS_RECIPE_DASSL                                                                                                          \
    .momentum = 0.9, .weight_decay = 5e-4, .warm_kind = TS_WARM_CONSTANT, .warm_rate = 1e-5, .warm = 1, .whole_period = true,    \
    .crop = true

int ts_recipe_epochs(const ts_recipe *r, int shots);

/* A graph of a prompt, and the inputs in it that the method writes. */
typedef struct ts_prompt_graph ts_prompt_graph;
/* Fills `data` (all of the tensor, float or int32_t); seed: of this step. */
typedef void (*ts_prompt_fill)(const ts_prompt *p, const ts_tensor *t, uint64_t seed, void *data);
enum { TS_PROMPT_MAX_INPUTS = 32 };
struct ts_prompt_graph {
    ts_prompt *prompt;
    ts_graph *g;
    bool training; /* set by the caller: dropout is on */
    int inputs;
    struct {
        ts_tensor *t;
        ts_prompt_fill fill;
        bool each_step;
    } input[TS_PROMPT_MAX_INPUTS];
};

/* Inputs of a chunk of `count` class prompts, as token embeddings cut at the longest. */
typedef struct {
    int64_t count;
    ts_tensor *fixed; /* (N, L, T): the embeddings of all that does not train, zeros where the context stands */
    ts_tensor *slot;  /* (N, L) I32: which row of the context stands here, -1: none; row class * M + m with per_class */
    ts_tensor *end;   /* (N, 1) I32 */
} ts_prompt_chunk;

struct ts_method {
    const char *name;     /* "vpt-deep" */
    const char *about;    /* one line, with its source */
    const char *settings; /* the keys it takes, a space between */
    const char *note;     /* lines that tell what is kept otherwise than its authors have it; NULL: nothing */
    ts_method_settings standard;
    ts_recipe recipe;
    bool per_image;
    /* Where `classes` is NULL: the class prompt. Its names are as given but with '-' as ' ' too where plain_names. */
    const char *text;
    bool plain_names;
    /* Checks and completes p->settings, calls ts_prompt_declare for each parameter; sets p->side where it differs from the
     * usual. */
    bool (*declare)(ts_prompt *p, ts_error *err);
    /* pixels (B, side, side, 3) -> (B, E) unit. */
    ts_tensor *(*images)(ts_prompt_graph *pg, ts_tensor *pixels);
    /* image: (1, E) unit, per_image only, else NULL -> (N, E) unit. */
    ts_tensor *(*classes)(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image);
    /* Reads what settings the shapes in a checkpoint tell; false: it is not this method's. */
    bool (*recognise)(const ts_weights *w, ts_method_settings *s);
    /* The prompt as a picture of image x image x 3 (CLIP's image side); NULL: there is nothing to see. */
    bool (*picture)(ts_prompt *p, uint8_t *rgb, ts_error *err);
};

/* All methods, in the order of the table; NULL past the end. */
const ts_method *ts_method_at(int i);
/* An unknown name is an error that lists the known ones. */
const ts_method *ts_method_find(const char *name, ts_error *err);
/* The method whose checkpoint this is by the names of its tensors, and the settings that their shapes tell; NULL and an error
 * where none knows it. A file that names its method and settings (metadata) is better read by those. */
const ts_method *ts_method_of_weights(const ts_weights *w, ts_method_settings *s, ts_error *err);

/* ---- a prompt: a method with parameters ------------------------------------------------------------------------ */

/* Class prompts as token embeddings (text.c): start, context, name, ".", end, the name at the end, in the middle or in
 * front of the context. */
typedef struct {
    int classes, context; /* K, M */
    int length, width;    /* L, up to and with the longest's end; T */
    float *fixed;         /* (K, L, T) */
    int32_t *slot;        /* (K, L) */
    int32_t *end;         /* (K) */
} ts_prompt_text;

typedef struct {
    int context;
    bool per_class;
    ts_class_position position;
    const char *prefix; /* words before each name; NULL: none */
    int replaced;       /* tokens of `prefix` that the context stands for; what is left of it is frozen before the name */
    bool cut;           /* too long a name loses its end; else it is an error that names it */
} ts_prompt_text_desc;

bool ts_prompt_text_new(const ts_clip *c, const ts_tokenizer *t, const char *const *names, int count,
                        const ts_prompt_text_desc *desc, ts_prompt_text *out, ts_error *err);
void ts_prompt_text_clear(ts_prompt_text *t);

typedef enum { TS_START_NORMAL, TS_START_UNIFORM, TS_START_VALUE } ts_start;
enum { TS_PROMPT_MAX_PARAMS = 64 };

/* Read the fields, write none, but in a method's `declare`. */
struct ts_prompt {
    const ts_method *method;
    ts_clip *clip;
    const ts_tokenizer *tokenizer;
    ts_method_settings settings; /* complete */
    int classes;
    const char *const *names;
    int side;            /* of the pictures that `images` takes */
    bool text_words;     /* the context stands for the first tokens of settings.words; see ts_prompt_text_desc */
    ts_prompt_text text; /* where the method has `classes` */
    ts_params *params;   /* all made; under the published names, no prefix */
    struct ts_prompt_declared {
        char name[64];
        ts_layout layout;
        int ndim;
        int64_t shape[TS_MAX_DIMS];
        ts_start start;
        double scale;  /* normal(0, scale), uniform(-scale, scale), or the value */
        char like[64]; /* starts as a copy of this one; empty: of none */
        float *values; /* instead, where not NULL */
    } declared[TS_PROMPT_MAX_PARAMS];
    int declared_count;
    bool cut;
    uint64_t seed;
    const ts_weights *weights; /* while it is made */
};

typedef struct {
    const ts_method *method;
    ts_method_settings settings;
    ts_clip *clip; /* these three must outlive the prompt */
    const ts_tokenizer *tokenizer;
    const char *const *names;
    int classes;
    bool cut; /* see ts_prompt_text_desc */
    uint64_t seed;
    const ts_weights *weights; /* to take the parameters from: NULL: fresh. Only read within ts_prompt_new */
} ts_prompt_desc;

/* The names may be others than those it was trained with, and more or fewer, unless it has context per class. A tensor that the
 * file lacks, or of another shape, is an error. */
ts_prompt *ts_prompt_new(const ts_prompt_desc *desc, ts_error *err);
void ts_prompt_free(ts_prompt *p);
/* A parameter's elements, by name. */
bool ts_prompt_read(ts_prompt *p, const char *name, float *out, ts_error *err);
/* Constant class features (K, E), unit rows; for a method without `classes`. */
bool ts_prompt_constant_classes(ts_prompt *p, float *out, ts_error *err);

/* pg: zeroed but for prompt, g and training. The pieces of the method; `images` is the frozen tower where the method has none. */
ts_tensor *ts_prompt_images(ts_prompt_graph *pg, ts_tensor *pixels);
ts_tensor *ts_prompt_classes(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *image);
/* Inputs for chunks of `count` classes, and their values for classes first ... first + count - 1 (beyond the last: the last). */
ts_prompt_chunk ts_prompt_chunk_new(ts_prompt_graph *pg, int64_t count);
bool ts_prompt_chunk_write(const ts_prompt_graph *pg, ts_exec *e, const ts_prompt_chunk *chunk, int64_t first, ts_error *err);
/* Writes the method's own inputs: all after planning (`all`), those that change before each step. */
bool ts_prompt_write(const ts_prompt_graph *pg, ts_exec *e, bool all, uint64_t seed, ts_error *err);

/* ---- for the methods' files ------------------------------------------------------------------------------------ */

/* Returns what `values` may be set in (owned by the prompt), or NULL and an error. */
struct ts_prompt_declared *ts_prompt_declare(ts_prompt *p, const char *name, ts_layout layout, int ndim, const int64_t *shape,
                                             ts_start start, double scale, ts_error *err);
/* A declared parameter as leaf of the graph. */
ts_tensor *ts_prompt_param(ts_prompt_graph *pg, const char *name);
/* An input that the method writes. */
ts_tensor *ts_prompt_input(ts_prompt_graph *pg, const char *name, ts_type type, int ndim, const int64_t *shape,
                           ts_prompt_fill fill, bool each_step);
/* Declares "ctx" for settings.context, per_class and words, and completes those: words without a number of vectors get one for
 * each, and the vectors start as the words' first tokens. */
bool ts_prompt_declare_context(ts_prompt *p, ts_error *err);
/* ctx (M, T) or (K, M, T) put into the chunk's prompts -> (N, L, T), without positions. */
ts_tensor *ts_prompt_embedded(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *ctx);
/* The same through the text tower -> (N, E). */
ts_tensor *ts_prompt_text_features(ts_prompt_graph *pg, const ts_prompt_chunk *chunk, ts_tensor *ctx);
/* tokens (B, 1+G, W), prompts (P, W) -> (B, 1+P+G, W): between class token and patches. */
ts_tensor *ts_prompt_insert(ts_prompt_graph *pg, ts_tensor *tokens, ts_tensor *prompts);
/* A tensor of a checkpoint; a whole model's state names its prompts under "prompt_learner.". NULL: it is not there. */
const ts_weight *ts_prompt_in_file(const ts_weights *w, const char *name);
/* A generator's start for what `name` needs of `seed`, apart from what other names get. */
uint64_t ts_prompt_seed(uint64_t seed, const char *name);

extern const ts_method ts_method_coop, ts_method_cocoop, ts_method_vp_padding, ts_method_vp_fixed, ts_method_vp_random,
    ts_method_reprogram, ts_method_vpt_shallow, ts_method_vpt_deep, ts_method_upt, ts_method_maple;

#endif
