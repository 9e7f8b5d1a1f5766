/* mae.h - the masked autoencoder that predicts VQGAN codes (Bar et al. 2022, arXiv 2209.00647), and in-context inference with it.
 *
 *   ts_inpainter *ip = ts_inpainter_new(dev, &(ts_inpainter_desc){.weights = w}, &err);
 *   const ts_mae_config *c = ts_inpainter_mae(ip);
 *   ts_grid_plan(&(ts_grid_desc){.canvas = c->side * c->patch, .patch = c->patch}, &grid, &err);
 *   ts_grid_compose(&grid, &example, &query, &canvas, &err);
 *   ts_inpainter_run(ip, &grid, &canvas, 1, &(ts_inpaint_options){0}, &result, &ms, &err);
 *   ts_grid_answer(&grid, &result.pasted, width, height, &answer, &err);
 *   ts_inpainted_clear(&result);
 *
 * The weights files and the device must outlive what is made from them. */
#ifndef TESSERA_MAE_H
#define TESSERA_MAE_H

#include "engine/engine.h"
#include "grid/grid.h"
#include "kinds/kinds.h"
#include "vit/vit.h"
#include "vqgan/vqgan.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the model ---------------------------------------------------------------------------------------------- */

enum { TS_MAE_MAX_DEPTH = 256, TS_MAE_MAX_BLEND = 100 };

/* The architecture, read off the tensors' shapes; the heads stand in no shape, see ts_mae_config_read. */
typedef struct {
    int patch; /* pixels a side */
    int side;  /* patches a side: the canvas has side * patch pixels */
    int dim, depth, heads, mlp;
    int decoder_dim, decoder_depth, decoder_heads, decoder_mlp;
    int codes;          /* logits at each place */
    int least_examples; /* pairs of the canvases it has learned, by the file's metadata ("examples"); 0: not said */
    int most_examples;
    double blend; /* how its answers are best painted, likewise ("blend"): see ts_inpaint_options; 0: as published */
    int views;    /* and from how many views ("views"); 0: not said */
} ts_mae_config;

/* Reads the architecture. heads, decoder_heads: what the user says, or 0: then the file's metadata ("heads", "decoder_heads"),
 * then the published widths (16 at 1280, 1024 and 512; 12 at 768 and 384), else an error that says how to tell. With
 * `heads_optional`, heads that nothing tells stay 0 instead. */
bool ts_mae_config_read(const ts_weights *w, int heads, int decoder_heads, bool heads_optional, ts_mae_config *out,
                        ts_error *err);

/* How many of `pairs` examples go on a canvas: what the model has learned, else all that a canvas holds. Above `pairs` where it
 * has learned more only: then some are to be shown again. */
int ts_mae_pairs_on_canvas(const ts_mae_config *c, int pairs);

/* Whether a VQGAN has as many codes as the masked autoencoder predicts; the files are for the error alone. */
bool ts_mae_check_codes(const ts_weights *w, const ts_mae_config *mae, const ts_weights *vqgan_file, const ts_vqgan_config *vqgan,
                        ts_error *err);

typedef struct {
    ts_mae_config config;
    ts_params *params;                       /* no prefix; belongs to the caller */
    bool recompute;                          /* each block is a segment (ts_recompute_begin): training in less memory */
    ts_vit_heads encoder_said, decoder_said; /* of the blocks; zeros: nothing is done there */
} ts_mae;

/* The index inputs of the graph, for B canvases with L = side^2 patches of which V are visible and T are predicted. */
typedef struct {
    ts_tensor *token; /* I32 (B, 1+V): -1 for the class token, then the visible patches */
    ts_tensor *place; /* I32 (B, 1+V): 0, then the visible patches + 1: rows of pos_embed */
    ts_tensor *slot;  /* I32 (B, 1+L): 0, then for each patch its row among the encoder's tokens, -1 where hidden */
    ts_tensor *row;   /* I32 (B, T): the decoder's rows that are predicted: patch + 1 */
    ts_tensor *part;  /* I32 (1, 1+P): of a decoder that has P of the patches alone: 0, then those + 1; NULL: it has all L. Then
                         slot is (B, 1+P) and row counts among these. */
} ts_mae_index;

