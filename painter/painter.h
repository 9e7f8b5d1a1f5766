/* painter.h - Painter (Wang et al. 2023, "Images Speak in Images", arXiv 2212.02499) and SegGPT (Wang et al. 2023, arXiv
 * 2304.03284): an example and what is to be made of it stand above the query and a hidden half, and a transformer paints that
 * half in pixels. SegGPT is Painter trained on for segmentation, with colours that mean nothing but what the example gives them.
 *
 *   ts_painter *p = ts_painter_new(dev, weights, &err);
 *   const ts_painter_pair example = {&picture, &target};
 *   ts_painter_run(p, &example, 1, &query, NULL, &painted, NULL, &err);
 *   ts_painted_picture(&painted, query.width, query.height, TS_PAINTED_NEAREST, &answer, &err);
 *   ts_painted_clear(&painted);
 *
 * The weights file and the device must outlive what is made from them. Shapes: n canvases; r pixels a side of a picture on it, so
 * that a canvas is (2r, r); T = (2r/patch) (r/patch) tokens, row by row. */
#ifndef TESSERA_PAINTER_H
#define TESSERA_PAINTER_H

#include "engine/engine.h"
#include "kinds/kinds.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the model ------------------------------------------------------------------------------------------------- */

enum { TS_PAINTER_TAPS = 4, TS_PAINTER_MAX_SIDE = 2048, TS_PAINTER_MAX_EXAMPLES = 64 };

/* The architecture, all of it read off the tensors' shapes. */
typedef struct {
    int patch; /* pixels a side */
    int side;  /* r, as the model was trained: 448 */
    int dim, depth, heads, mlp;
    int decoder_dim; /* channels a pixel before the last convolutions */
    int positions;   /* places a side of the file's positions, which are resampled */
    bool segments;   /* SegGPT: it is told whether it segments classes or instances */
} ts_painter_config;

bool ts_painter_config_read(const ts_weights *w, ts_painter_config *out, ts_error *err);
/* For people: "SegGPT ViT-L", and "1024 wide, 24 blocks, 16 heads, patch 16, pictures of 448". */
void ts_painter_words(const ts_painter_config *c, char *title, size_t title_room, char *architecture, size_t architecture_room);
/* Whether every tensor that the model needs is there and has its shape. */
bool ts_painter_check(const ts_weights *w, ts_error *err);

typedef struct ts_painter ts_painter;

/* A Painter's or SegGPT's file, in its authors' layout or Hugging Face's, on a device. */
ts_painter *ts_painter_new(ts_device *dev, const ts_weights *w, ts_error *err);
void ts_painter_free(ts_painter *p);
const ts_painter_config *ts_painter_about(const ts_painter *p);
ts_device *ts_painter_device(const ts_painter *p);
/* Whether r may be `side`: a multiple of the patch's. Else an error that says so. */
bool ts_painter_check_side(const ts_painter_config *c, int side, ts_error *err);

/* ---- pictures in, pictures out --------------------------------------------------------------------------------- */

/* An example: a picture and what is to be made of it. Not owned. */
typedef struct {
    const ts_image *picture, *target;
} ts_painter_pair;

/* What SegGPT is told to segment. Others take no notice. */
typedef enum { TS_PAINTER_INSTANCE, TS_PAINTER_SEMANTIC } ts_painter_kind;

typedef struct {
    ts_painter_kind kind; /* zero: instances, as the published command */
    int side;             /* r; zero: the model's own */
} ts_painter_options;

/* What was painted: (side, side, 3) floats, of 0 ... 255 but for what is over: not clipped. ts_painted_clear frees it. */
typedef struct {
    int side;
    float *values;
} ts_painted;
void ts_painted_clear(ts_painted *a);

typedef struct {
    double load;  /* planning, and weights to the device: the first run of a number of examples */
    double paint; /* all else */
} ts_painter_ms;

/* Does to the query what the examples show (SegGPT, section 3.3: feature ensemble over several). All examples are in one batch.
 * Pictures are brought to r x r as Pillow's bicubic does, targets as its nearest. NULL options: zeros. `ms` may be NULL. */
bool ts_painter_run(ts_painter *p, const ts_painter_pair *examples, int count, const ts_image *query,
                    const ts_painter_options *options, ts_painted *out, ts_painter_ms *ms, ts_error *err);
/* Loads the weights and plans for so many examples, so that the first run is not slower. */
bool ts_painter_prepare(ts_painter *p, int count, const ts_painter_options *options, ts_painter_ms *ms, ts_error *err);

/* Frames in order: each is answered by the examples and by the `follow` frames before it with their own answers, which are
 * hardened to white where the mean of the channels is over 128, else black. */
typedef struct ts_painter_film ts_painter_film;
ts_painter_film *ts_painter_film_new(ts_painter *p, int follow, ts_error *err);
void ts_painter_film_free(ts_painter_film *f);
/* As ts_painter_run, for the next frame. */
bool ts_painter_film_next(ts_painter_film *f, const ts_painter_pair *examples, int count, const ts_image *frame,
                          const ts_painter_options *options, ts_painted *out, ts_painter_ms *ms, ts_error *err);

