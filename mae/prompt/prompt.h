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
 * and a ts_mae_tuner makes. Or it stands in place of the examples:
 *
 *   task vectors   means of what the attention heads say, put into some of them, so that the model does the task without any
 *                  example (Hojel et al., "Finding Visual Task Vectors", ECCV 2024, arXiv 2404.05729) */
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
/* ---- task vectors: a task ------------------------------------------------------------------------------------- */

/* A head is a place of a block's attention where something can be put: at block l, head h and token t the model says o, dim
 * numbers, of which the projection makes W_h o and adds it to those of the other heads. Patched, it says the mean of o over
 * canvases of the task. (The paper's means are of W_h o + b, of which b is taken off again: the same.)
 *
 * The canvas has one pair in the published layout. Of it the patches in the query's row are computed alone: the encoder has the
 * class token and the query's patches, the decoder these and the hole's, row by row. */
typedef struct ts_task ts_task;

/* Nothing is known yet and no head is patched. The grid is of one pair, in the published layout, and goes with the model. */
ts_task *ts_task_new(const ts_mae_config *config, const ts_grid *grid, ts_error *err);
void ts_task_free(ts_task *t);
/* Reads a task's file, which must be of this model: fails where it is another's, or no such file. */
ts_task *ts_task_open(const ts_weights *file, const ts_weights *model, const ts_mae_config *config, ts_error *err);
/* Adds the task to a file, which then is one: vectors (depth, tokens, heads, dim) and masks (depth, tokens, heads) of both
 * halves, and in the metadata which model's they are. The task must outlive the writer. */
bool ts_task_add(const ts_task *t, const ts_weights *model, ts_weights_writer *w, ts_error *err);

const ts_grid *ts_task_grid(const ts_task *t);
/* The two colours of the task's answers, background first, where they are masks: NULL where they are not. */
const uint8_t (*ts_task_colours(const ts_task *t))[3];
void ts_task_set_colours(ts_task *t, const uint8_t (*colours)[3]);

/* Heads at all blocks and tokens: the bytes of a mask, 1 where one is patched. The encoder's (depth, tokens, heads), then the
 * decoder's. */
int64_t ts_task_places(const ts_task *t);
const uint8_t *ts_task_mask(const ts_task *t);
void ts_task_set_mask(ts_task *t, const uint8_t *mask);

/* What is patched or not together. TS_TASK_HEADS: a head of a block at all tokens; TS_TASK_GROUPS: at the class token, the
 * query's patches, the hole's (of the decoder); TS_TASK_TOKENS: at each token by itself. (Granularity 0, 1, 2 of the paper: 512,
 * 1152 and 31,872 units of the published model.) Unit by unit: the encoder's blocks, their heads, the groups of each; then the
 * decoder's.
 */
typedef enum { TS_TASK_HEADS, TS_TASK_GROUPS, TS_TASK_TOKENS } ts_task_grain;
typedef enum { TS_TASK_BOTH, TS_TASK_ENCODER, TS_TASK_DECODER } ts_task_part;
int ts_task_units(const ts_task *t, ts_task_grain grain);
/* A byte a unit -> a mask. */
void ts_task_spread(const ts_task *t, ts_task_grain grain, const uint8_t *bits, uint8_t *mask);
/* Whether a unit is of this part. */
bool ts_task_in_part(const ts_task *t, ts_task_grain grain, int unit, ts_task_part part);

/* ---- task vectors: answering ------------------------------------------------------------------------------------ */

typedef struct ts_task_runner ts_task_runner;

/* Answers canvases that have a query and no example. With `own_masks` each canvas can have a mask of its own; else the task's
 * holds for all, and blocks without a patched head cost nothing. The task must outlive it, and is taken as it is now. */
ts_task_runner *ts_task_runner_new(ts_inpainter *ip, const ts_task *t, bool own_masks, ts_error *err);
void ts_task_runner_free(ts_task_runner *r);
/* codes (count, side^2), logits (count, side^2, codes), either may be NULL: those of the query's row, which stand in the rows
 * above it too, as published. masks (count, ts_task_places), or NULL: the task's. */
bool ts_task_predict(ts_task_runner *r, const ts_image *canvases, int count, const uint8_t *masks, int32_t *codes, float *logits,
                     ts_inpaint_ms *ms, ts_error *err);
/* For ts_inpaint_options. */
ts_predictor ts_task_predictor(ts_task_runner *r);

/* How far an answer, the hole as it is, is from the truth of its size: less the IoU of the second colour, every pixel brought to
 * the nearer of two (as ts_task_colours); or where they are NULL the mean squared error of values normalised by ImageNet's
 * deviations. */
bool ts_task_loss(const uint8_t (*colours)[3], const ts_image *truth, const ts_image *answer, double *loss, ts_error *err);
/* The same of answers painted by ts_task_predict, one a canvas, by the task's colours. */
bool ts_task_losses(ts_task_runner *r, const ts_image *canvases, const ts_image *truths, int count, const uint8_t *masks,
                    double *loss, ts_error *err);

/* ---- task vectors: collecting ----------------------------------------------------------------------------------- */

/* Means and variances of what heads say on canvases of several tasks, run plainly, with their example. */
typedef struct ts_task_collector ts_task_collector;

ts_task_collector *ts_task_collector_new(ts_inpainter *ip, const ts_task *t, int tasks, ts_error *err);
void ts_task_collector_free(ts_task_collector *c);
/* Adds canvases of task number `task`. */
bool ts_task_collect(ts_task_collector *c, int task, const ts_image *canvases, int count, ts_error *err);
/* The means of task 0 become the vectors of `t`. */
bool ts_task_collected(const ts_task_collector *c, ts_task *t, ts_error *err);
/* How much what a unit says depends on the task, in `score` (ts_task_units): the variance over all tasks, each counting as much,
 * by the mean of the tasks' own. Variances are of W_h o, summed over its numbers and over the unit's tokens. */
bool ts_task_scores(const ts_task_collector *c, ts_task_grain grain, double *score, ts_error *err);

/* ---- task vectors: searching ------------------------------------------------------------------------------------ */

/* REINFORCE (Williams 1992) over masks: each unit is patched with a probability, sigmoid(logit) within 1e-6 of 0 and 1. */
typedef struct {
    int units;
    int64_t step;          /* updates so far */
    double *logit, *m, *v; /* (units), Adam's moments; owned */
} ts_task_search;

/* All logits are `logit`, published -1. */
bool ts_task_search_new(ts_task_search *s, int units, double logit, ts_error *err);
void ts_task_search_free(ts_task_search *s);
/* Sample `sample` of the next step, a byte a unit: the same for the same seed, however the search was stopped. */
void ts_task_search_draw(const ts_task_search *s, uint64_t seed, int sample, uint8_t *bits);
/* One step by the samples' losses: bits (samples, units). What is minimised is the mean over samples of
 *     r mean(log p(bits)) + regular mean(p),  r = (loss - mean loss) / (deviation + 1e-6),
 * by Adam (0.9, 0.999, 1e-8). */
bool ts_task_search_update(ts_task_search *s, const uint8_t *bits, const double *loss, int samples, double lr, double regular,
                           ts_error *err);

#ifdef __cplusplus
}
#endif
#endif
