/* matching.h - one example, frozen features: segments a picture as an example and its mask show, without any training, by
 * comparing what a vision transformer makes of the two pictures. INSID3 does it with a DINO or a CLIP alone, PerSAM with a
 * Segment Anything, GF-SAM with a Segment Anything and a DINOv2.
 *
 *   ts_insid3 *m = ts_insid3_new(dev, &(ts_insid3_desc){.weights = dino}, &err);
 *   ts_insid3_example(m, &picture, &mask, &err);              // one or several
 *   ts_insid3_segment(m, &query, &answer, &err);              // a mask of the query's size
 *
 * The weights file and the device must outlive what is made from them. Answers are the caller's (ts_mask_clear), and empty on
 * failure. The same inputs on the same device give the same bits. */
#ifndef TESSERA_MATCHING_H
#define TESSERA_MATCHING_H

#include "clip/clip.h"
#include "engine/engine.h"
#include "masks/masks.h"
#include "sam/sam.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- INSID3 (Cuttano et al. 2026, arXiv 2603.28480) ------------------------------------------------------------------ */

/* Zeros: as published. */
typedef struct {
    const ts_weights *weights; /* a DINOv3, DINOv2 or CLIP */
    ts_clip_told told;         /* of a CLIP */
    int side; /* places a side that pictures are brought to, squeezed to a square; zero: 64 (1024 pixels in patches of 16) */
    int components;  /* of the positions' subspace that is taken out; zero: 500 of 1024 numbers and more, else 20 of 768 and so on
                      */
    double likeness; /* places are one cluster whose mean cosine is above it; zero: 0.6 */
    double threshold; /* clusters of a higher score are in the answer; zero: 0.2 */
} ts_insid3_desc;

enum { TS_INSID3_MOST_SIDE = 128 };

typedef struct ts_insid3 ts_insid3;
ts_insid3 *ts_insid3_new(ts_device *dev, const ts_insid3_desc *desc, ts_error *err);
void ts_insid3_free(ts_insid3 *m);
/* Places and pixels a side that a picture is brought to, and the features' width. */
typedef struct {
    int side, pixels, width, components;
} ts_insid3_info;
ts_insid3_info ts_insid3_about(const ts_insid3 *m);
/* One more example. A mask of another size than its picture's, or with nothing inside, is refused. */
bool ts_insid3_example(ts_insid3 *m, const ts_image *picture, const ts_mask *mask, ts_error *err);
/* Forgets the examples, for others to be shown; what was worked out of the model itself stays. */
void ts_insid3_forget(ts_insid3 *m);
/* Fails without an example. */
bool ts_insid3_segment(ts_insid3 *m, const ts_image *query, ts_mask *out, ts_error *err);

/* ---- PerSAM (Zhang et al. 2023, arXiv 2305.03048) --------------------------------------------------------------------- */

typedef struct {
    const ts_weights *weights; /* a SAM */
    bool tune;                 /* PerSAM-F: how to mix the masks of all scales is learned from the examples (section 3.3) */
} ts_persam_desc;

typedef struct ts_persam ts_persam;
ts_persam *ts_persam_new(ts_device *dev, const ts_persam_desc *desc, ts_error *err);
void ts_persam_free(ts_persam *m);
/* As for INSID3. Of several examples the object's features are averaged, which the authors leave open. */
bool ts_persam_example(ts_persam *m, const ts_image *picture, const ts_mask *mask, ts_error *err);
void ts_persam_forget(ts_persam *m); /* the examples, and what was learned from them */
bool ts_persam_segment(ts_persam *m, const ts_image *query, ts_mask *out, ts_error *err);
/* The learned weights of the scales, which add up to 1, once a query was segmented. Returns their number; 0: not tuned. */
int ts_persam_scales(const ts_persam *m, double out[TS_SAM_MAX_MASKS]);

/* ---- GF-SAM (Zhang et al. 2024, "Bridge the Points", NeurIPS) ---------------------------------------------------------- */

typedef struct {
    const ts_weights *weights;  /* a SAM */
    const ts_weights *features; /* a DINOv2 (or DINOv3) */
} ts_gfsam_desc;

typedef struct ts_gfsam ts_gfsam;
ts_gfsam *ts_gfsam_new(ts_device *dev, const ts_gfsam_desc *desc, ts_error *err);
void ts_gfsam_free(ts_gfsam *m);
/* As for INSID3. */
bool ts_gfsam_example(ts_gfsam *m, const ts_image *picture, const ts_mask *mask, ts_error *err);
void ts_gfsam_forget(ts_gfsam *m); /* the examples */
bool ts_gfsam_segment(ts_gfsam *m, const ts_image *query, ts_mask *out, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
