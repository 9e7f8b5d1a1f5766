/* internal.h - the pieces that a model from strokes is made of. Shapes: N pixels, F = 144 features of a pixel from its
 * surroundings, D numbers of a transformer's place (0: there is none), C classes, U hidden units (0: logistic). */
#ifndef TESSERA_STROKES_INTERNAL_H
#define TESSERA_STROKES_INTERNAL_H

#include "strokes/strokes.h"

/* ---- bank.c: the features as graph ---- */

enum { STROKES_SCALES = 6, STROKES_OF_SCALE = 24, STROKES_REACH = 40 /* pixels that a feature looks away, at most */ };
extern const double ts_strokes_scale[STROKES_SCALES];
/* "0.7 1 1.6 3.5 5 10" */
extern const char ts_strokes_scales_text[];
/* Makes the kernels, as ts_params_new_trainable calls for them: "gauss:SIGMA:RADIUS", "first:...", "second:..."; what is called
 * otherwise begins as zeros. */
bool ts_strokes_kernel(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);
/* pixels (1, H, W, 3) in 0 to 1 -> the columns of `state` (H W, F). */
bool ts_strokes_bank(ts_graph *g, ts_params *kernels, ts_tensor *pixels, ts_tensor *state);

/* ---- tokens.c: a frozen transformer ---- */

typedef struct strokes_tokens strokes_tokens;
strokes_tokens *ts_tokens_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, ts_error *err);
void ts_tokens_free(strokes_tokens *t);
int ts_tokens_width(const strokes_tokens *t);
/* A map of places that covers a picture. */
typedef struct {
    int rows, columns, width;
    float *data; /* (rows, columns, width), owned */
} token_map;
bool ts_tokens_of(strokes_tokens *t, const ts_image *picture, token_map *out, ts_error *err);
/* What identifies the weights. */
bool ts_tokens_mark(const ts_weights *w, char out[17], ts_error *err);
/* The map's numbers at pixel x, y of a picture of width x height: bilinear between the places' middles. */
void ts_tokens_at(const token_map *m, int width, int height, int x, int y, float *out);

/* ---- head.c: the classifier ---- */

/* Weights that take the features as they are. */
typedef struct {
    int features, classes, hidden;
    float *hidden_weight; /* (U, F + D); NULL: logistic */
    float *hidden_bias;   /* (U) */
    float *output_weight; /* (C, U or F + D) */
    float *output_bias;   /* (C) */
} strokes_head;

bool ts_head_new(strokes_head *h, int features, int classes, int hidden, ts_error *err);
void ts_head_clear(strokes_head *h);
/* Units that the features go to: U, or C where there is no hidden layer. And their weights (units, F + D) and biases. */
int ts_head_units(const strokes_head *h);
const float *ts_head_first(const strokes_head *h, const float **bias);

/* Samples to learn from. */
typedef struct {
    int count;
    float *x;       /* (count, F + D), owned */
    uint8_t *label; /* (count), owned */
} strokes_samples;
void ts_samples_clear(strokes_samples *s);

/* What learns: a graph of one step, kept from one training to the next. */
typedef struct strokes_trainer strokes_trainer;
strokes_trainer *ts_trainer_new(int features, int classes, int hidden, uint64_t seed, ts_error *err);
void ts_trainer_free(strokes_trainer *t);
bool ts_trainer_run(strokes_trainer *t, const strokes_samples *const *list, int count, int steps, strokes_head *out,
                    ts_strokes_fit *fit, ts_error *err);

/* ---- window.c: a part of a picture on the device ---- */

/* Features of height x width pixels, kept, and what a head makes of them. */
typedef struct strokes_window strokes_window;
strokes_window *ts_window_new(ts_device *dev, int width, int height, ts_error *err);
void ts_window_free(strokes_window *w);
bool ts_window_fits(const strokes_window *w, int width, int height);
/* Computes the features of that part of the picture. Its edges are the picture's or at least STROKES_REACH away from what is
 * asked of it. */
bool ts_window_look(strokes_window *w, const ts_image *picture, int x, int y, ts_error *err);
bool ts_window_features(strokes_window *w, float *out, ts_error *err); /* (N, F) */
/* Features of some pixels of it, by number; out (count, stride), of which F are written. */
bool ts_window_gather(strokes_window *w, const int32_t *pixel, int count, float *out, int stride, ts_error *err);
/* extra (N, units): what is added before the hidden layer's activation, or NULL. out (N, C). */
bool ts_window_classify(strokes_window *w, const strokes_head *h, const float *extra, float *out, ts_error *err);

/* ---- smooth.c ---- */

/* Guided by the picture's colours, in place: p (height, width, classes). */
bool ts_guided_filter(const ts_image *guide, int radius, float *p, int classes, ts_error *err);

/* ---- file.c ---- */

bool ts_strokes_write(const char *path, const strokes_head *h, const ts_strokes_info *info, ts_error *err);
bool ts_strokes_read_head(const ts_weights *w, const ts_strokes_info *info, strokes_head *out, ts_error *err);

#endif
