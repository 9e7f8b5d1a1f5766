/* sam.h - Segment Anything (Kirillov et al. 2023, arXiv 2304.02643): a picture is encoded once, slowly, into a map of features;
 * every prompt (points, a box, a rough mask) then costs one run of a small decoder, which gives masks and a guess of how well
 * each of them fits.
 *
 *   ts_sam *s = ts_sam_new(dev, &(ts_sam_desc){.weights = w}, &err);
 *   ts_sam_set_picture(s, &picture, &err);                              // once a picture ...
 *   ts_sam_prompt click = {.points = 1, .point = (float[]){320, 200}, .label = (int[]){1}};
 *   ts_sam_predict(s, &click, 1, &(ts_sam_options){.multimask = true}, &answer, &err);      // ... and once a prompt
 *   ts_mask mask;
 *   ts_sam_mask(s, ts_sam_low(&answer, 0, ts_sam_best(&answer, 0)), &mask, &err);
 *   ts_sam_answer_clear(&answer);
 *
 * Points and boxes are in pixels of the user's picture, x to the right and y down; a whole number is a pixel, not its corner. The
 * weights file and the device must outlive the ts_sam. */
#ifndef TESSERA_SAM_H
#define TESSERA_SAM_H

#include "engine/engine.h"
#include "masks/masks.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the architecture ----------------------------------------------------------------------------------------------- */

enum {
    TS_SAM_MAX_DEPTH = 64, /* blocks of the encoder */
    TS_SAM_MAX_MASKS = 16, /* that a prompt is answered with */
    TS_SAM_DECODER_HEADS = 8,
    TS_SAM_MAX_POINTS = 4096,
    TS_SAM_STAGES = 4, /* of MobileSAM's encoder */
};

/* A stage of MobileSAM's encoder, the TinyViT. The first one has convolutions for blocks, and neither heads nor windows. */
typedef struct {
    int width, blocks;
    int inner;         /* numbers that each place is widened to within a block */
    int heads, window; /* its windows' side */
} ts_sam_stage;

/* Read off the tensors' shapes; only the decoder's number of heads stands in none, and is 8, and of a MobileSAM the picture's
 * size, which is 1024. */
typedef struct {
    int picture; /* S: pixels a side of what the network sees */
    int side;    /* of the map of features: S / patch */
    int patch;
    int width, depth, heads, mlp; /* of the encoder's vision transformer */
    int window;                   /* its windows' side; 0: it has none */
    uint64_t whole;               /* bit N: block N looks at the whole map */
    int embed;                    /* E: numbers at each place of the map */
    int low;                      /* pixels a side of the masks that the decoder gives: 4 side */
    int masks;                    /* the decoder's: the one for a clear prompt, and those for an ambiguous one */
    int decoder_depth, decoder_inner, decoder_mlp;
    int score_width;   /* of the perceptron that guesses how well a mask fits */
    int prior[2];      /* channels that a mask as a prompt goes through */
    int upscaled[2];   /* channels of the map as it grows */
    bool hugging_face; /* its files' names, not the published ones */
    /* MobileSAM: the encoder is a TinyViT. Above, width is then its last stage's, depth the number of all its blocks, heads, mlp,
     * window and whole are 0, and patch is the picture's side by the map's. */
    bool tiny;
    int stem; /* channels that it begins with */
    ts_sam_stage stage[TS_SAM_STAGES];
} ts_sam_config;

/* Whether the file is a SAM or a MobileSAM at all, and of which sizes: one sentence where it is none, lacks a tensor or has one
 * of another shape. The published layout and Hugging Face's are told by the names. */
bool ts_sam_config_read(const ts_weights *w, ts_sam_config *out, ts_error *err);
/* "SAM ViT-B", where the encoder is one of those that have a name; "MobileSAM". Returns `out`. */
const char *ts_sam_title(const ts_sam_config *c, char *out, size_t room);
/* Its sizes for people, a line the encoder and a line the decoder. Returns `out`. */
const char *ts_sam_words(const ts_sam_config *c, char *out, size_t room);

/* ---- the model ------------------------------------------------------------------------------------------------------ */