/* Makes the inputs; `predicted` is T. */
ts_mae_index ts_mae_index_new(ts_graph *g, const ts_mae *m, int64_t batch, int64_t visible, int64_t predicted);
/* Writes them for `keep` (batch x visible patch numbers) and `predict` (batch x predicted patch numbers; NULL: all L in order).
 */
bool ts_mae_index_write(ts_exec *e, const ts_mae *m, const ts_mae_index *index, const int32_t *keep, const int32_t *predict,
                        ts_error *err);
/* The same for canvases of which the decoder has no more than `places` patches, and predicts all of these: what is beside them is
 * not computed. All canvases have the same `keep` (V) and the same `part` (P), of which those kept must be some. */
ts_mae_index ts_mae_index_new_part(ts_graph *g, int64_t batch, int64_t visible, int64_t places);
bool ts_mae_index_write_part(ts_exec *e, const ts_mae *m, const ts_mae_index *index, const int32_t *keep, const int32_t *part,
                             ts_error *err);
/* pixels (B, H, W, 3), normalised -> (B, 1+V, dim). */
ts_tensor *ts_mae_encode(ts_graph *g, const ts_mae *m, ts_tensor *pixels, const ts_mae_index *index);
/* The encoder in two halves, for what comes between: pixels -> all patches' tokens with their positions, (B, L, dim); */
ts_tensor *ts_mae_embed(ts_graph *g, const ts_mae *m, ts_tensor *pixels);
/* and visible tokens (B, V, dim), in the order of `keep` -> (B, 1+V, dim). */
ts_tensor *ts_mae_encode_tokens(ts_graph *g, const ts_mae *m, ts_tensor *tokens);
/* encoded (B, 1+V, dim) -> logits (B, T, codes). */
ts_tensor *ts_mae_decode(ts_graph *g, const ts_mae *m, ts_tensor *encoded, const ts_mae_index *index);

/* The fixed positions: `out` is (1 + side^2, width), row 0 zero. width must be a multiple of 4. */
void ts_mae_positions(int side, int width, float *out);
/* 8-bit RGB to what the model takes: (x/255 - mean) / std. */
void ts_mae_normalise(const uint8_t *rgb, int64_t pixels, float *out);

/* ---- training ------------------------------------------------------------------------------------------------ */

/* Masked-token training (the paper, section 3.2): cross entropy between the logits at the hidden patches and the codes that a
 * frozen VQGAN gives for the same picture, AdamW, all but the fixed positions. One step is one graph. */
typedef struct ts_mae_trainer ts_mae_trainer;

typedef struct {
    const ts_weights *weights; /* to start from; NULL: fresh weights of `config` */
    ts_mae_config config;      /* of fresh weights; with `weights` only the heads count (0: see ts_mae_config_read) */
    int batch, visible;        /* pictures in a call of ts_mae_trainer_step; visible patches of each */
    int accumulate;            /* calls that make one step; zero: 1 */
    double weight_decay;       /* zero: 0.05, as published */
    double beta1, beta2;       /* zeros: 0.9, 0.95, as published */
    double visible_loss;       /* weight of the visible patches' cross entropy; 0: only the hidden ones', as published */
    bool recompute;            /* activations of the blocks are computed again and not kept: less memory, a quarter more time */
    double loss_scale;         /* of fp16, and its steps: see ts_optimizer_desc */
    int scale_steps;
    double clip_norm; /* zero: gradients are not clipped, as published */
    uint64_t seed;    /* of fresh weights: Xavier uniform, tokens normal(0.02), as published */
} ts_mae_trainer_desc;

