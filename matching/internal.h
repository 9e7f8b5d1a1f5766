/* internal.h - the pieces that the methods of matching/ are made of: features of a picture, products of many of them on the
 * device, the linear algebra and the clustering on the host, and maps brought from one size to another. Shapes: P places, C
 * numbers each. */
#ifndef TESSERA_MATCHING_INTERNAL_H
#define TESSERA_MATCHING_INTERNAL_H

#include "dino/dino.h"
#include "matching/matching.h"

/* ---- features (features.c) ---- */

/* A DINO or a CLIP on pictures squeezed to a square of side x side patches. */
typedef struct features features;
features *ts_features_new(ts_device *dev, const ts_weights *w, const ts_clip_told *told, int side, ts_error *err);
void ts_features_free(features *f);
int ts_features_width(const features *f);
int ts_features_pixels(const features *f); /* a side */
/* Patch tokens of the last layer, as unit rows (P, C). NULL: of an all black picture. */
bool ts_features_of(features *f, const ts_image *picture, float *out, ts_error *err);

/* ---- products (products.c) ---- */

/* Of features (P, C) on the device. */
typedef struct products products;
products *ts_products_new(ts_device *dev, int64_t places, int64_t width);
void ts_products_free(products *p);
/* x without what lies in the space of the rows of `basis` (count, C), as unit rows; `out` may be x. */
bool ts_products_without(products *p, const float *x, const float *basis, int count, float *out, ts_error *err);
/* Of each row of x the row of y that is the most like it, the first of equal ones. */
bool ts_products_nearest(products *p, const float *x, const float *y, int32_t *out, ts_error *err);
/* x y^T (P, P) */
bool ts_products_all(products *p, const float *x, const float *y, float *out, ts_error *err);

/* ---- linear algebra (eigen.c) ---- */

/* All eigenvalues of the symmetric a (n, n), which is lost, from the largest on, and unit vectors of the first `count` of them as
 * rows of vectors (count, n). */
bool ts_eigen(double *a, int n, double *values, int count, double *vectors, ts_error *err);
/* The first `count` left singular vectors of the tokens (P, C), centred over places and seen as C x P: rows of basis (count, C).
 */
bool ts_position_basis(const float *tokens, int64_t places, int width, int count, float *basis, ts_error *err);

/* ---- clustering (cluster.c) ---- */

/* Average linkage: clusters are merged while two have a mean distance below `cut`. distance (n, n), symmetric, is lost. label (n)
 * gets 0, 1, ... in the order in which clusters are met. Returns their number; 0: out of memory. */
int ts_average_linkage(float *distance, int n, double cut, int32_t *label, ts_error *err);

/* ---- maps (maps.c) ---- */

/* Bilinear, half-pixel centres, not antialiased, as PyTorch's interpolate(align_corners=False); `corners`: with
 * align_corners=True. in (h, w) -> out (height, width). */
void ts_map_resize(const float *in, int h, int w, bool corners, float *out, int height, int width);
/* A mask brought to pixels x pixels (nearest) and then to side x side places (more than half inside, else nearest, else the one
 * where its middle is): inside (side, side), 0 and 1. */
bool ts_mask_to_places(const ts_mask *m, int pixels, int side, uint8_t *inside, ts_error *err);
/* The other way: to pixels x pixels and then to width x height, both bilinear and cut at a half. */
bool ts_mask_of_places(const uint8_t *inside, int side, int pixels, int width, int height, ts_mask *out, ts_error *err);

/* An example is as large as its mask, and that has something inside. */
bool ts_example_check(const ts_image *picture, const ts_mask *mask, ts_error *err);

/* ---- PerSAM-F's two numbers (scales.c) ---- */

/* What is learned from: logits (scales, pixels) and which of the pixels are inside. */
typedef struct {
    const float *logits;
    const uint8_t *inside;
    int64_t pixels;
} scale_case;

/* weight (scales), adding up to 1: those that minimise Dice and focal loss of the weighted sum, after the published 1000 steps of
 * AdamW from equal ones. */
bool ts_tune_scales(const scale_case *list, int count, int scales, double *weight, ts_error *err);

/* ---- GF-SAM's choice (choose.c) ---- */

/* What the features say of the places (P) of a query, P = side side. */
typedef struct {
    int side;
    const float *all;  /* (P, P): cosines of its places to each other */
    const float *mean; /* of the cosines to the example's object, and to its background */
    const float *negative;
} gfsam_maps;

/* all (P, P): cosines of the query's places (rows) to an example's; weight (P): how much of each of these is inside. Adds to the
 * maps (P): most, the largest weighted cosine; mean, the weighted mean. */
void ts_gfsam_prior(const float *all, const float *weight, int64_t places, float *most, float *mean);
/* Places, at most TS_GFSAM_POINTS of them, that are worth a prompt, column by column. Returns their number; -1: out of memory. */
enum { TS_GFSAM_POINTS = 128 };
int ts_gfsam_points(const gfsam_maps *maps, const float *most, int *point, ts_error *err);
/* point (count): the place that each mask was asked for at; all masks are squares of one size. out: the union of what is chosen.
 */
bool ts_gfsam_choose(const gfsam_maps *maps, const int *point, const ts_mask *mask, int count, ts_mask *out, ts_error *err);

#endif
