/* internal.h - what files of sam/ share: where tensors stand in a file, the parts of the model as graph, the model with what is
 * kept of a picture, and masks at the picture's size. */
#ifndef TESSERA_SAM_INTERNAL_H
#define TESSERA_SAM_INTERNAL_H

#include "sam/sam.h"
#include "vit/vit.h"

/* ---- names (names.c) ---- */

/* The names used inside are those of the published files. */
typedef struct {
    char s[128];
} sam_name;

sam_name ts_sam_name(bool hugging_face, const char *published);
/* The tensor of that published name; NULL: there is none. */
const ts_weight *ts_sam_find(const ts_weights *w, bool hugging_face, const char *published);

/* ---- the model as graph. Shapes: B prompts, N tokens, L = side^2 places, E numbers at each, I inside a cross attention ---- */

typedef struct {
    ts_sam_config config;
    const ts_weights *weights;
    ts_params *params; /* the file's tensors */
    ts_params *made;   /* what is made of them: see ts_sam_make */
} sam_model;

/* A ts_init_fn, ctx a sam_model: the weights of the transposed convolutions as those of linear layers (`turned.N.weight`, (4 out,
 * in), the bias four times over), the places' positions (`dense_pe`, (L, E)), and a TinyViT's (`folded.*`, `ordered.*`). */
bool ts_sam_make(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);

/* The file's tensor of that published name, which must be there with this shape. */
const ts_weight *ts_sam_source(const sam_model *m, const char *name, int ndim, const int64_t *shape, ts_error *err);
/* fold.c: a TinyViT's convolution with its batch norm in it, UNIT.weight or UNIT.bias (a weight of three dimensions is one by
 * channels, turned to (kh, kw, C)); and the tensor of that name with its rows, head by head, in the usual order. */
bool ts_sam_fold(const sam_model *m, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);
bool ts_sam_order(const sam_model *m, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);

ts_tensor *ts_sam_param(ts_graph *g, const sam_model *m, const char *name, ts_layout layout, int ndim, const int64_t *shape);
ts_tensor *ts_sam_linear(ts_graph *g, const sam_model *m, const char *layer, ts_tensor *x, int64_t in, int64_t out);
ts_tensor *ts_sam_norm(ts_graph *g, const sam_model *m, const char *layer, ts_tensor *x, int64_t width, float eps);

/* encoder.c: pixels (1, S, S, 3), normalised -> (1, side, side, E) */
ts_tensor *ts_sam_encode(ts_graph *g, const sam_model *m, ts_tensor *pixels);
/* tiny.c: the same before the neck, by a TinyViT -> (1, side, side, width) */
ts_tensor *ts_sam_encode_tiny(ts_graph *g, const sam_model *m, ts_tensor *pixels);

/* prompt.c: priors (B, low, low, 1) -> what they add to the picture, (B, L, E) */
ts_tensor *ts_sam_encode_prior(ts_graph *g, const sam_model *m, ts_tensor *prior);

/* What a layer's tokens look at and what looks at them: the same for all prompts where B is 1. */
typedef struct {
    ts_tensor *keys;  /* (B or 1, L, E) */
    ts_tensor *k, *v; /* (B or 1, L, I), of the tokens' look at the picture */
    ts_tensor *q;     /* (B or 1, L, I), of the picture's look at the tokens; NULL in the last look */
} sam_image;

/* decoder.c: keys (B or 1, L, E) -> the image's side of the first layer. */
sam_image ts_sam_project(ts_graph *g, const sam_model *m, ts_tensor *keys);

typedef struct {
    bool multimask;
    ts_tensor *similarity, *target; /* (L), (E), or NULL */
} sam_decode;

/* tokens (B, N, E) -> masks (B, low, low, M), scores (B, masks). */
typedef struct {
    ts_tensor *masks, *scores;
} sam_decoded;
sam_decoded ts_sam_decode(ts_graph *g, const sam_model *m, ts_tensor *tokens, const sam_image *image, const sam_decode *how);