ts_mae_trainer *ts_mae_trainer_new(ts_device *dev, const ts_mae_trainer_desc *desc, ts_error *err);
void ts_mae_trainer_free(ts_mae_trainer *t);
const ts_mae_config *ts_mae_trainer_config(const ts_mae_trainer *t);
double ts_mae_trainer_loss_scale(const ts_mae_trainer *t);  /* 0 but in fp16 */
ts_exec_info ts_mae_trainer_about(const ts_mae_trainer *t); /* memory and work of a step */
int64_t ts_mae_trainer_steps(const ts_mae_trainer *t);      /* done so far, those before a resume included */
/* One step, or with `accumulate` a part of one: the last of so many calls updates by the mean of their gradients, as a batch so
 * many times larger would, and its `lr` counts. pixels (batch, H, W, 3) normalised (ts_mae_normalise), keep (batch, visible)
 * patches, ascending or not, codes (batch, side^2) labels of all places. loss and accuracy (share of argmax = label) are over the
 * hidden places, before the update. */
bool ts_mae_trainer_step(ts_mae_trainer *t, const float *pixels, const int32_t *keep, const int32_t *codes, double lr,
                         double *loss, double *accuracy, ts_error *err);
/* The same without an update. */
bool ts_mae_trainer_evaluate(ts_mae_trainer *t, const float *pixels, const int32_t *keep, const int32_t *codes, double *loss,
                             double *accuracy, ts_error *err);
/* Adds the model's tensors and heads to a file, and with `optimizer` the moments and the step; the data live until the trainer's
 * next call. */
bool ts_mae_trainer_save(ts_mae_trainer *t, ts_weights_writer *w, bool optimizer, ts_error *err);
/* Goes on from a file that was saved with the optimizer. */
bool ts_mae_trainer_resume(ts_mae_trainer *t, const ts_weights *checkpoint, ts_error *err);

/* ---- in-context inference ------------------------------------------------------------------------------------ */

/* What was learned to stand in front of the frozen model (mae/prompt/prompt.h makes one); either function may be NULL. */
typedef struct {
    void *ctx;
    /* Changes a normalised canvas of this grid, (H, W, 3), in place. */
    bool (*dress)(void *ctx, const ts_grid *grid, float *canvas, ts_error *err);
    /* Makes of a query's `fused` canvases one sequence: pixels (B fused, H, W, 3) -> the visible tokens (B, V, dim) for
     * ts_mae_encode_tokens, in the order of ts_grid_keep. There is then one answer for them, and nothing to average. */
    ts_tensor *(*fuse)(void *ctx, ts_graph *g, const ts_mae *m, ts_tensor *pixels, int fused);
} ts_mae_front;

typedef struct {
    const ts_weights *weights;       /* the MAE's */
    const ts_weights *vqgan_weights; /* NULL: the MAE's file holds them under "vae." */
    int heads, decoder_heads;        /* zero: see ts_mae_config_read */
    int batch;                       /* canvases in one run of the graph; zero: 1. More are done in turn. */
    ts_mae_front front;              /* what it holds must outlive the inpainter */
} ts_inpainter_desc;

typedef struct ts_inpainter ts_inpainter;

ts_inpainter *ts_inpainter_new(ts_device *dev, const ts_inpainter_desc *desc, ts_error *err);
void ts_inpainter_free(ts_inpainter *ip);
const ts_mae_config *ts_inpainter_mae(const ts_inpainter *ip);
const ts_vqgan_config *ts_inpainter_vqgan(const ts_inpainter *ip);

/* How the answers of several arrangements of one pair become one (Sun et al. 2023, arXiv 2304.04748; how in
 * ts_fuse_arrangements and ts_grid_merge_arrangements): of the codes' probabilities the mean, the product, the largest; of the
 * answers' pixels the mean; or a vote of masks. */
typedef enum {
    TS_ENSEMBLE_MEAN,
    TS_ENSEMBLE_PRODUCT,
    TS_ENSEMBLE_MAX,
    TS_ENSEMBLE_PIXELS,
    TS_ENSEMBLE_VOTE,
} ts_ensemble;

typedef struct {
    double load;   /* weights to the device, and planning: the first run of a layout */
    double encode; /* VQGAN encoder (keep_visible_codes) */
    double mae;
    double decode; /* VQGAN decoder */
} ts_inpaint_ms;

