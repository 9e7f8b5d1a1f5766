/* internal.h - what the files of mae/prompt/ share: a border and a fusion as pieces of graph. Not installed. */
#ifndef TESSERA_MAE_PROMPT_INTERNAL_H
#define TESSERA_MAE_PROMPT_INTERNAL_H

#include "mae/prompt/prompt.h"

/* ---- border.c ---- */

/* Fills what is zero, and refuses what cannot be. `canvas`: of the grid, or 0 where the configuration is a file's. */
bool ts_border_complete(ts_border_config *c, int canvas, ts_error *err);
/* Sizes off the shapes of a file that has its tensors; false without an error where it has none of them. */
bool ts_border_read(const ts_weights *w, ts_border_config *out, bool *there, ts_error *err);
/* The parameters' first values: normal(0, 1), as published. `ctx`: the uint64_t of a seed. */
bool ts_border_init(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);
/* Describes the parameters alone, in the order that they are drawn in. */
typedef struct {
    ts_tensor *up, *down, *left, *right;
} ts_border_parts;
ts_border_parts ts_border_declare(ts_graph *g, const ts_border_config *c, ts_params *ps);
/* Normalised canvases (B, H, W, 3), whose cells were through ts_border_dress without a frame -> the same with the border.
 * `deviations`: a ts_params of ts_border_constants. */
ts_tensor *ts_border_add(ts_graph *g, const ts_border_config *c, ts_params *ps, ts_params *deviations, const ts_grid *grid,
                         ts_tensor *canvases);
/* ImageNet's deviations, inverted: how much of a normalised value one of [0, 1] is. */
ts_params *ts_border_constants(ts_device *dev, ts_error *err);
/* The frame as one picture (canvas, canvas, 3), zeros within, in a new array; its values are added to those of a picture in
 * [0, 1]. */
float *ts_border_frame(const ts_weights *w, const ts_border_config *c, ts_error *err);
/* What happens to a canvas's cells, as published: each is brought to the canvas's size, gets the border, and comes back (both
 * bilinear). NULL frame: the way there and back alone, which blurs a little. */
bool ts_border_dress(const ts_border_config *c, const float *frame, const ts_grid *grid, float *canvas, ts_error *err);

/* ---- fusion.c ---- */

bool ts_fusion_complete(ts_fusion_config *c, int dim, ts_error *err);
bool ts_fusion_read(const ts_weights *w, ts_fusion_config *out, ts_error *err);
/* First values as published: the layer of answers is the identity, other matrices Xavier uniform. `ctx`: a seed. */
bool ts_fusion_init(void *ctx, const char *name, int ndim, const int64_t *shape, float *out, ts_error *err);
/* The windows of the attention over examples are no parameters: they are made here. The configuration must outlive it. */
ts_params *ts_fusion_constants(ts_device *dev, const ts_fusion_config *c, ts_error *err);

typedef struct {
    const ts_fusion_config *config;
    ts_params *params, *constants;
    ts_tensor *seed; /* of the dropout, I32 (1); NULL: there is none */
    double rate;
} ts_fusion;

/* Shapes: B queries, N examples of each, P = (side / 2)^2 places of a cell, D the width. */
typedef struct {
    ts_tensor *image, *answer;             /* of the fused example, (B, P, D) */
    ts_tensor *query_image, *query_answer; /* the query's, likewise; its answer is what stood in the hole */
    ts_tensor *tokens;                     /* what the encoder gets: the fused example above the query's image, (B, 3P, D), in
                                              the canvas's order */
} ts_fused;
/* embedded (B N, 4P, D): the tokens of each canvas, with positions. */
ts_fused ts_fusion_apply(ts_graph *g, const ts_fusion *f, ts_tensor *embedded, int64_t examples);

#endif
