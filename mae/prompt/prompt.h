/* prompt.h - what is learned to stand in front of a frozen MAE-VQGAN, from pairs of pictures of one task:
 *
 *   a border   a frame of pixels that is added to every example before it goes on the canvas, and the same for all (InMeMo: Zhang
 *              et al., "Instruct Me More! Random Prompting for Visual In-Context Learning", WACV 2024, arXiv 2311.03648)
 *   a fusion   a small network that makes one example of several, among the tokens of the query and its own (PromptHub, ICLR
 *              2026; or, looking at the same place of each example alone, Condenser, CVPR 2025)
 *
 * Either is one small safetensors file, which an inpainter takes:
 *
 *   ts_mae_prompt *p = ts_mae_prompt_open(dev, w, &config, &err);
 *   ts_inpainter *ip = ts_inpainter_new(dev, &(ts_inpainter_desc){.weights = model, .front = ts_mae_prompt_front(p)}, &err);
 *
 * and a ts_mae_tuner makes. */
#ifndef TESSERA_MAE_PROMPT_H
#define TESSERA_MAE_PROMPT_H

#include "mae/mae.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the border --------------------------------------------------------------------------------------------- */

/* Which cells of a canvas get it. */
enum { TS_BORDER_INPUTS = 1, TS_BORDER_OUTPUTS = 2, TS_BORDER_QUERY = 4, TS_BORDER_EXAMPLES = 3 };

typedef struct {
    int canvas; /* pixels a side of the canvas, and of a cell while the border is added */
    int pixels; /* of its width */
    int cells;  /* bits of the above; zero: the examples' both, as published */
} ts_border_config;

/* The published width, 30 of a canvas of 224, in proportion. */
int ts_border_pixels(int canvas);
int64_t ts_border_parameters(const ts_border_config *c); /* 69,840 as published */

/* ---- the fusion --------------------------------------------------------------------------------------------- */

typedef struct {
    int dim;        /* the encoder's width */
    int heads;      /* of its three attentions; zero: 8, as published */
    bool condenser; /* a place of the query looks at the same place of the examples alone */
    double sigma;   /* else at those around it, by a Gaussian of so many patches; zero: 0.65, as published for segmentation */
} ts_fusion_config;

int64_t ts_fusion_parameters(const ts_fusion_config *c); /* 13,646,848 at a width of 1024 */

/* ---- a file ------------------------------------------------------------------------------------------------- */

/* What a file holds, and how the canvases looked that it was learned with. */
typedef struct {
    bool is_fusion;
    ts_border_config border; /* unless is_fusion */
    ts_fusion_config fusion; /* where is_fusion */
    bool has_look;           /* the file says: */
    uint8_t background[3];
    ts_resize_filter filter;
} ts_mae_prompt_info;

/* Fails where it holds neither, or a part of one. The authors' files of a border are read too: they say nothing of its look. */
bool ts_mae_prompt_about(const ts_weights *w, ts_mae_prompt_info *out, ts_error *err);
/* Whether it goes with a model; the path is for the error alone. */
bool ts_mae_prompt_fits(const ts_mae_prompt_info *info, const char *path, const ts_mae_config *mae, ts_error *err);
/* Whether it goes with a layout: a fusion wants the published one, an example above the query, the outputs at the right; it does
 * not matter how many of those canvases there are. A border goes with all. */
bool ts_mae_prompt_suits(const ts_mae_prompt_info *info, const ts_grid *grid, ts_error *err);

typedef struct ts_mae_prompt ts_mae_prompt;
/* The file must outlive it, and so must the device. */
ts_mae_prompt *ts_mae_prompt_open(ts_device *dev, const ts_weights *w, const ts_mae_config *mae, ts_error *err);
void ts_mae_prompt_free(ts_mae_prompt *p);
/* For ts_inpainter_desc; it is the prompt's. */
ts_mae_front ts_mae_prompt_front(ts_mae_prompt *p);

/* ---- tuning ------------------------------------------------------------------------------------------------- */

/* Learns one by the cross entropy of the hole's codes, all of the model being frozen. One step is one graph.
 *
 * Border: Adam. Fusion: SGD without momentum; the loss is
 *     CE(hole) + top CE(the example's two cells) + align (far(image) + far(answer)) + embed (far'(image) + far'(answer))
 * where the labels of the example's cells are the codes of the query's own pair, far is 1 - cosine of the logits at a place of
 * the fused example and at the same place of the query's row, far' that of their tokens before the encoder. */
typedef struct ts_mae_tuner ts_mae_tuner;

typedef struct {
    const ts_weights *weights; /* the MAE's; must outlive the tuner */
    int heads, decoder_heads;  /* zero: see ts_mae_config_read */
    ts_grid grid;              /* of every canvas */
    bool is_fusion;
    ts_border_config border; /* zeros: as published, the canvas being the grid's */
    ts_fusion_config fusion; /* zeros: as published, the width being the model's */
    int batch;               /* queries of a step */
    int fused;               /* fusion: canvases of a query, an example each; zero: 1 */
    double dropout;          /* fusion: of the attentions' weights; published: 0.25 */
    double top, align;       /* fusion: weights in the loss; published: 0.5, 0.2 */
    double embed;            /* published for Condenser alone */
    bool recompute;          /* see ts_mae_trainer_desc */
    uint64_t seed;
} ts_mae_tuner_desc;

ts_mae_tuner *ts_mae_tuner_new(ts_device *dev, const ts_mae_tuner_desc *desc, ts_error *err);
void ts_mae_tuner_free(ts_mae_tuner *t);
const ts_mae_config *ts_mae_tuner_mae(const ts_mae_tuner *t);
int64_t ts_mae_tuner_parameters(const ts_mae_tuner *t);
int64_t ts_mae_tuner_steps(const ts_mae_tuner *t); /* done so far, those before a resume included */

typedef struct {
    double loss;      /* cross entropy of the hole's codes */
    double objective; /* what is minimised: of a border the same */
    double accuracy;  /* share of the hole's places whose likeliest code is right */
} ts_mae_tuned;

/* One step, with Adam's or SGD's rate. canvases (batch x fused, H, W, 3), 8 bits, the query's right answer in the hole of each;
 * codes (batch, side^2): of a border those of the canvas, of a fusion those of one that shows the query and its answer in both
 * rows. */
bool ts_mae_tuner_step(ts_mae_tuner *t, const uint8_t *canvases, const int32_t *codes, double lr, ts_mae_tuned *out,
                       ts_error *err);
/* The same without an update and without dropout, of the first `count` queries: the others are there and do not count. */
bool ts_mae_tuner_evaluate(ts_mae_tuner *t, const uint8_t *canvases, const int32_t *codes, int count, ts_mae_tuned *out,
                           ts_error *err);
/* Adds the tensors and what the file has to say, and with `optimizer` all that a checkpoint wants; the data live until the
 * tuner's next call. */
bool ts_mae_tuner_save(ts_mae_tuner *t, ts_weights_writer *w, bool optimizer, ts_error *err);
/* Goes on from a file that was saved with the optimizer. */
bool ts_mae_tuner_resume(ts_mae_tuner *t, const ts_weights *checkpoint, ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