/* Who predicts the codes in the model's place: what has learned a task in front of the frozen model. */
typedef struct {
    void *ctx;
    /* Plans for so many canvases at a time. */
    bool (*prepare)(void *ctx, int count, bool logits, ts_error *err);
    /* As ts_inpainter_predict: codes, count x places, and logits, count x places x codes, either of which may be NULL. */
    bool (*predict)(void *ctx, const ts_image *canvases, int count, int32_t *codes, float *logits, ts_inpaint_ms *ms,
                    ts_error *err);
} ts_predictor;

enum { TS_INPAINT_STEPS = 16, TS_INPAINT_GUIDE = 100 };

typedef struct {
    double temperature; /* 0: the most likely code, as published; else sampled from softmax(logits / temperature) */
    uint64_t seed;      /* of the sampling */
    double blend;       /* above 0: painted is at each place the mean of all codes, see ts_blend_codes; not with a temperature */
    bool keep_visible_codes; /* visible places keep the codes that the VQGAN gives for the canvas itself */
    int fused;               /* canvases of a query, see ts_fuse_logits; zero: 1 */
    int arrangements;        /* of each query's canvases: so many grids are given; zero: 1 */
    ts_ensemble ensemble;    /* of those */
    int views;               /* of each canvas, see ts_grid_view, whose answers' median is pasted; zero: 1, as published */
    /* Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6) by the examples: logits = u + guide (c - u), u those
     * of the canvas with the background's colour in its examples' cells. Zero: 1, which is the canvas's own alone. */
    double guide;
    /* Above 1: so many steps (as IMProv, Xu et al. 2024, after MaskGIT, arXiv 2202.04200): of what a step paints, the places that
     * it is surest of are shown to the next one as pixels of the canvas. At most TS_INPAINT_STEPS; not with a temperature. */
    int steps;
    const ts_predictor *predictor; /* in the model's place; not with guide or steps. NULL: the model */
} ts_inpaint_options;

/* One canvas's result. ts_inpainted_clear frees what it holds. */
typedef struct {
    int places;       /* side^2 */
    int32_t *codes;   /* at every place, row by row; with `blend` the likeliest ones, with several views the first's */
    ts_image painted; /* all of the canvas as decoded, values truncated as published; with several views the first's */
    ts_image pasted; /* hidden patches from `painted`, the others from the canvas; with several views the hole from all of them */
} ts_inpainted;

/* The whole of it for `count` queries. A query has a canvas for each grid (options->arrangements, which hide as many patches
 * each), or options->fused canvases for each, grid after grid; they stand behind one another, query after query. `out` has
 * `count` places, all cleared on failure. An answer stands on the query's first canvas. NULL options: the published way. `ms`
 * (may be NULL) is set. */
bool ts_inpainter_run(ts_inpainter *ip, const ts_grid *grids, const ts_image *canvases, int count,
                      const ts_inpaint_options *options, ts_inpainted *out, ts_inpaint_ms *ms, ts_error *err);
void ts_inpainted_clear(ts_inpainted *r);

/* Its stages, for those who do something between them (ensembles). Times are added to `ms` (may be NULL). */

/* Loads the weights and plans the graphs for a number of queries, so that the first run is not slower. */
bool ts_inpainter_prepare(ts_inpainter *ip, const ts_grid *grids, int count, const ts_inpaint_options *options, ts_inpaint_ms *ms,
                          ts_error *err);
/* codes: count x places, or NULL; logits: count x places x codes floats, or NULL (then they stay on the device). With a front
 * that fuses canvases, a place each for `fused` of them. */
bool ts_inpainter_predict(ts_inpainter *ip, const ts_grid *grid, const ts_image *canvases, int count, int32_t *codes,
                          float *logits, ts_inpaint_ms *ms, ts_error *err);
/* The same for canvases of several arrangements, all in the same runs of the graph: `fused` of the first grid, then of the next,
 * and after the last of the first again. */
typedef struct {
    const ts_grid *grids;
    int count, fused;
} ts_arranged;
bool ts_inpainter_predict_arranged(ts_inpainter *ip, const ts_arranged *arranged, const ts_image *canvases, int count,
                                   int32_t *codes, float *logits, ts_inpaint_ms *ms, ts_error *err);