typedef struct {
    const ts_weights *weights;
    int batch; /* prompts at most in one run of the decoder; zero: 8. Memory grows with it (16 MB a prompt at the published
                  sizes). */
} ts_sam_desc;

typedef struct ts_sam ts_sam;

/* Nothing is loaded until it is needed: whoever brings a picture's embedding never loads the encoder. */
ts_sam *ts_sam_new(ts_device *dev, const ts_sam_desc *desc, ts_error *err);
void ts_sam_free(ts_sam *s);
const ts_sam_config *ts_sam_about(const ts_sam *s);
const char *ts_sam_path(const ts_sam *s); /* of the weights file */

/* ---- the picture ---------------------------------------------------------------------------------------------------- */

/* Fails for a picture so long that nothing of its shorter side is left at the network's size. */
bool ts_sam_takes(const ts_sam_config *c, int width, int height, ts_error *err);
/* Encodes the picture, of any size but that; its embedding is kept for the prompts, in the place of the one before. On failure
 * there is none. */
bool ts_sam_set_picture(ts_sam *s, const ts_image *picture, ts_error *err);
/* Of the picture that prompts are asked of; false: there is none. */
bool ts_sam_size(const ts_sam *s, int *width, int *height);

/* The embedding (side, side, E), places row by row; NULL: none. Lives until the next picture. The picture covers its upper
 * left part alone: of its longer side all places, of the other as many as keep its shape. */
const float *ts_sam_embedding(const ts_sam *s);
/* Takes one that was made before, of a picture of that many pixels, by a model with the same encoder. */
bool ts_sam_set_embedding(ts_sam *s, const float *embedding, int width, int height, ts_error *err);

/* The same in a file (safetensors: `embedding` (1, E, side, side) as PyTorch has it; in the metadata the picture's size and a
 * fingerprint of its pixels and of the encoder's last weights). One of another encoder is refused, and one of another picture
 * than `picture` (NULL: of whichever). */
bool ts_sam_save_embedding(ts_sam *s, const char *path, ts_error *err);
bool ts_sam_load_embedding(ts_sam *s, const char *path, const ts_image *picture, ts_error *err);

/* ---- prompts -------------------------------------------------------------------------------------------------------- */

/* One prompt is answered with one mask, or with several for it to be told which was meant. Zero: nothing is pointed at, which is
 * allowed. Nothing is owned. */
typedef struct {
    int points;
    const float *point; /* (points, 2): x, y in pixels of the picture */
    const int *label;   /* (points): 1 is in the object, 0 is not, -1 is no point (to fill up with) */
    const float *box;   /* x0, y0, x1, y1, or NULL */
    const float *prior; /* (low, low) logits as an earlier answer has them, or NULL */
} ts_sam_prompt;

/* What PerSAM (Zhang et al. 2023, arXiv 2305.03048, section 3.2) puts into the decoder beside the prompts. */
typedef struct {
    const float *similarity; /* (side, side): added to the softmax of what tokens look at in the picture, which goes through a
                                softmax again; in the two layers, not in the last look. NULL: none */
    const float *target;     /* (E): added to all tokens before each layer and the last look; NULL: none */
} ts_sam_guide;

typedef struct {
    bool multimask;            /* the masks for an ambiguous prompt (three), not the single one */
    const ts_sam_guide *guide; /* for all prompts of the call; NULL: none */
} ts_sam_options;

typedef struct {
    int prompts;
    int each;      /* masks of a prompt */
    int low;       /* pixels a side */
    float *logits; /* (prompts, each, low, low): above 0 is inside. Also what goes in as `prior` again. */
    float *score;  /* (prompts, each): the model's guess of intersection over union; it may leave [0, 1] */
} ts_sam_answer;

/* Answers prompts of all kinds about the picture. Prompts of the same kind (as many points, a box or none, a prior or none) that
 * stand together are run together. A point outside the picture, an empty box or a number that is none is refused by its place. */
bool ts_sam_predict(ts_sam *s, const ts_sam_prompt *prompts, int count, const ts_sam_options *options, ts_sam_answer *out,
                    ts_error *err);
void ts_sam_answer_clear(ts_sam_answer *a);
/* Logits (low, low) of a prompt's mask, and which of its masks has the highest score (the first of equal ones). */
const float *ts_sam_low(const ts_sam_answer *a, int prompt, int mask);
int ts_sam_best(const ts_sam_answer *a, int prompt);