/* ---- reading the answer ---------------------------------------------------------------------------------------- */

/* How an answer is brought to the query's size, as the published scripts do by task: nearest for instances, key points and all of
 * SegGPT's; bilinear for classes and depth; bicubic, clipped only afterwards, for restored pictures. None is antialiased. */
typedef enum { TS_PAINTED_NEAREST, TS_PAINTED_BILINEAR, TS_PAINTED_BICUBIC } ts_painted_filter;

/* out (height, width, 3), 0 ... 255 */
bool ts_painted_fit(const ts_painted *a, int width, int height, ts_painted_filter filter, float *out, ts_error *err);
/* The same in 8 bits: rounded, but bicubic cut off, as published. */
bool ts_painted_picture(const ts_painted *a, int width, int height, ts_painted_filter filter, ts_image *out, ts_error *err);
/* What SegGPT's command writes: the query, dark where the answer is: query (0.6 answer / 255 + 0.4), cut off. */
bool ts_painted_blend(const ts_painted *a, const ts_image *query, ts_image *out, ts_error *err);

/* What the answers of Painter's tasks say; `fitted` is from ts_painted_fit. */

/* The colours of `count` classes: a cube of base^3, R = 255 - step (c / base^2) and so on. ADE20K: base 6, step 42; COCO: 7, 36.
 */
void ts_painter_palette(int base, int step, int count, uint8_t (*out)[3]);
/* Of `count` classes as Hugging Face has them, behind black for what is none: (1 + count) colours. */
void ts_painter_class_palette(int count, uint8_t (*out)[3]);
/* The nearest of the colours at each pixel: by the sum of absolute differences (Painter), or of squares (Hugging Face's). */
void ts_painter_labels(const float *fitted, int64_t pixels, const uint8_t (*palette)[3], int colours, bool squares, int32_t *out);
/* Depth of NYUv2's: 255 is 10 m. */
void ts_painter_depth(const float *fitted, int64_t pixels, uint16_t *millimetres);
/* The colour of an instance whose centre of mass is at (x, y) of a picture of that size. */
void ts_painter_centre_colour(double x, double y, int width, int height, uint8_t out[3]);
/* Heat maps (joints, pixels), 0 ... 1, of COCO's 17 key points or others coloured likewise: green and blue say which, red how
 * much. */
void ts_painter_heat(const float *fitted, int64_t pixels, int joints, float *out);

/* ---- as graph, for those who tune prompts or train ------------------------------------------------------------- */

typedef struct {
    ts_tensor *pictures; /* (n, 2r, r, 3), normalised: example above, query below */
    ts_tensor *targets;  /* likewise: the example's target above; what is hidden does not matter */
    ts_tensor *shown;    /* I32 (n, T): each token's number, -1 where the target is hidden */
    ts_tensor *kind;     /* I32 (n, T): ts_painter_kind; NULL: not a SegGPT */
    bool ensemble;       /* all canvases have the same query, and hide the lower half; see ts_painter_run */
    bool recompute;      /* each block is a segment (ts_recompute_begin): gradients in less memory */
} ts_painter_canvases;

/* Makes the inputs; pictures and targets may be replaced by other tensors. */
ts_painter_canvases ts_painter_canvases_new(ts_graph *g, const ts_painter *p, int64_t n, int side);
/* Writes `shown` and `kind`. hidden: (n, T), not 0 where hidden, or NULL: the lower halves. */
bool ts_painter_canvases_write(ts_exec *e, const ts_painter_canvases *in, const uint8_t *hidden, const ts_painter_kind *kinds,
                               ts_error *err);
/* (n, 2r, r, 3), normalised. features: NULL, or gets the four (n, T, dim) that it was made of. */
ts_tensor *ts_painter_predict(ts_graph *g, const ts_painter *p, const ts_painter_canvases *in, ts_tensor **features);
/* (r, r, 3): the lower half of the first canvas, by half of the head's work for it and none for the others. */
ts_tensor *ts_painter_answer(ts_graph *g, const ts_painter *p, const ts_painter_canvases *in);

/* (1): smooth L1 with beta 0.01 (Painter, section 3.2), each number by its weight; all (n, 2r, r, 3). */
ts_tensor *ts_painter_loss(ts_graph *g, ts_tensor *predicted, ts_tensor *targets, ts_tensor *weight);
/* Those weights: hidden (n, T) times valid (n, 2r, r, 3), by the sum over all. valid NULL: ones. Painter leaves out canvases that
 * show next to no target, and adds 0.01 to the sum: `targets`, normalised, may be NULL for a SegGPT. */
bool ts_painter_loss_weight(const ts_painter *p, int64_t n, int side, const uint8_t *hidden, const float *valid,
                            const float *targets, float *out, ts_error *err);

/* 8-bit RGB to what the model takes, (x/255 - mean) / std, and the other way, to 0 ... 255. */
void ts_painter_normalise(const uint8_t *rgb, int64_t pixels, float *out);
void ts_painter_restore(const float *values, int64_t pixels, float *out);
/* One canvas, (2r, r, 3) each. */
bool ts_painter_compose(const ts_painter_pair *example, const ts_image *query, int side, float *picture, float *target,
                        ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