/* Which of the decoder's masks are given. */
static inline int ts_sam_first_mask(bool multimask)
{
    return multimask ? 1 : 0;
}
static inline int ts_sam_mask_count(const ts_sam_config *c, bool multimask)
{
    return multimask ? c->masks - 1 : 1;
}

/* ---- prompts as tokens (prompt.c) ---- */

/* The prompt encoder's numbers, on the host. */
typedef struct {
    float *gaussian; /* (2, E/2) */
    float *point[4]; /* (E): outside, inside, a box's two corners */
    float *no_point; /* (E) */
    float *no_prior; /* (E) */
    float *output;   /* (1 + masks, E): the score's token, the masks' */
    float *memory;   /* all of it */
} sam_prompts;

bool ts_sam_prompts_load(const sam_model *m, sam_prompts *out, ts_error *err);
/* Fourier features (E) of a place in [0, 1]^2 (Tancik et al. 2020, arXiv 2006.10739). */
void ts_sam_features(const float *gaussian, int embed, double u, double v, float *out);
/* Tokens of a prompt, those for the output included. */
int ts_sam_token_count(const ts_sam_config *c, const ts_sam_prompt *p);
void ts_sam_tokens(const ts_sam *s, const ts_sam_prompt *p, float *out);

/* ---- masks at the picture's size (upscale.c) ---- */

/* What of an axis an output place takes from the masks of the decoder. */
enum { SAM_TAPS = 4 };
typedef struct {
    int base;
    float weight[SAM_TAPS];
} sam_taps;

/* Output places of an axis that look at the same ones. */
typedef struct {
    int base, begin, end;
} sam_stretch;

typedef struct {
    int width, height; /* of the picture */
    int low;
    sam_taps *x, *y;
    sam_stretch *rows; /* of y */
    int row_count;
} sam_scaler;

bool ts_sam_scaler_new(const ts_sam_config *c, int width, int height, int inner_width, int inner_height, sam_scaler *out,
                       ts_error *err);
void ts_sam_scaler_clear(sam_scaler *k);

/* The runs of a mask in a picture that this one is a part of, and how far it is stable. */
typedef struct {
    int width, height, left, top; /* the larger picture, and where this one lies in it */
    double offset;
} sam_cutting;
/* `stability` is NaN where no pixel is above -offset. Threads may share a scaler. */
bool ts_sam_runs(const sam_scaler *k, const float *low, const sam_cutting *how, ts_rle *out, double *stability, ts_error *err);

/* ---- the model ---- */

typedef struct sam_plans sam_plans;

struct ts_sam {
    ts_device *dev;
    sam_model model;
    int batch;
    sam_prompts prompts;
    struct {
        ts_graph *graph;
        ts_exec *exec;
        ts_tensor *pixels, *out;
    } encoder;
    struct { /* what of the decoder is the same for all prompts without a prior */
        ts_graph *graph;
        ts_exec *exec;
        ts_tensor *keys;
        sam_image out;
    } shared;
    sam_plans *plans; /* of the decoder, by what prompts there are */

    /* Of the picture; width 0: there is none. */
    int width, height, inner_width, inner_height; /* the latter two: as the network sees it */
    uint64_t number;                              /* how many there were */
    uint64_t mark;                                /* of its pixels; 0: they were not seen */
    float *embedding;                             /* (L, E) */
    float *keys, *k, *v, *q;                      /* of `shared` */
    sam_scaler scaler;
};

void ts_sam_plans_free(sam_plans *plans);
/* picture.c: the sides that the network sees; false where one of them would be nothing. */
bool ts_sam_fit(const ts_sam_config *c, int width, int height, int *inner_width, int *inner_height, ts_error *err);
/* A picture of 8 bits -> (S, S, 3), normalised, zeros beyond it. */
bool ts_sam_preprocess(const ts_sam_config *c, const ts_image *picture, float *out, ts_error *err);

/* embedding.c: a hash of the pixels, which tells pictures apart; never 0. */
uint64_t ts_sam_mark(const ts_image *picture);

#endif