/* Brings such logits to the picture's size as published: to the network's size, cut to what the picture covers there, to the
 * picture's, bilinear without antialiasing. The mask is what is above 0. */
bool ts_sam_mask(const ts_sam *s, const float *low, ts_mask *out, ts_error *err);
bool ts_sam_full(const ts_sam *s, const float *low, float *out, ts_error *err); /* (height, width) */

/* The other way: a mask of the picture's size as a prior, +-`strength` logits where it is inside and outside; out (low, low). */
bool ts_sam_prior(const ts_sam *s, const ts_mask *m, float strength, float *out, ts_error *err);

/* ---- everything ------------------------------------------------------------------------------------------------------ */

/* The published generator's constants (appendix B). Start from TS_SAM_EVERYTHING and set what differs. */
typedef struct {
    int points_per_side;           /* of the grid of points: each is a prompt, answered with three masks */
    int points_per_batch;          /* run together, at most; no result depends on it */
    double pred_iou_thresh;        /* masks of a lower score are left out; 0: none is */
    double stability_score_thresh; /* a mask is stable whose area hardly depends on where logits are cut: those of less are left
                                      out */
    double stability_score_offset; /* ... cut this far above and below 0 */
    double box_nms_thresh;         /* of two masks whose boxes overlap more, the one of the higher score stays */
    int crop_n_layers;             /* looks again at 4, 16, ... crops of the picture */
    double crop_nms_thresh;        /* the same overlap among masks of different crops: those of smaller crops stay */
    double crop_overlap_ratio;     /* of the crops, of the picture's shorter side, in the first layer */
    int crop_n_points_downscale_factor; /* the grid in crops of layer n is points_per_side / factor^n */
    int64_t min_mask_region_area;       /* holes and islands of fewer pixels are mended; 0: none */
} ts_sam_everything_options;

#define TS_SAM_EVERYTHING                                                                                                        \
    ((ts_sam_everything_options){.points_per_side = 32,                                                                          \
                                 .points_per_batch = 64,                                                                         \
                                 .pred_iou_thresh = 0.88,                                                                        \
                                 .stability_score_thresh = 0.95,                                                                 \
                                 .stability_score_offset = 1.0,                                                                  \
                                 .box_nms_thresh = 0.7,                                                                          \
                                 .crop_nms_thresh = 0.7,                                                                         \
                                 .crop_overlap_ratio = 512.0 / 1500,                                                             \
                                 .crop_n_points_downscale_factor = 1})

/* A mask that was found. */
typedef struct {
    ts_rle mask; /* of the picture's size */
    int64_t area;
    ts_box box;           /* inclusive: COCO's bbox is x0, y0, x1 - x0, y1 - y0 */
    double predicted_iou; /* the model's score */
    double stability_score;
    double point[2]; /* the point that it came from */
    int crop[4];     /* x, y, width, height of the crop that it was found in */
} ts_sam_found;

typedef struct {
    int64_t count;
    ts_sam_found *list; /* in the published order: crop by crop, in a crop by falling score */
} ts_sam_all;

/* Told after each batch of prompts: how many are done, of how many. False stops the work, which is then an error. */
typedef bool (*ts_sam_progress_fn)(void *ctx, int64_t done, int64_t all);

/* Finds everything in a picture: masks by a grid of points, filtered. The picture is set by it, so that prompts may follow; NULL:
 * the one that is set already, which allows no crops. Masks are handled one by one: memory grows with their number, not with that
 * times the picture. */
bool ts_sam_everything(ts_sam *s, const ts_image *picture, const ts_sam_everything_options *options, ts_sam_progress_fn progress,
                       void *ctx, ts_sam_all *out, ts_error *err);
void ts_sam_all_clear(ts_sam_all *all);
/* What is wrong with the options, before any work. */
bool ts_sam_everything_check(const ts_sam_everything_options *options, ts_error *err);

/* ---- for checking a file ---------------------------------------------------------------------------------------------- */

/* Looks for every tensor of the model and compares shapes; all that is wrong in one sentence. */
bool ts_sam_check(const ts_weights *w, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