/* The canvases' own codes, count x places. */
bool ts_inpainter_encode(ts_inpainter *ip, const ts_image *canvases, int count, int32_t *codes, ts_inpaint_ms *ms, ts_error *err);
/* codes, count x places -> floats in [0, 1], count x (side*f, side*f, 3). */
bool ts_inpainter_paint(ts_inpainter *ip, const int32_t *codes, int count, float *pictures, ts_inpaint_ms *ms, ts_error *err);
/* The same from latents, count x places x the VQGAN's embed. */
bool ts_inpainter_paint_latents(ts_inpainter *ip, const float *latents, int count, float *pictures, ts_inpaint_ms *ms,
                                ts_error *err);
/* One picture of ts_inpainter_paint -> 8 bits, brought to canvas size where patch and factor differ; a new image. */
bool ts_inpainter_picture(const ts_inpainter *ip, const float *picture, ts_image *out, ts_error *err);

/* `fused` canvases of one query, logits (fused, places, codes): the first `places` rows become the logarithm of the mean of all
 * canvases' softmax. So different examples of a task say each what they make of the query, on canvases that are large enough; as
 * the arrangements of one pair are fused in "Exploring effective factors for improving visual in-context learning" (Sun et al.
 * 2023). */
void ts_fuse_logits(float *logits, int fused, int64_t places, int64_t codes);
/* Logits (arrangements, places, codes) of one pair and query in several arrangements: those of the first one's hidden places
 * become the logarithm of the mean (or product, or largest) of all arrangements' softmax at the same places of their holes. The
 * grids' holes have as many patches. Where a hole begins within a patch, what is averaged stands up to a pixel or two apart. */
void ts_fuse_arrangements(const ts_grid *grids, int arrangements, ts_ensemble how, float *logits, int64_t codes);
/* Draws a code at each of `places` from softmax(logits / temperature), or takes the first of the largest at temperature 0.
 * The same logits and seed give the same codes. */
void ts_sample_codes(const float *logits, int64_t places, int64_t codes, double temperature, uint64_t seed, int32_t *out);
/* At each of `places` the mean of the codebook's rows `book` (codes, width), weighed by softmax(logits / temperature), into `out`
 * (places, width). `temperature` above 0; the nearer to 0, the nearer to the likeliest code's row. */
void ts_blend_codes(const float *logits, int64_t places, int64_t codes, double temperature, const float *book, int64_t width,
                    float *out);

/* ---- what a weights file is ----------------------------------------------------------------------------------- */

typedef struct {
    ts_kind kind;
    char title[96];         /* "MAE-VQGAN", "VQGAN", "SAM", "unknown" */
    char architecture[512]; /* of an MAE-VQGAN or VQGAN, one line a part: "encoder: 1024 wide, 24 blocks, 16 heads, ..." */
    bool has_mae, has_vqgan;
    ts_mae_config mae;            /* where has_mae; heads 0: nothing tells them */
    ts_vqgan_config vqgan;        /* where has_vqgan */
    int64_t tensors, parameters;  /* all of the file's */
    int64_t ours, our_parameters; /* without what running the model has no use for (loss.*) */
    int64_t of_dtype[16];         /* parameters by ts_dtype */
} ts_model_info;

/* Says what a file holds. A file of another kind is no error; a broken MAE or VQGAN is. */
bool ts_model_about(const ts_weights *w, ts_model_info *out, ts_error *err);
/* Whether every tensor that the model needs is there and has its shape (MAE-VQGAN and VQGAN). */
bool ts_model_check(const ts_weights *w, ts_error *err);

/* ---- a model of random weights ---------------------------------------------------------------------------------- */

/* Writes an MAE-VQGAN of random weights as safetensors, its heads and "tessera.note": "random weights" in the metadata: to try
 * the path of a run where no trained model is at hand, and its speed. Its answers mean nothing. NULL shapes: a small one's. */
bool ts_mae_write_random(const char *path, const ts_mae_config *mae, const ts_vqgan_config *vqgan, uint64_t seed, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
